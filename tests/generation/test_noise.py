"""Noise depends on seed, take, level and position, and on nothing else."""

import pytest
import torch

from jukebox_hf.generation.noise import MAX_SEED, uniform_noise


def test_any_range_can_be_drawn_alone() -> None:
    whole = uniform_noise(seed=5, take=3, level=1, start=0, count=67)
    for start in range(60):
        for count in (0, 1, 2, 5, 7):
            part = uniform_noise(seed=5, take=3, level=1, start=start, count=count)
            assert torch.equal(part, whole[start : start + count])


def test_numbers_are_float32_in_the_unit_interval_and_spread_evenly() -> None:
    noise = uniform_noise(seed=0, take=1, level=0, start=0, count=100_000)
    assert noise.dtype == torch.float32
    assert noise.min() >= 0
    assert noise.max() < 1
    counts = torch.histc(noise, bins=20, min=0, max=1)
    assert (counts - 5000).abs().max() < 5 * 5000**0.5


def test_noise_stays_what_it_is() -> None:
    """Sessions on disk are resumed with these numbers, so they never change."""
    noise = uniform_noise(seed=1234, take=2, level=1, start=5, count=3)
    assert (noise * 2**24).to(torch.int64).tolist() == [7481447, 1015814, 6360707]


def test_every_part_of_the_key_matters() -> None:
    keys = [(1, 1, 0), (2, 1, 0), (1, 2, 0), (1, 1, 1), (MAX_SEED, 1, 0)]
    drawn = {
        tuple(uniform_noise(seed=s, take=t, level=level, start=0, count=8).tolist())
        for s, t, level in keys
    }
    assert len(drawn) == len(keys)


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1])
def test_other_seeds_are_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="a seed is an integer from 0"):
        uniform_noise(seed=seed, take=1, level=0, start=0, count=1)
