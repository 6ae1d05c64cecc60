"""Tables with a column of audio: datasets of the Hub or saved by `datasets`, never decoded by it.

A `datasets.Dataset` goes in; `Candidate`s come out, whose audio files are read out of the table
when they are needed. `datasets` itself would decode through torchcodec, which wants the libraries
of FFmpeg.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from jukebox_hf.data.candidates import FoundSongs, SkippedSong, distinct_names, public_song_name
from jukebox_hf.data.columns import ColumnNames, no_column
from jukebox_hf.data.song_sources import AudioSource, FileSource, RowSource


class AudioColumn:
    """The undecoded audio of a table; see `sources.Rows`.

    Cells are the contents of files, their paths, or structs of `bytes` and `path`, as `datasets`
    stores audio.
    """

    def __init__(self, table: Any, name: str) -> None:
        self._table = table.select_columns([name])  # pickles as the names of its files
        self._name = name

    def paths(self) -> Iterator[tuple[str | None, bool]]:
        """The path in each cell, and whether the cell has a file's content as well."""
        for chunk in self._chunks():
            content, path = _fields(chunk)
            yield from zip(
                [None] * len(chunk) if path is None else path.to_pylist(),
                [False] * len(chunk) if content is None else content.is_valid().to_pylist(),
                strict=True,
            )

    def open_audio(self, row: int) -> BinaryIO:
        """The content of the audio file in a row, where the table is mapped into memory."""
        from pyarrow import BufferReader  # type: ignore[import-untyped]

        chunks = self._chunks()
        ends = list(accumulate(map(len, chunks)))
        number = bisect_right(ends, row)
        content, _ = _fields(chunks[number])
        cell = content[row - (ends[number] - len(chunks[number]))]
        reader: BinaryIO = BufferReader(cell.as_buffer())
        return reader

    def _chunks(self) -> list[Any]:
        return [chunk for chunk in self._table.data.column(self._name).chunks if len(chunk)]


class SingleCell:
    """The audio of one row of a stream; see `sources.Rows`."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def open_audio(self, row: int) -> BinaryIO:
        """The content of the audio file."""
        return BytesIO(self._content)


def find_in_table(
    table: Any, *, columns: ColumnNames, source: str, folder: Path | None
) -> FoundSongs:
    """The songs in a `datasets.Dataset`, named by the files that they were, or by their rows.

    Args:
        table: its audio may be in the table, or in files whose paths stand there.
        columns: what its columns are called.
        source: what errors call the dataset.
        folder: what paths are relative to, if it is on this machine.

    Raises `ValueError` for columns that do not exist or hold no audio.
    """
    table = _undecoded(table, columns.audio, source)
    if table._indices is not None:  # rows chosen from a larger table
        table = table.flatten_indices()
    present = columns.present(list(table.features), source)
    audio = AudioColumn(table, columns.audio)
    cells = list(audio.paths())
    files = [None if has_content else _file(path, folder) for path, has_content in cells]
    names = distinct_names(
        _row_name(path, row, folder, files[row]) for row, (path, _) in enumerate(cells)
    )
    labels = _label_rows(table, present, len(cells))
    found = FoundSongs([], [], [])
    others = [name for name in table.features if name != columns.audio]
    found.notes.extend(columns.describe(present, others, source))
    for row, (name, (path, has_content), label) in enumerate(
        zip(names, cells, labels, strict=True)
    ):
        file = files[row]
        song: AudioSource | None = None if file is None else FileSource(file)
        if has_content:
            song = RowSource(audio, row, _suffix(path))
        _add(found, name, song, path, label, present)
    return found


def find_in_stream(stream: Any, *, columns: ColumnNames, source: str) -> Iterator[FoundSongs]:
    """The same of a `datasets.IterableDataset`, row by row; each holds its own audio."""
    stream = _undecoded(stream, columns.audio, source)
    present = columns.present(list(stream.features), source)
    names_of = _class_names(stream.features)
    seen: set[str] = set()
    for row, cells in enumerate(stream):
        content, path = _stream_cell(cells[columns.audio])
        name = _row_name(path, row, None)
        name = f"{name}#{row}" if name in seen else name
        seen.add(name)
        found = FoundSongs([], [], [])
        song = RowSource(SingleCell(content), 0, _suffix(path)) if content is not None else None
        _add(found, name, song, path, _readable(cells, names_of), present)
        yield found


def _add(
    found: FoundSongs,
    name: str,
    song: AudioSource | None,
    path: str | None,
    row: Mapping[str, Any],
    present: Mapping[str, str],
) -> None:
    if song is not None:
        found.add(name, song, row, present)
    else:
        reason = f"there is no file {path} on this machine" if path else "its cell is empty"
        found.skipped.append(SkippedSong(name, reason))


def _undecoded(table: Any, column: str, source: str) -> Any:
    from datasets import Audio, Value

    if table.features is None:
        raise ValueError(
            f"{source}: the columns of this stream are not known; do without streaming"
        )
    if column not in table.features:
        raise no_column("audio", column, list(table.features), source)
    feature = table.features[column]
    if isinstance(feature, Audio):
        return table.cast_column(column, Audio(decode=False))
    texts_or_bytes = isinstance(feature, Value) and feature.dtype in (
        *("string", "large_string"),
        *("binary", "large_binary"),
    )
    if texts_or_bytes or (isinstance(feature, dict) and {"bytes", "path"} & set(feature)):
        return table
    audio = [name for name, kind in table.features.items() if isinstance(kind, Audio)]
    raise ValueError(
        f"column {column!r} of {source} holds no audio but {feature}; columns of audio are: "
        f"{', '.join(audio) or 'none'}"
    )


def _fields(chunk: Any) -> tuple[Any, Any]:
    """The arrays of contents and of paths in an arrow array; None for what it lacks."""
    kind = str(chunk.type)
    if kind.startswith("struct"):
        names = [field.name for field in chunk.type]
        return tuple(chunk.field(name) if name in names else None for name in ("bytes", "path"))  # type: ignore[return-value]
    return (chunk, None) if "binary" in kind else (None, chunk)


def _stream_cell(cell: Any) -> tuple[bytes | None, str | None]:
    if isinstance(cell, Mapping):
        return cell.get("bytes"), cell.get("path")
    return (cell, None) if isinstance(cell, bytes) else (None, cell)


def _row_name(path: str | None, row: int, folder: Path | None, file: Path | None = None) -> str:
    """The name of a song: its file's if that is known, else its place."""
    if not path:
        return f"row {row:07d}"
    return PurePosixPath(public_song_name(path, folder, file)).as_posix()


def _suffix(path: str | None) -> str:
    return PurePosixPath(path or "").suffix


def _file(path: str | None, folder: Path | None) -> Path | None:
    if not path:
        return None
    for file in (*([folder / path] if folder is not None else []), Path(path)):
        if file.is_file():
            return file
    return None


def _class_names(features: Mapping[str, Any]) -> dict[str, Any]:
    """For columns of classes, the function from their numbers to their names."""
    from datasets import ClassLabel

    return {name: kind.int2str for name, kind in features.items() if isinstance(kind, ClassLabel)}


def _readable(cells: Mapping[str, Any], names_of: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: names_of[name](cell) if name in names_of and cell is not None and cell >= 0 else cell
        for name, cell in cells.items()
        if not (name in names_of and cell == -1)  # datasets has -1 for no class
    }


def _label_rows(
    table: Any, present: Mapping[str, str], num_rows: int
) -> Iterable[Mapping[str, Any]]:
    if not present:
        return [{}] * num_rows
    names_of = _class_names(table.features)
    labels = table.select_columns(sorted(set(present.values())))
    return (_readable(cells, names_of) for cells in labels)
