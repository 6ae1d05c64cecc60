"""What a prior is told besides its own codes: labels, timing, lyrics, codes of the level above.

Labels become the start vector, timing or upper codes a vector per position, and separately encoded
lyrics a sequence for cross-attention. `Conditioning` carries all of it, computed once per window.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from jukebox_hf.convnet import DecoderBlock, ResidualShape
from jukebox_hf.labels import JukeboxLabels
from jukebox_hf.precision import Float32Module
from jukebox_hf.prior.attention import Linear
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.prior.sizes import Layout
from jukebox_hf.prior.transformer import LayerNorm, TokenEmbedding, Transformer, TransformerShape


class Conditioning(NamedTuple):
    """Everything that conditions one window.

    start: (batch, 1, width), from artist and genre; `None` without labels.
    positions: (batch, context_length, width), from timing or upper codes; `None` without either.
    encoder_states: (batch, lyric_length, width), for cross-attention; `None` without it.
    lyric_tokens: (batch, lyric_length) int64, where lyrics precede the codes; `None` elsewhere.
    """

    start: Tensor | None
    positions: Tensor | None
    encoder_states: Tensor | None
    lyric_tokens: Tensor | None

    def select(self, index: Tensor | slice) -> "Conditioning":
        """The same for some items of the batch."""
        return Conditioning(*(None if part is None else part[index] for part in self))

    def to(self, device: torch.device | str) -> "Conditioning":
        """The same on another device."""
        return Conditioning(*(None if part is None else part.to(device) for part in self))


class LabelEmbedding(nn.Module):
    """Artist and a bag of genre words as one vector: the sum of their embeddings."""

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        std = 0.01 * config.init_scale
        self.artist = TokenEmbedding(config.artist_count, config.width, init_std=std)
        self.genre = TokenEmbedding(config.genre_count, config.width, init_std=std)

    def forward(self, labels: JukeboxLabels) -> Tensor:
        """(batch, 1, width). Genre slots of -1 are empty."""
        used = (labels.genres >= 0).unsqueeze(-1)
        genre = (self.genre(labels.genres.clamp(min=0)) * used).sum(dim=1, keepdim=True)
        return genre + self.artist(labels.artist).unsqueeze(1)  # type: ignore[no-any-return]


class TimingEmbedding(nn.Module):
    """Where each position stands: length of the piece, time since its start, share of it gone by.

    The end of the window is excluded, and always lies a full window after its start, also when
    fewer codes are sampled; all arithmetic is float32. The weights were trained this way.
    """

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        std = 0.01 * config.init_scale
        self.bins = config.timing_bins
        self.context_length = config.context_length
        self.window_samples = config.window_samples
        self.min_samples = config.min_total_seconds * config.sampling_rate
        self.max_samples = config.max_total_seconds * config.sampling_rate
        self.total = TokenEmbedding(config.timing_bins, config.width, init_std=std)
        self.absolute = TokenEmbedding(config.timing_bins, config.width, init_std=std)
        self.relative = TokenEmbedding(config.timing_bins, config.width, init_std=std)

    def forward(self, labels: JukeboxLabels, num_codes: int | None = None) -> Tensor:
        """(batch, num_codes, width); None: a whole window of them."""
        total, absolute, relative = self.bin_indices(labels)
        absolute, relative = absolute[:, :num_codes], relative[:, :num_codes]
        return self.total(total) + self.absolute(absolute) + self.relative(relative)  # type: ignore[no-any-return]

    def bin_indices(self, labels: JukeboxLabels) -> tuple[Tensor, Tensor, Tensor]:
        """Table rows of total length, absolute and relative position.

        Shapes: (batch, 1), then twice (batch, context_length).

        A window that runs past `max_total_seconds` keeps the last absolute bin.
        """
        total = labels.total_samples.float().unsqueeze(-1)  # (batch, 1)
        start = labels.offset_samples.float().unsqueeze(-1)
        end = start + float(self.window_samples)
        absolute = self._spread(start, end)
        relative = self._spread(start / total, (end / total).clamp(0.0, 1.0))
        return (
            self._bin(total, self.min_samples, self.max_samples),
            self._bin(absolute, 0.0, self.max_samples),
            self._bin(relative, 0.0, 1.0),
        )

    def _spread(self, first: Tensor, end: Tensor) -> Tensor:
        steps = torch.arange(self.context_length, dtype=torch.float32, device=first.device)
        return first + (end - first) * (steps / self.context_length)

    def _bin(self, value: Tensor, low: float, high: float) -> Tensor:
        bins = torch.floor(self.bins * ((value - low) / (high - low))).long()
        return bins.clamp(0, self.bins - 1)


class UpperConditioner(Float32Module):
    """Codes of the level above, stretched to one vector per position by dilated convolutions."""

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.embedding = TokenEmbedding(
            config.codebook_size, config.width, init_std=0.02 * config.init_scale
        )
        self.upsampler = DecoderBlock(
            config.width,
            config.conditioner_width,
            config.width,
            num_stages=config.upper_downsamplings,
            stride=config.upper_stride,
            residual=ResidualShape(
                depth=config.conditioner_depth,
                dilation_growth=config.conditioner_dilation_growth,
                dilation_cycle=config.conditioner_dilation_cycle,
                scale_residual=config.conditioner_scale_residual,
                conv_multiplier=config.conditioner_conv_multiplier,
            ),
        )
        self.norm = LayerNorm(config.width)

    def forward(self, upper_codes: Tensor) -> Tensor:
        """(batch, context_length / upper_ratio) codes to (batch, context_length, width)."""
        embedded = self.embedding(upper_codes).transpose(1, 2)  # (batch, width, time)
        return self.norm(self.upsampler(embedded).transpose(1, 2))  # type: ignore[no-any-return]


class LyricEncoder(nn.Module):
    """Lyrics to states for cross-attention, and a guess of each symbol from those before it."""

    def __init__(self, config: PriorConfig) -> None:
        super().__init__()
        self.transformer = Transformer(
            TransformerShape(
                vocabulary_size=config.lyric_vocab_size,
                layout=Layout(
                    config.lyric_length, config.lyric_length // config.lyric_encoder_num_rows, 0
                ),
                layer_kinds=config.lyric_encoder_layer_kinds,
                width=config.lyric_encoder_width,
                heads=config.lyric_encoder_heads,
                attention_width=config.lyric_encoder_attention_width,
                mlp_width=config.lyric_encoder_mlp_width,
                init_scale=config.lyric_encoder_init_scale,
                has_start=True,
                scale_residual=config.scale_residual,
                zero_init_output=config.zero_init_output,
                embedding_dropout=config.embedding_dropout,
                attention_dropout=config.attention_dropout,
                residual_dropout=config.residual_dropout,
            )
        )
        self.projection = Linear(
            config.lyric_encoder_width,
            config.width,
            init_std=0.02 * config.lyric_encoder_init_scale,
        )
        self.norm = LayerNorm(config.width)
        self.output = Float32Linear(config.width, config.lyric_vocab_size)

    def forward(self, lyric_tokens: Tensor) -> Tensor:
        """(batch, lyric_length) to (batch, lyric_length, width), float32.

        State `i` knows the tokens before `i`.
        """
        states = self.transformer.inputs(lyric_tokens[:, :-1], None, None)
        states = self.transformer(states).to(self.projection.weight.dtype)
        return self.norm(self.projection(states).float())  # type: ignore[no-any-return]

    def logits(self, states: Tensor) -> Tensor:
        """(batch, lyric_length, lyric_vocab_size), float32."""
        return self.output(states)  # type: ignore[no-any-return]


class Float32Linear(Float32Module, nn.Linear):
    """A projection to logits, without bias, in float32."""

    def __init__(self, width: int, vocabulary_size: int) -> None:
        super().__init__(width, vocabulary_size, bias=False, dtype=torch.float32)

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., width) to (..., vocabulary_size), float32, also under autocast."""
        if hidden.is_meta:  # autocast knows no such device
            return functional.linear(hidden.float(), self.weight)
        with torch.autocast(hidden.device.type, enabled=False):
            return functional.linear(hidden.float(), self.weight)
