"""The randomness of sampling: one uniform number per code, a function of where the code stands.

Seed, take, level and position in codes go in; numbers in [0, 1) come out. Because nothing else
counts, a take does not depend on its batch, on interruptions, or on who computes it.
"""

import numpy as np
import torch
from torch import Tensor

from jukebox_hf.generation.choices import MAX_SEED

LEVELS_PER_TAKE = 256  # take and level share one 64-bit word of the key
WORDS_PER_COUNT = 4  # Philox yields four 64-bit words per value of its counter


def uniform_noise(
    *, seed: int, take: int, level: int, start: int, count: int, device: torch.device | str = "cpu"
) -> Tensor:
    """The uniform numbers (count,) float32 of the codes `start` to `start + count - 1`.

    Seed, take and level key a counter-based generator (Philox 4x64, 10 rounds, of numpy), whose
    64-bit word number n belongs to code n: its upper 24 bits over 2**24, so each number is exact in
    float32 and below 1. Any range can be drawn alone:

    >>> whole = uniform_noise(seed=1, take=1, level=2, start=0, count=10)
    >>> torch.equal(whole[7:], uniform_noise(seed=1, take=1, level=2, start=7, count=3))
    True
    """
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"a seed is an integer from 0 to {MAX_SEED}, got {seed}")
    if not (0 <= level < LEVELS_PER_TAKE and 0 <= take <= MAX_SEED // LEVELS_PER_TAKE):
        raise ValueError(f"no noise for take {take} at level {level}")
    key = np.array([seed, take * LEVELS_PER_TAKE + level], dtype=np.uint64)
    block, skipped = divmod(start, WORDS_PER_COUNT)
    counter = np.array([block, 0, 0, 0], dtype=np.uint64)
    words = np.random.Philox(counter=counter, key=key).random_raw(skipped + count)[skipped:]
    # Never through float64: not every device has it.
    uniform = (words >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    return torch.from_numpy(uniform).to(device)
