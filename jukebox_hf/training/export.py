"""What training leaves behind: a model folder that `System.open` reads.

The component that was trained is written in full. The others of the model it belongs to are
referred to where they are on the Hub, and copied beside it where they are on this machine: private
ones stay private.
"""

import shutil
import stat
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from jukebox_hf.hub import AdapterReference, ComponentReference, System
from jukebox_hf.hub.saving import Fill, default_generation, fill_system
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.training.checkpoints import AVERAGES, OPTIMIZER, STATE
from jukebox_hf.vqvae.vqvae_config import VQVAEConfig

Config = VQVAEConfig | PriorConfig
# What a checkpoint holds beside a model.
NOT_THE_MODEL = frozenset({STATE, AVERAGES, OPTIMIZER})


def export_component(
    folder: Path,
    name: str,
    own: Fill,
    config: Config,
    *,
    base: System | None = None,
    is_adapter: bool = False,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Fill a folder that exists with one trained component and a manifest that names all.

    Args:
        folder: of the model.
        name: of the component, "vqvae" or "prior_N".
        own: writes it into its folder.
        config: of the component.
        base: the model whose other components belong to it, if any.
        is_adapter: `own` writes an adapter for the component of `base`, not the component.
        notes: of the manifest.
    """
    components: dict[str, ComponentReference | Fill] = {}
    adapters: dict[str, AdapterReference | Fill] = {}
    if base is not None:
        components |= {each: place_component(base, each) for each in base.manifest.components}
        # An adapter on top of another one is not a thing: the new one takes its place.
        adapters = {
            each.component: place_adapter(base, each)
            for each in base.manifest.adapters
            if each.component != name
        }
    if is_adapter:
        adapters = {name: own, **adapters}
    else:
        components[name] = own
    fill_system(
        folder,
        components,
        adapters=adapters,
        generation=_generation(name, config, base),
        licence=None if base is None else base.licence,
        notes=dict(notes or {}),
    )


def _generation(name: str, config: Config, base: System | None) -> dict[str, Any]:
    """Sampling defaults: those of the base, and what suits the new component beside them."""
    if base is None:
        return default_generation([config])
    others = [base.prior_config(level) for level in base.prior_levels if f"prior_{level}" != name]
    fresh = default_generation([config, *others])
    for key, value in base.manifest.generation.items():
        fresh[key] = {**fresh.get(key, {}), **value} if isinstance(value, dict) else value
    return fresh


def place_component(system: System, name: str) -> ComponentReference | Fill:
    """Where a component of `system` is on the Hub, or what copies it if it is local."""
    reference = system.reference(name)
    if reference is not None:
        return reference
    stated = system.manifest.components[name]
    if stated.repo_id is not None:
        return stated  # in the former port's layout there, and converted here
    if not Path(system.source).is_dir():
        return ComponentReference(stated.subfolder, system.source)  # likewise
    return partial(copy_model_files, system.component_path(name))


def place_adapter(system: System, adapter: AdapterReference) -> AdapterReference | Fill:
    """The same for an adapter of `system`."""
    if adapter.repo_id is not None:
        return adapter
    if not Path(system.source).is_dir():
        return replace(adapter, repo_id=system.source)
    source = system.adapter_path(adapter.component)
    assert source is not None, "it is one of this system"
    return partial(copy_model_files, source)


def copy_model_files(source: Path, target: Path) -> None:
    """Copy config, weights and processor from a folder into another, and who may read them.

    They are copies, not other names of the same files: people edit what is in their model's folder,
    and the original may be another model, or belong to the installed package.
    """
    for path in sorted(source.iterdir()):
        is_model_file = path.suffix in (".json", ".safetensors") and path.name not in NOT_THE_MODEL
        if path.is_file() and is_model_file and path.name != "jukebox.json":
            shutil.copyfile(path, target / path.name)
            mode = stat.S_IMODE(path.stat().st_mode)
            (target / path.name).chmod(mode | stat.S_IWUSR)  # installed files may be read-only
