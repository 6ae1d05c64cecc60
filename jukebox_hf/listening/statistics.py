"""How sure a mean is, and how far two collections are apart. Numpy only.

Values of pieces, or rows (pieces, dimensions) of any network's states, go in.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float64]
DRAWS = 10_000
LEVEL = 0.95


class Interval(NamedTuple):
    """A mean, and the range in which the means of 95 % of all bootstrap draws lie."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3g} [{self.low:.3g}, {self.high:.3g}]"


def mean_interval(values: Sequence[float] | Rows, *, seed: int = 0) -> Interval:
    """The mean of values with a 95 % percentile bootstrap interval (Efron 1979).

    Of paired values give the differences. Raises `ValueError` without values.
    """
    found = np.asarray(values, dtype=np.float64)
    means = _drawn_means(found, np.random.default_rng(seed))
    return _interval(float(found.mean()), means)


def difference_interval(
    first: Sequence[float] | Rows, second: Sequence[float] | Rows, *, seed: int = 0
) -> Interval:
    """The mean of the first values less that of the second, which are other pieces."""
    random = np.random.default_rng(seed)
    parts = [np.asarray(values, dtype=np.float64) for values in (first, second)]
    means = [_drawn_means(part, random) for part in parts]
    return _interval(float(parts[0].mean() - parts[1].mean()), means[0] - means[1])


def _drawn_means(values: Rows, random: np.random.Generator) -> Rows:
    if not len(values):
        raise ValueError("an interval needs at least one value, got none")
    drawn = random.integers(0, len(values), size=(DRAWS, len(values)))
    means: Rows = values[drawn].mean(axis=1)
    return means


def _interval(mean: float, means: Rows) -> Interval:
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(mean, float(low), float(high))


def frechet_distance(first: Rows, second: Rows) -> float:
    """Frechet distance between the normal distributions that two collections of rows look like.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)) with means m and covariances C (Dowson and Landau
    1982), as Kilgour et al. (2019) use it for audio. The trace of the root is the sum of singular
    values of the product of the centred rows, which needs no matrix root and takes fewer rows than
    dimensions. Few rows make the distance larger: compare only at equal numbers of rows.

    Raises `ValueError` for fewer than two rows.
    """
    if min(len(first), len(second)) < 2:
        raise ValueError(f"two rows or more are needed, got {len(first)} and {len(second)}")
    means = [rows.mean(axis=0) for rows in (first, second)]
    centred = [
        (rows - mean) / math.sqrt(len(rows) - 1)
        for rows, mean in zip((first, second), means, strict=True)
    ]
    root = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    spread = sum(float((rows**2).sum()) for rows in centred)
    return float(((means[0] - means[1]) ** 2).sum() + spread - 2 * root)
