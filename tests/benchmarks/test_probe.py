"""What the probe counts with, without scikit-learn."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from jukebox_hf.listening.sound import mel_decibels
from tests.benchmarks.probe import SPECTRUM, Probed, choose, draws_of, interval, tempo

RATE = 22_050


@pytest.mark.parametrize("beats", [75, 100, 132])
def test_the_tempo_of_clicks_is_theirs(beats: int) -> None:
    clicks = torch.zeros(12 * RATE)
    clicks[torch.arange(0, len(clicks), RATE * 60 / beats).long()] = 1.0
    mel = mel_decibels(clicks, RATE, SPECTRUM).double().numpy()
    assert tempo(mel, RATE / SPECTRUM.hop_length) == pytest.approx(beats, rel=0.03)


def test_accuracy_counts_every_class_alike() -> None:
    labels = np.array(["rock"] * 9 + ["folk"])
    always_rock = Probed(np.array(["rock"] * 10), labels, np.arange(10))
    assert always_rock.accuracy() == 0.5
    assert always_rock.accuracy(np.arange(9)) == 1.0


def test_whole_sources_are_drawn_and_the_same_ones_each_time() -> None:
    sources = np.array(list("aabbbc"))
    draws = draws_of(sources)
    for rows in draws[:50]:
        for source in "abc":
            own = np.flatnonzero(sources == source)
            counts = [int((rows == row).sum()) for row in own]
            assert len(set(counts)) == 1
    assert all((one == other).all() for one, other in zip(draws, draws_of(sources), strict=True))
    low, high = interval([float(len(rows)) for rows in draws])
    assert low < 6 < high


def test_songs_without_a_genre_are_left_out_and_sources_limited() -> None:
    songs: Any = [
        SimpleNamespace(name=name, genre=genre)
        for name, genre in (("a/1", "rock"), ("a/2", "rock"), ("a/3", "folk"), ("b/1", "unknown"))
    ]
    assert [song.name for song in choose(songs, 1)] == ["a/1", "a/3"]
