"""What a finished run knows about how its model came about, for model cards and `jukebox info`."""

import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch

from jukebox_hf.files import find_here
from jukebox_hf.hub import TrainingFacts, save_training_facts
from jukebox_hf.hub.training_facts import Figure, TrainingData
from jukebox_hf.training.figures import shared_name
from jukebox_hf.training.settings import TrainingSettings

# Settings that say most about a run, in the words of `TrainingSettings`.
TOLD = (
    "batch_size",
    "learning_rate",
    "warmup_steps",
    "schedule",
    "optimizer",
    "weight_decay",
    "precision",
    "ema_decay",
    "lora_rank",
    "clip_samples",
    "seed",
)


class LearntFrom(NamedTuple):
    """How much music a run learns from."""

    songs: int
    seconds: float


def write_training_facts(
    component: Path,
    settings: TrainingSettings,
    *,
    steps: int,
    device: torch.device,
    learnt_from: LearntFrom | None = None,
    figures: tuple[Figure, ...] = (),
) -> None:
    """Write `training.json` into the folder of the component that was trained.

    Folders of this machine go by their last name only: the file is meant to be shared.
    """
    facts = TrainingFacts(
        base_model=None if settings.start_from is None else shared_name(settings.start_from),
        data=() if settings.dataset is None else (_data(settings.dataset, learnt_from),),
        steps=steps,
        settings=_told(settings),
        hardware=_hardware(device),
        date=datetime.now(UTC).date().isoformat(),
        versions={name: version(name) for name in ("torch", "transformers", "accelerate")},
        figures=figures,
    )
    save_training_facts(component, facts)


def _data(dataset: str, learnt_from: LearntFrom | None) -> TrainingData:
    is_local = find_here(dataset) is not None
    return TrainingData(
        name=shared_name(dataset),
        repo_id=None if is_local else dataset,
        songs=None if learnt_from is None else learnt_from.songs,
        hours=None if learnt_from is None else round(learnt_from.seconds / 3600, 3),
    )


def _told(settings: TrainingSettings) -> dict[str, str | int | float | bool]:
    foreign = {"clip_samples"} if settings.task == "prior" else set()  # means nothing there
    values = {name: getattr(settings, name) for name in TOLD if name not in foreign}
    return {name: value for name, value in values.items() if value not in (None, 0)}


def _hardware(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()})"
