"""Small random priors of every architecture, and inputs for them."""

from typing import Any

import torch
from torch import Tensor

from jukebox_hf.labels import JukeboxLabels
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.modeling_prior import JukeboxPrior

BASE: dict[str, Any] = {
    "codebook_size": 20,
    "context_length": 24,
    "width": 16,
    "depth": 6,
    "heads": 2,
    "attention_width": 8,
    "mlp_width": 16,
    "num_rows": 4,
}
LABELS: dict[str, Any] = {"artist_count": 5, "genre_count": 4, "genre_slots": 2}
TIMING: dict[str, Any] = {
    "level": 2,
    "hop_length": 128,
    "timing_bins": 8,
    "min_total_seconds": 0.05,
    "max_total_seconds": 2.0,
}
LYRICS: dict[str, Any] = {"lyric_length": 8, "lyric_vocab_size": 11, "lyric_loss_fraction": 0.4}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "plain": BASE,
    "dense": {**BASE, "attention_pattern": "dense", "depth": 2},
    "row_column": {**BASE, "attention_pattern": "row_column", "scale_residual": True},
    "factored_dense": {**BASE, "attention_pattern": "factored_dense", "depth": 4},
    "upsampler": {
        **BASE,
        **LABELS,
        "upper_downsamplings": 2,
        "conditioner_width": 6,
        "conditioner_depth": 3,
        "conditioner_dilation_growth": 3,
        "conditioner_dilation_cycle": 2,
        "conditioner_scale_residual": True,
    },
    "top": {
        **BASE,
        **LABELS,
        **TIMING,
        "tie_word_embeddings": False,
        "condition_after_transformer": False,
    },
    "lyrics_encoder": {
        **BASE,
        **LABELS,
        **TIMING,
        **LYRICS,
        "lyrics": "encoder",
        "attention_pattern": "factored_cross_4",
        "depth": 8,
        "tie_word_embeddings": False,
        "condition_after_transformer": False,
        "lyric_encoder_width": 12,
        "lyric_encoder_depth": 4,
        "lyric_encoder_heads": 2,
        "lyric_encoder_attention_width": 4,
        "lyric_encoder_mlp_width": 12,
        "lyric_encoder_num_rows": 4,
        "alignment_layer": 7,
        "alignment_head": 1,
    },
    "lyrics_sequence": {
        **BASE,
        **LABELS,
        **TIMING,
        **LYRICS,
        "lyrics": "sequence",
        "attention_pattern": "factored_prime_dense",
        "depth": 17,
        "alignment_layer": 15,
        "alignment_head": 0,
    },
    # music begins in the middle of a row
    "lyrics_sequence_straddling": {
        **BASE,
        **LABELS,
        **TIMING,
        **LYRICS,
        "lyrics": "sequence",
        "lyric_length": 6,
        "context_length": 24,
        "num_rows": 3,
        "attention_pattern": "factored_prime_dense",
        "depth": 48,
        "alignment_layer": 31,
        "alignment_head": 1,
    },
}


def tiny_prior(name: str, *, seed: int = 0, **overrides: Any) -> JukeboxPrior:
    """A prior in which every parameter is random, also those that usually start at zero or one."""
    prior = JukeboxPrior(JukeboxPriorConfig(**{**ARCHITECTURES[name], **overrides}))
    generator = torch.Generator().manual_seed(seed)
    for parameter in prior.parameters():
        spread = 0.5 if parameter.ndim > 1 else 0.2
        parameter.data = torch.randn(parameter.shape, generator=generator) * spread
    return prior.eval()


def inputs(prior: JukeboxPrior, batch: int, *, seed: int = 1) -> tuple[Tensor, dict[str, Any]]:
    """Codes of a whole window and the conditioning that this prior takes."""
    config, generator = prior.config, torch.Generator().manual_seed(seed)

    def integers(high: int, *shape: int, low: int = 0) -> Tensor:
        return torch.randint(low, high, shape, generator=generator)

    given: dict[str, Any] = {}
    codes = integers(config.codebook_size, batch, config.context_length)
    if config.has_labels:
        given["labels"] = JukeboxLabels(
            artist=integers(config.artist_count, batch),
            genres=integers(config.genre_count, batch, config.genre_slots, low=-1),
            total_samples=integers(80000, batch, low=40000),
            offset_samples=integers(30000, batch),
        )
    if config.lyrics != "none":
        given["lyric_tokens"] = integers(config.lyric_vocab_size, batch, config.lyric_length)
    if config.is_upsampler:
        upper_length = config.context_length // config.upper_ratio
        given["upper_codes"] = integers(config.codebook_size, batch, upper_length)
    return codes, given
