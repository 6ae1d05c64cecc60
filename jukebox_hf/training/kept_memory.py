"""Keeps the memory that a CPU's training step frees, for the next step, and in large pages.

A step frees all that it made. glibc gives blocks of that size back to the system and gets them
anew, zeroed page by page, which takes longer than what is computed in them: of a step in bfloat16
of a 12 x 512 prior a third to a half. Elsewhere, and for other allocators, nothing changes.
"""

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator

import torch

# From glibc's malloc.h; `mallopt` takes an int.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -2, -3, -4
KEPT = {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1, M_TOP_PAD: 64 * 2**20}
# What glibc arrives at by itself in a program that frees large blocks; M_TOP_PAD is its default.
USUAL = {
    M_MMAP_MAX: 65536,
    M_MMAP_THRESHOLD: 32 * 2**20,
    M_TRIM_THRESHOLD: 64 * 2**20,
    M_TOP_PAD: 128 * 2**10,
}
# torch reads it before its first block of 2 MiB or more. Systems that give large pages to whoever
# asks give them to tensors then.
LARGE_PAGES = "THP_MEM_ALLOC_ENABLE"


def ask_for_large_pages() -> None:
    """Let torch ask for large pages, unless the user has decided; before a model is made."""
    if sys.platform == "linux":
        os.environ.setdefault(LARGE_PAGES, "1")


@contextlib.contextmanager
def kept_memory(device: torch.device) -> Iterator[None]:
    """Within it, memory freed by work on a CPU stays with the process; afterwards it is given back.

    Settings of malloc that the user has made in the environment are left alone.
    """
    set_up = _mallopt() if device.type == "cpu" else None
    if set_up is None:
        yield
        return
    for name, value in KEPT.items():
        set_up(name, value)
    try:
        yield
    finally:
        for name, value in USUAL.items():
            set_up(name, value)
        ctypes.CDLL(None).malloc_trim(0)


def _mallopt() -> "ctypes._NamedFuncPointer | None":
    """glibc's function, where it is there and nobody else has a say."""
    decided = any(name.startswith("MALLOC_") for name in os.environ)
    if sys.platform != "linux" or decided or "GLIBC_TUNABLES" in os.environ:
        return None
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return None  # another C library
    return library.mallopt
