"""How well pieces of music fit the genre that was asked for, measured on what networks heard.

What was heard of the pieces and of training music goes in, plain records come out; choosing and
hearing clips is `evaluate_samples`' work.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jukebox_hf.listening.statistics import frechet_distance
from model_cards.recipe.embedding_statistics import (
    Rows,
    centroid_accuracy,
    chance_of_hits,
    find_centroids,
    neighbour_accuracy,
)
from model_cards.recipe.listening import Heard, pieces, rows

DRAWS = 20  # of real clips that a distance of samples is compared with


class Clips(NamedTuple):
    """Clips with what they are and what was heard of them, in the same order."""

    genres: list[str]
    songs: list[str]
    heard: list[Heard]

    def of(self, genre: str) -> "Clips":
        """Those of a genre."""
        return self.where([own == genre for own in self.genres])

    def where(self, keep: Sequence[bool]) -> "Clips":
        """Those that are to be kept."""
        places = [place for place, own in enumerate(keep) if own]
        return Clips(
            [self.genres[place] for place in places],
            [self.songs[place] for place in places],
            [self.heard[place] for place in places],
        )

    def half(self, number: int) -> "Clips":
        """Every other song's clips, the first half (0) or the second (1)."""
        order = {song: place for place, song in enumerate(sorted(set(self.songs)))}
        return self.where([order[song] % 2 == number for song in self.songs])


def measure_hits(train: Clips, found: Clips, kind: str) -> dict[str, Any]:
    """How many clips have the centroid of their own genre nearest, of those of the training clips.

    `chance` is the probability of as many hits by guessing among the genres, `nearest` counts the
    nearest centroids of every genre's clips.
    """
    centroids = find_centroids(pieces(train.heard, kind), train.genres)
    nearest = centroids.nearest(pieces(found.heard, kind))
    hits = sum(a == b for a, b in zip(nearest, found.genres, strict=True))
    counted = {
        genre: {
            other: sum(
                (own, near) == (genre, other)
                for own, near in zip(found.genres, nearest, strict=True)
            )
            for other in centroids.genres
        }
        for genre in sorted(set(found.genres))
    }
    return {
        "clips": len(nearest),
        "hits": hits,
        "share": hits / len(nearest),
        "chance": chance_of_hits(hits, len(nearest), 1 / len(centroids.genres)),
        "nearest": counted,
    }


def measure_accuracy(train: Clips, kind: str) -> dict[str, float]:
    """How often real clips are taken for what they are, their own song left out."""
    found = pieces(train.heard, kind)
    return {
        "centroids": centroid_accuracy(found, train.genres, train.songs),
        "neighbours": neighbour_accuracy(found, train.genres, train.songs),
    }


def measure_distances(train: Clips, found: Clips, kind: str, *, seed: int = 0) -> dict[str, Any]:
    """Frechet distances of each genre's clips, beside those of as many real clips.

    For each genre: the distance of the clips to one half of the genre's training songs (`found`),
    the mean distance of draws of as many clips from the other half (`same`), and of draws from each
    other genre (`other`, by genre). Genres with fewer than two clips, or songs in one half only,
    are left out.
    """
    random = np.random.default_rng(seed)
    result: dict[str, Any] = {}
    for genre in sorted(set(found.genres)):
        mine, reference = found.of(genre), train.of(genre).half(0)
        same = train.of(genre).half(1)
        if len(mine.heard) < 2 or not reference.heard or len(same.heard) < len(mine.heard):
            continue
        target = rows(reference.heard, kind)
        others = sorted(set(train.genres) - {genre})

        def drawn(clips: Clips, count: int = len(mine.heard), target: Rows = target) -> float:
            count = min(count, len(clips.heard))
            picks = [random.permutation(len(clips.heard))[:count] for _ in range(DRAWS)]
            return float(
                np.mean(
                    [
                        frechet_distance(rows([clips.heard[i] for i in pick], kind), target)
                        for pick in picks
                    ]
                )
            )

        result[genre] = {
            "clips": len(mine.heard),
            "found": frechet_distance(rows(mine.heard, kind), target),
            "same": drawn(same),
            "other": {name: drawn(train.of(name)) for name in others},
        }
    return result
