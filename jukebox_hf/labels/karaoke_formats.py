"""Lyrics of karaoke programs and of streaming services, written again as lines of `.lrc`.

Each format is recognised by its content. What comes out goes to `lyric_formats`, which knows no
times but those of `.lrc`. Where a format has a line of text for a line of lyrics, lines keep their
numbers, so that notes name the right ones.

- KuGou, QQ Music and NetEase (krc, qrc, yrc): `[12000,2000]` is a line's start and length in
  milliseconds, with `<0,500,0>word`, `word(12000,500)` or `(12000,500,0)word` inside;
- Timed Text (ttml, as Apple Music has it): `<p begin="12.0" end="14.0">`, and `<span>` for words;
- UltraStar: notes `: 20 4 60 syl`, in beats;
- seconds in brackets, `[12.50]words`; MicroDVD's frames, `{300}{340}words`.
"""

import html
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

LONGEST_TAG = 2000
_LINE = re.compile(r"\s*\[(\d{1,8}),(\d{1,8})\]")
_RELATIVE = re.compile(r"<(\d{1,8}),\d{1,8}(?:,-?\d{1,8})?>")
_ABSOLUTE = re.compile(r"\((\d{1,8}),\d{1,8}(?:,-?\d{1,8})?\)")
_SECONDS = re.compile(r"\s*[\[(<{](\d{1,5}\.\d{1,6})[\])>}]")
_FRAMES = re.compile(r"\s*\{\d{1,7}\}\{\d{0,7}\}")
_NOTE = re.compile(r"\s*[:*FRG]\s+(-?\d{1,7})\s+(\d{1,7})\s+-?\d{1,4} ?(.*)")
_BREAK = re.compile(r"\s*-\s*-?\d{1,7}(?:\s+-?\d{1,7})?\s*")
_SETTING = re.compile(r"\s*#([A-Za-z]\w{0,30}):(.*)")
_TAG = re.compile(
    rf"<(/?)(?:[\w.-]{{1,40}}:)?([\w.-]{{1,40}})((?:[\s/][^<>]{{0,{LONGEST_TAG}}})?)>"
)
_ATTRIBUTE = re.compile(r"""(?:^|\s)(begin|end)\s{0,9}=\s{0,9}["']([^"']{0,40})["']""")
_CLOCK = re.compile(r"(?:(?:(\d{1,4}):)?(\d{1,4}):)?(\d{1,6}(?:\.\d{1,9})?)s?")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_OFFSET = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(h|ms|m|s)")


class Rewritten(NamedTuple):
    """Lines of `.lrc`, and what to say of the text."""

    lines: list[str]
    notes: tuple[str, ...] = ()
    is_timed: bool = True  # else the lines are plain words


def as_lrc(text: str, lines: Sequence[str]) -> Rewritten | None:
    """The text as lines of `.lrc`; None where it is in none of these formats."""
    if "<tt" in text[:4096] and "begin=" in text:
        return _from_ttml(text)
    filled = [line for line in lines if line.strip()]
    if sum(bool(_NOTE.fullmatch(line)) for line in filled) > 1 and _settings(lines).get("BPM"):
        return _from_ultrastar(lines)

    def share(pattern: re.Pattern[str]) -> float:
        return sum(bool(pattern.match(line)) for line in filled) / max(1, len(filled))

    if share(_LINE) > 0.5:
        return Rewritten([_from_milliseconds(line) for line in lines])
    if share(_FRAMES) > 0.5:
        words = [_FRAMES.sub("", line).replace("|", "\n") for line in lines]
        note = "its times are in frames of a film and are not used"
        return Rewritten(words, (note,), False)
    if len(filled) > 1 and share(_SECONDS) > 0.5:
        return Rewritten([_from_seconds(line) for line in lines])
    return None


def _stamp(seconds: float, brackets: str = "[]") -> str:
    minutes, rest = divmod(round(max(0.0, seconds) * 1000), 60_000)
    return f"{brackets[0]}{minutes:02d}:{rest // 1000:02d}.{rest % 1000:03d}{brackets[1]}"


def _from_seconds(line: str) -> str:
    head = _SECONDS.match(line)
    return _stamp(float(head[1])) + line[head.end() :] if head else line


def _from_milliseconds(line: str) -> str:
    head = _LINE.match(line)
    if head is None:
        return line
    start, rest = int(head[1]), line[head.end() :]
    end = _stamp((start + int(head[2])) / 1000, "<>")
    if _RELATIVE.search(rest):
        words = _RELATIVE.sub(lambda found: _stamp((start + int(found[1])) / 1000, "<>"), rest)
    elif _ABSOLUTE.match(rest):
        words = _ABSOLUTE.sub(lambda found: _stamp(int(found[1]) / 1000, "<>"), rest)
    else:  # a word's time stands behind it
        pieces, place = [], 0
        for found in _ABSOLUTE.finditer(rest):
            pieces += [_stamp(int(found[1]) / 1000, "<>"), rest[place : found.start()]]
            place = found.end()
        words = "".join([*pieces, rest[place:]])
    return f"{_stamp(start / 1000)}{words}{end}"


# --- UltraStar -----------------------------------------------------------------------------------


def _settings(lines: Sequence[str]) -> dict[str, str]:
    found = (_SETTING.fullmatch(line) for line in lines)
    return {setting[1].upper(): setting[2].strip() for setting in found if setting}


def _number(text: str | None) -> float:
    try:
        return float((text or "0").replace(",", "."))
    except ValueError:
        return 0.0


def _from_ultrastar(lines: Sequence[str]) -> Rewritten:
    """Beats are quarters of those that the `#BPM` counts; `#GAP` is in milliseconds."""
    settings = _settings(lines)
    bpm, gap = _number(settings.get("BPM")), _number(settings.get("GAP")) / 1000
    seconds_per_beat = 15.0 / bpm if bpm > 0 else 0.0
    written: list[list[str]] = []  # in pieces; notes belong to the row of their line's first
    row = -1  # where the line of words is that is being put together
    end = ""
    first_beat = 0
    for line in lines:
        note = _NOTE.fullmatch(line)
        written.append([])
        if note is None:
            if row >= 0 and _BREAK.fullmatch(line):
                written[row].append(end)
                row = -1
            setting = _SETTING.fullmatch(line)
            if row < 0 and setting and setting[1].upper() in ("TITLE", "ARTIST"):
                written[-1].append(f"[{setting[1][:2].lower()}:{setting[2].strip()}]")
            continue
        beat = first_beat + int(note[1])
        start = gap + beat * seconds_per_beat
        if row < 0:
            row = len(written) - 1
            written[row].append(_stamp(start))
        # "~" holds the syllable before
        written[row] += [_stamp(start, "<>"), note[3].replace("~", "")]
        end = _stamp(start + int(note[2]) * seconds_per_beat, "<>")
    if row >= 0:
        written[row].append(end)
    notes = () if seconds_per_beat else ("its #BPM is no number above 0, so that times are 0",)
    return Rewritten(list(map("".join, written)), notes)


# --- Timed Text ----------------------------------------------------------------------------------


def _clock(value: str) -> float | None:
    value = value.strip()
    if offset := _OFFSET.fullmatch(value):
        return float(offset[1]) * _UNITS[offset[2]]
    if clock := _CLOCK.fullmatch(value):
        return int(clock[1] or 0) * 3600 + int(clock[2] or 0) * 60 + float(clock[3])
    return None


def _from_ttml(text: str) -> Rewritten:
    written: list[str] = []
    notes: list[str] = []
    line: list[str] | None = None  # of the paragraph that is open
    end: float | None = None
    for tag, attributes, words in _elements(text):
        if tag == "p":
            start = _clock(attributes.get("begin", ""))
            end = _clock(attributes.get("end", ""))
            line = [] if start is None else [_stamp(start)]
            if start is None:
                notes.append("a line has no time and was left out")
        elif tag == "/p" and line:
            written.append("".join(line) + ("" if end is None else _stamp(end, "<>")))
            line = None
        elif tag == "span" and line:
            start = _clock(attributes.get("begin", ""))
            line += [] if start is None else [_stamp(start, "<>")]
        elif tag == "br" and line:
            line.append(" ")
        if line:
            line.append(re.sub(r"\s+", " ", html.unescape(words)))
    return Rewritten(written, tuple(dict.fromkeys(notes)))


def _elements(text: str) -> Iterator[tuple[str, dict[str, str], str]]:
    """Every tag of the body (`/p` for one that closes), its attributes, and the words behind it."""
    at = text.find("<body")
    tags = list(_TAG.finditer(text, max(0, at)))
    for tag, following in zip(tags, [*tags[1:], None], strict=False):
        words = text[tag.end() : following.start() if following else len(text)]
        yield tag[1] + tag[2], dict(_ATTRIBUTE.findall(tag[3])), words.split("<")[0]
