"""A dataset of codes, opened: songs with their labels, and any run of their codes, from disk.

A folder or repository goes in; `CodeSongs` come out. `encode_dataset` makes such datasets,
`prior_items` cuts training examples from them.
"""

import os
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from jukebox_hf.data.code_files import (
    CODES_FILE,
    INFO_FILE,
    PART_PREFIX,
    PART_SUFFIX,
    STATE_FILE,
    CodesInfo,
    read_part,
    timed_lyrics_from_cells,
)
from jukebox_hf.data.errors import table_errors
from jukebox_hf.data.regions import encodable_samples
from jukebox_hf.data.songs import split_songs
from jukebox_hf.labels import UNKNOWN, TimedLyrics
from jukebox_hf.records import read_json
from jukebox_hf.refusals import asked_once, hub_refusals
from jukebox_hf.words import shorten

TABLES = "data"  # the folder of parquet files in what was pushed
LONGEST_NAME = 200  # of a file; file systems allow 255 bytes


class CodeNeeds(Protocol):
    """What a prior must have in common with its codes; `JukeboxPriorConfig` has all of it."""

    level: int
    codebook_size: int
    hop_length: int
    sampling_rate: int
    codebook_fingerprint: str | None

    @property
    def is_upsampler(self) -> bool: ...
    @property
    def upper_ratio(self) -> int: ...


class CodeSong(NamedTuple):
    """A song whose codes are stored.

    Attributes:
        name, artist, genre, lyrics, lyric_times: as of `songs.Song`.
        total_samples: its length at the dataset's sampling rate.
        row: where its codes are in the table.
    """

    name: str
    artist: str
    genre: str
    lyrics: str | None
    lyric_times: TimedLyrics | None
    total_samples: int
    row: int


class CodeSongs:
    """A dataset of codes; see `open_codes`. The codes stay on disk, mapped into memory.

    Attributes:
        info: which codec made them, at which levels.
        songs: in the order of their names.
    """

    def __init__(self, table: Any, info: CodesInfo, songs: Sequence[CodeSong]) -> None:
        self.info = info
        self.songs = tuple(songs)
        self._table = table
        self._columns: dict[int, _ListColumn] = {}

    def __len__(self) -> int:
        return len(self.songs)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_columns": {}}  # a worker maps the files anew

    def codes(self, song: int, level: int, start: int = 0, stop: int | None = None) -> Tensor:
        """Codes `start` up to `stop` of song number `song`, int64; None: to the end.

        Raises `ValueError` for a level that the dataset does not hold.
        """
        return torch.from_numpy(
            self._column(level).cell(self.songs[song].row, start, stop).astype(np.int64)
        )

    def num_codes(self, song: int, level: int) -> int:
        """How many codes of a level a song has."""
        total = encodable_samples(self.songs[song].total_samples, self.info.hop_lengths)
        return total // self.info.hop_lengths[level]

    def split(self, validation_fraction: float, seed: int) -> tuple["CodeSongs", "CodeSongs"]:
        """Songs to train on and songs held out: those of `split_songs`, by the same names."""
        train, held_out = split_songs(self.songs, validation_fraction, seed)
        return (
            CodeSongs(self._table, self.info, train),
            CodeSongs(self._table, self.info, held_out),
        )

    def check(self, config: CodeNeeds) -> None:
        """Raise `ValueError` unless a prior with this config can learn from these codes."""
        level = config.level
        upper_level = [level + 1] if config.is_upsampler else []
        for needed in (level, *upper_level):
            self._check_level(needed)
        hop_lengths = self.info.hop_lengths
        wanted: dict[str, tuple[object, object]] = {
            "sampling rate": (self.info.sampling_rate, config.sampling_rate),
            "hop length": (hop_lengths[level], config.hop_length),
            "codebook size": (self.info.codebook_size, config.codebook_size),
        }
        if upper_level:
            ratio = hop_lengths[level + 1] // hop_lengths[level]
            wanted["codes per upper code"] = (ratio, config.upper_ratio)
        if self.info.fingerprint and config.codebook_fingerprint:
            wanted["codebook fingerprint"] = (self.info.fingerprint, config.codebook_fingerprint)
        problems = [
            f"their {name} is {mine}, the prior's {theirs}"
            for name, (mine, theirs) in wanted.items()
            if mine != theirs
        ]
        if problems:
            raise ValueError(
                f"these codes are not of the prior's codec: {'; '.join(problems)}; encode the "
                "songs again with the codec that belongs to the prior"
            )

    def _check_level(self, level: int) -> None:
        if level not in self.info.levels:
            raise ValueError(
                f"this dataset holds codes of the levels {', '.join(map(str, self.info.levels))}, "
                f"but level {level} is needed; encode the songs again with --levels"
            )

    def _column(self, level: int) -> "_ListColumn":
        if level not in self._columns:
            self._check_level(level)
            self._columns[level] = _ListColumn(self._table.data.column(f"codes_{level}"))
        return self._columns[level]


class _ListColumn:
    """A column of lists of numbers, read without copying more than is wanted.

    `datasets` would turn a whole cell into Python or numpy first: 500 microseconds instead of 40
    for 8192 of 80,000 codes.
    """

    def __init__(self, column: Any) -> None:
        self._chunks = [chunk for chunk in column.chunks if len(chunk)]
        self._ends = list(accumulate(map(len, self._chunks)))

    def cell(self, row: int, start: int, stop: int | None) -> np.ndarray[Any, Any]:
        """Numbers `start` up to `stop` of the list in a row."""
        number = bisect_right(self._ends, row)
        chunk = self._chunks[number]
        place = row - (self._ends[number] - len(chunk))
        first, last = (chunk.offsets[place + i].as_py() for i in (0, 1))
        length = last - first
        stop = length if stop is None else stop
        if not 0 <= start <= stop <= length:
            raise IndexError(f"there are {length} codes, got {start} to {stop}")
        found: np.ndarray[Any, Any] = chunk.values.slice(first + start, stop - start).to_numpy()
        return found


def open_codes(path_or_repo: str | os.PathLike[str], *, revision: str | None = None) -> CodeSongs:
    """Open a dataset of codes that `encode_dataset` wrote, in its own form or as it was pushed.

    Args:
        path_or_repo: its folder, or a repository on the Hub that it was pushed to (`jukebox push`).
        revision: branch, tag or commit of the repository.

    Raises:
        ValueError: for something else, or a folder that is not complete yet.
        OSError: if it is not there or cannot be fetched.
    """
    name, folder = os.fspath(path_or_repo), Path(path_or_repo)
    if folder.is_dir():
        info, table = _open_folder(folder)
    else:
        info, table = _open_repository(name, revision)
    missing = [f"codes_{level}" for level in info.levels if f"codes_{level}" not in table.features]
    if missing or "song" not in table.features:
        raise ValueError(
            f"{name} lacks the columns {', '.join(missing) or 'song'}; encode it again"
        )
    labels = table.select_columns([name for name in table.features if name[:6] != "codes_"])
    songs = [_code_song(row, number, name) for number, row in enumerate(labels)]
    return CodeSongs(table, info, sorted(songs, key=lambda song: song.name))


def _code_song(row: Mapping[str, Any], number: int, source: str) -> CodeSong:
    """A row of a table; `ValueError` for one that was not written by `encode_dataset`."""
    name, total = row.get("song"), row.get("total_samples")
    texts = [row.get(column) for column in ("artist", "genre", "lyrics")]
    if not isinstance(name, str) or not isinstance(total, int) or total < 1:
        raise ValueError(f"{source}, row {number}: expected a song and its length")
    if not all(text is None or isinstance(text, str) for text in texts):
        raise ValueError(f"{source}, row {number}: expected labels as text")
    artist, genre, lyrics = texts
    try:
        times = timed_lyrics_from_cells(row)
    except (KeyError, TypeError, ValueError) as error:
        text = f"{source}, {shorten(name)}: its timed lyrics are damaged: {error}"
        raise ValueError(text) from None
    return CodeSong(name, artist or UNKNOWN, genre or UNKNOWN, lyrics, times, total, number)


def holds_codes(path_or_repo: str | os.PathLike[str]) -> bool:
    """Whether a folder is one of codes, rather than of songs; also while it is not complete."""
    return (Path(path_or_repo) / CODES_FILE).is_file()


def _open_folder(folder: Path) -> tuple[CodesInfo, Any]:
    if not (folder / CODES_FILE).is_file():
        raise ValueError(
            f"{folder} holds no codes (there is no {CODES_FILE} in it); make them with `jukebox "
            "encode --dataset`"
        )
    info = CodesInfo.load(folder / CODES_FILE)
    if not (folder / STATE_FILE).is_file() and (folder / TABLES).is_dir():
        return info, _read_tables(folder)
    if not (folder / STATE_FILE).is_file():
        raise ValueError(
            f"{folder} is not complete; run the same `jukebox encode --dataset` again, and all of "
            "its shards"
        )
    return info, _read_parts(folder)


def _read_parts(folder: Path) -> Any:
    """The table of a folder that is complete: the Arrow files that its `state.json` lists."""
    from datasets import concatenate_datasets

    state = folder / STATE_FILE
    listed = read_json(state).get("_data_files")
    rows = listed if isinstance(listed, list) and listed else [None]
    names = [str(row.get("filename")) if isinstance(row, dict) else "" for row in rows]
    for name in names:
        is_plain = Path(name).name == name and "\\" not in name and len(name) < LONGEST_NAME
        if not is_plain or not name.endswith(PART_SUFFIX):
            raise ValueError(
                f"{state} lists no files of codes, but {shorten(name)}; run the same `jukebox "
                "encode --dataset` again"
            )
    try:
        return concatenate_datasets([read_part(folder / name) for name in names])
    except FileNotFoundError as error:
        raise ValueError(f"{error}; run the same `jukebox encode --dataset` again") from None
    except (TypeError, KeyError) as error:
        raise ValueError(f"the files of {folder} do not belong together: {error}") from None


def _read_tables(folder: Path) -> Any:
    """The table of a folder as it was pushed: parquet files that count themselves."""
    from datasets import Dataset

    found = sorted(path.name for path in (folder / TABLES).glob("*.parquet"))
    counted = {name.rpartition("-of-")[2].removesuffix(".parquet") for name in found}
    if len(counted) > 1 or not all(
        number.isdigit() and int(number) == len(found) for number in counted
    ):
        raise ValueError(
            f"{folder / TABLES} lacks files, or holds those of two tables: "
            f"{shorten(', '.join(found))}"
        )
    with table_errors(os.fspath(folder)):
        files = [os.fspath(folder / TABLES / name) for name in found]
        return Dataset.from_parquet(files)


def _open_repository(repo_id: str, revision: str | None) -> tuple[CodesInfo, Any]:
    from datasets import load_dataset
    from huggingface_hub import hf_hub_download, snapshot_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    patterns = [CODES_FILE, STATE_FILE, INFO_FILE, f"{PART_PREFIX}*{PART_SUFFIX}"]
    patterns.append(f"{TABLES}/*.parquet")
    with (
        hub_refusals(repo_id, revision, kind="dataset"),
        table_errors(repo_id),
        asked_once(repo_id, revision),
    ):
        try:
            hf_hub_download(repo_id, CODES_FILE, repo_type="dataset", revision=revision)
        except LocalEntryNotFoundError:
            raise  # no connection, and it has not been fetched before
        except EntryNotFoundError:
            raise ValueError(f"{repo_id} holds no codes (there is no {CODES_FILE} in it)") from None
        folder = Path(
            snapshot_download(
                repo_id, repo_type="dataset", revision=revision, allow_patterns=patterns
            )
        )
        if (folder / STATE_FILE).is_file() or (folder / TABLES).is_dir():
            return _open_folder(folder)
        # Somebody has pushed the table by itself, in another way.
        table = load_dataset(repo_id, split="train", revision=revision)
        return CodesInfo.load(folder / CODES_FILE), table
