"""Dilated residual convolutions: the codec's encoders and decoders, the upsamplers' conditioner.

Everything here is (batch, channels, time). An `EncoderBlock` divides time by `stride` once per
stage, a `DecoderBlock` multiplies it back; between the strided convolutions stand residual stacks
whose dilations grow exponentially (Dhariwal et al. 2020, arXiv:2005.00341, appendix B.1; dilated
convolutions of audio: van den Oord et al. 2016, arXiv:1609.03499).

Zero padding makes the values next to an end depend on where that end is. `Edges` counts how many
do, which is what cutting long audio into pieces needs to know.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from jukebox_hf.layers import CheckpointedLayer

KERNEL_SIZE = 3  # of every convolution that keeps the length
MAX_CHANNELS_LAST_WIDTH = 512  # in float32 on a CPU; wider, the plain kernels are faster


class Edges(NamedTuple):
    """How many values at each end of a sequence would change if it went on there."""

    left: int = 0
    right: int = 0


def edges_after(edges: Edges, layer: nn.Conv1d | nn.ConvTranspose1d) -> Edges:
    """`edges` of the layer's output, given those of its input.

    Exact for inputs whose length is a multiple of the stride, counted from the left end.

    >>> edges_after(Edges(0, 0), nn.Conv1d(1, 1, kernel_size=3, padding=9, dilation=9))
    Edges(left=9, right=9)
    """
    stride, kernel_size, dilation = layer.stride[0], layer.kernel_size[0], layer.dilation[0]
    padding = int(layer.padding[0])
    reach = dilation * (kernel_size - 1)
    if isinstance(layer, nn.ConvTranspose1d):
        # Input i reaches outputs i * stride - padding ... i * stride - padding + reach.
        added = reach + 1 - stride - padding
        return Edges(edges.left * stride + added, edges.right * stride + added)
    # Output o sees inputs o * stride - padding ... o * stride - padding + reach.
    return Edges(
        left=-(-(edges.left + padding) // stride),
        right=(edges.right + reach - padding) // stride,
    )


def edges_through(edges: Edges, module: nn.Module) -> Edges:
    """`edges` of the output of a module that has its convolutions in the order it applies them."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv1d | nn.ConvTranspose1d):
            edges = edges_after(edges, layer)
    return edges


class Conv1d(nn.Conv1d):
    """`nn.Conv1d`, which on a CPU keeps the channels of a moment beside each other if that is fast.

    Only two-dimensional convolutions have fast kernels for that. What they return is (batch,
    channels, time) in that order of memory, which element-wise operations keep, so that nothing is
    rearranged between two convolutions.
    """

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, in_channels, time) -> (batch, out_channels, time // stride)."""
        if not _channels_last_is_faster(hidden):
            return super().forward(hidden)
        out = functional.conv2d(
            _channels_last(hidden),
            _channels_last(self.weight),
            self.bias,
            stride=(1, *self.stride),
            padding=(0, int(self.padding[0])),
            dilation=(1, *self.dilation),
        )
        # One input channel leaves the order open, and the kernel then takes the other one.
        return out.contiguous(memory_format=torch.channels_last).squeeze(2)


class ConvTranspose1d(nn.ConvTranspose1d):
    """`nn.ConvTranspose1d` with the memory of `Conv1d`."""

    def forward(self, hidden: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(batch, in_channels, time) -> (batch, out_channels, time * stride)."""
        if output_size is not None or not _channels_last_is_faster(hidden):
            return super().forward(hidden, output_size)
        return functional.conv_transpose2d(
            _channels_last(hidden),
            _channels_last(self.weight),
            self.bias,
            stride=(1, *self.stride),
            padding=(0, int(self.padding[0])),
        ).squeeze(2)


class PointwiseConv(Conv1d):
    """A convolution of kernel size 1, which with `zero_init` is 0 in a new model."""

    def __init__(self, in_channels: int, out_channels: int, *, zero_init: bool = False) -> None:
        self.zero_init = zero_init
        super().__init__(in_channels, out_channels, 1)


class ResidualBlock(CheckpointedLayer):
    """`hidden + scale * pointwise(relu(dilated(relu(hidden))))`, time length kept.

    `scale` multiplies what the block adds; with `zero_init` a new block adds nothing.
    """

    def __init__(
        self,
        width: int,
        *,
        dilation: int,
        scale: float = 1.0,
        conv_multiplier: float = 1.0,
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        inner_width = int(conv_multiplier * width)
        self.scale = scale
        self.dilated = Conv1d(width, inner_width, KERNEL_SIZE, padding=dilation, dilation=dilation)
        self.pointwise = PointwiseConv(inner_width, width, zero_init=zero_init)

    def compute(self, hidden: Tensor) -> Tensor:
        """(batch, width, time) -> the same shape."""
        added: Tensor = self.pointwise(self.dilated(hidden.relu()).relu_())
        added = added if self.scale == 1.0 else self.scale * added
        # Under autocast the sum is float32's; a CPU adds two dtypes at half the speed.
        return hidden + added.to(hidden.dtype)


@dataclass(frozen=True)
class ResidualShape:
    """What a residual stack is like, whatever its width.

    Attributes:
        depth: residual blocks.
        dilation_growth: block d has dilation `dilation_growth ** (d % dilation_cycle)`.
        dilation_cycle: None: the exponent is d.
        reverse_dilation: the largest dilation comes first.
        scale_residual: what each block adds is multiplied by `1 / sqrt(depth)`.
        conv_multiplier: channels inside a block, over the width.
        zero_init: a new stack adds nothing.
    """

    depth: int
    dilation_growth: int
    dilation_cycle: int | None = None
    reverse_dilation: bool = False
    scale_residual: bool = False
    conv_multiplier: float = 1.0
    zero_init: bool = False

    @property
    def dilations(self) -> list[int]:
        """Of each block, first to last."""
        cycle = self.dilation_cycle or self.depth
        dilations = [self.dilation_growth ** (d % cycle) for d in range(self.depth)]
        return dilations[::-1] if self.reverse_dilation else dilations


class ResidualStack(nn.Module):
    """Residual blocks with dilations that grow."""

    def __init__(self, width: int, shape: ResidualShape) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ResidualBlock(
                width,
                dilation=dilation,
                scale=1 / math.sqrt(shape.depth) if shape.scale_residual else 1.0,
                conv_multiplier=shape.conv_multiplier,
                zero_init=shape.zero_init,
            )
            for dilation in shape.dilations
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, width, time) -> the same shape."""
        for block in self.blocks:
            hidden = block(hidden)
        return hidden


class EncoderStage(nn.Module):
    """A strided convolution that divides time by `stride`, then a residual stack."""

    def __init__(
        self, in_channels: int, width: int, *, stride: int, residual: ResidualStack
    ) -> None:
        super().__init__()
        self.downsample = Conv1d(in_channels, width, 2 * stride, stride=stride, padding=stride // 2)
        self.residual = residual

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, in_channels, time) -> (batch, width, time // stride)."""
        return self.residual(self.downsample(hidden))  # type: ignore[no-any-return]


class DecoderStage(nn.Module):
    """A residual stack, then a transposed convolution that multiplies time by `stride`."""

    def __init__(
        self, width: int, out_channels: int, *, stride: int, residual: ResidualStack
    ) -> None:
        super().__init__()
        self.residual = residual
        self.upsample = ConvTranspose1d(
            width, out_channels, 2 * stride, stride=stride, padding=stride // 2
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, width, time) -> (batch, out_channels, time * stride)."""
        return self.upsample(self.residual(hidden))  # type: ignore[no-any-return]


class EncoderBlock(nn.Module):
    """Divides time by `stride ** num_stages`: that many stages, then an output convolution.

    `stride` must be even (`ValueError`): with an odd one lengths would be off by one. `residual` is
    the residual stack of each stage.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        out_channels: int,
        *,
        num_stages: int,
        stride: int,
        residual: ResidualShape,
    ) -> None:
        super().__init__()
        require_even_stride(stride)
        self.stages = nn.ModuleList(
            EncoderStage(
                in_channels if i == 0 else width,
                width,
                stride=stride,
                residual=ResidualStack(width, residual),
            )
            for i in range(num_stages)
        )
        self.output = Conv1d(width, out_channels, KERNEL_SIZE, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, in_channels, time) -> (batch, out_channels, time // stride ** num_stages)."""
        for stage in self.stages:
            hidden = stage(hidden)
        return self.output(hidden)  # type: ignore[no-any-return]


class DecoderBlock(nn.Module):
    """Multiplies time by `stride ** num_stages`: an input convolution, then that many stages.

    Arguments are those of `EncoderBlock`.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        out_channels: int,
        *,
        num_stages: int,
        stride: int,
        residual: ResidualShape,
    ) -> None:
        super().__init__()
        require_even_stride(stride)
        self.input = Conv1d(in_channels, width, KERNEL_SIZE, padding=1)
        self.stages = nn.ModuleList(
            DecoderStage(
                width,
                out_channels if i == num_stages - 1 else width,
                stride=stride,
                residual=ResidualStack(width, residual),
            )
            for i in range(num_stages)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, in_channels, time) -> (batch, out_channels, time * stride ** num_stages)."""
        hidden = self.input(hidden)
        for stage in self.stages:
            hidden = stage(hidden)
        return hidden


def require_even_stride(stride: int) -> None:
    """Raise `ValueError` unless `stride` is positive and even."""
    if stride < 2 or stride % 2:
        raise ValueError(f"strides must be positive and even, got {stride}")


def _channels_last_is_faster(hidden: Tensor) -> bool:
    """Whether a convolution of `hidden` had better keep channels together in memory.

    On CPUs: always in 16 bit; in float32 up to some width, but not where gradients are wanted.
    """
    if hidden.device.type != "cpu":
        return False
    if hidden.dtype in (torch.bfloat16, torch.float16) or torch.is_autocast_enabled("cpu"):
        return True
    narrow = hidden.dtype == torch.float32 and hidden.shape[1] <= MAX_CHANNELS_LAST_WIDTH
    return narrow and not torch.is_grad_enabled()


def _channels_last(tensor: Tensor) -> Tensor:
    """(n, channels, time) as (n, channels, 1, time), channels next to each other in memory."""
    return tensor.unsqueeze(2).contiguous(memory_format=torch.channels_last)
