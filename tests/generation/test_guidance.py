"""Guidance: what artist and genre change is magnified, and nothing else changes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from jukebox_hf.generation import JukeboxPipeline, Request, memory
from jukebox_hf.generation.backends import CompiledBackend
from jukebox_hf.generation.estimate import estimate_costs
from jukebox_hf.generation.making import Generation
from jukebox_hf.generation.noise import uniform_noise
from jukebox_hf.generation.sampling import (
    WindowSampler,
    choose_tokens,
    guide_logits,
)
from jukebox_hf.generation.settings import Prompt
from jukebox_hf.hub import System, save_system
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.sampling_settings import LevelSettings
from tests.generation.making import assert_same_codes, make, plan_of
from tests.prior.tiny_priors import inputs, tiny_prior
from tests.tiny import tiny_prior as tiny_system_prior
from tests.tiny import tiny_vqvae

TOP = {2: 3.0}
NAMELESS = Prompt(seconds=0.6, total_seconds=4.0)


def test_it_goes_from_without_names_past_with_names() -> None:
    logits = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
    named, nameless = logits[:3].log_softmax(-1), logits[3:].log_softmax(-1)
    for guidance, expected in ((0.0, nameless), (1.0, named), (4.0, 4 * named - 3 * nameless)):
        found = guide_logits(logits, guidance).softmax(-1)
        torch.testing.assert_close(found, expected.softmax(-1))


def both_ways(prior: JukeboxPrior, batch: int) -> dict[str, Any]:
    """What conditions a window with names, and then without."""
    _, given = inputs(prior, batch)
    rows = torch.arange(batch).repeat(2)
    labels = given["labels"].select(rows)
    doubled = {name: value[rows] for name, value in given.items() if name != "labels"}
    return {"labels": labels.without_names(torch.arange(2 * batch) >= batch), **doubled}


@pytest.mark.parametrize("name", ["upsampler", "top", "lyrics_encoder", "lyrics_sequence"])
def test_a_window_is_what_two_whole_passes_predict(name: str) -> None:
    """Every code is chosen from the logits of `forward` with names and without."""
    prior, batch, primer = tiny_prior(name), 2, 3
    length = prior.config.context_length
    given = both_ways(prior, batch)
    first = inputs(prior, batch)[0][:, :primer]
    noise = torch.stack(
        [
            uniform_noise(seed=1, take=take, level=0, start=primer, count=length - primer)
            for take in range(batch)
        ]
    )
    with torch.inference_mode():
        settings = LevelSettings(guidance=2.5, temperature=0.9, codes_only=True)
        sampler = WindowSampler(prior, settings, batch)
        codes = sampler.sample(first, noise, prior.condition(**given))
        whole = torch.cat([first, codes], dim=1)
        logits = prior(whole.repeat(2, 1), **given).logits[:, primer:]
        letters = torch.arange(logits.shape[-1]) < prior.to_tokens(torch.tensor(0))
        logits = logits.masked_fill(letters, -1e9)
    expected = torch.stack(
        [
            choose_tokens(guide_logits(logits[:, place], 2.5) / 0.9, noise[:, place])[0]
            for place in range(length - primer)
        ],
        dim=1,
    )
    assert torch.equal(prior.to_codes(expected), codes)


def test_it_runs_compiled() -> None:
    prior, batch = tiny_prior("top"), 2
    given, length = both_ways(prior, batch), prior.config.context_length
    noise = torch.rand(batch, length, generator=torch.Generator().manual_seed(0))
    nothing = torch.zeros(batch, 0, dtype=torch.int64)
    with torch.inference_mode():
        conditioning = prior.condition(**given)
    sampler = WindowSampler(prior, LevelSettings(guidance=3.0), batch)
    expected = sampler.sample(nothing, noise, conditioning)
    sampler.backend = CompiledBackend(sampler._make_step(), compiler="eager")
    assert torch.equal(sampler.sample(nothing, noise, conditioning), expected)


def test_none_of_it_is_music_without_names(tiny: System) -> None:
    named = make(tiny, plan_of(tiny, guidance={2: 0.0}, to_level=2))
    nameless = make(tiny, plan_of(tiny, {1: NAMELESS}, to_level=2))
    assert_same_codes(named, nameless)
    assert not torch.equal(named[1][2], make(tiny, plan_of(tiny, to_level=2))[1][2])


def test_it_changes_its_level_and_depends_on_names(tiny: System) -> None:
    plain, guided = (make(tiny, plan_of(tiny, guidance=own))[1] for own in ({2: 1.0}, TOP))
    assert not torch.equal(plain[2], guided[2])
    lower = plan_of(tiny, guidance={0: 3.0})
    found = make(tiny, lower)[1]
    assert torch.equal(found[2], plain[2])
    assert torch.equal(found[1], plain[1])
    assert not torch.equal(found[0], plain[0])


def test_without_names_there_is_nothing_to_follow(tiny: System) -> None:
    plan = plan_of(tiny, {1: NAMELESS}, guidance=TOP)
    top = plan.levels[0]
    assert top.settings.guidance == 3.0
    assert top.sampling(plan.takes).rows_per_window == 1
    assert_same_codes(make(tiny, plan), make(tiny, plan_of(tiny, {1: NAMELESS})))


@pytest.mark.parametrize(
    ("prompt", "sampling", "said"),
    [
        ({}, {"guidance": 3.0}, ["guidance has no effect at level 0, 1 and 2: no take has an art"]),
        ({"genre": "rock"}, {"guidance": 3.0}, []),
        ({}, {"guidance": {2: 1.0}}, []),
        ({"genre": {2: "rock"}}, {"guidance": 3.0}, []),
        (
            {"genre": {2: "rock"}},
            {"guidance": TOP | {0: 2.0}},
            ["guidance has no effect at level 0:"],
        ),
        ({}, {}, []),
        ({}, {"codes_only": False}, []),
        ({}, {"codes_only": {2: True}}, ["codes_only has no effect at level 2: it is for priors"]),
    ],
)
def test_what_is_asked_for_in_vain_is_said(
    prompt: dict[str, Any], sampling: dict[str, Any], said: list[str], tiny: System
) -> None:
    request = Request.new({"seconds": 0.2, **prompt, **sampling})
    notes = JukeboxPipeline(tiny, device="cpu").plan(request).notes
    assert [text[: len(one)] for text, one in zip(notes, said, strict=True)] == said


def test_codes_only_is_for_the_level_that_sings(lyrical: System) -> None:
    pipeline = JukeboxPipeline(lyrical, device="cpu")
    for own, said in (
        (True, ()),
        ({2: True}, ()),
        ({2: True, 0: True}, ("codes_only has no eff",)),
    ):
        notes = pipeline.plan(Request.new({"seconds": 0.2, "codes_only": own})).notes
        assert tuple(text[:21] for text in notes) == said


def test_takes_do_not_depend_on_each_other(tiny: System) -> None:
    rock, jazz = (Prompt(genre=genre, seconds=0.6) for genre in ("rock", "jazz"))
    prompts = {1: rock, 2: jazz, 3: Prompt(seconds=0.6), 4: rock}
    together = make(tiny, plan_of(tiny, prompts, guidance=TOP, to_level=1))
    for number, prompt in prompts.items():
        alone = make(tiny, plan_of(tiny, {number: prompt}, guidance=TOP, to_level=1))
        assert_same_codes(alone, {number: together[number]})


def test_interrupted_equals_uninterrupted(tiny: System) -> None:
    plan = plan_of(tiny, 2, guidance=TOP, to_level=2, seconds=0.9)
    whole = make(tiny, plan)
    state: dict[str, Any] = {}
    for _ in range(100):
        generation = Generation(plan, **state)
        if next(iter(generation), None) is None:
            break
        state = {"codes": generation.codes, "batch_sizes": generation.batch_sizes}
    assert_same_codes(generation.codes, whole)


def test_memory_counts_both_rows(tiny: System, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_of(tiny, 5, guidance=TOP, to_level=2)
    config = tiny.prior_config(2)
    needed = memory.prior_memory(config, "float32", "cpu").with_rows(2)
    assert needed.cache == tiny.load_prior(2).new_cache(2).num_bytes()
    whole = make(tiny, plan)
    monkeypatch.setenv(memory.LIMIT_VARIABLE, str(int(needed.total(2) / memory.USED_SHARE) + 1))
    generation = Generation(plan)
    assert max(len(report.windows) for report in generation) == 2
    assert_same_codes(generation.codes, whole)
    (costs,) = estimate_costs(plan, torch.device("cpu"), calibrate=False).levels
    assert (costs.batch_size, costs.memory) == (2, needed)


def test_a_prior_that_knows_no_names_cannot_be_guided(tmp_path: Path) -> None:
    nameless = {"artist_count": 0, "genre_count": 0, "genre_slots": 0, "timing_bins": 0}
    prior = tiny_system_prior(2, **nameless)
    save_system(tmp_path / "model", vqvae=tiny_vqvae(), priors={2: prior}, processors={})
    with pytest.raises(ValueError, match="that of level 2 does not know"):
        plan_of(System.open(tmp_path / "model"), {1: NAMELESS}, guidance=TOP)
