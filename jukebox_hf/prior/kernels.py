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

# For so many rows MKL's float32 product is faster the other way round: for large weights 0.65 to
# 0.8 of the time, for small ones (which then give the same sums) 0.75 to 0.95, on a Xeon.
MIN_TRANSPOSED_ROWS, MIN_TRANSPOSED_ROWS_IF_SMALL, MAX_TRANSPOSED_ROWS = 7, 16, 64
LARGE_WEIGHTS, SMALL_WEIGHTS = 2**19, 2**15
MAKERS = ("GenuineIntel", "AuthenticAMD")
MAX_SMALL_SCORES = 2**14  # queries x keys


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


def packs_float32() -> bool:
    """Whether float32 weights are best laid out for oneDNN's products.

    On AMD: those took 0.83, 0.75, 0.51, 0.59 and 0.68 of the time of the plain ones at 1, 2, 4, 16
    and 32 rows (Zen 4, 24 x 1024), where MKL does not do its best. On a Xeon with AMX they took
    1.27, 1.14, 0.75, 0.72 and 0.82, and what `is_faster_transposed` says is as fast from 7 rows on.
    """
    return processor_maker() == "AuthenticAMD"


def linear(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(..., in_features) times `weight` (out_features, in_features), plus `bias`."""
    if is_faster_transposed(hidden, weight):
        return torch.addmm(bias.unsqueeze(1), weight, hidden.t()).t()
    if compiles_one_row(hidden) and hidden.dtype != torch.float32:
        return (row_product(hidden, weight) + bias.float()).to(hidden.dtype)
    return functional.linear(hidden, weight, bias)


def is_faster_transposed(hidden: Tensor, weight: Tensor) -> bool:
    """Whether this is one position, (batch, width), of some windows, in float32 on a CPU."""
    if hidden.ndim != 2 or hidden.dtype != torch.float32 or hidden.device.type != "cpu":
        return False
    is_large = weight.numel() >= LARGE_WEIGHTS
    fewest = MIN_TRANSPOSED_ROWS if is_large else MIN_TRANSPOSED_ROWS_IF_SMALL
    return weight.numel() >= SMALL_WEIGHTS and fewest <= len(hidden) <= MAX_TRANSPOSED_ROWS


def compiles_one_row(hidden: Tensor) -> bool:
    """Whether a step of one position, (1, in_features), is being compiled for a CPU."""
    return (
        torch.compiler.is_compiling() and hidden.device.type == "cpu" and hidden.shape[:-1] == (1,)
    )


def row_product(hidden: Tensor, weight: Tensor) -> Tensor:
    """(1, in_features) times `weight` (out_features, in_features), as (1, out_features) float32.

    Written out for the compiler: it converts and sums as it reads, at 0.9 of the rate at which this
    memory can be read; the libraries' kernels for one row reach half of it in 16 bit.
    """
    # `as_strided` makes the compiler store the row once, instead of computing it for every output.
    row = hidden.float().as_strided((hidden.shape[-1],), (1,))
    return (weight.float() * row).sum(dim=-1).unsqueeze(0)


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
