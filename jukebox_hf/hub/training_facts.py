"""How a model was trained, in a file beside it: `training.json`.

Training writes it; model cards and `jukebox info` read it. What is not known is left out, and a
measured figure never stands without the command that measured it.
"""

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from jukebox_hf.files import write_text
from jukebox_hf.records import from_json, read_json, to_json

TRAINING_FILE = "training.json"
FORMAT_VERSION = 1
TEXT_LIMIT = 2000
MAX_ENTRIES = 1000
COUNTS = ("songs", "hours", "steps", "duration_seconds")
EMPTY: tuple[Any, ...] = (None, [], {})


@dataclass(frozen=True)
class TrainingData:
    """One collection of music that a model learnt from.

    Attributes:
        name: what to call it.
        repo_id: of a dataset on the Hub.
        licence: of the music.
        link: where it is described.
        songs: how many.
        hours: how long they are together.
    """

    name: str
    repo_id: str | None = None
    licence: str | None = None
    link: str | None = None
    songs: int | None = None
    hours: float | int | None = None

    def __post_init__(self) -> None:
        _check_values(self)


@dataclass(frozen=True)
class Figure:
    """Something measured.

    Attributes:
        name: of the measure, with its unit, such as "bits per code".
        value: what came out.
        command: that measures it again.
        dataset: what it was measured on.
    """

    name: str
    value: float | int
    command: str
    dataset: str | None = None

    def __post_init__(self) -> None:
        _check_values(self)


@dataclass(frozen=True)
class TrainingFacts:
    """How a model came about.

    Attributes:
        command: that trained it.
        base_model: repository or name of the model that training started from.
        data: what it learnt from.
        steps: of the optimizer.
        settings: those worth telling, by name.
        hardware: what it ran on.
        duration_seconds: how long it took.
        date: when it ended, as in 2026-11-22.
        versions: of packages, by name.
        figures: what was measured.
    """

    command: str | None = None
    base_model: str | None = None
    data: tuple[TrainingData, ...] = ()
    steps: int | None = None
    settings: dict[str, str | int | float | bool] = field(default_factory=dict)
    hardware: str | None = None
    duration_seconds: float | int | None = None
    date: str | None = None
    versions: dict[str, str | int | float | bool] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()

    def __post_init__(self) -> None:
        _check_values(self)


def save_training_facts(folder: Path | str, facts: TrainingFacts) -> Path:
    """Write `training.json` into the folder of a component, atomically; returns its path."""
    path = Path(folder) / TRAINING_FILE
    content = _without_empty(to_json(facts, version=FORMAT_VERSION))
    from_json(TrainingFacts, content, "the facts to be written", version=FORMAT_VERSION)
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return path


def load_training_facts(folder: Path | str) -> TrainingFacts | None:
    """Read `training.json` of a component; `None` if there is none.

    Raises:
        ValueError: if it is something else, or a figure lacks its command.
    """
    path = Path(folder) / TRAINING_FILE
    if not path.is_file():
        return None
    return from_json(TrainingFacts, read_json(path), str(path), version=FORMAT_VERSION)


def _without_empty(content: Any) -> Any:
    if isinstance(content, list):
        return [_without_empty(each) for each in content]
    if not isinstance(content, dict):
        return content
    return {name: _without_empty(value) for name, value in content.items() if value not in EMPTY}


def _check_values(record: Any) -> None:
    """Raise `ValueError` for texts, lists and objects beyond every use, and negative counts."""
    for each in fields(record):
        value = getattr(record, each.name)
        if isinstance(value, str) and not 0 < len(value) <= TEXT_LIMIT:
            raise ValueError(f"{each.name}: expected text of at most {TEXT_LIMIT} characters")
        if isinstance(value, (tuple, dict)) and len(value) > MAX_ENTRIES:
            raise ValueError(f"{each.name}: expected at most {MAX_ENTRIES} entries")
        if isinstance(value, dict) and any(len(f"{k}{v}") > TEXT_LIMIT for k, v in value.items()):
            raise ValueError(f"{each.name}: expected text of at most {TEXT_LIMIT} characters")
        if each.name in COUNTS and value is not None and value < 0:
            raise ValueError(f"{each.name}: expected a count, found {value}")
