"""Folders of audio files, laid out as `datasets` wants an `audiofolder`, but read without it.

A folder goes in; `Candidate`s come out. `datasets` itself needs torchcodec and FFmpeg to so much as
list such a folder, so it is read here: audio files in any depth, and beside them `metadata.csv`,
`metadata.jsonl` or `metadata.parquet` with a column `file_name` (relative to the metadata file).
"""

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from jukebox_hf.audio.ffmpeg import SUFFIXES as FFMPEG_SUFFIXES
from jukebox_hf.data.candidates import (
    ColumnNames,
    Found,
    SkippedSong,
    distinct_names,
    no_column,
)
from jukebox_hf.data.sources import FileSource

AUDIO_SUFFIXES = FFMPEG_SUFFIXES | {
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aif", ".aiff", ".aifc"),
    *(".au", ".caf", ".w64", ".rf64"),
}
METADATA_SUFFIXES = (".csv", ".jsonl", ".parquet")
METADATA_NAMES = tuple(f"metadata{suffix}" for suffix in METADATA_SUFFIXES)
TRAIN_NAMES = ("train", "training")
# Folders that, beside one for training, say that a folder is divided into splits.
HELD_OUT_NAMES = ("test", "testing", "validation", "valid", "val", "dev", "eval", "evaluation")


class Metadata(NamedTuple):
    """A metadata file: its columns in order, and its rows."""

    path: Path
    columns: list[str]
    rows: list[dict[str, Any]]


def is_audio_file(name: str) -> bool:
    """Whether a file is taken for audio, by the end of its name."""
    return PurePosixPath(name).suffix.lower() in AUDIO_SUFFIXES


def find_in_folder(folder: Path, *, split: str | None, columns: ColumnNames, source: str) -> Found:
    """The songs in a folder, named by their paths relative to it.

    The row of a metadata file labels a song; songs below a metadata file that does not list them
    are skipped, as `datasets` does. Others have one column, `label`: the folder that they lie in.
    `source` is what errors call the folder.

    Raises `ValueError` for a split or column that does not exist, or metadata that cannot be read.
    """
    root = _split_folder(folder, split)
    files = list(walk_files(root))
    tables = {path.parent: read_metadata(path) for path in files if _is_metadata(path)}
    present = columns.present(_all_columns(tables.values()) or ["file_name", "label"], source)
    found = Found([], [], [])
    listed = {
        path: row
        for table in tables.values()
        for path, row in _listed_files(table, folder, columns, source, found)
    }
    for path in files:
        if not is_audio_file(path.name):
            continue
        name = path.relative_to(folder).as_posix()
        table = next((tables[parent] for parent in path.parents if parent in tables), None)
        row = listed.get(path)
        if row is None and table is not None:
            found.skipped.append(SkippedSong(name, f"not listed in {table.path}"))
            continue
        row = row or {"label": path.parent.name if path.parent != root else ""}
        _add(found, name, path, row, present)
    return found


def find_in_metadata_file(path: Path, *, columns: ColumnNames) -> Found:
    """The songs that a metadata file lists, wherever they are, named as the file names them.

    Raises `ValueError` for a column that does not exist, or a file that cannot be read.
    """
    table = read_metadata(path)
    audio = _audio_column(table, columns, str(path))
    present = columns.present(table.columns, str(path))
    found = Found([], [], [])
    names = distinct_names([str(row.get(audio) or "") for row in table.rows])
    for name, row in zip(names, table.rows, strict=True):
        file = path.parent / str(row.get(audio) or "")
        if file.is_file():
            _add(found, name, file, row, present)
        else:
            found.skipped.append(SkippedSong(name, f"listed in {path}, but there is no such file"))
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


def read_metadata(path: Path) -> Metadata:
    """Read `.csv` (UTF-8, a comma between cells), `.jsonl` or `.parquet`.

    Raises `ValueError` naming the file, and the line where it is damaged.
    """
    try:
        if path.suffix.lower() == ".parquet":
            return _read_parquet(path)
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not text in UTF-8 ({error.reason}); save it as UTF-8"
        ) from None
    if path.suffix.lower() == ".jsonl":
        return _read_json_lines(path, text)
    try:
        table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        rows = list(table)
    except csv.Error as error:
        raise ValueError(f"{path}: line {table.reader.line_num}: {error}") from None
    for number, row in enumerate(rows, start=1):
        if None in row:
            raise ValueError(
                f"{path}: row {number} has more cells than there are columns ({row[None]!r:.60}); "
                'put cells with commas in "quotes"'
            )
    return Metadata(path, list(table.fieldnames or []), rows)


def _read_json_lines(path: Path, text: str) -> Metadata:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}: line {number} is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"{path}: line {number}: expected an object {{...}}, got {line:.60}")
        rows.append(row)
    return Metadata(path, list(dict.fromkeys(name for row in rows for name in row)), rows)


def _read_parquet(path: Path) -> Metadata:
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        table = load_dataset("parquet", data_files=os.fspath(path), split="train")
    except (DatasetsError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error.__cause__ or error}") from None
    return Metadata(path, table.column_names, list(table))


def _is_metadata(path: Path) -> bool:
    return path.name in METADATA_NAMES


def _all_columns(tables: Iterable[Metadata]) -> list[str]:
    return list(dict.fromkeys(column for table in tables for column in table.columns))


def _audio_column(table: Metadata, columns: ColumnNames, source: str) -> str:
    """The column of file names: `file_name` for "audio", else `NAME_file_name` or `NAME`."""
    names = [f"{columns.audio}_file_name", columns.audio]
    if columns.audio == "audio":
        names.insert(0, "file_name")
    found = next((name for name in names if name in table.columns), None)
    if found is None:
        raise no_column("audio", names[0], table.columns, source)
    return found


def _listed_files(
    table: Metadata, folder: Path, columns: ColumnNames, source: str, found: Found
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The files that a metadata file lists, each once; others are skipped with the reason."""
    audio = _audio_column(table, columns, f"{table.path.name} of {source}")
    parent, seen = table.path.parent, set()
    for number, row in enumerate(table.rows, start=1):
        given = str(row.get(audio) or "")
        path = Path(os.path.normpath(parent / given))
        reason = None
        if not given:
            given, reason = f"{table.path.name} row {number}", f"no {audio} in {table.path}"
        elif os.path.isabs(given) or not path.is_relative_to(parent):
            reason = f"listed in {table.path}, but lies outside of its folder"
        elif path in seen:
            reason = f"listed more than once in {table.path}; the first row counts"
        elif not path.is_file():
            reason = f"listed in {table.path}, but there is no such file"
        elif not is_audio_file(path.name):
            reason = f"listed in {table.path}, but its name is not that of an audio file"
        if reason is None:
            seen.add(path)
            yield path, row
        else:
            inside = path.is_relative_to(folder) and path != parent
            name = path.relative_to(folder).as_posix() if inside else given
            found.skipped.append(SkippedSong(name, reason))


def _add(
    found: Found, name: str, path: Path, row: Mapping[str, Any], present: Mapping[str, str]
) -> None:
    beside = path.with_suffix(".lrc")
    found.add(name, FileSource(path), row, present, timed=beside if beside.is_file() else None)


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
