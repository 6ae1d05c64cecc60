"""What every tensor of the two older checkpoint layouts is called in ours. Names only, no tensors.

Sources: the 2020 release (`.pth.tar` files) and the port that transformers held until 5.0. Both
store a transformer's linear weights as (in, out); ours are (out, in), hence `Target.transposed`.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import NamedTuple

from jukebox_hf.hub.manifest import VQVAE
from jukebox_hf.prior.sizes import LINEAR_LAYERS

PRIOR = "prior"

# Linear layers, by the end of their name in our layout.
# A rule is (name there, name here), without the last part (weight, bias, w or b).
# `#` is a number, kept as {0}, {1}, ...; `#+1`, `#*2`, `#*2+1` are numbers computed from the one
# kept; `@` is `model` or `blocks` (the release names residual stacks by whether they recompute).
Rules = tuple[tuple[str, str], ...]

OPENAI_VQVAE: Rules = (
    ("encoders.#.level_blocks.#.model.#.0", "levels.{0}.encoder.blocks.{1}.stages.{2}.downsample"),
    (
        "encoders.#.level_blocks.#.model.#.1.@.#.model.1",
        "levels.{0}.encoder.blocks.{1}.stages.{2}.residual.blocks.{3}.dilated",
    ),
    (
        "encoders.#.level_blocks.#.model.#.1.@.#.model.3",
        "levels.{0}.encoder.blocks.{1}.stages.{2}.residual.blocks.{3}.pointwise",
    ),
    ("encoders.#.level_blocks.#.model.#", "levels.{0}.encoder.blocks.{1}.output"),
    ("decoders.#.level_blocks.#.model.0", "levels.{0}.decoder.blocks.{1}.input"),
    (
        "decoders.#.level_blocks.#.model.#+1.0.@.#.model.1",
        "levels.{0}.decoder.blocks.{1}.stages.{2}.residual.blocks.{3}.dilated",
    ),
    (
        "decoders.#.level_blocks.#.model.#+1.0.@.#.model.3",
        "levels.{0}.decoder.blocks.{1}.stages.{2}.residual.blocks.{3}.pointwise",
    ),
    ("decoders.#.level_blocks.#.model.#+1.1", "levels.{0}.decoder.blocks.{1}.stages.{2}.upsample"),
    ("decoders.#.out", "levels.{0}.decoder.output"),
    ("bottleneck.level_blocks.#", "levels.{0}.codebook"),
)

OPENAI_PRIOR: Rules = (
    ("y_emb.bow_genre_emb.emb", "label_embedding.genre"),
    ("y_emb.artist_emb.emb", "label_embedding.artist"),
    ("y_emb.total_length_emb.emb", "timing_embedding.total"),
    ("y_emb.absolute_pos_emb.emb", "timing_embedding.absolute"),
    ("y_emb.relative_pos_emb.emb", "timing_embedding.relative"),
    ("conditioner_blocks.0.x_emb", "upper_conditioner.embedding"),
    ("conditioner_blocks.0.cond.model.0", "upper_conditioner.upsampler.input"),
    (
        "conditioner_blocks.0.cond.model.#+1.0.@.#.model.1",
        "upper_conditioner.upsampler.stages.{0}.residual.blocks.{1}.dilated",
    ),
    (
        "conditioner_blocks.0.cond.model.#+1.0.@.#.model.3",
        "upper_conditioner.upsampler.stages.{0}.residual.blocks.{1}.pointwise",
    ),
    ("conditioner_blocks.0.cond.model.#+1.1", "upper_conditioner.upsampler.stages.{0}.upsample"),
    ("conditioner_blocks.0.ln", "upper_conditioner.norm"),
    ("prime_state_proj", "lyric_encoder.projection"),
    ("prime_state_ln", "lyric_encoder.norm"),
    ("prime_x_out", "lyric_encoder.output"),
    ("prior.x_out", "output"),
)

TRANSFORMERS_VQVAE: Rules = (
    (
        "encoders.#.level_blocks.#.downsample_block.#*2",
        "levels.{0}.encoder.blocks.{1}.stages.{2}.downsample",
    ),
    (
        "encoders.#.level_blocks.#.downsample_block.#*2+1.resnet_block.#.conv1d_1",
        "levels.{0}.encoder.blocks.{1}.stages.{2}.residual.blocks.{3}.dilated",
    ),
    (
        "encoders.#.level_blocks.#.downsample_block.#*2+1.resnet_block.#.conv1d_2",
        "levels.{0}.encoder.blocks.{1}.stages.{2}.residual.blocks.{3}.pointwise",
    ),
    ("encoders.#.level_blocks.#.proj_out", "levels.{0}.encoder.blocks.{1}.output"),
    ("decoders.#.level_blocks.#.proj_in", "levels.{0}.decoder.blocks.{1}.input"),
    (
        "decoders.#.level_blocks.#.upsample_block.#*2.resnet_block.#.conv1d_1",
        "levels.{0}.decoder.blocks.{1}.stages.{2}.residual.blocks.{3}.dilated",
    ),
    (
        "decoders.#.level_blocks.#.upsample_block.#*2.resnet_block.#.conv1d_2",
        "levels.{0}.decoder.blocks.{1}.stages.{2}.residual.blocks.{3}.pointwise",
    ),
    (
        "decoders.#.level_blocks.#.upsample_block.#*2+1",
        "levels.{0}.decoder.blocks.{1}.stages.{2}.upsample",
    ),
    ("decoders.#.out", "levels.{0}.decoder.output"),
    ("bottleneck.level_blocks.#", "levels.{0}.codebook"),
)

TRANSFORMERS_PRIOR: Rules = (
    ("metadata_embedding.bow_genre_emb", "label_embedding.genre"),
    ("metadata_embedding.artist_emb", "label_embedding.artist"),
    ("metadata_embedding.total_length_emb.emb", "timing_embedding.total"),
    ("metadata_embedding.absolute_pos_emb.emb", "timing_embedding.absolute"),
    ("metadata_embedding.relative_pos_emb.emb", "timing_embedding.relative"),
    ("conditioner_blocks.embed_tokens", "upper_conditioner.embedding"),
    ("conditioner_blocks.upsampler.proj_in", "upper_conditioner.upsampler.input"),
    (
        "conditioner_blocks.upsampler.upsample_block.#*2.resnet_block.#.conv1d_1",
        "upper_conditioner.upsampler.stages.{0}.residual.blocks.{1}.dilated",
    ),
    (
        "conditioner_blocks.upsampler.upsample_block.#*2.resnet_block.#.conv1d_2",
        "upper_conditioner.upsampler.stages.{0}.residual.blocks.{1}.pointwise",
    ),
    (
        "conditioner_blocks.upsampler.upsample_block.#*2+1",
        "upper_conditioner.upsampler.stages.{0}.upsample",
    ),
    ("conditioner_blocks.layer_norm", "upper_conditioner.norm"),
    ("encoder.proj_in", "lyric_encoder.projection"),
    ("encoder.final_layer_norm", "lyric_encoder.norm"),
    ("encoder.lm_head", "lyric_encoder.output"),
    ("prior.fc_proj_out", "output"),
)


def _transformer_rules(there: str, here: str, *, embedding: str, norm: str) -> Rules:
    """The rules of one transformer, whose prefix is `there` in the source and `here` in ours."""
    layer, ours = f"{there}.transformer._attn_mods.#", f"{here}.layers.{{0}}"
    return (
        (f"{there}.{embedding}", f"{here}.embedding"),
        (f"{there}.pos_emb.pos_emb", f"{here}.positions"),
        (f"{there}.start_token", f"{here}.start"),
        (f"{layer}.{norm}_0", f"{ours}.attention_norm"),
        (f"{layer}.{norm}_1", f"{ours}.mlp_norm"),
        (f"{layer}.attn.c_attn", f"{ours}.attention.qkv"),
        (f"{layer}.attn.c_enc_kv", f"{ours}.attention.key_value"),
        (f"{layer}.attn.c_proj", f"{ours}.attention.output"),
        (f"{layer}.mlp.c_fc", f"{ours}.mlp.expand"),
        (f"{layer}.mlp.c_proj", f"{ours}.mlp.contract"),
    )


OPENAI_PRIOR += _transformer_rules("prior", "decoder", embedding="x_emb", norm="ln")
OPENAI_PRIOR += _transformer_rules(
    "prime_prior", "lyric_encoder.transformer", embedding="x_emb", norm="ln"
)
TRANSFORMERS_PRIOR += _transformer_rules(
    "prior", "decoder", embedding="embed_tokens", norm="layer_norm"
)
TRANSFORMERS_PRIOR += _transformer_rules(
    "encoder", "lyric_encoder.transformer", embedding="embed_tokens", norm="layer_norm"
)


class TensorPlace(NamedTuple):
    """Where one tensor of an older checkpoint goes in ours.

    `component` is "vqvae" or "prior"; `transposed` says that the source is (in, out).
    """

    component: str
    name: str
    transposed: bool


def openai_targets(names: Iterable[str]) -> dict[str, TensorPlace]:
    """Our names for the tensors of one released or user-trained original file, by their own names.

    A `module.` prefix, left by distributed training, is ignored. Names that belong to no model
    are left out: the caller reports them.

    >>> openai_targets(["module.prior.x_emb.weight"])["module.prior.x_emb.weight"].name
    'decoder.embedding.weight'
    """
    rules = (*_compile(VQVAE, OPENAI_VQVAE), *_compile(PRIOR, OPENAI_PRIOR))
    return _targets(names, rules, prefix="module.")


def transformers_targets(names: Iterable[str]) -> dict[str, TensorPlace]:
    """The same for one model of the former port, its prefix (`vqvae.`, `priors.0.`) removed."""
    rules = (*_compile(VQVAE, TRANSFORMERS_VQVAE), *_compile(PRIOR, TRANSFORMERS_PRIOR))
    return _targets(names, rules, prefix="")


def is_linear_weight(name: str) -> bool:
    """Whether our tensor `name` is the weight matrix of a linear layer (out, in)."""
    return name.endswith(tuple(f"{layer}.weight" for layer in LINEAR_LAYERS))


class _Rule(NamedTuple):
    component: str
    pattern: re.Pattern[str]
    numbers: tuple[str, ...]  # how each number of the pattern was computed: "#", "#+1", ...
    here: str


@cache
def _compile(component: str, rules: Rules) -> list[_Rule]:
    """Turn the left sides into expressions in which each number is a group."""
    compiled = []
    for there, here in rules:
        expression = _NUMBER.sub("([0-9]{1,6})", there.replace(".", r"\."))
        pattern = re.compile(expression.replace("@", "(?:model|blocks)"))
        compiled.append(_Rule(component, pattern, tuple(_NUMBER.findall(there)), here))
    return compiled


_NUMBER = re.compile(r"#(?:\*2)?(?:\+1)?")
_LEAVES = {"w": "weight", "b": "bias", "k": "vectors", "codebook": "vectors"}


def _targets(
    names: Iterable[str], rules: Sequence[_Rule], *, prefix: str
) -> dict[str, TensorPlace]:
    targets = {}
    for name in names:
        target = _rename(name.removeprefix(prefix), rules)
        if target is not None:
            targets[name] = target
    # A layer that has keys and values of the lyrics projects only queries of its own.
    key_value = ".attention.key_value.weight"
    crossing = {
        target.name.removesuffix(key_value)
        for target in targets.values()
        if target.name.endswith(key_value)
    }
    for name, target in targets.items():
        layer, found, leaf = target.name.partition(".attention.qkv.")
        if found and layer in crossing:
            targets[name] = target._replace(name=f"{layer}.attention.query.{leaf}")
    return targets


def _rename(name: str, rules: Sequence[_Rule]) -> TensorPlace | None:
    module, _, leaf = name.rpartition(".")
    if leaf in ("pos_emb", "start_token"):  # parameters without a module of their own
        module, leaf = name, "weight"
    for component, pattern, numbers, here in rules:
        match = pattern.fullmatch(module)
        indices = match and _indices(numbers, match.groups())
        if indices is not None:
            ours = f"{here.format(*indices)}.{_LEAVES.get(leaf, leaf)}"
            return TensorPlace(component, ours, transposed=is_linear_weight(ours))
    return None


def _indices(numbers: Sequence[str], found: Sequence[str]) -> list[int] | None:
    """Undo the arithmetic of each number; None if one could not have come from it."""
    indices = []
    for number, text in zip(numbers, found, strict=True):
        value = int(text) - number.endswith("+1")
        factor = 2 if "*2" in number else 1
        if value < 0 or value % factor or str(int(text)) != text:
            return None
        indices.append(value // factor)
    return indices
