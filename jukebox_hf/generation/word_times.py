"""When each word is sung, estimated from an alignment; as records and as an `.lrc` file.

A `LyricAlignment` goes in; words with their seconds come out. The estimate reads the lyrics once,
from left to right: of all such readings, the one that the prior's attention agrees with most.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jukebox_hf.generation.alignment import LyricAlignment

STEP_SECONDS = 0.02  # how finely a reading is placed; a fast singer needs about 0.04 per character
FLOOR = 1e-4  # attention below this is noise
# What moving on by one character costs, in nats per step: enough not to run ahead after noise.
MOVE_COST = 0.02
# The reading may skip characters. Up to this many are taken to be sung in between; more are not.
LONGEST_GAP = 24


class SungWord(NamedTuple):
    """A word of the lyrics, and when it is sung."""

    text: str
    first: int  # its first character's place in the lyrics
    start_seconds: float
    end_seconds: float
    confidence: float  # mean attention to its characters meanwhile, 0 to 1

    def to_record(self) -> dict[str, Any]:
        """The word as JSON has it."""
        return {
            "text": self.text,
            "first_character": self.first,
            "start_seconds": round(self.start_seconds, 3),
            "end_seconds": round(self.end_seconds, 3),
            "confidence": round(self.confidence, 4),
        }


def word_times(alignment: LyricAlignment) -> list[SungWord]:
    """The words that are sung in the piece, in order; the lyrics' other words are left out.

    Times are an estimate: they are as good as the attention of the prior, whose quality differs
    from take to take (`confidence` tells).
    """
    weights, step_seconds = _in_steps(alignment)
    seen = np.flatnonzero(weights.max(axis=0, initial=0.0) > 0)  # characters that any window saw
    if seen.size == 0:
        return []
    path = seen[best_reading(weights[:, seen])]  # (steps,) the character sung at each step
    starts, ends = _character_times(path, len(alignment.lyrics))
    words = []
    for match in re.finditer(r"\S+", alignment.lyrics):
        characters = np.arange(match.start(), match.end())
        timed = characters[np.isfinite(starts[characters])]
        if timed.size == 0:
            continue
        start, end = float(starts[timed[0]]), float(ends[timed[-1]])
        steps = slice(int(start), max(int(np.ceil(end)), int(start) + 1))
        confidence = float(weights[steps, match.start() : match.end()].sum(axis=1).mean())
        words.append(
            SungWord(
                match.group(),
                match.start(),
                start * step_seconds,
                min(end * step_seconds, alignment.duration_seconds),
                min(confidence, 1.0),
            )
        )
    return words


def _in_steps(alignment: LyricAlignment) -> tuple[NDArray[np.float32], float]:
    """(steps, characters): weights averaged over a few codes at a time; and a step's seconds."""
    weights = alignment.character_weights().numpy()
    codes_per_step = max(1, round(STEP_SECONDS / alignment.code_seconds))
    starts = np.arange(0, len(weights), codes_per_step)
    if starts.size == 0:
        return weights, STEP_SECONDS
    counts = np.diff(np.append(starts, len(weights)))[:, None]
    averages = np.add.reduceat(weights, starts, axis=0) / counts
    return averages.astype(np.float32), codes_per_step * alignment.code_seconds


def best_reading(weights: NDArray[np.float32]) -> NDArray[np.int64]:
    """The path through (steps, characters) that never goes back and collects most log weight.

    It may begin and end anywhere. Returns the character of every step.
    """
    steps, characters = weights.shape
    places = np.arange(characters)
    cost = (MOVE_COST * places).astype(np.float32)
    came_from = np.zeros((steps, characters), dtype=np.int32)
    score = np.log(weights[0] + FLOOR)
    for step in range(1, steps):
        reachable = score + cost
        best = np.maximum.accumulate(reachable)
        came_from[step] = np.maximum.accumulate(np.where(reachable == best, places, 0))
        score = best - cost + np.log(weights[step] + FLOOR)
    path = np.zeros(steps, dtype=np.int64)
    path[-1] = int(score.argmax())
    for step in range(steps - 1, 0, -1):
        path[step - 1] = came_from[step, path[step]]
    return path


def _character_times(
    path: NDArray[np.int64], num_characters: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """First and last-plus-one step of every character; NaN for those that are not sung.

    Characters that a fast reading skips share the time between their neighbours.
    """
    starts = np.full(num_characters, np.nan)
    ends = np.full(num_characters, np.nan)
    visited, first_steps = np.unique(path, return_index=True)
    stops = np.append(first_steps[1:], len(path))
    starts[visited], ends[visited] = first_steps, stops
    for (left, right), (begin, stop) in zip(pairwise(visited), pairwise(first_steps), strict=True):
        if 1 < right - left <= LONGEST_GAP:
            times = np.linspace(begin, stop, right - left + 1)
            starts[left:right], ends[left:right] = times[:-1], times[1:]
    return starts, ends


def to_lrc(words: Sequence[SungWord], lyrics: str) -> str:
    """Timed lyrics: one line per line of the lyrics, with a stamp for the line and every word."""
    ends_of_lines = [match.start() for match in re.finditer("\n", lyrics)]
    lines: dict[int, list[SungWord]] = {}
    for word in words:
        line = int(np.searchsorted(ends_of_lines, word.first))
        lines.setdefault(line, []).append(word)
    written = [
        f"[{_stamp(line[0].start_seconds)}]"
        + " ".join(f"<{_stamp(word.start_seconds)}>{word.text}" for word in line)
        + f" <{_stamp(line[-1].end_seconds)}>\n"
        for line in lines.values()
    ]
    return "".join(written)


def _stamp(seconds: float) -> str:
    hundredths = round(seconds * 100)
    return f"{hundredths // 6000:02d}:{hundredths // 100 % 60:02d}.{hundredths % 100:02d}"
