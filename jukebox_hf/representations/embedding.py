"""Many inputs into a folder of features: resumable, in shares, with what went wrong at the end.

Items and an embedder go in, files come out. A killed run is gone on with by the same call; results
depend neither on batches nor on shares.
"""

import contextlib
import hashlib
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import transformers

from jukebox_hf.audio import audio_info
from jukebox_hf.codes import Codes, load_codes
from jukebox_hf.data import CodeSongs, holds_codes, open_codes, open_songs
from jukebox_hf.data.candidates import SkippedSong
from jukebox_hf.data.song_folders import is_audio_file, walk_files
from jukebox_hf.data.song_sources import reason_to_skip
from jukebox_hf.hub.loading import weight_files
from jukebox_hf.hub.system import System
from jukebox_hf.hub.tensor_files import open_tensors
from jukebox_hf.representations.embedder import BATCHES_AT_ONCE, JukeboxEmbedder
from jukebox_hf.representations.embedding_settings import EmbeddingSettings
from jukebox_hf.representations.feature_folder import (
    FeatureFolder,
    FeatureRecord,
    InputRecord,
    ModelIdentity,
    output_names,
)
from jukebox_hf.representations.inputs import AudioInput, CodesInput, Input, Prepared
from jukebox_hf.version import __version__

CODES_ENDING = ".codes.safetensors"
MAX_GROUP_SECONDS = 600.0  # of audio whose states wait for each other


@dataclass(frozen=True)
class Item:
    """One input of a run.

    Attributes:
        name: for people.
        output: name of its files, without suffix.
        load: opens it when its turn comes.
        seconds: how long it is, if that is known.
        labels: artist and genre, for a dataset of features.
    """

    name: str
    output: str
    load: Callable[[], Input] = field(repr=False)
    seconds: float | None = None
    labels: dict[str, str] = field(default_factory=dict)


class FoundInputs(NamedTuple):
    """Inputs, and those that cannot be used, with the reason."""

    items: list[Item]
    skipped: list[SkippedSong]
    notes: list[str]


class EmbeddingProgress(NamedTuple):
    """How far a run is: inputs and seconds of audio, of those that are still to be embedded."""

    name: str
    done: int
    total: int
    seconds_done: float
    seconds: float


@dataclass(frozen=True)
class Report:
    """What a run did.

    Attributes:
        embedded: inputs of this run.
        present: all of this share that are there now.
        failed: inputs that could not be embedded, with the reason.
        records: of what this run embedded.
        complete: whether the inputs of all shares are there or have failed here.
    """

    embedded: int
    present: int
    failed: tuple[SkippedSong, ...]
    records: tuple[InputRecord, ...]
    complete: bool


def find_items(paths: Sequence[str]) -> FoundInputs:
    """Inputs from paths of audio files, codes files and folders of them, in the order given.

    Raises:
        FileNotFoundError: for a path where nothing is.
        ValueError: for a folder without audio.
    """
    names: list[str] = []
    files: list[Path] = []
    for given in paths:
        path = Path(given)
        if path.is_dir():
            found = [
                file
                for file in walk_files(path)
                if is_audio_file(file.name) or file.name.endswith(CODES_ENDING)
            ]
            if not found:
                raise ValueError(f"{path} holds no audio and no codes files")
            names += [file.relative_to(path).as_posix() for file in found]
            files += found
        elif path.exists():
            names.append(path.name)
            files.append(path)
        else:
            raise FileNotFoundError(f"there is no file or folder {given}")
    outputs = output_names(names)
    items = [
        _item(path, output, {"song": name})
        for path, output, name in zip(files, outputs, names, strict=True)
    ]
    return FoundInputs(items, [], [])


def _item(path: Path, output: str, labels: dict[str, str]) -> Item:
    if path.suffix == ".safetensors":
        load = partial(_load_codes, path)
        return Item(str(path), output, load, labels=labels)
    seconds = None
    with contextlib.suppress(OSError, ValueError):  # said when its turn comes
        seconds = audio_info(path).duration_seconds
    return Item(str(path), output, partial(AudioInput.of_file, path), seconds, labels)


def _load_codes(path: Path) -> CodesInput:
    return CodesInput(str(path), load_codes(path))


def dataset_items(
    dataset: str,
    levels: Sequence[int],
    *,
    progress: Callable[[int, int], None] | None = None,
    **selection: object,
) -> FoundInputs:
    """Inputs from a dataset of songs, or of codes of at least these levels.

    The other arguments, and errors, are those of `open_songs`.
    """
    if holds_codes(dataset):
        return _items_of_codes(open_codes(dataset), levels)
    found = open_songs(dataset, progress=progress, **selection)  # type: ignore[arg-type]
    outputs = output_names([song.name for song in found.songs])
    items = [
        Item(
            song.name,
            output,
            partial(AudioInput, song.name, song.open),
            song.duration_seconds,
            {"artist": song.artist, "genre": song.genre},
        )
        for song, output in zip(found.songs, outputs, strict=True)
    ]
    return FoundInputs(items, list(found.skipped), list(found.notes))


def _items_of_codes(songs: CodeSongs, levels: Sequence[int]) -> FoundInputs:
    info = songs.info
    for level in levels:
        if level not in info.levels:
            held = ", ".join(map(str, info.levels))
            raise ValueError(f"the dataset holds codes of level {held}, not of level {level}")

    def load(number: int) -> Input:
        tensors = {level: songs.codes(number, level)[None] for level in levels}
        codes = Codes(tensors, info.hop_lengths, info.sampling_rate, info.fingerprint)
        return CodesInput(songs.songs[number].name, codes)

    outputs = output_names([song.name for song in songs.songs])
    items = [
        Item(
            song.name,
            output,
            partial(load, number),
            song.total_samples / info.sampling_rate,
            {"artist": song.artist, "genre": song.genre},
        )
        for number, (song, output) in enumerate(zip(songs.songs, outputs, strict=True))
    ]
    return FoundInputs(items, [], [])


def run(
    embedder: JukeboxEmbedder,
    items: Sequence[Item],
    folder: FeatureFolder,
    *,
    shard: int = 0,
    num_shards: int = 1,
    progress: Callable[[EmbeddingProgress], None] | None = None,
) -> Report:
    """Embed what is missing, every `num_shards`-th input from `shard` on.

    Raises:
        OSError: if the folder cannot be written. An input that cannot be read is listed instead.
    """
    folder.open()
    mine = list(items)[shard::num_shards]
    missing = [item for item in mine if folder.finished(item.output) is None]
    total = sum(item.seconds or 0.0 for item in missing)
    failed: list[SkippedSong] = []
    records: list[InputRecord] = []
    waiting: list[tuple[Item, Prepared]] = []
    done, seconds_done = 0, 0.0
    prepare = embedder.preparation()

    def embed_waiting() -> None:
        nonlocal waiting
        found = embedder.embed([prepared for _, prepared in waiting], allocate=folder.allocate)
        for (item, _), embedding in zip(waiting, found, strict=True):
            records.append(folder.write(item.output, embedding, item.labels))
        waiting = []
        folder.drop_states()

    try:
        for item in missing:
            if progress is not None:
                progress(EmbeddingProgress(item.name, done, len(missing), seconds_done, total))
            try:
                waiting.append((item, replace(prepare(item.load()), name=item.name)))
            except (OSError, ValueError) as error:
                failed.append(SkippedSong(item.name, reason_to_skip(error)))
            windows = sum(prepared.num_windows for _, prepared in waiting)
            seconds = sum(prepared.seconds for _, prepared in waiting)
            full = windows >= embedder.batch_size * BATCHES_AT_ONCE
            if waiting and (full or seconds >= MAX_GROUP_SECONDS):
                embed_waiting()
            done += 1
            seconds_done += item.seconds or 0.0
        if waiting:
            embed_waiting()
    finally:
        folder.drop_states()
    if progress is not None:
        progress(EmbeddingProgress("", len(missing), len(missing), total, total))
    bad = {name for name, _ in failed}
    others = [item for item in items if item.name not in bad]
    complete = all(folder.finished(item.output) is not None for item in others)
    present = len(mine) - len(failed)
    return Report(len(records), present, tuple(failed), tuple(records), complete)


def open_folder(path: Path, record: FeatureRecord) -> FeatureFolder:
    """The folder, made if it is not there; errors as of `FeatureFolder`."""
    folder = FeatureFolder(path, record)
    folder.open()
    return folder


def embed_into(
    folder: FeatureFolder,
    system: System,
    items: Sequence[Item],
    *,
    device: torch.device,
    batch_size: int,
    layer_by_layer: bool = False,
    shard: int = 0,
    num_shards: int = 1,
    progress: Callable[[EmbeddingProgress], None] | None = None,
) -> Report:
    """Embed what the folder lacks; the model is not loaded if it lacks nothing. See `run`."""
    mine = list(items)[shard::num_shards]
    if all(folder.finished(item.output) is not None for item in mine):
        complete = all(folder.finished(item.output) is not None for item in items)
        return Report(0, len(mine), (), (), complete)
    embedder = JukeboxEmbedder.from_pretrained(
        system,
        level=folder.record.model.level,
        precision=folder.record.precision,
        device=device,
        batch_size=batch_size,
        layer_by_layer=layer_by_layer,
        **{
            part.name: getattr(folder.record.settings, part.name)
            for part in fields(EmbeddingSettings)
        },
    )
    return run(embedder, items, folder, shard=shard, num_shards=num_shards, progress=progress)


def feature_record(
    system: System,
    level: int,
    settings: EmbeddingSettings,
    precision: str,
    **output: str,
) -> FeatureRecord:
    """What a folder of features says about itself. Reads a few small tensors of the weights."""
    config = system.prior_config(level)
    identity = ModelIdentity(
        system.manifest.name or system.source,
        level,
        _fingerprint(system, level),
        system.licence,
    )
    versions = {
        "jukebox_hf": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": np.__version__,
    }
    return FeatureRecord(
        settings,
        identity,
        precision,
        config.sampling_rate / config.hop_length,
        config.width,
        versions=versions,
        **output,  # type: ignore[arg-type]
    )


def _fingerprint(system: System, level: int) -> str:
    """Tells models apart: a hash of the codebooks, and of biases and norms of all layers."""
    config = system.prior_config(level)
    found = hashlib.sha256(str(config.codebook_fingerprint).encode())
    folders = [system.component_path(f"prior_{level}"), system.adapter_path(f"prior_{level}")]
    for folder in folders:
        files = [] if folder is None else sorted(folder.glob("adapter_model.safetensors"))
        for file in files or ([] if folder is None else weight_files(folder)):
            for name, tensor in sorted(open_tensors(file).tensors.items()):
                if files or (len(tensor.shape) == 1 and name.startswith("decoder.layers.")):
                    found.update(name.encode())
                    found.update(tensor.read().float().numpy().tobytes())
    return f"sha256:{found.hexdigest()}"
