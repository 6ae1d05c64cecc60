import math
from collections import Counter

import numpy as np
import pytest

from model_cards.recipe.code_statistics import (
    Codes,
    markov_baselines,
    perplexity,
)


def random_codes(seed: int, length: int, size: int) -> Codes:
    return np.random.default_rng(seed).integers(size, size=length)


def brute_force_bits(train: list[Codes], held_out: list[Codes], size: int, order: int) -> float:
    """The same definition, written with dictionaries."""
    unigram = Counter(int(code) for codes in train for code in codes)
    total = sum(unigram.values()) + size
    contexts: dict[tuple[int, ...], Counter[int]] = {}
    for codes in train:
        for context_length in range(1, order + 1):
            for place in range(context_length, len(codes)):
                context = tuple(codes[place - context_length : place].tolist())
                contexts.setdefault(context, Counter())[int(codes[place])] += 1
    bits, count = 0.0, 0
    for codes in held_out:
        for place, code in enumerate(codes.tolist()):
            probability = (unigram[code] + 1) / total
            for context_length in range(1, min(order, place) + 1):
                seen = contexts.get(tuple(codes[place - context_length : place].tolist()))
                if seen:
                    n, t = sum(seen.values()), len(seen)
                    probability = (seen[code] + t * probability) / (n + t)
            bits -= math.log2(probability)
            count += 1
    return bits / count


def test_baselines_equal_brute_force() -> None:
    train = [random_codes(seed, 60 + seed, 5) for seed in range(4)]
    held_out = [random_codes(9, 40, 5), random_codes(10, 1, 5), random_codes(11, 2, 5)]
    found = markov_baselines(train, held_out, 5)
    assert found.uniform == pytest.approx(math.log2(5))
    for order, bits in enumerate((found.unigram, found.order_1, found.order_2)):
        assert bits == pytest.approx(brute_force_bits(train, held_out, 5, order))
    assert (found.train_codes, found.held_out_codes) == (246, 43)


def test_baselines_find_the_structure_there_is() -> None:
    cycle = np.tile(np.array([0, 1, 0, 2]), 200)  # the code before does not tell 1 from 2
    found = markov_baselines([cycle], [cycle[:100]], 2048)
    assert found.uniform == 11
    assert found.unigram > 1.4
    assert 0.4 < found.order_1 < 0.7
    assert found.order_2 < 0.15


def test_noise_stays_at_the_uniform_guess() -> None:
    noise = random_codes(1, 200_000, 16)
    found = markov_baselines([noise[:100_000]], [noise[100_000:]], 16)
    for bits in (found.unigram, found.order_1, found.order_2):
        assert bits == pytest.approx(4, abs=0.06)


@pytest.mark.parametrize(
    ("train", "held_out", "message"),
    [
        ([], [[1]], "no training codes"),
        ([[1]], [[]], "no held-out codes"),
        ([[1, 8]], [[1]], "training codes must be from 0 to 7, got 1 to 8"),
        ([[1]], [[-1]], "held-out codes must be from 0 to 7, got -1 to -1"),
    ],
)
def test_unusable_codes_are_refused(
    train: list[list[int]], held_out: list[list[int]], message: str
) -> None:
    def arrays(songs: list[list[int]]) -> list[Codes]:
        return [np.array(codes, dtype=np.int64) for codes in songs]

    with pytest.raises(ValueError, match=message):
        markov_baselines(arrays(train), arrays(held_out), 8)


def test_perplexity_counts_codes_in_use() -> None:
    assert perplexity(np.array([5, 5, 0, 5, 5])) == pytest.approx(4)
    assert perplexity(np.array([7, 0])) == pytest.approx(1)
