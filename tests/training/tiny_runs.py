"""Small runs for tests: a codec and priors that train in milliseconds a step, and made-up data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from jukebox_hf.labels import JukeboxLabels
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.training.settings import TrainingSettings
from jukebox_hf.training.song_split import RunExamples
from jukebox_hf.training.tasks import CodecTask, PriorTask
from jukebox_hf.training.trainer import JukeboxTrainer
from jukebox_hf.vqvae import JukeboxVQVAE
from tests.prior.tiny_priors import ARCHITECTURES, inputs
from tests.vqvae.codecs import tiny_config

CLIP_SAMPLES = 64


class MadeUpExamples:
    """Examples that follow from epoch and index alone."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.epoch = 0

    def __len__(self) -> int:
        return self.count

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def generator(self, index: int) -> torch.Generator:
        return torch.Generator().manual_seed(1000 * self.epoch + index)


class MadeUpClips(MadeUpExamples):
    """Sine waves with noise."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = self.generator(index)
        frequency, phase = torch.rand(2, generator=generator).tolist()
        time = torch.arange(CLIP_SAMPLES)
        noise = torch.randn(CLIP_SAMPLES, generator=generator)
        return {"audio": (0.5 * torch.sin(frequency * time + phase) + 0.05 * noise)[None]}


class MadeUpWindows(MadeUpExamples):
    """Windows of codes with the conditioning that a prior takes."""

    def __init__(self, count: int, prior: JukeboxPrior) -> None:
        super().__init__(count)
        self.prior = prior

    def __getitem__(self, index: int) -> dict[str, Any]:
        codes, given = inputs(self.prior, 1, seed=1000 * self.epoch + index)
        codes = torch.sort(codes).values  # something that can be learnt
        item: dict[str, Any] = {"codes": codes[0]}
        for name, value in given.items():
            if isinstance(value, JukeboxLabels):
                item[name] = JukeboxLabels(*(part[0] for part in value))
            else:
                item[name] = value[0]
        return item


def codec_settings(output: Path | str, **changes: Any) -> TrainingSettings:
    """A run of a few steps of the tiny codec."""
    given = {
        "task": "vqvae",
        "output": str(output),
        "clip_samples": CLIP_SAMPLES,
        "steps": 6,
        "batch_size": 4,
        "warmup_steps": 2,
        "learning_rate": 3e-3,
        "log_every": 1,
        "save_every": 0,
        "evaluate_every": 0,
        "evaluation_items": 4,
        "sample_seconds": 0.5,
        "device": "cpu",
    }
    return TrainingSettings(**{**given, **changes})


def prior_settings(output: Path | str, **changes: Any) -> TrainingSettings:
    """A run of a few steps of a tiny prior."""
    settings = codec_settings(output).to_dict()
    settings.pop("clip_samples")
    return TrainingSettings(**{**settings, "task": "prior", **changes})


def codec_trainer(
    settings: TrainingSettings, *, codec: Mapping[str, Any] | None = None, **options: Any
) -> JukeboxTrainer:
    """Trains the tiny codec on made-up clips."""
    torch.manual_seed(0)
    model = JukeboxVQVAE(tiny_config(**(codec or {})))
    processes = options.pop("processes", 1)
    task = CodecTask(model, settings, processes=processes)
    examples = RunExamples(MadeUpClips(10), MadeUpClips(5))
    return JukeboxTrainer(settings, work=(task, examples), **options)


def prior_trainer(
    settings: TrainingSettings, architecture: str = "plain", **options: Any
) -> JukeboxTrainer:
    """Trains a tiny prior on made-up windows."""
    torch.manual_seed(0)
    changes = options.pop("prior", {})
    model = JukeboxPrior(JukeboxPriorConfig(**{**ARCHITECTURES[architecture], **changes}))
    task = PriorTask(model, settings)
    examples = RunExamples(MadeUpWindows(10, model), MadeUpWindows(5, model))
    return JukeboxTrainer(settings, work=(task, examples), **options)


def weights_of(trainer: JukeboxTrainer) -> dict[str, Tensor]:
    """A copy of everything in the model."""
    return {name: value.detach().clone() for name, value in trainer.task.model.state_dict().items()}


def assert_same_bits(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    """Equal names, and every tensor equal to the last bit."""
    assert set(ours) == set(theirs)
    differing = [name for name in ours if not torch.equal(ours[name], theirs[name])]
    assert not differing
