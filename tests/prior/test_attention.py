"""Factored attention against dense attention under the mask that its definition implies."""

import itertools

import pytest
import torch
from torch import Tensor

from jukebox_hf.prior import kernels
from jukebox_hf.prior.attention import Attention, Linear
from jukebox_hf.prior.prior_config import LayerKind
from jukebox_hf.prior.sizes import Layout, kept_positions
from jukebox_hf.prior.step_buffers import LayerCache, StepTables

SELF_KINDS: tuple[LayerKind, ...] = ("row", "column", "previous_row", "dense", "prime")
WIDTH, HEADS = 12, 2
# Rows longer, shorter and as long as columns; primes within, at and beyond a row.
LAYOUTS = [Layout(12, 4, 5), Layout(12, 3, 4), Layout(12, 2, 12), Layout(5, 1, 2), Layout(5, 5, 3)]


def attention(kind: LayerKind, layout: Layout, seed: int = 0) -> Attention:
    generator = torch.Generator().manual_seed(seed)
    module = Attention(kind, layout, width=WIDTH, attention_width=8, heads=HEADS)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return module.eval()


def visible(kind: LayerKind, layout: Layout, query: int, key: int) -> bool:
    """The definition, position by position."""
    row, column = divmod(query, layout.row_length)
    key_row, key_column = divmod(key, layout.row_length)
    return {
        "row": key_row == row and key <= query,
        "column": key_column == column and key <= query,
        "previous_row": key_row == row - 1,
        "dense": key <= query,
        "prime": key <= query and key < layout.prime_length,
    }[kind]


def mask(kind: LayerKind, layout: Layout) -> Tensor:
    positions = range(layout.sequence_length)
    return torch.tensor([[visible(kind, layout, q, k) for k in positions] for q in positions])


def dense_under_mask(module: Attention, hidden: Tensor) -> Tensor:
    """Attention over all positions in float64; where nothing is visible, it yields zero."""
    batch, time, _ = hidden.shape
    query, key, value = (
        x.view(batch, time, HEADS, -1).transpose(1, 2).double()
        for x in module.qkv(hidden).chunk(3, dim=-1)
    )
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    scores = scores.masked_fill(~mask(module.kind, module.layout), -torch.inf)
    mixed = torch.nan_to_num(scores.softmax(-1), nan=0.0) @ value
    return module.output(mixed.transpose(1, 2).flatten(2).float())


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", SELF_KINDS)
def test_factored_attention_equals_dense_attention_under_its_mask(
    kind: LayerKind, layout: Layout, training: bool
) -> None:
    module = attention(kind, layout).train(training)
    hidden = torch.randn(
        3, layout.sequence_length, WIDTH, generator=torch.Generator().manual_seed(1)
    )
    torch.testing.assert_close(
        module(hidden), dense_under_mask(module, hidden), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("kind", SELF_KINDS)
def test_gradients_reach_exactly_the_visible_positions(kind: LayerKind, training: bool) -> None:
    layout = Layout(24, 6, 8)
    module = attention(kind, layout).train(training)
    hidden = torch.randn(1, 24, WIDTH, generator=torch.Generator().manual_seed(2))
    hidden.requires_grad_()
    out = module(hidden)
    expected = mask(kind, layout)
    for query in range(24):
        (gradient,) = torch.autograd.grad(out[0, query].sum(), hidden, retain_graph=True)
        reached = gradient[0].abs().sum(-1) > 0
        # A position also reaches itself through its query, where it has anything to ask.
        others = torch.arange(24) != query
        assert torch.equal(reached[others], expected[query][others])


def test_the_first_row_of_previous_row_attention_is_the_output_bias() -> None:
    layout = Layout(24, 6, 8)
    module = attention("previous_row", layout)
    out = module(torch.randn(2, 24, WIDTH))
    torch.testing.assert_close(out[:, :6], module.output.bias.expand(2, 6, WIDTH))


def new_cache(module: Attention, batch: int, fill: float) -> LayerCache:
    shape = (batch, HEADS, *kept_positions(module.kind, module.layout, 5), module.head_dim)
    return LayerCache(torch.full((2, *shape), fill))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", SELF_KINDS)
def test_any_two_cuts_and_then_single_steps_equal_the_whole(
    kind: LayerKind, layout: Layout
) -> None:
    """Also over buffers full of an earlier window's values."""
    module = attention(kind, layout)
    length = layout.sequence_length
    hidden = torch.randn(2, length, WIDTH, generator=torch.Generator().manual_seed(3))
    whole = module(hidden)
    places = StepTables([kind], layout)
    for first, second in itertools.combinations(range(length + 1), 2):
        cache = new_cache(module, 2, fill=7.0)
        parts = [module(hidden[:, :first], cache=cache)] if first else []
        if second > first:
            parts.append(module(hidden[:, first:second], start=first, cache=cache))
        for position in range(second, length):
            place = places.at(torch.tensor(position))[kind]
            parts.append(module.step(hidden[:, position], place, cache).unsqueeze(1))
        torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-5, atol=1e-5)


def test_cross_attention_reads_the_same_from_states_and_from_its_buffers() -> None:
    layout = Layout(24, 6, 0)
    module = attention("cross", layout)
    generator = torch.Generator().manual_seed(4)
    hidden = torch.randn(2, 24, WIDTH, generator=generator)
    states = torch.randn(2, 5, WIDTH, generator=generator)
    whole = module(hidden, encoder_states=states)
    cache = new_cache(module, 2, fill=0.0)
    module.fill_encoder_cache(states, cache)
    torch.testing.assert_close(module(hidden, cache=cache), whole)
    for position in range(24):
        step = module.step(hidden[:, position], None, cache)
        torch.testing.assert_close(step, whole[:, position], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [*SELF_KINDS, "cross"])
def test_a_step_never_changes_shapes_nor_allocates_buffers(kind: LayerKind) -> None:
    layout = Layout(24, 6, 8)
    module = attention(kind, layout)
    cache = new_cache(module, 1, fill=0.0)
    address = cache.both.data_ptr()
    places = StepTables([kind], layout)
    for position in range(24):
        place = places.at(torch.tensor(position)).get(kind)
        out = module.step(torch.randn(1, WIDTH), place, cache)
        assert out.shape == (1, WIDTH)
    assert cache.both.data_ptr() == address


@pytest.mark.parametrize("size", [kernels.SMALL_WEIGHTS, kernels.LARGE_WEIGHTS])
@pytest.mark.parametrize("rows", [1, 7, 16, kernels.MAX_TRANSPOSED_ROWS + 1])
@torch.inference_mode()
def test_a_linear_layer_is_its_formula_for_any_number_of_rows(rows: int, size: int) -> None:
    torch.manual_seed(0)
    layer = Linear(512, size // 512, init_std=0.02)
    layer.bias.normal_()
    hidden = torch.randn(rows, 512)
    transposed = {kernels.SMALL_WEIGHTS: [16], kernels.LARGE_WEIGHTS: [7, 16]}[size]
    assert kernels.is_faster_transposed(hidden, layer.weight) is (rows in transposed)
    expected = hidden.double() @ layer.weight.double().T + layer.bias.double()
    torch.testing.assert_close(layer(hidden).double(), expected, rtol=1e-5, atol=1e-5)
