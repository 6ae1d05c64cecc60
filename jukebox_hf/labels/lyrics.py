"""Lyrics: from any text to the symbols that a prior can sing.

A symbol's id is its place in the prior's lyric characters, counted from 1; 0 is padding.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from jukebox_hf.labels.transliteration import to_ascii
from jukebox_hf.labels.vocabularies import Dialect

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
# What the released models sing: 5b_lyrics was trained with the first, 1b_lyrics with the second.
LYRIC_CHARACTERS: dict[Dialect, str] = {
    "v2": _LETTERS + ".,:;!?-+'\"()[] \t\n",
    "v3": _LETTERS + ".,:;!?-'\"()[] \t\n",
}


class SingableText(NamedTuple):
    """What is left of a text.

    Attributes:
        text: the symbols that a prior reads, one character each.
        notes: which characters were sung as something else, and which were left out.
    """

    text: str
    notes: tuple[str, ...]


class LyricAlphabet:
    """The symbols of one prior.

    A character of the alphabet stands for itself. Any other is transliterated to ASCII (see
    `transliteration`; with the extra `exact-lyrics` by Unidecode 1.4 or later, as in the reference
    data; the release pinned 1.1.1, which differs for a few, such as `½`), a backslash becomes a
    newline, and what the alphabet still lacks is left out. Case is kept.

    Args:
        characters: every symbol once; the first has id 1.

    Raises:
        ValueError: if a symbol occurs twice.
    """

    def __init__(self, characters: str) -> None:
        repeated = sorted(char for char, count in Counter(characters).items() if count > 1)
        if repeated:
            raise ValueError(f"lyric characters must be different, got {repeated} more than once")
        self.characters = characters
        self._ids = {char: place for place, char in enumerate(characters, start=1)}
        self._sung: dict[int, str] = {}

    @property
    def vocabulary_size(self) -> int:
        """Different ids, padding included."""
        return len(self.characters) + 1

    def clean(self, text: str) -> str:
        """The text in symbols of this alphabet only; each of its characters counts by itself."""
        for char in set(text):
            if ord(char) not in self._sung:
                self._sung[ord(char)] = self._sing(char)
        return text.translate(self._sung)

    def _sing(self, char: str) -> str:
        if char in self._ids:
            return char
        if unicodedata.category(char) == "Cs":  # half of a character, from broken input
            return ""
        ascii_text = to_ascii(char).replace("\\", "\n")
        return "".join(symbol for symbol in ascii_text if symbol in self._ids)

    def explain(self, text: str) -> SingableText:
        """The cleaned text, and what happened to characters that cannot be sung."""
        cleaned = self.clean(text)
        # Line ends of Windows and a byte order mark are nothing worth a note.
        counts = Counter(text.replace("\r\n", "\n").removeprefix("\ufeff"))
        replaced: dict[str, list[str]] = {}
        for char in counts:
            if self.clean(char) != char:
                replaced.setdefault(self.clean(char), []).append(char)
        left_out = replaced.pop("", [])
        notes = []
        if replaced:
            groups = [f"{_show(chars)} sung as {_show([to])}" for to, chars in replaced.items()]
            notes.append(f"lyrics: {_shorten(groups, '; ')}")
        if left_out:
            number = sum(counts[char] for char in left_out)
            notes.append(
                f"lyrics: left out {number} character{'s'[: number > 1]} that cannot be sung: "
                f"{_show(left_out)}"
            )
        if text.strip() and not cleaned.strip():
            notes.append("lyrics: nothing that can be sung is left of them")
        return SingableText(cleaned, tuple(notes))

    def encode(self, cleaned: str) -> tuple[int, ...]:
        """The id of every character of a cleaned text.

        Raises:
            ValueError: for a character that is no symbol of this alphabet.
        """
        try:
            return tuple(self._ids[char] for char in cleaned)
        except KeyError as error:
            raise ValueError(
                f"{error} is no symbol of this alphabet; clean the text first"
            ) from None

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some ids; padding (0) is nothing.

        Raises:
            ValueError: for an id that no symbol has.
        """
        for symbol in ids:
            if not 0 <= symbol <= len(self.characters):
                raise ValueError(f"lyric ids go from 0 to {len(self.characters)}, got {symbol}")
        return "".join(self.characters[symbol - 1] for symbol in ids if symbol)


def _show(characters: Sequence[str]) -> str:
    """Characters for reading: themselves where that is visible, else their numbers."""
    return _shorten([_show_one(char) for char in characters], " ")


def _show_one(text: str) -> str:
    names = {"\n": "newline", "\t": "tab", " ": "blank"}
    if text in names:
        return names[text]
    if len(text) == 1 and unicodedata.combining(text):
        return f"\N{DOTTED CIRCLE}{text}"  # an accent without its letter
    visible = text.isprintable() and text.strip() and unicodedata.category(text[0]) != "Mn"
    return text if visible else " ".join(f"U+{ord(char):04X}" for char in text)


def _shorten(parts: Sequence[str], separator: str, limit: int = 12) -> str:
    rest = len(parts) - limit
    return separator.join(parts[:limit]) + (f"{separator}and {rest} more" if rest > 0 else "")
