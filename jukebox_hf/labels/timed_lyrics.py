"""Lyrics of which it is known when they are sung; `lyric_formats` reads the files that say so."""

from __future__ import annotations

import bisect
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from jukebox_hf.labels.lyrics import LyricAlphabet

# How fast the last line is taken to be sung where no other line tells.
USUAL_SECONDS_PER_CHARACTER = 1 / 15


class TimedSegment(NamedTuple):
    """Some text and the second at which it begins to be sung; it ends where the next one begins."""

    start_seconds: float
    text: str


@dataclass(frozen=True)
class TimedLyrics:
    """Lyrics of which it is known when they are sung.

    Args:
        segments: lines or words in the order of time, also as pairs of seconds and text; their
            texts joined are the whole lyrics, so line breaks and blanks belong to them.
        end_seconds: where the last segment ends; `None`: it is sung as fast as the others mostly.
        tags: what the file said about itself, such as `("ar", "The Artist")`.
        notes: what of the file was not taken as it stood.

    Raises:
        ValueError: if times are no numbers, negative, or go backwards.
    """

    segments: tuple[TimedSegment, ...]
    end_seconds: float | None = None
    tags: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "segments", tuple(TimedSegment(*pair) for pair in self.segments))
        times = [segment.start_seconds for segment in self.segments]
        if self.end_seconds is not None:
            times.append(self.end_seconds)
        for time in times:
            if not math.isfinite(time) or time < 0:
                raise ValueError(f"lyric times must be seconds from 0 on, got {time}")
        for earlier, later in pairwise(times):
            if later < earlier:
                raise ValueError(f"lyric times must not go backwards, got {earlier} before {later}")

    @property
    def text(self) -> str:
        """The whole lyrics."""
        return "".join(segment.text for segment in self.segments)

    def clean(self, alphabet: LyricAlphabet) -> tuple[str, tuple[float, ...]]:
        """The cleaned text, and the second at which each of its characters is sung.

        Inside a segment time passes evenly from character to character.
        """
        texts = [alphabet.clean(segment.text) for segment in self.segments]
        starts = [segment.start_seconds for segment in self.segments]
        seconds: list[float] = []
        for text, start, end in zip(texts, starts, self._ends(texts), strict=True):
            seconds += [start + (end - start) * place / len(text) for place in range(len(text))]
        return "".join(texts), tuple(seconds)

    def _ends(self, texts: Sequence[str]) -> list[float]:
        if not texts:
            return []
        starts = [segment.start_seconds for segment in self.segments]
        if self.end_seconds is not None:
            return [*starts[1:], self.end_seconds]
        rates = [
            (end - start) / len(text)
            for text, (start, end) in zip(texts[:-1], pairwise(starts), strict=True)
            if text
        ]
        rate = statistics.median(rates) if rates else USUAL_SECONDS_PER_CHARACTER
        return [*starts[1:], starts[-1] + rate * len(texts[-1])]


def character_at(seconds: Sequence[float], time: float) -> int:
    """Which character is being sung at a time: the last one begun; 0 before the first.

    >>> character_at([1.0, 1.5, 9.0], 8.0)
    1
    """
    return max(bisect.bisect_right(seconds, time) - 1, 0)
