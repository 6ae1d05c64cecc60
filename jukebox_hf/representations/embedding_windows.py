"""Which codes of a piece run together as one window, and which states are kept of it. No tensors.

A prior sees `context_length` codes. Longer pieces run in windows that overlap; a state that several
windows have is taken from the earliest, in which it has most past. States are copied, never
averaged: those of different places in a window differ in more than noise.
"""

import math
from typing import NamedTuple


class CodeWindow(NamedTuple):
    """Codes `start` to `stop` of a piece run at once; the states from `kept` on are taken."""

    start: int
    stop: int
    kept: int


def code_windows(num_codes: int, context_length: int, hop: int) -> list[CodeWindow]:
    """Windows at 0, hop, 2 hop, ..., the last one ending with the piece.

    After the first window every state has at least `context_length - hop` codes behind it.

    >>> code_windows(10, 4, 2)
    [CodeWindow(start=0, stop=4, kept=0), CodeWindow(start=2, stop=6, kept=4), \
CodeWindow(start=4, stop=8, kept=6), CodeWindow(start=6, stop=10, kept=8)]
    >>> code_windows(5, 4, 3)
    [CodeWindow(start=0, stop=4, kept=0), CodeWindow(start=1, stop=5, kept=4)]
    """
    if num_codes <= context_length:
        return [CodeWindow(0, num_codes, 0)]
    windows, kept = [], 0
    for start in [*range(0, num_codes - context_length, hop), num_codes - context_length]:
        windows.append(CodeWindow(start, start + context_length, kept))
        kept = start + context_length
    return windows


def adjacent_windows(num_codes: int, context_length: int) -> list[CodeWindow]:
    """Windows side by side, all of them whole: of the last one there may be more than codes.

    >>> adjacent_windows(6, 4)
    [CodeWindow(start=0, stop=4, kept=0), CodeWindow(start=4, stop=8, kept=4)]
    """
    starts = range(0, num_codes, context_length)
    return [CodeWindow(start, start + context_length, start) for start in starts]


def piece_starts(num_samples: int, window: int, stride: int) -> list[int]:
    """Where pieces of `window` samples begin, every `stride`; what is left at the end is dropped.

    >>> piece_starts(10, 4, 3), piece_starts(3, 4, 3)
    ([0, 3, 6], [])
    """
    return list(range(0, num_samples - window + 1, stride))


class Timing(NamedTuple):
    """What a prior is told: length of the whole piece and place of a window in it, in samples."""

    total_samples: int
    offset_samples: int


def fixed_timing(
    min_total_seconds: float, sampling_rate: int, hop_length: int, window_samples: int
) -> Timing:
    """The same for every window of every file, as jukemirlib has it.

    The total is 62/60 of the shortest one that the prior was trained with: 62 s for the released
    models, which take no less than 60. In whole codes, and never shorter than a window.
    """
    total = int(min_total_seconds * 62 / 60 * sampling_rate) // hop_length * hop_length
    return Timing(max(total, window_samples), 0)


def true_timing(
    num_samples: int,
    offset: int,
    *,
    min_total_seconds: float,
    max_total_seconds: float,
    sampling_rate: int,
    hop_length: int,
    window_samples: int,
) -> Timing:
    """Length of the song and place of the window, within what the prior was trained for.

    As Sheet Sage has it: in whole codes, and a window that would reach past the end of the song
    stands as far from its beginning as one that ends with it.

    >>> true_timing(22051, 16384, min_total_seconds=0.25, max_total_seconds=2.0,
    ...     sampling_rate=44100, hop_length=128, window_samples=8192)
    Timing(total_samples=22016, offset_samples=13824)
    """
    shortest = math.ceil(min_total_seconds * sampling_rate / hop_length) * hop_length
    longest = (math.ceil(max_total_seconds * sampling_rate / hop_length) - 1) * hop_length
    total = min(max(num_samples // hop_length * hop_length, shortest, window_samples), longest)
    offset = offset // hop_length * hop_length
    return Timing(total, max(min(offset, total - window_samples), 0))
