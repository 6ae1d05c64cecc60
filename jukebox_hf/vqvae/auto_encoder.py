"""The auto-encoder of one level: encoder, codebook and decoder.

Audio is (batch, 1, samples), latents are (batch, time, codebook_dim). Levels see the same audio and
never each other's output (Dhariwal et al. 2020, arXiv:2005.00341, section 3.1). `convnet` has the
convolutions, `codebook` the quantization.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from jukebox_hf.convnet import (
    KERNEL_SIZE,
    Conv1d,
    DecoderBlock,
    Edges,
    EncoderBlock,
    ResidualShape,
    edges_through,
)
from jukebox_hf.vqvae.codebook import Codebook, CodebookMetrics
from jukebox_hf.vqvae.losses import commitment_loss
from jukebox_hf.vqvae.vqvae_config import VQVAEConfig


def residual_shape(config: VQVAEConfig, level: int) -> ResidualShape:
    """The residual stacks of a level, as its encoder has them."""
    return ResidualShape(
        depth=config.depths[level],
        dilation_growth=config.dilation_growth,
        dilation_cycle=config.dilation_cycle,
        scale_residual=config.scale_residual,
        conv_multiplier=config.conv_multiplier,
        zero_init=config.zero_init,
    )


class Encoder(nn.Module):
    """Audio to latents: the blocks of this level and of all finer ones, finest first."""

    def __init__(self, config: VQVAEConfig, level: int) -> None:
        super().__init__()
        residual = residual_shape(config, level)
        self.blocks = nn.ModuleList(
            EncoderBlock(
                1 if block == 0 else config.codebook_dim,
                config.widths[level],
                config.codebook_dim,
                num_stages=config.downsamplings[block],
                stride=config.strides[block],
                residual=residual,
            )
            for block in range(level + 1)
        )

    def forward(self, audio: Tensor) -> Tensor:
        """(batch, 1, samples) -> (batch, samples // hop_length, codebook_dim)."""
        hidden = audio
        for block in self.blocks:
            hidden = block(hidden)
        return hidden.transpose(1, 2)

    def edges(self) -> Edges:
        """How many latents at an end of the audio would change if it went on there."""
        return edges_through(Edges(), self)


class Decoder(nn.Module):
    """Latents to audio: the blocks of an encoder mirrored, coarsest first, and one convolution."""

    def __init__(self, config: VQVAEConfig, level: int) -> None:
        super().__init__()
        residual = residual_shape(config, level)
        residual = replace(residual, reverse_dilation=config.reverse_decoder_dilation)
        self.blocks = nn.ModuleList(
            DecoderBlock(
                config.codebook_dim,
                config.widths[level],
                config.codebook_dim,
                num_stages=config.downsamplings[block],
                stride=config.strides[block],
                residual=residual,
            )
            for block in range(level + 1)
        )
        self.output = Conv1d(config.codebook_dim, 1, KERNEL_SIZE, padding=1)

    def forward(self, latents: Tensor) -> Tensor:
        """(batch, time, codebook_dim) -> (batch, 1, time * hop_length)."""
        hidden = latents.transpose(1, 2)
        for block in reversed(self.blocks):
            hidden = block(hidden)
        return self.output(hidden)  # type: ignore[no-any-return]

    def edges(self) -> Edges:
        """How many samples at an end of the codes would change if they went on there."""
        edges = Edges()
        for block in reversed(self.blocks):
            edges = edges_through(edges, block)
        return edges_through(edges, self.output)


class Reconstruction(NamedTuple):
    """What one level makes of audio."""

    audio: Tensor  # (batch, 1, time * hop_length) float32
    commitment: Tensor  # scalar
    latents: Tensor  # (batch, time, codebook_dim), without gradient
    codes: Tensor | None = None  # (batch, time) int64
    codebook_metrics: CodebookMetrics | None = None


class JukeboxVQVAELevel(nn.Module):
    """The auto-encoder of one level: its own precision inside, float32 outside."""

    def __init__(self, config: VQVAEConfig, level: int) -> None:
        super().__init__()
        self.hop_length = config.hop_lengths[level]
        self.encoder = Encoder(config, level)
        self.decoder = Decoder(config, level)
        self.codebook: Codebook | None = None
        if config.use_codebook:
            self.codebook = Codebook(
                config.codebook_size,
                config.codebook_dim,
                decay=config.codebook_decay,
                revival_threshold=config.revival_threshold,
            )

    def forward(
        self,
        audio: Tensor,
        generator: torch.Generator | None = None,
        *,
        learn: bool = False,
        quantize: bool = True,
    ) -> Reconstruction:
        """Encode, quantize and decode audio (batch, 1, samples)."""
        latents = self.encode(audio)
        found = latents.detach()
        if self.codebook is None or not quantize:
            return Reconstruction(self.decode(latents), latents.new_zeros(()), found)
        codes, vectors, metrics = self.codebook(latents, learn=learn, generator=generator)
        # Straight through: forwards the vectors of the codes, backwards the latents' gradient.
        quantized = latents + (vectors - latents).detach()
        commitment = commitment_loss(latents, vectors)
        return Reconstruction(self.decode(quantized), commitment, found, codes, metrics)

    def encode(self, audio: Tensor) -> Tensor:
        """Audio (batch, 1, samples) -> latents (batch, time, codebook_dim) float32."""
        return self.encoder(self._placed(audio)).float()  # type: ignore[no-any-return]

    def decode(self, latents: Tensor) -> Tensor:
        """Latents (batch, time, codebook_dim) -> audio (batch, 1, time * hop_length) float32."""
        return self.decoder(self._placed(latents)).float()  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        """Where the weights are: "meta" while they are offloaded."""
        return self.decoder.output.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights of the convolutions."""
        return self.decoder.output.weight.dtype

    def _placed(self, tensor: Tensor) -> Tensor:
        """`tensor` where, and as precise as, this level's weights are."""
        dtype = self.dtype
        if self.device.type == "meta":  # accelerate moves the input where it brings the weights
            return tensor.to(dtype)
        return tensor.to(self.device, dtype)
