"""A dataset of codes on disk: which files it is made of, and what each holds.

`jukebox_codes.json` says which codec made the codes. One or more Arrow files have a row per song,
with its labels and lyrics, its length, and `codes_0`, `codes_1`... as lists of 16-bit integers,
level 0 the finest. `state.json` and `dataset_info.json`, written last, make the folder one that
`datasets.load_from_disk` reads.
"""

import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path, PureWindowsPath
from typing import Any, Self

from jukebox_hf.files import find_here, write_atomically
from jukebox_hf.labels import TimedLyrics, TimedSegment
from jukebox_hf.records import from_json, read_json
from jukebox_hf.vqvae.network import VQVAENetwork
from jukebox_hf.words import cut, shorten

FORMAT_VERSION = 1
CODES_FILE = "jukebox_codes.json"
STATE_FILE = "state.json"
INFO_FILE = "dataset_info.json"
PART_PREFIX, PART_SUFFIX = "codes-", ".arrow"


@dataclass(frozen=True)
class CodesInfo:
    """Which codec made the codes of a dataset.

    Attributes:
        sampling_rate: of the audio (Hz).
        hop_lengths: audio samples per code, of all levels of the codec, finest first.
        levels: those that the dataset holds, ascending.
        codebook_size: codes per level.
        fingerprint: hash of the codebooks; None if unknown.
        model: the codec's name: of a folder the last part, since the file may be published.
        format_version: of the dataset.
    """

    sampling_rate: int
    hop_lengths: tuple[int, ...]
    levels: tuple[int, ...]
    codebook_size: int
    fingerprint: str | None = None
    model: str | None = None
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        for name in ("hop_lengths", "levels"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        pairs = pairwise(self.hop_lengths)
        if not self.hop_lengths or min(self.hop_lengths) < 1 or any(b % a for a, b in pairs):
            raise ValueError(
                f"hop_lengths must be multiples of each other, got {shorten(self.hop_lengths)}"
            )
        if list(self.levels) != sorted({*self.levels} & {*range(len(self.hop_lengths))}):
            raise ValueError(
                f"levels must be of {len(self.hop_lengths)} levels, got {shorten(self.levels)}"
            )
        if min(self.sampling_rate, self.codebook_size) < 1 or not self.levels:
            raise ValueError("sampling_rate, codebook_size and levels must be above 0")
        if self.model is not None:
            object.__setattr__(self, "model", public_name(self.model))

    @classmethod
    def of(cls, vqvae: VQVAENetwork, levels: Sequence[int] | None, model: str | None) -> Self:
        """What a codec would make; `ValueError` for levels that it lacks."""
        config = vqvae.config
        chosen = sorted(set(range(config.num_levels) if levels is None else levels))
        if not chosen or not set(chosen) <= set(range(config.num_levels)):
            raise ValueError(
                f"levels must be from 0 (finest) to {config.num_levels - 1}, got {chosen or 'none'}"
            )
        return cls(
            sampling_rate=config.sampling_rate,
            hop_lengths=config.hop_lengths,
            levels=tuple(chosen),
            codebook_size=config.codebook_size,
            fingerprint=vqvae.fingerprint(),
            model=model,
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read `jukebox_codes.json`. `ValueError` for a file that is something else."""
        try:
            return from_json(cls, read_json(path), path.name, version=FORMAT_VERSION)
        except ValueError as error:
            raise ValueError(f"{path} does not describe a dataset of codes: {error}") from None

    def to_json(self) -> str:
        """What `jukebox_codes.json` holds."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2) + "\n"

    def save(self, path: Path) -> None:
        """Write `jukebox_codes.json`."""
        data = self.to_json().encode()
        write_atomically(path, lambda temporary: _write(temporary, data))

    def check_same(self, other: "CodesInfo", folder: Path) -> None:
        """Raise `ValueError` if codes of `other`, found in `folder`, cannot stand beside these."""
        for name in ("fingerprint", "sampling_rate", "hop_lengths", "levels", "codebook_size"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                mine, theirs = cut(str(mine)), cut(str(theirs))
                raise ValueError(
                    f"{folder} already holds codes of another kind: their {name} is {theirs}, "
                    f"wanted is {mine}; use another folder"
                )


def code_features(levels: Iterable[int]) -> Any:
    """The columns of a dataset of codes, as `datasets.Features`."""
    from datasets import Features, List, Value

    return Features(
        {
            "song": Value("string"),
            "artist": Value("string"),
            "genre": Value("string"),
            "lyrics": Value("string"),
            "lyric_times": List({"start_seconds": Value("float64"), "text": Value("string")}),
            "lyric_end_seconds": Value("float64"),
            "total_samples": Value("int64"),
            **{f"codes_{level}": List(Value("int16")) for level in levels},
        }
    )


def described(levels: Iterable[int], description: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `dataset_info.json` and `state.json` say in a folder that `datasets` itself saved.

    Of an empty dataset with these columns: which files a folder holds is for the caller to add.
    """
    from datasets import Dataset, DatasetInfo
    from datasets.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    features = code_features(levels)
    columns: dict[str, list[Any]] = {name: [] for name in features}
    info = DatasetInfo(description=description, features=features)
    empty = Dataset.from_dict(columns, features=features, info=info)
    silent = are_progress_bars_disabled()
    with tempfile.TemporaryDirectory() as folder:
        disable_progress_bars()
        try:
            empty.save_to_disk(folder)
        finally:
            if not silent:
                enable_progress_bars()
        return read_json(Path(folder, INFO_FILE)), read_json(Path(folder, STATE_FILE))


def timed_lyrics_cells(lyrics: TimedLyrics | None) -> dict[str, Any]:
    """Timed lyrics as cells of a row."""
    if lyrics is None:
        return {"lyric_times": None, "lyric_end_seconds": None}
    times = [{"start_seconds": start, "text": text} for start, text in lyrics.segments]
    return {"lyric_times": times, "lyric_end_seconds": lyrics.end_seconds}


def timed_lyrics_from_cells(row: Mapping[str, Any]) -> TimedLyrics | None:
    """The timed lyrics in a row, or None."""
    times = row["lyric_times"]
    if not times:
        return None
    segments = tuple(TimedSegment(cell["start_seconds"], cell["text"]) for cell in times)
    return TimedLyrics(segments, row["lyric_end_seconds"])


def part_files(folder: Path) -> list[Path]:
    """The Arrow files that are there, complete ones only."""
    return sorted(folder.glob(f"{PART_PREFIX}*{PART_SUFFIX}"))


def write_part(path: Path, rows: Iterable[Mapping[str, Any]], levels: Sequence[int]) -> None:
    """Write an Arrow file, whole or not at all; every row is a record batch of its own, so that a
    song's codes lie in one piece."""
    from datasets.arrow_writer import ArrowWriter

    def write(temporary: Path) -> None:
        writer = ArrowWriter(
            path=os.fspath(temporary), features=code_features(levels), writer_batch_size=1
        )
        try:
            for row in rows:
                writer.write(dict(row))
            writer.finalize()
        finally:
            writer.close()

    write_atomically(path, write)


def rewrite_part(
    path: Path, rows: Sequence[int], labels: Sequence[Mapping[str, Any]], levels: Sequence[int]
) -> None:
    """Keep these rows of an Arrow file, in this order, with these values in place of theirs.

    Codes are moved as they are. The file is replaced at once, or removed if no row is left.
    """
    import pyarrow  # type: ignore[import-untyped]
    from datasets.arrow_writer import ArrowWriter

    if not rows:
        path.unlink(missing_ok=True)
        return
    table = read_part(path).data.table.take(list(rows))  # a copy: Windows keeps mapped files
    for number, field in enumerate(table.schema):
        if any(field.name in row for row in labels):
            own = table.column(number).to_pylist()
            cells = [row.get(field.name, mine) for row, mine in zip(labels, own, strict=True)]
            table = table.set_column(number, field, pyarrow.array(cells, type=field.type))

    def write(temporary: Path) -> None:
        with ArrowWriter(path=os.fspath(temporary), features=code_features(levels)) as writer:
            writer.write_table(table, writer_batch_size=1)
            writer.finalize()

    write_atomically(path, write)


def public_name(source: str) -> str:
    """What a model may be called in public: of a folder on this machine only the last part."""
    path, windows = Path(os.path.expanduser(source)), PureWindowsPath(source)
    if path.is_absolute() or find_here(source) is not None:
        return path.resolve().name or "a model"
    return windows.name if windows.is_absolute() else source


def read_part(path: Path) -> Any:
    """An Arrow file as a memory-mapped `datasets.Dataset`.

    Raises `FileNotFoundError` if it is not there (any more), `ValueError` if it is damaged.
    """
    from datasets import Dataset

    try:
        return Dataset.from_file(os.fspath(path))
    except Exception as error:  # whatever Arrow raises
        if not path.exists():
            raise FileNotFoundError(f"{path} is not there any more") from None
        raise ValueError(
            f"{path} is damaged ({str(error)[:200]}); delete it and encode again to replace it"
        ) from None


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
