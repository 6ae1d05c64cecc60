"""Tables of songs that people write: `.csv` in all dialects, `.tsv`, `.jsonl`, `.json`, `.parquet`.

A file goes in; rows come out, with what was not as expected. Which columns mean what is
`columns`' work, and which files the rows mean is that of `song_folders`.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jukebox_hf.data.columns import is_audio_column
from jukebox_hf.texts import composed, decode_text, read_bytes, read_text
from jukebox_hf.words import shorten

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet", ".json")
TEXT_SUFFIXES = (".txt", ".tab")  # which may hold a table
# What may say something of songs, and is not read.
UNREAD_SUFFIXES = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers", ".yaml", ".yml", ".xml")
LARGEST_OPENING = 1 << 16
DELIMITERS = ",;\t|"


class SongTable(NamedTuple):
    """A table: its columns in order, its rows, and what to say of how it was read."""

    path: Path
    columns: list[str]
    rows: list[dict[str, Any]]
    notes: tuple[str, ...] = ()


def read_table(path: Path) -> SongTable:
    """Read a table by the end of its name.

    Texts may be UTF-8 or UTF-16, and what Excel writes in the West; cells may be divided by commas,
    semicolons, tabs or bars, with blanks around them.

    Raises:
        ValueError: naming the file, and the line where it is damaged.
        OSError: for what is no file.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _read_parquet(path)
    text, encoding = read_text(path, what="a table", western=True)
    notes = () if encoding != "cp1252" else (f"{path.name} is not UTF-8; read as Windows-1252",)
    if suffix == ".jsonl":
        return _table(path, _json_lines(path, text), notes)
    if suffix == ".json":
        return _table(path, _json_rows(path, text), notes)
    return _read_csv(path, text, notes)


def is_text_table(path: Path) -> bool:
    """Whether a text file is a table: its first line names the column of files, and others."""
    try:
        with path.open("rb") as file:
            opening = file.read(LARGEST_OPENING)
        text = decode_text(opening[: len(opening) // 2 * 2], path.name, western=True).text
    except (ValueError, OSError):
        return False
    head = next((line for line in text.splitlines() if line.strip()), "")
    cells = next(csv.reader([head], delimiter=_delimiter(text), skipinitialspace=True), [])
    return len(cells) > 1 and any(map(is_audio_column, cells))


def _read_csv(path: Path, text: str, notes: tuple[str, ...]) -> SongTable:
    head, _, rest = text.partition("\n")
    said = head.strip().strip('"').lower()
    delimiter = None
    if said.startswith("sep=") and len(said) <= 5:  # what Excel puts before a table
        text, delimiter = rest, said[4:] or "\t"
    delimiter = delimiter or _delimiter(text)
    try:
        cells = _csv_rows(text, delimiter, strict=True)
    except csv.Error as error:
        if "expected after" not in str(error):
            raise ValueError(f"{path}: {error}") from None
        cells = _csv_rows(text, delimiter, strict=False)  # a blank behind a closing quote
    columns = [name.strip() for name in cells[0]] if cells else []
    if len(set(columns)) < len(columns):
        repeated = next(name for name in columns if columns.count(name) > 1)
        if repeated:
            notes = (*notes, f"{path.name} has column {repeated!r:.80} twice; the first counts")
    rows = []
    for number, row in enumerate(cells[1:], start=1):
        if any(cell.strip() for cell in row[len(columns) :]):
            raise ValueError(
                f"{path}: row {number} has more cells than there are columns "
                f'({shorten(row[len(columns) :], 60)}); put cells with commas in "quotes"'
            )
        pairs = reversed(list(zip(columns, row, strict=False)))
        rows.append({name: cell.strip() for name, cell in pairs})
    return SongTable(path, [name for name in columns if name], rows, notes)


def _csv_rows(text: str, delimiter: str, *, strict: bool) -> list[list[str]]:
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=strict
    )
    try:
        return [row for row in reader if len(row) > 1 or (row and row[0].strip())]
    except csv.Error as error:
        raise csv.Error(f"line {reader.line_num}: {error}") from None


def _delimiter(text: str) -> str:
    """The sign between cells: the one that makes the first line hold a column of files, or most."""
    head = next((line for line in text.splitlines() if line.strip()), "")

    def columns(delimiter: str) -> list[str]:
        return next(csv.reader([head], delimiter=delimiter, skipinitialspace=True), [])

    return max(
        DELIMITERS,
        key=lambda sign: (any(map(is_audio_column, columns(sign))), len(columns(sign))),
    )


def _json_lines(path: Path, text: str) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):  # no other sign ends a line of JSON
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: line {number} is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"{path}: line {number}: expected an object {{...}}, got {line:.60}")
        rows.append(row)
    return rows


def _json_rows(path: Path, text: str) -> list[dict[str, Any]]:
    """A list of rows, or rows by the names of their files."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    if isinstance(content, Mapping) and all(isinstance(row, Mapping) for row in content.values()):
        content = [{"file_name": name, **row} for name, row in content.items()]
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise ValueError(f"{path}: expected a list of objects {{...}}")
    return content


def _table(path: Path, rows: list[dict[str, Any]], notes: Iterable[str]) -> SongTable:
    tidy = [
        {
            name.strip(): cell.strip() if isinstance(cell, str) else cell
            for name, cell in row.items()
        }
        for row in rows
    ]
    return SongTable(
        path, list(dict.fromkeys(name for row in tidy for name in row)), tidy, (*notes,)
    )


def _read_parquet(path: Path) -> SongTable:
    import pyarrow  # type: ignore[import-untyped]
    from pyarrow import parquet

    try:
        table = parquet.read_table(pyarrow.BufferReader(read_bytes(path, what="a table")))
        binary = [field.name for field in table.schema if "binary" in str(field.type)]
        rows = table.drop_columns(binary).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path} cannot be read: {shorten(str(error), 200)}") from None
    return _table(path, rows, ())


def cell_text(value: Any) -> str:
    """A cell as the text that it stands for."""
    return "" if value is None or value != value else composed(str(value)).strip()
