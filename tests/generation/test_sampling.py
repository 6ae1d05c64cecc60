"""Codes are chosen as the original filters them, and as the probabilities say."""

from typing import Any

import pytest
import torch

from jukebox_hf.generation import sampling
from jukebox_hf.generation.sampling import (
    WindowSampler,
    choose_tokens,
    filter_logits,
)
from jukebox_hf.sampling_settings import LevelSettings
from tests.golden_data import load_golden
from tests.prior.tiny_priors import inputs, tiny_prior


def test_filters_equal_those_of_the_original() -> None:
    tensors, meta = load_golden("misc/filter_logits")
    logits = tensors["logits"]
    for case in meta["cases"]:
        filtered = filter_logits(logits, top_k=case["top_k"] or None, top_p=case["top_p"] or None)
        assert torch.equal(filtered, tensors[case["key"]]), case


def test_inverse_of_the_cumulative_distribution() -> None:
    logits = torch.tensor([0.1, 0.2, 0.0, 0.4, 0.3]).log()
    uniform = torch.tensor([0.0, 0.05, 0.1001, 0.2999, 0.3001, 0.6999, 0.7001, 1 - 2**-24])
    tokens, healthy = choose_tokens(logits.expand(8, 5), uniform)
    assert tokens.tolist() == [0, 0, 1, 1, 3, 3, 4, 4]
    assert healthy.all()


def test_choices_follow_the_probabilities() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(64, generator=generator)
    uniform = torch.rand(50_000, generator=generator)
    tokens, _ = choose_tokens(logits.expand(50_000, 64), uniform)
    expected = logits.softmax(-1) * 50_000
    counts = torch.bincount(tokens, minlength=64)
    assert ((counts - expected).abs() < 5 * expected.sqrt() + 1).all()


def test_what_has_no_probability_is_never_chosen() -> None:
    generator = torch.Generator().manual_seed(1)
    for size in (2, 3, 7, 50, 257):
        logits = torch.randn(1000, size, generator=generator) * 30
        filtered = filter_logits(logits, top_k=max(size // 2, 1))
        for value in (0.0, 1 - 2**-24, 1 - 2**-23, 0.5):
            tokens, healthy = choose_tokens(filtered, torch.full((1000,), value))
            chosen = filtered.gather(1, tokens.unsqueeze(1))
            assert chosen.isfinite().all()
            assert healthy.all()


def test_largest_uniform_number_stays_below_any_sum() -> None:
    """What `choose_tokens` relies on instead of clamping."""
    sums = 0.5 + torch.arange(2**20, dtype=torch.float32) * 2**-20  # 0.5 to 1.5
    near_one = 1 + torch.arange(-1000, 1000, dtype=torch.float32) * 2**-24
    for total in (sums, near_one):
        assert (total * (1 - 2**-24) < total).all()


def test_searching_finds_what_comparing_finds() -> None:
    """A CPU adds one after the other; elsewhere sums may fall, and every one is looked at."""
    generator = torch.Generator().manual_seed(3)
    for spread in (0.1, 3.0, 60.0):
        logits = torch.randn(400, 257, generator=generator) * spread
        logits[::3] = filter_logits(logits[::3], top_k=5)
        uniform = torch.rand(400, generator=generator)
        uniform[:40], uniform[40:80] = 0.0, 1 - 2**-24
        cumulative = logits.softmax(-1).cumsum(-1)
        assert (cumulative.diff(dim=-1) >= 0).all()
        exceeds = cumulative.masked_fill(logits.softmax(-1) == 0, 0.0) > (
            uniform * cumulative.amax(-1)
        ).unsqueeze(-1)
        tokens, healthy = choose_tokens(logits, uniform)
        assert torch.equal(tokens, exceeds.to(torch.int32).argmax(-1))
        assert healthy.all()


def test_logits_that_are_no_numbers_are_reported() -> None:
    logits = torch.tensor([[0.0, 1.0], [float("nan"), 1.0], [float("inf"), 1.0]])
    _, healthy = choose_tokens(logits, torch.rand(3))
    assert healthy.tolist() == [True, False, False]


def test_greedy_takes_the_likeliest() -> None:
    logits = torch.randn(20, 50, generator=torch.Generator().manual_seed(2))
    tokens, _ = choose_tokens(filter_logits(logits, top_k=1), torch.rand(20))
    assert torch.equal(tokens, logits.argmax(-1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, "temperature must be above 0"),
        ({"temperature": float("nan")}, "temperature must be above 0"),
        ({"top_k": 0}, "top_k must be a whole number of at least 1"),
        ({"top_p": 0.0}, "top_p must be above 0"),
        ({"top_p": 1.1}, "top_p must be above 0"),
        ({"top_k": 3, "top_p": 0.5}, "exclude each other"),
    ],
)
def test_senseless_settings_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LevelSettings(**settings)  # type: ignore[arg-type]


def test_given_codes_are_read_by_few_rows_at_a_time_to_the_same_codes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is computed meanwhile takes no more memory for more rows."""
    prior = tiny_prior("upsampler")
    rows, length = 5, prior.config.context_length
    codes, given = inputs(prior, rows)
    conditioning = prior.condition(**given)
    noise = torch.rand(rows, length - length // 2, generator=torch.Generator().manual_seed(3))
    read: list[int] = []
    whole = prior.prefill

    def count(tokens: torch.Tensor, *others: Any) -> torch.Tensor:
        read.append(len(tokens))
        return whole(tokens, *others)

    monkeypatch.setattr(prior, "prefill", count)
    found = []
    for at_once in (rows, 2):
        monkeypatch.setattr(sampling, "PREFILLED_AT_ONCE", at_once * prior.config.sequence_length)
        sampler = WindowSampler(prior, LevelSettings(), rows)
        found.append(sampler.sample(codes[:, : length // 2], noise, conditioning))
    assert read == [5, 2, 2, 1]
    assert torch.equal(*found)
