"""Which numbers are 16 bits wide, and which never are.

Models run in float32, float16 or bfloat16. Some of their tensors must not follow: rounding a
codebook changes which code is nearest, and rounding running sums stops them from moving.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn

# The precisions that models are stored and run in, by the names used in configs and options.
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def torch_dtype(name: str) -> torch.dtype:
    """The torch dtype called `name`: "float32", "float16" or "bfloat16"; `ValueError` for others.

    >>> torch_dtype("bfloat16")
    torch.bfloat16
    """
    if name not in DTYPES:
        raise ValueError(f"precision must be one of {', '.join(DTYPES)}, got {name!r}")
    return DTYPES[name]


@contextmanager
def exact_float32(device: torch.device) -> Iterator[None]:
    """Within it, float32 work on `device` is float32 throughout.

    Autocast is off, and an NVIDIA GPU rounds no factors to TF32, as its convolutions would do by
    default and its matrix products after `torch.set_float32_matmul_precision("high")`: 10 bits of
    mantissa pick other codes.
    """
    if device.type == "meta":
        yield
        return
    settings: Any = torch.backends
    backends = [settings.cuda.matmul, settings.cudnn.conv] if device.type == "cuda" else []
    before = [backend.fp32_precision for backend in backends]
    for backend in backends:
        backend.fp32_precision = "ieee"
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


class Float32Module(nn.Module):
    """A module whose floating-point parameters and buffers, and its children's, are always float32.

    `.to(dtype)`, `.half()`, `.bfloat16()` and `.double()` on it, or on a model around it, leave
    their precision alone; moves between devices work as ever.
    Build the tensors with `dtype=torch.float32`: `from_pretrained` changes torch's default dtype,
    and needs the module's name in `_keep_in_fp32_modules_strict` to load it unrounded.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        def keep_float32(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            if not tensor.is_floating_point() or moved.dtype == torch.float32:
                return moved
            return tensor.to(device=moved.device, dtype=torch.float32)

        return super()._apply(keep_float32, recurse=recurse)  # type: ignore[no-untyped-call, no-any-return]
