"""Loading a prior to sample with: weights of 32 or 16 bits as they are, of 8 or 4 bits quantized.

A model, a level and the name of a precision go in, a prior on its device comes out. The weights on
disk stay as they are.
"""

from typing import TypeVar, cast

import torch

from jukebox_hf.hub.system import System
from jukebox_hf.precision import torch_dtype
from jukebox_hf.prior.kernels import float32_products
from jukebox_hf.prior.network import PriorNetwork
from jukebox_hf.prior.quantization import QuantizedPrecision, pack, quantize
from jukebox_hf.prior.sizes import Float32Products

QUANTIZED = ("int8", "int4")
PriorT = TypeVar("PriorT", bound=PriorNetwork)


def loading_dtype(precision: str) -> torch.dtype:
    """The dtype that weights are loaded in; `ValueError` for an unknown precision.

    Weights to be quantized come in float16: with 11 bits of mantissa, rounding once more to 8 or 4
    bits changes next to nothing, and they take half the memory of float32.
    """
    return torch.float16 if precision in QUANTIZED else torch_dtype(precision)


def begun_products(precision: str, backend: str, device: torch.device) -> Float32Products:
    """How a session that begins here multiplies in float32; it goes on as it began."""
    on_cpu = device.type == "cpu" and backend == "eager"
    return float32_products() if on_cpu and precision == "float32" else "plain"


def samples_bound(precision: str, backend: str, device: torch.device) -> bool:
    """Whether a session that begins here has float32 between narrow layers; as `begun_products`."""
    return device.type == "cpu" and backend == "eager" and precision != "float32"


def load_for_sampling(
    system: System,
    level: int,
    *,
    precision: str,
    device: torch.device,
    packed: bool = True,
    float32: Float32Products = "plain",
    rows: int | None = None,
) -> PriorNetwork:
    """The prior of a level in a precision of `devices.PRECISIONS`, ready to sample on a device.

    The host holds the prior once, in `loading_dtype`, and one layer more; a device gets quantized
    layers only. `packed`: lay weights out for a CPU, which suits the eager backend only; of float32
    see `pack`. `rows`: of the steps, None if unknown: compiled ones of few, and single rows of
    float32, have layouts of their own.
    """
    place = torch.device("cpu") if precision in QUANTIZED else device
    prior = system.load_prior_network(level, device=place, dtype=loading_dtype(precision))
    return prepare(prior, precision, device, packed=packed, float32=float32, rows=rows)


def prepare(
    prior: PriorT,
    precision: str,
    device: torch.device,
    *,
    packed: bool = True,
    float32: Float32Products = "plain",
    rows: int | None = None,
) -> PriorT:
    """Quantize a prior in `loading_dtype`, or lay its weights out for the device, in place."""
    if precision in QUANTIZED:
        compiled_rows = None if packed else rows
        return quantize(
            prior, cast("QuantizedPrecision", precision), device, compiled_rows=compiled_rows
        )
    return pack(prior, float32=float32, single_row=rows == 1) if packed else prior
