"""Steps bound to their buffers are the steps of the prior, in float32 bit for bit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from jukebox_hf.prior.attention import Linear
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
    if prior.decoder.dtype != torch.float32:
        pytest.skip("FBGEMM's float16 products are not in this build of torch")
    compare(prior, 2, begin=3)


def in_half(prior: JukeboxPrior) -> JukeboxPrior:
    return prior.to(torch.bfloat16)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "narrow",
    [in_half, lambda prior: quantize(prior, "int8"), lambda prior: quantize(prior, "int4")],
    ids=["bfloat16", "int8", "int4"],
)
@pytest.mark.parametrize("batch", [1, 5])
@torch.inference_mode()
def test_between_the_layers_of_16_bits_a_bound_step_is_float32(
    narrow: Callable[[JukeboxPrior], JukeboxPrior], batch: int
) -> None:
    """So it is nearer than the plain step to what the same weights give in float32."""
    prior = narrow(tiny_prior("plain", **WIDE))
    tokens, conditioning = prior.to_tokens(inputs(prior, batch)[0]), prior.condition()
    caches = [prior.new_cache(batch) for _ in range(3)]
    exact = tiny_prior("plain", **WIDE)
    for plain, layer in zip(linears(exact), linears(prior), strict=True):
        weights = layer.weight if isinstance(layer, Linear) else layer.unpacked()
        plain.weight.copy_(weights)
        plain.bias.copy_(layer.bias)
    for cache in caches:
        exact.prefill(tokens[:, :9], conditioning, cache)
    last, at = tokens[:, 9], torch.tensor([10])
    expected = exact.step(last, at, conditioning, caches[0])
    plainly = prior.step(last, at, conditioning, caches[1])
    found = torch.empty_like(expected)
    BoundSteps(prior, caches[2]).step(last, 10, None, found)
    spread = expected.std()
    assert (found - expected).norm() < (plainly - expected).norm()
    torch.testing.assert_close(found / spread, expected / spread, rtol=0, atol=0.03)


def linears(prior: JukeboxPrior) -> list[Any]:
    """The linear layers of the decoder, whatever they were replaced by."""
    return [
        module
        for layer in prior.decoder.layers
        for module in layer.modules()
        if hasattr(module, "in_features")
    ]


def test_steps_on_other_devices_are_not_bound() -> None:
    assert can_bind(tiny_prior("plain"))
    assert not can_bind(tiny_prior("plain").to("meta"))  # type: ignore[arg-type]


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
            steps.step(codes[:, 1], 13, conditioning.positions, logits)
        views = sum(counting.calls.values()) - sum(counting.work.values())
    layers = len(prior.decoder.layers)
    assert sum(counting.work.values()) == WORK * layers + OUTSIDE, counting.work
    assert views < 4 * layers, counting.calls  # those of the first step stay
