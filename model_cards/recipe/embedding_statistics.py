"""Which genre an embedding belongs to. Numpy only.

Embeddings are rows (pieces, dimensions) or (patches, dimensions) of any network's. What to embed,
and with what, is decided elsewhere.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float64]


# How far the correlations of dimensions are drawn towards none (Friedman 1989): with fewer pieces
# than dimensions they could not be told from chance.
SHRINKAGE = 0.5


class Centroids(NamedTuple):
    """The middle of each genre, in units in which genres spread alike in all directions.

    Attributes:
        genres: in the order of the rows of `middles`.
        middles: (genres, dimensions).
        mean: of the pieces that it was made from, (dimensions,).
        whitening: what pieces less the mean are multiplied by, (dimensions, dimensions).
    """

    genres: tuple[str, ...]
    middles: Rows
    mean: Rows
    whitening: Rows

    def distances(self, pieces: Rows) -> Rows:
        """Distances (pieces, genres) in these units (of Mahalanobis, 1936)."""
        scaled = (pieces - self.mean) @ self.whitening
        return np.asarray(np.linalg.norm(scaled[:, None] - self.middles[None], axis=2))

    def nearest(self, pieces: Rows) -> list[str]:
        """The genre whose middle is nearest to each piece (pieces, dimensions)."""
        return [self.genres[place] for place in self.distances(pieces).argmin(axis=1)]


def find_centroids(
    pieces: Rows, genres: Sequence[str], *, shrinkage: float = SHRINKAGE
) -> Centroids:
    """The middles of the genres of these pieces.

    Distances count in units of the spread within genres: each dimension is divided by its standard
    deviation, and of correlations the part 1 - `shrinkage` is taken away. Every genre counts alike,
    however many pieces it has. Raises `ValueError` unless there is a genre for each piece, and two
    genres or more.
    """
    names = tuple(sorted(set(genres)))
    if len(pieces) != len(genres) or len(names) < 2:
        raise ValueError(
            f"centroids need pieces of two genres or more, got {len(pieces)} pieces and "
            f"{len(genres)} genres of {len(names)} kinds"
        )
    groups = [pieces[[genre == name for genre in genres]] for name in names]
    mean = np.mean([group.mean(axis=0) for group in groups], axis=0)
    centred = [group - group.mean(axis=0) for group in groups]
    covariance = np.mean([rows.T @ rows / len(rows) for rows in centred], axis=0)
    scale = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
    correlations = (1 - shrinkage) * covariance / np.outer(scale, scale)
    np.fill_diagonal(correlations, 1.0)
    values, vectors = np.linalg.eigh(correlations)
    whitening = vectors / np.sqrt(np.maximum(values, 1e-12)) / scale[:, None]
    middles = np.stack([(group.mean(axis=0) - mean) @ whitening for group in groups])
    return Centroids(names, middles, mean, whitening)


def centroid_accuracy(pieces: Rows, genres: Sequence[str], songs: Sequence[str]) -> float:
    """Share of pieces that the centroid of their genre, made without their song, is nearest to."""
    hits = 0
    for song in sorted(set(songs)):
        inside = np.array([name == song for name in songs])
        others = [genre for genre, own in zip(genres, inside, strict=True) if not own]
        found = find_centroids(pieces[~inside], others).nearest(pieces[inside])
        true = [genre for genre, own in zip(genres, inside, strict=True) if own]
        hits += sum(a == b for a, b in zip(found, true, strict=True))
    return hits / len(pieces)


def neighbour_accuracy(
    pieces: Rows, genres: Sequence[str], songs: Sequence[str], *, neighbours: int = 5
) -> float:
    """Share of pieces whose genre most of their nearest neighbours from other songs have.

    Euclidean, every dimension divided by its standard deviation; of genres with as many votes the
    one with the nearest vote.
    """
    scaled = pieces / np.maximum(pieces.std(axis=0), 1e-12)
    distances = np.linalg.norm(scaled[:, None] - scaled[None], axis=2)
    hits = 0
    for place, song in enumerate(songs):
        order = [other for other in distances[place].argsort() if songs[other] != song]
        votes = [genres[other] for other in order[:neighbours]]
        best = max(votes, key=lambda genre: (votes.count(genre), -votes.index(genre)))
        hits += best == genres[place]
    return hits / len(pieces)


def chance_of_hits(hits: int, trials: int, probability: float) -> float:
    """Probability of at least so many hits by chance alone (one-sided binomial test).

    >>> round(chance_of_hits(2, 2, 0.5), 6), chance_of_hits(0, 9, 0.1)
    (0.25, 1.0)
    """
    return min(
        1.0,
        sum(
            math.comb(trials, count) * probability**count * (1 - probability) ** (trials - count)
            for count in range(hits, trials + 1)
        ),
    )


def permutation_chance(scores: Rows, *, draws: int = 10_000, seed: int = 0) -> float:
    """How often pairing rows with columns at random scores as well as pairing each with its own.

    `scores` (n, n): how well row i fits column j. Among `draws` random permutations and the true
    pairing, the share with a mean as high as the true one's.
    """
    random = np.random.default_rng(seed)
    count = len(scores)
    places = np.arange(count)
    true = scores[places, places].sum()
    found = sum(
        scores[places, random.permutation(count)].sum() >= true - 1e-12 for _ in range(draws)
    )
    return float((found + 1) / (draws + 1))
