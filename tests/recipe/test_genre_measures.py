import numpy as np
import pytest

from jukebox_hf.listening.statistics import frechet_distance
from model_cards.recipe.embedding_statistics import chance_of_hits
from model_cards.recipe.genre_measures import (
    Clips,
    measure_accuracy,
    measure_distances,
    measure_hits,
)
from model_cards.recipe.listening import Heard, rows

MIDDLES = {"folk": 0.0, "metal": 8.0, "rock": 16.0}


def heard(random: np.random.Generator, middle: float) -> Heard:
    patches = random.normal(middle, 1.0, (3, 4)).astype(np.float32)
    return Heard(patches, -patches)


def clips(seed: int, per_genre: int, *, shift: float = 0.0) -> Clips:
    random = np.random.default_rng(seed)
    genres = [genre for genre in MIDDLES for _ in range(per_genre)]
    songs = [f"{genre} {number % 10}" for number, genre in enumerate(genres)]
    return Clips(genres, songs, [heard(random, MIDDLES[genre] + shift) for genre in genres])


def test_hits_are_counted_by_genre_with_their_chance() -> None:
    found = measure_hits(clips(1, 20), clips(2, 5), "msd")
    assert (found["hits"], found["clips"], found["share"]) == (15, 15, 1)
    assert found["chance"] == chance_of_hits(15, 15, 1 / 3)
    assert found["nearest"]["rock"] == {"folk": 0, "metal": 0, "rock": 5}
    # Everything sounds like the next genre: folk as metal, metal as rock, rock as rock.
    for network in ("msd", "mtt"):
        shifted = measure_hits(clips(1, 20), clips(2, 5, shift=8.0), network)
        assert (shifted["hits"], shifted["nearest"]["folk"]["metal"]) == (5, 5)
        assert shifted["chance"] > 0.5


def test_real_clips_are_told_right_without_their_own_song() -> None:
    accuracy = measure_accuracy(clips(1, 20), "msd")
    assert accuracy == {"centroids": 1, "neighbours": 1}


def test_halves_share_no_song_and_hold_all() -> None:
    whole = clips(1, 20)
    first, second = whole.half(0), whole.half(1)
    assert not set(first.songs) & set(second.songs)
    assert len(first.songs) + len(second.songs) == 60
    assert [len(part) for part in first] == [len(first.songs)] * 3


def test_distances_are_compared_at_equal_numbers() -> None:
    train, found = clips(1, 20), clips(2, 5)
    distances = measure_distances(train, found, "msd")
    assert list(distances) == ["folk", "metal", "rock"]
    reference = rows(train.of("metal").half(0).heard, "msd")
    metal = distances["metal"]
    assert metal["clips"] == 5
    assert metal["found"] == frechet_distance(rows(found.of("metal").heard, "msd"), reference)
    assert metal["same"] == pytest.approx(metal["found"], abs=2)
    assert sorted(metal["other"]) == ["folk", "rock"]
    assert min(metal["other"].values()) > 4 * 8**2 * 0.8
    assert measure_distances(train, found, "msd") == distances  # the draws are always the same
    assert not measure_distances(train, clips(2, 1), "msd")  # one clip has no distribution
