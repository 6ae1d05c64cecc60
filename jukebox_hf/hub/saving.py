"""Models in memory to one folder on disk, in the layout that `System.open` reads."""

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jukebox_hf.hub.architecture import check_levels
from jukebox_hf.hub.conversion.converting import default_generation
from jukebox_hf.hub.folders import new_folder
from jukebox_hf.hub.manifest import VQVAE, ComponentReference, Manifest, prior_name, save_manifest
from jukebox_hf.labels import JukeboxProcessor
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.vqvae.modeling_vqvae import JukeboxVQVAE


def save_system(
    folder: str | os.PathLike[str],
    *,
    vqvae: JukeboxVQVAE | None = None,
    priors: Mapping[int, JukeboxPrior] | None = None,
    processors: Mapping[int, JukeboxProcessor] | None = None,
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
    components = _components(vqvae, priors, references)
    _check(vqvae, priors, processors)
    configs = [prior.config for prior in priors.values()]
    manifest = Manifest(
        components,
        generation=dict(default_generation(configs) if generation is None else generation),
        licence=licence,
        name=name,
    )
    with new_folder(Path(folder), overwrite=overwrite) as temporary:
        if vqvae is not None:
            vqvae.save_pretrained(temporary / VQVAE, max_shard_size=max_shard_size)
        for level, prior in priors.items():
            place = temporary / prior_name(level)
            prior.save_pretrained(place, max_shard_size=max_shard_size)
            if vqvae is not None and prior.config.codebook_fingerprint is None:
                config = copy.deepcopy(prior.config)
                config.codebook_fingerprint = vqvae.fingerprint()
                config.save_pretrained(place)
            if level in processors:
                processors[level].save_pretrained(place)
        save_manifest(temporary, manifest)
    return Path(folder)


def _components(
    vqvae: JukeboxVQVAE | None,
    priors: Mapping[int, JukeboxPrior],
    references: Mapping[str, ComponentReference],
) -> dict[str, ComponentReference]:
    saved = ([VQVAE] if vqvae is not None else []) + [prior_name(level) for level in priors]
    doubled = sorted(set(saved) & set(references))
    if doubled:
        raise ValueError(f"{', '.join(doubled)} is given as a model and as a reference; give one")
    components = {name: ComponentReference(subfolder=name) for name in saved} | dict(references)
    if not components:
        raise ValueError("expected at least one component to save, got none")
    return components


def _check(
    vqvae: JukeboxVQVAE | None,
    priors: Mapping[int, JukeboxPrior],
    processors: Mapping[int, JukeboxProcessor],
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
