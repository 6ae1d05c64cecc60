"""Which part of which song is item number i: arithmetic only, no audio, no tensors.

Songs are thought of as one long tape, cut into windows of equal size; a window that would span two
songs moves into the one that holds its middle. This is how the 2020 release chose its training
windows. Lengths are in units that the caller chooses: audio samples, or codes.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np


class SongWindow(NamedTuple):
    """A window: which song, and where in it, in units."""

    song: int
    offset: int


class Draw(NamedTuple):
    """The random numbers of one item, each in [0, 1)."""

    shift: float
    blend: float
    choice: float


class WindowTable:
    """The windows of a list of songs.

    Args:
        lengths: of each song, in units. Songs shorter than a window take no part.
        size: of a window, in units.

    `len` of it is how many windows fit on the tape.
    """

    def __init__(self, lengths: Sequence[int], size: int) -> None:
        if size < 1:
            raise ValueError(f"a window must have at least one unit, got {size}")
        self.size = size
        self._songs = [song for song, length in enumerate(lengths) if length >= size]
        self._ends = list(accumulate(lengths[song] for song in self._songs))

    def __len__(self) -> int:
        return self._ends[-1] // self.size if self._ends else 0

    def window(self, number: int, shift: float | None = None) -> SongWindow:
        """Window `number`; with a `shift` in [0, 1) moved by -1/2 to +1/2 of its size.

        It lies within one song. Raises `IndexError` for a number that is not in range(len).

        >>> WindowTable([10, 3, 5], size=4).window(2)
        Window(song=2, offset=0)
        """
        if not 0 <= number < len(self):
            raise IndexError(f"there are {len(self)} windows, got number {number}")
        size, half = self.size, self.size // 2
        offset = number * size
        if shift is not None:
            offset += int(shift * size) - half
        place = bisect_right(self._ends, offset + half)
        start, end = self._ends[place - 1] if place else 0, self._ends[place]
        if offset > end - size:
            offset = max(start, offset - half)
        elif offset < start:
            offset = min(end - size, offset + half)
        return SongWindow(self._songs[place], offset - start)


def draw(seed: int, epoch: int, item: int, attempt: int = 0) -> Draw:
    """The random numbers of an item: the same whoever asks, in whatever order.

    Philox (Salmon et al. 2011) keyed by the seed, which counts epochs, items and attempts; its raw
    output is the same in every version of numpy.
    """
    counter = np.array([0, attempt, item, epoch], dtype=np.uint64)
    raw = np.random.Philox(key=seed, counter=counter).random_raw(3)
    return Draw(*(int(number >> np.uint64(11)) / 2**53 for number in raw))
