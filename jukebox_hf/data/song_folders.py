"""Folders of audio files, laid out as `datasets` wants an `audiofolder`, but read without it.

A folder goes in; `Candidate`s come out. `datasets` itself needs torchcodec and FFmpeg to so much as
list such a folder, so it is read here: audio files in any depth, and beside them `metadata.csv`,
`.tsv`, `.jsonl` or `.parquet` with a column `file_name` (relative to the table). Tables of other
names are taken too, and files of lyrics that are called like a song; notes say so.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import unquote

from jukebox_hf.audio import read_tags
from jukebox_hf.audio.ffmpeg import SUFFIXES as FFMPEG_SUFFIXES
from jukebox_hf.data.candidates import FoundSongs, SkippedSong, distinct_names, public_song_name
from jukebox_hf.data.columns import LABEL_COLUMNS, WORDS, ColumnNames, find_column, no_column
from jukebox_hf.data.song_sources import FileSource
from jukebox_hf.data.song_tables import (
    TABLE_SUFFIXES,
    TEXT_SUFFIXES,
    UNREAD_SUFFIXES,
    SongTable,
    cell_text,
    is_text_table,
    read_table,
)
from jukebox_hf.labels import LYRICS_SUFFIXES, TIMED_SUFFIXES
from jukebox_hf.texts import composed
from jukebox_hf.words import cut, enumerate_words, shorten

AUDIO_SUFFIXES = FFMPEG_SUFFIXES | {
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aif", ".aiff", ".aifc"),
    *(".au", ".caf", ".w64", ".rf64"),
}
METADATA_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
METADATA_NAMES = tuple(f"metadata{suffix}" for suffix in METADATA_SUFFIXES)
TRAIN_NAMES = ("train", "training")
# Folders that, beside one for training, say that a folder is divided into splits.
HELD_OUT_NAMES = ("test", "testing", "validation", "valid", "val", "dev", "eval", "evaluation")
LARGEST_OTHER_TABLE_BYTES = 64 * 2**20  # of a table that may have nothing to do with the songs
# What stands between the name of a song and the end of the name of its lyrics; "" for files of
# plain text last, since such a file may be a description.
LYRICS_ENDINGS = ("_lyrics", "-lyrics", ".lyrics", " lyrics", "_lyric")
LYRICS_FOLDER = "lyrics"
PROBED_FOR_TAGS = 8  # files of a folder without tables


class _Listing(NamedTuple):
    """What a table says about files: their labels by path."""

    table: SongTable
    labels: dict[Path, dict[str, Any]]


def is_audio_file(name: str) -> bool:
    """Whether a file is taken for audio, by the end of its name."""
    return PurePosixPath(name).suffix.lower() in AUDIO_SUFFIXES


def find_in_folder(
    folder: Path, *, split: str | None, columns: ColumnNames, source: str
) -> FoundSongs:
    """The songs in a folder, named by their paths relative to it.

    The rows of tables label a song, those of the nearest folder first; songs below a metadata file
    that does not list them are skipped, as `datasets` does. Without tables there is one column,
    `label`: the folder that a song lies in. `source` is what errors call the folder.

    Raises `ValueError` for a split or column that does not exist, or metadata that cannot be read.
    """
    root = _split_folder(folder, split)
    files = list(walk_files(root))
    found = FoundSongs([], [], [])
    finder = _Finder(files)
    tables = _read_tables(files, columns, finder, found)
    every_column = list(dict.fromkeys(name for table in tables for name in table.columns))
    present = columns.present(every_column or ["file_name", "label"], source)
    listings = [
        _Listing(table, dict(_listed_files(table, folder, columns, source, finder, found)))
        for table in sorted(tables, key=lambda table: -len(table.path.parts))
    ]
    _note_disagreement(listings, folder, found)
    lyrics = _LyricsFiles(files)
    audio_files = [file for file in files if is_audio_file(file.name)]
    if not tables:
        _note_tags(audio_files, found)
    for path in audio_files:
        name = path.relative_to(folder).as_posix()
        rows = [listing.labels[path] for listing in listings if path in listing.labels]
        nearest = _nearest_metadata(path, tables)
        if not rows and nearest:
            where = enumerate_words(table.path for table in nearest)
            found.skipped.append(SkippedSong(name, f"not listed in {where}"))
            continue
        row: dict[str, Any] = {}
        for labels in rows:
            row |= {
                label: value for label, value in labels.items() if not cell_text(row.get(label))
            }
        names = {label: label for label in row}
        if not tables:
            row, names = {"label": path.parent.name if path.parent != root else ""}, present
        found.add(
            name,
            FileSource(path),
            row,
            names,
            beside=lyrics.of(path),
            folder=nearest[0].path.parent if nearest else path.parent,
        )
    lyrics.describe(found)
    return found


def find_in_metadata_file(path: Path, *, columns: ColumnNames) -> FoundSongs:
    """The songs that a table lists, wherever they are, named as the table names them.

    Of paths that lead out of the table's folder the last part is the name.

    Raises `ValueError` for a column that does not exist, or a file that cannot be read.
    """
    table = read_table(path)
    finder = _Finder([], anywhere=True)
    audio = _audio_column(table, columns, str(path), finder)
    present = columns.present(table.columns, str(path))
    found = FoundSongs([], [], list(table.notes))
    found.notes.extend(columns.describe(present, table.columns, path.name))
    given = [cell_text(row.get(audio)) for row in table.rows]
    lyrics: dict[Path, _LyricsFiles] = {}
    files = [finder.find(path.parent, cell) for cell in given]
    names = distinct_names(
        public_song_name(cell, path.parent, file) for cell, file in zip(given, files, strict=True)
    )
    for name, cell, file, row in zip(names, given, files, table.rows, strict=True):
        if file is None:
            called = "" if name == cell else f" as {shorten(cell)}"
            reason = f"listed in {path}{called}, but there is no such file"
            found.skipped.append(SkippedSong(cut(name), reason))
            continue
        if file.parent not in lyrics:
            lyrics[file.parent] = _LyricsFiles(file.parent.glob("*"))
        beside = lyrics[file.parent].of(file)
        found.add(name, FileSource(file), row, present, beside=beside, folder=path.parent)
    return found


def walk_files(folder: Path) -> Iterator[Path]:
    """Every file below a folder, sorted, hidden ones left out; links are followed, once."""
    seen = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__")))
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))


# --- tables --------------------------------------------------------------------------------------


def _read_tables(
    files: Iterable[Path], columns: ColumnNames, finder: "_Finder", found: FoundSongs
) -> list[SongTable]:
    """The tables of a folder that label its songs, metadata files first; others get a note."""
    tables, others = [], []
    for path in files:
        suffix = path.suffix.lower()
        if _is_metadata(path):
            tables.append(read_table(path))
        elif suffix in UNREAD_SUFFIXES:
            found.notes.append(f"{path.name} is not read; save it as metadata.csv")
        elif suffix in TABLE_SUFFIXES or (suffix in TEXT_SUFFIXES and is_text_table(path)):
            others.append(path)
    for path in others:
        table = None
        try:
            if path.stat().st_size > LARGEST_OTHER_TABLE_BYTES:
                raise ValueError("it is too large for a table of labels")
            table = read_table(path)
            audio = _audio_column(table, columns, path.name, finder)
            if not any(finder.find(path.parent, cell_text(row.get(audio))) for row in table.rows):
                raise ValueError(f"no file in column {audio!r} is here")
        except (ValueError, OSError) as error:
            if _could_label(path, table):
                found.notes.append(f"{path.name} is not used: {error}")
            continue
        tables.append(table)
        found.notes.append(f"labels are taken from {path.name}, {len(table.rows)} rows")
    for table in tables:
        found.notes.extend(table.notes)
        found.notes.extend(
            columns.describe(_columns_of(table, columns), table.columns, table.path.name)
        )
    return sorted(tables, key=lambda table: not _is_metadata(table.path))


def _could_label(path: Path, table: SongTable | None) -> bool:
    """Whether a table that is not used may have been meant to label songs.

    JSON is written beside songs for many ends: by its columns, or for a damaged `.jsonl`.
    """
    suffix = path.suffix.lower()
    if suffix not in (".json", ".jsonl"):
        return True
    if table is None:
        return suffix == ".jsonl"
    return any(find_column(WORDS[label], table.columns) for label in LABEL_COLUMNS)


def _is_metadata(path: Path) -> bool:
    return path.name.lower() in METADATA_NAMES


def _nearest_metadata(path: Path, tables: Iterable[SongTable]) -> list[SongTable]:
    """The metadata files of the nearest folder above a file that has any."""
    metadata = [table for table in tables if _is_metadata(table.path)]
    for parent in path.parents:
        if here := [table for table in metadata if table.path.parent == parent]:
            return here
    return []


def _audio_column(table: SongTable, columns: ColumnNames, source: str, finder: "_Finder") -> str:
    """The column of file names: `file_name` for "audio", else `NAME_file_name` or `NAME`.

    Where none is called so, the one of which the most cells are files that are there.
    """
    names = (f"{columns.audio}_file_name", columns.audio)
    words = (*WORDS["audio"][:1], *names, *WORDS["audio"]) if columns.audio == "audio" else names
    found = find_column(words, table.columns)
    if found is None and columns.audio == "audio":
        parent = table.path.parent
        counts = {
            name: sum(bool(finder.find(parent, cell_text(row.get(name)))) for row in table.rows)
            for name in table.columns
        }
        found = max(counts, key=counts.__getitem__, default=None)
        if found is not None and not counts[found]:
            found = None
    if found is None:
        raise no_column("audio", words[0], table.columns, source)
    return found


def _listed_files(
    table: SongTable,
    folder: Path,
    columns: ColumnNames,
    source: str,
    finder: "_Finder",
    found: FoundSongs,
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The files that a table lists, each once, with their labels; others are skipped."""
    name_of = table.path.name
    audio = _audio_column(table, columns, f"{name_of} of {source}", finder)
    present = _columns_of(table, columns)
    parent, seen = table.path.parent, set()
    for number, row in enumerate(table.rows, start=1):
        given = cell_text(row.get(audio))
        path = finder.find(parent, given)
        reason = None
        if not given:
            given, reason = f"{name_of} row {number}", f"no {audio} in {table.path}"
        elif path is None and _leads_outside(parent, given):
            reason = f"listed in {table.path}, but lies outside of its folder"
        elif path is None:
            reason = f"listed in {table.path}, but there is no such file"
        elif path in seen:
            reason = f"listed more than once in {table.path}; the first row counts"
        elif not is_audio_file(path.name):
            reason = f"listed in {table.path}, but its name is not that of an audio file"
        if reason is None and path is not None:
            seen.add(path)
            yield path, {label: row.get(column) for label, column in present.items()}
        else:
            place = (
                Path(os.path.normpath(parent / given.replace("\\", "/"))) if path is None else path
            )
            inside = place.is_relative_to(folder) and place != parent
            name = place.relative_to(folder).as_posix() if inside else given
            found.skipped.append(SkippedSong(cut(name), str(reason)))


def _columns_of(table: SongTable, columns: ColumnNames) -> dict[str, str]:
    """The columns of one table, which may lack what another one has."""
    given = {
        label: find_column(WORDS[label] if wanted is None else (wanted,), table.columns)
        for label in LABEL_COLUMNS
        for wanted in (getattr(columns, label),)
    }
    return {label: column for label, column in given.items() if column is not None}


def _leads_outside(parent: Path, given: str) -> bool:
    given = given.replace("\\", "/")
    place = Path(os.path.normpath(parent / given))
    return bool(re.match("[A-Za-z]:/", given)) or not place.is_relative_to(parent)


def _note_disagreement(listings: Iterable[_Listing], folder: Path, found: FoundSongs) -> None:
    """Say where two tables label a song differently; the first one counts."""
    listings = list(listings)
    for number, later in enumerate(listings):
        for earlier in listings[:number]:
            for path in later.labels.keys() & earlier.labels.keys():
                mine, theirs = earlier.labels[path], later.labels[path]
                differing = [
                    label
                    for label in mine.keys() & theirs.keys()
                    if cell_text(mine[label])
                    and cell_text(theirs[label])
                    and cell_text(mine[label]) != cell_text(theirs[label])
                ]
                if differing:
                    found.notes.append(
                        f"{path.relative_to(folder).as_posix()}: {later.table.path.name} has "
                        f"another {enumerate_words(sorted(differing))}; "
                        f"{earlier.table.path.name} counts"
                    )


def _note_tags(files: Sequence[Path], found: FoundSongs) -> None:
    """Say that labels inside of the files are not used; a few files are looked at."""
    for file in files[:PROBED_FOR_TAGS]:
        try:
            tags = read_tags(file)
        except (ValueError, OSError):
            continue
        if given := [label for label in LABEL_COLUMNS[:2] if tags.get(label, "").strip()]:
            found.notes.append(
                f"songs have {' and '.join(given)} in their tags, as {file.name} does, which are "
                "not used; write them into metadata.csv (file_name,artist,genre)"
            )
            return


class _Finder:
    """Files by what tables call them: with back slashes, other capitals, places elsewhere.

    Args:
        files: those that may be meant where a name is not exactly that of a file.
        anywhere: whether a name may lead out of the folder of its table.
    """

    def __init__(self, files: Iterable[Path], *, anywhere: bool = False) -> None:
        self._anywhere = anywhere
        self._by_key: dict[str, Path | None] = {}
        for file in files:
            if is_audio_file(file.name):
                for key in {self._key(file), self._key(file.with_suffix(""))}:
                    # two files that look the same: neither can be meant
                    self._by_key[key] = None if key in self._by_key else file

    def find(self, parent: Path, given: str) -> Path | None:
        """The file below `parent` that a cell means; None if there is none.

        An absolute name that is not there may be from another machine: then its last parts count.
        """
        if not given or "\0" in given:
            return None
        places = [given, given.replace("\\", "/")]
        if given.lower().startswith("file:"):
            places.append(unquote(re.sub("(?i)^file:/*(?=/|[a-z]:)", "", given)).replace("\\", "/"))
        for place in places:
            path = Path(os.path.normpath(parent / place))
            if (self._anywhere or path.is_relative_to(parent)) and _is_file(path):
                return path
        slashed = places[-1]
        if "/" not in slashed and slashed.count(":") > 1:  # how macOS wrote paths once
            slashed = f"/{slashed.replace(':', '/')}"
        found = self._by_key.get(self._key(Path(os.path.normpath(parent / slashed))))
        if found is not None and found.is_relative_to(parent):
            return found
        if slashed.startswith("/") or re.match("[A-Za-z]:/", slashed):
            parts = [part for part in slashed.split("/") if part not in ("", ".", "..")]
            for start in range(1, len(parts)):
                found = self._by_key.get(self._key(parent.joinpath(*parts[start:])))
                if found is not None:
                    return found
        return None

    @staticmethod
    def _key(path: Path) -> str:
        return composed(path.as_posix()).casefold()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long
        return False


# --- lyrics --------------------------------------------------------------------------------------


class _LyricsFiles:
    """The files of lyrics that are called like a song, beside it or in a folder `lyrics`."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._by_key: dict[str, Path] = {}
        self._matched: set[str] = set()
        self._plain = 0
        for file in files:
            if file.suffix.lower() in LYRICS_SUFFIXES:
                self._by_key.setdefault(self._key(file), file)

    def of(self, song: Path) -> Path | None:
        """The file with a song's lyrics: one with times first, then one that is called so."""
        whole = song.suffix  # `song.mp3.lrc`
        found = [
            (key, folder == song.parent and suffix == ".txt" and not ending)
            for folder in (song.parent, song.parent / LYRICS_FOLDER)
            for suffixes, endings in (
                (TIMED_SUFFIXES, ("", *LYRICS_ENDINGS, whole)),
                ((".txt",), (*LYRICS_ENDINGS, whole, "")),
            )
            for ending in endings
            for suffix in suffixes
            if (key := self._key(folder / f"{song.stem}{ending}{suffix}")) in self._by_key
        ]
        if not found:
            return None
        self._matched.update(key for key, _ in found)
        key, is_plain = found[0]
        self._plain += is_plain
        return self._by_key[key]

    def describe(self, found: FoundSongs) -> None:
        """Say what may be something else and was taken for lyrics, and what belongs to no song."""
        lonely = [
            file.name
            for key, file in self._by_key.items()
            if key not in self._matched
            and (
                file.suffix.lower() in TIMED_SUFFIXES
                or file.stem.lower().endswith(LYRICS_ENDINGS)
                or file.parent.name.lower() == LYRICS_FOLDER
            )
        ]
        if lonely:
            files = "1 file" if len(lonely) == 1 else f"{len(lonely)} files"
            found.notes.append(
                f"{files} of lyrics not called like any song, and not used: "
                f"{', '.join(name[:60] for name in lonely[:3])}{', ...' * (len(lonely) > 3)}"
            )
        if self._plain:
            files = "1 file" if self._plain == 1 else f"{self._plain} files"
            found.notes.append(
                f"{files} .txt beside songs of the same name: their words are taken for lyrics "
                "where there are no others"
            )

    @staticmethod
    def _key(path: Path) -> str:
        return composed(path.as_posix()).casefold()


def _split_folder(folder: Path, split: str | None) -> Path:
    """The folder of a split: `SPLIT/` or `data/SPLIT/`; without a split see `songs.open_songs`."""
    for parent in (folder, folder / "data"):
        names = (
            {path.name: path for path in parent.iterdir() if path.is_dir()}
            if parent.is_dir()
            else {}
        )
        if split is not None and split in names:
            return names[split]
        train = next((names[name] for name in TRAIN_NAMES if name in names), None)
        if split is None and train is not None and names.keys() & set(HELD_OUT_NAMES):
            return train
    if split is None:
        return folder
    existing = sorted(path.name for path in folder.iterdir() if path.is_dir())
    raise ValueError(
        f"{folder} has no split {split!r}: expected a folder of that name in it, found "
        f"{', '.join(existing) or 'no folders'}; leave the split out to take all songs"
    )
