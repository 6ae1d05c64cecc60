"""How predictable codes are without a model. Numpy only.

Codes are arrays (time,) of integers from 0 to `codebook_size` - 1, one per song or take, all of one
level. Bits are means per code of songs that were not counted, so a prior has to be below them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.int64]


class Baselines(NamedTuple):
    """Bits per held-out code, by what is looked at; and how many codes they come from."""

    uniform: float  # nothing: log2 of the codebook's size
    unigram: float  # how often each code occurs in training
    order_1: float  # the code before
    order_2: float  # the two codes before
    train_codes: int
    held_out_codes: int


def markov_baselines(
    train: Sequence[Codes], held_out: Sequence[Codes], codebook_size: int
) -> Baselines:
    """Cross entropy of held-out codes under counts of the training codes.

    Contexts are interpolated with the next shorter one after Witten and Bell (1991): a context seen
    `n` times with `t` different followers gives `t / (n + t)` of the probability to the shorter
    one. The shortest are counts plus one. The first codes of a song are judged by what there is.

    Raises `ValueError` for no codes, or codes outside the codebook.
    """
    per_song = markov_bits(train, held_out, codebook_size)
    lengths = [len(codes) for codes in held_out]
    bits = [float(np.average(order, weights=lengths)) for order in per_song]
    return Baselines(
        uniform=float(np.log2(codebook_size)),
        unigram=bits[0],
        order_1=bits[1],
        order_2=bits[2],
        train_codes=sum(map(len, train)),
        held_out_codes=sum(lengths),
    )


def markov_bits(
    train: Sequence[Codes], held_out: Sequence[Codes], codebook_size: int
) -> npt.NDArray[np.float64]:
    """Bits per code of every held-out song for the orders 0, 1 and 2: (3, songs).

    What and how is as of `markov_baselines`; a song without codes has 0 bits.
    """
    _check(train, "training", codebook_size)
    _check(held_out, "held-out", codebook_size)
    counts = np.bincount(np.concatenate(train), minlength=codebook_size) + 1.0
    unigram = counts / counts.sum()
    probabilities = [[unigram[codes] for codes in held_out]]
    for order in (1, 2):
        table = _ContextTable(train, order, codebook_size)
        shorter = probabilities[-1]
        probabilities.append(
            [table.predict(codes, lower) for codes, lower in zip(held_out, shorter, strict=True)]
        )
    return np.array(
        [
            [float(-np.log2(song).mean()) if len(song) else 0.0 for song in order]
            for order in probabilities
        ]
    )


class _ContextTable:
    """How often each code followed each context of `order` codes."""

    def __init__(self, train: Sequence[Codes], order: int, codebook_size: int) -> None:
        self.order, self.size = order, codebook_size
        keys = np.concatenate([self._keys(codes) for codes in train])
        self.keys, self.counts = np.unique(keys, return_counts=True)
        contexts = self.keys // codebook_size
        self.contexts, first = np.unique(contexts, return_index=True)
        self.totals = np.add.reduceat(self.counts, first) if len(first) else self.counts
        self.followers = np.diff([*first, len(contexts)])

    def _keys(self, codes: Codes) -> Codes:
        """One number for every context and what follows it."""
        keys = np.zeros(max(len(codes) - self.order, 0), dtype=np.int64)
        for place in range(self.order + 1):
            keys = keys * self.size + codes[place : place + len(keys)]
        return keys

    def predict(self, codes: Codes, lower: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Probability of each code after those before it; `lower`: from a shorter context."""
        keys = self._keys(codes)
        count = _look_up(keys, self.keys, self.counts)
        total = _look_up(keys // self.size, self.contexts, self.totals)
        followers = _look_up(keys // self.size, self.contexts, self.followers)
        seen = np.maximum(total + followers, 1)
        given = lower[self.order :]
        mixed = np.where(total > 0, (count + followers * given) / seen, given)
        return np.concatenate([lower[: self.order], mixed])


def _look_up(wanted: Codes, keys: Codes, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Values of sorted keys; 0 for those that are not there."""
    if not len(keys):
        return np.zeros(len(wanted))
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, values[place], 0)


def _check(songs: Sequence[Codes], what: str, codebook_size: int) -> None:
    if not any(len(codes) for codes in songs):
        raise ValueError(f"there are no {what} codes")
    low = min(int(codes.min()) for codes in songs if len(codes))
    high = max(int(codes.max()) for codes in songs if len(codes))
    if low < 0 or high >= codebook_size:
        raise ValueError(f"{what} codes must be from 0 to {codebook_size - 1}, got {low} to {high}")


def perplexity(counts: npt.NDArray[Any]) -> float:
    """How many codes are in use, in effect: 2 to the power of the entropy of the counts."""
    shares = counts[counts > 0] / counts.sum()
    return float(2 ** -(shares * np.log2(shares)).sum())
