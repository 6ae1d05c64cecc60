"""One of several processes that train a tiny codec together: `test_codebook_processes` runs it.

`python -m tests.vqvae.training_process RANK PROCESSES FOLDER` trains on this process's share of
the batches, and writes what came out to `FOLDER/RANK.pt`.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, distributed

from tests.vqvae.codecs import noise, tiny_codec

STEPS = 3
BATCH_SIZE = 4
# Levels 0 and 1 have more latents than codes, level 2 fewer: 4 items of 3 latents.
SAMPLES = 48


def train(rank: int, processes: int, shares: list[int]) -> dict[str, Any]:
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


def main() -> None:
    rank, processes, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=(folder / "meeting").as_uri(),
        rank=rank,
        world_size=processes,
    )
    results = {
        "even": train(rank, processes, shares=[2, 2]),
        "uneven": train(rank, processes, shares=[1, 3]),
    }
    torch.save(results, folder / f"{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
