"""What the record of a session says: model, takes, windows, versions, as plain values.

Plans, systems and reports go in, values for JSON come out, and differences between a record and a
plan in words. Reading and writing it is the work of `session_files`.
"""

import hashlib
import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from jukebox_hf.generation.plan import Measures, Plan, TakePlan
from jukebox_hf.generation.run import WindowReport
from jukebox_hf.hub.built_in import BUILT_IN
from jukebox_hf.hub.system import System
from jukebox_hf.hub.training_facts import TRAINING_FILE
from jukebox_hf.labels import ResolvedLabels

PACKAGES = ("jukebox-hf", "torch", "transformers", "huggingface-hub", "safetensors", "numpy")
SAMPLED_BLOCKS = 16  # of a weights file, to tell it from another one of the same size
BLOCK_BYTES = 4096


def model_record(system: System, names: list[str]) -> dict[str, Any]:
    """What a session says about its model: where it is, and what tells it from others.

    The model that comes with the package is there wherever the package is, so no folder is named.
    """
    local = Path(system.source).expanduser()
    place = str(local.resolve()) if local.exists() else system.source
    return {
        "source": BUILT_IN if system.is_built_in else place,
        "revision": system.location.revision,
        "name": system.manifest.name,
        "licence": system.licence,
        "components": {name: _component_record(system, name) for name in names},
        "codebook_fingerprint": system.vqvae_config().codebook_fingerprint,
    }


def _component_record(system: System, name: str) -> dict[str, Any]:
    """The commit that a component comes from, or a digest of its files; its adapter's likewise."""
    record = _identity(system.place(name)[0].revision, system.component_path, name)
    adapter = system.adapter_place(name)
    if adapter is not None:
        record["adapter"] = _identity(adapter[0].revision, system.adapter_path, name)
    return record


def _identity(
    revision: str | None, find: Callable[[str], Path | None], name: str
) -> dict[str, Any]:
    folder = find(name) if revision is None else None
    return {"revision": revision, "digest": None if folder is None else folder_digest(folder)}


def folder_digest(folder: Path) -> str:
    """SHA-256 of a local component's settings, and of the sizes and samples of its weights.

    How it was trained, and what was measured since, does not change what it makes.
    """
    digest = hashlib.sha256()
    for path in sorted(set(folder.glob("*.json")) - {folder / TRAINING_FILE}):
        digest.update(path.name.encode() + path.read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
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


def take_record(take: TakePlan, plan: Plan) -> dict[str, Any]:
    """What a record says about a take before anything is made of it."""
    return {
        "number": take.number,
        "prompt": take.prompt.to_record(),
        "num_samples": take.num_samples,
        "seconds": round(take.num_samples / plan.sampling_rate, 4),
        "total_samples": take.total_samples,
        "offset_samples": take.offset_samples,
        "existing": {str(level): count for level, count in take.existing.items()},
        "labels": {str(level): _labels_record(labels) for level, labels in take.labels.items()},
        "codes": {},
        "audio": None,
        "alignment": [],
        "kept": False,
    }


def _labels_record(labels: ResolvedLabels) -> dict[str, Any]:
    """What a level's labels are; the lyrics' symbols follow from their text."""
    record = asdict(labels)
    record.pop("lyric_ids")
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in record.items()
    }


def same_labels(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether a model reads a take's labels as it did; what it remarks on them does not count."""

    def without_notes(labels: Mapping[str, Any]) -> dict[str, Any]:
        return {
            level: {name: value for name, value in own.items() if name != "notes"}
            for level, own in labels.items()
        }

    return without_notes(recorded) == without_notes(found)


def _comparable(take: Mapping[str, Any]) -> dict[str, Any]:
    """What of a take's record says whether two commands ask for the same."""
    prompt = dict(take["prompt"])
    if prompt["primer"] is not None:
        prompt["primer"] = {"sha256": prompt["primer"]["sha256"]}
    return {
        "prompt": prompt,
        "num_samples": take["num_samples"],
        "total_samples": take["total_samples"],
        "offset_samples": take["offset_samples"],
    }


def differences(record: Mapping[str, Any], plan: Plan) -> list[str]:
    """Sentences on where a plan is not the one of a session's record; none if it is."""
    # What chains begin with is not asked for: a session goes on with what it was begun with.
    unasked = {"chain_starts": record["settings"].get("chain_starts")}
    wanted = {
        "settings": plan.settings.to_record() | unasked,
        "takes": {str(take.number): _comparable(take_record(take, plan)) for take in plan.takes},
    }
    recorded = {
        "settings": record["settings"],
        "takes": {str(take["number"]): _comparable(take) for take in record["takes"]},
    }
    return list(_compare(recorded, wanted, ()))


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
    if value is None:
        return "not given"
    text = str(value)
    return repr(text if len(text) <= 40 else f"{text[:37]}...") if isinstance(value, str) else text


def window_record(report: WindowReport) -> dict[str, Any]:
    """One batch of windows, for the record."""
    first = report.windows[0]
    return {
        "level": report.level,
        "given": first.given,
        "new": first.new,
        "seconds": round(report.seconds, 3),
        "rows": [
            {
                "take": window.take,
                "chain": window.chain,
                "start": window.start,
                "lyric_span": list(window.lyric_span) if window.lyric_span else None,
            }
            for window in report.windows
        ],
    }


def chain_entry(
    record: dict[str, Any], number: int, level: int, runs: list[list[int]] | None = None
) -> dict[str, Any]:
    """What a record says about the chains of a take's level; begun with `runs` if there is none."""
    for entry in record["chains"]:
        if (entry["take"], entry["level"]) == (number, level):
            return entry  # type: ignore[no-any-return]
    assert runs is not None, "chains are recorded before their seams"
    entry = {
        "take": number,
        "level": level,
        "runs": runs,
        "codes": [None] * len(runs),
        "seams": None,
    }
    record["chains"].append(entry)
    return entry


def merge_part(record: dict[str, Any], part: Mapping[str, Any]) -> None:
    """Bring what another process has made into the record."""
    for take in record["takes"]:
        take["codes"] = part["takes"].get(str(take["number"]), take["codes"])
    for own in part["chains"]:
        entry = chain_entry(record, own["take"], own["level"], own["runs"])
        entry["codes"][own["chain"]] = own["codes"]
    record["windows"] += part["windows"]
    record["batch_sizes"] |= part["batch_sizes"]


def now() -> str:
    """The time, for the record."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def restore_measures(take: Mapping[str, Any]) -> Measures:
    """The lengths that a take was begun with."""
    return Measures(
        existing={int(level): count for level, count in take["existing"].items()},
        num_samples=take["num_samples"],
        total_samples=take["total_samples"],
        offset_samples=take["offset_samples"],
    )
