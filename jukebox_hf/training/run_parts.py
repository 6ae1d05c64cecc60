"""What the builders hand to the trainer: model, examples, and how the result is written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from jukebox_hf.data import SkippedSong
from jukebox_hf.training.batches import Examples
from jukebox_hf.training.facts import LearntFrom
from jukebox_hf.training.tasks import Task


@dataclass
class RunParts:
    """What a run works on.

    Attributes:
        task: of the model in training.
        train: examples to train on.
        validation: examples held out; `None` evaluates nothing.
        export: fills a folder with a model that `System.open` reads, from a complete state dict.
        notes: what the user should know before it starts.
        skipped: songs that are not used, or not as a whole; some are found out only in the end.
        data_fingerprint: of the songs; when it has changed, a run cannot go on to the same result.
        learnt_from: how much music there is to train on.
    """

    task: Task[Any]
    train: Examples
    validation: Examples | None
    export: Callable[[Path, Mapping[str, Tensor]], None]
    notes: tuple[str, ...] = ()
    skipped: Callable[[], Sequence[SkippedSong]] = tuple
    data_fingerprint: str | None = None
    learnt_from: LearntFrom | None = None
