"""How a long sequence is cut, so that each piece is computed as if it were whole. No tensors."""

from collections.abc import Iterator
from typing import NamedTuple


class Chunk(NamedTuple):
    """One piece of a long sequence, `start` to `stop`, and what must be read to compute it."""

    start: int
    stop: int
    read_start: int
    read_stop: int


def chunks(total: int, size: int | None, halo: int) -> Iterator[Chunk]:
    """Pieces of at most `size` that make up `total`, each read with `halo` more on both sides.

    >>> [tuple(chunk) for chunk in chunks(total=10, size=4, halo=1)]
    [(0, 4, 0, 5), (4, 8, 3, 9), (8, 10, 7, 10)]
    """
    size = size or total
    for start in range(0, total, size):
        stop = min(start + size, total)
        yield Chunk(start, stop, max(0, start - halo), min(stop + halo, total))
