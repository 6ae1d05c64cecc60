import math

import pytest
import torch
from torch import Tensor

from model_cards.recipe.loudness import (
    PEAK_LIMIT,
    SILENCE,
    add_up,
    measure_loudness,
    normalise,
    trim_silence,
)

RATE = 48_000


def tone(hertz: float, amplitude: float, seconds: float = 2.0, rate: int = RATE) -> Tensor:
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return (amplitude * torch.sin(2 * math.pi * hertz * time)).float()[None]


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_the_standards_own_tone_has_its_loudness(rate: int) -> None:
    # BS.1770-4: a full-scale sine of 997 Hz in one front channel reads -3.01 LKFS.
    assert measure_loudness(tone(997, 1.0, rate=rate), rate) == pytest.approx(-3.01, abs=0.05)


def test_two_equal_channels_are_three_decibels_louder_than_one() -> None:
    one = tone(997, 0.1)
    both = measure_loudness(one.expand(2, -1), RATE)
    assert both - measure_loudness(one, RATE) == pytest.approx(3.01, abs=0.01)


def test_low_tones_count_less_and_high_ones_more() -> None:
    low, middle, high = (measure_loudness(tone(hertz, 0.5), RATE) for hertz in (40, 997, 4000))
    assert low < middle - 4
    assert high > middle + 2


def test_pauses_do_not_count() -> None:
    loud = tone(997, 0.5, seconds=3)
    with_pause = torch.cat([loud, torch.zeros(1, 10 * RATE)], dim=1)
    difference = measure_loudness(with_pause, RATE) - measure_loudness(loud, RATE)
    assert abs(difference) < 0.4  # the blocks that the end of the tone falls into count


def test_normalised_audio_has_the_target_loudness() -> None:
    for amplitude in (0.01, 0.1, 1.0):
        result = normalise(tone(500, amplitude), RATE, target=-20.0)
        assert measure_loudness(result.audio, RATE) == pytest.approx(-20, abs=0.01)
        assert not result.peak_limited


def test_peaks_hold_the_gain_back() -> None:
    audio = tone(500, 0.05)
    audio[0, 1000] = 0.9
    result = normalise(audio, RATE, target=-18.0)
    assert result.peak_limited
    assert float(result.audio.abs().max()) == pytest.approx(PEAK_LIMIT, rel=1e-5)
    assert measure_loudness(result.audio, RATE) < -18


def test_silence_and_very_short_audio() -> None:
    assert measure_loudness(torch.zeros(1, RATE), RATE) == -math.inf
    assert math.isfinite(measure_loudness(tone(997, 0.5, seconds=0.01), RATE))
    with pytest.raises(ValueError, match="silent"):
        normalise(torch.zeros(1, RATE), RATE)


def test_silence_is_cut_off_the_ends_only() -> None:
    sound = torch.tensor([[0.5, 0.0, 0.0, -0.5]])
    audio = torch.cat([torch.full((1, 7), SILENCE), sound, torch.zeros(1, 5)], dim=1)
    assert torch.equal(trim_silence(audio), sound)
    assert trim_silence(torch.zeros(2, 9)).shape == (2, 0)
    assert torch.equal(trim_silence(sound), sound)


def test_stems_add_up_sample_by_sample() -> None:
    long, short = torch.tensor([[0.1, 0.2, 0.3]]), torch.tensor([[0.5]])
    assert torch.allclose(add_up([long, short]), torch.tensor([[0.6, 0.2, 0.3]]))
    with pytest.raises(ValueError, match=r"\[1, 2\] channels"):
        add_up([long, torch.zeros(2, 3)])
