"""From the settings of a run to its model, data and export: what `JukeboxTrainer` works on.

Everything that can be wrong about settings, songs and models is found out here, before training.
"""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from jukebox_hf.data import (
    AudioPriorDataset,
    ClipDataset,
    CodeDataset,
    CodeSong,
    CodeSongs,
    SkippedSong,
    Song,
    holds_codes,
    measure_bandwidth,
    open_codes,
    open_songs,
    split_songs,
)
from jukebox_hf.hub import System
from jukebox_hf.labels import LYRIC_CHARACTERS, UNKNOWN, JukeboxProcessor
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.training.batches import derived_seed
from jukebox_hf.training.export import SystemExport
from jukebox_hf.training.finetuning import adapted_prior, add_new_labels, grown_like
from jukebox_hf.training.settings import TrainingSettings
from jukebox_hf.training.tasks import CodecTask, EncodeBatch, PriorTask
from jukebox_hf.vqvae import JukeboxVQVAE, JukeboxVQVAEConfig
from jukebox_hf.vqvae.losses import STFT

if TYPE_CHECKING:
    from accelerate import Accelerator

    from jukebox_hf.training.batches import Examples
    from jukebox_hf.training.trainer import RunParts

logger = logging.getLogger(__name__)

# Config fields that may be changed in a model that exists: none that its weights depend on.
CHANGEABLE = {
    "vqvae": "codebook_decay revival_threshold waveform_loss lmix_l1 lmix_l2 lmix_linf "
    "linf_samples commitment_weight spectral_weight multispectral_weight relative_spectral_loss "
    "bandwidth_l1 bandwidth_l2 bandwidth_spectral",
    "prior": "embedding_dropout attention_dropout residual_dropout lyric_loss_fraction",
}
BANDWIDTHS = ("bandwidth_l1", "bandwidth_l2", "bandwidth_spectral")
LISTED = 5  # songs named in a note


class SongSplit(NamedTuple):
    """Songs to train on and songs held out, as audio or as codes."""

    train: Sequence[Song] | CodeSongs
    validation: Sequence[Song] | CodeSongs | None
    skipped: tuple[SkippedSong, ...]

    @property
    def codes(self) -> bool:
        """Whether these are codes."""
        return isinstance(self.train, CodeSongs)

    def fingerprint(self) -> str:
        """A hash of the songs to train on: their names and lengths."""
        if isinstance(self.train, CodeSongs):
            lengths = [(song.name, song.total_samples) for song in self.train.songs]
        else:
            lengths = [(song.name, song.native_samples) for song in self.train]
        text = repr(lengths)
        return f"sha256:{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"

    def everyone(self) -> list[Song | CodeSong]:
        """All songs of both sides."""
        found: list[Song | CodeSong] = []
        for side in (self.train, self.validation):
            if side is not None:
                found += side.songs if isinstance(side, CodeSongs) else side
        return found


def build_parts(
    settings: TrainingSettings, accelerator: "Accelerator", *, checkpoint: Path | None = None
) -> "RunParts":
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
    # The main process first, so that only one fetches what is on the Hub.
    with accelerator.main_process_first():
        if settings.task == "vqvae":
            return _build_codec(settings, accelerator, checkpoint)
        return _build_prior(settings, accelerator, checkpoint)


# --- songs ----------------------------------------------------------------------------------------


def open_split(settings: TrainingSettings, *, min_seconds: float, allow_codes: bool) -> SongSplit:
    """The songs of a run, and which of them are held out.

    Raises:
        ValueError: without usable songs, or without any to train on.
    """
    if settings.dataset is None:
        raise ValueError("training needs `dataset`: a folder of songs or codes, or one on the Hub")
    songs, skipped = _open(settings, settings.dataset, min_seconds, allow_codes)
    if settings.validation_dataset is not None:
        held_out, skipped_too = _open(
            settings, settings.validation_dataset, min_seconds, allow_codes
        )
        if isinstance(songs, CodeSongs) != isinstance(held_out, CodeSongs):
            raise ValueError("dataset and validation_dataset must both be songs, or both be codes")
        return SongSplit(songs, held_out, skipped + skipped_too)
    fraction, seed = settings.validation_fraction, settings.seed
    train: Sequence[Song] | CodeSongs
    validation: Sequence[Song] | CodeSongs
    if isinstance(songs, CodeSongs):
        train, validation = songs.split(fraction, seed)
    else:
        train, validation = split_songs(songs, fraction, seed)
    return SongSplit(train, validation if len(validation) else None, skipped)


def _open(
    settings: TrainingSettings, dataset: str, min_seconds: float, allow_codes: bool
) -> tuple[Sequence[Song] | CodeSongs, tuple[SkippedSong, ...]]:
    if holds_codes(dataset):
        if not allow_codes:
            raise ValueError(f"{dataset} holds codes, but a codec learns from audio; give songs")
        return open_codes(dataset), ()
    if allow_codes and not Path(dataset).exists():
        try:
            return open_codes(dataset, revision=settings.revision), ()
        except (ValueError, FileNotFoundError):
            logger.debug("%s holds no codes", dataset)  # then it holds songs
    found = open_songs(
        dataset,
        split=settings.split,
        subset=settings.subset,
        revision=settings.revision,
        audio_column=settings.audio_column,
        artist_column=settings.artist_column,
        genre_column=settings.genre_column,
        lyrics_column=settings.lyrics_column,
        min_seconds=min_seconds,
    )
    return found.songs, found.skipped


def skipped_note(skipped: Sequence[SkippedSong]) -> list[str]:
    """One line about songs that are not used, or nothing."""
    if not skipped:
        return []
    shown = "; ".join(f"{song.name} ({song.reason})" for song in skipped[:LISTED])
    more = f"; and {len(skipped) - LISTED} more" if len(skipped) > LISTED else ""
    return [f"{len(skipped)} songs are not used: {shown}{more}"]


def _song_notes(split: SongSplit, examples: int, held_out: int) -> tuple[str, ...]:
    songs = len(split.everyone())
    kept_back = f", {held_out} held-out ones" if held_out else "; none are held out to evaluate on"
    return (f"{songs} songs: {examples} examples an epoch{kept_back}", *skipped_note(split.skipped))


# --- the codec ------------------------------------------------------------------------------------


def _build_codec(
    settings: TrainingSettings, accelerator: "Accelerator", checkpoint: Path | None
) -> "RunParts":
    from jukebox_hf.training.trainer import RunParts

    base = None if settings.start_from is None else System.open(settings.start_from)
    torch.manual_seed(derived_seed(settings.seed, "weights"))
    if checkpoint is not None:
        codec = JukeboxVQVAE(JukeboxVQVAEConfig.from_pretrained(checkpoint))
    elif base is not None:
        codec = base.load_vqvae(dtype=torch.float32)
        _change_config(codec.config, settings, "vqvae")
    else:
        codec = JukeboxVQVAE(_codec_config(settings))
    config = codec.config
    if settings.clip_samples % config.hop_lengths[-1]:
        raise ValueError(
            f"clip_samples must be a multiple of {config.hop_lengths[-1]}, the hop length of the "
            f"top level, got {settings.clip_samples}"
        )
    min_seconds = settings.clip_samples / config.sampling_rate
    split = open_split(settings, min_seconds=min_seconds, allow_codes=False)
    if checkpoint is None and base is None:
        _measure_bandwidth(codec, split, settings)
    assert not isinstance(split.train, CodeSongs)
    assert not isinstance(split.validation, CodeSongs)
    train = _clips(split.train, config, settings, augment=True)
    validation = None
    if split.validation is not None:
        validation = _clips(split.validation, config, settings, augment=False)
    task = CodecTask(codec, settings, processes=accelerator.num_processes)
    return RunParts(
        task,
        train,
        validation,
        SystemExport("vqvae", config, task.save, base=None),
        notes=_song_notes(split, len(train), len(validation or ())),
        finish=lambda: skipped_note(train.unreadable()),
        data_fingerprint=split.fingerprint(),
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
    songs: Sequence[Song], config: JukeboxVQVAEConfig, settings: TrainingSettings, *, augment: bool
) -> ClipDataset:
    return ClipDataset(
        songs,
        sampling_rate=config.sampling_rate,
        clip_samples=settings.clip_samples,
        blend_channels=augment and settings.random_blend,
        shift=augment and settings.random_shift,
        seed=settings.seed,
    )


def _change_config(
    config: JukeboxVQVAEConfig | JukeboxPriorConfig, settings: TrainingSettings, kind: str
) -> None:
    """Fields of a model that exists: only those that its weights do not depend on."""
    changeable = CHANGEABLE[kind].split()
    for name, value in settings.model.items():
        if name not in changeable and getattr(config, name, None) != value:
            raise ValueError(
                f"model.{name} cannot be changed in a model that exists (start_from); these can: "
                f"{', '.join(changeable)}"
            )
        setattr(config, name, value)


# --- priors ---------------------------------------------------------------------------------------


class _Prior(NamedTuple):
    """A prior and what goes with it."""

    model: JukeboxPrior
    processor: JukeboxProcessor | None
    notes: tuple[str, ...] = ()


def _build_prior(
    settings: TrainingSettings, accelerator: "Accelerator", checkpoint: Path | None
) -> "RunParts":
    from jukebox_hf.training.trainer import RunParts

    source = settings.codec or settings.start_from
    if source is None:
        raise ValueError("a prior needs `codec`: the system or codec whose codes it learns")
    base = System.open(source)
    origin = base if settings.start_from in (None, source) else System.open(settings.start_from)
    level = _level(settings, base, origin)
    codec_config = base.vqvae_config()
    if not codec_config.use_codebook:
        raise ValueError(f"{source}: its codec has no codebooks, so there are no codes to learn")

    # Songs shorter than a window are left out below, when the window is known.
    split = open_split(settings, min_seconds=0.0, allow_codes=True)
    found = _make_prior(settings, level, codec_config, origin, split, checkpoint)
    prior, config = found.model, found.model.config
    if isinstance(split.train, CodeSongs):
        split.train.check(config)

    needs_codec = not split.codes or bool(settings.sample_every)
    codec = base.load_vqvae(device=accelerator.device) if needs_codec else None
    train, encode = prior_windows(
        split.train, codec, config, found.processor, settings, augment=True
    )
    validation = None
    if split.validation is not None:
        try:
            validation, _ = prior_windows(
                split.validation, codec, config, found.processor, settings, augment=False
            )
        except ValueError as error:
            raise ValueError(f"held-out songs: {error}") from error
    task = PriorTask(
        prior,
        settings,
        processor=found.processor,
        codec=codec,
        encode=encode,
        process=accelerator.process_index,
    )
    export = SystemExport(
        f"prior_{level}", config, task.save, base=base, is_adapter=bool(settings.lora_rank)
    )
    skipped = skipped_note(train.skipped)  # type: ignore[attr-defined]
    unreadable = getattr(train, "unreadable", tuple)
    return RunParts(
        task,
        train,
        validation,
        export,
        notes=(
            *_song_notes(split, len(train), len(validation or ())),
            *skipped,
            *found.notes,
            *train.notes,  # type: ignore[attr-defined]
        ),
        finish=lambda: skipped_note(unreadable()),
        data_fingerprint=split.fingerprint(),
    )


def _level(settings: TrainingSettings, base: System, origin: System) -> int:
    """Which level is trained: the one given; of a prior that exists, the top one that there is."""
    if settings.level is not None:
        top = base.num_levels - 1
        if settings.level > top:
            raise ValueError(f"level must be from 0 to {top}, got {settings.level}")
        return settings.level
    if settings.start_from is not None and origin.prior_levels:
        return max(origin.prior_levels)
    raise ValueError("a new prior needs `level`: whose codes it learns, 0 is the finest")


def _make_prior(
    settings: TrainingSettings,
    level: int,
    codec_config: JukeboxVQVAEConfig,
    origin: System,
    split: SongSplit,
    checkpoint: Path | None,
) -> _Prior:
    torch.manual_seed(derived_seed(settings.seed, "weights"))
    if settings.start_from is None:
        if checkpoint is not None:
            config = JukeboxPriorConfig.from_pretrained(checkpoint)
            return _Prior(JukeboxPrior(config), _saved_processor(checkpoint))
        processor = _new_processor(settings, split)
        config = _prior_config(settings, level, codec_config, processor)
        if processor is not None:
            processor = JukeboxProcessor.for_prior(
                config,
                artists=processor.artists,
                genres=processor.genres,
                dialect=settings.label_dialect,
                lyric_characters=processor.lyric_characters,
            )
        return _Prior(JukeboxPrior(config), processor)

    prior = origin.load_prior(level, dtype=torch.float32)
    _change_config(prior.config, settings, "prior")
    config = prior.config
    processor = origin.processor(level) if config.has_labels or config.lyrics != "none" else None
    notes: tuple[str, ...] = ()
    if checkpoint is not None:
        processor = _saved_processor(checkpoint)
        grown = JukeboxPriorConfig.from_pretrained(checkpoint)
        grown_like(prior, grown, as_rows=bool(settings.lora_rank))
    elif processor is not None and config.has_labels:
        songs = split.everyone()
        notes = add_new_labels(
            prior,
            processor,
            artists=sorted({song.artist for song in songs} - {UNKNOWN}),
            genres=sorted({song.genre for song in songs} - {UNKNOWN}),
            as_rows=bool(settings.lora_rank),
        )
    if settings.lora_rank:
        prior = adapted_prior(prior, settings)
    return _Prior(prior, processor, notes)


def _saved_processor(checkpoint: Path) -> JukeboxProcessor | None:
    if not (checkpoint / "processor_config.json").is_file():
        return None
    return JukeboxProcessor.from_pretrained(checkpoint)


def _new_processor(settings: TrainingSettings, split: SongSplit) -> JukeboxProcessor | None:
    """The names and the lyric characters of a new prior; its window is filled in later."""
    wants_lyrics = settings.model.get("lyrics", "none") != "none"
    if not settings.labels and not wants_lyrics:
        return None
    dialect = settings.label_dialect
    processor = JukeboxProcessor(
        artists={UNKNOWN: 0} if settings.labels else None,
        genres={UNKNOWN: 0} if settings.labels else None,
        dialect=dialect,
        genre_slots=settings.model.get("genre_slots", 1),
        lyric_characters=LYRIC_CHARACTERS[dialect] if wants_lyrics else "",
        lyric_length=settings.model.get("lyric_length", 0) if wants_lyrics else 0,
    )
    if settings.labels:
        songs = split.everyone()
        processor.add_artists(sorted({song.artist for song in songs} - {UNKNOWN}))
        processor.add_genres(sorted({song.genre for song in songs} - {UNKNOWN}))
    return processor


def _prior_config(
    settings: TrainingSettings,
    level: int,
    codec: JukeboxVQVAEConfig,
    processor: JukeboxProcessor | None,
) -> JukeboxPriorConfig:
    """The config of a new prior: what the settings say, and what follows from codec and songs."""
    fields = dict(settings.model)
    preset = fields.pop("preset", None)
    follows: dict[str, Any] = {
        "level": level,
        "hop_length": codec.hop_lengths[level],
        "sampling_rate": codec.sampling_rate,
        "codebook_size": codec.codebook_size,
        "codebook_fingerprint": codec.codebook_fingerprint,
    }
    if level + 1 < codec.num_levels:
        follows["upper_downsamplings"] = codec.downsamplings[level + 1]
        follows["upper_stride"] = codec.strides[level + 1]
    labels = {"artist_count": 0, "genre_count": 0, "genre_slots": 0}
    if processor is not None and processor.has_labels:
        labels = {
            "artist_count": processor.artists.num_rows,
            "genre_count": processor.genres.num_rows,
            "genre_slots": processor.genre_slots,
        }
    if processor is not None and processor.reads_lyrics:
        follows["lyric_vocab_size"] = len(processor.lyric_characters) + 1  # and the padding
    follows |= labels
    for name, value in follows.items():
        if fields.get(name, value) != value:
            raise ValueError(
                f"model.{name} follows from the codec and the songs: it is {value}, and cannot be "
                f"{fields[name]}; leave it out"
            )
    if preset is None:
        return JukeboxPriorConfig(**{**fields, **follows})
    return JukeboxPriorConfig.preset(preset, **{**fields, **follows})


def prior_windows(
    songs: Sequence[Song] | CodeSongs,
    codec: JukeboxVQVAE | None,
    config: JukeboxPriorConfig,
    processor: JukeboxProcessor | None,
    settings: TrainingSettings,
    *,
    augment: bool,
) -> tuple["Examples", EncodeBatch | None]:
    """Windows of stored codes, or of audio with what encodes it."""
    shared: dict[str, Any] = {
        "level": config.level,
        "context_length": config.context_length,
        "upper_ratio": config.upper_ratio if config.is_upsampler else None,
        "processor": processor,
        "shift": augment and settings.random_shift,
        "seed": settings.seed,
    }
    if isinstance(songs, CodeSongs):
        return CodeDataset(songs, **shared), None
    assert codec is not None, "audio needs the codec"
    examples = AudioPriorDataset(
        songs, codec, blend_channels=augment and settings.random_blend, **shared
    )
    return examples, examples.encode
