"""A model as a whole: its manifest, where its components are, and how they are loaded.

A component is a folder with a config and weights, in this repository or another. Configs are
checked against each other before any weight is fetched or read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from jukebox_hf.hub.adapters import (
    ADAPTER_CONFIG,
    Adapter,
    adapted_config,
    check_configs_fit,
    check_weights_fit,
    merge_adapter,
    read_adapter,
)
from jukebox_hf.hub.architecture import check_levels
from jukebox_hf.hub.built_in import built_in_model, is_built_in
from jukebox_hf.hub.conversion.openai import find_files
from jukebox_hf.hub.conversion.port_cache import converted_port, is_port_location
from jukebox_hf.hub.headers import StoredWeights, check_headers, stored_weights
from jukebox_hf.hub.licences import stated_licence
from jukebox_hf.hub.loading import load_network, read_config
from jukebox_hf.hub.locations import (
    ALL_FILES,
    SETTINGS_FILES,
    HubRepository,
    LocalFolder,
    Location,
    open_location,
    open_repository,
)
from jukebox_hf.hub.manifest import (
    FINAL,
    MANIFEST_NAME,
    OPENAI_LICENCE,
    VQVAE,
    ComponentReference,
    Manifest,
    load_manifest,
    prior_level,
    prior_name,
)
from jukebox_hf.labels import PriorProcessor
from jukebox_hf.labels.storage import CONFIG_FILE
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.records import read_json
from jukebox_hf.vqvae.vqvae_config import VQVAEConfig

if TYPE_CHECKING:
    import torch

    from jukebox_hf.prior.modeling_prior import JukeboxPrior
    from jukebox_hf.prior.network import PriorNetwork
    from jukebox_hf.vqvae.modeling_vqvae import JukeboxVQVAE
    from jukebox_hf.vqvae.network import VQVAENetwork


class System:
    """A model: a manifest, and access to its components wherever they are.

    Attributes:
        manifest: what `jukebox.json` says.
        source: the folder or repository as it was asked for.
        location: where its manifest is.
        notes: what the user should know, such as that the model was converted.
    """

    def __init__(
        self,
        manifest: Manifest,
        location: Location,
        *,
        source: str,
        notes: tuple[str, ...] = (),
        local_files_only: bool = False,
        cache_dir: Path | None = None,
    ) -> None:
        self.manifest = manifest
        self.source = source
        self.notes = notes
        self.location = location
        self._local_files_only = local_files_only
        self._cache_dir = cache_dir
        self._others: dict[tuple[str, str | None], Location] = {}
        self._prior_configs: dict[int, PriorConfig] = {}
        self._processors: dict[int, PriorProcessor] = {}
        self._weights: dict[str, StoredWeights | None] = {}
        self._attached: dict[str, Location] = {}

    @classmethod
    def open(
        cls,
        path_or_repo: str | os.PathLike[str] | Location | None = None,
        *,
        revision: str | None = None,
        local_files_only: bool = False,
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> System:
        """Open a model without reading or fetching any weights.

        Args:
            path_or_repo: a folder, a repository on the Hub, or "demo-22k". It holds a whole model,
                one bare component, or one in the layout of the former transformers port, which is
                converted once into the local cache. Or what `open_location` found, which is there
                without the libraries that models need. None: the model that comes with the package.
            revision: commit, tag or branch of a repository.
            local_files_only: ask nothing of the Hub.
            cache_dir: instead of huggingface_hub's own cache.

        Raises:
            FileNotFoundError: if there is no such model.
            ValueError: if what is there is not a model, or not a safe one.
            OSError: if the Hub refuses.
        """
        cache = Path(cache_dir) if cache_dir is not None else None
        if path_or_repo is None:
            path_or_repo = built_in_model()
        if isinstance(path_or_repo, (LocalFolder, HubRepository)):
            location: Location = path_or_repo
            source = str(location)
            local_files_only |= isinstance(location, HubRepository) and location.local_files_only
        else:
            location = open_location(
                path_or_repo, revision=revision, local_files_only=local_files_only, cache_dir=cache
            )
            found_by_name = isinstance(location, LocalFolder) and is_built_in(location.root)
            source = str(location) if found_by_name else os.fspath(path_or_repo)
        notes: tuple[str, ...] = ()
        if is_port_location(location):
            location, notes = converted_port(location, cache)
        return cls(
            _read_manifest(location),
            location,
            source=source,
            notes=notes,
            local_files_only=local_files_only,
            cache_dir=cache,
        )

    def attach_adapter(
        self, path_or_repo: str | os.PathLike[str], *, level: int | None = None
    ) -> int:
        """From now on this model's prior is the one with an adapter; returns its level.

        Args:
            path_or_repo: a folder or repository with peft's two files, made by `get_peft_model` or
                by `jukebox finetune --lora`.
            level: of the prior; None: found from the adapter's config, its base, or its shapes.

        Raises:
            ValueError: if it is of another kind, belongs to another model, its level cannot be
                told, or the prior has an adapter already.
            FileNotFoundError: if it is not there.
        """
        location = open_location(
            path_or_repo, local_files_only=self._local_files_only, cache_dir=self._cache_dir
        )
        folder = location.folder(None, ALL_FILES)
        adapter = read_adapter(folder)
        if level is None:
            level = _stated_level(folder)
            if level not in self.prior_levels:
                level = self.level_of_adapter(adapter, str(path_or_repo))
        name = prior_name(level)
        if self.adapter_place(name) is not None:
            raise ValueError(
                f"{self.source}: {name} has an adapter already; `jukebox merge` makes one model of "
                "the two first"
            )
        self._attached[name] = location
        self._prior_configs.pop(level, None)
        self._processors.pop(level, None)
        try:
            self.prior_config(level)
        except ValueError:
            del self._attached[name]
            raise
        return level

    @property
    def attached(self) -> dict[str, str]:
        """Adapters that were attached, by the name of their component: folder or repository."""
        return {
            name: str(place.root) if isinstance(place, LocalFolder) else place.repo_id
            for name, place in self._attached.items()
        }

    def level_of_adapter(self, adapter: Adapter, source: str) -> int:
        """The level whose prior has the layers that an adapter changes.

        Raises `ValueError` if there is none or more than one, and for new rows without names.
        """
        if adapter.new_rows:
            raise ValueError(
                f"{source}: brings new artists or genres, whose names only the model knows that it "
                "was trained as part of; merge that model"
            )
        changed = {
            f"{layer}.weight": (b.shape[0], a.shape[1]) for layer, (a, b) in adapter.pairs.items()
        }
        fitting = []
        for level in self.prior_levels:
            stored = self.stored_weights(prior_name(level))
            known = {} if stored is None else stored.headers
            if all(name in known and known[name].shape == shape for name, shape in changed.items()):
                fitting.append(level)
        if len(fitting) == 1:
            return fitting[0]
        if not fitting:
            raise ValueError(
                f"{source}: belongs to another model, no prior of {self.source} fits it"
            )
        levels = ", ".join(map(str, fitting))
        raise ValueError(
            f"{source}: fits the priors of levels {levels}; say which with --level "
            "(merge), --adapter LEVEL=PATH (generate) or --component (push)"
        )

    def __repr__(self) -> str:
        return f"System({self.source!r}: {', '.join(self.manifest.components)})"

    # --- what there is ---

    @property
    def is_built_in(self) -> bool:
        """Whether it is the model that comes with the package."""
        return isinstance(self.location, LocalFolder) and is_built_in(self.location.root)

    @property
    def prior_levels(self) -> tuple[int, ...]:
        """Levels that have a prior, the finest first."""
        names = (name for name in self.manifest.components if name != VQVAE)
        return tuple(sorted(prior_level(name) for name in names))

    @property
    def num_levels(self) -> int:
        """Levels of the VQ-VAE; without one, those up to the highest prior."""
        if VQVAE in self.manifest.components:
            return self.vqvae_config().num_levels
        return max(self.prior_levels) + 1

    @property
    def revisions(self) -> dict[str, str | None]:
        """The commit that each component comes from; `None` for folders on this machine."""
        return {name: self.place(name)[0].revision for name in self.manifest.components}

    def reference(self, name: str) -> ComponentReference | None:
        """How another manifest refers to this component; `None` if it is not on the Hub."""
        location, subfolder = self.place(name)
        repository = location.origin if isinstance(location, LocalFolder) else location
        if repository is None:
            return None
        return ComponentReference(subfolder, repository.repo_id, repository.commit)

    @property
    def title(self) -> str:
        """What to call it in files that leave this machine: never the folders that it is in."""
        if self.manifest.name:
            return self.manifest.name
        if not os.path.exists(self.source):
            return self.source
        folder = Path(self.source).resolve()
        return folder.parent.name if folder.name == FINAL else folder.name

    @cached_property
    def licence(self) -> str | None:
        """The manifest's licence; OpenAI's, if a repository that this one refers to has that one.

        A bare component's is the one in its card. Asks the Hub for manifests or cards of the other
        repositories, unless they are in the cache.
        """
        places = [self.location, *(self.place(name)[0] for name in self.manifest.components)]
        places += [self._place_of("an adapter", each)[0] for each in self.manifest.adapters]
        places += self._attached.values()
        found = [stated_licence(place) for place in dict.fromkeys(places)]
        return OPENAI_LICENCE if OPENAI_LICENCE in found else self.manifest.licence or found[0]

    def component_path(self, name: str) -> Path:
        """A folder with the config, the weights and, for priors, the processor of a component.

        Fetches this component from the Hub, unless it is in the cache.

        Raises:
            ValueError: for a component that the model does not have.
            FileNotFoundError: for one that is not where the manifest says.
        """
        location, subfolder = self.place(name)
        return location.folder(subfolder, ALL_FILES)

    def settings_path(self, name: str) -> Path:
        """The same, but only the small files need to be there: no weights are fetched."""
        location, subfolder = self.place(name)
        return location.folder(subfolder, SETTINGS_FILES)

    def place(self, name: str) -> tuple[Location, str | None]:
        """Where a component is: a folder or repository, and the folder below it, if any."""
        reference = self.manifest.components.get(name)
        if reference is None:
            raise ValueError(
                f"{self.source} has no {name}; it has {', '.join(self.manifest.components)}"
            )
        return self._place_of(name, reference)

    def _place_of(self, name: str, reference: ComponentReference) -> tuple[Location, str | None]:
        if reference.repo_id is None:
            return self.location, reference.subfolder
        key = (reference.repo_id, reference.revision)
        if key not in self._others:
            self._others[key] = self._open_other(name, reference)
        return self._others[key], reference.subfolder

    def _open_other(self, name: str, reference: ComponentReference) -> Location:
        assert reference.repo_id is not None
        try:
            location: Location = open_repository(
                reference.repo_id,
                revision=reference.revision,
                local_files_only=self._local_files_only,
                cache_dir=self._cache_dir,
            )
        except OSError as error:
            raise OSError(f"{name} of {self.source} is in another repository: {error}") from error
        if is_port_location(location):
            location, _ = converted_port(location, self._cache_dir)
        return location

    def adapter_path(self, name: str) -> Path | None:
        """A folder with the adapter of a component; `None` if it has none. As `component_path`."""
        return self._adapter_folder(name, ALL_FILES)

    def adapter_place(self, name: str) -> tuple[Location, str | None] | None:
        """Where the adapter of a component is; `None` if it has none."""
        if name in self._attached:
            return self._attached[name], None
        found = [adapter for adapter in self.manifest.adapters if adapter.component == name]
        if not found:
            return None
        if len(found) > 1:
            raise ValueError(
                f"{self.source}: has {len(found)} adapters for {name}, one is possible"
            )
        return self._place_of(f"the adapter of {name}", found[0])

    def _adapter_folder(self, name: str, patterns: Sequence[str]) -> Path | None:
        """Its folder, with the config and processor that go with it."""
        place = self.adapter_place(name)
        return None if place is None else place[0].folder(place[1], patterns)

    # --- configs, without weights ---

    @cached_property
    def _vqvae_config(self) -> VQVAEConfig:
        config = read_config(self.settings_path(VQVAE), VQVAEConfig)
        self._check_sizes(VQVAE, config)
        return config

    def vqvae_config(self) -> VQVAEConfig:
        """The VQ-VAE's config; raises as `prior_config`."""
        return self._vqvae_config

    def prior_config(self, level: int) -> PriorConfig:
        """The config of a level's prior, which fits the VQ-VAE of this model, if it has one.

        Its sizes are those of the weights, as their headers tell: of weights that are only on the
        Hub these few kilobytes are fetched. So something may be built from it.

        Raises:
            ValueError: also if prior and VQ-VAE were not made for each other.
        """
        if level not in self._prior_configs:
            self._prior_configs[level] = self._read_prior_config(level)
        return self._prior_configs[level]

    def _read_prior_config(self, level: int) -> PriorConfig:
        config = self._unweighed_config(level)
        self._check_sizes(prior_name(level), self.base_config(level))
        return config

    def _unweighed_config(self, level: int) -> PriorConfig:
        """As `prior_config`, without a look at the weights: enough to read names with."""
        name = prior_name(level)
        base = self.base_config(level)
        adapter = self._adapter_folder(name, SETTINGS_FILES)
        config = base
        if adapter is not None and (adapter / "config.json").is_file():
            config = read_config(adapter, PriorConfig)
        elif adapter is not None:
            path = self._adapter_folder(name, ALL_FILES)
            assert path is not None
            config = adapted_config(base, read_adapter(path))
        if adapter is not None:
            check_configs_fit(base, config, f"{self.source}, the adapter of {name}")
        if config.level != level:
            raise ValueError(
                f"{self.source}: {name} is a prior of level {config.level}, not {level}"
            )
        if VQVAE in self.manifest.components:
            check_levels(config, self.vqvae_config(), f"{self.source}, {name}")
        return config

    def _check_sizes(self, name: str, config: VQVAEConfig | PriorConfig) -> None:
        """Raise `ValueError` if a config claims other sizes than the weights have."""
        weights = self.stored_weights(name)
        if weights is not None:
            check_headers(weights, config, f"{self.source}, {name}")

    def stored_weights(self, name: str) -> StoredWeights | None:
        """What the headers of a component's weights say; `None` if they are not to be had."""
        if name not in self._weights:
            self._weights[name] = stored_weights(*self.place(name))
        return self._weights[name]

    def base_config(self, level: int) -> PriorConfig:
        """The config of a level's prior as it is without an adapter."""
        return read_config(self.settings_path(prior_name(level)), PriorConfig)

    def processor(self, level: int) -> PriorProcessor:
        """The processor of a level's prior, which fits the prior's tables. Read once: a processor
        does not change.

        Raises:
            FileNotFoundError: if the prior was converted without names of artists and genres.
            ValueError: if it is damaged or belongs to another prior.
        """
        if level not in self._processors:
            self._processors[level] = self._read_processor(level)
        return self._processors[level]

    def _read_processor(self, level: int) -> PriorProcessor:
        config = self._unweighed_config(level)
        name = prior_name(level)
        folder = self._adapter_folder(name, SETTINGS_FILES) or self.settings_path(name)
        if name in self._attached and not (folder / CONFIG_FILE).is_file():
            folder = self.settings_path(name)
        if not (folder / "processor_config.json").is_file():
            raise FileNotFoundError(
                f"{self.source}: prior_{level} has no processor_config.json, so it knows no names "
                "of artists and genres; convert it again with --ids-dir"
            )
        processor = PriorProcessor.from_pretrained(folder)
        try:
            processor.check(config)
        except ValueError as error:
            raise ValueError(f"{self.source}, prior_{level}: {error}") from error
        return processor

    # --- models ---

    def load_vqvae(
        self,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = None,
    ) -> JukeboxVQVAE:
        """Load the VQ-VAE as a model of transformers; as `load_vqvae_network`."""
        from jukebox_hf.vqvae.modeling_vqvae import JukeboxVQVAE

        codec = JukeboxVQVAE.of(self.load_vqvae_network(device=device, dtype=dtype))
        codec.config.name_or_path = self.component_path(VQVAE)
        return codec

    def load_prior(
        self,
        level: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = None,
        num_layers: int | None = None,
    ) -> JukeboxPrior:
        """Load the prior of a level as a model of transformers; as `load_prior_network`."""
        from jukebox_hf.prior.modeling_prior import JukeboxPrior

        network = self.load_prior_network(level, device=device, dtype=dtype, num_layers=num_layers)
        prior = JukeboxPrior.of(network)
        prior.config.name_or_path = self.component_path(prior_name(level))
        return prior

    def load_vqvae_network(
        self,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = None,
    ) -> VQVAENetwork:
        """Load what encodes and decodes, in evaluation mode; its codebooks are float32 whatever the
        dtype.

        Args:
            device: default CPU.
            dtype: default float32, whatever is stored; "auto": as stored.

        Raises:
            ValueError: if weights are missing, left over, or do not fit the config.
        """
        from jukebox_hf.vqvae.network import VQVAENetwork

        folder = self.component_path(VQVAE)
        return load_network(VQVAENetwork, folder, self.vqvae_config(), device=device, dtype=dtype)

    def load_prior_network(
        self,
        level: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | str | None = None,
        num_layers: int | None = None,
    ) -> PriorNetwork:
        """Load what samples and listens at a level; as `load_vqvae_network`.

        With `num_layers` only the first so many layers are read from disk and held, for their
        states; one with an adapter is read whole first.
        """
        from jukebox_hf.prior.network import PriorNetwork

        name = prior_name(level)
        config = self.prior_config(level)
        folder = self.component_path(name)
        adapter = self._adapter_folder(name, ALL_FILES)
        if adapter is None:
            return load_network(
                PriorNetwork, folder, config, device=device, dtype=dtype, num_layers=num_layers
            )
        base = self.base_config(level)
        prior = load_network(PriorNetwork, folder, base, device=device, dtype=dtype)
        merge_adapter(prior, read_adapter(adapter), f"{self.source}, the adapter of {name}")
        check_weights_fit(prior, config, f"{self.source}, the adapter of {name}")
        if num_layers is not None:
            prior.keep_layers(num_layers)
        return prior


def _stated_level(folder: Path) -> int | None:
    """The level that an adapter says it is for: in its own config, or as the folder of its base."""
    if (folder / "config.json").is_file():
        return read_config(folder, PriorConfig).level
    base = read_json(folder / ADAPTER_CONFIG).get("base_model_name_or_path")
    stated = re.search(r"(?:^|[/\\])prior_(\d)$", base) if isinstance(base, str) else None
    return int(stated[1]) if stated is not None else None


def _read_manifest(location: Location) -> Manifest:
    """The manifest of a model, or one made up for a bare component."""
    path = location.file(MANIFEST_NAME)
    if path is not None:
        return load_manifest(path)
    config = location.file("config.json")
    model_type = read_json(config).get("model_type") if config is not None else None
    if config is not None and model_type == VQVAEConfig.model_type:
        return Manifest({VQVAE: ComponentReference()})
    if config is not None and model_type == PriorConfig.model_type:
        level = read_config(config.parent, PriorConfig).level
        return Manifest({prior_name(level): ComponentReference()})
    if isinstance(location, LocalFolder) and find_files(location.root):
        raise ValueError(
            f"{location}: holds checkpoints of the original release; convert them once with "
            f"`jukebox convert {location} --output DIR`"
        )
    found = f"a config of model type {model_type!r:.80}" if config is not None else "neither"
    raise ValueError(
        f"{location}: expected the {MANIFEST_NAME} of a model or the config.json of a component, "
        f"found {found}"
    )
