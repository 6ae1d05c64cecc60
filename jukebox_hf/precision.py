"""Which numbers are 16 bits wide, and which never are.

Models run in float32, float16 or bfloat16. Some of their tensors must not follow: rounding a
codebook changes which code is nearest, and rounding running sums stops them from moving.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Self

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


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """A context in which autocast, if on, does not lower the precision of work on `device`."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


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
