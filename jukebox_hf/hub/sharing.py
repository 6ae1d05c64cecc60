"""Models and datasets of codes to the Hub: a folder goes in, one commit comes out.

A whole model, one component of it, an adapter or a dataset of codes; always with a card. What a
model refers to in other repositories is not uploaded but referred to, at the commit it now has.
`pulling` is the way back.
"""

import contextlib
import fnmatch
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jukebox_hf.hub.adapters import ADAPTER_CONFIG
from jukebox_hf.hub.architecture import check_levels
from jukebox_hf.hub.cards.card_text import (
    CardText,
    adapter_text,
    codes_text,
    features_text,
    system_text,
)
from jukebox_hf.hub.cards.model_facts import (
    ComponentFacts,
    SystemFacts,
    describe_adapter,
    describe_component,
)
from jukebox_hf.hub.cards.rendering import NewCard, make_card, text_outside
from jukebox_hf.hub.licences import CARD, licence_in_card
from jukebox_hf.hub.loading import read_config, transformers_config
from jukebox_hf.hub.locations import HubRepository, LocalFolder
from jukebox_hf.hub.manifest import (
    MANIFEST_NAME,
    OPENAI_LICENCE,
    ROOT_CONFIG,
    VQVAE,
    AdapterReference,
    ComponentReference,
    Manifest,
    manifest_text,
    prior_level,
    prior_name,
)
from jukebox_hf.hub.merging import merge
from jukebox_hf.hub.sameness import same_elsewhere
from jukebox_hf.hub.shareable import (
    CODES_FILE,
    CODES_PATTERNS,
    CODES_STATE,
    FEATURES_FILE,
    RIGHTS_FILES,
    adapter_files,
    codes_files,
    component_files,
    features_files,
    inherited_from_parent,
    is_known_file,
    kind_of,
    shared_content,
    without_folders,
    write_tables,
)
from jukebox_hf.hub.system import System
from jukebox_hf.hub.training_facts import load_training_facts
from jukebox_hf.hub.uploading import Content, Target, open_target
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.records import read_json

DATASETS = ("codes", "features")
ROOT_CONFIG_NAME = "config.json"


@dataclass(frozen=True)
class Push:
    """What `push` did.

    Attributes:
        repo_id: the repository, with its owner.
        repo_type: "model" or "dataset".
        url: its page.
        commit: that it is in.
        files: their paths in the repository.
        notes: what the user should know.
    """

    repo_id: str
    repo_type: str
    url: str
    commit: str
    files: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass
class _Plan:
    """What is going to be committed.

    Attributes:
        files: by path in the repository.
        folders: of the repository that belong to what is pushed ("" is its root): files there that
            an earlier push left, and this one does not have, are removed.
        card: the new one.
        readme: a card in the folder that is pushed.
        notes: for the user.
        replaced: patterns of files that what is pushed takes the place of.
    """

    files: dict[str, Content]
    folders: list[str]
    card: NewCard
    readme: Path
    notes: list[str] = field(default_factory=list)
    replaced: Sequence[str] = ()


def push(
    path: str | os.PathLike[str],
    repo_id: str,
    *,
    components: Sequence[str] | None = None,
    private: bool | None = None,
    revision: str | None = None,
    refer_to: str | None = None,
    replace_card: bool = False,
    message: str | None = None,
    create_pr: bool = False,
    licence: str | None = None,
    merged: bool = False,
) -> Push:
    """Upload a model, a part of one, an adapter or a dataset of codes, as one commit.

    Codes go as parquet, which the Hub shows; `open_codes` and `datasets.load_dataset` read them.

    Nothing is uploaded that could not be loaded again: configs, headers of weights, processors and
    what belongs together are checked first. A repository that has a card keeps what somebody wrote
    there.

    Args:
        path: the folder of a model, a bare component, an adapter or a dataset of codes.
        repo_id: "owner/name", or a name alone for a repository of one's own; made if needed.
        components: only these of a model ("vqvae", "prior_0", ...); what the repository has
            already stays, and its manifest then names both.
        private: whether a new repository is; `None` is the account's default.
        revision: branch to commit to, made if needed; "main" if not given.
        refer_to: a model on the Hub: components that are the same there are not uploaded but
            referred to. Of an adapter: the model that it belongs to, to the prior in `components`.
        replace_card: take the card in `path` instead of the one in the repository.
        message: of the commit.
        create_pr: offer it as a pull request, to a repository that exists and may be another's.
        licence: of a dataset: an SPDX identifier, or words; None: as its card says, else unknown.
        merged: add the weights of adapters to those of their priors, as `merge` does, and upload a
            model without adapters; what it has in common with its base is referred to.

    Raises:
        ValueError: if the folder holds nothing that can be shared, or it is damaged.
        OSError: if nobody is logged in, or the Hub refuses or cannot be reached.
    """
    folder = Path(path)
    kind = kind_of(folder)
    if kind not in ("system", "adapter") and (components or refer_to):
        raise ValueError(f"{folder}: is not a whole model; components of it cannot be chosen")
    if licence is not None and kind not in DATASETS:
        raise ValueError(f"{folder}: a licence is given to a dataset; a model says its own")
    with contextlib.ExitStack() as stack:
        if merged:
            target_folder = Path(stack.enter_context(tempfile.TemporaryDirectory()), "merged")
            system = _with_adapters(folder, kind, refer_to, components or ())
            if kind == "adapter":
                refer_to, components = None, None  # have said which prior of which model
            folder, kind = merge(system, target_folder, refer=True), "system"
        if kind == "codes" and len(codes_files(folder)) and (folder / CODES_STATE).is_file():
            tables = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            write_tables(folder, tables)
            folder = tables
        source: _Part | _Source
        if kind == "system":
            source = _read_system(System.open(folder), components, refer_to)
        else:
            source = _read_part(folder, kind, refer_to, components)
            source = replace(source, licence=licence)
        target = open_target(
            repo_id,
            repo_type="dataset" if kind in DATASETS else "model",
            private=private,
            branch=revision,
            create_pr=create_pr,
        )
        if isinstance(source, _Part):
            plan = _plan_part(source, target)
        else:
            plan = _plan_system(source, target, is_whole=components is None)
        return _commit(plan, target, message or f"Upload {kind} with jukebox_hf", replace_card)


def _with_adapters(
    folder: Path, kind: str, refer_to: str | None, components: Sequence[str]
) -> System:
    """The model in a folder; of an adapter alone the model that it belongs to, with it."""
    if kind == "system":
        return System.open(folder)
    if kind != "adapter":
        raise ValueError(f"{folder}: has no adapter that could be merged")
    system = System.open(_base_of(folder, refer_to))
    system.attach_adapter(folder, level=_stated_prior(components))
    return system


def push_system(system: System, repo_id: str, **options: Any) -> Push:
    """Push a model that is open: its folder, or references to where it is on the Hub.

    `options` are those of `push`, except `components` and `refer_to` for a model on the Hub.
    """
    if isinstance(system.location, LocalFolder) and system.location.origin is None:
        return push(system.location.root, repo_id, **options)
    target = open_target(
        repo_id,
        repo_type="model",
        private=options.get("private"),
        branch=options.get("revision"),
    )
    plan = _plan_system(_read_system(system, None, None), target, is_whole=True)
    message = options.get("message") or "Upload a model with jukebox_hf"
    return _commit(plan, target, message, options.get("replace_card", False))


def _commit(plan: _Plan, target: Target, message: str, replace_card: bool) -> Push:
    """Add the card, find what is left over from earlier, and upload."""
    local = plan.readme.read_bytes().decode("utf-8-sig") if plan.readme.is_file() else None
    remote = target.read(CARD)
    existing = local if remote is None or (replace_card and local is not None) else remote
    notes = list(plan.notes)
    if None not in (local, remote) and existing is remote:
        assert local is not None
        assert remote is not None
        if text_outside(local) != text_outside(remote):
            notes.append(
                f"the card of {target.repo_id} was kept; {plan.readme} says something else (push "
                "with --replace-card to take that one)"
            )
    files = {**plan.files, CARD: plan.card.merged_with(existing).encode()}
    stale = {
        name
        for name in target.files - set(files)
        if (os.path.dirname(name) in plan.folders and is_known_file(os.path.basename(name)))
        or any(fnmatch.fnmatchcase(name, pattern) for pattern in plan.replaced)
    }
    commit = target.upload(files, stale, message)
    return Push(
        target.repo_id, target.repo_type, target.url, commit, tuple(sorted(files)), tuple(notes)
    )


# --- bare components, adapters, codes -----------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """A folder that goes to the root of a repository.

    Attributes:
        folder, kind, files: it, what it is, what of it is shared.
        config: of the prior that an adapter makes.
        licence: of a dataset, if it was said.
        base: where the prior is that an adapter belongs to, if that was said.
    """

    folder: Path
    kind: str
    files: list[Path]
    config: PriorConfig | None = None
    base: ComponentReference | None = None
    licence: str | None = None


def _read_part(
    folder: Path, kind: str, refer_to: str | None, components: Sequence[str] | None
) -> _Part:
    files = {
        "codes": codes_files,
        "features": features_files,
        "adapter": adapter_files,
        "component": component_files,
    }
    part = _Part(folder, kind, files[kind](folder))
    if kind != "adapter":
        return part
    base = None if refer_to is None else ComponentReference(repo_id=refer_to)
    return replace(part, config=_adapted_config(folder, refer_to, components or ()), base=base)


def _adapted_config(folder: Path, refer_to: str | None, components: Sequence[str]) -> PriorConfig:
    """The config of an adapter, which peft does not write: then that of the prior it is for.

    Raises `ValueError` if it does not say which that is.
    """
    if (folder / ROOT_CONFIG_NAME).is_file():
        return read_config(folder, PriorConfig)
    system = System.open(_base_of(folder, refer_to))
    return system.prior_config(system.attach_adapter(folder, level=_stated_prior(components)))


def _base_of(folder: Path, refer_to: str | None) -> str:
    """The model that an adapter belongs to; `ValueError` if nobody says which."""
    stated = read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    place = refer_to or (stated if isinstance(stated, str) else None)
    if place is None:
        raise ValueError(
            f"{folder}: does not say which model it is an adapter of; name it with --refer-to REPO"
        )
    return place


def _stated_prior(components: Sequence[str]) -> int | None:
    """The level of the first prior among names of components."""
    levels = [prior_level(name) for name in components if name != VQVAE]
    return levels[0] if levels else None


def _plan_part(part: _Part, target: Target) -> _Plan:
    if MANIFEST_NAME in target.files:
        raise ValueError(
            f"{target.repo_id} holds a whole model; push {part.folder} to another repository, or "
            "the folder above it with --component"
        )
    files = {
        path.relative_to(part.folder).as_posix(): shared_content(path, part.base)
        for path in part.files
    }
    if part.config is not None and ROOT_CONFIG_NAME not in files:
        files[ROOT_CONFIG_NAME] = transformers_config(part.config).to_json_string().encode()
    return _Plan(
        files=files,
        folders=["data"] if part.kind in DATASETS else [""],
        replaced=CODES_PATTERNS[1:] if part.kind == "codes" else (),
        notes=_dataset_notes(part, target) if part.kind in DATASETS else [],
        card=make_card(_part_text(part, target)),
        readme=part.folder / CARD,
    )


def _dataset_notes(part: _Part, target: Target) -> list[str]:
    """What to know of a dataset; `ValueError` if the repository holds tables of something else."""
    own = CODES_FILE if part.kind == "codes" else FEATURES_FILE
    if own not in target.files and any(name.startswith("data/") for name in target.files):
        raise ValueError(
            f"{target.repo_id} holds another dataset; push {part.kind} to a repository of their own"
        )
    if part.licence or _card_licence(target) or _own_licence(part) != "unknown":
        return []
    return ["the card names no licence: that of the music covers it too, say it with --licence"]


def _part_text(part: _Part, target: Target) -> CardText:
    known = part.licence or _card_licence(target) or _own_licence(part)
    if part.kind == "codes":
        info = without_folders(read_json(part.folder / CODES_FILE))
        return codes_text(info, target.repo_id, licence=known)
    if part.kind == "features":
        info = without_folders(read_json(part.folder / FEATURES_FILE))
        return features_text(info, target.repo_id, licence=known)
    parent = inherited_from_parent(part.folder)
    refers_to = None if part.base is None else part.base.repo_id
    belongs_to = parent if parent is not None else refers_to
    licence = (System.open(belongs_to).licence if belongs_to is not None else None) or known
    if part.config is not None:
        adapter = describe_adapter(LocalFolder(part.folder), None)
        return adapter_text(
            adapter if refers_to is None else replace(adapter, base_model=refers_to),
            part.config,
            target.repo_id,
            training=load_training_facts(part.folder),
            licence=licence,
        )
    system = System.open(part.folder)
    (name,) = system.manifest.components
    found = describe_component(system, name, [])
    facts = SystemFacts(str(part.folder), None, None, licence or system.licence, {name: found}, {})
    return system_text(facts, target.repo_id, in_subfolder=False)


def _own_licence(part: _Part) -> str | None:
    """The licence in the card of a folder that is pushed; of a dataset without one "unknown"."""
    card = part.folder / CARD
    found = licence_in_card(card.read_text("utf-8", "replace")) if card.is_file() else None
    return found or ("unknown" if part.kind in DATASETS else None)


def _card_licence(target: Target) -> str | None:
    """The licence that the card in the repository names, which only somebody can have written."""
    card = target.read(CARD)
    return licence_in_card(card) if card is not None else None


# --- models -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """A model that has been read and checked.

    Attributes:
        system: it.
        wanted: components that are pushed.
        references: where components are in the pushed manifest, by name.
        adapters: likewise.
        files: those of its own, by path in the repository.
        notes: for the user.
    """

    system: System
    wanted: tuple[str, ...]
    references: dict[str, ComponentReference]
    adapters: tuple[AdapterReference, ...]
    files: dict[str, Content]
    notes: tuple[str, ...]


def _read_system(system: System, components: Sequence[str] | None, refer_to: str | None) -> _Source:
    for name in components or ():
        system.place(name)  # raises for one that is not there
    wanted = tuple(components or system.manifest.components)
    other = System.open(refer_to) if refer_to is not None else None
    if other is not None and isinstance(other.location, LocalFolder):
        raise ValueError(f"{refer_to} is a folder; only what is on the Hub can be referred to")
    references: dict[str, ComponentReference] = {}
    files: dict[str, Content] = {}
    notes = list(system.notes)
    for name in system.manifest.components:
        reference = system.reference(name)
        if reference is None and name in wanted and other is not None:
            reference = same_elsewhere(system, other, name)
            if reference is not None:
                notes.append(f"{name} is the one of {refer_to}, which the model refers to")
        if reference is not None:
            references[name] = reference
        elif name in wanted:
            references[name] = ComponentReference(subfolder=name)
            for path in component_files(system.component_path(name)):
                files[f"{name}/{path.name}"] = shared_content(path)
    adapters = []
    for adapter in system.manifest.adapters:
        place = system.adapter_place(adapter.component)
        assert place is not None
        location, subfolder = place
        if isinstance(location, HubRepository):
            elsewhere = AdapterReference(
                subfolder, location.repo_id, location.commit, component=adapter.component
            )
            adapters.append(elsewhere)
        elif adapter.component in wanted:
            own = f"adapter_{adapter.component}"
            adapters.append(AdapterReference(own, component=adapter.component))
            base = references.get(adapter.component)
            for path in adapter_files(location.folder(subfolder, ())):
                files[f"{own}/{path.name}"] = shared_content(path, base)
    if isinstance(system.location, LocalFolder):
        found = {name: system.location.file(name) for name in RIGHTS_FILES}
        files |= {name: path for name, path in found.items() if path is not None}
    for level in system.prior_levels:
        if prior_name(level) in references:
            system.prior_config(level)  # belongs to the VQ-VAE, and is of this level
    return _Source(system, wanted, references, tuple(adapters), files, tuple(notes))


def _plan_system(source: _Source, target: Target, *, is_whole: bool) -> _Plan:
    if MANIFEST_NAME not in target.files and "config.json" in target.files:
        raise ValueError(
            f"{target.repo_id} holds a bare component at its root; push a model to another one"
        )
    remote = None
    if not is_whole and MANIFEST_NAME in target.files:
        remote = System.open(target.repo_id, revision=target.commit)
    manifest = _merged_manifest(source, remote)
    if manifest.licence is None:
        manifest = replace(manifest, licence=_card_licence(target))
    notes = list(source.notes)
    facts = _merged_facts(source, remote, manifest, notes)
    _check_together(facts)
    files: dict[str, Content] = {
        MANIFEST_NAME: manifest_text(manifest).encode(),
        "config.json": ROOT_CONFIG.encode(),
        **source.files,
    }
    if manifest.licence == OPENAI_LICENCE and source.system.manifest.licence != OPENAI_LICENCE:
        notes.append("part of it is under OpenAI's non-commercial licence, and so is the whole")
    for name, reference in manifest.components.items():
        stated = source.system.manifest.components.get(name)
        if stated is not None and stated.repo_id is not None and stated.revision is None:
            notes.append(f"{name} refers to {reference.repo_id} at {reference.revision}")
    readme = Path(source.system.source) / CARD
    return _Plan(
        files=files,
        folders=sorted({os.path.dirname(name) for name in source.files} - {""}),
        card=make_card(system_text(facts, target.repo_id)),
        readme=readme,
        notes=notes,
    )


def _merged_manifest(source: _Source, remote: System | None) -> Manifest:
    """The manifest of what is pushed, together with what the repository has already."""
    local = source.system.manifest
    licence = source.system.licence
    if remote is None:
        return Manifest(
            source.references,
            generation=local.generation,
            licence=licence,
            adapters=list(source.adapters),
            name=local.name,
            notes=local.notes,
        )
    kept = remote.manifest
    wanted = {name: source.references[name] for name in source.wanted}
    adapters = [each for each in kept.adapters if each.component not in source.wanted]
    adapters += [each for each in source.adapters if each.component in source.wanted]
    levels = [str(prior_level(name)) for name in source.wanted if name != VQVAE]
    return Manifest(
        {**source.references, **kept.components, **wanted},
        generation=_merged_generation(kept.generation, local.generation, levels),
        licence=licence if licence == OPENAI_LICENCE else remote.licence or licence,
        adapters=adapters,
        name=kept.name or local.name,
        notes={**local.notes, **kept.notes},
    )


def _merged_generation(
    kept: Mapping[str, Any], new: Mapping[str, Any], levels: Sequence[str]
) -> dict[str, Any]:
    """Sampling defaults: those of the pushed levels are new, all others stay.

    >>> _merged_generation({"temperature": {"0": 0.9}}, {"temperature": {"0": 1, "2": 1}}, ["2"])
    {'temperature': {'0': 0.9, '2': 1}}
    """
    merged = {**new, **kept}
    for name, values in new.items():
        if isinstance(values, Mapping):
            chosen = {level: values[level] for level in levels if level in values}
            merged[name] = {**kept.get(name, {}), **chosen}
    return merged


def _merged_facts(
    source: _Source, remote: System | None, manifest: Manifest, notes: list[str]
) -> SystemFacts:
    """What the card tells: each component from where it will be."""
    components: dict[str, ComponentFacts] = {}
    for name, reference in manifest.components.items():
        is_local = name in source.references and (
            remote is None or reference == source.references[name]
        )
        system = source.system if is_local or remote is None else remote
        found = describe_component(system, name, notes)
        revision = reference.revision if reference.repo_id is not None else None
        components[name] = replace(found, repo_id=reference.repo_id, revision=revision)
    return SystemFacts(
        source=source.system.source,
        name=manifest.name,
        commit=None,
        licence=manifest.licence,
        components=components,
        generation=manifest.generation,
        model_notes=manifest.notes,
    )


def _check_together(facts: SystemFacts) -> None:
    """Raise `ValueError` if a prior was not made for the codes of the VQ-VAE beside it."""
    for name, part in facts.components.items():
        if facts.codec is not None and isinstance(part.config, PriorConfig):
            check_levels(part.config, facts.codec, name)
