"""Cross-fades: what is alike stays as it is, what is not keeps its power."""

import math

import pytest
import torch
from torch import Tensor

from jukebox_hf.generation.chains import FADE_STFT, cross_fade

LENGTH, MIDDLE, FADE = 2000, 1000, 600


def noises(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    left, right = torch.randn(2, LENGTH, generator=generator)
    return left, right


def test_a_fade_between_equals_changes_nothing() -> None:
    left, _ = noises(0)
    torch.testing.assert_close(cross_fade(left, left, MIDDLE, FADE), left, rtol=0, atol=1e-5)


def test_unrelated_noise_keeps_its_power_in_the_middle() -> None:
    power = 0.0
    for seed in range(30):
        mixed = cross_fade(*noises(seed), MIDDLE, FADE)
        power += float(mixed[MIDDLE - 100 : MIDDLE + 100].square().mean()) / 30
    assert math.sqrt(power) == pytest.approx(1, abs=0.06)  # ramps alone: 0.71


def test_each_side_is_itself_outside_the_fade() -> None:
    left, right = noises(1)
    mixed = cross_fade(left, right, MIDDLE, FADE)
    reach = FADE // 2 + FADE_STFT
    for part, own in ((slice(0, MIDDLE - reach), left), (slice(MIDDLE + reach, None), right)):
        torch.testing.assert_close(mixed[part], own[part], rtol=0, atol=1e-5)


def test_nothing_to_fade_in_is_a_cut() -> None:
    left, right = noises(2)
    mixed = cross_fade(left, right, MIDDLE, 0)
    assert torch.equal(mixed, torch.cat([left[:MIDDLE], right[MIDDLE:]]))
