"""Checkpoints of the two older layouts to ours: the 2020 release's files, and the former port's.

Sources are opened, renamed and checked in full before anything is written; then every tensor passes
through memory alone. What each file is, its tensors tell.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from jukebox_hf.hub.conversion.component_writing import (
    DTYPE_CHOICES,
    KEEP,
    ConvertedComponent,
    plan_tensors,
    stored_fingerprint,
    write_component,
)
from jukebox_hf.hub.conversion.former_port import fetch_port, is_port, open_transformers
from jukebox_hf.hub.conversion.label_lists import make_processors, read_characters, read_names
from jukebox_hf.hub.conversion.openai import ENDINGS, find_files, open_openai
from jukebox_hf.hub.conversion.recognising import (
    Component,
    RecognisedComponent,
    is_released,
    prior_config,
    vqvae_config,
)
from jukebox_hf.hub.conversion.safetensors_writing import SHARD_BYTES
from jukebox_hf.hub.folders import check_free_space, check_new_folder
from jukebox_hf.hub.manifest import (
    OPENAI_LICENCE,
    VQVAE,
    ComponentReference,
    in_order,
    prior_name,
)
from jukebox_hf.hub.saving import Fill, default_generation, write_system
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.vqvae.vqvae_config import VQVAEConfig

Config = VQVAEConfig | PriorConfig

RELEASED_NOTE = (
    "the weights have the shapes of those that OpenAI released, or come with its label lists: they "
    "are taken to be under its Noncommercial Use License, which also covers music made with them "
    "(edit `licence` in jukebox.json if they are your own)"
)

# What a folder under that licence says of itself, until a full card takes its place.
NOTICE = """\
---
library_name: jukebox_hf
pipeline_tag: text-to-audio
license: other
license_name: openai-noncommercial
license_link: https://github.com/openai/jukebox/blob/master/LICENSE
---

# Converted Jukebox model

Converted by `jukebox convert`. Weights, label lists, or both are OpenAI's, under its Noncommercial
Use License: no commercial use of them, nor of music made with them.
"""


class Conversion(NamedTuple):
    """What `convert` wrote.

    Attributes:
        output: the folder of the converted model.
        components: by name, "vqvae" or "prior_N".
        licence: as in the manifest.
        notes: what the user should know, one sentence each.
    """

    output: Path
    components: dict[str, ConvertedComponent]
    licence: str | None
    notes: tuple[str, ...]


def convert(
    sources: Sequence[Path | str],
    output: Path | str,
    *,
    ids_dir: Path | str | None = None,
    dtype: str = KEEP,
    presets: Mapping[str, str] | None = None,
    vqvae: VQVAEConfig | None = None,
    vqvae_reference: ComponentReference | None = None,
    overwrite: bool = False,
    shard_bytes: int = SHARD_BYTES,
    progress: Callable[[int, int], None] | None = None,
) -> Conversion:
    """Convert checkpoints into one model folder, which appears complete or not at all.

    Memory needed beside the libraries is that of a few tensors, not of a model.

    Args:
        sources: `.pth.tar` files of the release, folders that hold them, or a folder or repository
            on the Hub in the former port's layout.
        output: folder to be made.
        ids_dir: folder with the release's `v2_artist_ids.txt` and so on. A port's folder brings
            its own lists.
        dtype: of the linear weights: "float32", "float16", "bfloat16", or "keep" for what each
            source has. All else is float32, as the models compute with it.
        presets: name of a preset by file, for files that do not say what they are.
        vqvae: config of the VQ-VAE that goes with the priors, if it is not among the sources.
        vqvae_reference: where that VQ-VAE is on the Hub, for the manifest.
        overwrite: replace an existing model folder.
        shard_bytes: largest file of weights.
        progress: called with the bytes written so far, and those in all.

    Raises:
        ValueError: for sources that are damaged, incomplete, not models, or do not go together.
        FileNotFoundError: if a source does not exist.
        FileExistsError: if the output does.
        OSError: if the disk has too little room, or the Hub refuses.
    """
    if dtype not in DTYPE_CHOICES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPE_CHOICES)}, got {dtype!r}")
    output = Path(output)
    check_new_folder(output, overwrite=overwrite)
    paths = [fetch_port(source) for source in sources]
    components = [component for path in paths for component in _open(path)]
    names = read_names(paths, Path(ids_dir) if ids_dir is not None else None)
    plans = _plan(components, vqvae, presets or {})
    notes: list[str] = []
    processors = make_processors(plans, names, read_characters(paths, notes), notes)
    licence = None
    if any(map(is_released, components)) or any(each.is_released for each in names.values()):
        licence = OPENAI_LICENCE
        notes.append(RELEASED_NOTE)
    tensors = {
        name: plan_tensors(component, config, dtype=dtype)
        for name, (component, config) in plans.items()
    }
    total = sum(tensor.num_bytes for each in tensors.values() for tensor in each.values())
    check_free_space(output, total)
    report = _Progress(progress, total)
    converted: dict[str, ConvertedComponent] = {}

    def fill(name: str, folder: Path) -> None:
        component, config = plans[name]
        converted[name] = write_component(
            folder,
            config,
            tensors[name],
            source=component.source,
            shard_bytes=shard_bytes,
            progress=report,
        )
        if name in processors:
            processors[name].save_pretrained(folder)

    parts: dict[str, ComponentReference | Fill] = {name: partial(fill, name) for name in plans}
    if VQVAE not in parts and vqvae_reference is not None:
        parts[VQVAE] = vqvae_reference
    write_system(
        output,
        parts,
        beside=_write_notice if licence == OPENAI_LICENCE else None,
        overwrite=overwrite,
        generation=default_generation([plan.config for plan in plans.values()]),
        licence=licence,
    )
    return Conversion(output, converted, licence, tuple(notes))


class _Progress:
    """Adds up what is written and tells the caller."""

    def __init__(self, tell: Callable[[int, int], None] | None, total: int) -> None:
        self.tell, self.total, self.done = tell, total, 0

    def __call__(self, num_bytes: int) -> None:
        self.done += num_bytes
        if self.tell is not None:
            self.tell(self.done, self.total)


def _open(path: Path) -> list[Component]:
    """The components that one source holds."""
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    if not path.is_dir():
        return [open_openai(path)]
    if is_port(path):
        return open_transformers(path)
    files = find_files(path)
    if not files:
        endings = ", ".join(f"*{ending}" for ending in ENDINGS)
        raise ValueError(
            f"{path}: expected checkpoints ({endings}) or a repository of the former transformers "
            "port, found neither"
        )
    return [open_openai(file) for file in files]


def _plan(
    components: Sequence[Component],
    vqvae: VQVAEConfig | None,
    presets: Mapping[str, str],
) -> dict[str, RecognisedComponent]:
    """Name every component and find its config: the VQ-VAE first, then priors from the finest."""
    if not components:
        raise ValueError("expected at least one file or folder to convert, got none")
    presets = dict(presets)
    plans: dict[str, RecognisedComponent] = {}
    for component in sorted(components, key=lambda each: each.kind != VQVAE):
        preset = presets.pop(component.source, None) or presets.pop(
            Path(component.source).name, None
        )
        config: Config
        if component.kind == VQVAE:
            name, config = VQVAE, vqvae_config(component, preset)
            config.codebook_fingerprint = stored_fingerprint(component, config)
            vqvae = config
        else:
            config = prior_config(component, vqvae, preset)
            name = prior_name(config.level)
        if name in plans:
            raise ValueError(
                f"both {plans[name].component.source} and {component.source} hold {name}; give one"
            )
        plans[name] = RecognisedComponent(component, config)
    if presets:
        raise ValueError(
            f"a preset is given for {', '.join(presets)}, which is not among the sources"
        )
    return in_order(plans)


def _write_notice(folder: Path) -> None:
    (folder / "README.md").write_text(NOTICE, encoding="utf-8")
