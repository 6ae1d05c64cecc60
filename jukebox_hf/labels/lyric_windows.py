"""Which part of the lyrics a window of audio sees. Arithmetic only; no tensors.

A prior sees `lyric_length` symbols at once. Shorter lyrics are padded on the left; of longer ones
it sees a stretch around the place that is sung in the middle of the window, as far as anyone knows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class LyricWindow(NamedTuple):
    """Symbols `first` up to `stop` of the lyrics, after `padding` empty places."""

    padding: int
    first: int
    stop: int

    @property
    def span(self) -> tuple[int, int] | None:
        """First and last symbol in the window, or `None` if there is none."""
        return (self.first, self.stop - 1) if self.stop > self.first else None


def linear_centre(
    num_symbols: int,
    *,
    total_samples: int,
    offset_samples: int,
    window_samples: int,
    match_2020_rounding: bool = True,
) -> int:
    """The symbol in the middle of a window, if the whole piece is sung evenly.

    Args:
        num_symbols: of the whole lyrics.
        total_samples, offset_samples, window_samples: length of the piece, start and length of the
            window, in audio samples; 0 <= offset < total.
        match_2020_rounding: compute in float32, as the released sampler did for every window; next
            to whole numbers that is off by one now and then. False: in double precision, as it did
            for training data.

    >>> linear_centre(1000, total_samples=400, offset_samples=100, window_samples=100)
    375
    """
    if not 0 <= offset_samples < total_samples:
        raise ValueError(
            f"a window must start inside the piece of {total_samples} samples, got {offset_samples}"
        )
    if not match_2020_rounding:
        middle = offset_samples + window_samples / 2.0
        return int(num_symbols * middle / total_samples)
    # The order of these four steps decides the last bit.
    middle32 = np.float32(offset_samples) + np.float32(window_samples) / np.float32(2)
    return int(np.float32(num_symbols) * middle32 / np.float32(total_samples))


def lyric_window(num_symbols: int, centre: int, lyric_length: int) -> LyricWindow:
    """The `lyric_length` places around the symbol `centre`, kept inside the lyrics.

    >>> lyric_window(1000, 375, 100)
    LyricWindow(padding=0, first=325, stop=425)
    >>> lyric_window(3, 1, 8)
    LyricWindow(padding=5, first=0, stop=3)
    """
    if num_symbols < lyric_length:
        return LyricWindow(lyric_length - num_symbols, 0, num_symbols)
    half = lyric_length // 2
    centre = min(max(centre, half), num_symbols - half)
    return LyricWindow(0, centre - half, centre + half)
