"""How a model was trained, in a file beside it: `training.json`.

Training writes it; model cards and `jukebox info` read it. What is not known is left out, and a
measured figure never stands without the command that measured it.
"""

import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from jukebox_hf.configuration import refuse_unknown
from jukebox_hf.files import write_atomically
from jukebox_hf.hub.folders import write_json
from jukebox_hf.records import read_json

TRAINING_FILE = "training.json"
FORMAT_VERSION = 1
TEXT_LIMIT = 2000
MAX_ENTRIES = 1000


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


def save_training_facts(folder: Path | str, facts: TrainingFacts) -> Path:
    """Write `training.json` into the folder of a component, atomically; returns its path."""
    path = Path(folder) / TRAINING_FILE
    known = {name: value for name, value in asdict(facts).items() if value not in (None, (), {})}
    for name in ("data", "figures"):
        if name in known:
            known[name] = [_without_none(entry) for entry in known[name]]
    content = {"format_version": FORMAT_VERSION, **known}
    _facts(content, "the facts to be written")
    write_atomically(path, lambda temporary: write_json(temporary, content))
    return path


def load_training_facts(folder: Path | str) -> TrainingFacts | None:
    """Read `training.json` of a component; `None` if there is none.

    Raises:
        ValueError: if it is something else, or a figure lacks its command.
    """
    path = Path(folder) / TRAINING_FILE
    return _facts(read_json(path), str(path)) if path.is_file() else None


def _facts(content: dict[str, Any], source: str) -> TrainingFacts:
    version = content.get("format_version")
    if version != FORMAT_VERSION or isinstance(version, bool):
        raise ValueError(
            f"{source}: expected format_version {FORMAT_VERSION}, found {version!r:.80}"
        )
    known = [each.name for each in fields(TrainingFacts)]
    refuse_unknown(content, ("format_version", *known), source)
    return TrainingFacts(
        command=_text(content.get("command"), f"{source}, command"),
        base_model=_text(content.get("base_model"), f"{source}, base_model"),
        data=tuple(_data(entry, f"{source}, data") for entry in _list(content, "data", source)),
        steps=_count(content.get("steps"), f"{source}, steps"),
        settings=_scalars(content.get("settings", {}), f"{source}, settings"),
        hardware=_text(content.get("hardware"), f"{source}, hardware"),
        duration_seconds=_number(content.get("duration_seconds"), f"{source}, duration_seconds"),
        date=_text(content.get("date"), f"{source}, date"),
        versions=_scalars(content.get("versions", {}), f"{source}, versions"),
        figures=tuple(
            _figure(entry, f"{source}, figures") for entry in _list(content, "figures", source)
        ),
    )


def _data(entry: Any, source: str) -> TrainingData:
    entry = _entry(entry, TrainingData, source)
    texts = {
        key: _text(entry.get(key), f"{source}, {key}")
        for key in ("name", "repo_id", "licence", "link")
    }
    name = texts.pop("name")
    if name is None:
        raise ValueError(f"{source}: expected a name for each")
    return TrainingData(
        name,
        **texts,
        songs=_count(entry.get("songs"), f"{source}, songs"),
        hours=_number(entry.get("hours"), f"{source}, hours"),
    )


def _figure(entry: Any, source: str) -> Figure:
    entry = _entry(entry, Figure, source)
    name, command = (_text(entry.get(key), f"{source}, {key}") for key in ("name", "command"))
    value = _number(entry.get("value"), f"{source}, value")
    if name is None or command is None or value is None:
        raise ValueError(f"{source}: expected a name, a value and the command that measures it")
    return Figure(name, value, command, _text(entry.get("dataset"), f"{source}, dataset"))


def _entry(entry: Any, kind: type[Any], source: str) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise ValueError(f"{source}: expected objects, found {entry!r:.80}")
    refuse_unknown(entry, [each.name for each in fields(kind)], source)
    return entry


def _list(content: dict[str, Any], name: str, source: str) -> list[Any]:
    entries = content.get(name, [])
    if not isinstance(entries, list) or len(entries) > MAX_ENTRIES:
        raise ValueError(f"{source}, {name}: expected a list of at most {MAX_ENTRIES} entries")
    return entries


def _scalars(content: Any, source: str) -> dict[str, str | int | float | bool]:
    if not isinstance(content, dict) or len(content) > MAX_ENTRIES:
        raise ValueError(f"{source}: expected an object of at most {MAX_ENTRIES} entries")
    for name, value in content.items():
        if not isinstance(value, (str, int, float, bool)) or len(str(value)) > TEXT_LIMIT:
            raise ValueError(f"{source}: expected text or a number as {name[:80]}")
    return content


def _text(value: Any, source: str) -> str | None:
    if value is not None and not (isinstance(value, str) and 0 < len(value) <= TEXT_LIMIT):
        raise ValueError(f"{source}: expected text of at most {TEXT_LIMIT} characters")
    return value


def _number(value: Any, source: str) -> float | int | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (is_number and math.isfinite(value)):
        raise ValueError(f"{source}: expected a number, found {value!r:.80}")
    return value  # type: ignore[no-any-return]


def _count(value: Any, source: str) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 0):
        raise ValueError(f"{source}: expected a count, found {value!r:.80}")
    return value


def _without_none(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if value is not None}
