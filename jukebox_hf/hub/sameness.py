"""Whether another model on the Hub has the same component: then it need not be uploaded again."""

import hashlib
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from jukebox_hf.hub.manifest import ComponentReference
from jukebox_hf.hub.shareable import PROCESSOR_FILES, component_files
from jukebox_hf.hub.system import System
from jukebox_hf.records import read_json
from jukebox_hf.refusals import hub_refusals

# What saving adds to a config, and does not make another model.
BYSTANDERS = ("transformers_version", "architectures", "dtype")


def same_elsewhere(system: System, other: System, name: str) -> ComponentReference | None:
    """Where `other` has the component that `system` has under this name; `None` if it differs.

    Compares config, vocabulary and the hashes of the weights; fetches no weights.
    """
    reference = other.reference(name) if name in other.manifest.components else None
    if reference is None or reference.repo_id is None:
        return None
    files = {path.name: path for path in component_files(system.component_path(name))}
    settings = other.settings_path(name)
    if _config(files["config.json"]) != _config(settings / "config.json"):
        return None
    for each in PROCESSOR_FILES:
        if _content(files.get(each)) != _content(settings / each):
            return None
    weights = {key: path for key, path in files.items() if path.suffix == ".safetensors"}
    prefix = f"{reference.subfolder}/" if reference.subfolder else ""
    with hub_refusals(reference.repo_id, reference.revision):
        found: list[Any] = HfApi().get_paths_info(
            reference.repo_id, [prefix + key for key in weights], revision=reference.revision
        )
    hashes = {each.path: each.lfs.sha256 for each in found if getattr(each, "lfs", None)}
    same = all(hashes.get(prefix + key) == _sha256(path) for key, path in weights.items())
    return reference if same else None


def _config(path: Path) -> dict[str, Any]:
    return {key: value for key, value in read_json(path).items() if key not in BYSTANDERS}


def _content(path: Path | None) -> dict[str, Any] | None:
    return read_json(path) if path is not None and path.is_file() else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
