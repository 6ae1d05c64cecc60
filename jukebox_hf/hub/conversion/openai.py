"""The release's `.pth.tar` files: which model a file holds, and its options as our config fields.

Such a file is a pickled dict with the tensors under `model` and usually the options under `hps`.
Names of options are the original's; what they mean is in the paper (arXiv 2005.00341) and in ours.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jukebox_hf.hub.conversion.recognising import Component, rename_tensors
from jukebox_hf.hub.conversion.tensor_names import openai_targets
from jukebox_hf.hub.manifest import VQVAE
from jukebox_hf.hub.tensor_files import open_tensors
from jukebox_hf.prior.prior_config import ORIGINAL_ATTENTION_ORDERS

ENDINGS = (".pth.tar", ".pth", ".pt", ".tar")

# Our field: the original's option, where both say the same in the same way.
VQVAE_OPTIONS = {
    "sampling_rate": "sr",
    "codebook_size": "l_bins",
    "codebook_dim": "emb_width",
    "dilation_growth": "dilation_growth_rate",
    "dilation_cycle": "dilation_cycle",
    "reverse_decoder_dilation": "vqvae_reverse_decoder_dilation",
    "conv_multiplier": "m_conv",
    "use_codebook": "use_bottleneck",
    "codebook_decay": "l_mu",
    "revival_threshold": "revival_threshold",
    "waveform_loss": "loss_fn",
    "lmix_l1": "lmix_l1",
    "lmix_l2": "lmix_l2",
    "lmix_linf": "lmix_linf",
    "linf_samples": "linf_k",
    "commitment_weight": "commit",
    "spectral_weight": "spectral",
    "multispectral_weight": "multispectral",
}
VQVAE_SEQUENCES = {
    "downsamplings": "downs_t",
    "strides": "strides_t",
    "multispectral_stft_sizes": "multispec_loss_n_fft",
    "multispectral_stft_hop_lengths": "multispec_loss_hop_length",
    "multispectral_stft_window_lengths": "multispec_loss_window_size",
}
PRIOR_OPTIONS = {
    "context_length": "n_ctx",
    "scale_residual": "res_scale",
    "zero_init_output": "zero_out",
    "embedding_dropout": "emb_dropout",
    "attention_dropout": "attn_dropout",
    "residual_dropout": "resid_dropout",
}
LABEL_OPTIONS = {
    "genre_slots": "max_bow_genre_size",
    "min_total_seconds": "min_duration",
    "max_total_seconds": "max_duration",
}
CONDITIONER_OPTIONS = {
    "conditioner_width": "cond_width",
    "conditioner_depth": "cond_depth",
    "conditioner_dilation_growth": "cond_dilation_growth_rate",
    "conditioner_dilation_cycle": "cond_dilation_cycle",
    "conditioner_scale_residual": "cond_res_scale",
    "conditioner_conv_multiplier": "cond_m_conv",
}
LYRIC_OPTIONS = {
    "lyric_length": "n_tokens",
    "lyric_vocab_size": "n_vocab",
    "lyric_loss_fraction": "prime_loss_fraction",
    "alignment_layer": "alignment_layer",
    "alignment_head": "alignment_head",
}
# Options of a transformer by their name in the decoder and in the lyric encoder.
TRANSFORMER_OPTIONS = {
    "width": ("prior_width", "prime_width"),
    "depth": ("prior_depth", "prime_depth"),
    "heads": ("heads", "prime_heads"),
    "num_rows": ("blocks", "prime_blocks"),
    "init_scale": ("init_scale", "prime_init_scale"),
}
# What the original takes where an option is not set, and ours does not.
VQVAE_DEFAULTS: dict[str, Any] = {
    "dilation_growth": 1,
    "waveform_loss": "l2",
    "commitment_weight": 1.0,
}
PRIOR_DEFAULTS: dict[str, Any] = {"num_rows": 1}
LABEL_DEFAULTS: dict[str, Any] = {"genre_slots": 1}
# Without these, which no shape shows, a prior cannot be told from others.
NEEDED = ("heads", "blocks", "attn_order")


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
    component = rename_tensors(source, file.tensors, openai_targets(file.tensors))
    hps = file.values.get("hps")
    if hps is None:
        return component._replace(level=_level_in_name(path))
    if not isinstance(hps, Mapping):
        raise ValueError(f"{path}: expected a dict under 'hps', found {type(hps).__name__}")
    component = with_options(component, hps)
    return (
        component if component.level is not None else component._replace(level=_level_in_name(path))
    )


def with_options(component: Component, hps: Mapping[str, Any]) -> Component:
    """A component that knows its options, as far as `hps` has them.

    Raises:
        ValueError: for options of the wrong type, or that were experiments.
    """
    try:
        if component.kind == VQVAE:
            return component._replace(fields=_vqvae_fields(hps), defaults=VQVAE_DEFAULTS)
        labels = LABEL_DEFAULTS if hps.get("labels", True) else {}
        return component._replace(
            fields=_prior_fields(hps, component),
            defaults={**PRIOR_DEFAULTS, **labels},
            missing=tuple(name for name in NEEDED if name not in hps),
            level=int(hps["level"]) if "level" in hps else None,
            dialect=("v3" if hps["labels_v3"] else "v2") if "labels_v3" in hps else None,
        )
    except (TypeError, KeyError) as error:
        raise ValueError(f"{component.source}: its hps cannot be read: {error}") from error


def _level_in_name(path: Path) -> int | None:
    """The level that the release writes into the names of its files."""
    found = re.search(r"level_(\d)", path.name)
    return int(found.group(1)) if found else None


def _take(hps: Mapping[str, Any], options: Mapping[str, str]) -> dict[str, Any]:
    """The fields whose options are set."""
    return {name: hps[key] for name, key in options.items() if hps.get(key) is not None}


def _vqvae_fields(hps: Mapping[str, Any]) -> dict[str, Any]:
    fields = _take(hps, VQVAE_OPTIONS)
    fields |= {name: tuple(value) for name, value in _take(hps, VQVAE_SEQUENCES).items()}
    if "downs_t" in hps:
        factors = hps.get("hvqvae_multipliers") or [1] * len(hps["downs_t"])
        for name, option in (("widths", "width"), ("depths", "depth")):
            if option in hps:
                fields[name] = tuple(factor * hps[option] for factor in factors)
    if "use_nonrelative_specloss" in hps:
        fields["relative_spectral_loss"] = not hps["use_nonrelative_specloss"]
    return fields


def _prior_fields(hps: Mapping[str, Any], component: Component) -> dict[str, Any]:
    """Everything but what the VQ-VAE decides: a prior's own `levels`, `l_bins` ... are defaults."""
    if hps.get("copy_input"):
        raise ValueError(f"{component.source}: copy_input, an experiment, is not supported")
    fields = {
        **_take(hps, PRIOR_OPTIONS),
        **_transformer_fields(hps, component.source),
    }
    lyrics = _lyrics(hps)
    if "use_tokens" in hps:
        fields["lyrics"] = lyrics
    if "merged_decoder" in hps:
        # The option is read only where lyrics have an encoder of their own, or there are none.
        merged = bool(hps["merged_decoder"]) and not hps.get("single_enc_dec")
        fields["tie_word_embeddings"] = fields["condition_after_transformer"] = not merged
    if hps.get("labels", True):
        fields |= _take(hps, LABEL_OPTIONS)
        if "y_bins" in hps:
            fields["genre_count"], fields["artist_count"] = hps["y_bins"]
        if "t_bins" in hps:  # the original's upsamplers have no timing, whatever is set
            fields["timing_bins"] = 0 if component.is_upsampler else hps["t_bins"]
    if component.is_upsampler:
        fields |= _take(hps, CONDITIONER_OPTIONS)
    if lyrics != "none":
        fields |= _take(hps, LYRIC_OPTIONS)
    if lyrics == "encoder":
        encoder = _transformer_fields(hps, component.source, lyric_encoder=True)
        fields |= {f"lyric_encoder_{name}": value for name, value in encoder.items()}
    return fields


def _lyrics(hps: Mapping[str, Any]) -> str:
    if not hps.get("use_tokens"):
        return "none"
    return "sequence" if hps.get("single_enc_dec") else "encoder"


def _transformer_fields(
    hps: Mapping[str, Any], source: str, *, lyric_encoder: bool = False
) -> dict[str, Any]:
    names = {field: names[lyric_encoder] for field, names in TRANSFORMER_OPTIONS.items()}
    fields = _take(hps, names)
    prefix = "prime_" if lyric_encoder else ""
    for field, option, default in (
        ("attention_width", f"{prefix}m_attn", 0.25),
        ("mlp_width", f"{prefix}m_mlp", 1.0),
    ):
        if "width" in fields:
            fields[field] = int(hps.get(option, default) * fields["width"])
    order = hps.get(f"{prefix}attn_order")
    if order is not None:
        if order not in ORIGINAL_ATTENTION_ORDERS:
            known = ", ".join(map(str, ORIGINAL_ATTENTION_ORDERS))
            raise ValueError(f"{source}: {prefix}attn_order {order} is not supported, only {known}")
        fields["attention_pattern"] = ORIGINAL_ATTENTION_ORDERS[order]
    return fields
