"""A codec's run from its settings: the model, clips of songs, and what is measured of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from jukebox_hf.data import ClipDataset, CodeSongs, Song, measure_bandwidth
from jukebox_hf.hub import System
from jukebox_hf.hub.architecture import check_memory
from jukebox_hf.training.batches import derived_seed
from jukebox_hf.training.changes import change_config
from jukebox_hf.training.settings import TrainingSettings
from jukebox_hf.training.song_split import (
    RunExamples,
    SongSplit,
    each_once,
    open_split,
    song_notes,
)
from jukebox_hf.training.tasks import CodecTask
from jukebox_hf.vqvae import JukeboxVQVAE, JukeboxVQVAEConfig
from jukebox_hf.vqvae.losses import STFT
from jukebox_hf.vqvae.vqvae_config import VQVAEConfig

if TYPE_CHECKING:
    from accelerate import Accelerator

BANDWIDTHS = ("bandwidth_l1", "bandwidth_l2", "bandwidth_spectral")


def build_codec(
    settings: TrainingSettings, accelerator: "Accelerator", checkpoint: Path | None
) -> tuple[CodecTask, RunExamples]:
    """Open songs and models, and make what a run works on.

    Args:
        settings: of the run.
        accelerator: device and processes.
        checkpoint: of a run that is resumed: its config and vocabulary hold, and nothing is
            measured again. Its weights are loaded later.

    Raises:
        ValueError: for settings that do not fit songs or models, or no usable songs.
        OSError: if songs or models are not there.
    """
    base = None if settings.start_from is None else System.open(settings.start_from)
    torch.manual_seed(derived_seed(settings.seed, "weights"))
    if checkpoint is not None:
        codec = JukeboxVQVAE(JukeboxVQVAEConfig.from_pretrained(checkpoint))
    elif base is not None:
        codec = base.load_vqvae(dtype=torch.float32)
        change_config(codec.config, settings, "vqvae")
    else:
        new = _codec_config(settings)
        check_memory(new, "model")
        codec = JukeboxVQVAE(new)
    if settings.freeze_encoder:
        for level in codec.levels:
            level.encoder.requires_grad_(False)
    config = codec.config
    if settings.clip_samples % config.hop_lengths[-1]:
        raise ValueError(
            f"clip_samples must be a multiple of {config.hop_lengths[-1]}, the hop length of the "
            f"top level, got {settings.clip_samples}"
        )
    min_seconds = settings.clip_samples / config.sampling_rate
    split = open_split(
        settings, min_seconds=min_seconds, allow_codes=False, resumed=checkpoint is not None
    )
    if checkpoint is None and base is None:
        _measure_bandwidth(codec, split, settings)
    assert not isinstance(split.train, CodeSongs)
    assert not isinstance(split.validation, CodeSongs)
    train = _clips(split.train, config, settings, augment=True)
    validation = None
    if split.validation is not None:
        validation = _clips(split.validation, config, settings, augment=False)
    unreadable_too = tuple if validation is None else validation.unreadable
    task = CodecTask(codec, settings, processes=accelerator.num_processes)
    return task, RunExamples(
        train,
        validation,
        notes=song_notes(split, split.skipped, len(train), len(validation or ())),
        skipped=lambda: each_once(split.skipped, train.unreadable(), unreadable_too()),
        fingerprint=split.fingerprint(),
        learnt_from=split.learnt_from(),
    )


def _codec_config(settings: TrainingSettings) -> JukeboxVQVAEConfig:
    fields = dict(settings.model)
    preset = fields.pop("preset", "vqvae")
    return JukeboxVQVAEConfig.preset(preset, **fields)


def _measure_bandwidth(codec: JukeboxVQVAE, split: SongSplit, settings: TrainingSettings) -> None:
    """Store what losses are divided by in the config, unless the settings say it."""
    if not settings.bandwidth_seconds or any(name in settings.model for name in BANDWIDTHS):
        return
    config = codec.config
    songs = [song for song in split.everyone() if isinstance(song, Song)]
    found = measure_bandwidth(
        songs,
        sampling_rate=config.sampling_rate,
        clip_samples=settings.clip_samples,
        seconds=settings.bandwidth_seconds,
        stft=STFT(config.stft_size, config.stft_hop_length, config.stft_window_length),
    )
    for name, value in zip(BANDWIDTHS, found, strict=True):
        setattr(config, name, value)


def _clips(
    songs: Sequence[Song], config: VQVAEConfig, settings: TrainingSettings, *, augment: bool
) -> ClipDataset:
    return ClipDataset(
        songs,
        sampling_rate=config.sampling_rate,
        clip_samples=settings.clip_samples,
        blend_channels=augment and settings.random_blend,
        shift=augment and settings.random_shift,
        seed=settings.seed,
    )
