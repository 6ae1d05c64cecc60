import math

import pytest
import torch
from torch import Tensor

from jukebox_hf.listening.sound import (
    measure_levels,
    measure_liveliness,
    mel_filters,
    onsets_at_seams,
)

RATE = 22_050


def noise(seed: int, seconds: float) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(round(seconds * RATE), generator=generator)


def test_levels_of_a_sine_are_known() -> None:
    sine = 0.5 * torch.sin(torch.arange(RATE) * (2 * math.pi * 441 / RATE))
    levels = measure_levels(sine, RATE)
    assert levels.peak_db == pytest.approx(20 * math.log10(0.5), abs=0.02)
    assert levels.rms_db == pytest.approx(20 * math.log10(0.5 / math.sqrt(2)), abs=0.01)
    assert (levels.silent_share, levels.clipped_share) == (0, 0)


def test_silence_and_clipping_are_shares() -> None:
    audio = torch.cat([torch.zeros(3 * RATE), noise(1, 1), torch.full((RATE,), -1.0)])
    levels = measure_levels(audio, RATE)
    assert levels.silent_share == pytest.approx(3 / 5, abs=0.01)
    assert levels.clipped_share == pytest.approx(1 / 5, abs=1e-3)
    assert measure_levels(torch.zeros(RATE), RATE) == (1, 0, -120, -120)
    with pytest.raises(ValueError, match="audio of 9 samples is shorter than"):
        measure_levels(torch.zeros(9), RATE)


def test_beats_have_onsets_and_a_pulse_and_a_tone_has_not() -> None:
    time = torch.arange(4 * RATE) / RATE
    tone = 0.3 * torch.sin(2 * math.pi * 330 * time)
    beats = tone * torch.exp(-8 * (time % 0.5))
    still, lively = measure_liveliness(tone, RATE), measure_liveliness(beats, RATE)
    assert still.onset_strength < 0.06 < 0.1 < lively.onset_strength
    assert lively.pulse > 0.7
    assert measure_liveliness(noise(1, 4), RATE).pulse < 0.3
    assert measure_liveliness(torch.zeros(RATE), RATE) == (0, 0)


@pytest.mark.parametrize("rate", [8000, 22_050, 44_100])
def test_every_mel_band_hears_something(rate: int) -> None:
    filters = mel_filters(80, 1024, rate)
    assert filters.shape == (80, 513)
    assert (filters.sum(dim=1) > 0).all()
    assert float(filters.max()) <= 1


def test_noise_has_the_onsets_that_it_is_loud_enough_for() -> None:
    loud = noise(1, 4)
    loudness = [measure_liveliness(gain * loud, RATE).onset_strength for gain in (1, 0.01, 1e-4)]
    assert loudness[0] > 0.5
    assert 0.05 < loudness[1] < loudness[0]  # at -60 dB of full scale
    assert loudness[2] < 0.01


def test_hiss_beside_a_held_tone_is_no_onset() -> None:
    time = torch.arange(4 * RATE) / RATE
    tone = 0.3 * torch.sin(2 * math.pi * 330 * time)
    hiss = 1e-3 * noise(2, 4)
    assert measure_liveliness(tone + hiss, RATE).onset_strength < 0.06  # at its ends


def test_clicks_at_seams_are_a_pulse_only_for_who_does_not_know_of_them() -> None:
    seams = list(range(RATE // 2, 10 * RATE, round(0.4 * RATE)))
    audio = noise(3, 10)
    for seam in seams:
        audio[seam : seam + 40] += 2.0
    assert measure_liveliness(audio, RATE).pulse > 0.5
    told = measure_liveliness(audio, RATE, seams)
    assert told.pulse < 0.15
    still = measure_liveliness(noise(3, 10), RATE)
    assert told.onset_strength == pytest.approx(still.onset_strength, rel=0.1)


def test_a_beat_is_found_between_seams() -> None:
    time = torch.arange(10 * RATE) / RATE
    beats = 0.3 * torch.sin(2 * math.pi * 330 * time) * torch.exp(-8 * (time % 0.5))
    seams = list(range(RATE // 3, 10 * RATE, round(0.37 * RATE)))
    assert measure_liveliness(beats, RATE, seams).pulse > 0.5
    everywhere = range(0, 10 * RATE, 256)
    assert measure_liveliness(beats, RATE, everywhere) == (0, 0)


def test_a_click_shows_in_the_frames_of_its_seam() -> None:
    seams = [RATE, 2 * RATE, 3 * RATE, 100]  # the last is too near to the beginning
    audio = noise(4, 4)
    plain = onsets_at_seams(audio, RATE, seams)
    assert plain.shape == (3, 5)
    assert float(plain.mean()) == pytest.approx(1, abs=0.15)
    for seam in seams[:3]:
        audio[seam : seam + 40] += 2.0
    around = onsets_at_seams(audio, RATE, seams).mean(dim=0)
    assert float(around[1:4].max()) > 4
    assert onsets_at_seams(audio, RATE, []).shape == (0, 5)
