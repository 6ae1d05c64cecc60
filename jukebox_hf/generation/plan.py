"""What a generation will do, decided before any weight is read: takes, levels, windows, checks.

A model's configs and processors and what is asked for go in; a plan that is possible comes out, or
an error that says why it is not. How long it takes and how much memory, `estimate` says.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from jukebox_hf.audio import load_audio, mix_down
from jukebox_hf.codes import Codes
from jukebox_hf.generation.holes import Hole, heard_by_scoring, hole_runs
from jukebox_hf.generation.settings import (
    DEFAULT_AUDIO_FORMAT,
    DEFAULT_SECONDS,
    DEFAULT_TOTAL_SECONDS,
    GenerationSettings,
    Prompt,
)
from jukebox_hf.generation.windows import Run, chain_runs, run_windows, window_stride
from jukebox_hf.hub.system import System
from jukebox_hf.labels import ResolvedLabels
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.sampling_settings import SETTINGS, LevelSettings, check_level_values, level_settings
from jukebox_hf.words import refuse_unknown

# Neighbouring chains share this part of a context: room for a cold start to warm up and for a
# splice after it (512 codes in a released prior).
OVERLAP_FRACTION = 1 / 16
# So many codes of the upper level's sound are a chain's past: about what it takes to calm down.
PAST_FRACTION = 1 / 4
# What `--chains auto` means: see `LevelPlan.chains`.
AUTO_CONTEXTS = 4
MOST_AUTO_CHAINS = 16
# A primer that is this many samples short of a whole top code, as resampled files are, is padded.
SPARE_SAMPLES = 2


class Measures(NamedTuple):
    """How long a take is, and what is there already.

    Attributes:
        num_samples: audio samples of the piece; a whole number of top codes.
        total_samples: of the song that the piece is part of.
        offset_samples: where in the song the piece begins.
        existing: codes given by level, for every level of the model.
    """

    num_samples: int
    total_samples: int
    offset_samples: int
    existing: dict[int, int]


@dataclass(frozen=True)
class TakePlan:
    """One take.

    Attributes:
        number: from 1 on; its noise depends on it.
        prompt: what was asked for.
        num_samples, total_samples, offset_samples, existing: see `Measures`.
        labels: as each sampled level's processor resolved them.
        primer_audio: (1, samples) float32, the part of an audio primer that is used: whole top
            codes, encoded when the work begins.
        hole: what is made of it, where that is not all after what exists.
    """

    number: int
    prompt: Prompt
    num_samples: int
    total_samples: int
    offset_samples: int
    existing: dict[int, int]
    labels: dict[int, ResolvedLabels]
    primer_audio: Tensor | None = field(default=None, compare=False, repr=False)
    hole: Hole | None = None


@dataclass(frozen=True)
class LevelPlan:
    """How one level is sampled: sizes in codes of that level.

    Attributes:
        level: 0 is the finest.
        context: what the prior sees at once.
        stride: how far windows move.
        unit: codes per code of the level above; 1 at the top.
        hop_length: audio samples per code.
        overlap: what neighbouring chains share at least.
        past: codes of the upper level's sound that a chain sees before its beginning.
        settings: how codes are chosen, and the number of chains.
    """

    level: int
    context: int
    stride: int
    unit: int
    hop_length: int
    overlap: int
    past: int
    settings: LevelSettings

    @classmethod
    def of(
        cls, config: PriorConfig, settings: LevelSettings, chain_starts: str = "primed"
    ) -> "LevelPlan":
        """The plan of a prior's level."""
        unit = config.upper_ratio if config.is_upsampler else 1
        primed = config.is_upsampler and chain_starts == "primed"
        stride = window_stride(config.context_length, settings.hop_fraction, unit)
        return cls(
            level=config.level,
            context=config.context_length,
            stride=stride,
            unit=unit,
            hop_length=config.hop_length,
            overlap=min(max(int(config.context_length * OVERLAP_FRACTION), unit), stride),
            past=int(config.context_length * PAST_FRACTION) // unit * unit if primed else 0,
            settings=settings,
        )

    def chains(self, take: TakePlan) -> int:
        """Into how many runs a take's level is to be cut; a short one is cut into fewer.

        "auto" makes runs of `AUTO_CONTEXTS` contexts at least: with the released models a seam
        every six seconds at level 0 and every twenty-four at level 1.
        """
        if self.settings.chains != "auto":
            return self.settings.chains
        contexts = take.num_samples // self.hop_length // self.context
        return min(max(contexts // AUTO_CONTEXTS, 1), MOST_AUTO_CHAINS)

    def runs(self, take: TakePlan) -> list[Run]:
        """The runs that a take's level is made of: one, or one per chain or candidate."""
        if take.hole is not None:
            return hole_runs(
                take.hole,
                take.number,
                take.num_samples // self.hop_length,
                hop_length=self.hop_length,
                context=self.context,
                stride=self.stride,
                overlap=self.overlap,
                unit=self.unit,
            )
        return chain_runs(
            take.num_samples // self.hop_length,
            self.chains(take),
            context=self.context,
            stride=self.stride,
            overlap=self.overlap,
            unit=self.unit,
            existing=take.existing[self.level],
            past=self.past,
        )

    def sampling(self, takes: Sequence[TakePlan]) -> LevelSettings:
        """How codes of these takes are chosen; without names there is nothing to be guided by."""
        named = any(take.labels[self.level].has_names for take in takes)
        return self.settings if named else replace(self.settings, guidance=1.0)

    def rows(self, takes: Sequence[TakePlan]) -> int:
        """Rows of these takes that a step can have: one a run, two where there is guidance."""
        runs = sum(len(self.runs(take)) for take in takes)
        return runs * self.sampling(takes).rows_per_window

    def num_windows(self, take: TakePlan) -> int:
        """Passes of the prior that a take needs at this level."""
        return sum(len(run_windows(run, self.context, self.stride)) for run in self.runs(take))


@dataclass(frozen=True)
class Plan:
    """A generation that is possible.

    Attributes:
        system: the model that makes it.
        takes: in the order of their numbers.
        levels: that are sampled, in the order of the work: the top first.
        settings: how.
        hop_lengths: of all levels of the model, finest first.
        sampling_rate: of the audio, in Hz.
        notes: what was adapted, or not taken as given.
    """

    system: System = field(compare=False, repr=False)
    takes: tuple[TakePlan, ...]
    levels: tuple[LevelPlan, ...]
    settings: GenerationSettings
    hop_lengths: tuple[int, ...]
    sampling_rate: int
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def num_levels(self) -> int:
        return len(self.hop_lengths)

    def takes_at(self, level: int) -> list[TakePlan]:
        """The takes of which this level is sampled: those that have neither it nor a finer one."""
        finer = range(self.settings.to_level, level + 1)
        return [
            take
            for take in self.takes
            if not any(
                take.existing[one] >= take.num_samples // self.hop_lengths[one] for one in finer
            )
        ]

    def take(self, number: int) -> TakePlan:
        """The take of that number; `ValueError` if there is none."""
        for take in self.takes:
            if take.number == number:
                return take
        raise ValueError(
            f"there is no take {number}; expected one of "
            f"{', '.join(str(take.number) for take in self.takes)}"
        )


def make_plan(
    system: System,
    prompts: Mapping[int, Prompt],
    *,
    seed: int,
    precision: str,
    backend: str = "eager",
    chain_starts: str = "primed",
    audio_format: str = DEFAULT_AUDIO_FORMAT,
    to_level: int | None = None,
    sampled: bool = True,
    hole: Hole | None = None,
    measured: Mapping[int, Measures] | None = None,
    defaults: Mapping[str, Mapping[int, Any]] | None = None,
    **given: Any,
) -> Plan:
    """Fit what is asked for to a model, without reading weights.

    Args:
        system: the model.
        prompts: by number of the take.
        seed, precision, backend, chain_starts, audio_format: see `GenerationSettings`.
        to_level: the finest level to sample; None: the finest that the model can.
        sampled: False: all codes are given, and no prior is needed.
        hole: what is to be made of every take, where that is not all after its primer.
        measured: lengths by take that are settled already, as those of a session are.
        defaults: values of `LevelSettings` by name and level that come before the model's own.
        given: values of `LevelSettings` by name, for all levels or by level (`PerLevel`).

    Raises:
        ValueError: for what this model cannot do; one sentence that says what would be possible.
    """
    refuse_unknown(given, SETTINGS, "the settings of levels")
    if not prompts:
        raise ValueError("there is nothing to make: give at least one take")
    codec = system.vqvae_config()
    num_levels = codec.num_levels
    notes: list[str] = []
    to_level = _finest_level(system, num_levels, to_level, notes)
    wanted = [level for level in system.prior_levels if level >= to_level and sampled]
    check_level_values(given, range(to_level, num_levels))
    for prompt in prompts.values():
        check_level_values({"a name": prompt.level_names}, range(to_level, num_levels))
    fallbacks = _fallbacks(system.manifest.generation, defaults or {})
    levels = {level: level_settings(level, num_levels, fallbacks, given) for level in wanted}
    for level, own in levels.items():
        if own.guidance != 1 and not system.prior_config(level).has_labels:
            raise ValueError(
                f"guidance makes a prior follow artist and genre, which that of level {level} does "
                f"not know; leave it out there, as in --guidance {level}=1"
            )
    fitter = _Fitter(system, wanted, notes)
    takes = tuple(
        fitter.fit(number, prompt, (measured or {}).get(number))
        for number, prompt in sorted(prompts.items())
    )
    if hole is not None:
        takes = tuple(replace(take, hole=hole) for take in takes)
        _note_scoring(system, hole, notes)
    plan = Plan(
        system=system,
        takes=takes,
        levels=tuple(
            LevelPlan.of(system.prior_config(level), levels[level], chain_starts)
            for level in reversed(wanted)
        ),
        settings=GenerationSettings(
            seed, to_level, levels, precision, backend, chain_starts, audio_format
        ),
        hop_lengths=codec.hop_lengths,
        sampling_rate=codec.sampling_rate,
        notes=tuple(dict.fromkeys(notes)),
    )
    if sampled:
        _check_levels_to_sample(system, plan)
    return plan


def _check_levels_to_sample(system: System, plan: Plan) -> None:
    """Raise `ValueError` if there is nothing to sample, or no prior for something."""
    needed = [
        level for level in range(plan.settings.to_level, plan.num_levels) if plan.takes_at(level)
    ]
    if not needed:
        raise ValueError(
            "there is nothing to sample: the given codes fill every piece at the levels asked for; "
            "ask for more seconds, or for a finer level"
        )
    missing = [level for level in needed if level not in system.prior_levels]
    if missing:
        has = ", ".join(f"prior_{level}" for level in system.prior_levels) or "no priors"
        raise ValueError(
            f"{system.source} has no prior for level {_enumerate(missing)}, only {has}; "
            + (
                "begin with codes of that level (`jukebox upsample`)"
                if max(missing) > max(system.prior_levels, default=-1)
                else "stop at a coarser level (--to-level), or complete the model"
            )
        )


def _note_scoring(system: System, hole: Hole, notes: list[str]) -> None:
    """Say it where a stretch is longer than what its candidates are judged by."""
    config = system.prior_config(max(system.prior_levels))
    seconds = (hole.end - hole.begin) / config.sampling_rate
    heard = heard_by_scoring(hole, config.context_length)
    if heard < 1:
        notes.append(
            f"the stretch of {seconds:.4g} s is longer than what the prior sees at once: its "
            "beginning is a plain continuation, and candidates are judged by their last "
            f"{heard * seconds:.4g} s"
        )


def _fallbacks(
    manifest: Mapping[str, Any], defaults: Mapping[str, Mapping[int, Any]]
) -> dict[str, Any]:
    """A model's settings, in which others take their place."""
    merged = dict(manifest)
    for name, by_level in defaults.items():
        own = {str(level): value for level, value in by_level.items()}
        merged[name] = {**manifest.get(name, {}), **own}
    return merged


def _finest_level(system: System, num_levels: int, to_level: int | None, notes: list[str]) -> int:
    """The level to go to: the one asked for, else the finest that priors lead to."""
    if to_level is not None:
        if not 0 <= to_level < num_levels:
            raise ValueError(
                f"there is no level {to_level}; choose --to-level from 0, the finished music, to "
                f"{num_levels - 1}, the top"
            )
        return to_level
    available = set(system.prior_levels)
    reachable = max(available, default=0)
    while reachable - 1 in available:
        reachable -= 1
    if reachable:
        notes.append(
            f"this model has priors down to level {reachable} only; the music will sound coarse"
        )
    return reachable


class _Fitter:
    """Makes the plan of single takes for one model."""

    def __init__(self, system: System, levels: Sequence[int], notes: list[str]) -> None:
        self.levels = levels
        self.notes = notes
        self.codec = system.vqvae_config()
        self.defaults = system.manifest.generation
        self.model_notes = system.manifest.notes
        self.configs = {level: system.prior_config(level) for level in levels}
        self.processors = {level: system.processor(level) for level in levels}
        self.rate = self.codec.sampling_rate
        self.hop = self.codec.hop_lengths[-1]

    def fit(self, number: int, prompt: Prompt, measures: Measures | None) -> TakePlan:
        """One take's plan; errors begin with its number."""
        primer_audio = None
        try:
            if measures is None:
                if isinstance(prompt.primer, (Path, Tensor)):
                    primer_audio = load_primer(prompt, self.rate, self.hop)
                measures = self._measure(prompt, self._existing(prompt, primer_audio))
            for processor in self.processors.values():
                processor.check_total(measures.total_samples)
            labels = {
                level: processor.resolve(*prompt.names(level), prompt.lyrics)
                for level, processor in self.processors.items()
            }
        except FileNotFoundError as error:
            raise FileNotFoundError(f"take {number}: {error}") from error
        except OSError as error:
            raise OSError(f"take {number}: {error}") from error
        except ValueError as error:
            raise ValueError(f"take {number}: {error}") from error
        self._note_labels(labels)
        for name, text in self.model_notes.items():
            if getattr(prompt, name) and self.levels:
                self.notes.append(text)
        if prompt.lyrics and not any(p.reads_lyrics for p in self.processors.values()):
            self.notes.append("this model does not read lyrics; they are left out")
        return TakePlan(number, prompt, *measures, labels, primer_audio)

    def _measure(self, prompt: Prompt, existing: dict[int, int]) -> Measures:
        num_samples = self._num_samples(prompt, existing)
        offset = round(prompt.offset_seconds * self.rate)
        total = self._total_samples(prompt, num_samples, offset)
        return Measures(num_samples, total, offset, existing)

    def _num_samples(self, prompt: Prompt, existing: Mapping[int, int]) -> int:
        given = max(count * self.codec.hop_lengths[level] for level, count in existing.items())
        seconds = prompt.seconds
        if seconds is None and isinstance(prompt.primer, Codes):
            num_samples = given  # upsampling: as long as what is there
        else:
            seconds = seconds or self.defaults.get("seconds") or DEFAULT_SECONDS
            num_samples = round(seconds * self.rate) // self.hop * self.hop
        if num_samples < self.hop:
            raise ValueError(
                f"{seconds} seconds are less than one code of the top level; "
                f"ask for at least {self.hop / self.rate:.4f} seconds"
            )
        if given > num_samples:
            raise ValueError(
                f"the primer lasts {given / self.rate:.2f} seconds, longer than the piece of "
                f"{num_samples / self.rate:.2f} seconds that is to begin with it; "
                "ask for more seconds, or cut the primer with --primer-end"
            )
        return num_samples

    def _total_samples(self, prompt: Prompt, num_samples: int, offset: int) -> int:
        """The length of the song: as asked for, or the default adapted to piece and model."""
        end = offset + num_samples
        if prompt.total_seconds is not None:
            total = round(prompt.total_seconds * self.rate)
            if end > total:
                raise ValueError(
                    f"the piece ends at {end / self.rate:.2f} seconds, but the song that it is "
                    f"part of lasts {prompt.total_seconds:g}; raise the total seconds"
                )
            return total
        seconds = self.defaults.get("total_seconds") or DEFAULT_TOTAL_SECONDS
        total = max(round(seconds * self.rate), end)
        for level, config in self.configs.items():
            if config.has_timing:
                shortest = math.ceil(config.min_total_seconds * self.rate)
                maximum = np.float32(config.max_total_seconds * self.rate)
                longest = int(np.nextafter(maximum, np.float32(0)))  # it computes in float32
                fitted = max(min(total, longest), shortest)
                if fitted < end:
                    raise ValueError(
                        f"the piece ends at {end / self.rate:.2f} seconds, but the prior of level "
                        f"{level} knows songs of less than {config.max_total_seconds:g} seconds; "
                        "ask for fewer seconds"
                    )
                total = fitted
        return total

    def _existing(self, prompt: Prompt, primer_audio: Tensor | None) -> dict[int, int]:
        """Codes that the primer gives, by level."""
        hop_lengths = self.codec.hop_lengths
        if isinstance(prompt.primer, Codes):
            prompt.primer.check_codec(self.codec)
            if prompt.primer.takes != 1:
                raise ValueError(f"a take continues one take, got codes of {prompt.primer.takes}")
            return {
                level: prompt.primer.levels[level].shape[1] if level in prompt.primer.levels else 0
                for level in range(len(hop_lengths))
            }
        samples = 0 if primer_audio is None else primer_audio.shape[1]
        return {level: samples // hop for level, hop in enumerate(hop_lengths)}

    def _note_labels(self, labels: Mapping[int, ResolvedLabels]) -> None:
        """Each note once, with the levels that it concerns."""
        levels_by_note: dict[str, list[int]] = {}
        for level, resolved in labels.items():
            for text in resolved.notes:
                levels_by_note.setdefault(text, []).append(level)
        for text, levels in levels_by_note.items():
            everywhere = len(levels) == len(labels) or text.startswith("lyrics")
            where = "" if everywhere else f"level {_enumerate(levels)}: "
            self.notes.append(f"{where}{text}")


def load_primer(prompt: Prompt, sampling_rate: int, hop_length: int) -> Tensor:
    """The part of an audio primer that is used: (1, samples) float32, whole top codes.

    Raises `ValueError` for a primer shorter than one top code or a part that it does not have, and
    `OSError` for a file that is not there.
    """
    start, end = prompt.primer_start_seconds, prompt.primer_end_seconds
    if isinstance(prompt.primer, Tensor):
        if prompt.primer.ndim != 2:
            raise ValueError(
                f"a primer is (channels, samples), got shape {tuple(prompt.primer.shape)}"
            )
        stop = None if end is None else round(end * sampling_rate)
        audio = mix_down(prompt.primer.detach().to("cpu", torch.float32))
        audio = audio[:, round(start * sampling_rate) : stop]
    else:
        assert isinstance(prompt.primer, Path)
        audio = load_audio(prompt.primer, sampling_rate, start_seconds=start, end_seconds=end)
    available = audio.shape[1]
    if end is not None and round((end - start) * sampling_rate) > available + SPARE_SAMPLES:
        raise ValueError(
            f"the primer ends at {start + available / sampling_rate:.2f} seconds, but is to be "
            f"used up to {end:g}"
        )
    samples = (available + SPARE_SAMPLES) // hop_length * hop_length
    if samples < hop_length:
        raise ValueError(
            f"a primer needs at least {hop_length / sampling_rate:.4f} seconds, got "
            f"{available / sampling_rate:.4f}"
        )
    audio = audio[:, :samples]
    return functional.pad(audio, (0, samples - audio.shape[1]))


def _enumerate(levels: Sequence[int]) -> str:
    return ", ".join(str(level) for level in sorted(levels))
