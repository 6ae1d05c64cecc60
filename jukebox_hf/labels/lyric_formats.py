"""Lyrics as people have them: plain text, and text with times in any of the usual formats.

Text or a file goes in; plain lyrics or `TimedLyrics` come out. What a text is shows in its content,
not in its name: times never become words to sing. `.lrc` in all its dialects (times in any kind of
bracket, or in none), `.srt`, `.vtt`, `.sbv`, `.ass`, `.ttml`, karaoke files (`karaoke_formats`),
label tracks of Audacity, and JSON of recognisers are read. A line that makes no sense costs that
line, and a note says which.
"""

from __future__ import annotations

import html
import json
import logging
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from jukebox_hf.labels.karaoke_formats import as_lrc
from jukebox_hf.labels.timed_lyrics import TimedLyrics, TimedSegment
from jukebox_hf.texts import composed, decode_text, read_bytes
from jukebox_hf.words import shorten

logger = logging.getLogger(__name__)

LARGEST_LYRICS_BYTES = 4 * 2**20
LYRICS_SUFFIXES = (".lrc", ".vtt", ".srt", ".sbv", ".ass", ".ttml", ".txt")
TIMED_SUFFIXES = LYRICS_SUFFIXES[:-1]
LISTED_NOTES = 5  # of one text
BACKWARDS_SECONDS = 1.0  # what words may be timed before those in front of them without a note
# `[00:01:30]` is mostly 1.3 seconds. In a long text that nobody could sing so fast, it is 90.
LINES_THAT_TELL = 8
FASTEST_SECONDS_PER_LINE = 0.5

_OPEN, _CLOSE = (
    "\\[(<{\uff08\uff3b\u3010\u3014\uff5b\uff1c\u300a\u3008\u300c\u300e\u00ab\u2039",
    "\\])>}\uff09\uff3d\u3011\u3015\uff5d\uff1e\u300b\u3009\u300d\u300f\u00bb\u203a",
)
_TIME = (
    r"(?:(\d{1,2})[:\uff1a](?=\d\d[:\uff1a]\d\d[.,]))?"
    r"(\d{1,4})(?:[:\uff1a]|\.(?=\d\d[.,:]\d{2,3}\s*[\]\uff3d\u3011]))(\d{1,2})(?:([.,\uff0e:\uff1a])(\d{1,6}))?"
)
_TO = r"\s*(?:-{1,2}>|\u2192|[-\u2013\u2014~\uff5e])\s*"
_STAMP = re.compile(rf"[{_OPEN}]\s*{_TIME}(?:{_TO}{_TIME})?\s*[{_CLOSE}]")
_LEADING = re.compile(  # the bracket may have been forgotten
    rf"\s*[{_OPEN}]\s*{_TIME}(?:{_TO}{_TIME})?(?:\s*[{_CLOSE}]|(?=\s))\s*"
)
_BARE = re.compile(
    r"\s*(?:(\d{1,2}):(?=\d\d:\d\d))?(\d{1,3}):(\d\d)(?:([.,:])(\d{1,3}))?(?:\s*[-\u2013\u2014|]\s+|\s+|$)"
)
_MAY_HAVE_TIMES = re.compile(rf"[{_OPEN}]\s*[-+]?\d|^[^\S\n]*\d{{1,3}}:\d\d", re.MULTILINE)
_ALMOST = re.compile(
    rf"[{_OPEN}]\s*[-+]?\d{{1,4}}\s*[:\uff1a][^\s{_OPEN}{_CLOSE}]{{0,12}}[{_CLOSE}]?"
)
_TAG = re.compile(r"[\[\uff3b]\s*([^\W\d][^\[\]:\uff1a]{0,40}|#)\s*[:\uff1a](.*)[\]\uff3d]")
_NAME = re.compile(rf"[{_OPEN}][^{_OPEN}{_CLOSE}]{{1,60}}[{_CLOSE}]\s*:?")
_CUE_TIME = r"(?:(\d{1,3}):)?(\d{1,3}):(\d{1,2})(?:([.,:])(\d{1,3}))?"
_CUE = re.compile(rf"\s*{_CUE_TIME}\s*(?:-{{1,2}}>|\u2192|,)\s*{_CUE_TIME}(?:\s.*)?")
_ARROW = re.compile(r"\d\s*(?:-->|\u2192)")
_SBV = re.compile(r"\s*\d{1,2}:\d\d:\d\d\.\d{3},\d{1,2}:\d\d:\d\d\.\d{3}\s*")
_LABEL = re.compile(
    r"(\d{1,6}[.,]\d{1,9})\t(\d{1,6}[.,]\d{1,9})(?:\t(.*))?"  # as Audacity writes them
    r"|(\d{1,6}\.\d{1,9})[,;] ?(\d{1,6}\.\d{1,9})[,;] ?(.*)"  # with commas
)
_MARKUP = re.compile(r"<(?!\s*\d)[^<>]{0,200}>|\{\\[^{}]{0,200}\}")
_FILE_NAME = re.compile(r"[^\n]{1,255}\.(?:txt|lrc|srt|vtt|sbv|ass|md|rtf|docx?|pdf)", re.I)


class FoundLyrics(NamedTuple):
    """Lyrics, and which lines of their text were not taken as they stood."""

    lyrics: str | TimedLyrics
    notes: tuple[str, ...] = ()


class VerbatimLyrics(str):
    """Lyrics that are words as they stand, whatever looks like a time in them."""


def find_lyrics(text: str) -> FoundLyrics:
    """What a text is: timed lyrics if it has times, else the text itself, unchanged.

    Where only a few lines of many have a time, it holds for all lines up to the next one. A text
    with times here and there, in no order, is plain; the times are left out. `VerbatimLyrics` are
    what they are.
    """
    if isinstance(text, VerbatimLyrics):
        return FoundLyrics(text)
    stripped = text.lstrip("\ufeff \t\r\n")
    if stripped[:1] in ("{", "["):
        segments = _json_segments(stripped)
        if segments is not None:
            return FoundLyrics(segments)
    lines = _lines(text)
    notes = _Notes()
    timed: TimedLyrics | None = None
    if (rewritten := as_lrc(text, lines)) is not None:
        notes.texts += rewritten.notes
        timed = _parse_stamps(rewritten.lines, notes) if rewritten.is_timed else None
        if timed is None:
            return FoundLyrics("\n".join(rewritten.lines), notes.all())
    elif any(map(_is_cue, lines)):
        timed = _parse_cues(lines, notes)
    elif any(line.startswith("Dialogue:") for line in lines):
        timed = _parse_ass(lines, notes)
    elif stripped and all(_LABEL.fullmatch(line.strip()) for line in lines if line.strip()):
        timed = _parse_labels(lines)
    elif _BARE.match(text) or _MAY_HAVE_TIMES.search(text):
        timed = _parse_stamps(lines, notes)
        if timed is None and any(map(_STAMP.search, lines)):
            return _without_times(text)
    return FoundLyrics(text) if timed is None else FoundLyrics(timed, timed.notes)


def parse_lrc(text: str) -> TimedLyrics:
    """Read timed lyrics in the `.lrc` format.

    A line is `[mm:ss.xx]` and its words; several stamps repeat the line; `<mm:ss.xx>` or
    `[mm:ss.xx]` before a word times that word, and after the last word ends it. A stamp without
    words ends the line before it. Hundredths may stand behind a colon. Tags such as `[ar:...]` are
    kept; `[offset:+250]` makes everything 250 milliseconds earlier. Lines may stand in any order;
    empty lines and lines that begin with `#` are skipped; others without a time are left out, see
    `TimedLyrics.notes`.

    Raises:
        ValueError: for a text without timed words.
    """
    found = find_lyrics(text)
    if isinstance(found.lyrics, TimedLyrics):
        return found.lyrics
    for number, line in enumerate(_lines(text), start=1):
        if line.strip() and not (_STAMP.match(line.strip()) or _TAG.match(line.strip())):
            raise ValueError(
                f"line {number}: expected [mm:ss.xx] before the words, got {line.strip()[:60]!r}; "
                "give every line a time, or use the lyrics as plain text"
            )
    raise ValueError("expected lines such as `[00:12.30]words`, got no timed words at all")


def timed_segments(rows: Iterable[Any]) -> TimedLyrics:
    """Timed lyrics from mappings with `start` or `start_seconds`, and `text`, `word` or `line`.

    Words get a blank after them and lines a newline, unless they bring their own.

    Raises:
        ValueError: for a row that is no such mapping.
    """
    pieces: list[tuple[float, str, str]] = []
    end = None
    for row in rows:
        start = _first(row, "start_seconds", "start", "time")
        text = _first(row, "text", "word", "line")
        if start is None or text is None:
            raise ValueError(
                "each segment of timed lyrics needs a start, and a text, word or line; "
                f"got {shorten(row)}"
            )
        separator = " " if "word" in row else "\n" if "line" in row else ""
        pieces.append((_as_seconds(start), str(text), separator))
        end = _first(row, "end_seconds", "end")
    words = [text for _, text, separator in pieces if separator == " "]
    # Recognisers give words with the blank before them, and parts of words without one.
    bring_blanks = sum(text[:1].isspace() or text[-1:].isspace() for text in words) > len(words) / 2
    segments = []
    following = [*(text for _, text, _ in pieces[1:]), ""]
    for (start, text, separator), after in zip(pieces, following, strict=True):
        has_own = text[-1:].isspace() or after[:1].isspace()
        if has_own or (separator == " " and bring_blanks):
            separator = ""
        segments.append(TimedSegment(start, text + separator))
    last = None if end is None else _as_seconds(end)
    return TimedLyrics(tuple(segments), last)


def looks_like_file_name(text: str) -> bool:
    """Whether lyrics are more likely the name of the file that holds them."""
    return _FILE_NAME.fullmatch(text.strip()) is not None


def read_lyrics(path: Path | str) -> str | TimedLyrics:
    """Read a lyrics file: timed lyrics where its content has times, else plain text.

    UTF-8 or UTF-16, up to `LARGEST_LYRICS_BYTES`. What was left out stands in `TimedLyrics.notes`.

    Raises:
        ValueError: for other encodings, larger files, or a `.lrc` without times; it names the file.
        OSError: for what is no file.
    """
    found = read_lyrics_file(path)
    _warn(found, str(path))
    return found.lyrics


def read_lyrics_file(path: Path | str) -> FoundLyrics:
    """The same, with the notes also of plain text."""
    path = Path(path)
    data = read_bytes(path, largest=LARGEST_LYRICS_BYTES, what="lyrics")
    return _decode(data, timed=path.suffix.lower() in TIMED_SUFFIXES, source=str(path))


def decode_lyrics(data: bytes, *, timed: bool = False, source: str = "lyrics") -> str | TimedLyrics:
    """The lyrics in some bytes, as `read_lyrics` does; `source` names them in errors.

    `timed`: there must be times, as in a file that is called `.lrc`.
    """
    found = _decode(data, timed=timed, source=source)
    _warn(found, source)
    return found.lyrics


def _decode(data: bytes, *, timed: bool, source: str) -> FoundLyrics:
    if len(data) > LARGEST_LYRICS_BYTES:
        raise ValueError(f"{source}: expected at most {LARGEST_LYRICS_BYTES:,} bytes of lyrics")
    text = decode_text(data, source).text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        found = find_lyrics(composed(text))
        if timed and not isinstance(found.lyrics, TimedLyrics):
            return FoundLyrics(parse_lrc(text))
        return found
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def _warn(found: FoundLyrics, source: str) -> None:
    if not isinstance(found.lyrics, TimedLyrics):  # which tells its own notes
        for text in found.notes:
            logger.warning("%s: %s", source, text)


# --- lines with stamps ---------------------------------------------------------------------------


class _Notes:
    """What is said of a text: a few lines of it, then how many more there are."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.more = 0

    def add(self, number: int, text: str) -> None:
        """Something about a line."""
        if len(self.texts) < LISTED_NOTES:
            self.texts.append(f"line {number}: {text}")
        else:
            self.more += 1

    def left_out(self, number: int, line: str) -> None:
        """A line that has no time."""
        self.add(number, f"left out, since it has no time: {line.strip()[:60]!r}")

    def all(self) -> tuple[str, ...]:
        """Every note."""
        more = [f"and {self.more} more lines like these"] if self.more else []
        return (*self.texts, *more)


class _Line(NamedTuple):
    """A line that begins with times, or has them between its words."""

    number: int
    leads: bool
    starts: list[float]  # the line is sung at each of them
    words: str
    marks: list[tuple[int, int, float]]  # in the words: from place, to place, a time
    end: float | None


def _parse_stamps(lines: Sequence[str], notes: _Notes) -> TimedLyrics | None:
    """Lines such as `[00:12.30]words`; None if times do not order this text."""
    bare = _has_bare_stamps(lines)
    clock = _reads_as_clock(lines)
    tags: list[tuple[str, str]] = []
    offset = 0.0
    parsed: list[_Line | str] = []
    numbers: list[int] = []
    for number, raw in enumerate(lines, start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        found = _split_line(line, number, bare=bare, clock=clock)
        if found is None and (tag := _TAG.fullmatch(line)):
            tags.append((tag[1].strip().lower(), tag[2].strip()))
            if tags[-1][0] == "offset":
                offset = _offset_seconds(tags[-1][1], number, notes)
            continue
        parsed.append(line if found is None else found)
        numbers.append(number)
    timed = [line for line in parsed if isinstance(line, _Line)]
    plain = sum(isinstance(line, str) and _is_words(line) for line in parsed)
    with_words = sum(bool(line.words.strip()) for line in timed)
    if not timed:
        return None
    starts = [line.starts[0] for line in timed]
    orders = len(starts) > 1 and _in_order(starts)
    if not orders and (plain > with_words or not any(line.leads for line in timed)):
        return None
    if plain > with_words:
        return _join_sections(parsed, numbers, offset, tuple(tags), notes)
    segments: list[list[TimedSegment]] = []
    for number, entry in zip(numbers, parsed, strict=True):
        if isinstance(entry, str):
            notes.left_out(number, entry)
        else:
            segments += _repeat(entry, notes)
    segments.sort(key=lambda line: line[0].start_seconds)
    return _join_lines(segments, offset, tuple(tags), notes)


def _split_line(line: str, number: int, *, bare: bool, clock: bool) -> _Line | None:
    starts: list[float] = []
    end = None
    if bare and (stamp := _BARE.match(line)):
        starts.append(_seconds(stamp, clock))
        line = line[stamp.end() :].lstrip()
    bracket = line[:1]  # times in another kind of bracket are those of words
    place = 0
    while (stamp := _LEADING.match(line, place)) and stamp[0].lstrip().startswith(bracket):
        starts.append(_seconds(stamp, clock))
        end = _seconds(stamp, clock, second=True) if stamp[7] else end
        place = stamp.end()
    rest = line[place:]
    marks = [(s.start(), s.end(), _seconds(s, clock)) for s in _STAMP.finditer(rest)]
    leads = bool(starts)
    if not leads:
        if not marks:
            return None
        starts = [marks[0][2]]  # the words before the first time are sung with it
    elif len(starts) > 1 and marks and _in_order([*starts, *(mark[2] for mark in marks)]):
        # `[00:01][00:01]a [00:02]b`: the second time is that of the first word
        marks.insert(0, (0, 0, starts[-1]))
        del starts[1:]
    return _Line(number, leads, starts, rest, marks, end)


def _in_order(times: Sequence[float]) -> bool:
    return all(earlier <= later for earlier, later in pairwise(times))


def _seconds(stamp: re.Match[str], clock: bool, *, second: bool = False) -> float:
    hours, minutes, seconds, separator, fraction = stamp.groups()[5 * second : 5 * second + 5]
    if separator in (":", "\uff1a") and fraction and clock and len(fraction) <= 2:
        return int(minutes) * 3600 + int(seconds) * 60.0 + int(fraction)
    part = int(fraction) / 10 ** len(fraction) if fraction else 0.0
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + part


def _reads_as_clock(lines: Sequence[str]) -> bool:
    """Whether three numbers with colons between them are hours, minutes and seconds."""
    times = []
    for line in lines:
        stamp = _LEADING.match(line) or _BARE.match(line)
        if stamp and stamp[4] in (":", "\uff1a"):
            if len(stamp[5]) > 2 or int(stamp[5]) >= 60:
                return False
            times.append(_seconds(stamp, clock=False))
    span = max(times) - min(times) if times else 0.0
    return len(times) >= LINES_THAT_TELL and span < FASTEST_SECONDS_PER_LINE * len(times)


def _has_bare_stamps(lines: Sequence[str]) -> bool:
    """Whether lines begin with times without brackets: most do, and the times go up."""
    filled = [line for line in lines if line.strip()]
    times = [_seconds(stamp, clock=False) for line in filled if (stamp := _BARE.match(line))]
    return 2 * len(times) >= len(filled) and len(set(times)) > 1 and _in_order(times)


def _is_words(line: str) -> bool:
    """Whether a line is something to sing, not a comment or the name of a part in brackets."""
    return bool(line) and not line.startswith("#") and not _NAME.fullmatch(line)


def _offset_seconds(value: str, number: int, notes: _Notes) -> float:
    if found := re.fullmatch(r"([+-]?)\s*(\d{1,9})(?:[.,]\d*)?\s*(?:ms)?", value):
        return int(found[1] + found[2]) / 1000
    notes.add(number, f"[offset:...] takes milliseconds; left out, since it has {value[:40]!r}")
    return 0.0


def _repeat(line: _Line, notes: _Notes) -> list[list[TimedSegment]]:
    """A line's segments, once for each of its times. Each list has at least one segment."""
    segments = _split_words(line, notes)
    if line.end is not None and line.end >= segments[-1].start_seconds:
        segments.append(TimedSegment(line.end, ""))
    first = line.starts[0]
    later = (
        [TimedSegment(seconds + start - first, text) for seconds, text in segments]
        for start in line.starts[1:]
    )
    return [segments, *later]


def _split_words(line: _Line, notes: _Notes) -> list[TimedSegment]:
    """Split at the times between words; blanks around a time count once."""
    latest = line.starts[0]
    seconds: list[float] = []
    texts: list[str] = []
    place = 0
    for begin, end, time in [*line.marks, (len(line.words), len(line.words), math.inf)]:
        seconds.append(latest)
        texts.append(_without_odd(line.words[place:begin], line, notes))
        place = end
        if time < latest - BACKWARDS_SECONDS:
            notes.add(
                line.number,
                f"times go backwards inside the line, {time:.2f} s after {latest:.2f} s; the "
                "later one counts",
            )
        latest = max(latest, time)
    return list(map(TimedSegment, seconds, _join_words(texts)))


def _without_odd(words: str, line: _Line, notes: _Notes) -> str:
    if odd := _ALMOST.search(words):
        notes.add(line.number, f"left out, since it is no time: {odd[0][:40]!r}")
        return _ALMOST.sub("", words)
    return words


def _join_words(texts: Sequence[str]) -> list[str]:
    """One blank between words that have any, none at the ends of the line."""
    joined: list[str] = []
    ends_blank = True  # also at the beginning of the line
    for text in texts:
        words = " ".join(text.split())
        if text[:1].isspace() and not ends_blank:
            joined[-1] += " "
            ends_blank = True
        if words and text[-1].isspace():
            words += " "
        joined.append(words)
        ends_blank = words.endswith(" ") if words else ends_blank
    for place in reversed(range(len(joined))):
        joined[place] = joined[place].rstrip()
        if joined[place]:
            break
    return joined


def _join_sections(
    parsed: Sequence[_Line | str],
    numbers: Sequence[int],
    offset: float,
    tags: tuple[tuple[str, str], ...],
    notes: _Notes,
) -> TimedLyrics | None:
    """Every time holds for the lines up to the next one; lines before the first are sung before."""
    lines: list[list[TimedSegment]] = [[TimedSegment(0.0, "")]]
    below: list[list[str]] = [[]]
    for number, entry in zip(numbers, parsed, strict=True):
        if isinstance(entry, _Line):
            lines += _repeat(entry._replace(starts=entry.starts[:1]), notes)
            below.append([])
        elif _NAME.fullmatch(entry):
            notes.left_out(number, entry)
        else:
            below[-1].append(_ALMOST.sub("", entry))
    for line, more in zip(lines, below, strict=True):
        last = line[-1]
        text = "\n".join([last.text, *more])
        line[-1] = TimedSegment(last.start_seconds, text if _has_words(line) else text.lstrip("\n"))
    return _join_lines(lines, offset, tags, notes)


def _join_lines(
    lines: list[list[TimedSegment]],
    offset_seconds: float,
    tags: tuple[tuple[str, str], ...],
    notes: _Notes,
) -> TimedLyrics | None:
    """All lines with line breaks between them; stamps without words only end what was before.

    None if there are no words at all.
    """
    first = next((place for place, line in enumerate(lines) if _has_words(line)), len(lines))
    lines = lines[first:]
    if not lines:
        return None
    end = None
    while not _has_words(lines[-1]):
        end = lines.pop()[0].start_seconds
    segments: list[TimedSegment] = []
    for line, following in zip(lines, [*lines[1:], None], strict=True):
        # Words may be timed past the beginning of the next line, as in a duet; they end there.
        latest = following[0].start_seconds if following else (math.inf if end is None else end)
        segments += [
            word if word.start_seconds <= latest else TimedSegment(latest, word.text)
            for word in line
        ]
        if following:
            segments[-1] = TimedSegment(segments[-1].start_seconds, segments[-1].text + "\n")
    if not segments[-1].text:  # a stamp after the last word
        end = segments.pop().start_seconds
    return TimedLyrics(
        tuple(TimedSegment(max(start - offset_seconds, 0.0), text) for start, text in segments),
        end if end is None else max(end - offset_seconds, 0.0),
        tags,
        notes.all(),
    )


def _has_words(line: Sequence[TimedSegment]) -> bool:
    return any(segment.text for segment in line)


def _without_times(text: str) -> FoundLyrics:
    """A plain text without the few times in it."""
    times = [stamp[0] for stamp in _STAMP.finditer(text)]
    shown = ", ".join(times[:3]) + (f" and {len(times) - 3} more" if len(times) > 3 else "")
    note = f"times that do not order the lines are not sung: {shown}"
    return FoundLyrics(re.sub(rf"[ \t]?{_STAMP.pattern}", "", text), (note,))


# --- subtitles -----------------------------------------------------------------------------------


class _Cue(NamedTuple):
    """Words that are shown from one time to another."""

    number: int
    start: float
    end: float | None
    text: str


def _is_cue(line: str) -> bool:
    """Whether a line has the two times of a subtitle, or is meant to have them."""
    return bool(_ARROW.search(line) and not _STAMP.search(line)) or bool(_SBV.fullmatch(line))


def _parse_cues(lines: Sequence[str], notes: _Notes) -> TimedLyrics | None:
    """`.srt`, `.vtt` and `.sbv`: a line with two times, then words up to an empty line."""
    places = [place for place, line in enumerate(lines) if _is_cue(line) or "-->" in line]
    cues = []
    for place, following in zip(places, [*places[1:], len(lines) + 1], strict=True):
        block = list(lines[place + 1 : following])
        if following <= len(lines) and len(block) > 1 and block[-1].strip().isdigit():
            block.pop()  # the number of the next cue, with or without an empty line before it
        words = []
        for line in block:
            if not line.strip():
                break
            words.append(line)
        times = _CUE.fullmatch(lines[place])
        if times is None:
            shown = " ".join([lines[place].strip(), *words])
            notes.add(place + 1, f"left out, since these are no times: {shown[:80]!r}")
            continue
        start, end = (_seconds(times, clock=False, second=second) for second in (False, True))
        cues.append(_Cue(place + 1, start, end, "\n".join(words)))
    return _join_cues(cues, notes)


def _parse_ass(lines: Sequence[str], notes: _Notes) -> TimedLyrics | None:
    """Advanced SubStation Alpha: `Dialogue: layer,start,end,...` and the words as tenth field."""
    cues = []
    for number, line in enumerate(lines, start=1):
        if not line.startswith("Dialogue:"):
            continue
        cells = line.split(",", 9)
        times = _CUE.fullmatch(f"{cells[1]} --> {cells[2]}") if len(cells) == 10 else None
        if times is None:
            notes.add(number, f"left out, since it is no line with times: {line[:60]!r}")
            continue
        start, end = (_seconds(times, clock=False, second=second) for second in (False, True))
        cues.append(_Cue(number, start, end, re.sub(r"\\[Nn]", "\n", cells[9])))
    return _join_cues(sorted(cues, key=lambda cue: cue.start), notes)


def _parse_labels(lines: Sequence[str]) -> TimedLyrics | None:
    """Audacity's labels: start and end in seconds and a text, with tabs between them."""
    cues = []
    for number, line in enumerate(lines, start=1):
        if label := _LABEL.fullmatch(line.strip()):
            start, end = (
                float((label[cell] or label[cell + 3]).replace(",", ".")) for cell in (1, 2)
            )
            words = label[3] or (label[6] or "").strip().strip('"')
            cues.append(_Cue(number, start, end, words))
    return _join_cues(cues, _Notes())


def _join_cues(cues: Sequence[_Cue], notes: _Notes) -> TimedLyrics | None:
    lines: list[list[TimedSegment]] = []
    for cue in sorted(cues, key=lambda cue: cue.start):
        shown = html.unescape(_MARKUP.sub("", cue.text)).split("\n")
        pieces: list[tuple[float, list[str]]] = []
        start = cue.start
        for number, words in enumerate(filter(None, map(str.strip, shown))):
            marks = [(s.start(), s.end(), _seconds(s, clock=False)) for s in _STAMP.finditer(words)]
            found = _split_words(_Line(cue.number, True, [start], words, marks, None), notes)
            if number:
                pieces[-1][1].append("\n")
            if number and not marks:
                pieces[-1][1].append(found[0].text)
            else:
                pieces += [(seconds, [text]) for seconds, text in found]
            start = found[-1].start_seconds
        if not pieces:
            continue
        line = [TimedSegment(seconds, "".join(texts)) for seconds, texts in pieces]
        if lines and lines[-1][-1].start_seconds > line[0].start_seconds:
            lines[-1].pop()  # it is shown on while the next one begins
        if cue.end is not None and cue.end >= line[-1].start_seconds:
            line.append(TimedSegment(cue.end, ""))
        lines.append(line)
    return _join_lines(lines, 0.0, (), notes)


# --- JSON ----------------------------------------------------------------------------------------


def _json_segments(text: str) -> TimedLyrics | None:
    """What recognisers write: a list of segments, or an object that holds one."""
    try:
        content = json.loads(text)
        if isinstance(content, Mapping):
            content = _first(content, "segments", "words", "lyrics", "lines")
        if not isinstance(content, list) or not content:
            return None
        found = timed_segments(content)
    except (ValueError, TypeError, RecursionError):
        return None
    if not any(isinstance(row, Mapping) and "word" in row for row in content):
        lines = (text.strip() for _, text in found.segments)
        starts = (segment.start_seconds for segment in found.segments)
        pairs = zip(starts, lines, strict=True)
        last = len(found.segments) - 1
        segments = tuple(
            TimedSegment(start, line + "\n" * (number < last))
            for number, (start, line) in enumerate(pairs)
        )
        return TimedLyrics(segments, found.end_seconds)
    return found


def _first(row: Any, *names: str) -> Any:
    if not isinstance(row, Mapping):
        return None
    return next((row[name] for name in names if row.get(name) is not None), None)


def _as_seconds(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"lyric times must be seconds, got {shorten(value)}") from None


def _lines(text: str) -> list[str]:
    return re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff"))
