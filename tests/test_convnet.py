"""Shapes, dilations and reach of the convolution stacks, and their formula written out."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jukebox_hf.convnet import (
    MAX_CHANNELS_LAST_WIDTH,
    DecoderBlock,
    Edges,
    EncoderBlock,
    ResidualShape,
    ResidualStack,
    edges_through,
)
from jukebox_hf.pretrained import init_convolutions


def dilations(**shape: int) -> list[int]:
    stack = ResidualStack(2, ResidualShape(**shape))
    return [block.dilated.dilation[0] for block in stack.blocks]


def test_dilations_grow_without_end_or_in_cycles():
    assert dilations(depth=4, dilation_growth=3) == [1, 3, 9, 27]
    assert dilations(depth=5, dilation_growth=3, dilation_cycle=2) == [1, 3, 1, 3, 1]
    assert dilations(depth=3, dilation_growth=2, reverse_dilation=True) == [4, 2, 1]


@pytest.mark.parametrize("scale_residual", [False, True])
def test_a_stack_is_its_formula(scale_residual: bool):
    torch.manual_seed(0)
    shape = ResidualShape(4, 2, scale_residual=scale_residual, conv_multiplier=1.5)
    stack = ResidualStack(3, shape)
    expected = hidden = torch.randn(2, 3, 20)
    scale = 1 / math.sqrt(4) if scale_residual else 1
    for block in stack.blocks:
        assert block.dilated.weight.shape == (4, 3, 3)
        dilation = block.dilated.dilation[0]
        inner = F.conv1d(
            F.relu(expected),
            block.dilated.weight,
            block.dilated.bias,
            padding=dilation,
            dilation=dilation,
        )
        added = F.conv1d(F.relu(inner), block.pointwise.weight, block.pointwise.bias)
        expected = expected + scale * added
    torch.testing.assert_close(stack(hidden), expected)


@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize("num_stages", [1, 3])
def test_time_is_divided_and_multiplied(stride: int, num_stages: int):
    settings = {"num_stages": num_stages, "stride": stride, "residual": ResidualShape(2, 3)}
    encoder = EncoderBlock(1, 4, 5, **settings)
    decoder = DecoderBlock(5, 4, 1, **settings)
    factor = stride**num_stages
    for extra in range(stride + 1):
        hidden = encoder(torch.randn(2, 1, 7 * factor + extra))
        assert hidden.shape == (2, 5, 7 + extra // factor)
        assert decoder(hidden).shape == (2, 1, factor * hidden.shape[2])


@pytest.mark.parametrize("block", [EncoderBlock, DecoderBlock])
@pytest.mark.parametrize("stride", [3, 1, 0])
def test_odd_strides_are_refused(block: type, stride: int):
    with pytest.raises(ValueError, match=f"positive and even, got {stride}"):
        block(1, 2, 2, num_stages=1, stride=stride, residual=ResidualShape(1, 1))


def changed(whole: Tensor, part: Tensor) -> Edges:
    """How many values of `part` at each end differ from those at the same place in `whole`."""
    differs = ((whole - part).abs() > 1e-12).any(dim=0).any(dim=0).nonzero().flatten().tolist()
    middle = whole.shape[-1] // 2
    left = max((position + 1 for position in differs if position < middle), default=0)
    right = max(
        (whole.shape[-1] - position for position in differs if position >= middle), default=0
    )
    return Edges(left, right)


def positive(module: nn.Module) -> nn.Module:
    """The module with positive weights, so that no ReLU hides a dependence."""
    for parameter in module.parameters():
        parameter.abs_()
    return module.double()


GEOMETRIES = [
    {"num_stages": stages, "stride": stride, "residual": ResidualShape(depth, growth, cycle)}
    for depth, stages, stride, growth, cycle in itertools.product(
        [1, 3], [1, 2], [2, 4], [1, 3], [None, 2]
    )
]


@pytest.mark.parametrize("settings", GEOMETRIES)
@torch.no_grad()
def test_edges_are_exactly_what_a_cut_changes(settings: dict):
    torch.manual_seed(0)
    factor = settings["stride"] ** settings["num_stages"]
    time = 96

    encoder = positive(EncoderBlock(1, 3, 2, **settings))
    audio = torch.rand(4, 1, 3 * time * factor, dtype=torch.float64)
    whole = encoder(audio)[..., time : 2 * time]
    part = encoder(audio[..., time * factor : 2 * time * factor])
    assert changed(whole, part) == edges_through(Edges(), encoder)

    for reverse_dilation in (False, True):
        residual = replace(settings["residual"], reverse_dilation=reverse_dilation)
        decoder = positive(DecoderBlock(2, 3, 1, **settings | {"residual": residual}))
        hidden = torch.rand(4, 2, 3 * time, dtype=torch.float64)
        whole = decoder(hidden)[..., time * factor : 2 * time * factor]
        part = decoder(hidden[..., time : 2 * time])
        assert changed(whole, part) == edges_through(Edges(), decoder)


def test_new_convolutions_are_drawn_as_torch_draws_them():
    for layer in (nn.Conv1d(5, 7, 3), nn.ConvTranspose1d(5, 7, 4, stride=2)):
        torch.manual_seed(3)
        layer.reset_parameters()
        weight, bias = layer.weight.clone(), layer.bias.clone()
        torch.manual_seed(3)
        init_convolutions(layer)
        assert torch.equal(layer.weight, weight)
        assert torch.equal(layer.bias, bias)


def test_loaded_tensors_are_not_drawn_again():
    layer = nn.Conv1d(5, 7, 3)
    weight, bias = layer.weight.clone(), layer.bias.clone()
    layer.weight._is_hf_initialized = True  # what from_pretrained sets
    init_convolutions(layer)
    assert torch.equal(layer.weight, weight)
    assert not torch.equal(layer.bias, bias)


def test_with_zero_init_new_blocks_add_nothing():
    stack = ResidualStack(3, ResidualShape(2, 3, zero_init=True))
    for module in stack.modules():
        init_convolutions(module)
    hidden = torch.randn(1, 3, 9)
    assert torch.equal(stack(hidden), hidden)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_16_bit_blocks_compute_what_float32_does_channel_by_channel_in_memory(
    dtype: torch.dtype,
) -> None:
    settings = {"num_stages": 2, "stride": 2, "residual": ResidualShape(2, 3)}
    generator = torch.Generator().manual_seed(0)
    encoder, decoder = EncoderBlock(1, 8, 4, **settings), DecoderBlock(4, 8, 3, **settings)
    for parameter in [*encoder.parameters(), *decoder.parameters()]:
        parameter.data = (torch.randn(parameter.shape, generator=generator) / 4).to(dtype).float()
    audio = torch.randn(2, 1, 64, generator=generator).to(dtype).float()
    expected = [encoder(audio), decoder(encoder(audio))]
    coarse, whole = encoder.to(dtype), decoder.to(dtype)
    got = [coarse(audio.to(dtype)), whole(coarse(audio.to(dtype)))]
    for want, have in zip(expected, got, strict=True):
        assert (have.dtype, have.shape) == (dtype, want.shape)
        assert have.stride(1) == 1  # channels are neighbours
        torch.testing.assert_close(have.float(), want, rtol=0, atol=0.03 * want.std().item())


@pytest.mark.parametrize(("width", "together"), [(8, True), (MAX_CHANNELS_LAST_WIDTH + 8, False)])
def test_without_gradients_narrow_float32_blocks_keep_channels_together(
    width: int, together: bool
) -> None:
    torch.manual_seed(0)
    stack = ResidualStack(width, ResidualShape(2, 3))
    hidden = torch.randn(2, width, 32)
    expected = stack(hidden)
    first = stack.blocks[0].dilated
    with torch.no_grad():
        assert (first(hidden).stride(1) == 1) is together
        torch.testing.assert_close(stack(hidden), expected)
    assert first(hidden).stride(1) != 1


def test_autocast_gradients_are_those_of_float32() -> None:
    settings = {"num_stages": 1, "stride": 2, "residual": ResidualShape(2, 3)}
    torch.manual_seed(0)
    block, audio = EncoderBlock(1, 8, 4, **settings), torch.randn(2, 1, 64)
    exact = torch.autograd.grad(block(audio).square().mean(), list(block.parameters()))
    with torch.autocast("cpu", torch.bfloat16):
        loss = block(audio).float().square().mean()
    for want, have in zip(exact, torch.autograd.grad(loss, list(block.parameters())), strict=True):
        torch.testing.assert_close(have, want, rtol=0, atol=0.05 * want.abs().max().item())
