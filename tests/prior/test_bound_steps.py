"""Steps bound to their buffers are the steps of the prior, bit for bit, with less to do."""

from typing import Any

import pytest
import torch

from jukebox_hf.prior.bound_steps import BoundSteps, can_bind
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.prior.quantization import pack, quantize
from tests.prior.test_step_counts import Counting
from tests.prior.tiny_priors import ARCHITECTURES, inputs, tiny_prior

# Wide enough, and in batches large enough, for the products that are faster the other way round.
WIDE: dict[str, Any] = {"width": 192, "heads": 3, "attention_width": 192, "mlp_width": 192}


def compare(prior: JukeboxPrior, batch: int, begin: int) -> None:
    """Raise unless both kinds of steps give the same logits from `begin` to the window's end."""
    codes, given = inputs(prior, batch)
    tokens, conditioning = prior.to_tokens(codes), prior.condition(**given)
    plain_cache, cache = prior.new_cache(batch), prior.new_cache(batch)
    for one in (plain_cache, cache):
        prior.prefill(tokens[:, :begin], conditioning, one)
    steps = BoundSteps(prior, cache)
    logits = torch.full((batch, prior.config.vocabulary_size), torch.nan)
    for position in range(begin + 1, prior.config.context_length):
        last = tokens[:, position - 1]
        expected = prior.step(last, torch.tensor([position]), conditioning, plain_cache)
        steps.step(last, position, conditioning.positions, logits)
        assert torch.equal(logits, expected), position


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("name", ARCHITECTURES)
@torch.inference_mode()
def test_bound_steps_are_the_steps_of_the_prior(name: str, batch: int) -> None:
    compare(tiny_prior(name), batch, begin=0)


@pytest.mark.parametrize("batch", [1, 17])
@torch.inference_mode()
def test_bound_steps_of_wide_layers_too(batch: int) -> None:
    compare(tiny_prior("upsampler", **WIDE), batch, begin=9)


@torch.inference_mode()
def test_packed_weights_can_be_bound() -> None:
    prior = pack(tiny_prior("upsampler", **WIDE).to(torch.float16))
    if not can_bind(prior):
        pytest.skip("FBGEMM's float16 products are not in this build of torch")
    compare(prior, 2, begin=3)


def test_what_is_not_float32_on_a_cpu_is_not_bound() -> None:
    assert can_bind(tiny_prior("plain"))
    assert not can_bind(tiny_prior("plain").to(torch.bfloat16))
    assert not can_bind(quantize(tiny_prior("plain", **WIDE), "int8"))
    assert not can_bind(tiny_prior("plain").to("meta"))


# A layer's operations: two norms, four products, a gate of three, two sums, and in attention the
# query and the key and value put in their places, scores, softmax and mixture.
WORK = 16
OUTSIDE = 5  # embedding, position, what conditions it before and after the layers, logits


def test_operations_of_a_bound_step_of_the_built_in_kinds() -> None:
    prior = tiny_prior("upsampler")
    codes, given = inputs(prior, 4)
    logits = torch.empty(4, prior.config.vocabulary_size)
    with torch.no_grad():
        conditioning, cache = prior.condition(**given), prior.new_cache(4)
        steps = BoundSteps(prior, cache)
        steps.step(codes[:, 0], 13, conditioning.positions, logits)
        with Counting() as counting:
            steps.step(codes[:, 1], 14, conditioning.positions, logits)
        views = sum(counting.calls.values()) - sum(counting.work.values())
    layers = len(prior.decoder.layers)
    assert sum(counting.work.values()) == WORK * layers + OUTSIDE, counting.work
    assert views < 4 * layers, counting.calls  # those of the first step stay
