"""What can be told about a model from its configs, headers and training files, without weights.

A `System` goes in, `SystemFacts` come out. Model cards and `jukebox info` are made from them. What
is not known is `None` or empty, never made up.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jukebox_hf.hub.headers import StoredWeights, stored_weights
from jukebox_hf.hub.loading import read_config
from jukebox_hf.hub.locations import SETTINGS_FILES, HubRepository, Location
from jukebox_hf.hub.manifest import OPENAI_LICENCE, VQVAE, prior_level
from jukebox_hf.hub.system import System
from jukebox_hf.hub.training_facts import TrainingFacts, load_training_facts
from jukebox_hf.labels import PriorProcessor
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.records import read_json
from jukebox_hf.vqvae.vqvae_config import VQVAEConfig
from jukebox_hf.words import enumerate_words

LISTED_NAMES = 8


@dataclass(frozen=True)
class LabelFacts:
    """What a prior can be asked for; "unknown" is not counted.

    Attributes:
        artists, genres: how many it knows.
        dialect: how names are written, "v2" or "v3".
        genre_names: the first few, in the order of their numbers.
        lyric_length: symbols of lyrics that it sees at once; 0: it does not sing from lyrics.
    """

    artists: int
    genres: int
    dialect: str
    genre_names: tuple[str, ...]
    lyric_length: int


@dataclass(frozen=True)
class AdapterFacts:
    """Low-rank weights on top of a prior.

    Attributes:
        rank, alpha: of LoRA.
        base_model: that it was trained on, as its config says.
        weights: of the adapter alone.
        new_artists, new_genres: rows that it adds to the tables; `None` if the base is not at hand.
    """

    rank: int | None
    alpha: float | int | None
    base_model: str | None
    weights: StoredWeights | None
    new_artists: int | None = None
    new_genres: int | None = None


@dataclass(frozen=True)
class ComponentFacts:
    """One component.

    Attributes:
        name: "vqvae" or "prior_N".
        config: that of the adapted prior where there is an adapter.
        repo_id, revision: of the repository that it lives in, if that is not the model's own.
        weights: `None` if the Hub could not be asked.
        labels: of a prior that has any.
        training: how it was trained, if it says so.
        adapter: on top of it, if there is one.
    """

    name: str
    config: VQVAEConfig | PriorConfig
    repo_id: str | None = None
    revision: str | None = None
    weights: StoredWeights | None = None
    labels: LabelFacts | None = None
    training: TrainingFacts | None = None
    adapter: AdapterFacts | None = None

    @property
    def kind(self) -> str:
        """ "vqvae", "prior" (of the top level) or "upsampler"."""
        if isinstance(self.config, VQVAEConfig):
            return VQVAE
        return "upsampler" if self.config.is_upsampler else "prior"

    @property
    def description(self) -> str:
        """What it is, in a few words."""
        if isinstance(self.config, VQVAEConfig):
            hops = enumerate_words(self.config.hop_lengths)
            return f"VQ-VAE, {self.config.num_levels} levels, hops {hops}"
        return f"{self.kind} of level {self.config.level}"

    @property
    def piece_lengths(self) -> str | None:
        """How long pieces may be, of a prior that is told: shorter ones as part of longer ones."""
        config = self.config
        if isinstance(config, VQVAEConfig) or not config.has_timing:
            return None
        shortest, longest = config.min_total_seconds, config.max_total_seconds
        start = f"; under {shortest:.4g} s as the start of one that long" if shortest > 0 else ""
        return f"up to {longest:.4g} s{start}"


@dataclass(frozen=True)
class SystemFacts:
    """A model.

    Attributes:
        source: folder or repository as it was asked for.
        name: what its manifest calls it.
        commit: of the repository.
        licence: SPDX identifier or "openai-noncommercial"; inherited through references.
        components: by name, the VQ-VAE first, then the priors from the finest.
        generation: sampling defaults.
        notes: what could not be found out.
        model_notes: what the manifest says that the model makes of artist, genre and lyrics.
    """

    source: str
    name: str | None
    commit: str | None
    licence: str | None
    components: dict[str, ComponentFacts]
    generation: dict[str, Any]
    notes: tuple[str, ...] = ()
    model_notes: dict[str, str] = field(default_factory=dict)

    @property
    def is_noncommercial(self) -> bool:
        """Whether it derives from the weights that OpenAI released."""
        return self.licence == OPENAI_LICENCE

    @property
    def top(self) -> ComponentFacts | None:
        """The prior that everything starts from, if the model has one."""
        priors = [each for each in self.components.values() if each.kind == "prior"]
        return priors[-1] if priors else None

    @property
    def codec(self) -> VQVAEConfig | None:
        """The config of its VQ-VAE, if it has one."""
        config = self.components[VQVAE].config if VQVAE in self.components else None
        return config if isinstance(config, VQVAEConfig) else None

    @property
    def priors(self) -> list[PriorConfig]:
        """The configs of its priors, the finest level first."""
        configs = [part.config for part in self.components.values()]
        return [config for config in configs if isinstance(config, PriorConfig)]

    @property
    def shapes(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """The shapes of all tensors of components, as far as headers told them; not of adapted
        priors, which may have more rows.
        """
        return {
            name: {tensor: header.shape for tensor, header in part.weights.headers.items()}
            for name, part in self.components.items()
            if part.weights is not None and part.adapter is None
        }


def gather_facts(system: System) -> SystemFacts:
    """Everything about a model that its small files and headers tell.

    Raises:
        ValueError: if it is damaged, or its parts do not belong together.
        OSError: if a part cannot be reached.
    """
    notes = list(system.notes)
    components = {}
    for name in system.manifest.components:
        components[name] = describe_component(system, name, notes)
    location = system.location
    return SystemFacts(
        source=system.source,
        name=system.manifest.name,
        commit=location.revision,
        licence=system.licence,
        components=components,
        generation=system.manifest.generation,
        notes=tuple(notes),
        model_notes=system.manifest.notes,
    )


def describe_component(system: System, name: str, notes: list[str]) -> ComponentFacts:
    """One component of a model; what could not be found out is added to `notes`."""
    location, _ = system.place(name)
    folder = system.settings_path(name)
    stored: VQVAEConfig | PriorConfig
    config: VQVAEConfig | PriorConfig
    labels = adapter = None
    if name == VQVAE:
        stored = config = system.vqvae_config()
    else:
        stored = read_config(folder, PriorConfig)
    weights = system.stored_weights(name)
    if weights is None:
        notes.append(f"{name}: its weights are not in the cache and the Hub could not be asked")
    training = _training(folder, notes)
    if name != VQVAE:
        level = prior_level(name)
        config = system.prior_config(level)
        labels = _system_labels(system, level, notes)
        place = system.adapter_place(name)
        if place is not None:
            assert isinstance(stored, PriorConfig)
            adapter = describe_adapter(*place, base=stored)
            training = _training(place[0].folder(place[1], SETTINGS_FILES), notes) or training
    is_elsewhere = isinstance(location, HubRepository) and location != system.location
    return ComponentFacts(
        name=name,
        config=config,
        repo_id=location.repo_id if is_elsewhere and isinstance(location, HubRepository) else None,
        revision=location.revision if is_elsewhere else None,
        weights=weights,
        labels=labels,
        training=training,
        adapter=adapter,
    )


def describe_adapter(
    location: Location, subfolder: str | None, *, base: PriorConfig | None = None
) -> AdapterFacts:
    """An adapter, from its config and headers."""
    folder = location.folder(subfolder, SETTINGS_FILES)
    path = folder / "adapter_config.json"
    if not path.is_file():
        raise ValueError(f"{location}: expected an adapter, found no adapter_config.json")
    content = read_json(path)
    rank, alpha = content.get("r"), content.get("lora_alpha")
    model = content.get("base_model_name_or_path")
    config = base
    if (folder / "config.json").is_file():  # peft's own has none
        config = read_config(folder, PriorConfig)
    return AdapterFacts(
        rank=rank if isinstance(rank, int) else None,
        alpha=alpha if isinstance(alpha, (int, float)) else None,
        base_model=model if isinstance(model, str) and 0 < len(model) <= 200 else None,
        weights=stored_weights(location, subfolder, is_adapter=True),
        new_artists=None
        if base is None or config is None
        else config.artist_count - base.artist_count,
        new_genres=None
        if base is None or config is None
        else config.genre_count - base.genre_count,
    )


def _system_labels(system: System, level: int, notes: list[str]) -> LabelFacts | None:
    try:
        return label_facts(system.processor(level))
    except FileNotFoundError:
        notes.append(f"prior_{level}: has no names of artists and genres")
        return None


def label_facts(processor: PriorProcessor) -> LabelFacts | None:
    """What a processor knows; `None` if it knows neither names nor lyrics."""
    if not processor.has_labels and not processor.reads_lyrics:
        return None
    genres = [name for name in processor.genres if name != "unknown"]
    return LabelFacts(
        artists=len([name for name in processor.artists if name != "unknown"]),
        genres=len(genres),
        dialect=processor.dialect,
        genre_names=tuple(sorted(genres, key=lambda name: processor.genres[name])[:LISTED_NAMES]),
        lyric_length=processor.lyric_length if processor.reads_lyrics else 0,
    )


def _training(folder: Path, notes: list[str]) -> TrainingFacts | None:
    try:
        return load_training_facts(folder)
    except ValueError as error:
        notes.append(str(error))
        return None
