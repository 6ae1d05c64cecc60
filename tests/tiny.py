"""Tiny random systems on disk, made in a moment: three levels, every kind of prior.

Hops are 8, 32 and 128 as in the released models; widths, depths, contexts and tables are as small
as the structure allows. Weights are random but seeded, and large enough that what conditions a
prior changes what it predicts.
"""

from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch

from jukebox_hf.hub import save_system
from jukebox_hf.labels import LYRIC_CHARACTERS, JukeboxProcessor
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.vqvae.configuration_vqvae import JukeboxVQVAEConfig
from jukebox_hf.vqvae.modeling_vqvae import JukeboxVQVAE

Lyrics = Literal["none", "encoder", "sequence"]

ARTISTS = {"unknown": 0, "ada": 1, "bo": 2, "cleo": 3}
GENRES = {"unknown": 0, "rock": 1, "jazz": 2, "folk": 3, "punk": 4}
SAMPLING_RATE = 8000  # the shortest piece, one window of the top level, is 0.5 s
CODEBOOK_SIZE = 16
CONTEXT_LENGTH = 32
LYRIC_LENGTH = 8
GENERATION = {
    "temperature": {"0": 0.99, "1": 0.99, "2": 0.99},
    "hop_fraction": {"0": 0.5, "1": 0.5, "2": 0.25},
    "seconds": 1.0,
    "total_seconds": 4.0,
}


def tiny_vqvae_config(**changes: Any) -> JukeboxVQVAEConfig:
    """Three levels with hops 8, 32 and 128."""
    settings: dict[str, Any] = {
        "sampling_rate": SAMPLING_RATE,
        "widths": (8, 4, 4),
        "depths": (2, 1, 1),
        "codebook_size": CODEBOOK_SIZE,
        "codebook_dim": 4,
    }
    return JukeboxVQVAEConfig(**{**settings, **changes})


def tiny_prior_config(level: int, lyrics: Lyrics = "none", **changes: Any) -> JukeboxPriorConfig:
    """The prior of one level above that VQ-VAE; `lyrics` is for the top level."""
    settings: dict[str, Any] = {
        "level": level,
        "hop_length": (8, 32, 128)[level],
        "sampling_rate": SAMPLING_RATE,
        "codebook_size": CODEBOOK_SIZE,
        "context_length": CONTEXT_LENGTH,
        "width": 16,
        "depth": 3,
        "heads": 2,
        "attention_width": 8,
        "mlp_width": 16,
        "num_rows": 8,
        "init_scale": 10.0,
        "artist_count": len(ARTISTS),
        "genre_count": len(GENRES),
        "genre_slots": 2,
    }
    if level < 2:
        settings |= {
            "upper_downsamplings": 2,
            "conditioner_width": 8,
            "conditioner_depth": 2,
            "conditioner_dilation_growth": 3,
        }
    else:
        settings |= {"timing_bins": 8, "min_total_seconds": 0.5, "max_total_seconds": 60.0}
    if lyrics != "none":
        settings |= {
            "lyrics": lyrics,
            "lyric_length": LYRIC_LENGTH,
            "lyric_vocab_size": len(LYRIC_CHARACTERS["v2"]) + 1,
            "lyric_loss_fraction": 0.4,
        }
    if lyrics == "encoder":
        settings |= {
            "depth": 4,
            "attention_pattern": "factored_cross_4",
            "tie_word_embeddings": False,
            "condition_after_transformer": False,
            "lyric_encoder_width": 8,
            "lyric_encoder_depth": 3,
            "lyric_encoder_heads": 2,
            "lyric_encoder_attention_width": 4,
            "lyric_encoder_mlp_width": 8,
            "lyric_encoder_num_rows": 4,
            "lyric_encoder_init_scale": 10.0,
            "alignment_layer": 3,
            "alignment_head": 0,
        }
    if lyrics == "sequence":
        settings |= {
            "depth": 16,
            "attention_pattern": "factored_prime_dense",
            "alignment_layer": 15,
            "alignment_head": 0,
        }
    return JukeboxPriorConfig(**{**settings, **changes})


def tiny_vqvae(seed: int = 0, **changes: Any) -> JukeboxVQVAE:
    """A random VQ-VAE in evaluation mode, whose codebooks count as trained."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vqvae = JukeboxVQVAE(tiny_vqvae_config(**changes))
    vqvae.restore_codebooks()
    return vqvae.eval()


def tiny_prior(level: int, lyrics: Lyrics = "none", seed: int = 0, **changes: Any) -> JukeboxPrior:
    """A random prior in evaluation mode."""
    config = tiny_prior_config(level, lyrics, **changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + level)
        return JukeboxPrior(config).eval()


def tiny_processor(config: JukeboxPriorConfig) -> JukeboxProcessor:
    """The processor of one of these priors."""
    return JukeboxProcessor.for_prior(
        config,
        artists=ARTISTS if config.has_labels else None,
        genres=GENRES if config.has_labels else None,
        dialect="v2",
        lyric_characters=LYRIC_CHARACTERS["v2"] if config.lyrics != "none" else "",
    )


@cache
def _models(lyrics: Lyrics, seed: int) -> tuple[JukeboxVQVAE, dict[int, JukeboxPrior]]:
    priors = {
        level: tiny_prior(level, lyrics if level == 2 else "none", seed) for level in range(3)
    }
    return tiny_vqvae(seed), priors


def tiny_system(folder: Path, lyrics: Lyrics = "none", *, seed: int = 0, **options: Any) -> Path:
    """Write a whole model into `folder`, which must not exist, and return it.

    `options` go to `save_system`. A second system of the same kind costs only the writing.
    """
    vqvae, priors = _models(lyrics, seed)
    processors = {level: tiny_processor(prior.config) for level, prior in priors.items()}
    settings = {"generation": GENERATION, **options}
    return save_system(folder, vqvae=vqvae, priors=priors, processors=processors, **settings)
