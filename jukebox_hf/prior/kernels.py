"""Which of equal formulas runs fastest where: what processors and their libraries are good at.

The layers say what is computed; this says how, by shape, dtype, device and maker of the processor,
never by timing.
"""

import platform
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from jukebox_hf.prior.sizes import Float32Products

# For so many rows MKL's float32 product is faster the other way round: for large weights 0.65 to
# 0.8 of the time, for small ones (which then give the same sums) 0.75 to 0.95, on a Xeon.
MIN_TRANSPOSED_ROWS, MIN_TRANSPOSED_ROWS_IF_SMALL, MAX_TRANSPOSED_ROWS = 7, 16, 64
LARGE_WEIGHTS, SMALL_WEIGHTS = 2**19, 2**15
MAKERS = ("GenuineIntel", "AuthenticAMD")
MAX_SMALL_SCORES = 2**14  # queries x keys
LANES, NIBBLES = 16, 8  # of words of 4-bit weights: outputs side by side, inputs in a word
MAX_COMPILED_ROWS = 4  # of `row_product`
MAX_NIBBLE_ROWS = 2  # of `nibble_product`; of more the libraries' kernel is as fast


@cache
def processor_maker() -> str:
    """Who made the CPU, as it says itself: "GenuineIntel", "AuthenticAMD"; "" if unknown."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # no Linux: Windows names the maker with the processor
        names = (name for name in MAKERS if name in platform.processor())
        return next(names, "")
    found = (line.partition(":")[2].strip() for line in text.splitlines() if "vendor_id" in line)
    return next(found, "")


def float32_products() -> Float32Products:
    """How steps best multiply with float32 weights here.

    On AMD, where MKL does not do its best, "halved". Five layers' products of 1024 x 1024 and 3072
    x 1024 took so, with weights that are float16's values, 0.30, 0.16, 0.36 and 0.61 of the time of
    the plain ones at 1, 2, 8 and 29 rows, and 0.38, 0.67 and 0.97 of the packed ones from 2 rows on
    (Zen 4): reading the weights is what takes the time. Of others, single rows transposed took
    0.84, 0.96 and 0.54 of the time of the plain product (1024 x 1024, 768 x 1024, 1024 x 256),
    where packed ones took 1.05, 1.00 and 0.69; from 2 to 32 rows packed ones took 0.44 to 0.73. On
    a Xeon with AMX packed ones took 1.27, 1.14, 0.75, 0.72 and 0.82 at 1, 2, 4, 16 and 32 rows, and
    what `is_faster_transposed` says is as fast from 7 rows on.
    """
    return "halved" if processor_maker() == "AuthenticAMD" else "plain"


def linear(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(..., in_features) times `weight` (out_features, in_features), plus `bias`."""
    if is_faster_transposed(hidden, weight):
        return torch.addmm(bias.unsqueeze(1), weight, hidden.t()).t()
    if compiles_rows(hidden, MAX_COMPILED_ROWS) and hidden.dtype != torch.float32:
        return (row_product(hidden, weight) + bias.float()).to(hidden.dtype)
    return functional.linear(hidden, weight, bias)


def is_faster_transposed(hidden: Tensor, weight: Tensor) -> bool:
    """Whether this is one position, (batch, width), of some windows, in float32 on a CPU."""
    if hidden.ndim != 2 or hidden.dtype != torch.float32 or hidden.device.type != "cpu":
        return False
    is_large = weight.numel() >= LARGE_WEIGHTS
    fewest = MIN_TRANSPOSED_ROWS if is_large else MIN_TRANSPOSED_ROWS_IF_SMALL
    return weight.numel() >= SMALL_WEIGHTS and fewest <= len(hidden) <= MAX_TRANSPOSED_ROWS


def compiles_rows(hidden: Tensor, most: int) -> bool:
    """Whether a step of at most so many rows, (rows, in_features), is being compiled for a CPU."""
    is_compiling = torch.compiler.is_compiling() and hidden.device.type == "cpu"
    return is_compiling and hidden.ndim == 2 and len(hidden) <= most


def row_product(hidden: Tensor, weight: Tensor) -> Tensor:
    """(n, in_features) times `weight` (out_features, in_features), as (n, out_features) float32.

    Written out for the compiler: it converts and sums as it reads, once for all rows, at 0.9 of the
    rate at which this memory can be read; the libraries' kernels for one row reach half of it in 16
    bit.
    """
    # `as_strided` makes the compiler store the rows once, instead of computing them for every
    # output.
    rows = hidden.float().as_strided(hidden.shape, (hidden.shape[-1], 1))
    wide = weight.float()
    return torch.stack([(wide * row).sum(dim=-1) for row in rows])


def pack_nibbles(steps: Tensor) -> Tensor:
    """(out_features, in_features) of 0 to 15, as `nibble_product` reads them: int32 words.

    (out_features / 16, in_features / 8, 16): a word holds eight neighbouring inputs of one output,
    the first one lowest; the last one, in the sign's place, less 8. Sixteen outputs stand together.
    """
    outputs, inputs = steps.shape
    words = steps.to(torch.int32).view(outputs // LANES, LANES, inputs // NIBBLES, NIBBLES)
    shifted = [words[..., place] << 4 * place for place in range(NIBBLES - 1)]
    shifted.append((words[..., -1] - 8) << 28)
    return torch.stack(shifted).sum(0, dtype=torch.int32).transpose(1, 2).contiguous()


def in_blocks(numbers: Tensor) -> Tensor:
    """(out_features, groups) as (out_features / 16, groups, 16), as `nibble_product` reads them."""
    outputs, groups = numbers.shape
    return numbers.view(outputs // LANES, LANES, groups).transpose(1, 2).contiguous()


def unpack_nibbles(words: Tensor) -> Tensor:
    """What `pack_nibbles` was given, as int32."""
    places = [words >> 4 * place & 15 for place in range(NIBBLES - 1)]
    steps = torch.stack([*places, (words >> 28) + 8], dim=-1)
    return steps.transpose(1, 2).flatten(2).flatten(0, 1)


def nibble_product(rows: Tensor, words: Tensor, scales: Tensor) -> Tensor:
    """A few rows (n, in_features) times weights of 4 bits, as (n, out_features) float32.

    Written out for the compiler, which keeps sixteen outputs in a vector, and reads each word once
    for all rows. A nibble is not moved to the lowest place: it is masked and widened where it is,
    and what it is multiplied with is so much smaller.

    Args:
        rows: of floats.
        words: of `pack_nibbles`.
        scales: (2, out_features / 16, groups, 16), scale and middle of every group: a weight is
            (step - 8) x scale + middle.
    """
    count, inputs = rows.shape
    _, blocks, groups, _ = scales.shape
    per_group = inputs // groups // NIBBLES
    scale, middle = scales.float()
    # `as_strided`: as in `row_product`
    exact = rows.float().as_strided((count, inputs), (inputs, 1))
    parts = exact.view(count, -1, NIBBLES)
    shrink = torch.tensor([16.0**-place for place in range(NIBBLES)])
    shape, strides = (count, groups, per_group, NIBBLES), (inputs, inputs // groups, NIBBLES, 1)
    shrunk = (parts * shrink).as_strided(shape, strides)
    sums = exact.view(count, groups, -1).sum(-1).as_strided((count, groups), (groups, 1))
    last = parts[..., -1].reshape(count, groups, -1).sum(-1)  # those that are less 8 already
    missing = ((last - sums) * 8).as_strided((count, groups), (groups, 1))
    grouped = words.view(blocks, groups, per_group, LANES)
    # of the last, all bits from its lowest on: the sign comes with it
    masks = [15 << 4 * place for place in range(NIBBLES - 1)] + [-1 << 28]
    steps = [(grouped & mask).float() for mask in masks]
    products = []
    for row in range(count):
        total = steps[0] * shrunk[row, :, :, 0, None]
        for place in range(1, NIBBLES):
            total = total + steps[place] * shrunk[row, :, :, place, None]
        in_steps = (total * scale.unsqueeze(2)).sum((1, 2))
        rest = (sums[row, :, None] * middle + missing[row, :, None] * scale).sum(1)
        products.append((in_steps + rest).flatten())
    return torch.stack(products)


def trains_plainly(query: Tensor, keys: Tensor) -> bool:
    """Whether training is faster with plain products than with the fused attention.

    The CPU's fused kernel costs more per sequence than short rows hold, its gradient above all.
    """
    return query.device.type == "cpu" and query.shape[-2] * keys.shape[-2] <= MAX_SMALL_SCORES


def panel(kept: Tensor, index: Tensor) -> Tensor:
    """One panel (2, batch · heads, keys, dim) of keys and values (2, ..., panels, keys, dim).

    Where a CPU runs it eagerly, reading the index waits for nothing and a view saves the copy: at
    batch 16 a tenth of the step. Elsewhere the index stays a tensor.
    """
    if kept.device.type == "cpu" and not torch.compiler.is_compiling():
        return kept.select(2, int(index))
    return kept.index_select(2, index).squeeze(2)
