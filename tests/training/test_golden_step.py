"""One step of training gives the parameters that the original's gave."""

from collections.abc import Mapping
from typing import Any

import pytest
from torch import Tensor, nn

from jukebox_hf.hub.conversion.tensor_names import openai_targets
from jukebox_hf.training.optimization import make_optimizer, set_learning_rate
from jukebox_hf.training.stepping import scale_gradients
from tests.golden_data import load_golden
from tests.prior.test_golden_prior import TRAIN, load
from tests.vqvae.test_golden_vqvae import TRAININGS, Training

LOSS_SCALES = [1.0, 1024.0]


def take_step(model: nn.Module, settings: Mapping[str, Any], loss_scale: float) -> float:
    """Clip and move as the trainer does, with the settings of the golden file."""
    optimizer = make_optimizer(
        model,
        "adam_2020",
        learning_rate=1.0,
        betas=tuple(settings["betas"]),
        epsilon=settings["eps"],
        weight_decay=settings["weight_decay"],
    )
    set_learning_rate(optimizer, settings["lr"])
    gradients = [each.grad for each in model.parameters() if each.grad is not None]
    norm = scale_gradients(gradients, settings["clip"], loss_scale)
    optimizer.step()
    return norm


def assert_parameters(model: nn.Module, tensors: Mapping[str, Tensor], rate: float) -> int:
    """Compare those that the golden file holds; returns how many."""
    prefix = "param_after_step."
    stored = {
        name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)
    }
    parameters = dict(model.named_parameters())
    compared = 0
    for name, target in openai_targets(stored).items():
        if target.name in parameters:  # a tied output layer goes by its embedding's name
            parameter = parameters[target.name]
            assert parameter.grad is not None
            error = (
                parameter.detach() - (stored[name].T if target.transposed else stored[name])
            ).abs()
            # The first step moves a weight by about the learning rate, whatever the gradient, in
            # the direction of its sign: only where rounding cannot turn it round.
            size = parameter.grad.abs()
            certain = (size > 1e-4 * size.max()) | (size == 0)
            assert certain.any()
            assert error[certain].max() < 0.02 * rate, name
            assert error.max() < 2.1 * rate, name
            compared += 1
    return compared


@pytest.mark.parametrize("loss_scale", LOSS_SCALES)
@pytest.mark.parametrize("stem", TRAIN)
def test_priors_move_as_the_originals_did(stem: str, loss_scale: float) -> None:
    tensors, meta = load_golden(stem)
    prior, inputs, _, given = load(stem.replace("_train", "_forward"))
    before = {name: value.clone() for name, value in prior.state_dict().items()}
    try:
        prior.zero_grad()
        (prior(inputs["z"], **given).loss * loss_scale).backward()
        norm = take_step(prior, meta["optimizer"], loss_scale)
        assert norm == pytest.approx(meta["grad_norm"], rel=1e-4)
        assert assert_parameters(prior, tensors, meta["optimizer"]["lr"]) > 0
    finally:
        prior.load_state_dict(before)  # others use it too
        prior.zero_grad()


@pytest.mark.parametrize("stem", TRAININGS)
def test_codecs_move_as_the_originals_did(stem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    training = Training(stem, monkeypatch)
    if "optimizer" not in training.meta:
        pytest.skip(f"{stem} has no step of an optimizer")
    training.forward().loss.backward()
    norm = take_step(training.codec, training.meta["optimizer"], 1.0)
    assert norm == pytest.approx(training.meta["grad_norm"], rel=1e-4)
    assert assert_parameters(training.codec, training.tensors, training.meta["optimizer"]["lr"]) > 0
