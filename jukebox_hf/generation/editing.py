"""Editing what is made: parts of takes one after another, as a new piece.

Parts of sessions and codes files go in; the prompt of a piece comes out whose codes are all given,
copied at every level, with cross-fades where parts meet. No prior is needed for it.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from jukebox_hf.generation.alignment_files import WORDS_SUFFIX, load_words
from jukebox_hf.generation.chains import (
    COMPARED_SECONDS,
    FADE_SECONDS,
    FADE_STFT,
    Seam,
    most_alike,
)
from jukebox_hf.generation.continuing import Source, Start
from jukebox_hf.generation.joined import Excerpt, Joined, JoinedCodes, join
from jukebox_hf.generation.session import Session
from jukebox_hf.generation.settings import Prompt
from jukebox_hf.generation.word_times import SungWord
from jukebox_hf.locks import holder
from jukebox_hf.vqvae.network import VQVAENetwork
from jukebox_hf.words import refuse_unknown

TIMINGS = ("keep", "new")
LONGEST_FADE_SECONDS = 1.0
LONGEST_SNAP_SECONDS = 10.0
_EDIT = ("snap_seconds", "fade_seconds", "timing")


@dataclass(frozen=True)
class Part:
    """A stretch of a take.

    Args:
        source: a session's folder, or a codes file.
        take: of it; None: the only one, or the only one that was kept.
        start_seconds, end_seconds: of the stretch; None: where the take begins and ends.
    """

    source: Path
    take: int | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "source", Path(self.source))
        start, end = self.start_seconds, self.end_seconds
        if start is not None and end is not None and not start < end:
            raise ValueError(f"{self}: a part must end after it begins")

    def __str__(self) -> str:
        take = "" if self.take is None else f":{self.take}"
        bounds = [
            "" if one is None else f"{one:g}" for one in (self.start_seconds, self.end_seconds)
        ]
        return f"{self.source.name}{take}" + (f"@{'-'.join(bounds)}" if any(bounds) else "")


class Stretch(NamedTuple):
    """A part that was found: what of which take, in top codes."""

    part: Part
    source: Source
    start: Start
    first: int
    end: int
    words: tuple[SungWord, ...] = ()
    lyrics: str = ""

    @property
    def codes(self) -> JoinedCodes:
        return self.start.codes

    def moved(self, *, first: int = 0, end: int = 0) -> "Stretch":
        """With its bounds elsewhere."""
        return self._replace(first=self.first + first, end=self.end + end)


class Edit(NamedTuple):
    """What parts come to, put together.

    Attributes:
        prompt: of the new piece.
        starts: what its parts are taken from.
        sources: where those are.
        level: the finest that it has.
        seed: of what it begins with.
        details: for the record: parts, joins, and how they were made.
        notes: what somebody who asked for it should know.
    """

    prompt: Prompt
    starts: tuple[Start, ...]
    sources: tuple[Source, ...]
    level: int
    seed: int
    details: dict[str, Any]
    notes: tuple[str, ...]


def find_take(source: Source, number: int | None) -> Start:
    """One take of a session or a codes file, that nobody is working on.

    Raises `ValueError` if there is none of that number, or several to choose from.
    """
    if source.session is not None and (who := holder(source.path)) is not None:
        raise ValueError(
            f"{source.path} is being worked on by {who}; wait for it to end, or stop it"
        )
    numbers = source.numbers
    if number is None and len(numbers) > 1:
        listed = ", ".join(str(one) for one in numbers)
        raise ValueError(
            f"{source.path} has takes {listed}; say which, as in {source.path.name}:{numbers[0]}"
        )
    return source.start(numbers[0] if number is None else number)


def edit(parts: Sequence[Part], wanted: Mapping[str, Any], codec: VQVAENetwork) -> Edit:
    """Parts one after another, as a new piece; errors as of `Request.edit`."""
    refuse_unknown(wanted, _EDIT, "the edit")
    snap = wanted.get("snap_seconds") or 0.0
    fade = FADE_SECONDS if wanted.get("fade_seconds") is None else wanted["fade_seconds"]
    for what, value, most in (
        ("a fade lasts from 0 to", fade, LONGEST_FADE_SECONDS),
        ("a join is moved by 0 to", snap, LONGEST_SNAP_SECONDS),
    ):
        if not 0 <= value <= most:
            raise ValueError(f"{what} {most:g} seconds, got {value:g}")
    stretches = _as_one_where_they_follow(find_parts(parts))
    first_codes = stretches[0].codes
    first_codes.check_codec(codec.config, fingerprint=codec.fingerprint())
    levels, notes = _common_levels(stretches)
    moves, seams = [], []
    for left, right in itertools.pairwise(stretches):
        move, alike = _best_move(codec, min(levels), left, right, snap)
        moves.append(move)
        seams.append(Seam(0, alike, round(fade * first_codes.sampling_rate) // 2 * 2))
    stretches = [
        stretch.moved(first=before, end=after)
        for stretch, before, after in zip(stretches, [0, *moves], [*moves, 0], strict=True)
    ]
    codes = _put_together(codec, stretches, levels, seams)
    prompt = _prompt(stretches, codes, wanted.get("timing"))
    if any(one.start.prompt.lyrics or one.lyrics for one in stretches):
        notes.append("lyrics of what is made of this later have to be given again")
    return Edit(
        prompt=prompt,
        starts=tuple(stretch.start for stretch in stretches),
        sources=tuple(stretch.source for stretch in stretches),
        level=min(levels),
        seed=next((s.source.session.settings.seed for s in stretches if s.source.session), 0),
        details=_details(stretches, moves, seams, fade, codes.lyrics),
        notes=tuple(notes),
    )


# --- finding parts ------------------------------------------------------------------------------


def find_parts(parts: Sequence[Part]) -> list[Stretch]:
    """The parts in their takes; errors as of `Request.edit`."""
    if not parts:
        raise ValueError("an edit needs at least one part, as in song:1@0-12.5")
    sources: dict[Path, Source] = {}
    stretches = []
    for part in parts:
        source = sources.setdefault(part.source, Source(part.source))
        start = find_take(source, part.take)
        words, lyrics = ((), "") if source.session is None else sung(source.session, start.number)
        stretches.append(Stretch(part, source, start, *_bounds(part, start), words, lyrics))
    first = stretches[0]
    for other in stretches[1:]:
        _check_same_codec(first, other)
    return stretches


def _as_one_where_they_follow(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Parts of a take that follow each other are one part: nothing is joined there."""
    found: list[Stretch] = []
    for stretch in stretches:
        before = found[-1] if found else None
        if before is not None and _follows(before, stretch):
            part = replace(before.part, end_seconds=stretch.part.end_seconds)
            found[-1] = before._replace(part=part, end=stretch.end)
        else:
            found.append(stretch)
    return found


def _follows(before: Stretch, after: Stretch) -> bool:
    same_file = before.source.path.resolve() == after.source.path.resolve()
    same_take = same_file and before.start.number == after.start.number
    return same_take and before.end == after.first


def _bounds(part: Part, start: Start) -> tuple[int, int]:
    """First and last-plus-one top code of a part."""
    rate, hop = start.codes.sampling_rate, start.codes.hop_lengths[-1]
    length = start.num_samples // hop
    seconds = start.num_samples / rate
    for name, value in (("begins", part.start_seconds), ("ends", part.end_seconds)):
        if value is not None and not 0 <= value <= seconds + hop / rate:
            raise ValueError(f"{part} {name} at {value:g} s, but that take lasts {seconds:.2f} s")
    first = 0 if part.start_seconds is None else round(part.start_seconds * rate / hop)
    end = length if part.end_seconds is None else round(part.end_seconds * rate / hop)
    first, end = min(first, length), min(end, length)
    if end <= first:
        raise ValueError(
            f"nothing is left of {part}: a part lasts at least {hop / rate:.4f} s, and its take "
            f"lasts {seconds:.2f} s"
        )
    return first, end


def _check_same_codec(first: Stretch, other: Stretch) -> None:
    """Raise `ValueError` if codes do not mean the same in both."""
    ours, theirs = first.codes, other.codes
    same = (ours.hop_lengths, ours.sampling_rate) == (theirs.hop_lengths, theirs.sampling_rate)
    known = ours.fingerprint is not None and theirs.fingerprint is not None
    if not same or (known and ours.fingerprint != theirs.fingerprint):
        raise ValueError(
            f"{other.source.path} was made with another codec than {first.source.path}, so their "
            "codes do not go together; decode one and `jukebox encode` it with the other's model"
        )


def _common_levels(stretches: Sequence[Stretch]) -> tuple[list[int], list[str]]:
    """The levels that every part has, and what is said of those that only some have."""
    by_part = []
    for stretch in stretches:
        samples = stretch.end * stretch.codes.hop_lengths[-1]
        levels = stretch.codes.levels
        by_part.append({level for level in levels if stretch.codes.num_samples(level) >= samples})
    common = set.intersection(*by_part)
    if not common:
        listed = "; ".join(
            f"{stretch.part} has {', '.join(map(str, sorted(levels))) or 'none'}"
            for stretch, levels in zip(stretches, by_part, strict=True)
        )
        raise ValueError(f"no level is complete in all parts: {listed}")
    notes = []
    if finer := sorted(level for level in set.union(*by_part) if level < min(common)):
        lacking = next(
            stretch.part
            for stretch, levels in zip(stretches, by_part, strict=True)
            if not set(finer) <= levels
        )
        listed = " and ".join(f"level {level}" for level in finer)
        notes.append(f"{listed} left out, which {lacking} does not have (`jukebox upsample`)")
    return sorted(common), notes


def sung(session: Session, number: int) -> tuple[tuple[SungWord, ...], str]:
    """The words that are known to be sung in a take, and the lyrics that they are of."""
    entry = session.take(number)
    name = next((name for name in entry.alignment if name.endswith(WORDS_SUFFIX)), None)
    if name is None or not (session.folder / name).is_file():
        return (), ""
    words = load_words(session.folder / name)
    parent = session.record.parent
    texts = [parent.details.get("lyrics") if parent is not None else None]
    texts += [labels.lyric_text for labels in entry.labels.values()]
    return tuple(words), next((text for text in texts if isinstance(text, str) and text), "")


# --- joins --------------------------------------------------------------------------------------


def _best_move(
    codec: VQVAENetwork, level: int, left: Stretch, right: Stretch, snap_seconds: float
) -> tuple[int, float]:
    """By how many top codes to move a join, up to `snap_seconds`, and how alike both sides are."""
    rate, hops = left.codes.sampling_rate, left.codes.hop_lengths
    top, hop = hops[-1], hops[level]
    most = round(snap_seconds * rate / top)
    reach = max(round(COMPARED_SECONDS * rate), hop)
    lowest = max(-most, left.first - left.end + 1, -right.first)
    left_length = left.codes.num_samples(level) // top
    highest = min(most, left_length - left.end, right.end - right.first - 1)
    highest = max(highest, 0) if most else 0
    lowest = min(lowest, 0) if most else 0
    scale = top // hop
    move, alike = most_alike(
        codec,
        level,
        (left.codes.level(level).codes, left.end * scale),
        (right.codes.level(level).codes, right.first * scale),
        range(lowest * scale, highest * scale + 1, scale),
        reach=reach,
    )
    return move // scale, alike


def _put_together(
    codec: VQVAENetwork, stretches: Sequence[Stretch], levels: Sequence[int], seams: Sequence[Seam]
) -> JoinedCodes:
    first = stretches[0].codes
    top = first.hop_lengths[-1]
    joined: dict[int, Joined] = {}
    fade = max((seam.fade or 0 for seam in seams), default=0)
    for level in levels:
        hop = first.hop_lengths[level]
        scale = top // hop
        excerpts = [
            Excerpt(
                stretch.codes.level(level).settled(hop, first.sampling_rate),
                stretch.first * scale,
                stretch.end * scale,
            )
            for stretch in stretches
        ]
        reach = codec.decoding_halo(level) + -(-(fade // 2 + FADE_STFT) // hop)
        joined[level] = join(excerpts, seams, reach=reach)
    words, lyrics = _words(stretches)
    return JoinedCodes(
        levels={level: own.codes[None] for level, own in joined.items()},
        hop_lengths=first.hop_lengths,
        sampling_rate=first.sampling_rate,
        fingerprint=next((s.codes.fingerprint for s in stretches if s.codes.fingerprint), None),
        origin={**first.origin, "source": " + ".join(str(stretch.part) for stretch in stretches)},
        joined={level: own for level, own in joined.items() if own.seams},
        words=words,
        lyrics=lyrics,
    )


def _words(stretches: Sequence[Stretch]) -> tuple[tuple[SungWord, ...], str]:
    """The words that are sung in the parts, where they are sung in the new piece."""
    words: list[SungWord] = []
    lyrics = ""
    begin = 0.0
    for stretch in stretches:
        code_seconds = stretch.codes.hop_lengths[-1] / stretch.codes.sampling_rate
        first, end = stretch.first * code_seconds, stretch.end * code_seconds
        inside = [
            word
            for word in stretch.words
            if first <= (word.start_seconds + word.end_seconds) / 2 < end
        ]
        if inside:
            begins = inside[0].first
            text = stretch.lyrics[begins : inside[-1].first + len(inside[-1].text)]
            lyrics += "\n" if lyrics else ""
            words += [
                word._replace(
                    first=word.first - begins + len(lyrics),
                    start_seconds=max(word.start_seconds - first, 0.0) + begin,
                    end_seconds=min(word.end_seconds, end) - first + begin,
                )
                for word in inside
            ]
            lyrics += text
        begin += end - first
    return tuple(words), lyrics


# --- the new piece ------------------------------------------------------------------------------


def _prompt(stretches: Sequence[Stretch], codes: JoinedCodes, timing: str | None) -> Prompt:
    """What the new piece is said to be: names as in its parts, and its time in the song."""
    if timing not in (None, *TIMINGS):
        raise ValueError(f"timing must be keep or new, got {timing!r:.40}")
    first = stretches[0]
    rate, top = codes.sampling_rate, codes.hop_lengths[-1]
    names: dict[str, Any] = {}
    for name in ("artist", "genre"):
        found = [getattr(stretch.start.prompt, name) for stretch in stretches]
        names[name] = next((value for value in found if value), None)
    length = sum(stretch.end - stretch.first for stretch in stretches) * top / rate
    keep = timing == "keep" or (timing is None and len(stretches) == 1)
    offset = first.start.prompt.offset_seconds + first.first * top / rate if keep else 0.0
    prompt = Prompt(**names, seconds=length, offset_seconds=offset, primer=codes)
    totals = [s.start.total_samples for s in stretches if s.start.total_samples is not None]
    if totals:
        prompt = replace(prompt, total_seconds=max(max(totals) / rate, offset + length))
    return prompt


def _details(
    stretches: Sequence[Stretch],
    moves: Sequence[int],
    seams: Sequence[Seam],
    fade: float,
    lyrics: str,
) -> dict[str, Any]:
    rate, top = stretches[0].codes.sampling_rate, stretches[0].codes.hop_lengths[-1]
    begin = 0
    parts, joins = [], []
    for number, stretch in enumerate(stretches):
        session = stretch.source.session
        parts.append(
            {
                "id": session.record.id if session is not None else None,
                "source": stretch.source.path.resolve().name,
                "take": stretch.start.number,
                "start_seconds": round(stretch.first * top / rate, 4),
                "end_seconds": round(stretch.end * top / rate, 4),
            }
        )
        begin += stretch.end - stretch.first
        if number < len(seams):
            joins.append(
                {
                    "seconds": round(begin * top / rate, 4),
                    "moved_seconds": round(moves[number] * top / rate, 4),
                    "likeness": round(seams[number].likeness, 4),
                }
            )
    details: dict[str, Any] = {"parts": parts, "joins": joins, "fade_seconds": fade}
    if lyrics:
        details["lyrics"] = lyrics
    return details
