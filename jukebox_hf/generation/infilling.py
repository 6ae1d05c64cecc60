"""Infilling: what somebody asks for that wants a stretch of a take made again, or put in.

A session or codes file and times go in; the prompt of the new piece and the hole in it come out.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from jukebox_hf.generation.continuing import Source, Start
from jukebox_hf.generation.editing import find_take
from jukebox_hf.generation.holes import Hole
from jukebox_hf.generation.settings import Prompt
from jukebox_hf.words import enumerate_words

DEFAULT_CANDIDATES = 8
MOST_CANDIDATES = 1000


class Infill(NamedTuple):
    """What is to be made again.

    Attributes:
        prompt: of each take.
        hole: where.
        level: the finest that the old piece has.
        start: the old piece.
        notes: what somebody who asked for it should know.
    """

    prompt: Prompt
    hole: Hole
    level: int
    start: Start
    notes: tuple[str, ...]


def find_hole(source: Source, wanted: Mapping[str, Any], changes: Mapping[str, Any]) -> Infill:
    """The stretch that is asked for; errors as of `Request.infill`."""
    start = find_take(source, wanted.get("take"))
    codes = start.codes
    rate, top = codes.sampling_rate, codes.hop_lengths[-1]
    level, notes = _finest(start)
    length = codes.num_samples(len(codes.hop_lengths) - 1) // top
    begin, end, removed = _bounds(start, wanted, length)
    candidates = wanted.get("candidates") or DEFAULT_CANDIDATES
    takes = wanted.get("takes") or 1
    if not 1 <= candidates <= MOST_CANDIDATES:
        raise ValueError(f"candidates must be 1 to {MOST_CANDIDATES}, got {candidates}")
    if not 1 <= takes <= candidates:
        raise ValueError(
            f"takes are the best of the candidates: give 1 to {candidates}, or more candidates; "
            f"got {takes}"
        )
    levels = {one: codes.levels[one] for one in codes.levels if one >= level}
    joined = {one: own for one, own in codes.joined.items() if one in levels}
    original = replace(codes, levels=levels, joined=joined)
    hole = Hole(begin * top, end * top, removed * top, candidates, original)
    seconds = (length - removed + end - begin) * top / rate
    given = {one: hole.begin // codes.hop_lengths[one] for one in levels}
    prompt = replace(
        start.prompt,
        seconds=seconds,
        primer=original.cut(given) if begin else None,
        primer_start_seconds=0.0,
        primer_end_seconds=None,
    )
    prompt = replace(prompt, **changes)
    if start.total_samples is not None and changes.get("total_seconds") is None:
        total = max(start.total_samples / rate, prompt.offset_seconds + seconds)
        prompt = replace(prompt, total_seconds=total)
    return Infill(prompt, hole, level, start, tuple(notes))


def _finest(start: Start) -> tuple[int, list[str]]:
    """The finest level down to which all are complete, and what is said of the others."""
    codes = start.codes
    highest = len(codes.hop_lengths) - 1
    if highest not in codes.levels:
        raise ValueError(
            f"take {start.number} has no codes of level {highest}, the top, in which a stretch is "
            "made first; encode the audio at all levels"
        )
    whole = codes.num_samples(highest)
    level = highest
    while level - 1 in codes.levels and codes.num_samples(level - 1) >= whole:
        level -= 1
    if level == 0:
        return level, []
    missing = "level 0 is" if level == 1 else f"levels {enumerate_words(range(level))} are"
    return level, [f"{missing} not there in full, and left out (`jukebox upsample`)"]


def _bounds(start: Start, wanted: Mapping[str, Any], length: int) -> tuple[int, int, int]:
    """Begin and end in top codes, and how many old ones go."""
    rate, top = start.codes.sampling_rate, start.codes.hop_lengths[-1]
    begins, ends, insert = (wanted.get(f"{one}_seconds") for one in ("from", "to", "insert"))
    if begins is None:
        raise ValueError("from_seconds is missing: where does the new stretch begin?")
    if (ends is None) == (insert is None):
        raise ValueError("give either where the stretch ends (to), or how much to put in (insert)")
    whole = length * top / rate
    for name, value in (("begins", begins), ("ends", ends)):
        if value is not None and not 0 <= value <= whole + top / rate:
            raise ValueError(
                f"the stretch {name} at {value:g} s, but take {start.number} lasts {whole:.2f} s"
            )
    if ends is not None and ends <= begins:
        raise ValueError(f"the stretch must end after it begins, got {begins:g} to {ends:g} s")
    begin = round(begins * rate / top)
    removed = 0 if ends is None else round(ends * rate / top) - begin
    new = removed if insert is None else round(insert * rate / top)
    if new < 1:
        raise ValueError(f"the stretch must last at least {top / rate:.4f} s, a code of the top")
    if begin + removed >= length:
        raise ValueError(
            f"nothing follows the stretch in take {start.number}, which lasts {whole:.2f} s; "
            "use `jukebox continue --from` for an end"
        )
    return begin, begin + new, removed
