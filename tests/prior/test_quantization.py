"""Fewer bits per weight: close to the exact layers, and the same cached and whole."""

import copy
import weakref
from typing import Any

import pytest
import torch

from jukebox_hf.generation.memory import module_bytes
from jukebox_hf.prior import kernels
from jukebox_hf.prior.attention import Linear
from jukebox_hf.prior.kernels import (
    MAX_NIBBLE_ROWS,
    float32_products,
    nibble_product,
    pack_nibbles,
    unpack_nibbles,
)
from jukebox_hf.prior.quantization import (
    GROUP_SIZE,
    MAX_PACKED_ROWS,
    Float16Linear,
    Int4Linear,
    Int8Linear,
    PackedLinear,
    pack,
    quantize,
)
from jukebox_hf.prior.sizes import Float32Products
from tests.prior.test_modeling_prior import cached_logits
from tests.prior.tiny_priors import inputs, tiny_prior

WIDE = {"width": 64, "attention_width": 64, "mlp_width": 128}


def linear(in_features: int, out_features: int) -> Linear:
    torch.manual_seed(0)
    layer = Linear(in_features, out_features, init_std=1.0)
    layer.weight.data = torch.randn(out_features, in_features)
    layer.weight.data[0] *= 50  # one loud output must not cost the others their precision
    layer.bias.data = torch.randn(out_features)
    return layer


@pytest.mark.parametrize(("kind", "tolerance"), [(Int8Linear, 0.02), (Int4Linear, 0.3)])
@pytest.mark.parametrize("num_rows", [1, 3, MAX_PACKED_ROWS + 1])
def test_quantized_layers_are_close(kind: Any, tolerance: float, num_rows: int) -> None:
    exact = linear(128, 48)
    rows = torch.randn(2, num_rows, 128).bfloat16()
    expected = exact(rows.float())
    ours = kind(exact)(rows).float()
    assert ours.shape == expected.shape
    for output in (slice(0, 1), slice(1, None)):
        error = (ours - expected)[..., output].norm() / expected[..., output].norm()
        assert error < tolerance


@pytest.mark.parametrize("kind", [Int8Linear, Int4Linear])
def test_packed_and_unpacked_products_agree(kind: Any) -> None:
    layer = kind(linear(128, 48))
    rows = torch.randn(5, 128).bfloat16()
    unpacked = torch.nn.functional.linear(rows.float(), layer.unpacked().float())
    torch.testing.assert_close(layer.multiply(rows).float(), unpacked, rtol=0.02, atol=0.3)


def test_every_value_of_four_bits_comes_back() -> None:
    exact = Linear(64, 16, init_std=1.0)
    exact.weight.data = (torch.arange(64) % 16 - 8).float().repeat(16, 1)
    layer = Int4Linear(exact)
    assert torch.equal(layer.unpacked().float(), exact.weight.data)


@pytest.mark.parametrize("rows", [1, 2])
def test_words_of_nibbles_are_the_same_weights(rows: int) -> None:
    exact, hidden = linear(128, 48), torch.randn(2, 128)
    plain, words = Int4Linear(exact), Int4Linear(exact, rows)
    assert words.words is not None
    assert plain.words is None
    torch.testing.assert_close(words.unpacked(), plain.unpacked(), rtol=0.01, atol=0.01)
    steps = torch.randint(0, 16, (48, 128), dtype=torch.int32)
    assert torch.equal(unpack_nibbles(pack_nibbles(steps)), steps)
    product = nibble_product(hidden[:rows], words.words, words.scales)
    expected = hidden[:rows] @ words.unpacked().float().T
    torch.testing.assert_close(product, expected, rtol=0.02, atol=0.05)


def test_more_rows_and_eager_steps_keep_the_kernels_layout() -> None:
    for compiled_rows in (None, MAX_NIBBLE_ROWS + 1):
        assert Int4Linear(linear(128, 48), compiled_rows).packed is not None


@pytest.mark.parametrize("outlier", [1.0, 8.0])
def test_four_bits_lose_less_than_when_they_span_all_weights(outlier: float) -> None:
    torch.manual_seed(0)
    exact = Linear(GROUP_SIZE, 16, init_std=1.0)
    exact.weight.data = torch.randn(16, GROUP_SIZE)
    exact.weight.data[:, 0] *= outlier
    low, high = (bound.unsqueeze(1) for bound in exact.weight.data.aminmax(dim=1))
    step = (high - low) / 15
    spanning = ((exact.weight.data - low) / step).round() * step + low
    loss = (Int4Linear(exact).unpacked().float() - exact.weight.data).square().sum()
    assert loss < (spanning - exact.weight.data).square().sum()


@pytest.mark.parametrize("precision", ["int8", "int4"])
@pytest.mark.parametrize("name", ["top", "upsampler", "lyrics_encoder", "lyrics_sequence"])
@torch.inference_mode()
def test_a_quantized_prior_gives_the_same_cached_and_whole(name: str, precision: Any) -> None:
    prior = tiny_prior(name, **WIDE)
    codes, given = inputs(prior, 2)
    exact = prior(codes, **given).logits
    quantize(prior, precision)
    layers = prior.decoder.layers
    assert not any(isinstance(module, Linear) for module in layers.modules())
    whole = prior(codes, **given).logits
    error = (whole - exact).norm() / (exact - exact.mean()).norm()
    assert error < {"int8": 0.1, "int4": 0.5}[precision]
    cached = cached_logits(prior, codes, given, 1)
    assert (cached - whole).norm() / (whole - whole.mean()).norm() < 0.1


@pytest.mark.parametrize(
    ("sizes", "kinds"), [({}, [Int8Linear, Int8Linear]), (WIDE, [Int8Linear, Int4Linear])]
)
def test_layers_unfit_for_four_bits_and_the_first_get_eight(
    sizes: dict[str, int], kinds: list[type]
) -> None:
    prior = quantize(tiny_prior("plain", **sizes), "int4")
    assert [type(layer.mlp.expand) for layer in prior.decoder.layers[:2]] == kinds


def test_quantizing_shrinks_the_layers() -> None:
    def layer_bytes(precision: Any) -> int:
        prior = tiny_prior("plain", **WIDE)
        if precision:
            quantize(prior, precision)
        tensors = [*prior.decoder.layers.parameters(), *prior.decoder.layers.buffers()]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    assert layer_bytes("int8") < 0.35 * layer_bytes(None)
    assert layer_bytes("int4") < 0.25 * layer_bytes(None)


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_without_memory_layers_take_as_many_bytes_as_with_weights(precision: Any) -> None:
    def quantized_bytes(device: str) -> int:
        prior = tiny_prior("plain", **WIDE).to(device, torch.bfloat16)
        prior.tie()  # which moving to no memory undoes
        return module_bytes(quantize(prior, precision))

    assert quantized_bytes("meta") == quantized_bytes("cpu")


@torch.inference_mode()
def test_packed_layers_compute_what_plain_bfloat16_does() -> None:
    if not PackedLinear.is_supported():
        pytest.skip("this CPU or build of torch has no bfloat16 kernel for packed weights")
    prior = tiny_prior("lyrics_encoder", **WIDE).to(torch.bfloat16)
    codes, given = inputs(prior, 2)
    plain = prior(codes, **given).logits
    pack(prior)
    assert isinstance(prior.decoder.layers[0].mlp.expand, PackedLinear)
    packed = prior(codes, **given).logits
    assert (packed - plain).norm() / (plain - plain.mean()).norm() < 0.05


@pytest.mark.parametrize("num_rows", [1, 3, 65])
@torch.inference_mode()
def test_float16_layers_are_exact_but_for_their_weights(num_rows: int) -> None:
    if not Float16Linear.is_supported():
        pytest.skip("this CPU or build of torch has no float16 kernel for packed weights")
    exact = linear(130, 33).half().float()
    rows = torch.randn(2, num_rows, 130) * 1e5  # more than float16 can hold
    torch.testing.assert_close(Float16Linear(exact)(rows), exact(rows), rtol=1e-4, atol=10.0)


@torch.inference_mode()
def test_packed_float16_computes_in_float32() -> None:
    if not Float16Linear.is_supported():
        pytest.skip("this CPU or build of torch has no float16 kernel for packed weights")
    prior = tiny_prior("lyrics_encoder", **WIDE)
    for parameter in prior.parameters():
        parameter.copy_(parameter.half())
    codes, given = inputs(prior, 2)
    exact = prior(codes, **given).logits
    pack(prior.to(torch.float16))
    assert isinstance(prior.decoder.layers[0].mlp.expand, Float16Linear)
    assert prior.decoder.dtype == torch.float32
    torch.testing.assert_close(prior(codes, **given).logits, exact, rtol=1e-4, atol=1e-5)


def test_replaced_layers_are_let_go_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise a prior would be in memory twice while it is quantized."""
    alive: list[int] = []
    seen: list[weakref.ref[Linear]] = []
    build = Int8Linear.__init__

    def counting(self: Int8Linear, linear: Linear) -> None:
        seen.append(weakref.ref(linear))
        alive.append(sum(one() is not None for one in seen))
        build(self, linear)

    monkeypatch.setattr(Int8Linear, "__init__", counting)
    quantize(tiny_prior("plain"), "int8")
    assert len(alive) > 10
    assert max(alive) <= 2


@pytest.mark.parametrize(("maker", "kind"), [("AuthenticAMD", PackedLinear), ("", Linear)])
def test_packing_float32_depends_on_the_processor(
    maker: str, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "processor_maker", lambda: maker)
    prior = pack(tiny_prior("plain"), float32=float32_products())
    assert isinstance(prior.decoder.layers[0].mlp.expand, kind)


def test_float32_weights_stay_in_float16_only_where_that_loses_nothing() -> None:
    prior = tiny_prior("plain")
    for parameter in prior.parameters():
        parameter.data = parameter.data.half().float()
    first, second = prior.decoder.layers[:2]
    second.mlp.expand.weight.data[0, 0] = 1 + 2**-12  # between two of float16's numbers
    second.mlp.contract.weight.data[0, 0] = 70_000.0  # beyond them
    for single_row in (False, True):
        packed = pack(copy.deepcopy(prior), float32="halved", single_row=single_row)
        one, other = packed.decoder.layers[:2]
        assert {type(one.mlp.expand), type(other.attention.qkv)} == {Float16Linear}
        rest = {type(other.mlp.expand), type(other.mlp.contract)}
        assert rest == ({Linear} if single_row else {PackedLinear})
        hidden = torch.linspace(-2, 2, 3 * first.mlp.expand.in_features).sin().view(3, -1)
        assert one.mlp.expand.compute_dtype == torch.float32
        exact = first.mlp.expand(hidden)
        torch.testing.assert_close(one.mlp.expand(hidden), exact, rtol=1e-5, atol=1e-6)


def test_transposing_turns_weights_around_in_memory_alone() -> None:
    plain, turned = (
        tiny_prior("plain"),
        pack(tiny_prior("plain"), float32="transposed", single_row=True),
    )
    for (name, before), after in zip(plain.named_parameters(), turned.parameters(), strict=True):
        assert torch.equal(before, after), name
    assert turned.decoder.layers[0].mlp.expand.weight.t().is_contiguous()


@torch.inference_mode()
@pytest.mark.parametrize("single_row", [False, True])
@pytest.mark.parametrize("products", ["packed", "transposed", "halved"])
def test_all_float32_products_give_the_same_logits_for_any_number_of_rows(
    products: Float32Products, single_row: bool
) -> None:
    plain, packed = (tiny_prior("lyrics_encoder", **WIDE) for _ in range(2))
    for prior in (plain, packed):
        for parameter in prior.parameters():
            parameter.data = parameter.data.half().float()
    pack(packed, float32=products, single_row=single_row)
    for rows in (1, 2, 3, 4, 5, 17):
        codes, given = inputs(plain, rows)
        half = plain.config.context_length // 2
        found = []
        for prior in (plain, packed):
            conditioning, cache = prior.condition(**given), prior.new_cache(rows)
            tokens = prior.to_tokens(codes)
            prior.prefill(tokens[:, :half], conditioning, cache)
            found.append(prior.step(tokens[:, half], torch.tensor([half + 1]), conditioning, cache))
        torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-4)


def test_other_precisions_are_refused() -> None:
    with pytest.raises(ValueError, match="must be int8 or int4, got 'int3'"):
        quantize(tiny_prior("plain"), "int3")  # type: ignore[arg-type]
