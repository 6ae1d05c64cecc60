"""Lyrics of which it is known when they are sung, and the files that say so (`.lrc`)."""

from __future__ import annotations

import bisect
import codecs
import math
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
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

    Raises:
        ValueError: if times are no numbers, negative, or go backwards.
    """

    segments: tuple[TimedSegment, ...]
    end_seconds: float | None = None
    tags: tuple[tuple[str, str], ...] = field(default=(), compare=False)

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


_STAMP = r"(\d{1,4}):(\d{1,2}(?:[.,]\d{1,6})?)"
_LINE_STAMP = re.compile(rf"\[\s*{_STAMP}\s*\]\s*")
_WORD_STAMP = re.compile(rf"<\s*{_STAMP}\s*>")
_TAG = re.compile(r"\[\s*([A-Za-z_]\w{0,20})\s*:(.*)\]")


def parse_lrc(text: str) -> TimedLyrics:
    """Read timed lyrics in the `.lrc` format.

    A line is `[mm:ss.xx]` and its words; several stamps repeat the line; `<mm:ss.xx>` before a word
    times that word, and after the last word ends it. A stamp without words ends the line before it.
    Tags such as `[ar:...]` are kept; `[offset:+250]` makes everything 250 milliseconds earlier.
    Lines may stand in any order; empty lines and lines that begin with `#` are skipped.

    Raises:
        ValueError: for a line that is none of these, with its number.
    """
    lines: list[list[TimedSegment]] = []
    tags: list[tuple[str, str]] = []
    offset_seconds = 0.0
    for number, raw in enumerate(_lines(text), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if tag := _TAG.fullmatch(line):
            tags.append((tag[1].lower(), tag[2].strip()))
            if tags[-1][0] == "offset":
                offset_seconds = _offset_seconds(tags[-1][1], number)
        else:
            lines += _parse_line(line, number)
    lines.sort(key=lambda segments: segments[0].start_seconds)
    return _join_lines(lines, offset_seconds, tuple(tags))


def _lines(text: str) -> list[str]:
    return re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff"))


def _offset_seconds(value: str, number: int) -> float:
    if not re.fullmatch(r"[+-]?\s*\d{1,9}", value):
        raise ValueError(f"line {number}: [offset:...] takes milliseconds, got {value!r}")
    return int(value.replace(" ", "")) / 1000


def _parse_line(line: str, number: int) -> list[list[TimedSegment]]:
    """One line's segments, once per stamp at its beginning. Each list has at least one segment."""
    starts = []
    rest = line
    while stamp := _LINE_STAMP.match(rest):
        starts.append(_seconds(stamp, number))
        rest = rest[stamp.end() :]
    if not starts or re.match(r"\[\s*\d+\s*:", rest):
        raise ValueError(
            f"line {number}: expected [mm:ss.xx] before the words, got {line[:60]!r}; give every "
            "line a time, or use the lyrics as plain text"
        )
    segments = _parse_words(rest, starts[0], number)
    return [
        [TimedSegment(word.start_seconds + start - starts[0], word.text) for word in segments]
        for start in starts
    ]


def _parse_words(words: str, start: float, number: int) -> list[TimedSegment]:
    """Split at <mm:ss.xx> stamps; blanks around a stamp count once."""
    segments = [TimedSegment(start, "")]
    place = 0
    for stamp in _WORD_STAMP.finditer(words):
        segments[-1] = segments[-1]._replace(text=words[place : stamp.start()])
        segments.append(TimedSegment(_seconds(stamp, number), ""))
        place = stamp.end()
    segments[-1] = segments[-1]._replace(text=words[place:])
    for earlier, later in pairwise(segments):
        if later.start_seconds < earlier.start_seconds:
            raise ValueError(
                f"line {number}: times must not go backwards inside a line, got "
                f"{later.start_seconds:.2f} s after {earlier.start_seconds:.2f} s"
            )
    return _join_words(segments)


def _join_words(segments: list[TimedSegment]) -> list[TimedSegment]:
    """One blank between words that have any, none at the ends of the line."""
    joined: list[TimedSegment] = []
    line = ""
    for start, text in segments:
        words = re.sub(r"\s+", " ", text)
        if words.startswith(" ") and line and not line.endswith(" "):
            joined[-1] = joined[-1]._replace(text=joined[-1].text + " ")
        words = words.lstrip()
        joined.append(TimedSegment(start, words))
        line = "".join(segment.text for segment in joined)
    for place in reversed(range(len(joined))):
        joined[place] = joined[place]._replace(text=joined[place].text.rstrip())
        if joined[place].text:
            break
    return joined


def _seconds(stamp: re.Match[str], number: int) -> float:
    seconds = float(stamp[2].replace(",", "."))
    if seconds >= 60:
        raise ValueError(f"line {number}: seconds go up to 59.99, got {stamp[0].strip()}")
    return int(stamp[1]) * 60 + seconds


def _join_lines(
    lines: list[list[TimedSegment]], offset_seconds: float, tags: tuple[tuple[str, str], ...]
) -> TimedLyrics:
    """All lines with line breaks between them; stamps without words only end what was before."""
    while lines and not _has_words(lines[0]):
        del lines[0]
    if not lines:
        raise ValueError("expected lines such as `[00:12.30]words`, got no timed words at all")
    end = None
    while not _has_words(lines[-1]):
        end = lines.pop()[0].start_seconds
    segments: list[TimedSegment] = []
    for line, following in zip(lines, [*lines[1:], None], strict=True):
        # Words may be timed past the beginning of the next line, as in a duet; they end there.
        latest = following[0].start_seconds if following else (math.inf if end is None else end)
        segments += [word._replace(start_seconds=min(word.start_seconds, latest)) for word in line]
        if following:
            segments[-1] = segments[-1]._replace(text=segments[-1].text + "\n")
    if not segments[-1].text:  # a stamp after the last word
        end = segments.pop().start_seconds
    return TimedLyrics(
        tuple(TimedSegment(max(start - offset_seconds, 0.0), text) for start, text in segments),
        end if end is None else max(end - offset_seconds, 0.0),
        tags,
    )


def _has_words(line: list[TimedSegment]) -> bool:
    return any(segment.text for segment in line)


def read_lyrics(path: Path | str) -> str | TimedLyrics:
    """Read a lyrics file: `.lrc` as timed lyrics, anything else as plain text.

    UTF-8, or UTF-16 with a byte order mark.

    Raises:
        ValueError: for other encodings, or timed lyrics that cannot be read; it names the file.
    """
    path = Path(path)
    return decode_lyrics(path.read_bytes(), timed=path.suffix.lower() == ".lrc", source=str(path))


def decode_lyrics(data: bytes, *, timed: bool = False, source: str = "lyrics") -> str | TimedLyrics:
    """The lyrics in some bytes, as `read_lyrics` does; `source` names them in errors."""
    utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if utf_16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{source}: expected text in UTF-8, got byte {data[error.start]:#04x} at place "
            f"{error.start}; save it as UTF-8"
        ) from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not timed:
        return text
    try:
        return parse_lrc(text)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
