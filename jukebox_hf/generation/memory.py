"""How much memory a prior needs, how much there is, and how many windows fit at once.

Configs and devices go in, bytes and batch sizes come out; no weights are read.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import psutil

from jukebox_hf.generation import containers
from jukebox_hf.hub.architecture import expected_shapes
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.prior.sizes import FLOAT32_BYTES, ITEM_BYTES, cached_numbers, weight_bytes
from jukebox_hf.words import format_bytes

if TYPE_CHECKING:
    import torch
    from torch import nn

LIMIT_VARIABLE = "JUKEBOX_MEMORY_LIMIT"
USED_SHARE = 0.9  # of what is free: allocators need some room, and other programs live too
LARGEST_BATCH = 64  # beyond this a batch only costs memory, on every device measured so far
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


class PriorMemory(NamedTuple):
    """Bytes that one prior takes: its weights once, the rest for every window of a batch.

    Attributes:
        weights: all parameters and buffers.
        cache: keys and values.
        workspace: the largest intermediate results, of the conditioner or the prefill.
    """

    weights: int
    cache: int
    workspace: int

    def with_rows(self, rows_per_window: int) -> PriorMemory:
        """The same for windows that take so many rows of a batch each."""
        return self._replace(
            cache=self.cache * rows_per_window, workspace=self.workspace * rows_per_window
        )

    def total(self, batch_size: int) -> int:
        """Bytes with so many windows at once."""
        return self.weights + batch_size * (self.cache + self.workspace)

    def batch_size(self, available: int) -> int:
        """How many windows fit into `available` bytes; at least 1, at most `LARGEST_BATCH`."""
        room = available * USED_SHARE - self.weights
        return int(min(max(room // (self.cache + self.workspace), 1), LARGEST_BATCH))


def prior_memory(
    config: PriorConfig,
    precision: str,
    device: torch.device | str,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> PriorMemory:
    """What a prior of that config takes in a precision. Weights and cache are exact.

    `shapes` of its tensors, where the headers of its file have told them: torch is needed without.
    """
    weights = weight_bytes(expected_shapes(config) if shapes is None else shapes, precision)
    item_bytes = ITEM_BYTES[precision]
    on_cpu = str(device).partition(":")[0] == "cpu"
    cached = FLOAT32_BYTES if on_cpu else item_bytes  # as `new_cache` chooses
    return PriorMemory(weights, cached_numbers(config) * cached, _workspace(config, item_bytes))


def module_bytes(module: nn.Module) -> int:
    """Bytes of a module's parameters and buffers, shared ones once."""
    tensors = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _workspace(config: PriorConfig, itemsize: int) -> int:
    """What is alive at once in the two passes over a whole window, per window of the batch.

    Prefill: inputs and what conditions each position in float32; in the prior's precision the
    residual, its normed copy, and the larger of attention's and the feed-forward's intermediates.
    Conditioner: two float32 signals and their convolution's input at full length.
    """
    attention = 5 * config.attention_width
    feed_forward = 2 * config.mlp_width
    per_position = (
        3 * config.width * FLOAT32_BYTES
        + (2 * config.width + max(attention, feed_forward)) * itemsize
    )
    prefill = config.sequence_length * per_position
    if not config.is_upsampler:
        return prefill
    widest = max(config.conditioner_width, config.width)
    return max(prefill, config.context_length * 4 * widest * FLOAT32_BYTES)


def available_memory(device: torch.device | str) -> int:
    """Free bytes on a device, or `JUKEBOX_MEMORY_LIMIT` (`6GB`, `512MiB`) if that is less.

    On the CPU no more than the container of this process has left.
    """
    import torch

    device = torch.device(device)
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    elif device.type == "mps":
        free = torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    else:
        free = psutil.virtual_memory().available
        allowed = containers.free_memory()
        free = free if allowed is None else min(free, allowed)
    limit = memory_limit()
    return free if limit is None else min(free, limit)


def memory_limit() -> int | None:
    """`JUKEBOX_MEMORY_LIMIT` in bytes; None if it is not set, `ValueError` if unreadable."""
    text = os.environ.get(LIMIT_VARIABLE, "").strip()
    if not text:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]I?)?B?", text.upper())
    if not found:
        raise ValueError(f"{LIMIT_VARIABLE} must be an amount such as 6GB or 512MiB, got {text!r}")
    return int(float(found[1]) * UNITS[found[2] or ""])


def check_limit(memory: PriorMemory, batch_size: int) -> None:
    """Behave as a device with `JUKEBOX_MEMORY_LIMIT` bytes would: `torch.OutOfMemoryError`."""
    import torch

    limit = memory_limit()
    if limit is not None and memory.total(batch_size) > limit:
        windows = "one window needs" if batch_size == 1 else f"{batch_size} windows at once need"
        raise torch.OutOfMemoryError(
            f"{windows} {format_bytes(memory.total(batch_size))}, but "
            f"{LIMIT_VARIABLE} allows {format_bytes(limit)}"
        )


def trim() -> None:
    """Give freed memory of the host back to the system, where the C library keeps it (glibc)."""
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a device had no room, in the words of any of them."""
    import torch

    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "can't allocate memory" in text
    )
