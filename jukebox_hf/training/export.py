"""What training leaves behind: a model folder that `System.open` reads.

The component that was trained is written in full. The others of the model it belongs to are
referred to where they are on the Hub, and copied beside it where they are on this machine: private
ones stay private.
"""

import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from jukebox_hf.files import give_usual_permissions
from jukebox_hf.hub import AdapterReference, ComponentReference, Manifest, System, save_manifest
from jukebox_hf.hub.conversion.converting import default_generation
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.training.checkpoints import AVERAGES, OPTIMIZER, STATE
from jukebox_hf.vqvae.configuration_vqvae import JukeboxVQVAEConfig

SaveComponent = Callable[[Path, Mapping[str, Tensor]], None]
# What a checkpoint holds beside a model.
NOT_THE_MODEL = frozenset({STATE, AVERAGES, OPTIMIZER})


class SystemExport:
    """Writes one trained component and a manifest that names all components.

    Args:
        name: of the component, "vqvae" or "prior_N".
        config: of the component.
        save: writes it into a folder from a complete state dict.
        base: the model whose other components belong to it, if any.
        is_adapter: `save` writes an adapter for the component of `base`, not the component.
    """

    def __init__(
        self,
        name: str,
        config: JukeboxVQVAEConfig | JukeboxPriorConfig,
        save: SaveComponent,
        *,
        base: System | None = None,
        is_adapter: bool = False,
    ) -> None:
        self.name = name
        self.config = config
        self.save = save
        self.base = base
        self.is_adapter = is_adapter

    def __call__(self, folder: Path, state: Mapping[str, Tensor]) -> None:
        """Fill a folder that exists."""
        own = f"adapter_{self.name}" if self.is_adapter else self.name
        (folder / own).mkdir()
        self.save(folder / own, state)
        give_usual_permissions(folder / own)
        components = {} if self.is_adapter else {self.name: ComponentReference(subfolder=own)}
        adapters = []
        if self.is_adapter:
            adapters.append(AdapterReference(subfolder=own, component=self.name))
        if self.base is not None:
            for name in self.base.manifest.components:
                if name not in components:
                    components[name] = place_component(self.base, name, folder)
            # An adapter on top of another one is not a thing: the new one takes its place.
            adapters += [
                place_adapter(self.base, adapter, folder)
                for adapter in self.base.manifest.adapters
                if adapter.component != self.name
            ]
        save_manifest(
            folder,
            Manifest(
                dict(sorted(components.items(), key=lambda item: (item[0] != "vqvae", item[0]))),
                generation=self._generation(),
                licence=None if self.base is None else self.base.licence,
                adapters=adapters,
            ),
        )

    def _generation(self) -> dict[str, Any]:
        """Sampling defaults: those of the base, and what suits the new component beside them."""
        configs: list[JukeboxVQVAEConfig | JukeboxPriorConfig] = [self.config]
        known: dict[str, Any] = {}
        if self.base is not None:
            known = self.base.manifest.generation
            levels = [level for level in self.base.prior_levels if f"prior_{level}" != self.name]
            configs += [self.base.prior_config(level) for level in levels]
        fresh = default_generation(configs)
        for name, value in known.items():
            fresh[name] = {**fresh.get(name, {}), **value} if isinstance(value, dict) else value
        return fresh


def place_component(system: System, name: str, folder: Path) -> ComponentReference:
    """Refer to a component of `system` on the Hub, or put it into `folder` if it is local."""
    reference = system.reference(name)
    if reference is not None:
        return reference
    stated = system.manifest.components[name]
    if stated.repo_id is not None:
        return stated  # in the former port's layout there, and converted here
    if not Path(system.source).is_dir():
        return ComponentReference(stated.subfolder, system.source)  # likewise
    copy_model_files(system.component_path(name), folder / name)
    return ComponentReference(subfolder=name)


def place_adapter(system: System, adapter: AdapterReference, folder: Path) -> AdapterReference:
    """The same for an adapter of `system`."""
    if adapter.repo_id is not None:
        return adapter
    if not Path(system.source).is_dir():
        return replace(adapter, repo_id=system.source)
    name = f"adapter_{adapter.component}"
    source = system.adapter_path(adapter.component)
    assert source is not None, "it is one of this system"
    copy_model_files(source, folder / name)
    return AdapterReference(subfolder=name, component=adapter.component)


def copy_model_files(source: Path, target: Path) -> None:
    """Copy config, weights and processor from a folder into a new one, and who may read them.

    They are copies, not other names of the same files: people edit what is in their model's folder,
    and the original may be another model, or belong to the installed package.
    """
    target.mkdir()
    for path in sorted(source.iterdir()):
        is_model_file = path.suffix in (".json", ".safetensors") and path.name not in NOT_THE_MODEL
        if path.is_file() and is_model_file and path.name != "jukebox.json":
            shutil.copyfile(path, target / path.name)
            mode = stat.S_IMODE(path.stat().st_mode)
            (target / path.name).chmod(mode | stat.S_IWUSR)  # installed files may be read-only
