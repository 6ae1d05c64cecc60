"""Names of artists and genres as the two older layouts keep them, and processors made of them.

The release keeps four text files, one list per kind and dialect; the port two JSON files with both
dialects in one object, where names of dialect v2 end in `.v2`. These lists are under the release's
non-commercial licence: they are read from what the user has, and never part of this project.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jukebox_hf.hub.conversion.former_port import is_port
from jukebox_hf.hub.conversion.recognising import RecognisedComponent, dialect_of
from jukebox_hf.labels import LYRIC_CHARACTERS, PriorProcessor
from jukebox_hf.labels.vocabularies import DIALECTS, LARGEST_ID, Dialect, read_ids
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.records import read_json

# Of the release's four lists, over sorted lines `name;id`: they make a model non-commercial.
RELEASED_LISTS = frozenset(
    {
        "78322f33430e798a193d8eaed56ef28c0a52c17babad7fe9be7f98a986594bcd",  # v2 artists
        "588d02edcca2d539bdc4f1b98f7c4a49be6f9c4572c288da66726a53e2b5be9b",  # v2 genres
        "d69a4267f619149f5f6531587405c0e1532b24cf000fddf3e198734854b6a985",  # v3 artists
        "0aa5f6d88e2042df569d680ec0fa5824627063ff05f0b616e6331bcef66ce3cf",  # v3 genres
    }
)


class Names(NamedTuple):
    """Row in the label tables by name, for one dialect."""

    artists: Mapping[str, int]
    genres: Mapping[str, int]

    @property
    def is_released(self) -> bool:
        """Whether either list is the release's."""
        return not RELEASED_LISTS.isdisjoint({digest(self.artists), digest(self.genres)})


def digest(ids: Mapping[str, int]) -> str:
    """A hash of a list that does not depend on its order."""
    lines = "\n".join(f"{name};{ids[name]}" for name in sorted(ids))
    return hashlib.sha256(lines.encode()).hexdigest()


def read_ids_folder(folder: Path) -> dict[Dialect, Names]:
    """The lists in a folder that holds the release's `v2_artist_ids.txt` and so on.

    Raises:
        ValueError: if a list is damaged, lacks its counterpart, or there is none at all.
    """
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: expected a folder with v2_artist_ids.txt and so on, found none"
        )
    names: dict[Dialect, Names] = {}
    for dialect in DIALECTS:
        paths = [folder / f"{dialect}_{kind}_ids.txt" for kind in ("artist", "genre")]
        present = [path.is_file() for path in paths]
        if all(present):
            names[dialect] = Names(*(read_ids(path) for path in paths))
        elif any(present):
            raise ValueError(f"{folder}: {paths[present.index(False)].name} is missing")
    if not names:
        raise ValueError(
            f"{folder}: expected v2_artist_ids.txt, v2_genre_ids.txt and their v3 counterparts, "
            "found none of them"
        )
    return names


def read_port_folder(folder: Path) -> dict[Dialect, Names]:
    """The lists in a repository of the port; empty if it has none.

    Understood are one object for both dialects, one object per dialect under "v2" and "v3", and one
    plain list, which then stands for both.

    Raises:
        ValueError: for anything else.
    """
    paths = [folder / name for name in ("artists.json", "genres.json")]
    present = [path.is_file() for path in paths]
    if not any(present):
        return {}
    if not all(present):
        raise ValueError(f"{folder}: {paths[present.index(False)].name} is missing")
    artists, genres = (_by_dialect(path) for path in paths)
    return {
        dialect: Names(artists[dialect], genres[dialect])
        for dialect in DIALECTS
        if dialect in artists and dialect in genres
    }


def _by_dialect(path: Path) -> dict[Dialect, dict[str, int]]:
    content = read_json(path)
    if content and all(isinstance(value, dict) for value in content.values()):
        unknown = set(content) - set(DIALECTS)
        if unknown:
            raise ValueError(
                f"{path}: expected lists for v2 and v3, found {sorted(unknown)[0]!r:.40}"
            )
        return {
            dialect: _checked(content[dialect], path) for dialect in DIALECTS if dialect in content
        }
    ids = _checked(content, path)
    marked = {name.removesuffix(".v2"): row for name, row in ids.items() if name.endswith(".v2")}
    plain = {name: row for name, row in ids.items() if not name.endswith(".v2")}
    if not marked or not plain:
        return {"v2": marked or plain, "v3": plain or marked}
    return {"v2": marked, "v3": plain}


def _checked(ids: Mapping[str, Any], path: Path) -> dict[str, int]:
    for name, row in ids.items():
        if not isinstance(row, int) or isinstance(row, bool) or not 0 <= row <= LARGEST_ID:
            raise ValueError(
                f"{path}: expected names and their ids, found {row!r:.40} for {name!r:.80}"
            )
    return {name.lower(): row for name, row in ids.items()}


def read_port_characters(folder: Path) -> str | None:
    """The lyric characters of a repository of the port, id 1 first; `None` if it names none.

    Raises:
        ValueError: if ids are missing or double.
    """
    path = folder / "lyrics.json"
    if not path.is_file():
        return None
    ids = {row: name for name, row in read_json(path).items()}
    characters = [ids.get(row) for row in range(1, len(ids))]
    if not all(isinstance(name, str) and len(name) == 1 for name in characters):
        raise ValueError(
            f"{path}: expected single characters with ids 1, 2, ... and id 0 for others"
        )
    return "".join(map(str, characters))


# --- processors ---------------------------------------------------------------------------------


def read_names(paths: Sequence[Path], ids_dir: Path | None) -> dict[Dialect, Names]:
    """The lists that the user gave, else those of the port's folder among the sources, if any."""
    if ids_dir is not None:
        return read_ids_folder(ids_dir)
    found = [read_port_folder(path) for path in paths if path.is_dir() and is_port(path)]
    return found[0] if found else {}


def read_characters(paths: Sequence[Path], notes: list[str]) -> str | None:
    """The characters that a port's own file names; the release's are known without it."""
    for path in paths:
        if path.is_dir() and is_port(path):
            try:
                return read_port_characters(path)
            except ValueError as error:
                notes.append(f"{error}; the characters of the release are used instead")
    return None


def make_processors(
    plans: Mapping[str, RecognisedComponent],
    names: Mapping[Dialect, Names],
    characters: str | None,
    notes: list[str],
) -> dict[str, PriorProcessor]:
    """The processor of each prior that can have one; `notes` gets why others cannot.

    Raises:
        ValueError: if the lists do not fit a prior.
    """
    processors = {}
    for name, (component, config) in plans.items():
        if not isinstance(config, PriorConfig):
            continue
        if config.has_labels and not names:
            notes.append(
                f"{name} takes artists and genres, but their names were not given (--ids-dir): the "
                "converted prior understands label numbers only, and cannot be prompted by name"
            )
            continue
        dialect = dialect_of(component, config)
        if dialect is None and config.has_labels:
            raise ValueError(
                f"{component.source}: nothing says whether its {config.genre_count} genres are of "
                "the v2 or the v3 lists; convert it without --ids-dir"
            )
        dialect = dialect or "v3"
        try:
            processors[name] = _processor(config, dialect, names, characters)
        except ValueError as error:
            raise ValueError(f"{component.source}: {error}") from error
    return processors


def _processor(
    config: PriorConfig,
    dialect: Dialect,
    names: Mapping[Dialect, Names],
    characters: str | None,
) -> PriorProcessor:
    artists: Mapping[str, int] = {}
    genres: Mapping[str, int] = {}
    if config.has_labels:
        if dialect not in names:
            raise ValueError(f"speaks the {dialect} lists of names, which were not found")
        artists, genres = names[dialect]
        for kind, ids, rows in (
            ("artist", artists, config.artist_count),
            ("genre", genres, config.genre_count),
        ):
            if max(ids.values()) >= rows:
                raise ValueError(
                    f"its {kind} table has {rows} rows, but the {dialect} list has ids up to "
                    f"{max(ids.values())}; convert it without these lists, or with its own"
                )
    lyric_characters = ""
    if config.lyrics != "none":
        known = [characters or "", *LYRIC_CHARACTERS.values()]
        fitting = [each for each in known if each and len(each) + 1 == config.lyric_vocab_size]
        if not fitting:
            raise ValueError(
                f"reads {config.lyric_vocab_size} lyric symbols, expected one of "
                f"{', '.join(str(len(each) + 1) for each in known if each)}"
            )
        lyric_characters = fitting[0]
    return PriorProcessor.for_prior(
        config, artists=artists, genres=genres, dialect=dialect, lyric_characters=lyric_characters
    )
