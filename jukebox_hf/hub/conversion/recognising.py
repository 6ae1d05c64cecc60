"""Which config a converted model gets: from its own options, from a preset, or from its shapes.

Options of the original's files are trusted and checked against the tensors. Those of the port are
not, where the tensors are the ones of a released model: the port's published configs are wrong.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from jukebox_hf.hub.architecture import (
    check_levels,
    check_measures,
    check_numbers,
    check_shapes,
    expected_shapes,
    list_names,
    measure_prior,
    measure_vqvae,
    recognise_prior,
    recognise_vqvae,
)
from jukebox_hf.hub.conversion.tensor_names import PRIOR, TensorPlace
from jukebox_hf.hub.manifest import VQVAE
from jukebox_hf.hub.tensor_files import StoredTensor
from jukebox_hf.labels.vocabularies import Dialect
from jukebox_hf.prior.presets import PRIOR_PRESETS
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.vqvae.vqvae_config import PRESETS as VQVAE_PRESETS
from jukebox_hf.vqvae.vqvae_config import VQVAEConfig

RELEASED = ("5b", "5b_lyrics", "1b_lyrics", "upsampler_level_0", "upsampler_level_1")
# Genres that the release's lists know, by dialect.
GENRE_COUNTS: dict[int, Dialect] = {120: "v2", 604: "v3"}


class Component(NamedTuple):
    """A VQ-VAE or a prior in its old form. Names are ours already, orientation is the source's.

    Attributes:
        source: what to call it in messages.
        kind: "vqvae" or "prior".
        tensors: on disk, by our names.
        transposed: names of those that are (in, out) there.
        fields: of our config, as far as the source's options give them; empty if it has none.
        defaults: what fields are that the options do not give.
        missing: options without which a model that was never released cannot be understood.
        trusted: whether the fields hold even where the tensors are those of a released model.
        level: of a prior, if the source says; 0 is the finest.
        dialect: which label lists a prior speaks, if the source says.
    """

    source: str
    kind: str
    tensors: Mapping[str, StoredTensor]
    transposed: frozenset[str]
    fields: Mapping[str, Any] = {}
    defaults: Mapping[str, Any] = {}
    missing: tuple[str, ...] = ()
    trusted: bool = True
    level: int | None = None
    dialect: Dialect | None = None

    @property
    def is_upsampler(self) -> bool:
        """Whether codes of the level above condition this prior."""
        return any(name.startswith("upper_conditioner.") for name in self.tensors)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes as our layout has them."""
        return {
            name: tensor.shape[::-1] if name in self.transposed else tensor.shape
            for name, tensor in self.tensors.items()
        }


def rename_tensors(
    source: str, tensors: Mapping[str, StoredTensor], targets: Mapping[str, TensorPlace]
) -> Component:
    """Give the tensors of one model our names.

    Raises:
        ValueError: if some belong to no model, to both kinds, or two get the same name.
    """
    if not tensors:
        raise ValueError(f"{source}: expected the tensors of a VQ-VAE or a prior, found none")
    unknown = [name for name in tensors if name not in targets]
    if len(unknown) == len(tensors):
        raise ValueError(
            f"{source}: expected the tensors of a Jukebox VQ-VAE or prior, found "
            f"{list_names(unknown)}"
        )
    if unknown:
        raise ValueError(f"{source}: tensors left over: {list_names(unknown)}")
    kinds = {target.component for target in targets.values()}
    if len(kinds) > 1:
        raise ValueError(f"{source}: expected one model, found tensors of a VQ-VAE and of a prior")
    doubled = _doubled(target.name for target in targets.values())
    if doubled:
        raise ValueError(f"{source}: tensors occur twice: {list_names(doubled)}")
    (kind,) = kinds
    assert kind in (VQVAE, PRIOR)
    return Component(
        source,
        kind,
        {targets[name].name: tensor for name, tensor in tensors.items()},
        frozenset(target.name for target in targets.values() if target.transposed),
    )


def _doubled(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]


class RecognisedComponent(NamedTuple):
    """A component on disk and the config that it gets."""

    component: Component
    config: VQVAEConfig | PriorConfig


def is_released(component: Component) -> bool:
    """Whether the shapes are those of a model that OpenAI released.

    The weights then most likely are OpenAI's, or derive from them. Label tables do not count:
    fine-tuning changes them.
    """
    if component.kind == VQVAE:
        return recognise_vqvae(measure_vqvae(component.shapes, component.source)) == "vqvae"
    measured = measure_prior(component.shapes, component.source)
    for name in ("artist_count", "genre_count", "timing_bins"):
        measured.pop(name)
    return not set(RELEASED).isdisjoint(recognise_prior(measured))


def vqvae_config(component: Component, preset: str | None = None) -> VQVAEConfig:
    """The config of a VQ-VAE; its tensors are exactly those that it needs.

    Raises:
        ValueError: if options and tensors contradict each other, or nothing says what it is.
    """
    source = component.source
    measured = measure_vqvae(component.shapes, source)
    recognised = recognise_vqvae(measured)
    if preset is not None:
        _check_preset(preset, VQVAE, source)
        source = f"{source} (as {preset})"
        fields: Mapping[str, Any] = VQVAE_PRESETS[preset]
    elif recognised is not None:
        fields = {**VQVAE_PRESETS[recognised], **(component.fields if component.trusted else {})}
    elif component.fields:
        fields = {**component.defaults, **component.fields}
    else:
        raise ValueError(
            f"{source}: is a VQ-VAE without options (hps), and not a released one; say which it is "
            f"with --preset ({', '.join(VQVAE_PRESETS)})"
        )
    config: VQVAEConfig = _make(VQVAEConfig, fields, source)
    check_measures(config, measured, source)
    kept = {name: shape for name, shape in expected_shapes(config).items() if not _is_new(name)}
    check_shapes(kept, component.shapes, source)
    return config


def _is_new(name: str) -> bool:
    """Whether a tensor of our VQ-VAE has no counterpart in the older layouts."""
    return name.endswith((".codebook.sums", ".codebook.counts", ".codebook.initialized"))


def prior_config(
    component: Component, vqvae: VQVAEConfig | None, preset: str | None = None
) -> PriorConfig:
    """The config of a prior on the codes of `vqvae`; its tensors are exactly those that it needs.

    Without a VQ-VAE, the released one is assumed for the priors that were released on it.

    Raises:
        ValueError: if options, tensors and VQ-VAE contradict each other, or nothing says what it
            is.
    """
    source = component.source
    measured = measure_prior(component.shapes, source)
    if preset is not None:
        _check_preset(preset, PRIOR, source)
        source = f"{source} (as {preset})"
        fields = dict(PRIOR_PRESETS[preset])
    else:
        fields = _prior_fields(component, vqvae, measured)
    fields["codebook_fingerprint"] = vqvae.codebook_fingerprint if vqvae else None
    config: PriorConfig = _make(PriorConfig, fields, source)
    check_measures(config, measured, source)
    if vqvae is not None:
        check_levels(config, vqvae, source)
    expected = expected_shapes(config)
    found = component.shapes
    if config.tie_word_embeddings:
        found.pop("output.weight", None)
    check_shapes(expected, found, source)
    return config


def _prior_fields(
    component: Component, vqvae: VQVAEConfig | None, measured: Mapping[str, Any]
) -> dict[str, Any]:
    """Own options first, then what a released model of this shape has, then the usual."""
    recognised = recognise_prior(measured)
    released = [
        name
        for name in RELEASED
        if name in recognised and component.level in (None, recognised[name].level)
    ]
    if not component.fields:
        return dict(PRIOR_PRESETS[_choose(component, recognised)])
    if len(released) == 1:
        preset = PRIOR_PRESETS[released[0]]
        return {**preset, **(component.fields if component.trusted else {})}
    if component.missing:
        raise ValueError(
            f"{component.source}: its hps lack {', '.join(component.missing)}, and it is not a "
            "released model; say which it is with --preset"
        )
    own = {**component.defaults, **component.fields}
    return {**own, **_fields_from_codec(component, vqvae)}


def _choose(component: Component, recognised: Mapping[str, PriorConfig]) -> str:
    """The preset of a prior that says nothing of itself."""
    source = component.source
    if not recognised:
        raise ValueError(
            f"{source}: is a prior without options (hps), and its tensors are those of no known "
            f"model; say which it is with --preset ({', '.join(PRIOR_PRESETS)})"
        )
    fitting = [
        name
        for name, config in recognised.items()
        if component.level is None or config.level == component.level
    ]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        name, config = next(iter(recognised.items()))
        raise ValueError(
            f"{source}: expected a prior of level {component.level}, found the tensors of {name}, "
            f"which is one of level {config.level}"
        )
    raise ValueError(
        f"{source}: its tensors could be those of {' or '.join(fitting)}, and nothing in it says "
        f"which; keep its original name, or give --preset FILE=NAME"
    )


def _fields_from_codec(component: Component, vqvae: VQVAEConfig | None) -> dict[str, Any]:
    """What a prior's own options do not say: its level's place above the audio."""
    source, level = component.source, component.level
    if level is None:
        raise ValueError(f"{source}: nothing says which level it is for; give --preset FILE=NAME")
    if vqvae is None:
        raise ValueError(
            f"{source}: a prior alone does not say how much audio a code means; convert it with "
            "its VQ-VAE's file, or name a model that has it with --vqvae"
        )
    _check_level(component, vqvae)
    fields = {
        "level": level,
        "hop_length": vqvae.hop_lengths[level],
        "sampling_rate": vqvae.sampling_rate,
        "codebook_size": vqvae.codebook_size,
    }
    if component.is_upsampler:
        fields["upper_downsamplings"] = vqvae.downsamplings[level + 1]
        fields["upper_stride"] = vqvae.strides[level + 1]
    return fields


def _check_level(component: Component, vqvae: VQVAEConfig) -> None:
    source, level, top = component.source, component.level, vqvae.num_levels - 1
    assert level is not None
    if level > top:
        raise ValueError(
            f"{source}: is a prior of level {level}, but the VQ-VAE has levels 0 to {top}"
        )
    if component.is_upsampler != (level < top):
        found = "one that takes" if component.is_upsampler else "one that takes no"
        raise ValueError(
            f"{source}: expected a prior of level {level} of {top + 1}, found {found} codes of a "
            "level above"
        )


def _check_preset(preset: str, kind: str, source: str) -> None:
    known = VQVAE_PRESETS if kind == VQVAE else PRIOR_PRESETS
    if preset not in known:
        raise ValueError(
            f"{source}: holds a {'VQ-VAE' if kind == VQVAE else 'prior'}, and no such preset is "
            f"called {preset!r}; known: {', '.join(known)}"
        )


def _make(config_class: type[Any], fields: Mapping[str, Any], source: str) -> Any:
    """A config from fields that came out of a file."""
    check_numbers(fields, source)
    try:
        return config_class(**fields)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{source}: its settings make no sense: {error}") from error


def dialect_of(component: Component, config: PriorConfig) -> Dialect | None:
    """Which label lists a prior speaks; `None` if nothing says."""
    return component.dialect or GENRE_COUNTS.get(config.genre_count)
