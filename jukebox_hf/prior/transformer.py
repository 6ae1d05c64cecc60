"""The autoregressive transformer of a prior, and of its lyric encoder.

Tokens go in, hidden states (batch, time, width) in float32 come out. The token at a position never
sees itself: the sequence is shifted right by one, and a start vector takes the first place.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from jukebox_hf.layers import CheckpointedLayer
from jukebox_hf.precision import Float32Module
from jukebox_hf.prior.attention import Attention, Linear, layer_dtype
from jukebox_hf.prior.prior_config import LayerKind
from jukebox_hf.prior.sizes import Layout, kept_positions
from jukebox_hf.prior.step_buffers import LayerCache, PriorCache, StepPlace, StepTables


class LayerNorm(Float32Module, nn.LayerNorm):
    """Layer normalization with weights and statistics in float32, whatever the activations are."""

    def __init__(self, width: int) -> None:
        super().__init__(width, dtype=torch.float32)

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalize (..., width), in the dtype that came."""
        normed = functional.layer_norm(
            hidden.float(), self.normalized_shape, self.weight, self.bias, self.eps
        )
        return normed.to(hidden.dtype)


class TokenEmbedding(Float32Module, nn.Embedding):
    """A table in float32. `init_std` is the standard deviation of its initial weights."""

    def __init__(self, num_rows: int, width: int, *, init_std: float) -> None:
        super().__init__(num_rows, width, dtype=torch.float32)
        self.init_std = init_std


class FeedForward(nn.Module):
    """Two linear layers with `x * sigmoid(1.702 x)` between them (Hendrycks and Gimpel 2016)."""

    def __init__(self, width: int, mlp_width: int, *, init_std: float, zero_init: bool) -> None:
        super().__init__()
        self.expand = Linear(width, mlp_width, init_std=init_std)
        self.contract = Linear(mlp_width, width, init_std=0.0 if zero_init else init_std)

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., width) to (..., width)."""
        hidden = self.expand(hidden)
        return self.contract(hidden * torch.sigmoid(1.702 * hidden))  # type: ignore[no-any-return]


class TransformerShape(NamedTuple):
    """Sizes of one transformer; the decoder and the lyric encoder each have their own."""

    vocabulary_size: int
    layout: Layout
    layer_kinds: tuple[LayerKind, ...]
    width: int
    heads: int
    attention_width: int
    mlp_width: int
    init_scale: float
    has_start: bool
    scale_residual: bool = False
    zero_init_output: bool = False
    embedding_dropout: float = 0.0
    attention_dropout: float = 0.0
    residual_dropout: float = 0.0


class TransformerLayer(CheckpointedLayer):
    """Attention, then feed-forward on the sum; both normalize what they read, not what they add."""

    def __init__(self, kind: LayerKind, shape: TransformerShape) -> None:
        super().__init__()
        # Cross-attention is added to models that work without it, so it starts by adding nothing.
        zero_init = shape.zero_init_output or kind == "cross"
        init_std = 0.02 * shape.init_scale
        self.attention_norm = LayerNorm(shape.width)
        self.attention = Attention(
            kind,
            shape.layout,
            width=shape.width,
            attention_width=shape.attention_width,
            heads=shape.heads,
            dropout=shape.attention_dropout,
            init_std=init_std,
            zero_init=zero_init,
        )
        self.mlp_norm = LayerNorm(shape.width)
        self.mlp = FeedForward(shape.width, shape.mlp_width, init_std=init_std, zero_init=zero_init)
        self.residual_scale = 1 / len(shape.layer_kinds) if shape.scale_residual else 1.0
        self.residual_dropout = shape.residual_dropout

    def compute(
        self,
        hidden: Tensor,
        encoder_states: Tensor | None = None,
        start: int = 0,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """(batch, time, width) to the same; see `Attention.forward` for the other arguments."""
        attended = self.attention(
            self.attention_norm(hidden), start=start, encoder_states=encoder_states, cache=cache
        )
        return self._add(hidden, self._drop(attended))

    def step(self, hidden: Tensor, place: StepPlace | None, cache: LayerCache) -> Tensor:
        """One position, (batch, width) to the same, over static buffers."""
        return self._add(hidden, self.attention.step(self.attention_norm(hidden), place, cache))

    def _add(self, hidden: Tensor, attended: Tensor) -> Tensor:
        # Under autocast sums are float32's; a CPU adds two dtypes at half the speed.
        summed = hidden + attended.to(hidden.dtype)
        transformed = self._drop(self.mlp(self.mlp_norm(summed)))
        if self.residual_scale == 1.0:
            return summed + transformed.to(hidden.dtype)
        return hidden + self.residual_scale * (attended + transformed)

    def _drop(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.residual_dropout) if self.training else x


class Transformer(nn.Module):
    """Embeds shifted tokens and runs the layers over them."""

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        self.shape = shape
        self.layout = shape.layout
        self.heads = shape.heads
        self.head_dim = shape.attention_width // shape.heads
        self.embedding_dropout = shape.embedding_dropout
        scale = shape.init_scale
        self.embedding = TokenEmbedding(shape.vocabulary_size, shape.width, init_std=0.02 * scale)
        self.positions = TokenEmbedding(
            shape.layout.sequence_length, shape.width, init_std=0.01 * scale
        )
        self.start = (
            TokenEmbedding(1, shape.width, init_std=0.01 * scale) if shape.has_start else None
        )
        self.kinds = shape.layer_kinds
        self.layers = nn.ModuleList(TransformerLayer(kind, shape) for kind in shape.layer_kinds)

    @property
    def dtype(self) -> torch.dtype:
        """Of the linear weights, and of the activations between the layers."""
        return layer_dtype(self.layers[0].mlp.expand)

    def inputs(
        self,
        tokens: Tensor,
        start_vector: Tensor | None,
        position_conditioning: Tensor | None,
        *,
        start: int = 0,
    ) -> Tensor:
        """Input states for the positions `start ...`, (batch, time, width), float32.

        Args:
            tokens: (batch, n). With `start == 0` a start vector precedes them, for n + 1 positions;
                otherwise the first token stands at position `start - 1` and n states come back.
            start_vector: (batch, 1, width) in place of the learned one.
            position_conditioning: (batch, time, width) for these positions.
        """
        states = self.embedding(tokens)
        if start == 0:
            if start_vector is None:
                assert self.start is not None, "no learned start vector: labels must give one"
                start_vector = self.start(tokens.new_zeros(len(tokens), 1))
            states = torch.cat([start_vector.float(), states], dim=1)
        positions = torch.arange(start, start + states.shape[1], device=tokens.device)
        states = self._drop(states) + self._drop(self.positions(positions))
        return states if position_conditioning is None else states + position_conditioning

    def input_at(
        self, tokens: Tensor, position: Tensor, position_conditioning: Tensor | None
    ) -> Tensor:
        """Input states (batch, width) for one position after the first.

        Args:
            tokens: (batch,), the ones just before `position`.
            position: (1,) int64 tensor; no synchronization.
            position_conditioning: (batch, width) for this position.
        """
        states: Tensor = self.embedding(tokens) + self.positions(position)
        return states if position_conditioning is None else states + position_conditioning

    def forward(
        self,
        states: Tensor,
        *,
        encoder_states: Tensor | None = None,
        start: int = 0,
        cache: PriorCache | None = None,
        num_layers: int | None = None,
    ) -> Tensor:
        """Run the layers, or only the first `num_layers`, over a run of positions.

        Args:
            states: (batch, time, width) from `inputs`.
            encoder_states: (batch, encoder_length, width) for cross-attention without a cache.
            start: position of the first state; earlier ones are read from `cache`.
            cache: takes keys and values of these positions.

        Returns:
            (batch, time, width), float32.
        """
        hidden = states.to(self.dtype)
        for index, layer in enumerate(self.layers[:num_layers]):
            layer_cache = cache.layers[index] if cache is not None else None
            hidden = layer(hidden, encoder_states, start, layer_cache)
        return hidden.float()

    def iterate_layers(
        self, states: Tensor, *, encoder_states: Tensor | None = None
    ) -> Iterator[tuple[int, Tensor]]:
        """Run layer after layer; after each, its number and the states so far, in their own dtype.

        Layers count from 1. One that nobody takes is not run, so whoever stops early saves the
        layers above; arguments are those of `forward`.
        """
        hidden = states.to(self.dtype)
        for number, layer in enumerate(self.layers, start=1):
            hidden = layer(hidden, encoder_states)
            yield number, hidden

    def step(self, states: Tensor, position: Tensor, cache: PriorCache) -> Tensor:
        """One position over static buffers: (batch, width) to the same in float32."""
        places = cache.tables.at(position)
        hidden = states.to(self.dtype)
        for kind, layer, kept in zip(self.kinds, self.layers, cache.layers, strict=True):
            hidden = layer.step(hidden, places.get(kind), kept)  # type: ignore[operator]
        return hidden.float()

    def lyric_attention(
        self, states: Tensor, layer: int, encoder_states: Tensor | None, num_lyrics: int
    ) -> Tensor:
        """Probabilities (batch, heads, codes, lyrics) at one layer; those above are not run."""
        hidden = self(states, encoder_states=encoder_states, num_layers=layer).to(self.dtype)
        chosen = self.layers[layer]
        return chosen.attention.lyric_attention(  # type: ignore[operator, union-attr, no-any-return]
            chosen.attention_norm(hidden),  # type: ignore[operator]
            encoder_states,
            num_lyrics,
        )

    def new_cache(
        self, batch_size: int, encoder_length: int, dtype: torch.dtype, device: torch.device
    ) -> PriorCache:
        """Zeroed buffers for every layer."""
        layers = [
            LayerCache(torch.empty(shape, dtype=dtype, device=device))
            for shape in self.cache_shapes(batch_size, encoder_length)
        ]
        cache = PriorCache(layers, StepTables(self.kinds, self.layout, dtype, device))
        cache.zero_()  # touches all of it, so that no step waits for pages of memory
        return cache

    def cache_shapes(self, batch_size: int, encoder_length: int) -> list[tuple[int, ...]]:
        """Of the keys and values that each layer keeps."""
        kept = [kept_positions(kind, self.layout, encoder_length) for kind in self.kinds]
        return [(2, batch_size, self.heads, *one, self.head_dim) for one in kept]

    def fill_encoder_cache(self, encoder_states: Tensor, cache: PriorCache) -> None:
        """Write the projected encoder states into the buffers of the cross-attention layers."""
        for kind, layer, layer_cache in zip(self.kinds, self.layers, cache.layers, strict=True):
            if kind == "cross":
                layer.attention.fill_encoder_cache(encoder_states, layer_cache)  # type: ignore[operator, union-attr]

    def _drop(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.embedding_dropout, self.training)
