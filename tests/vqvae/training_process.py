"""One of several processes that train a tiny codec together: `test_codebook_processes` runs it.

`python -m tests.vqvae.training_process RANK PROCESSES FOLDER` trains on this process's share of
the batches, and writes what came out to `FOLDER/RANK.pt`.
"""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from tests.vqvae.codecs import noise, tiny_codec

STEPS = 3
BATCH_SIZE = 4
# Levels 0 and 1 have more latents than codes, level 2 fewer: 4 items of 3 latents.
SAMPLES = 48
SHARES = {"even": [2, 2], "uneven": [1, 3]}  # items of each batch, by process


def train(rank: int, shares: list[int]) -> dict[str, Any]:
    """Train on `shares[rank]` items of each batch: losses, entropies and codebooks."""
    codec = tiny_codec(revival_threshold=2.0).train()
    generator = torch.Generator().manual_seed(7)
    first = sum(shares[:rank])
    losses: list[Tensor] = []
    entropies: list[Tensor] = []
    for step in range(STEPS):
        batch = noise(BATCH_SIZE, 1, SAMPLES, seed=step)
        output = codec(batch[first : first + shares[rank]], generator=generator)
        losses.append(torch.cat([torch.stack(output.losses).flatten(), output.loss[None]]))
        entropies.append(output.metrics.entropy)
    return {
        "losses": torch.stack(losses).detach(),
        "entropies": torch.stack(entropies),
        "codebooks": [level.codebook.state_dict() for level in codec.levels],
    }


def train_together(rank: int, processes: int, folder: Path) -> dict[str, dict[str, Any]]:
    """Train with the other processes, which meet in `folder`, twice: equal and unequal shares."""
    distributed.init_process_group(
        "gloo",
        init_method=(folder / "meeting").as_uri(),
        rank=rank,
        world_size=processes,
        timeout=timedelta(minutes=3),
    )
    try:
        return {split: train(rank, shares) for split, shares in SHARES.items()}
    finally:
        distributed.destroy_process_group()


if __name__ == "__main__":
    own_rank, count, meeting_place = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.save(train_together(own_rank, count, meeting_place), meeting_place / f"{own_rank}.pt")
