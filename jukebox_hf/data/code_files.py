"""A dataset of codes on disk: which files it is made of, and what each holds.

`jukebox_codes.json` says which codec made the codes. One or more Arrow files have a row per song,
with its labels and lyrics, its length, and `codes_0`, `codes_1`... as lists of 16-bit integers,
level 0 the finest. `state.json` and `dataset_info.json`, written last, make the folder one that
`datasets.load_from_disk` reads.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from jukebox_hf.files import write_atomically
from jukebox_hf.labels import TimedLyrics, TimedSegment
from jukebox_hf.vqvae import JukeboxVQVAE

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
        model: the codec's name or folder, as it was given.
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

    @classmethod
    def of(cls, vqvae: JukeboxVQVAE, levels: Sequence[int] | None, model: str | None) -> Self:
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
            found = json.loads(path.read_text(encoding="utf-8"))
            version = found["format_version"]
            if version > FORMAT_VERSION:
                raise ValueError(
                    f"{path} has format version {version}, but this version of jukebox_hf reads up "
                    f"to {FORMAT_VERSION}; upgrade with `pip install -U jukebox_hf`"
                )
            return cls(**{field.name: found[field.name] for field in fields(cls)})
        except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} does not describe a dataset of codes: {error!r}") from None

    def to_json(self) -> str:
        """What `jukebox_codes.json` holds."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2) + "\n"

    def save(self, path: Path) -> None:
        """Write `jukebox_codes.json`."""
        write_text(path, self.to_json())

    def check_same(self, other: "CodesInfo", folder: Path) -> None:
        """Raise `ValueError` if codes of `other`, found in `folder`, cannot stand beside these."""
        for name in ("fingerprint", "sampling_rate", "hop_lengths", "levels", "codebook_size"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
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


def read_part(path: Path) -> Any:
    """An Arrow file as a memory-mapped `datasets.Dataset`. `ValueError` if it is damaged."""
    from datasets import Dataset

    try:
        return Dataset.from_file(os.fspath(path))
    except Exception as error:  # whatever Arrow raises
        raise ValueError(
            f"{path} is damaged ({str(error)[:200]}); delete it and encode again to replace it"
        ) from None


def write_text(path: Path, text: str) -> None:
    """Write text, whole or not at all."""

    def write(temporary: Path) -> None:
        temporary.write_text(text, encoding="utf-8")

    write_atomically(path, write)
