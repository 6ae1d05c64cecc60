"""Resampling: exact lengths, and crops that equal the whole."""

import math

import numpy as np
import pytest
import soxr
import torch

from jukebox_hf.audio import resample, resampled_length
from jukebox_hf.audio.resampling import crop_bounds, resample_samples

from .sounds import noisy_sweep

RATE_PAIRS = [
    (48000, 44100),
    (44100, 48000),
    (96000, 44100),
    (8000, 44100),
    (22050, 44100),
    (44100, 22050),
    (32000, 44100),
    (192000, 8000),
    (44101, 44100),
]


@pytest.mark.parametrize(("from_rate", "to_rate"), RATE_PAIRS)
@pytest.mark.parametrize("num_samples", [1, 2, 7, 159, 160, 161, 1000, 4801])
def test_lengths_are_exact(num_samples: int, from_rate: int, to_rate: int) -> None:
    expected = math.floor(num_samples * to_rate / from_rate + 0.5)
    assert resampled_length(num_samples, from_rate, to_rate) == expected
    audio = noisy_sweep(num_samples, from_rate, channels=2)
    assert resample(audio, from_rate, to_rate).shape == (2, expected)


def test_equal_rates_change_nothing() -> None:
    audio = noisy_sweep(100)
    assert torch.equal(resample(audio, 44100, 44100), audio)


def tone(frequency: float, sampling_rate: int) -> torch.Tensor:
    """One second that fades in and out, so that nothing happens at its ends."""
    time = torch.arange(sampling_rate, dtype=torch.float64) / sampling_rate
    wave = torch.sin(2 * torch.pi * frequency * time) * torch.sin(torch.pi * time) ** 2
    return wave.float()


def test_a_tone_keeps_its_pitch_and_level() -> None:
    difference = resample(tone(997, 48000), 48000, 44100) - tone(997, 44100)
    assert difference.abs().max() < 1e-6


def test_what_the_new_rate_cannot_hold_is_removed() -> None:
    assert resample(tone(15000, 48000), 48000, 22050).abs().max() < 1e-6


@pytest.mark.parametrize(("from_rate", "to_rate"), RATE_PAIRS)
@pytest.mark.parametrize("quality", ["HQ", "VHQ"])
def test_a_crop_equals_the_same_part_of_the_whole(
    from_rate: int, to_rate: int, quality: str
) -> None:
    samples = noisy_sweep(from_rate + 37, from_rate).numpy().T
    whole = resample_samples(samples, from_rate, to_rate, quality=quality)  # type: ignore[arg-type]
    generator = np.random.default_rng(0)
    for _ in range(6):
        offset = int(generator.integers(0, len(whole)))
        wanted = int(generator.integers(1, 2000))
        start, stop, skip = crop_bounds(offset, wanted, from_rate, to_rate)
        part = resample_samples(samples[start:stop], from_rate, to_rate, quality=quality)  # type: ignore[arg-type]
        np.testing.assert_allclose(
            part[skip : skip + wanted], whole[offset : offset + wanted], atol=2e-5
        )
    assert crop_bounds(0, 10, from_rate, from_rate) == (0, 10, 0)


def test_the_usual_rates_are_cropped_to_the_last_bit() -> None:
    samples = noisy_sweep(96000, 48000).numpy().T
    whole = soxr.resample(samples, 48000, 44100, quality="VHQ")
    start, stop, skip = crop_bounds(50_001, 3000, 48000, 44100)
    part = resample_samples(samples[start:stop], 48000, 44100)
    assert start > 40_000  # only what is needed
    np.testing.assert_array_equal(part[skip : skip + 3000], whole[50_001:53_001])


def test_mistakes_are_named() -> None:
    audio = noisy_sweep(10)
    with pytest.raises(ValueError, match="must be a positive integer, got 0"):
        resample(audio, 0, 44100)
    with pytest.raises(ValueError, match=r"must be a positive integer, got 44100\.0"):
        resample(audio, 48000, 44100.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="quality must be one of VHQ, HQ, kaiser_best"):
        resample(audio, 48000, 44100, quality="best")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"\(channels, samples\)"):
        resample(torch.zeros(1, 1, 5), 48000, 44100)
