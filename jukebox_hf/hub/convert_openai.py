"""The release's `.pth.tar` files: which model a file holds, and its options as our config fields.

Such a file is a pickled dict with the tensors under `model` and usually the options under `hps`.
Names of options are the original's; what they mean is in the paper (arXiv 2005.00341) and in ours.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jukebox_hf.hub.names import PRIOR, VQVAE, openai_targets
from jukebox_hf.hub.source import Component, rename
from jukebox_hf.hub.tensor_files import open_tensors
from jukebox_hf.prior.configuration_prior import ORIGINAL_ATTENTION_ORDERS

ENDINGS = (".pth.tar", ".pth", ".pt", ".tar")
# What an option is where a file does not say: the original's own defaults.
DEFAULTS: dict[str, Any] = {
    "sr": 44100,
    "hvqvae_multipliers": None,
    "m_conv": 1.0,
    "dilation_growth_rate": 1,
    "dilation_cycle": None,
    "vqvae_reverse_decoder_dilation": True,
    "use_bottleneck": True,
    "l_mu": 0.99,
    "revival_threshold": 1.0,
    "loss_fn": "l2",
    "lmix_l1": 0.0,
    "lmix_l2": 0.0,
    "lmix_linf": 0.0,
    "linf_k": 2048,
    "commit": 1.0,
    "spectral": 0.0,
    "multispectral": 1.0,
    "use_nonrelative_specloss": True,
    "multispec_loss_n_fft": (2048, 1024, 512),
    "multispec_loss_hop_length": (240, 120, 50),
    "multispec_loss_window_size": (1200, 600, 240),
    "heads": 1,
    "attn_order": 0,
    "blocks": None,
    "m_attn": 0.25,
    "m_mlp": 1.0,
    "res_scale": False,
    "zero_out": False,
    "init_scale": 1.0,
    "emb_dropout": 0.0,
    "attn_dropout": 0.0,
    "resid_dropout": 0.0,
    "merged_decoder": False,
    "single_enc_dec": False,
    "copy_input": False,
    "labels": True,
    "labels_v3": False,
    "y_bins": 0,
    "t_bins": 64,
    "max_bow_genre_size": None,
    "min_duration": None,
    "max_duration": None,
    "cond_width": 128,
    "cond_depth": 3,
    "cond_m_conv": 1.0,
    "cond_res_scale": False,
    "cond_dilation_growth_rate": 1,
    "cond_dilation_cycle": None,
    "use_tokens": False,
    "n_tokens": 0,
    "n_vocab": 0,
    "prime_loss_fraction": 0.1,
    "prime_width": 128,
    "prime_depth": 3,
    "prime_heads": 1,
    "prime_attn_order": 0,
    "prime_blocks": None,
    "prime_m_attn": 0.25,
    "prime_m_mlp": 1.0,
    "prime_init_scale": 1.0,
    "alignment_layer": None,
    "alignment_head": None,
}


def find_files(folder: Path) -> list[Path]:
    """The checkpoints that lie directly in `folder`, sorted."""
    return sorted(path for path in folder.iterdir() if path.name.endswith(ENDINGS))


def open_openai(path: Path) -> Component:
    """Open one file of the release, or of somebody's training with the original code.

    Raises:
        ValueError: if it is no checkpoint, or holds tensors of something else.
    """
    file = open_tensors(path)
    source = str(path)
    component = rename(source, file.tensors, openai_targets(file.tensors))
    hps = file.values.get("hps")
    if hps is not None and not isinstance(hps, Mapping):
        raise ValueError(f"{path}: expected a dict under 'hps', found {type(hps).__name__}")
    if hps is None:
        return component._replace(level=_level_in_name(path))
    options = _Options(hps, source)
    if component.kind == VQVAE:
        return component._replace(fields=_vqvae_fields(options))
    assert component.kind == PRIOR
    return component._replace(
        fields=_prior_fields(options, is_upsampler=component.is_upsampler),
        level=int(options["level"]) if "level" in hps else _level_in_name(path),
        dialect="v3" if options["labels_v3"] else "v2",
    )


def _level_in_name(path: Path) -> int | None:
    """The level that the release writes into the names of its files."""
    found = re.search(r"level_(\d)", path.name)
    return int(found.group(1)) if found else None


class _Options:
    """The options of one file; defaults where it says nothing."""

    def __init__(self, hps: Mapping[str, Any], source: str) -> None:
        self.hps, self.source = hps, source

    def __getitem__(self, name: str) -> Any:
        if name in self.hps:
            return self.hps[name]
        if name in DEFAULTS:
            return DEFAULTS[name]
        raise ValueError(f"{self.source}: its hps lack {name!r}, which describes the architecture")

    def part(self, multiplier: str, width: str) -> int:
        """An inner width, given as a fraction of an outer one."""
        return int(self[multiplier] * self[width])

    def pattern(self, order: str) -> str:
        """The name of an attention order."""
        pattern = ORIGINAL_ATTENTION_ORDERS.get(self[order])
        if pattern is None:
            known = ", ".join(map(str, ORIGINAL_ATTENTION_ORDERS))
            raise ValueError(f"{self.source}: {order} {self[order]} is not supported, only {known}")
        return pattern


def _vqvae_fields(hps: _Options) -> dict[str, Any]:
    multipliers = hps["hvqvae_multipliers"] or [1] * len(hps["downs_t"])
    return {
        "sampling_rate": hps["sr"],
        "downsamplings": tuple(hps["downs_t"]),
        "strides": tuple(hps["strides_t"]),
        "widths": tuple(factor * hps["width"] for factor in multipliers),
        "depths": tuple(factor * hps["depth"] for factor in multipliers),
        "codebook_size": hps["l_bins"],
        "codebook_dim": hps["emb_width"],
        "dilation_growth": hps["dilation_growth_rate"],
        "dilation_cycle": hps["dilation_cycle"],
        "reverse_decoder_dilation": hps["vqvae_reverse_decoder_dilation"],
        "conv_multiplier": hps["m_conv"],
        "use_codebook": hps["use_bottleneck"],
        "codebook_decay": hps["l_mu"],
        "revival_threshold": hps["revival_threshold"],
        "waveform_loss": hps["loss_fn"],
        "lmix_l1": hps["lmix_l1"],
        "lmix_l2": hps["lmix_l2"],
        "lmix_linf": hps["lmix_linf"],
        "linf_samples": int(hps["linf_k"]),
        "commitment_weight": hps["commit"],
        "spectral_weight": hps["spectral"],
        "multispectral_weight": hps["multispectral"],
        "relative_spectral_loss": not hps["use_nonrelative_specloss"],
        "multispectral_stft_sizes": tuple(hps["multispec_loss_n_fft"]),
        "multispectral_stft_hop_lengths": tuple(hps["multispec_loss_hop_length"]),
        "multispectral_stft_window_lengths": tuple(hps["multispec_loss_window_size"]),
    }


def _prior_fields(hps: _Options, *, is_upsampler: bool) -> dict[str, Any]:
    """Everything but what the VQ-VAE decides: a prior's own `levels`, `l_bins` ... are defaults."""
    if hps["copy_input"]:
        raise ValueError(
            f"{hps.source}: copy_input, an experiment of the original, is not supported"
        )
    lyrics = _lyrics(hps)
    # The option is read only where lyrics have an encoder of their own, or there are none.
    merged = bool(hps["merged_decoder"]) and lyrics != "sequence"
    fields = {
        "context_length": hps["n_ctx"],
        "width": hps["prior_width"],
        "depth": hps["prior_depth"],
        "heads": hps["heads"],
        "attention_width": hps.part("m_attn", "prior_width"),
        "mlp_width": hps.part("m_mlp", "prior_width"),
        "num_rows": hps["blocks"] or 1,
        "attention_pattern": hps.pattern("attn_order"),
        "scale_residual": hps["res_scale"],
        "zero_init_output": hps["zero_out"],
        "init_scale": hps["init_scale"],
        "embedding_dropout": hps["emb_dropout"],
        "attention_dropout": hps["attn_dropout"],
        "residual_dropout": hps["resid_dropout"],
        "tie_word_embeddings": not merged,
        "condition_after_transformer": not merged,
        "lyrics": lyrics,
    }
    if hps["labels"]:
        fields |= _label_fields(hps, has_timing=not is_upsampler)
    if is_upsampler:
        fields |= {
            "conditioner_width": hps["cond_width"],
            "conditioner_depth": hps["cond_depth"],
            "conditioner_dilation_growth": hps["cond_dilation_growth_rate"],
            "conditioner_dilation_cycle": hps["cond_dilation_cycle"],
            "conditioner_scale_residual": hps["cond_res_scale"],
            "conditioner_conv_multiplier": hps["cond_m_conv"],
        }
    if lyrics != "none":
        fields |= {
            "lyric_length": hps["n_tokens"],
            "lyric_vocab_size": hps["n_vocab"],
            "lyric_loss_fraction": hps["prime_loss_fraction"],
            "alignment_layer": hps["alignment_layer"],
            "alignment_head": hps["alignment_head"],
        }
    if lyrics == "encoder":
        fields |= {
            "lyric_encoder_width": hps["prime_width"],
            "lyric_encoder_depth": hps["prime_depth"],
            "lyric_encoder_heads": hps["prime_heads"],
            "lyric_encoder_attention_width": hps.part("prime_m_attn", "prime_width"),
            "lyric_encoder_mlp_width": hps.part("prime_m_mlp", "prime_width"),
            "lyric_encoder_num_rows": hps["prime_blocks"] or 1,
            "lyric_encoder_attention_pattern": hps.pattern("prime_attn_order"),
            "lyric_encoder_init_scale": hps["prime_init_scale"],
        }
    return fields


def _lyrics(hps: _Options) -> str:
    if not hps["use_tokens"]:
        return "none"
    return "sequence" if hps["single_enc_dec"] else "encoder"


def _label_fields(hps: _Options, *, has_timing: bool) -> dict[str, Any]:
    tables = hps["y_bins"]
    if not isinstance(tables, (list, tuple)) or len(tables) != 2:
        raise ValueError(f"{hps.source}: expected y_bins (genres, artists), found {tables!r}")
    fields = {
        "genre_count": tables[0],
        "artist_count": tables[1],
        "genre_slots": hps["max_bow_genre_size"] or 1,
        "timing_bins": hps["t_bins"] if has_timing else 0,
    }
    if hps["min_duration"] is not None:
        fields["min_total_seconds"] = hps["min_duration"]
    if hps["max_duration"] is not None:
        fields["max_total_seconds"] = hps["max_duration"]
    return fields
