"""A folder of features: what is written of each input, and what makes it resumable.

    embed.json              settings, model, versions: other ones are refused
    embed/NAME.json         one per finished input, written last
    NAME.npy                one layer, or all of them where they are pooled: (layers, width)
    layer_36/NAME.npy       several layers
    NAME_slice0.npy         pieces of a file in windows, each by itself
    NAME.safetensors        layer_36, ..., codes, times: with the format "safetensors"
    data/*.parquet          one column per layer: with the format "dataset"

Files are written beside, then renamed; none is ever pickled.
"""

import dataclasses
import json
import os
import platform
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import psutil
from numpy.typing import NDArray

from jukebox_hf.files import safe_file_name, write_atomically, write_text
from jukebox_hf.records import from_json, read_json, to_json
from jukebox_hf.representations.embedding_settings import EmbeddingSettings
from jukebox_hf.representations.results import Allocate, Array, Embedding
from jukebox_hf.words import cut

Format = Literal["npy", "safetensors", "dataset"]
FORMATS: tuple[Format, ...] = ("npy", "safetensors", "dataset")
RECORD_FILE, RECORDS, ROWS, DATA = "embed.json", "embed", "rows", "data"
FORMAT_VERSION = 1
STATES_FOLDER = ".states-"  # and machine and process: states of long songs on their way
LARGE_BYTES = 256 * 2**20  # states of one layer that go to the disk while they appear


@dataclass(frozen=True)
class ModelIdentity:
    """Which prior made the features.

    Attributes:
        name: as it was asked for.
        level: of the prior.
        fingerprint: of the layers that were used and the codebooks.
        licence: of the model, if it says.
    """

    name: str
    level: int
    fingerprint: str
    licence: str | None = None


@dataclass(frozen=True)
class FeatureRecord:
    """What `embed.json` says."""

    settings: EmbeddingSettings
    model: ModelIdentity
    precision: str
    code_rate: float
    width: int
    format: Format = "npy"
    output_dtype: str = "float32"
    versions: dict[str, str] = field(default_factory=dict)

    def differences(self, other: "FeatureRecord") -> list[str]:
        """What makes other numbers or other files of a run with `other`, in words."""
        found = []
        for part in dataclasses.fields(EmbeddingSettings):
            ours, theirs = getattr(self.settings, part.name), getattr(other.settings, part.name)
            if ours != theirs:
                found.append(f"{part.name} {_shown(ours)}, not {_shown(theirs)}")
        if self.model.fingerprint != other.model.fingerprint:
            found.append(f"another model ({cut(self.model.name)}, not {cut(other.model.name)})")
        for name in ("precision", "format", "output_dtype"):
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                found.append(f"{name} {_shown(ours)}, not {_shown(theirs)}")
        return found


@dataclass(frozen=True)
class InputRecord:
    """What is known of a finished input.

    Attributes:
        name: of the input.
        files: that were written, relative to the folder.
        seconds: of audio.
        num_codes, num_pieces: how much was embedded.
        notes: what is worth knowing.
        nonfinite: by layer, how many numbers are infinite or none.
    """

    name: str
    files: tuple[str, ...]
    seconds: float
    num_codes: int
    num_pieces: int
    notes: tuple[str, ...] = ()
    nonfinite: dict[str, int] = field(default_factory=dict)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return cut(",".join(map(str, value)))
    return "nothing" if value is None else cut(str(value))


class FeatureFolder:
    """A folder that features are written into, by this process and perhaps others.

    Raises:
        ValueError: if it holds features of another model or other settings, or something else.
        OSError: if it cannot be written.
    """

    def __init__(self, path: Path, record: FeatureRecord) -> None:
        self.path = path
        self.record = record
        existing = path / RECORD_FILE
        if existing.is_file():
            held = from_json(
                FeatureRecord, read_json(existing), str(existing), version=FORMAT_VERSION
            )
            differing = held.differences(record)
            if differing:
                raise ValueError(
                    f"{path} holds features of other settings: {'; '.join(differing)}; use another "
                    "folder"
                )
        elif path.is_dir() and any(path.iterdir()):
            raise ValueError(
                f"{path} is not empty and has no {RECORD_FILE}, so it is no folder of features; "
                "use another folder"
            )

    def open(self) -> None:
        """Make the folder, and sweep what killed processes of this machine have left."""
        (self.path / RECORDS).mkdir(parents=True, exist_ok=True)
        if not (self.path / RECORD_FILE).is_file():
            content = to_json(self.record, version=FORMAT_VERSION)
            write_text(self.path / RECORD_FILE, json.dumps(content, indent=2) + "\n")
        for left in self.path.glob(f"{STATES_FOLDER}*"):
            machine, _, process = left.name.removeprefix(STATES_FOLDER).rpartition("-")
            mine = machine == platform.node() and process.isdigit()
            if mine and not psutil.pid_exists(int(process)):
                shutil.rmtree(left, ignore_errors=True)

    # --- what is there ---

    def finished(self, name: str) -> InputRecord | None:
        """The record of an input whose files are all there; None if it is still to be embedded."""
        path = self._record_path(name)
        if not path.is_file():
            return None
        try:
            record = from_json(InputRecord, read_json(path), str(path), version=FORMAT_VERSION)
        except ValueError:
            return None  # damaged: embed it again
        there = all((self.path / file).is_file() for file in record.files)
        return record if there else None

    def _record_path(self, name: str) -> Path:
        return self.path / RECORDS / f"{name}.json"

    def present(self, names: Sequence[str]) -> list[str]:
        """Which of these inputs are finished."""
        return [name for name in names if self.finished(name) is not None]

    # --- writing ---

    def write(self, name: str, embedding: Embedding, labels: dict[str, str]) -> InputRecord:
        """Write all files of an input, and then its record."""
        kind = self.record.format
        if kind == "npy":
            files = [self._save(file, array) for file, array in self._arrays(name, embedding)]
        elif kind == "safetensors":
            files = [self._save_tensors(f"{name}.safetensors", embedding, {})]
        else:
            labels = {"song": embedding.name, **labels}
            files = [self._save_tensors(f"{ROWS}/{name}.safetensors", embedding, labels)]
        record = InputRecord(
            embedding.name,
            tuple(files),
            embedding.seconds,
            int(embedding.codes.size),
            len(embedding.codes) if embedding.codes.ndim == 2 else 1,
            embedding.notes,
            {str(layer): count for layer, count in embedding.nonfinite.items()},
        )
        path = self._record_path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = to_json(record, version=FORMAT_VERSION)
        write_text(path, json.dumps(content, ensure_ascii=False) + "\n")
        return record

    def _arrays(self, name: str, embedding: Embedding) -> Iterator[tuple[str, Array]]:
        """What goes into which `.npy` file."""
        several = len(embedding) > 1
        if self.record.settings.pool == "mean":
            pooled = np.stack(list(embedding.values()), axis=-2) if several else None
            yield f"{name}.npy", next(iter(embedding.values())) if pooled is None else pooled
            return
        for layer, array in embedding.items():
            start = f"layer_{layer}/{name}" if several else name
            if array.ndim == 2:
                yield f"{start}.npy", array
            else:
                for number, piece in enumerate(array):
                    yield f"{start}_slice{number}.npy", piece

    def _save(self, file: str, array: Array) -> str:
        converted = np.ascontiguousarray(array, dtype=self.record.output_dtype)

        def write(path: Path) -> None:
            with path.open("wb") as opened:
                np.save(opened, converted, allow_pickle=False)

        self._put(file, write)
        return file

    def _save_tensors(self, file: str, embedding: Embedding, metadata: dict[str, str]) -> str:
        from safetensors.numpy import save_file

        tensors: dict[str, NDArray[Any]] = {
            f"layer_{layer}": np.ascontiguousarray(array, dtype=self.record.output_dtype)
            for layer, array in embedding.items()
        }
        tensors["codes"] = np.ascontiguousarray(embedding.codes, dtype=np.int32)
        tensors["times"] = np.ascontiguousarray(embedding.times, dtype=np.float64).reshape(
            embedding.times.shape
        )
        self._put(
            file, lambda path: save_file(tensors, path, metadata=metadata or None), apart=True
        )
        return file

    def _put(self, file: str, write: Any, *, apart: bool = False) -> None:
        target = self.path / file
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, write, apart=apart)

    # --- states of long songs ---

    def allocate(self, number: int) -> Allocate:
        """Room for the states of an input: large ones in a file, since memory may not hold them."""

        def make(layer: int, shape: tuple[int, int]) -> Array:
            if shape[0] * shape[1] * 4 < LARGE_BYTES:
                return np.empty(shape, np.float32)
            folder = self._states_folder
            folder.mkdir(exist_ok=True)
            path = folder / f"{number}-{layer}.npy"
            states: Array = np.lib.format.open_memmap(path, "w+", np.dtype(np.float32), shape)
            return states

        return make

    def drop_states(self) -> None:
        """Remove the files of `allocate`."""
        shutil.rmtree(self._states_folder, ignore_errors=True)

    @property
    def _states_folder(self) -> Path:
        return self.path / f"{STATES_FOLDER}{platform.node()}-{os.getpid()}"

    # --- a dataset ---

    def complete_dataset(self, names: Sequence[str]) -> Path:
        """Put the rows of all inputs together as a table for `datasets`; returns its file."""
        from datasets import Dataset

        records = [(name, self.finished(name)) for name in sorted(names)]
        files = [
            (str(self.path / record.files[0]), record.name, record.seconds)
            for _, record in records
            if record is not None
        ]
        target = self.path / DATA / "train-00000-of-00001.parquet"
        target.parent.mkdir(exist_ok=True)
        with _temporary_cache(self._states_folder) as cache:
            table = Dataset.from_generator(_rows, gen_kwargs={"files": files}, cache_dir=str(cache))
            write_atomically(target, lambda path: _to_parquet(table, path))
        return target


def _rows(files: Sequence[tuple[str, str, float]]) -> Iterator[dict[str, Any]]:
    """A row of the table for each file of tensors, named with what it was made from."""
    from safetensors import safe_open

    for path, name, seconds in files:
        with safe_open(path, framework="numpy") as opened:
            labels = opened.metadata() or {}
            arrays = {
                key: opened.get_tensor(key)
                for key in sorted(opened.keys())
                if key.startswith("layer_") or key == "times"
            }
        yield {"song": name, **labels, "seconds": seconds, **arrays}


def _to_parquet(table: Any, path: Path) -> None:
    with path.open("wb") as opened:
        table.to_parquet(opened)


class _temporary_cache:
    """A folder that is there inside a `with` block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> Path:
        self.folder.mkdir(exist_ok=True)
        return self.folder

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def output_names(names: Sequence[str]) -> list[str]:
    """A name of a file, without suffix, for each input; folders in names stay folders.

    Inputs that differ in their suffixes only keep them; what else would collide gets a number.

    >>> output_names(["a/x.wav", "a/x.mp3", "b c.flac"])
    ['a/x.wav', 'a/x.mp3', 'b_c']
    """
    stems = [_safe(_without_suffix(name)) for name in names]
    whole = [_safe(name) for name in names]
    chosen = (
        [full if stems.count(stem) > 1 else stem for stem, full in zip(stems, whole, strict=True)]
        if len(set(stems)) < len(stems)
        else stems
    )
    seen: dict[str, int] = {}
    result = []
    for name in chosen:
        number = seen.get(name.lower(), 0)
        seen[name.lower()] = number + 1
        result.append(f"{name}_{number}" if number else name)
    return result


def _without_suffix(name: str) -> str:
    base = name.removesuffix(".codes.safetensors")
    return base if base != name else str(PurePosixPath(name).with_suffix(""))


def _safe(name: str) -> str:
    parts = [part for part in PurePosixPath(name).parts if part not in ("/", "..", ".")]
    return "/".join(safe_file_name(part) for part in parts) or "untitled"
