"""Whether codes are quotations: the place in known songs that is most like a window. Numpy only."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

CodeArray = npt.NDArray[np.int64]


class Quote(NamedTuple):
    """The most similar place in the known codes."""

    song: int  # its number
    start: int  # code at which the place begins
    equal_share: float  # of the window's codes that are the same there
    longest_run: int  # of equal codes, one after another


def nearest_window(window: CodeArray, songs: Sequence[npt.NDArray[Any]]) -> Quote:
    """Where in the songs' codes most codes of a window stand at the same places.

    Every shift of every song is tried. A song shorter than the window cannot hold it. Raises
    `ValueError` when all are shorter.
    """
    best: Quote | None = None
    for song, codes in enumerate(songs):
        shifts = len(codes) - len(window) + 1
        if shifts < 1:
            continue
        equal = np.zeros(shifts, dtype=np.uint16)
        for place, code in enumerate(window.astype(codes.dtype)):
            equal += codes[place : place + shifts] == code
        start = int(equal.argmax())
        share = float(equal[start]) / len(window)
        if best is None or share > best.equal_share:
            run = longest_run(codes[start : start + len(window)] == window)
            best = Quote(song, start, share, run)
    if best is None:
        raise ValueError(f"no song is as long as a window of {len(window)} codes")
    return best


def longest_run(flags: npt.NDArray[np.bool_]) -> int:
    """Length of the longest unbroken run of True."""
    ends = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return int((ends[1::2] - ends[::2]).max(initial=0))


def cut_windows(songs: Sequence[CodeArray], length: int, limit: int) -> list[CodeArray]:
    """At most `limit` windows that do not overlap, spread evenly over all there are."""
    windows = [
        codes[start : start + length]
        for codes in songs
        for start in range(0, len(codes) - length + 1, length)
    ]
    chosen = np.linspace(0, len(windows) - 1, min(limit, len(windows))).round().astype(int)
    return [windows[place] for place in chosen]
