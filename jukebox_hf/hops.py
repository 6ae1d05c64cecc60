"""Hop lengths, the audio samples per code of every level, as codes and records hold them."""

from itertools import pairwise
from typing import Any


def check_hop_lengths(hop_lengths: tuple[Any, ...]) -> None:
    """Raise `ValueError` unless they grow, each a multiple of the one before."""
    if not hop_lengths:
        raise ValueError("hop_lengths must name at least one level, got none")
    for hop_length in hop_lengths:
        check_positive_integer(hop_length, "each hop length")
    for finer, coarser in pairwise(hop_lengths):
        if coarser <= finer or coarser % finer:
            raise ValueError(
                f"hop_lengths must grow from the finest level, each a multiple of the one before, "
                f"got {hop_lengths}"
            )


def check_positive_integer(value: Any, name: str) -> None:
    """Raise `ValueError` unless a value is one."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
