"""Older checkpoints for tests: the golden ones in other wrappings, and large ones without values.

The port's names are made here from the original's by rules of their own, so that the tables in
`jukebox_hf.hub.conversion.tensor_names` are not compared with themselves.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from jukebox_hf.hub.conversion.recognising import Component, rename_tensors
from jukebox_hf.hub.conversion.tensor_names import openai_targets
from jukebox_hf.hub.tensor_files import StoredTensor
from tests.golden_data import golden

FAMILIES = {
    "small": ("small/vqvae", "small/small_prior", "small/small_upsampler"),
    "upsamplers": ("5b/vqvae", "5b/prior_level_0", "5b/prior_level_1"),
    "clamp": ("5b/vqvae", "clamp/prior_level_2"),
    "5b": ("5b/vqvae", "5b/prior_level_0", "5b/prior_level_1", "5b/prior_level_2"),
    "5b_lyrics": ("5b/vqvae", "5b/prior_level_0", "5b/prior_level_1", "5b_lyrics/prior_level_2"),
    "1b_lyrics": ("5b/vqvae", "5b/prior_level_0", "5b/prior_level_1", "1b_lyrics/prior_level_2"),
}

# What the release calls a tensor, and the port: prefixes first, then parts of names.
PORT_PARTS = (
    (r"^y_emb\.(bow_genre|artist)_emb\.emb\.", r"metadata_embedding.\1_emb."),
    (r"^y_emb\.", r"metadata_embedding."),
    (r"^conditioner_blocks\.0\.x_emb\.", "conditioner_blocks.embed_tokens."),
    (r"^conditioner_blocks\.0\.ln\.", "conditioner_blocks.layer_norm."),
    (r"^prime_state_proj\.", "encoder.proj_in."),
    (r"^prime_state_ln\.", "encoder.final_layer_norm."),
    (r"^prime_x_out\.", "encoder.lm_head."),
    (r"^prime_prior\.", "encoder."),
    (r"^(prior|encoder)\.x_emb\.", r"\1.embed_tokens."),
    (r"^prior\.x_out\.", "prior.fc_proj_out."),
    (r"\.ln_([01])\.", r".layer_norm_\1."),
    (r"\.w$", ".weight"),
    (r"\.b$", ".bias"),
    (r"^(bottleneck\.level_blocks\.\d+)\.k$", r"\1.codebook"),
)


def port_name(name: str) -> str:
    """The port's name of one of the release's tensors, without the model's prefix."""
    name = re.sub(r"^(encoders\.\d+\.level_blocks\.\d+)\.model\.", r"\1.DOWN.", name)
    name = re.sub(r"^(decoders\.\d+\.level_blocks\.\d+)\.model\.", r"\1.UP.", name)
    name = re.sub(
        r"^conditioner_blocks\.0\.cond\.model\.", "conditioner_blocks.upsampler.UP.", name
    )
    if ".DOWN." in name or ".UP." in name:
        name = _sampler_name(name)
    for pattern, replacement in PORT_PARTS:
        name = re.sub(pattern, replacement, name)
    return name


def _sampler_name(name: str) -> str:
    side = "DOWN" if ".DOWN." in name else "UP"
    before, inside = name.split(f".{side}.")
    stage, *rest = inside.split(".")
    if len(rest) == 1:
        return f"{before}.{'proj_out' if side == 'DOWN' else 'proj_in'}.{rest[0]}"
    place = int(stage) if side == "DOWN" else int(stage) - 1
    block = "downsample_block" if side == "DOWN" else "upsample_block"
    part, *rest = rest
    number = 2 * place + int(part)
    if len(rest) == 1:
        return f"{before}.{block}.{number}.{rest[0]}"
    _, index, _, convolution, leaf = rest  # (model|blocks).R.model.(1|3).(weight|bias)
    which = {"1": "conv1d_1", "3": "conv1d_2"}[convolution]
    return f"{before}.{block}.{number}.resnet_block.{index}.{which}.{leaf}"


def paths_of(family: str) -> list[Path]:
    """The checkpoints of one system; skips the test if this golden set lacks one."""
    return [golden(f"openai/{name}.pth.tar") for name in FAMILIES[family]]


def load(path: Path) -> dict[str, Any]:
    """A checkpoint of the release's kind as it is."""
    content: dict[str, Any] = torch.load(path, weights_only=True)
    return content


def state_of(path: Path) -> dict[str, Tensor]:
    """Its tensors, without a `module.` prefix."""
    return {name.removeprefix("module."): each for name, each in load(path)["model"].items()}


def port_state(paths: list[Path], num_levels: int) -> dict[str, Tensor]:
    """All tensors of a system under the port's names, in float32."""
    state = {}
    for path in paths:
        content = load(path)
        is_codec = "vqvae" in path.name
        prefix = "vqvae." if is_codec else f"priors.{num_levels - 1 - content['hps']['level']}."
        for name, tensor in state_of(path).items():
            state[prefix + port_name(name)] = tensor.float()
    return state


def write_port(
    folder: Path,
    state: Mapping[str, Tensor],
    config: Mapping[str, Any],
    *,
    shards: int = 1,
    safetensors: bool = False,
) -> Path:
    """Write a folder in the port's layout, in any of the forms that it may have."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    stem, ending = ("model", "safetensors") if safetensors else ("pytorch_model", "bin")
    names = list(state)
    places = {}
    for number in range(shards):
        part = {name: state[name].clone() for name in names[number::shards]}
        file = f"{stem}-{number + 1:05d}-of-{shards:05d}.{ending}"
        if shards == 1:
            file = f"{stem}.{ending}"
        if safetensors:
            save_file(part, folder / file)
        else:
            torch.save(part, folder / file)
        places |= dict.fromkeys(part, file)
    if shards > 1:
        index = {"metadata": {}, "weight_map": places}
        (folder / f"{stem}.{ending}.index.json").write_text(json.dumps(index), encoding="utf-8")
    return folder


def port_config_of(paths: list[Path]) -> dict[str, Any]:
    """A config as the port would have written it for these checkpoints."""
    hps = {path.name: load(path)["hps"] for path in paths}
    codec = next(each for name, each in hps.items() if "vqvae" in name)
    priors = sorted(
        (each for name, each in hps.items() if "vqvae" not in name),
        key=lambda each: -each["level"],
    )
    patterns = {
        0: "full_dense_attention",
        2: "raw_column_previous_row_attention",
        10: "large_separated_enc_dec_w_lyrics",
        12: "enc_dec_with_lyrics",
    }

    def prior(each: Mapping[str, Any]) -> dict[str, Any]:
        config = {
            "hidden_size": each["prior_width"],
            "num_layers": each["prior_depth"],
            "n_heads": each["heads"],
            "n_ctx": each["n_ctx"],
            "blocks": each["blocks"],
            "attention_pattern": patterns[each["attn_order"]],
            "init_scale": each["init_scale"],
            "merged_decoder": each["merged_decoder"],
            "is_encoder_decoder": each["single_enc_dec"],
            "music_vocab_size": codec["l_bins"],
            "metadata_dims": each["y_bins"] or [1, 1],
            "res_conv_width": each["cond_width"],
            "res_conv_depth": each["cond_depth"],
            "res_dilation_growth_rate": each["cond_dilation_growth_rate"],
            "res_dilation_cycle": each["cond_dilation_cycle"],
            "conv_res_scale": each["cond_res_scale"],
            "nb_relevant_lyric_tokens": each["n_tokens"],
            "lyric_vocab_size": each["n_vocab"],
            "encoder_loss_fraction": each["prime_loss_fraction"],
            "alignment_layer": each["alignment_layer"],
            "alignment_head": each["alignment_head"],
            "mask": True,
        }
        if each["use_tokens"] and not each["single_enc_dec"]:
            config["encoder_config"] = {
                "hidden_size": each["prime_width"],
                "num_layers": each["prime_depth"],
                "n_heads": each["prime_heads"],
                "blocks": each["prime_blocks"],
                "attention_pattern": patterns[each["prime_attn_order"]],
                "init_scale": each["prime_init_scale"],
            }
        return config

    top = priors[0]
    return {
        "model_type": "jukebox",
        "sampling_rate": codec["sr"],
        "timing_dims": top["t_bins"],
        "min_duration": top["min_duration"] or 0,
        "max_duration": top["max_duration"] or 600.0,
        "max_nb_genres": max(each["max_bow_genre_size"] or 1 for each in priors),
        "metadata_conditioning": top["labels"],
        "nb_priors": len(priors),
        "prior_config_list": [prior(each) for each in priors],
        "vqvae_config": {
            "levels": len(codec["downs_t"]),
            "res_downs_t": codec["downs_t"],
            "res_strides_t": codec["strides_t"],
            "multipliers": codec["hvqvae_multipliers"],
            "res_conv_width": codec["width"],
            "res_conv_depth": codec["depth"],
            "embed_dim": codec["emb_width"],
            "nb_discrete_codes": codec["l_bins"],
        },
    }


def hollow_component(
    entries: Mapping[str, tuple[list[int], str]], source: str = "released.pth.tar"
) -> Component:
    """A component with the shapes of a real one, of which no value can be read."""

    def read() -> Tensor:
        raise AssertionError("these tensors have no values")

    tensors = {
        name: StoredTensor(tuple(shape), getattr(torch, dtype), read)
        for name, (shape, dtype) in entries.items()
    }
    return rename_tensors(source, tensors, openai_targets(tensors))
