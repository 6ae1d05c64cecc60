"""Names of artists and genres, and the rows of the embedding tables that they stand for.

Two dialects exist, because the released models were trained with two spellings of the same world:

- `v2` (5b, 5b_lyrics, every released upsampler): lower-case; each run of characters outside a-z and
  0-9 becomes one underscore, none at either end. Accented letters go that way too: "Céline Dion" is
  `c_line_dion`. A genre is a bag of such words: "Blues Rock" is `blues` and `rock`.
- `v3` (1b_lyrics): lower-case and nothing else. A genre is one phrase.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from jukebox_hf.labels.transliteration import to_ascii
from jukebox_hf.texts import composed

Dialect = Literal["v2", "v3"]
DIALECTS: tuple[Dialect, ...] = ("v2", "v3")
UNKNOWN = "unknown"
UNKNOWN_ID = 0
# Far above any table (the released ones have up to 7898 rows): refuses absurd files early.
LARGEST_ID = 2**24 - 1


def normalise_name(text: str, dialect: Dialect) -> str:
    """The spelling under which a dialect looks a name up; accents are one with their letters.

    >>> normalise_name("  P!nk ", "v2"), normalise_name("P!nk", "v3")
    ('p_nk', 'p!nk')
    """
    lowered = composed(text).lower()
    return lowered if dialect == "v3" else re.sub("[^a-z0-9]+", "_", lowered).strip("_")


def genre_keys(text: str, dialect: Dialect) -> tuple[str, ...]:
    """What a genre is looked up as: in v2 its words (one empty word if none is left), in v3 itself.

    >>> genre_keys("Hip-Hop", "v2"), genre_keys("Hip-Hop", "v3")
    (('hip', 'hop'), ('hip-hop',))
    """
    name = normalise_name(text, dialect)
    return tuple(name.split("_")) if dialect == "v2" else (name,)


def read_ids(path: Path | str) -> dict[str, int]:
    """Read a table in the release's own format: UTF-8 text, one `name;id` per line.

    Names are lower-cased; where a name occurs twice, the later line wins; empty lines are skipped.

    Raises:
        ValueError: for a line that is not `name;id`, with its number.
    """
    ids: dict[str, int] = {}
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")  # a name may hold U+2028
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected UTF-8 text with lines `name;id`, got {error}") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, separator, row = line.strip().rpartition(";")
        if not separator or ";" in name or not re.fullmatch("[0-9]+", row.strip()):
            raise ValueError(
                f"{path}, line {number}: expected `name;id`, got {line.strip()[:80]!r}"
            )
        ids[name.lower()] = _checked_id(row.strip(), f"{path}, line {number}")
    return ids


def _checked_id(row: str, where: str) -> int:
    if len(row) > 12 or int(row) > LARGEST_ID:
        raise ValueError(f"{where}: ids go up to {LARGEST_ID}, got {row[:40]}")
    return int(row)


class FoundNames(NamedTuple):
    """Names that somebody may have looked for.

    Attributes:
        artists, genres: names by which they can be asked for.
        alike: whether these only look like the text, because nothing contains it.
    """

    artists: tuple[str, ...]
    genres: tuple[str, ...]
    alike: bool


class Vocabulary(Mapping[str, int]):
    """Names and their rows in one table: a mapping that also finds what somebody may have meant.

    Several names may share a row (in the released v2 list `unknown`, `various` and the empty name).

    Args:
        ids: row by name, each from 0 to `LARGEST_ID`. Names in another spelling than the dialect's
            are kept, but cannot be asked for (the released v2 list has a few: `beyonc_`); only
            letters and accents may stand apart.
        dialect: how names are spelt.
        kind: what the names are, for messages: "artist" or "genre".

    Raises:
        ValueError: for a name that is no text or an id that is no row.
    """

    def __init__(self, ids: Mapping[str, int], *, dialect: Dialect, kind: str) -> None:
        self.dialect: Dialect = dialect
        self.kind = kind
        self._check(ids)
        self._ids = dict(ids)
        self._forget_derived()

    def _check(self, ids: Mapping[str, int]) -> None:
        for name, row in ids.items():
            if not isinstance(name, str) or any("\ud800" <= char <= "\udfff" for char in name):
                raise ValueError(f"{self.kind} names must be valid text, got {name!r:.80}")
            if not isinstance(row, int) or isinstance(row, bool) or not 0 <= row <= LARGEST_ID:
                raise ValueError(
                    f"{self.kind} {name[:80]!r}: expected an id from 0 to {LARGEST_ID}, "
                    f"got {_shown(row)}"
                )

    def _forget_derived(self) -> None:
        self._by_composed = {composed(n): n for n in self._ids if composed(n) not in self._ids}
        self._names_by_id: dict[int, list[str]] | None = None
        self._names_by_folded: dict[str, list[str]] | None = None
        self._closest: dict[str, tuple[str, ...]] = {}

    def __getitem__(self, name: str) -> int:
        if name not in self._ids and isinstance(name, str):
            one = composed(name)
            name = self._by_composed.get(one, one)
        return self._ids[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        return f"Vocabulary({len(self)} {self.kind} names, {self.dialect})"

    @property
    def num_rows(self) -> int:
        """Rows that the embedding table needs at least."""
        return max(self._ids.values(), default=-1) + 1

    def look_up(self, key: str, given: str) -> tuple[int, str | None]:
        """The row of a key, or `UNKNOWN_ID`; and a note if the user, who wrote `given`, gets that.

        Nothing given is unknown without a note.
        """
        row = self.get(key, UNKNOWN_ID)
        if (key in self and key.strip()) or not given.strip():
            return row, None
        closest = ", ".join(repr(name) for name in self.closest(given)) or "none"
        taken_for = UNKNOWN if self._ids.get(UNKNOWN) == UNKNOWN_ID else self.name(UNKNOWN_ID)
        return row, (
            f"{self.kind} {given!r:.80} is not known to this prior, which takes it for "
            f"{taken_for!r}; closest: {closest}"
        )

    def name(self, row: int) -> str:
        """What a row is called; several names are sorted and joined by `_`, as in the release."""
        if self._names_by_id is None:
            self._names_by_id = {}
            for name, named in self._ids.items():
                self._names_by_id.setdefault(named, []).append(name)
        return "_".join(sorted(self._names_by_id.get(row, [f"#{row}"])))

    def closest(self, text: str, limit: int = 3) -> tuple[str, ...]:
        """Up to `limit` (at most 8) names that look like `text`, best first.

        Accents and punctuation do not count. Names that are alike come before longer ones that
        contain `text`.
        """
        key = normalise_name(text, self.dialect)
        if key not in self._closest:
            folded = fold(text[:200])
            alike = difflib.get_close_matches(folded, self._folded, n=8, cutoff=0.6)
            ranked = [name for key in alike for name in self._folded[key]]  # equal ones come first
            self._closest[key] = tuple(dict.fromkeys([*ranked, *self.search(text)]))[:8]
        return self._closest[key][:limit]

    def search(self, text: str) -> tuple[str, ...]:
        """Every name that contains `text`, short ones first; accents and punctuation do not count.

        An empty text finds every name that can be asked for, in alphabetical order.
        """
        folded = fold(text)
        if not folded:
            everything = (name for names in self._folded.values() for name in names)
            return tuple(sorted(everything)) if not text.strip() else ()
        found = [name for key, names in self._folded.items() if folded in key for name in names]
        return tuple(sorted(found, key=lambda name: (len(name), name)))

    def search_genre(self, text: str) -> tuple[str, ...]:
        """As `search`; in v2, whose genres are words, also the words of a longer text."""
        words = genre_keys(text, self.dialect)
        return self.search(text) or tuple(dict.fromkeys(word for word in words if word in self))

    def named_like(self, key: str) -> tuple[str, ...]:
        """The names that can be asked for of which `fold` makes this."""
        return tuple(self._folded.get(key, ()))

    @property
    def _folded(self) -> dict[str, list[str]]:
        """Names that can be asked for, by what they look like without accents and punctuation."""
        if self._names_by_folded is None:
            self._names_by_folded = {}
            for name in self._ids:
                if name and normalise_name(name, self.dialect) == composed(name):
                    self._names_by_folded.setdefault(fold(name), []).append(name)
        return self._names_by_folded

    def add(self, names: Sequence[str], *, first_id: int = 0) -> list[int]:
        """The row of each name in this dialect's spelling: its own, or a new one after the last.

        New rows begin at `first_id` at the earliest (say, the rows that a trained table has).
        """
        ids = dict(self._ids)
        row = max(self.num_rows, first_id)
        for name in map(composed, names):
            if name not in ids and name not in self._by_composed:
                ids[name] = row
                row += 1
        self._check(ids)
        self._ids = ids
        self._forget_derived()
        return [self[name] for name in names]


def _shown(value: object) -> str:
    """Any value for a message; a whole number of ten thousand digits has no `repr`."""
    huge = isinstance(value, int) and value.bit_length() > 64
    return "a far larger number" if huge else f"{value!r:.80}"


def fold(text: str) -> str:
    """Lower-case ASCII letters and digits in words: what a name looks like at a glance."""
    ascii_text = to_ascii(text.lower())
    folded = re.sub("[^a-z0-9]+", " ", ascii_text.lower()).strip()
    return folded or " ".join(text.lower().split())
