import numpy as np
import pytest

from jukebox_hf.listening.statistics import (
    Rows,
    difference_interval,
    frechet_distance,
    mean_interval,
)


def test_intervals_hold_the_true_mean_as_often_as_they_say() -> None:
    random = np.random.default_rng(0)
    held = [
        low <= 2 <= high
        for _, low, high in (mean_interval(random.normal(2, 1, size=30)) for _ in range(100))
    ]
    assert 86 <= sum(held) <= 99


def normal_rows(seed: int, mean: Rows, covariance: Rows, count: int) -> Rows:
    """Rows with exactly this mean and covariance."""
    rows = np.random.default_rng(seed).normal(size=(count, len(mean)))
    rows -= rows.mean(axis=0)
    whitened = rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows.T))).T
    return np.asarray(whitened @ np.linalg.cholesky(covariance).T + mean)


def test_difference_of_equal_collections_holds_zero_and_of_others_does_not() -> None:
    random = np.random.default_rng(1)
    first, second = random.normal(size=(2, 30))
    same = difference_interval(first, second)
    assert same.low < 0 < same.high
    assert same.mean == pytest.approx(first.mean() - second.mean())
    assert difference_interval(first + 2, second).low > 1
    assert str(mean_interval([1.0, 1.0])) == "1 [1, 1]"
    with pytest.raises(ValueError, match="needs at least one value"):
        mean_interval([])


def test_frechet_distance_of_independent_dimensions_is_the_closed_form() -> None:
    spreads = np.array([1.0, 2.0, 3.0]), np.array([2.0, 0.5, 3.0])
    means = np.array([0.0, 1.0, 2.0]), np.array([1.0, 1.0, 0.0])
    first, second = (
        normal_rows(seed, means[seed], np.diag(spreads[seed] ** 2), 50 + seed) for seed in (0, 1)
    )
    expected = ((means[0] - means[1]) ** 2).sum() + ((spreads[0] - spreads[1]) ** 2).sum()
    assert frechet_distance(first, second) == pytest.approx(expected)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_equals_the_matrix_root() -> None:
    random = np.random.default_rng(3)
    mixers = [random.normal(size=(4, 4)) for _ in range(2)]
    first, second = (normal_rows(i, np.zeros(4), mixers[i] @ mixers[i].T, 40) for i in (0, 1))
    covariances = [np.cov(rows.T) for rows in (first, second)]
    values = np.linalg.eigvals(covariances[0] @ covariances[1]).real
    expected = sum(np.trace(one) for one in covariances) - 2 * np.sqrt(values).sum()
    assert frechet_distance(first, second) == pytest.approx(expected)


def test_frechet_distance_takes_fewer_rows_than_dimensions() -> None:
    rows = np.random.default_rng(4).normal(size=(5, 30))
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(rows, rows + 1) == pytest.approx(30)
    with pytest.raises(ValueError, match="two rows or more are needed, got 1 and 5"):
        frechet_distance(rows[:1], rows)
