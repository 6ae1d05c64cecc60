"""Parameter groups, optimizers, schedules and averaged weights."""

import copy
import math
from typing import Any

import pytest
import torch
from torch import nn

from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.training.optimization import (
    Adam2020,
    AveragedWeights,
    default_ema_decay,
    learning_rate_factor,
    make_optimizer,
    parameter_groups,
    set_learning_rate,
)
from tests.golden_data import load_json
from tests.prior.tiny_priors import ARCHITECTURES
from tests.vqvae.codecs import tiny_codec

ADAM: dict[str, Any] = {
    "learning_rate": 0.01,
    "betas": (0.9, 0.99),
    "epsilon": 1e-8,
    "weight_decay": 0.1,
}


def names_by_decay(model: nn.Module) -> dict[bool, set[str]]:
    names = {parameter: name for name, parameter in model.named_parameters()}
    found: dict[bool, set[str]] = {True: set(), False: set()}
    for group in parameter_groups(model, 0.1):
        found[group["weight_decay"] > 0] |= {names[each] for each in group["params"]}
    return found


@pytest.mark.parametrize("architecture", ["upsampler", "top", "lyrics_encoder", "lyrics_sequence"])
def test_every_parameter_is_in_one_group_and_only_layers_decay(architecture: str) -> None:
    prior = JukeboxPrior(JukeboxPriorConfig(**ARCHITECTURES[architecture]))
    found = names_by_decay(prior)
    assert found[True] | found[False] == {name for name, _ in prior.named_parameters()}
    assert not found[True] & found[False]
    for name in found[True]:
        assert name.endswith("weight")
        assert "norm" not in name
        assert "embedding" not in name
        assert "positions" not in name
    assert "decoder.layers.0.attention.qkv.weight" in found[True]
    assert all("embedding" in n or "norm" in n or "bias" in n or "position" in n or "start" in n
               for n in found[False])  # fmt: skip


def test_convolutions_of_the_codec_decay_and_their_biases_do_not() -> None:
    found = names_by_decay(tiny_codec())
    assert found[True]
    assert all(name.endswith(".weight") for name in found[True])
    assert all(name.endswith(".bias") for name in found[False])


def test_frozen_parameters_are_left_out() -> None:
    codec = tiny_codec()
    codec.levels[0].requires_grad_(False)
    groups = parameter_groups(codec, 0.1)
    held = {each for group in groups for each in group["params"]}
    assert held == {each for each in codec.parameters() if each.requires_grad}


def two_layers() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def run_steps(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(5, 3, generator=generator)).square().mean().backward()
        optimizer.step()


def test_adam_2020_is_adam_up_to_where_epsilon_stands() -> None:
    ours, theirs = two_layers(), two_layers()
    run_steps(ours, Adam2020(ours.parameters(), lr=0.01, eps=1e-12), 5)
    run_steps(theirs, torch.optim.Adam(theirs.parameters(), lr=0.01, eps=1e-12), 5)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other)


def test_adam_2020_against_its_formula() -> None:
    parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
    optimizer = Adam2020([parameter], lr=0.1, betas=(0.9, 0.99), eps=0.5, weight_decay=0.2)
    value, mean, square = [1.0, -2.0], [0.0, 0.0], [0.0, 0.0]
    for step, gradient in enumerate([[0.3, -0.1], [0.2, 0.4], [-0.5, 0.0]], start=1):
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        size = 0.1 * math.sqrt(1 - 0.99**step) / (1 - 0.9**step)
        for i in range(2):
            mean[i] = 0.9 * mean[i] + 0.1 * gradient[i]
            square[i] = 0.99 * square[i] + 0.01 * gradient[i] ** 2
            value[i] -= size * (mean[i] / (math.sqrt(square[i]) + 0.5) + 0.2 * value[i])
        torch.testing.assert_close(parameter.data, torch.tensor(value))


def test_adamw_is_torchs_own_with_decay_on_layers_only() -> None:
    ours, theirs = two_layers(), two_layers()
    run_steps(ours, make_optimizer(ours, "adamw", **ADAM), 5)
    groups = [
        {"params": [theirs[0].weight, theirs[2].weight], "weight_decay": 0.1},
        {"params": [theirs[0].bias, theirs[2].bias], "weight_decay": 0.0},
    ]
    run_steps(theirs, torch.optim.AdamW(groups, lr=0.01, betas=(0.9, 0.99)), 5)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_learning_rate_factors_are_the_originals() -> None:
    for case in load_json("misc/lr_schedule.json"):
        options = case["hps"]
        linear = options["lr_use_linear_decay"]
        for step, expected in zip(case["steps"], case["multiplier"], strict=True):
            found = options["lr_scale"] * learning_rate_factor(
                step,
                schedule="linear" if linear else "steps",
                warmup_steps=int(options["lr_warmup"]),
                decay_start=options["lr_start_linear_decay"],
                decay_steps=options["lr_decay"],
                decay_factor=options["lr_gamma"],
            )
            assert found == pytest.approx(expected, abs=1e-12), (options, step)


def test_cosine_goes_from_one_to_its_end_and_stays() -> None:
    def factor(step: int) -> float:
        return learning_rate_factor(
            step,
            schedule="cosine",
            warmup_steps=0,
            decay_start=10,
            decay_steps=20,
            decay_factor=0.1,
        )

    assert factor(0) == factor(10) == 1
    assert factor(20) == pytest.approx(0.55)
    assert factor(30) == factor(1000) == pytest.approx(0.1)
    values = [factor(step) for step in range(10, 31)]
    assert values == sorted(values, reverse=True)


def test_constant_warms_up_only() -> None:
    factors = [learning_rate_factor(s, schedule="constant", warmup_steps=4) for s in range(8)]
    assert factors == [0, 0.25, 0.5, 0.75, 1, 1, 1, 1]


def test_set_learning_rate_reaches_every_group() -> None:
    optimizer = make_optimizer(two_layers(), "adamw", **ADAM)
    set_learning_rate(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]


# --- averaged weights -----------------------------------------------------------------------------


def test_averages_against_brute_force() -> None:
    model = two_layers()
    averages = AveragedWeights(model, 0.8)
    history = [copy.deepcopy(model.state_dict())]
    for step in range(6):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * (step + 1))
        averages.update(model)
        history.append(copy.deepcopy(model.state_dict()))
    decays = [min(0.8, (1 + t) / (10 + t)) for t in range(6)]
    for name in history[0]:
        expected = history[0][name].double()
        for decay, weights in zip(decays, history[1:], strict=True):
            expected = decay * expected + (1 - decay) * weights[name].double()
        torch.testing.assert_close(averages.averages[name].double(), expected, rtol=1e-6, atol=1e-6)


def test_averages_are_applied_inside_and_taken_back_outside() -> None:
    model = two_layers()
    averages = AveragedWeights(model, 0.9)
    with torch.no_grad():
        model[0].weight.add_(1)
    averages.update(model)
    own = copy.deepcopy(model.state_dict())
    with averages.applied(model):
        for name, weights in model.state_dict().items():
            assert torch.equal(weights, averages.averages[name])
        assert not torch.equal(model[0].weight, own["0.weight"])
    for name, weights in model.state_dict().items():
        assert torch.equal(weights, own[name])


def test_averages_come_back_when_evaluation_fails() -> None:
    model = two_layers()
    averages = AveragedWeights(model, 0.9)
    own = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError, match="evaluation"), averages.applied(model):
        raise RuntimeError("evaluation")
    assert all(torch.equal(own[name], value) for name, value in model.state_dict().items())


def test_averages_are_float32_whatever_the_weights_are() -> None:
    model = two_layers().to(torch.bfloat16)
    averages = AveragedWeights(model, 0.9)
    averages.update(model)
    assert {value.dtype for value in averages.averages.values()} == {torch.float32}
    own = copy.deepcopy(model.state_dict())
    with averages.applied(model):
        pass
    assert all(torch.equal(own[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(("batch_size", "expected"), [(8, 0.999), (256, 0.968), (16000, 0.0)])
def test_default_decay_is_the_originals_formula(batch_size: int, expected: float) -> None:
    assert default_ema_decay(batch_size) == pytest.approx(expected)


def test_a_decay_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="ema_decay must be at least 0 and below 1, got 1"):
        AveragedWeights(two_layers(), 1.0)
