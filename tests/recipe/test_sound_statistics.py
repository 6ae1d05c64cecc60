import numpy as np
import pytest
import torch
from torch import Tensor

from jukebox_hf.listening.sound import mel_decibels
from model_cards.recipe.sound_statistics import (
    MATCH_STFT,
    centre_bands,
    nearest_mel_windows,
)

RATE = 22_050


def noise(seed: int, seconds: float) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(round(seconds * RATE), generator=generator)


def mels(seed: int, seconds: float) -> Tensor:
    """Noise whose bands come and go."""
    audio = noise(seed, seconds)
    beats = noise(seed + 100, seconds).abs().cumsum(0).mul(0.02).sin()
    return mel_decibels(audio * beats, RATE, MATCH_STFT)


def test_a_copied_window_is_found_whatever_its_colour_and_loudness() -> None:
    songs = [mels(seed, 6) for seed in range(3)]
    window = songs[1][:, 40:80] + torch.linspace(-20, 5, 40)[:, None]
    match = nearest_mel_windows([window], songs, 0.1)[0]
    assert (match.song, match.start_seconds) == (1, pytest.approx(4.0))
    assert match.correlation == pytest.approx(1, abs=1e-3)


def test_correlations_equal_numpys() -> None:
    songs, windows = [mels(1, 4)], [mels(9, 2)[:, :30], mels(8, 2)[:, 5:35]]
    found = nearest_mel_windows(windows, songs, 1.0)
    for window, match in zip(windows, found, strict=True):
        places = [
            np.corrcoef(
                centre_bands(window).flatten(), centre_bands(songs[0][:, i : i + 30]).flatten()
            )[0, 1]
            for i in range(songs[0].shape[1] - 29)
        ]
        assert match.correlation == pytest.approx(max(places), abs=1e-3)
        assert match.start_seconds == float(np.argmax(places))


def test_what_does_not_change_matches_nothing() -> None:
    still = torch.zeros(40, 30)
    assert nearest_mel_windows([still], [mels(1, 4)], 1.0)[0] == (-1, 0.0, 0.0)
    assert nearest_mel_windows([mels(1, 4)[:, :30]], [torch.zeros(40, 90)], 1.0)[0].song == -1
    assert nearest_mel_windows([mels(1, 4)[:, :30]], [torch.zeros(40, 9)], 1.0)[0].song == -1
