"""Codecs for tests: tiny ones with random weights, and those of the golden data."""

from pathlib import Path
from typing import Any

import torch

from jukebox_hf.hub.conversion.openai import open_openai
from jukebox_hf.hub.conversion.tensor_names import openai_targets
from jukebox_hf.vqvae import JukeboxVQVAE, JukeboxVQVAEConfig

# Three levels with hops 2, 8 and 16, and STFTs that audio of 64 samples is long enough for.
TINY: dict[str, Any] = {
    "sampling_rate": 100,
    "downsamplings": (1, 2, 1),
    "strides": (2, 2, 2),
    "widths": (6, 4, 4),
    "depths": (3, 2, 2),
    "codebook_size": 16,
    "codebook_dim": 4,
    "linf_samples": 16,
    "stft_size": 32,
    "stft_hop_length": 8,
    "stft_window_length": 24,
    "multispectral_stft_sizes": (32, 16),
    "multispectral_stft_hop_lengths": (8, 5),
    "multispectral_stft_window_lengths": (20, 10),
}


def tiny_config(**changes: Any) -> JukeboxVQVAEConfig:
    """A codec small enough for milliseconds."""
    return JukeboxVQVAEConfig(**{**TINY, **changes})


def tiny_codec(**changes: Any) -> JukeboxVQVAE:
    """One with the same random weights every time."""
    torch.manual_seed(0)
    return JukeboxVQVAE(tiny_config(**changes)).eval()


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    """Audio-like numbers, the same every time."""
    return 0.5 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def original_codec(path: Path, **changes: Any) -> JukeboxVQVAE:
    """The codec in an original checkpoint, with vectors in its codebooks and nothing else."""
    tensors = torch.load(path, weights_only=True)["model"]
    targets = openai_targets(tensors)
    codec = JukeboxVQVAE(JukeboxVQVAEConfig(**{**open_openai(path).fields, **changes}))
    ours = {targets[name].name: tensor for name, tensor in tensors.items()}
    missing, unexpected = codec.load_state_dict(ours, strict=False)
    assert not unexpected
    assert {name.rpartition(".")[2] for name in missing} == {"sums", "counts", "initialized"}
    return codec.eval()
