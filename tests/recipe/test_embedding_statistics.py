import math
from itertools import permutations

import numpy as np
import pytest

from model_cards.recipe.embedding_statistics import (
    Rows,
    centroid_accuracy,
    chance_of_hits,
    find_centroids,
    neighbour_accuracy,
    permutation_chance,
)


def clouds(seed: int, count: int, middles: dict[str, list[float]]) -> tuple[Rows, list[str]]:
    random = np.random.default_rng(seed)
    rows = [random.normal(middle, 1.0, (count, len(middle))) for middle in middles.values()]
    return np.concatenate(rows), [name for name in middles for _ in range(count)]


def test_distances_to_centroids_equal_brute_force() -> None:
    random = np.random.default_rng(1)
    pieces, genres = clouds(1, 20, {"a": [0, 0], "b": [8, 0], "c": [0, 8]})
    pieces = pieces @ random.normal(size=(2, 2))
    groups = [pieces[[genre == name for genre in genres]] for name in "abc"]
    covariance = np.mean([np.cov(group.T, ddof=0) for group in groups], axis=0)
    for shrinkage in (0.0, 0.3, 1.0):
        shrunk = (1 - shrinkage) * covariance + shrinkage * np.diag(np.diag(covariance))
        found = find_centroids(pieces, genres, shrinkage=shrinkage).distances(pieces[:5])
        for piece, row in zip(pieces, found, strict=False):
            for group, distance in zip(groups, row, strict=True):
                away = piece - group.mean(axis=0)
                assert distance**2 == pytest.approx(away @ np.linalg.inv(shrunk) @ away)
    wanted = np.stack([group.mean(axis=0) for group in groups]) + 0.1
    assert find_centroids(pieces, genres).nearest(wanted) == ["a", "b", "c"]


def test_a_large_scale_in_one_dimension_does_not_decide() -> None:
    pieces, genres = clouds(1, 50, {"a": [0, 0], "b": [5, 0]})
    pieces[:, 1] *= 1e6
    assert centroid_accuracy(pieces, genres, [str(i) for i in range(100)]) > 0.95


def test_a_genre_counts_alike_however_many_pieces_it_has() -> None:
    pieces, genres = clouds(1, 10, {"a": [0.0], "b": [4.0]})
    more = np.concatenate([pieces, np.tile(pieces[:10], (9, 1))])
    few, many = find_centroids(pieces, genres), find_centroids(more, [*genres, *["a"] * 90])
    assert many.mean == pytest.approx(few.mean)
    assert many.distances(pieces) == pytest.approx(few.distances(pieces))


def test_accuracy_is_that_of_other_songs() -> None:
    # Each song's pieces are alike, and no two songs of a genre: knowing the song would help.
    random = np.random.default_rng(2)
    songs = [str(i // 4) for i in range(80)]
    pieces = np.repeat(random.normal(size=(20, 30)), 4, axis=0)
    genres = ["a" if int(song) % 2 else "b" for song in songs]
    assert centroid_accuracy(pieces, genres, [str(i) for i in range(80)]) > 0.8
    assert neighbour_accuracy(pieces, genres, [str(i) for i in range(80)], neighbours=3) == 1
    assert centroid_accuracy(pieces, genres, songs) < 0.7
    assert neighbour_accuracy(pieces, genres, songs) < 0.7
    pieces, genres = clouds(1, 20, {"a": [0, 0], "b": [9, 0], "c": [0, 9]})
    assert neighbour_accuracy(pieces, genres, [str(i) for i in range(60)]) == 1


def test_centroids_need_two_genres() -> None:
    with pytest.raises(ValueError, match="two genres or more, got 2 pieces and 2 genres of 1"):
        find_centroids(np.zeros((2, 3)), ["a", "a"])


def test_chance_of_hits_equals_counting_all_outcomes() -> None:
    for hits in range(5):
        outcomes = [bin(number).count("1") for number in range(16)]
        expected = sum(0.3**n * 0.7 ** (4 - n) for n in outcomes if n >= hits)
        assert chance_of_hits(hits, 4, 0.3) == pytest.approx(expected)
    assert chance_of_hits(14, 30, 1 / 6) == pytest.approx(1.2657e-4, rel=1e-3)


def test_permutation_chance_is_near_that_of_all_permutations() -> None:
    scores = np.random.default_rng(5).random((5, 5)) + 0.3 * np.eye(5)
    true = np.trace(scores)
    sums = [sum(scores[i, j] for i, j in enumerate(order)) for order in permutations(range(5))]
    expected = np.mean([value >= true - 1e-12 for value in sums])
    assert permutation_chance(scores) == pytest.approx(expected, abs=0.02)
    assert permutation_chance(np.eye(8)) < 0.001
    assert permutation_chance(np.ones((4, 4))) == 1
    assert math.isclose(permutation_chance(scores), permutation_chance(scores))
