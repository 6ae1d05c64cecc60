"""Estimates for GPUs that are not there: they follow the formulas, and say what they are."""

import pytest

from jukebox_hf.generation.estimate import SampledLevel, Work
from jukebox_hf.generation.gpus import (
    GPUS,
    GRAPH_LAYER_SECONDS,
    Gpu,
    _speed,
    describe_gpus,
    estimate_gpus,
)
from jukebox_hf.generation.memory import PriorMemory
from jukebox_hf.generation.settings import Prompt
from jukebox_hf.hub import System
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from tests.generation.making import plan_of

FAST, SLOW = Gpu("fast", 80, 3e12, 1e15, 6e13), Gpu("slow", 80, 3e11, 1e14, 6e12)


def test_estimates_order_gpus_and_backends(tiny: System) -> None:
    fast, slow = estimate_gpus(plan_of(tiny, {1: Prompt(seconds=2)}), [FAST, SLOW])
    assert 0 < fast.graph_seconds < slow.graph_seconds
    assert fast.graph_seconds < fast.eager_seconds
    assert fast.memory_bytes == slow.memory_bytes > 0


def test_twice_the_music_takes_about_twice_the_time(tiny: System) -> None:
    short, long = (
        estimate_gpus(plan_of(tiny, {1: Prompt(seconds=seconds)}), [FAST])[0].graph_seconds
        for seconds in (4, 8)
    )
    assert long / short == pytest.approx(2, rel=0.15)


def test_a_model_that_does_not_fit_says_so(tiny: System) -> None:
    plan = plan_of(tiny, {1: Prompt(seconds=2)})
    estimates = estimate_gpus(plan, [FAST, FAST._replace(name="none", gibibytes=0)])
    assert [one.fits for one in estimates] == [True, False]
    text = describe_gpus(estimates)
    assert "never measured" in text
    assert "none: " in text
    assert "does not fit" in text
    assert estimates[0].precision == "float16"  # for a plan in float32
    assert estimates[0].to_record()["measured"] is False


def test_the_constants_give_the_shares_that_they_are_meant_to() -> None:
    for name, share in (("upsampler_level_1", 0.3), ("5b", 0.6)):
        config = JukeboxPriorConfig.preset(name)
        level = SampledLevel(0, config, PriorMemory(0, 0, 0), 1, 1, Work(1, 1, 1, 1, 1, 1))
        step = _speed(level, GPUS[0], GRAPH_LAYER_SECONDS).step
        attention = 4 * config.width * config.attention_width
        weights = config.depth * (attention + 2 * config.width * config.mlp_width)
        assert 2 * weights / GPUS[0].bandwidth / step == pytest.approx(share, abs=0.08)
