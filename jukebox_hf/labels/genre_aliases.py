"""Other words for a model's genres, so that `hip hop` finds something in a model that has no such.

A model with few genres names them in the words of those who labelled its music. Aliases lead from
the words that people use to these genres. They stand in `vocabulary.json`, beside the names.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jukebox_hf.labels.vocabularies import UNKNOWN, Vocabulary, fold, genre_keys

KINDS = ("same", "nearest")
MOST_ALIASES = 10_000
LONGEST_ALIAS = 200
LONGEST_TEXT = 1000
MOST_WORDS = 12  # of a genre that is looked for word by word


class Alias(NamedTuple):
    """What a genre is taken for.

    Attributes:
        genre: as the model names it.
        is_same: whether that means the same; if not, it is the nearest that the model knows.
    """

    genre: str
    is_same: bool


class GenreAliases:
    """Aliases of one vocabulary's genres; case, accents and punctuation do not count.

    Args:
        content: `{"same": {GENRE: [ALIAS, ...]}, "nearest": {GENRE: [ALIAS, ...]}}`; either part
            may be missing. A name that is a genre itself is never an alias.
        genres: of the model.

    Raises:
        ValueError: for anything else, an alias of a genre that is not there, or one of two genres.
    """

    def __init__(self, content: Mapping[str, Any] | None, genres: Vocabulary) -> None:
        self._genres = genres
        self._aliases: dict[str, Alias] = {}
        self._names: dict[str, str] = {}  # as they were written
        content = _mapping({} if content is None else content, "genre_aliases")
        for kind in content:
            if kind not in KINDS:
                raise ValueError(f"genre_aliases: expected {' and '.join(KINDS)}, got {kind!r:.80}")
        for kind in KINDS:
            for genre, names in _mapping(content.get(kind, {}), f"genre_aliases, {kind}").items():
                self._add(genre, names, is_same=kind == "same")

    def _add(self, genre: str, names: Any, *, is_same: bool) -> None:
        if any(key not in self._genres for key in genre_keys(genre, self._genres.dialect)):
            raise ValueError(f"genre_aliases: {genre!r:.80} is not a genre of this vocabulary")
        if not isinstance(names, (list, tuple)):
            raise ValueError(f"genre_aliases: expected a list for {genre!r}, got {names!r:.80}")
        for name in names:
            if not isinstance(name, str) or not 0 < len(name) <= LONGEST_ALIAS or not _key(name):
                raise ValueError(
                    f"genre_aliases: expected names of at most {LONGEST_ALIAS} characters for "
                    f"{genre!r}, got {name!r:.80}"
                )
            alias = Alias(genre, is_same)
            if self._aliases.setdefault(_key(name), alias) != alias:
                raise ValueError(f"genre_aliases: {name!r} stands there for two genres")
            self._names.setdefault(_key(name), name)
        if len(self._aliases) > MOST_ALIASES:
            raise ValueError(f"genre_aliases: expected at most {MOST_ALIASES:,} names")

    def __len__(self) -> int:
        return len(self.names)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, GenreAliases) and self.names == other.names

    __hash__ = None  # type: ignore[assignment]

    @property
    def names(self) -> dict[str, Alias]:
        """What each alias is taken for, in alphabetical order."""
        found = {self._names[key]: alias for key, alias in self._aliases.items()}
        return {name: found[name] for name in sorted(found) if self._own_genre(_key(name)) is None}

    def find(self, text: str) -> Alias | None:
        """What to take a genre for that is not one of the model's; `None` if nothing is known.

        The whole text counts first, then its longest part, of equally long ones the last: the
        music that `indie folk` is a kind of is folk.
        """
        words = _key(text[:LONGEST_TEXT]).split()
        if not self._aliases or not words:
            return None
        whole = self._look_up(" ".join(words))
        if whole is not None:
            return whole
        words = words[-MOST_WORDS:]
        for length in range(len(words) - 1, 0, -1):
            for start in range(len(words) - length, -1, -1):
                part = self._look_up(" ".join(words[start : start + length]))
                if part is not None:
                    return Alias(part.genre, is_same=False)
        return None

    def search(self, text: str) -> dict[str, Alias]:
        """The aliases that contain a text; all of them if it is empty."""
        return {name: alias for name, alias in self.names.items() if _key(text) in _key(name)}

    def to_dict(self) -> dict[str, dict[str, list[str]]]:
        """As in `vocabulary.json`; empty if there are none."""
        content: dict[str, dict[str, list[str]]] = {}
        for name, alias in self.names.items():
            kind = content.setdefault("same" if alias.is_same else "nearest", {})
            kind.setdefault(alias.genre, []).append(name)
        return content

    def _look_up(self, key: str) -> Alias | None:
        genre = self._own_genre(key)
        return self._aliases.get(key) if genre is None else Alias(genre, is_same=True)

    def _own_genre(self, key: str) -> str | None:
        """The genre that looks like this, if the model has one."""
        return next((name for name in self._genres.named_like(key) if name != UNKNOWN), None)


def _key(text: str) -> str:
    """What a name looks like: R&B is R and B."""
    return fold(text.replace("&", " and "))


def _mapping(content: Any, source: str) -> Mapping[str, Any]:
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise ValueError(f"{source}: expected names by genre, got {content!r:.80}")
    return content
