"""Models and datasets of codes from the Hub: fetched into huggingface_hub's cache, with all parts.

A model whose manifest points to other repositories gets just these parts, at the commits that the
manifest names. What is in the cache already is not fetched again, and `HF_HUB_OFFLINE=1` works with
it afterwards. `sharing` is the way there.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, HFValidationError

from jukebox_hf.hub.adapters import ADAPTER_CONFIG
from jukebox_hf.hub.loading import check_weights
from jukebox_hf.hub.locations import ALL_FILES, HubRepository, Location
from jukebox_hf.hub.manifest import (
    VQVAE,
    AdapterReference,
    ComponentReference,
    prior_level,
)
from jukebox_hf.hub.saving import Fill, write_system
from jukebox_hf.hub.shareable import (
    CODES_FILE,
    CODES_PATTERNS,
    RIGHTS_FILES,
    adapter_files,
    check_processor,
    component_files,
)
from jukebox_hf.hub.system import System
from jukebox_hf.refusals import hub_refusals, is_reachable


@dataclass(frozen=True)
class PulledPart:
    """A component, an adapter, or a dataset of codes.

    Attributes:
        name: "vqvae", "prior_N", "adapter_prior_N" or "codes".
        folder: with its files, in the cache.
        repo_id, revision: where it came from; `None` for folders on this machine.
        num_bytes: of its files.
    """

    name: str
    folder: Path
    repo_id: str | None
    revision: str | None
    num_bytes: int


@dataclass(frozen=True)
class Pull:
    """What `pull` fetched, or found in the cache.

    Attributes:
        source: as it was asked for.
        commit: of that repository; `None` for a folder.
        parts: in the order of the manifest.
        output: the folder that everything was copied to, if it was.
        licence: of the model, also inherited.
        notes: what the user should know.
    """

    source: str
    commit: str | None
    parts: tuple[PulledPart, ...]
    output: Path | None
    licence: str | None
    notes: tuple[str, ...]


def pull(
    path_or_repo: str | os.PathLike[str],
    *,
    components: Sequence[str] | None = None,
    revision: str | None = None,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    local_files_only: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
) -> Pull:
    """Fetch a model with all that its manifest names, or a dataset of codes.

    Args:
        path_or_repo: a repository, or a folder whose manifest points to some.
        components: only these ("vqvae", "prior_0", ...).
        revision: commit, tag or branch of the repository.
        output: also make a folder that holds everything and needs no other.
        overwrite: replace an existing model folder.
        local_files_only: ask nothing of the Hub.
        cache_dir: instead of huggingface_hub's own cache.

    Raises:
        ValueError: if what is there is no model, or not a safe one.
        OSError: if it, or a part of it, is not there or not to be had; names the part.
    """
    name = os.fspath(path_or_repo)
    try:
        system = System.open(
            name, revision=revision, local_files_only=local_files_only, cache_dir=cache_dir
        )
    except OSError:
        codes = None
        if components is None and not Path(name).exists():
            codes = _pull_codes(name, revision, local_files_only, cache_dir)
        if codes is None:
            raise
        if output is not None:
            raise ValueError(
                f"{name} is a dataset of codes; it is used from the cache, without --output"
            ) from None
        return codes
    wanted = tuple(components or system.manifest.components)
    for each in wanted:
        system.place(each)
    parts = [part for each in wanted for part in _fetch(system, each)]
    folder = None
    if output is not None:
        folder = copy_system(system, output, components=wanted, overwrite=overwrite)
    return Pull(
        source=name,
        commit=system.location.revision,
        parts=tuple(parts),
        output=folder,
        licence=system.licence,
        notes=system.notes,
    )


def copy_system(
    system: System,
    folder: str | os.PathLike[str],
    *,
    components: Sequence[str] | None = None,
    overwrite: bool = False,
    written: Mapping[str, Callable[[Path], None]] | None = None,
    refer: bool = False,
) -> Path:
    """A model as one folder that holds all its parts, wherever they are now; returns it.

    `written` are components that take the place of those of the model: functions that fill a
    folder. With `refer` other components that are on the Hub are only referred to. The folder
    appears complete or not at all. Raises `FileExistsError` if it exists.
    """
    own = written or {}
    parts: dict[str, ComponentReference | Fill] = {}
    adapters: dict[str, AdapterReference | Fill] = {}
    for name in components or system.manifest.components:
        reference = system.reference(name) if refer else None
        if name in own:
            parts[name] = own[name]
        elif reference is not None:
            parts[name] = reference
        else:
            parts[name] = partial(_copy, component_files(system.component_path(name)))
        adapter = None if name in own else system.adapter_path(name)
        if adapter is not None:
            adapters[name] = partial(_copy, adapter_files(adapter))
    rights = [path for path in map(system.location.file, RIGHTS_FILES) if path is not None]
    return write_system(
        folder,
        parts,
        adapters=adapters,
        beside=partial(_copy, rights),
        overwrite=overwrite,
        generation=system.manifest.generation,
        licence=system.licence,
        name=system.manifest.name,
        notes=system.manifest.notes,
    )


def _copy(files: Sequence[Path], folder: Path) -> None:
    for path in files:
        shutil.copyfile(path, folder / path.name)


def _fetch(system: System, name: str) -> list[PulledPart]:
    """Fetch one component and its adapter, and check what came."""
    location, subfolder = system.place(name)
    is_adapter = subfolder is None and location.file(ADAPTER_CONFIG) is not None
    try:
        folder = system.component_path(name)
        if is_adapter:
            adapter_files(folder)
            return [_part(f"adapter_{name}", folder, location)]
        _check(system, name, folder)
        parts = [_part(name, folder, location)]
        place = system.adapter_place(name)
        if place is not None:
            folder = place[0].folder(place[1], ALL_FILES)
            adapter_files(folder)
            parts.append(_part(f"adapter_{name}", folder, place[0]))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{name} of {system.source}: {error}") from error
    return parts


def _check(system: System, name: str, folder: Path) -> None:
    """Raise `ValueError` unless a component is whole and belongs to the model."""
    if name == VQVAE:
        check_weights(folder, system.vqvae_config())
        return
    level = prior_level(name)
    base = system.base_config(level)
    check_weights(folder, base)
    check_processor(folder, base)
    system.prior_config(level)


def _part(name: str, folder: Path, location: Location) -> PulledPart:
    files = [path for pattern in ALL_FILES for path in folder.glob(pattern)]
    is_remote = isinstance(location, HubRepository)
    return PulledPart(
        name=name,
        folder=folder,
        repo_id=location.repo_id if isinstance(location, HubRepository) else None,
        revision=location.revision if is_remote else None,
        num_bytes=sum(path.stat().st_size for path in files),
    )


def _pull_codes(
    repo_id: str,
    revision: str | None,
    local_files_only: bool,
    cache_dir: str | os.PathLike[str] | None,
) -> Pull | None:
    """A dataset of codes; `None` if the repository is none."""
    cache = Path(cache_dir) if cache_dir is not None else None
    try:
        offline = local_files_only or not is_reachable(repo_id, revision, kind="dataset")
        hf_hub_download(
            repo_id,
            CODES_FILE,
            repo_type="dataset",
            revision=revision,
            local_files_only=offline,
            cache_dir=cache,
        )
    except (EntryNotFoundError, HFValidationError, OSError, ValueError):
        return None
    with hub_refusals(repo_id, revision, kind="dataset"):
        folder = Path(
            snapshot_download(
                repo_id,
                repo_type="dataset",
                revision=revision,
                allow_patterns=[*CODES_PATTERNS, "*.parquet"],
                local_files_only=offline,
                cache_dir=cache,
            )
        )
    num_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    part = PulledPart("codes", folder, repo_id, folder.name, num_bytes)
    return Pull(repo_id, folder.name, (part,), None, None, ())
