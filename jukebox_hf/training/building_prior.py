"""A prior's run from its settings: the model and its vocabulary, windows of codes or of audio."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from jukebox_hf.data import AudioPriorDataset, CodeDataset, CodeSongs, SkippedSong, Song
from jukebox_hf.hub import System
from jukebox_hf.hub.architecture import check_memory
from jukebox_hf.labels import LYRIC_CHARACTERS, UNKNOWN, PriorProcessor
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.training.batches import derived_seed
from jukebox_hf.training.changes import change_config
from jukebox_hf.training.finetuning import adapted_prior, add_new_labels, grown_like
from jukebox_hf.training.settings import TrainingSettings
from jukebox_hf.training.song_split import (
    RunExamples,
    SongSplit,
    each_once,
    open_split,
    song_notes,
)
from jukebox_hf.training.tasks import EncodeBatch, PriorTask
from jukebox_hf.vqvae import JukeboxVQVAE
from jukebox_hf.vqvae.vqvae_config import VQVAEConfig

if TYPE_CHECKING:
    from accelerate import Accelerator


class _Prior(NamedTuple):
    """A prior and what goes with it."""

    model: JukeboxPrior
    processor: PriorProcessor | None
    notes: tuple[str, ...] = ()


def build_prior(
    settings: TrainingSettings, accelerator: "Accelerator", checkpoint: Path | None
) -> tuple[PriorTask, RunExamples]:
    """Arguments and errors are those of `build_codec`."""
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
    split = open_split(settings, min_seconds=0.0, allow_codes=True, resumed=checkpoint is not None)
    found = _make_prior(settings, level, codec_config, origin, split, checkpoint)
    prior, config = found.model, found.model.config
    if isinstance(split.train, CodeSongs):
        split.train.check(config)

    needs_codec = not split.codes or bool(settings.sample_every)
    codec = base.load_vqvae(device=accelerator.device) if needs_codec else None
    shared: dict[str, Any] = {"processor": found.processor, "seed": settings.seed}
    train, encode = prior_windows(
        split.train,
        codec,
        config,
        **shared,
        shift=settings.random_shift,
        blend_channels=settings.random_blend,
    )
    validation, problems = None, []
    if split.validation is not None:
        try:
            validation, _ = prior_windows(split.validation, codec, config, **shared)
        except ValueError as error:
            problems.append(f"there is nothing to evaluate on, held-out songs are unfit: {error}")
    unfit = each_once(
        split.skipped, train.skipped, () if validation is None else validation.skipped
    )
    task = PriorTask(
        prior,
        settings,
        processor=found.processor,
        base=base,
        codec=codec,
        encode=encode,
        process=accelerator.process_index,
        notes=_standing_notes(settings, level, origin, split),
    )
    return task, RunExamples(
        train,
        validation,
        notes=(
            *song_notes(split, unfit, len(train), len(validation or ())),
            *found.notes,
            *train.notes,
            *problems,
        ),
        skipped=lambda: each_once(unfit, *(_unreadable(side) for side in (train, validation))),
        fingerprint=split.fingerprint(),
        learnt_from=split.learnt_from(),
    )


def _unreadable(examples: Any) -> tuple[SkippedSong, ...]:
    """Songs of which something could not be read; codes are always read."""
    return examples.unreadable() if isinstance(examples, AudioPriorDataset) else ()


def _standing_notes(
    settings: TrainingSettings, level: int, origin: System, split: SongSplit
) -> dict[str, str]:
    """What the model says it makes of names and lyrics, where this run cannot change that."""
    notes = origin.manifest.notes
    if level < max(origin.prior_levels, default=level):
        return dict(notes)
    songs = split.everyone()
    taught = {
        "artist": any(song.artist != UNKNOWN for song in songs),
        "genre": any(song.genre != UNKNOWN for song in songs),
        "lyrics": any(song.lyrics for song in songs),
    }
    is_new = settings.start_from is None
    return {name: note for name, note in notes.items() if not (is_new or taught[name])}


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
    codec_config: VQVAEConfig,
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
            processor = PriorProcessor.for_prior(
                config,
                artists=processor.artists,
                genres=processor.genres,
                dialect=settings.label_dialect,
                lyric_characters=processor.lyric_characters,
            )
        check_memory(config, "model")
        return _Prior(JukeboxPrior(config), processor)

    prior = origin.load_prior(level, dtype=torch.float32)
    change_config(prior.config, settings, "prior")
    config = prior.config
    processor = None
    if config.has_labels or config.lyrics != "none":
        processor = copy.deepcopy(origin.processor(level))  # new names are added to it
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


def _saved_processor(checkpoint: Path) -> PriorProcessor | None:
    if not (checkpoint / "processor_config.json").is_file():
        return None
    return PriorProcessor.from_pretrained(checkpoint)


def _new_processor(settings: TrainingSettings, split: SongSplit) -> PriorProcessor | None:
    """The names and the lyric characters of a new prior; its window is filled in later."""
    wants_lyrics = settings.model.get("lyrics", "none") != "none"
    if not settings.labels and not wants_lyrics:
        return None
    dialect = settings.label_dialect
    processor = PriorProcessor(
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
    codec: VQVAEConfig,
    processor: PriorProcessor | None,
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
    config: PriorConfig,
    *,
    processor: PriorProcessor | None,
    seed: int,
    shift: bool = False,
    blend_channels: bool = False,
) -> tuple[CodeDataset | AudioPriorDataset, EncodeBatch | None]:
    """Windows of stored codes, or of audio with what encodes it.

    `shift` and `blend_channels` move windows and mix stereo down anew in every epoch.
    """
    shared: dict[str, Any] = {
        "level": config.level,
        "context_length": config.context_length,
        "upper_ratio": config.upper_ratio if config.is_upsampler else None,
        "processor": processor,
        "shift": shift,
        "seed": seed,
    }
    if isinstance(songs, CodeSongs):
        return CodeDataset(songs, **shared), None
    assert codec is not None, "audio needs the codec"
    examples = AudioPriorDataset(songs, codec, blend_channels=blend_channels, **shared)
    return examples, examples.encode
