"""Models to one folder on disk, in the layout that `System.open` reads.

`write_system` and `fill_system` write every such folder, from functions that fill the folder of one
component each; `save_system` does so for models in memory.
"""

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from jukebox_hf.hub.architecture import check_levels
from jukebox_hf.hub.folders import new_model_folder
from jukebox_hf.hub.manifest import (
    VQVAE,
    AdapterReference,
    ComponentReference,
    Manifest,
    in_order,
    prior_name,
    save_manifest,
)
from jukebox_hf.labels import PriorProcessor
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.sampling_settings import (
    DEFAULT_HOP_FRACTION,
    DEFAULT_TEMPERATURE,
    DEFAULT_UPPER_HOP_FRACTION,
)
from jukebox_hf.vqvae.vqvae_config import VQVAEConfig

if TYPE_CHECKING:
    from jukebox_hf.prior.modeling_prior import JukeboxPrior
    from jukebox_hf.vqvae.modeling_vqvae import JukeboxVQVAE

Reference = TypeVar("Reference", bound=ComponentReference)
Fill = Callable[[Path], object]  # writes files into a folder that exists
USUAL_SECONDS, USUAL_TOTAL_SECONDS = 20.0, 180.0


def write_system(
    folder: str | os.PathLike[str],
    components: Mapping[str, ComponentReference | Fill],
    *,
    adapters: Mapping[str, AdapterReference | Fill] | None = None,
    beside: Fill | None = None,
    overwrite: bool = False,
    **manifest: Any,
) -> Path:
    """A new folder with a model, which appears complete or not at all; returns it.

    Arguments are those of `fill_system`. Raises `FileExistsError` if the folder exists.
    """
    with new_model_folder(Path(folder), overwrite=overwrite) as temporary:
        fill_system(temporary, components, adapters=adapters, beside=beside, **manifest)
    return Path(folder)


def fill_system(
    folder: Path,
    components: Mapping[str, ComponentReference | Fill],
    *,
    adapters: Mapping[str, AdapterReference | Fill] | None = None,
    beside: Fill | None = None,
    **manifest: Any,
) -> None:
    """Write components, what stands beside them, and the manifest into a folder that exists.

    Args:
        folder: to be filled.
        components: by name ("vqvae", "prior_0", ...): where one is, or what fills its folder here.
        adapters: the same by the name of the prior that each is for.
        beside: writes other files of the model.
        manifest: the other fields of `Manifest`.
    """
    references = {}
    for name, part in in_order(components).items():
        references[name] = _placed(folder / name, part, ComponentReference(subfolder=name))
    placed = []
    for name, part in (adapters or {}).items():
        own = AdapterReference(subfolder=f"adapter_{name}", component=name)
        placed.append(_placed(folder / f"adapter_{name}", part, own))
    save_manifest(folder, Manifest(references, adapters=placed, **manifest))
    if beside is not None:
        beside(folder)


def _placed(folder: Path, part: Reference | Fill, own: Reference) -> Reference:
    """Where a part is, after its folder was filled if it is here."""
    if isinstance(part, ComponentReference):
        return part
    folder.mkdir()
    part(folder)
    return own


def default_generation(
    configs: Sequence[VQVAEConfig | PriorConfig],
) -> dict[str, Any]:
    """Sampling defaults as in the original's script, within the lengths that the priors allow."""
    priors = [config for config in configs if isinstance(config, PriorConfig)]
    if not priors:
        return {}
    levels = sorted(config.level for config in priors)
    top = max(priors, key=lambda config: config.level)
    total = USUAL_TOTAL_SECONDS
    if top.has_timing:
        # The maximum itself is excluded.
        total = max(min(total, 0.9 * top.max_total_seconds), top.min_total_seconds)
    return {
        "temperature": {str(level): DEFAULT_TEMPERATURE for level in levels},
        "hop_fraction": {
            str(level): DEFAULT_HOP_FRACTION
            if level < top.level or top.is_upsampler
            else DEFAULT_UPPER_HOP_FRACTION
            for level in levels
        },
        "seconds": min(USUAL_SECONDS, total),
        "total_seconds": total,
    }


def save_system(
    folder: str | os.PathLike[str],
    *,
    vqvae: "JukeboxVQVAE | None" = None,
    priors: "Mapping[int, JukeboxPrior] | None" = None,
    processors: Mapping[int, PriorProcessor] | None = None,
    references: Mapping[str, ComponentReference] | None = None,
    generation: Mapping[str, Any] | None = None,
    licence: str | None = None,
    name: str | None = None,
    overwrite: bool = False,
    max_shard_size: str = "5GB",
) -> Path:
    """Save a whole model, or a part of one that refers to others, as one folder.

    The folder appears complete or not at all. Priors whose config names no codebooks get the
    fingerprint of `vqvae` in what is saved; the models passed in stay as they are.

    Args:
        folder: to be made.
        vqvae, priors: models in memory; priors and processors by level.
        processors: of these priors.
        references: components that live elsewhere, by name ("vqvae", "prior_0", ...).
        generation: sampling defaults, see `Manifest`; default: those of the original's script.
        licence: SPDX identifier, or "openai-noncommercial".
        name: what to call the model.
        overwrite: replace an existing model folder.
        max_shard_size: largest file of weights.

    Raises:
        ValueError: if the parts do not belong together.
        FileExistsError: if the folder exists.
    """
    priors, processors, references = priors or {}, processors or {}, references or {}
    components: dict[str, ComponentReference | Fill] = {
        prior_name(level): partial(_save_prior, prior, processors.get(level), vqvae, max_shard_size)
        for level, prior in priors.items()
    }
    if vqvae is not None:
        components[VQVAE] = partial(vqvae.save_pretrained, max_shard_size=max_shard_size)
    doubled = sorted(components.keys() & references.keys())
    if doubled:
        raise ValueError(f"{', '.join(doubled)} is given as a model and as a reference; give one")
    if not components and not references:
        raise ValueError("expected at least one component to save, got none")
    _check(vqvae, priors, processors)
    if generation is None:
        generation = default_generation([prior.config for prior in priors.values()])
    return write_system(
        folder,
        {**components, **references},
        overwrite=overwrite,
        generation=dict(generation),
        licence=licence,
        name=name,
    )


def _save_prior(
    prior: "JukeboxPrior",
    processor: PriorProcessor | None,
    vqvae: "JukeboxVQVAE | None",
    max_shard_size: str,
    folder: Path,
) -> None:
    prior.save_pretrained(folder, max_shard_size=max_shard_size)
    if vqvae is not None and prior.config.codebook_fingerprint is None:
        config = copy.deepcopy(prior.config)
        config.codebook_fingerprint = vqvae.fingerprint()
        config.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)


def _check(
    vqvae: "JukeboxVQVAE | None",
    priors: "Mapping[int, JukeboxPrior]",
    processors: Mapping[int, PriorProcessor],
) -> None:
    for level, prior in priors.items():
        if prior.config.level != level:
            raise ValueError(f"prior_{level} is a prior of level {prior.config.level}")
        if vqvae is not None:
            config = copy.deepcopy(vqvae.config)
            config.codebook_fingerprint = vqvae.fingerprint()
            check_levels(prior.config, config, prior_name(level))
        if level in processors:
            processors[level].check(prior.config)
    unused = sorted(set(processors) - set(priors))
    if unused:
        raise ValueError(f"processors are given for levels {unused}, which have no prior here")
