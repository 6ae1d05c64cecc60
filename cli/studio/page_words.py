"""The words of the page: sentences of the library name options of the command line, and here they
become what somebody finds who has only ever seen the page.

Whatever is told to the page goes in, and the same comes out with other words in its sentences.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

SENTENCES = frozenset({"error", "message", "notes"})  # the keys under which there are any

# Fields whose names say little, by what the page calls them.
LABELS = {
    "total_seconds": "Length of the whole song",
    "offset_seconds": "Where in that song it begins",
    "insert_seconds": "How much",
    "snap_seconds": "Move by up to",
    "fade_seconds": "Fade",
}

# What the page does in another way, or has another name for.
PHRASES = {
    "from_seconds is missing: ": "",
    "; for the likeliest code every time use top_k=1": "",
    "in --prompts and Python, lyrics_file and read_lyrics take the words in a file": (
        "“Or take lyrics from a text or .lrc file” takes the words in one"
    ),
    "decode one and `jukebox encode` it with the other's model": (
        "export one, and begin a new piece with that file and the other's model"
    ),
    "begin with codes of that level (`jukebox upsample`)": "choose another model",
    " (`jukebox upsample`)": "; “Finish” makes what is missing",
    "use `jukebox continue --from` for an end": "“Continue” makes an end",
    "; `jukebox sessions list` shows the sessions of a folder": "",
    "`jukebox resume` goes on with a session, and with OMP_NUM_THREADS=1 without others": (
        "“Try again” goes on with it"
    ),
    " as --model": " to the studio when it is started",
    " (--model)": " when the studio is started",
    "(--to-level)": "(“Sketch first”)",
    "cut the primer with --primer-end": "cut it with “To” of the sound file",
}

COMMAND = re.compile(r"`[^`]*`")  # to be typed as it is, by whoever runs the studio
OPTION = re.compile(r"(?<![\w'\"-])--([a-z][a-z-]*[a-z])(?: (\d+)=([^\s;,)]+))?")
NAME = re.compile(rf"\b({'|'.join(LABELS)})\b")
# A part of a take, as the command line takes it: sketch:1@0.5-0.8
PART = re.compile(
    r"(?<![\w:/.@-])(?=[\d_-]*[A-Za-z])([A-Za-z0-9][\w-]*):(\d+)(?:@([\d.]*)-([\d.]*))?(?![\w:@])"
)


def for_the_page(told: Any) -> Any:
    """Plain values for the page, with its own words in their sentences."""
    if isinstance(told, Mapping):
        return {
            key: _sentences(value) if key in SENTENCES else for_the_page(value)
            for key, value in told.items()
        }
    return [for_the_page(one) for one in told] if isinstance(told, list) else told


def _sentences(told: Any) -> Any:
    if isinstance(told, list):
        return [_sentences(one) for one in told]
    return in_words_of_the_page(told) if isinstance(told, str) else for_the_page(told)


def in_words_of_the_page(sentence: str) -> str:
    """A sentence of the library without words that only the command line has.

    >>> in_words_of_the_page("level 0 left out, which tune:2@0.5- does not have")
    'level 0 left out, which take 2 of tune from 0.5 does not have'
    >>> in_words_of_the_page("leave it out there, as in --guidance 1=1, or use --precision float32")
    'leave it out there, as in guidance 1 at level 1, or use precision float32'
    """
    for phrase, words in PHRASES.items():
        sentence = sentence.replace(phrase, words)
    commands = COMMAND.findall(sentence)
    others = [_without_options(text) for text in COMMAND.split(sentence)]
    return others[0] + "".join(a + b for a, b in zip(commands, others[1:], strict=True))


def _without_options(text: str) -> str:
    text = NAME.sub(lambda found: label(found[1]), text)
    text = PART.sub(_part, text)
    return OPTION.sub(_option, text)


def label(name: str) -> str:
    """What the page calls a field of a request."""
    return f"“{LABELS[name]}”" if name in LABELS else name.replace("_", " ")


def _option(found: re.Match[str]) -> str:
    name = found[1].replace("-", " ")
    return name if found[2] is None else f"{name} {found[3]} at level {found[2]}"


def _part(found: re.Match[str]) -> str:
    name, take, begin, end = found.groups()
    begins = f" from {begin}" if begin else ""
    ends = f" to {end}" if end else ""
    return f"take {take} of {name}{begins}{ends}"
