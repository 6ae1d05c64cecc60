"""What the shapes of tensors say about a model, and whether its config says the same.

Tensors go by our names throughout. Shapes are known from the headers of files: nothing here reads
or allocates weights, so a config can be judged before anything is built from it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import psutil

from jukebox_hf.prior.presets import PRIOR_PRESETS
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.vqvae.vqvae_config import PRESETS as VQVAE_PRESETS
from jukebox_hf.vqvae.vqvae_config import VQVAEConfig

if TYPE_CHECKING:
    from jukebox_hf.prior.network import PriorNetwork
    from jukebox_hf.vqvae.network import VQVAENetwork

Config = VQVAEConfig | PriorConfig
Shapes = Mapping[str, tuple[int, ...]]

# Far above every model there is, far below what would fill a memory while a config is checked.
MAX_NUMBER = 2**40
MAX_REPEATS = 4096
MAX_DILATION = 2**20
REPEATS = re.compile(r"(.*_)?(depth|downsamplings|level)|strides|widths|depths")
LISTED = 12  # names that a message shows before it counts the rest


def measure_vqvae(shapes: Shapes, source: str) -> dict[str, Any]:
    """Fields of a VQ-VAE's config as far as the tensors show them.

    Raises:
        ValueError: if a tensor that must be there is not; the message begins with `source`.
    """
    num_levels = _count(shapes, r"levels\.(\d+)\.decoder\.output\.weight")
    top = f"levels.{num_levels - 1}.encoder.blocks"
    widths, depths, downsamplings, strides = [], [], [], []
    for level in range(num_levels):
        stages = rf"{re.escape(top)}\.{level}\.stages\.(\d+)\.downsample\.weight"
        downsamplings.append(_count(shapes, stages))
        first = f"levels.{level}.encoder.blocks.0.stages.0"
        width, _, _ = _shape(shapes, f"{first}.downsample.weight", 3, source)
        widths.append(width)
        blocks = rf"{re.escape(first)}\.residual\.blocks\.(\d+)\.dilated\.weight"
        depths.append(_count(shapes, blocks))
        sampler = f"{top}.{level}.stages.0.downsample.weight"
        strides.append(_shape(shapes, sampler, 3, source)[2] // 2)  # kernels span two strides
    measured = {
        "num_levels": num_levels,
        "downsamplings": tuple(downsamplings),
        "strides": tuple(strides),
        "widths": tuple(widths),
        "depths": tuple(depths),
        "codebook_dim": _shape(shapes, "levels.0.decoder.output.weight", 3, source)[1],
        "use_codebook": "levels.0.codebook.vectors" in shapes,
    }
    if measured["use_codebook"]:
        measured["codebook_size"] = _rows(shapes, "levels.0.codebook.vectors")
    return measured


def measure_prior(shapes: Shapes, source: str) -> dict[str, Any]:
    """The same for a prior; some are properties of its config."""
    vocabulary_size, _ = _shape(shapes, "decoder.embedding.weight", 2, source)
    measured: dict[str, Any] = {"vocabulary_size": vocabulary_size}
    transformer = _measure_transformer(shapes, "decoder", source)
    measured["sequence_length"] = transformer.pop("length")
    measured |= transformer
    measured["artist_count"] = _rows(shapes, "label_embedding.artist.weight")
    measured["genre_count"] = _rows(shapes, "label_embedding.genre.weight")
    measured["timing_bins"] = _rows(shapes, "timing_embedding.total.weight")
    measured["upper_downsamplings"] = _count(
        shapes, r"upper_conditioner\.upsampler\.stages\.(\d+)\.upsample\.weight"
    )
    if measured["upper_downsamplings"]:
        stage = "upper_conditioner.upsampler.stages.0"
        measured["codebook_size"] = _rows(shapes, "upper_conditioner.embedding.weight")
        measured["upper_stride"] = _shape(shapes, f"{stage}.upsample.weight", 3, source)[2] // 2
        width = _shape(shapes, "upper_conditioner.upsampler.input.weight", 3, source)[0]
        measured["conditioner_width"] = width
        measured["conditioner_depth"] = _count(
            shapes, rf"{re.escape(stage)}\.residual\.blocks\.(\d+)\.dilated\.weight"
        )
    if any(name.startswith("lyric_encoder.") for name in shapes):
        encoder = _measure_transformer(shapes, "lyric_encoder.transformer", source)
        measured["lyrics"] = "encoder"
        measured["lyric_length"] = encoder.pop("length")
        measured["lyric_vocab_size"] = _rows(shapes, "lyric_encoder.transformer.embedding.weight")
        measured |= {f"lyric_encoder_{name}": value for name, value in encoder.items()}
    return measured


def _measure_transformer(shapes: Shapes, prefix: str, source: str) -> dict[str, int]:
    length, width = _shape(shapes, f"{prefix}.positions.weight", 2, source)
    return {
        "length": length,
        "width": width,
        "depth": _count(shapes, rf"{re.escape(prefix)}\.layers\.(\d+)\.attention\.output\.weight"),
        "attention_width": _shape(shapes, f"{prefix}.layers.0.attention.output.weight", 2, source)[
            1
        ],
        "mlp_width": _shape(shapes, f"{prefix}.layers.0.mlp.expand.weight", 2, source)[0],
    }


def _count(shapes: Shapes, pattern: str) -> int:
    """How many different numbers stand in the group of `pattern`."""
    matches = (re.fullmatch(pattern, name) for name in shapes)
    return len({match.group(1) for match in matches if match})


def _rows(shapes: Shapes, name: str) -> int:
    return shapes[name][0] if shapes.get(name) else 0


def _shape(shapes: Shapes, name: str, axes: int, source: str) -> tuple[int, ...]:
    shape = shapes.get(name)
    if shape is None:
        raise ValueError(f"{source}: tensors are missing, among them {name}")
    if len(shape) != axes:
        raise ValueError(f"{source}: expected {axes} axes in {name}, found shape {list(shape)}")
    return shape


def check_measures(config: Config, measured: Mapping[str, Any], source: str) -> None:
    """Raise `ValueError` if the tensors contradict the config, naming each field that differs."""
    differing = [
        f"{name} {_plain(getattr(config, name))} (tensors: {_plain(found)})"
        for name, found in measured.items()
        if getattr(config, name) != found
    ]
    if differing:
        raise ValueError(f"{source}: its settings contradict its tensors: {', '.join(differing)}")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def check_levels(config: PriorConfig, vqvae: VQVAEConfig, source: str) -> None:
    """Raise `ValueError` unless a prior was made for the codes of a VQ-VAE.

    Compares configs alone: the fingerprint of the codebooks stands in both.
    """
    if config.level >= vqvae.num_levels:
        raise ValueError(
            f"{source}: is a prior of level {config.level}, but the VQ-VAE has levels 0 to "
            f"{vqvae.num_levels - 1}"
        )
    pairs: dict[str, tuple[Any, Any]] = {
        "codebook_size": (config.codebook_size, vqvae.codebook_size),
        "hop_length": (config.hop_length, vqvae.hop_lengths[config.level]),
        "sampling_rate": (config.sampling_rate, vqvae.sampling_rate),
    }
    if config.is_upsampler and config.level + 1 < vqvae.num_levels:
        ratio = vqvae.hop_lengths[config.level + 1] // vqvae.hop_lengths[config.level]
        pairs["upper_ratio"] = (config.upper_ratio, ratio)
    elif config.is_upsampler:
        raise ValueError(f"{source}: takes codes of level {config.level + 1}, which does not exist")
    for name, (found, expected) in pairs.items():
        if found != expected:
            raise ValueError(
                f"{source}: was made for codes with {name} {found}, the VQ-VAE has {expected}"
            )
    fingerprints = (config.codebook_fingerprint, vqvae.codebook_fingerprint)
    if None not in fingerprints and fingerprints[0] != fingerprints[1]:
        raise ValueError(
            f"{source}: was trained on the codes of another VQ-VAE (codebooks "
            f"{_short(fingerprints[0])}, here {_short(fingerprints[1])}), which mean something else"
        )


def _short(fingerprint: str | None) -> str:
    return (fingerprint or "")[: len("sha256:") + 12]


def recognise_vqvae(measured: Mapping[str, Any]) -> str | None:
    """The name of the preset that has exactly these measures, if any."""
    for name in VQVAE_PRESETS:
        if _agrees(VQVAEConfig.preset(name), measured):
            return name
    return None


def recognise_prior(measured: Mapping[str, Any]) -> dict[str, PriorConfig]:
    """The presets that have exactly these measures, by name.

    The released upsamplers have the same shapes and differ in level and in one scale, so there
    may be two: the caller must know the level.
    """
    presets = {name: PriorConfig.preset(name) for name in PRIOR_PRESETS}
    return {name: config for name, config in presets.items() if _agrees(config, measured)}


def _agrees(config: Config, measured: Mapping[str, Any]) -> bool:
    return all(getattr(config, name) == found for name, found in measured.items())


def hollow_model(config: Config) -> VQVAENetwork | PriorNetwork:
    """A model of that config without memory (on the meta device). Whoever changes it copies it:
    the next one who asks for this config gets the same.
    """
    kind: Any = config.plain_kind()
    return _hollow_model(kind, json.dumps(config.plain_fields()))


@lru_cache(maxsize=8)
def _hollow_model(kind: type[Any], text: str) -> VQVAENetwork | PriorNetwork:
    from jukebox_hf.layers import hollow
    from jukebox_hf.prior.network import PriorNetwork
    from jukebox_hf.vqvae.network import VQVAENetwork

    config: Config = kind(**json.loads(text))  # as it is now: it can be changed
    with hollow():
        return VQVAENetwork(config) if isinstance(config, VQVAEConfig) else PriorNetwork(config)


def expected_shapes(config: Config) -> dict[str, tuple[int, ...]]:
    """Names and shapes of everything that a saved model of this config holds.

    Builds the model without memory. Call `check_measures` first: the time that this takes grows
    with the depth that the config claims.
    """
    model = hollow_model(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name in model.tied_weights:
        shapes.pop(name, None)  # stored once, under the other name
    return shapes


def check_memory(config: Config, source: str) -> None:
    """Raise `ValueError` for a model whose weights alone this machine could not hold."""
    try:
        needed = sum(tensor.nbytes for tensor in hollow_model(config).state_dict().values())
    except (RuntimeError, OverflowError) as error:  # sizes beyond what torch can count
        raise ValueError(f"{source}: describes a model larger than any memory") from error
    memory = psutil.virtual_memory().total
    if needed > memory:
        raise ValueError(
            f"{source}: describes a model whose weights alone take {needed / 1e9:,.0f} GB; this "
            f"machine has {memory / 1e9:,.0f} GB of memory"
        )


def check_shapes(expected: Shapes, found: Shapes, source: str) -> None:
    """Raise `ValueError` unless names and shapes are the same, listing those that differ."""
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    differing = [
        f"{name} {list(found[name])} (expected {list(expected[name])})"
        for name in expected
        if name in found and found[name] != expected[name]
    ]
    problems = [
        f"{problem} {list_names(names)}"
        for problem, names in (
            ("missing", missing),
            ("not expected", unexpected),
            ("of another shape", differing),
        )
        if names
    ]
    if problems:
        raise ValueError(f"{source}: its tensors do not fit its settings; {'; '.join(problems)}")


def check_dilations(config: Config, source: str) -> None:
    """Raise `ValueError` for dilations of which the padding alone would fill a memory."""
    if isinstance(config, VQVAEConfig):
        prefix, depth = "", max(config.depths)
    elif config.is_upsampler:
        prefix, depth = "conditioner_", config.conditioner_depth
    else:
        return
    growth = getattr(config, f"{prefix}dilation_growth")
    steps = min(depth, getattr(config, f"{prefix}dilation_cycle") or depth) - 1
    if growth > 1 and steps * math.log(growth) > math.log(MAX_DILATION):
        raise ValueError(
            f"{source}: {prefix}dilation_growth {growth} makes dilations of up to "
            f"{growth}^{steps}, at most {MAX_DILATION} makes sense"
        )


def list_names(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    names = list(names)
    rest = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + rest


def check_numbers(fields: Mapping[str, Any], source: str) -> None:
    """Raise `ValueError` for numbers that no model has, before a config is made of them.

    Checking the depth of a config against its attention pattern takes time and memory in proportion
    to the depth; 10^12 layers would never end.
    """
    for name, value in fields.items():
        limit = MAX_REPEATS if REPEATS.fullmatch(name) else MAX_NUMBER
        values = value if isinstance(value, (list, tuple)) else [value]
        if len(values) > MAX_REPEATS:
            raise ValueError(f"{source}: {name} has {len(values)} entries, which no model has")
        for number in values:
            is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
            if is_number and not -limit <= number <= limit:
                raise ValueError(f"{source}: {name} is {number}, at most {limit} makes sense")
