"""What plans, models and reports say, as records of a session; and where two differ, in words."""

import hashlib
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from jukebox_hf.files import find_here
from jukebox_hf.generation.holes import Hole
from jukebox_hf.generation.making import WindowReport
from jukebox_hf.generation.plan import Measures, Plan, TakePlan
from jukebox_hf.generation.session_record import (
    BatchRecord,
    ComponentIdentity,
    LabelsRecord,
    ModelRecord,
    ParentRecord,
    RowRecord,
    SessionRecord,
    TakeRecord,
)
from jukebox_hf.generation.settings import primer_record
from jukebox_hf.hub.built_in import BUILT_IN
from jukebox_hf.hub.locations import FEATURE_EXTRACTOR_FILE
from jukebox_hf.hub.system import System
from jukebox_hf.hub.training_facts import TRAINING_FILE
from jukebox_hf.labels import ResolvedLabels
from jukebox_hf.records import to_json
from jukebox_hf.words import shorten

PACKAGES = ("jukebox-hf", "torch", "transformers", "huggingface-hub", "safetensors", "numpy")
SAMPLED_BLOCKS = 16  # of a weights file, to tell it from another one of the same size
BLOCK_BYTES = 4096


def model_record(system: System, names: list[str], folder: Path) -> ModelRecord:
    """What a session in `folder` says about its model: where it is, what tells it from others.

    The model that comes with the package is there wherever the package is, so no folder is named.
    """
    return ModelRecord(
        source=BUILT_IN if system.is_built_in else place_from(folder, system.source),
        revision=system.location.revision,
        name=system.manifest.name,
        licence=system.licence,
        components={name: _component_identity(system, name) for name in names},
        codebook_fingerprint=system.vqvae_config().codebook_fingerprint,
        adapters={name: place_from(folder, place) for name, place in system.attached.items()},
    )


def place_from(folder: Path, source: str) -> str:
    """A local model's place as seen from a session's folder; repositories keep their names.

    A path from there says nothing of the folders above both, and still holds when both are moved.
    """
    local = find_here(source)
    if local is None:
        return source
    try:
        place = os.path.relpath(local.resolve(), folder.resolve())
    except ValueError:  # another drive of Windows
        return str(local.resolve())
    place = Path(place).as_posix()
    return place if place.startswith(".") else f"./{place}"


def _component_identity(system: System, name: str) -> ComponentIdentity:
    """The commit that a component comes from, or a digest of its files; its adapter's likewise."""
    identity = _identity(system.place(name)[0].revision, system.component_path, name)
    adapter = system.adapter_place(name)
    if adapter is not None:
        identity.adapter = _identity(adapter[0].revision, system.adapter_path, name)
    return identity


def _identity(
    revision: str | None, find: Callable[[str], Path | None], name: str
) -> ComponentIdentity:
    folder = find(name) if revision is None else None
    digest = None if folder is None else folder_digest(folder)
    return ComponentIdentity(revision=revision, digest=digest)


def folder_digest(folder: Path) -> str:
    """SHA-256 of a local component's settings, and of the sizes and samples of its weights.

    How it was trained, and what was measured since, does not change what it makes; nor does what
    tells other libraries how to feed it.
    """
    digest = hashlib.sha256()
    others = {folder / TRAINING_FILE, folder / FEATURE_EXTRACTOR_FILE}
    for path in sorted(set(folder.glob("*.json")) - others):
        if not path.is_file():
            raise ValueError(f"{path}: expected a plain file, found a pipe or a device")
        digest.update(path.name.encode() + path.read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
        if not path.is_file():
            raise ValueError(f"{path}: expected a plain file, found a pipe or a device")
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}".encode())
        with path.open("rb") as file:
            for place in np.linspace(0, max(size - BLOCK_BYTES, 0), SAMPLED_BLOCKS, dtype=np.int64):
                file.seek(int(place))
                digest.update(file.read(BLOCK_BYTES))
    return f"sha256:{digest.hexdigest()}"


def version_record() -> dict[str, str]:
    """The versions of what a session was made with."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # run from a checkout
            continue
    return versions


def take_record(take: TakePlan, plan: Plan) -> TakeRecord:
    """What a record says about a take before anything is made of it."""
    return TakeRecord(
        number=take.number,
        prompt=take.prompt.to_record(),
        num_samples=take.num_samples,
        seconds=round(take.num_samples / plan.sampling_rate, 4),
        total_samples=take.total_samples,
        offset_samples=take.offset_samples,
        existing=dict(take.existing),
        labels={level: labels_record(labels) for level, labels in take.labels.items()},
        codes={},
        audio=None,
        alignment=[],
        kept=False,
    )


def labels_record(labels: ResolvedLabels) -> LabelsRecord:
    """What a level's labels are; the lyrics' symbols follow from their text."""
    return LabelsRecord(**{one.name: getattr(labels, one.name) for one in fields(LabelsRecord)})


def same_labels(recorded: Mapping[int, LabelsRecord], found: Mapping[int, LabelsRecord]) -> bool:
    """Whether a model reads a take's labels as it did; what it remarks on them does not count."""
    kept, now_read = (
        {level: {**vars(own), "notes": ()} for level, own in labels.items()}
        for labels in (recorded, found)
    )
    return kept == now_read


def _comparable(take: TakeRecord) -> dict[str, Any]:
    """What of a take's record says whether two commands ask for the same."""
    prompt: dict[str, Any] = to_json(take.prompt)
    if take.prompt.primer is not None:
        prompt["primer"] = {"sha256": take.prompt.primer.sha256}
    return {
        "prompt": prompt,
        "num_samples": take.num_samples,
        "total_samples": take.total_samples,
        "offset_samples": take.offset_samples,
    }


def differences(record: SessionRecord, plan: Plan, parent: ParentRecord | None = None) -> list[str]:
    """Sentences on where a plan is not the one of a session's record; none if it is.

    `parent`: what the plan goes on from. Whence is not compared (what was given is), but the
    details of what is done with it are.
    """
    # What chains begin with is not asked for: a session goes on with what it was begun with.
    settings = replace(plan.settings, chain_starts=record.settings.chain_starts)
    wanted = {
        "settings": to_json(settings),
        "takes": {str(take.number): _comparable(take_record(take, plan)) for take in plan.takes},
    }
    hole = plan.takes[0].hole
    if hole is not None or record.hole is not None:
        wanted["hole"] = None if hole is None else _comparable_hole(hole)
    recorded = {
        "settings": to_json(record.settings),
        "takes": {str(take.number): _comparable(take) for take in record.takes},
    }
    if record.hole is not None:
        found = {name: getattr(record.hole, name) for name in _HOLE}
        recorded["hole"] = {**found, "codes": record.hole.sha256}
    if parent is not None and record.parent is not None:
        recorded |= _plain(record.parent.details)
        wanted |= _plain(parent.details)
    return list(_compare(recorded, wanted, ()))


_HOLE = ("begin", "end", "removed", "candidates")


def _comparable_hole(hole: Hole) -> dict[str, Any]:
    codes = primer_record(hole.original)
    assert codes is not None
    return {**{name: getattr(hole, name) for name in _HOLE}, "codes": codes.sha256}


def _plain(details: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers and words; what is longer follows from what was given."""
    return {name: value for name, value in details.items() if not isinstance(value, (list, dict))}


def _compare(recorded: Any, wanted: Any, path: tuple[str, ...]) -> Iterator[str]:
    if isinstance(recorded, dict) and isinstance(wanted, dict):
        for name in dict.fromkeys([*recorded, *wanted]):
            yield from _compare(recorded.get(name), wanted.get(name), (*path, name))
    elif recorded != wanted:
        yield f"{_describe(path)} is {_short(recorded)} there and {_short(wanted)} here"


def _describe(path: tuple[str, ...]) -> str:
    """Where in a record something stands, in words."""
    if path[:2] == ("settings", "levels"):
        return " ".join([*path[3:], "of" if path[3:] else "sampling of", "level", path[2]])
    if path[0] == "takes":
        name = path[-1] if path[-1] != "sha256" else "primer"
        return f"{name} of take {path[1]}" if path[2:] else f"take {path[1]}"
    return path[-1]


def _short(value: Any) -> str:
    return "not given" if value is None else shorten(value, 42)


def batch_record(report: WindowReport) -> BatchRecord:
    """One batch of windows, for the record."""
    first = report.windows[0]
    return BatchRecord(
        level=report.level,
        given=first.given,
        new=first.new,
        seconds=round(report.seconds, 3),
        rows=[RowRecord(one.take, one.chain, one.start, one.lyric_span) for one in report.windows],
    )


def restore_measures(take: TakeRecord) -> Measures:
    """The lengths that a take was begun with."""
    return Measures(take.num_samples, take.total_samples, take.offset_samples, dict(take.existing))
