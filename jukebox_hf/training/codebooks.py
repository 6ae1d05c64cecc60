"""Codebooks in training: how they start, when codes count as dead, and when they have collapsed.

A codebook that starts badly collapses to a few codes and stays there. What helps is to train the
auto-encoder unquantized for a while, to start from k-means of its latents, and to replace codes by
latents of the batch when they are used much less than others (Dhariwal et al. 2020,
arXiv:2005.00341, section 3.2, for the last of these).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from jukebox_hf.vqvae import JukeboxVQVAE
from jukebox_hf.vqvae.codebook import Codebook

# Measured on small codecs: with fewer latents per step than codes, a threshold of 1 replaces nearly
# all codes at every step; this share of the average use keeps those that are used at all.
DEAD_SHARE = 0.15
# Latents per code that k-means sees, and the most steps' worth of audio that are encoded for it.
KMEANS_LATENTS_PER_CODE = 16
KMEANS_MAX_STEPS = 64


def codebooks(codec: JukeboxVQVAE) -> list[Codebook]:
    """The codebook of each level, finest first; `ValueError` for a codec without."""
    found = [level.codebook for level in codec.levels]
    if not all(isinstance(codebook, Codebook) for codebook in found):
        raise ValueError("this codec was built with use_codebook=False: it has no codebooks")
    return found  # type: ignore[return-value]


def set_revival_thresholds(
    codec: JukeboxVQVAE, samples_per_step: int, threshold: float | None
) -> None:
    """Say when a code counts as dead. `None`: see `TrainingSettings.revival_threshold`."""
    for codebook, hop_length in zip(codebooks(codec), codec.config.hop_lengths, strict=True):
        average_use = samples_per_step // hop_length / codebook.codebook_size
        automatic = min(codec.config.revival_threshold, DEAD_SHARE * average_use)
        codebook.revival_threshold = automatic if threshold is None else threshold


def steps_for_kmeans(codec: JukeboxVQVAE, samples_per_step: int) -> int:
    """How many steps' worth of audio hold enough latents of every level for k-means."""
    wanted = KMEANS_LATENTS_PER_CODE * codec.config.codebook_size
    per_step = max(1, samples_per_step // codec.config.hop_lengths[-1])
    return min(KMEANS_MAX_STEPS, math.ceil(wanted / per_step))


@torch.no_grad()
def start_codebooks(
    codec: JukeboxVQVAE,
    latents: Sequence[Tensor],
    *,
    kmeans_steps: int,
    samples_per_step: int,
    generator: torch.Generator,
) -> None:
    """Fill every codebook from latents, and start its averages.

    Args:
        latents: per level (n, codebook_dim), the same on every process.
        kmeans_steps: 0 takes random latents and starts with counts of 1, as the original did.
        samples_per_step: audio that one training step sees, over all processes.
        generator: of the draws; on the CPU.
    """
    for codebook, rows, hop_length in zip(
        codebooks(codec), latents, codec.config.hop_lengths, strict=True
    ):
        codebook.vectors.copy_(draw_rows(rows, codebook.codebook_size, generator))
        if kmeans_steps:
            for _ in range(kmeans_steps):
                codebook.vectors.copy_(_kmeans_round(codebook, rows, generator))
            codebook.restore(samples_per_step // hop_length)
        else:
            codebook.restore(codebook.codebook_size)


def draw_rows(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` random rows (count, dim); each once, or if there are too few, repeated with noise."""
    copies = math.ceil(count / len(rows))
    chosen = torch.randperm(len(rows) * copies, generator=generator)[:count] % len(rows)
    drawn = rows[chosen.to(rows.device)]
    if copies > 1:
        noise = torch.randn(drawn.shape, generator=generator).to(rows.device)
        drawn = drawn + 0.01 / math.sqrt(rows.shape[1]) * noise
    return drawn


def _kmeans_round(codebook: Codebook, rows: Tensor, generator: torch.Generator) -> Tensor:
    """The mean of each code's rows; a code without any gets a random row instead."""
    codes, _ = codebook.nearest(rows)
    sums = torch.zeros_like(codebook.vectors)
    counts = torch.zeros(len(sums), device=rows.device)
    for part, part_codes in zip(torch.split(rows, 4096), torch.split(codes, 4096), strict=True):
        # A matrix product: scattered additions on a GPU add in an order that changes.
        one_hot = rows.new_zeros(len(part), len(sums)).scatter_(1, part_codes[:, None], 1.0)
        sums += one_hot.t() @ part
        counts += one_hot.sum(dim=0)
    spare = draw_rows(rows, len(sums), generator)
    return torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], spare)


def entropy_nats(counts: Tensor) -> float:
    """Entropy of a histogram, in nats; 0 for an empty one."""
    shares = counts.cpu().double() / counts.sum().cpu().clamp_min(1)
    return abs(float(torch.special.xlogy(shares, shares).sum()))  # of one code 0.0, not -0.0
