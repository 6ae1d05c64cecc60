"""The list of music: what there is in which package, who made it, and under which licence.

`music_manifest.csv` goes in; pieces that may be used come out, and the reason for each that may
not. Fetching and converting them is `fetch_music`'s work. Columns:

- `package`, `path`: a Debian package and the installed file; `archive.zip!member` for a file
  inside an archive.
- `kind`: `music`, `effect` (wind, trains and other sounds that are no music), or `stem` (one of
  several recordings that have to be added up, all those in one folder).
- `seconds`: length; a file of another length is not the one whose licence was looked up.
- `artist`, `genre`: labels for training; `unknown` where none fits. `genre_basis` says who chose:
  `artist` and `tag` are the artist's word (page or file tag), `listed` a person's, `automatic` a
  classifier's, which is often wrong about single songs.
- `title`, `credit`: as the file or the package's copyright file names them.
- `licence`: of the music, with ` or ` between licences to choose from. `licence_scope`: whether the
  package's copyright file names the file (`file`) or only licenses everything (`package`). Where
  "some files" are under one licence and some under another, the one that asks more is listed.
"""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jukebox_hf.files import safe_file_name

MANIFEST = Path(__file__).with_name("music_manifest.csv")
COLUMNS = (
    "package",
    "path",
    "kind",
    "seconds",
    "artist",
    "genre",
    "genre_basis",
    "title",
    "licence",
    "licence_scope",
    "credit",
)
KINDS = ("music", "effect", "stem")
ARCHIVE_MARK = "!"
# Licences under which weights can be shipped as CC-BY-SA-4.0, and where their words stand; an
# expression that fits none of these is refused. The patterns on the right find the licence in the
# copyright file of a package.
USABLE_LICENCES: tuple[tuple[str, str, str], ...] = (
    (r"CC0(-1\.0)?", "https://creativecommons.org/publicdomain/zero/1.0/", r"CC-?0|CC Zero"),
    (r"public-domain", "", r"public[\s-]+domain"),
    (r"MIT", "https://opensource.org/license/mit", r"\bMIT\b|\bExpat\b|Permission is hereby gran"),
    (r"CC-BY-SA(-[234]\.[05]\+?)?", "", r"CC[\s-]?BY[\s-]?SA|Attribution[\s-]+Share-?\s?Alike"),
    (r"CC-BY(-[234]\.[05]\+?)?", "", r"CC[\s-]?BY|Creative\s+Commons\s+Attribution"),
)


class Row(NamedTuple):
    """One file of the manifest; the columns are explained above."""

    package: str
    path: str
    kind: str
    seconds: float
    artist: str
    genre: str
    genre_basis: str
    title: str
    licence: str
    licence_scope: str
    credit: str


class Piece(NamedTuple):
    """One piece of music, as it will be written.

    Attributes:
        package: where it comes from.
        name: of its file, without extension; unique in its package.
        paths: files to add up, sample by sample; nearly always one.
        seconds: length of the longest of them.
        licence: the one chosen where there are several.
        artist, genre, title, credit: as in the manifest.
    """

    package: str
    name: str
    paths: tuple[str, ...]
    seconds: float
    licence: str
    artist: str
    genre: str
    title: str
    credit: str


class Refused(NamedTuple):
    """A file that is not used, and why."""

    package: str
    path: str
    reason: str


class Selection(NamedTuple):
    """What the manifest allows, in its order."""

    pieces: tuple[Piece, ...]
    refused: tuple[Refused, ...]


def read_manifest(path: Path = MANIFEST) -> list[Row]:
    """Read the list. Raises `ValueError` with the line for anything that is not as above."""
    with path.open(encoding="utf-8", newline="") as file:
        table = csv.DictReader(file)
        if tuple(table.fieldnames or ()) != COLUMNS:
            raise ValueError(
                f"{path}: expected the columns {', '.join(COLUMNS)}, got "
                f"{', '.join(table.fieldnames or ()) or 'none'}"
            )
        return [_parse_row(cells, f"{path}, line {table.line_num}") for cells in table]


def _parse_row(cells: Mapping[str, str], where: str) -> Row:
    if None in cells or None in cells.values():
        raise ValueError(f"{where}: expected {len(COLUMNS)} cells, got more or fewer")
    if cells["kind"] not in KINDS:
        raise ValueError(f"{where}: kind is one of {', '.join(KINDS)}, got {cells['kind']!r}")
    if not cells["path"].startswith("/") or ".." in cells["path"].split("/"):
        raise ValueError(f"{where}: expected an absolute path without '..', got {cells['path']!r}")
    try:
        seconds = float(cells["seconds"])
    except ValueError:
        raise ValueError(f"{where}: seconds is a number, got {cells['seconds']!r}") from None
    return Row(**{**cells, "seconds": seconds})  # type: ignore[arg-type]


def usable_licence(expression: str) -> str | None:
    """The licence under which music may be used, or None if there is none.

    Of several to choose from, the one that asks least. What is not on the list is refused, also
    variants such as CC-BY-NC: names are compared whole.

    >>> usable_licence("GPL-3 or CC-BY-3.0")
    'CC-BY-3.0'
    >>> usable_licence("CC-BY-NC-SA-3.0") is None
    True
    """
    choices = [choice.strip() for choice in re.split(r"\s+or\s+", expression, flags=re.IGNORECASE)]
    for pattern, _, _ in USABLE_LICENCES:
        for choice in choices:
            if re.fullmatch(pattern, choice, flags=re.IGNORECASE):
                return choice
    return None


def licence_url(licence: str) -> str | None:
    """Where the words of a usable licence stand; None for the public domain.

    >>> licence_url("CC-BY-SA-3.0+")
    'https://creativecommons.org/licenses/by-sa/3.0/'
    """
    for pattern, url, _ in USABLE_LICENCES:
        if re.fullmatch(pattern, licence, flags=re.IGNORECASE):
            if licence.upper().startswith("CC-BY"):
                kind = "by-sa" if "-SA" in licence.upper() else "by"
                version = re.search(r"\d\.\d", licence)
                return (
                    f"https://creativecommons.org/licenses/{kind}/{version[0]}/"
                    if version
                    else None
                )
            return url or None
    return None


def mentions_licence(copyright_text: str, licence: str) -> bool:
    """Whether a package's copyright file names a usable licence at all.

    A file of the package may have changed its licence since it was listed: one that is not even
    named any more is not trusted.
    """
    for pattern, _, words in USABLE_LICENCES:
        if re.fullmatch(pattern, licence, flags=re.IGNORECASE):
            return re.search(words, copyright_text, flags=re.IGNORECASE) is not None
    return False


def select(rows: Iterable[Row]) -> Selection:
    """Which pieces may be used, and why the other files may not."""
    pieces: list[Piece] = []
    refused: list[Refused] = []
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if usable_licence(row.licence) is None:
            refused.append(Refused(row.package, row.path, f"licence {row.licence}"))
        elif row.kind == "effect":
            refused.append(Refused(row.package, row.path, "not music"))
        else:
            # Stems of one folder make one piece.
            key = row.path.rpartition("/")[0] if row.kind == "stem" else row.path
            groups.setdefault((row.package, key), []).append(row)
    names = piece_names(list(groups))
    for group, stems in groups.items():
        pieces.append(_join_stems(stems, names[group]))
    return Selection(tuple(pieces), tuple(refused))


def _join_stems(stems: Sequence[Row], name: str) -> Piece:
    first = stems[0]
    licence = usable_licence(first.licence)
    assert licence is not None
    title = next((stem.title for stem in stems if stem.title), "")
    return Piece(
        package=first.package,
        name=name,
        paths=tuple(stem.path for stem in stems),
        seconds=max(stem.seconds for stem in stems),
        licence=licence,
        artist=first.artist,
        genre=first.genre,
        title=title or name.replace("_", " "),
        credit=first.credit or first.artist,
    )


def piece_names(places: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """File names for (package, path) pairs: the last part of the path, without extension.

    Where two pieces of a package would get the same name (on a disk that does not tell upper from
    lower case), the folder goes before, then a number after it.
    """
    names: dict[tuple[str, str], str] = {}
    taken: set[tuple[str, str]] = set()
    for package, path in places:
        *folders, last = re.split(r"[/!]", path)
        stem = last.rpartition(".")[0] or last
        candidates = [stem, f"{folders[-1] if folders else package} {stem}"]
        candidates += [f"{candidates[-1]} {number}" for number in range(2, len(places) + 2)]
        for candidate in candidates:
            name = safe_file_name(candidate)
            if (package, name.casefold()) not in taken:
                break
        taken.add((package, name.casefold()))
        names[package, path] = name
    return names
