"""Linear layers with weights of 8 or 4 bits, and 16-bit ones laid out for a CPU's kernels.

Decoding one code reads every weight once, so fewer bytes are less time. Only the weights of the
transformer's layers change, and only in memory: what is saved stays as it was. Weights of 8 and 4
bits are not exact; what they cost in bits per code, a benchmark measures.

`quantize` and `pack` replace layers of a prior in place, one after the other, so that at most one
layer is held twice.
"""

from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any, Literal, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from jukebox_hf.prior.attention import Linear
from jukebox_hf.prior.kernels import (
    MAX_COMPILED_ROWS,
    MAX_NIBBLE_ROWS,
    compiles_rows,
    in_blocks,
    nibble_product,
    pack_nibbles,
    row_product,
    unpack_nibbles,
)
from jukebox_hf.prior.network import PriorNetwork
from jukebox_hf.prior.sizes import (
    GROUP_SIZE,
    Float32Products,
    fits_kernels,
    is_rounded_to_4_bits,
)
from jukebox_hf.prior.transformer import Transformer

QuantizedPrecision = Literal["int8", "int4"]
PriorT = TypeVar("PriorT", bound=PriorNetwork)
# Shares of a group's range that its 16 values may span: a few weights are clipped when that brings
# the others closer.
RANGE_SHARES = (1.0, 0.9, 0.8)
ROWS_AT_ONCE = 256  # outputs whose ranges are tried together: little memory, and it stays in cache
# The kernels for packed weights are made for a few rows; from here on, unpacking first is faster.
MAX_PACKED_ROWS = 64
PADDED_ROWS = 4  # what a packed float32 product of two or three rows is padded to


def quantize(
    prior: PriorT,
    precision: QuantizedPrecision,
    device: torch.device | str | None = None,
    *,
    compiled_rows: int | None = None,
) -> PriorT:
    """Give the transformers' layers weights of 8 or 4 bits, in place.

    Weights of 4 bits need inputs in whole groups of `GROUP_SIZE` and outputs in multiples of 16;
    linear layers of other sizes get 8 bits, and so do those of the first layer, where rounding
    costs most. Activations are bfloat16 on a CPU, elsewhere what they were.

    Args:
        prior: with weights of 16 or 32 bits. One on the meta device has no weights yet; its layers
            get the sizes that they would have.
        device: where the prior goes, layer by layer, so that a device needs no room for the
            weights as they were; None: where it is.
        compiled_rows: rows of the steps, where they are compiled: on a CPU, weights of 4 bits are
            then laid out for them.

    Raises:
        ValueError: for another precision.
    """
    if precision not in ("int8", "int4"):
        raise ValueError(f"quantized precision must be int8 or int4, got {precision!r}")
    for index, module, name, linear in _layer_linears(prior):
        placed = linear if device is None else linear.to(device)
        can_be_4_bits = is_rounded_to_4_bits(index, linear.in_features, linear.out_features)
        if precision == "int4" and can_be_4_bits:
            setattr(module, name, Int4Linear(placed, compiled_rows))
        else:
            setattr(module, name, Int8Linear(placed))
    if device is not None:
        nn.Module.to(prior, device)
    nn.Module.to(prior, prior.decoder.dtype)  # what was not quantized computes in the same
    return prior


def pack(prior: PriorT, *, float32: Float32Products = "plain", single_row: bool = False) -> PriorT:
    """Lay weights out for the CPU's own matrix kernels, in place; elsewhere do nothing.

    bfloat16: the sums are those of bfloat16 products in another order; a step takes about two
    thirds of the time. float16: weights stay as they are and everything between the layers becomes
    float32, which is exact where float16 rounds, overflows nowhere, and takes four fifths of the
    time. float32: as `float32` says; `kernels.float32_products` knows what is fastest for steps.
    Sums are those of the plain products in another order; through packed and halved ones no
    gradient flows.

    `single_row`: whether steps will have one row, for float32's products.
    """
    kinds: dict[torch.dtype, Callable[[Linear], nn.Module]] = {}
    if float32 != "plain":
        kinds[torch.float32] = partial(_pack_float32, products=float32, single_row=single_row)
    if PackedLinear.is_supported(torch.bfloat16):
        kinds[torch.bfloat16] = PackedLinear
    if Float16Linear.is_supported():
        kinds[torch.float16] = Float16Linear
    kind = kinds.get(prior.decoder.dtype)
    if kind is None or prior.device.type != "cpu":
        return prior
    for _, module, name, linear in _layer_linears(prior):
        setattr(module, name, kind(linear))
    nn.Module.to(prior, prior.decoder.dtype)  # what was not packed computes in the same
    return prior


def _pack_float32(linear: Linear, *, products: Float32Products, single_row: bool) -> nn.Module:
    """A float32 layer laid out; see `Float32Products`. `linear` itself may be what comes back."""
    weight = linear.weight
    if products == "halved" and Float16Linear.is_supported() and _is_exact_in_float16(weight):
        return Float16Linear(linear)
    if products != "packed" and single_row:
        # turned around in memory; its shape, and all that is read from it, stays
        weight.data = weight.detach().t().contiguous().t()
        return linear
    return PackedLinear(linear) if PackedLinear.is_supported(torch.float32) else linear


def _is_exact_in_float16(weight: Tensor) -> bool:
    """Whether float16 holds the same numbers, as of weights that were saved in it."""
    return torch.equal(weight.half().float(), weight)


def compile_options(prior: PriorNetwork) -> dict[str, str | int | bool]:
    """What `torch.compile` must be told so that `kernels.nibble_product` becomes one loop.

    By default the compiler writes such long sums to memory first, and does not fuse products with
    their sums. With products of 4 bits, calling kernels from Python is a tenth of a step: the
    calls are compiled, too.
    """
    if not any(isinstance(one, Int4Linear) and one.words is not None for one in prior.modules()):
        return {}
    return {
        "realize_opcount_threshold": 200,
        "realize_reads_threshold": 100,
        "cpp.enable_floating_point_contract_flag": "fast",
        "cpp_wrapper": True,
    }


def _layer_linears(prior: PriorNetwork) -> Iterator[tuple[int, nn.Module, str, Linear]]:
    """The linear layers of every transformer layer, its index, and the modules that hold them.

    Each is let go before the next one comes: replaced layers must not stay in memory.
    """
    places = [
        (index, module, name)
        for transformer in prior.modules()
        if isinstance(transformer, Transformer)
        for index, layer in enumerate(transformer.layers)
        for module in layer.modules()
        for name, child in module.named_children()
        if isinstance(child, Linear)
    ]
    for index, module, name in places:
        yield index, module, name, cast("Linear", getattr(module, name))


class _FrozenLinear(nn.Module):
    """What the layers below share: sizes, a bias, and the dtype of what goes in and comes out."""

    bias: Tensor

    def __init__(self, linear: Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        self.compute_dtype = dtype
        self.register_buffer("bias", linear.bias.detach().to(dtype))

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features), both in `compute_dtype`."""
        rows = hidden.reshape(-1, self.in_features)
        if len(rows) > MAX_PACKED_ROWS:
            product = functional.linear(rows, self.unpacked())
        else:
            product = self.multiply(rows)
        return (product + self.bias).to(hidden.dtype).view(*hidden.shape[:-1], self.out_features)

    def multiply(self, rows: Tensor) -> Tensor:
        """(n, in_features) to (n, out_features), without bias."""
        raise NotImplementedError

    def unpacked(self) -> Tensor:
        """The weights (out_features, in_features) in `compute_dtype`."""
        raise NotImplementedError


def _compute_dtype(linear: Linear) -> torch.dtype:
    return torch.bfloat16 if linear.weight.device.type == "cpu" else linear.weight.dtype


class Int8Linear(_FrozenLinear):
    """Weights of 8 bits, symmetric, with one scale per output."""

    weight: Tensor  # (out_features, in_features) int8
    scale: Tensor  # (out_features,) in the compute dtype

    def __init__(self, linear: Linear) -> None:
        super().__init__(linear, _compute_dtype(linear))
        if linear.weight.is_meta:
            self._take_sizes()
            return
        exact = linear.weight.detach().to(torch.float32, copy=True)  # changed in place: one copy
        low, high = exact.aminmax(dim=1)
        # rounded first, so that the weights are rounded to what they will be multiplied with
        scale = (torch.maximum(-low, high) / 127).clamp(min=1e-12).to(self.compute_dtype)
        steps = exact.div_(scale.float().unsqueeze(1)).round_().clamp_(-128, 127)
        self.register_buffer("weight", steps.to(torch.int8))
        self.register_buffer("scale", scale)

    def _take_sizes(self) -> None:
        size = (self.out_features, self.in_features)
        self.register_buffer("weight", torch.empty(size, dtype=torch.int8, device="meta"))
        scale = torch.empty(self.out_features, dtype=self.compute_dtype, device="meta")
        self.register_buffer("scale", scale)

    def multiply(self, rows: Tensor) -> Tensor:
        """See `_FrozenLinear`."""
        if compiles_rows(rows, MAX_COMPILED_ROWS):
            return row_product(rows, self.weight) * self.scale
        if rows.device.type == "cpu" and fits_kernels(self.in_features, self.out_features):
            return torch._weight_int8pack_mm(rows, self.weight, self.scale)
        return functional.linear(rows, self.weight.to(rows.dtype)) * self.scale

    def unpacked(self) -> Tensor:
        """See `_FrozenLinear`."""
        return self.weight.to(self.compute_dtype) * self.scale.unsqueeze(1)


class Int4Linear(_FrozenLinear):
    """Weights of 4 bits, with a scale and an offset for every `GROUP_SIZE` inputs of an output.

    Of `RANGE_SHARES` each group takes the one with the least squared error. The steps are in one of
    three layouts: two to a byte, as the CPU's kernel wants them, or for compiled steps of few rows.
    """

    scales: Tensor  # (groups, out_features, 2): scale and middle of each group; or, with words,
    # (2, out_features / 16, groups, 16)
    nibbles: Tensor | None  # (out_features, in_features / 2) uint8
    packed: Tensor | None  # the same as the CPU's kernel wants it
    words: Tensor | None  # the same as `nibble_product` reads it

    def __init__(self, linear: Linear, compiled_rows: int | None = None) -> None:
        """`compiled_rows`: see `quantize`."""
        super().__init__(linear, _compute_dtype(linear))
        if linear.weight.is_meta:
            self._take_sizes()
            return
        exact = linear.weight.detach().to(torch.float32, copy=True)  # changed in place: one copy
        groups = exact.unflatten(1, (-1, GROUP_SIZE))  # type: ignore[no-untyped-call]
        parts = [_fit_ranges(part, self.compute_dtype) for part in groups.split(ROWS_AT_ONCE)]
        scale, middle = (torch.cat(values) for values in zip(*parts, strict=True))
        steps = _to_steps_(groups, scale, middle)
        quantized = steps.to(torch.int32).flatten(1)
        nibbles = packed = words = None
        if quantized.device.type != "cpu":
            nibbles = (quantized[:, ::2] * 16 + quantized[:, 1::2]).to(torch.uint8)
        elif compiled_rows is not None and compiled_rows <= MAX_NIBBLE_ROWS:
            words = pack_nibbles(quantized)
        else:
            packed = torch._convert_weight_to_int4pack_for_cpu(quantized, 1)
        if words is None:
            scales = torch.stack([scale.T, middle.T], dim=-1).contiguous()
        else:
            scales = torch.stack([in_blocks(scale), in_blocks(middle)])
        self.register_buffer("scales", scales)
        self.register_buffer("nibbles", nibbles)
        self.register_buffer("packed", packed)
        self.register_buffer("words", words)

    def _take_sizes(self) -> None:
        scales = (self.in_features // GROUP_SIZE, self.out_features, 2)
        halves = (self.out_features, self.in_features // 2)
        self.register_buffer("scales", torch.empty(scales, dtype=self.compute_dtype, device="meta"))
        self.register_buffer("nibbles", torch.empty(halves, dtype=torch.uint8, device="meta"))
        self.register_buffer("packed", None)
        self.register_buffer("words", None)

    def multiply(self, rows: Tensor) -> Tensor:
        """See `_FrozenLinear`."""
        if self.words is not None and compiles_rows(rows, MAX_NIBBLE_ROWS):
            return nibble_product(rows, self.words, self.scales)
        if self.packed is None:
            return functional.linear(rows, self.unpacked())
        return torch._weight_int4pack_mm_for_cpu(rows, self.packed, GROUP_SIZE, self.scales)

    def unpacked(self) -> Tensor:
        """See `_FrozenLinear`."""
        if self.packed is not None:
            # The kernel's own layout is not ours to read: multiply with the identity.
            identity = torch.eye(self.in_features, dtype=self.compute_dtype)
            return self.multiply(identity).T
        scales = self.scales
        if self.words is not None:
            steps = unpack_nibbles(self.words)
            scales = scales.transpose(2, 3).flatten(1, 2).permute(2, 1, 0)
        else:
            assert self.nibbles is not None, "one of three layouts"
            steps = torch.stack([self.nibbles >> 4, self.nibbles & 15], dim=-1).flatten(1)
        steps = steps.to(self.compute_dtype).unflatten(1, (-1, GROUP_SIZE)) - 8  # type: ignore[no-untyped-call]
        scale, middle = (part.T.unsqueeze(-1) for part in scales.unbind(-1))
        weights: Tensor = (steps * scale + middle).flatten(1)
        return weights


def _fit_ranges(groups: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The scale and middle (out_features, groups), in `dtype`, with the least squared error."""
    low, high = groups.aminmax(dim=-1)
    best_scale, best_middle = (torch.full_like(low, torch.nan, dtype=dtype) for _ in range(2))
    least = torch.full_like(low, torch.inf)
    for share in RANGE_SHARES:
        # rounded first, so that the weights are rounded to what they will be multiplied with
        scale = ((high - low) * share / 15).clamp(min=1e-12).to(dtype)
        middle = ((low + high + scale.float()) / 2).to(dtype)
        steps = _to_steps_(groups.clone(), scale, middle).sub_(8)
        restored = steps.mul_(scale.float().unsqueeze(-1)).add_(middle.float().unsqueeze(-1))
        error = restored.sub_(groups).square_().sum(dim=-1)
        better = error < least
        least = torch.where(better, error, least)
        best_scale = torch.where(better, scale, best_scale)
        best_middle = torch.where(better, middle, best_middle)
    return best_scale, best_middle


def _to_steps_(groups: Tensor, scale: Tensor, middle: Tensor) -> Tensor:
    """The nearest whole numbers of 0 to 15, in place of (out_features, groups, inputs) floats."""
    groups.sub_(middle.float().unsqueeze(-1)).div_(scale.float().unsqueeze(-1))
    return groups.add_(8).round_().clamp_(0, 15)


class PackedLinear(nn.Module):
    """bfloat16 or float32 weights in the order in which the CPU's kernel (oneDNN) reads them."""

    bias: Tensor

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        self.compute_dtype = linear.weight.dtype
        self.register_buffer("bias", linear.bias.detach())
        # The layout is for so many rows. In float32 the kernel is made for four: one and two rows
        # take as long, unless two are padded, on processors where it is used at all.
        self.rows = 1 if self.compute_dtype == torch.bfloat16 else PADDED_ROWS
        # A plain attribute: its layout is opaque, and it must neither be saved nor moved.
        self.packed: Any = torch.ops.mkldnn._reorder_linear_weight(
            linear.weight.detach(), self.rows
        )

    @staticmethod
    def is_supported(dtype: torch.dtype = torch.bfloat16) -> bool:
        """Whether this build of torch and this CPU have the kernel."""
        operators = torch.ops.mkldnn
        return (
            torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
            and hasattr(operators, "_linear_pointwise")
            and hasattr(operators, "_reorder_linear_weight")
            and (dtype != torch.bfloat16 or bool(operators._is_mkldnn_bf16_supported()))
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features), in the weights' dtype."""
        few = len(hidden)
        if hidden.ndim == 2 and 1 < few < self.rows:
            hidden = functional.pad(hidden, (0, 0, 0, self.rows - few))
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            hidden, self.packed, self.bias, "none", [], ""
        )
        return product if len(product) == few else product[:few]


class Float16Linear(nn.Module):
    """float16 weights in the order in which FBGEMM's kernel reads them; float32 goes in and out.

    The kernel widens weights as it reads them, so that products and sums are float32's.
    """

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        self.compute_dtype = torch.float32
        # A plain attribute: its layout is opaque, and it must neither be saved nor moved.
        self.packed: Any = torch.ops.quantized.linear_prepack_fp16(
            linear.weight.detach().float(), linear.bias.detach().float()
        )

    @staticmethod
    @cache
    def is_supported(_: torch.dtype = torch.float16) -> bool:
        """Whether this build of torch and this CPU have the kernel, and it computes what it says.

        FBGEMM's kernel for 8 bits was found to return wrong numbers on a machine.
        """
        if "fbgemm" not in torch.backends.quantized.supported_engines:
            return False
        if not hasattr(torch.ops.quantized, "linear_dynamic_fp16"):
            return False
        weights = torch.linspace(-1, 1, 96 * 64).sin().half().float().view(64, 96)
        rows, bias = torch.linspace(-2, 2, 3 * 96).cos().view(3, 96), torch.linspace(0, 1, 64)
        packed = torch.ops.quantized.linear_prepack_fp16(weights, bias)
        found = torch.ops.quantized.linear_dynamic_fp16(rows, packed)
        return torch.allclose(found, functional.linear(rows, weights, bias), rtol=1e-4, atol=1e-4)

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features), float32."""
        product: Tensor = torch.ops.quantized.linear_dynamic_fp16(hidden, self.packed)
        return product
