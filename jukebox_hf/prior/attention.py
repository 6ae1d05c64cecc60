"""Dense and factored self-attention, cross-attention, and the buffers that make decoding cheap.

A sequence is folded into rows of `row_length` positions. Position `i` stands in row
`i // row_length` and column `i % row_length`, and sees, by the kind of its layer (Dhariwal et al.
2020, section 4.2, after Child et al. 2019, https://arxiv.org/abs/1904.10509):

    row           earlier positions of its row, and itself
    column        the same column of earlier rows, and itself
    previous_row  the whole row above; in the first row nothing, and attention then yields zero
    dense         every earlier position, and itself
    prime         the same, but only among the first `prime_length` positions
    cross         every state of the lyric encoder

The same arithmetic serves three callers: a whole sequence at once (training), a run of positions
that continues a cache (prefill), and a single position on static buffers (`step`).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from jukebox_hf.prior import kernels
from jukebox_hf.prior.prior_config import LayerKind
from jukebox_hf.prior.sizes import Layout
from jukebox_hf.prior.step_buffers import LayerCache, StepPlace


class Linear(nn.Linear):
    """A linear layer that knows the standard deviation of its initial weights; bias starts at 0."""

    def __init__(self, in_features: int, out_features: int, *, init_std: float) -> None:
        super().__init__(in_features, out_features)
        self.init_std = init_std

    @property
    def compute_dtype(self) -> torch.dtype:
        """Of what goes in and comes out; layers that replace this one store weights otherwise."""
        return self.weight.dtype

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., in_features) to (..., out_features)."""
        return kernels.linear(hidden, self.weight, self.bias)


def layer_dtype(layer: Any) -> torch.dtype:
    """What a linear layer takes in and gives out; peft's layers around ours know a weight only."""
    dtype: torch.dtype | None = getattr(layer, "compute_dtype", None)
    return layer.weight.dtype if dtype is None else dtype


class Attention(nn.Module):
    """Multi-head attention of one kind, (batch, time, width) to (batch, time, width)."""

    def __init__(
        self,
        kind: LayerKind,
        layout: Layout,
        *,
        width: int,
        attention_width: int,
        heads: int,
        dropout: float = 0.0,
        init_std: float = 0.02,
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        self.kind: LayerKind = kind
        self.layout = layout
        self.heads = heads
        self.head_dim = attention_width // heads
        self.dropout = dropout
        self.is_eager = False  # see `JukeboxPrior.set_attn_implementation`
        if kind == "cross":
            self.query = Linear(width, attention_width, init_std=init_std)
            self.key_value = Linear(width, 2 * attention_width, init_std=init_std)
        else:
            self.qkv = Linear(width, 3 * attention_width, init_std=init_std)
        self.output = Linear(attention_width, width, init_std=0.0 if zero_init else init_std)

    def forward(
        self,
        hidden: Tensor,
        *,
        start: int = 0,
        encoder_states: Tensor | None = None,
        cache: LayerCache | None = None,
    ) -> Tensor:
        """Attend from a run of positions that begins at `start`.

        Args:
            hidden: (batch, time, width).
            start: position of the first one in the sequence; earlier ones are read from `cache`.
            encoder_states: (batch, encoder_length, width), for the kind "cross" without a cache.
            cache: takes the new keys and values; needed when `start > 0`.
        """
        if self.kind == "cross":
            keys, values = self._encoder_keys_values(encoder_states, cache)
            query = self._split_heads(self.query(hidden)).to(keys.dtype)
            mixed = self._attend(query, keys, values)
        else:
            dtype = None if cache is None else cache.keys.dtype
            query, keys, values = self._project(hidden, dtype)
            mixed = self._self_attend(query, keys, values, start, cache)
        return self._merge_heads(mixed, hidden.dtype)

    def step(self, hidden: Tensor, place: StepPlace | None, cache: LayerCache) -> Tensor:
        """Attend from one position, (batch, width) to the same, over static buffers.

        `place`: of the position, from `StepTables.at`; the kind "cross" needs none.
        """
        if place is None:
            query = self.query(hidden).to(cache.both.dtype)
            kept = cache.both.flatten(1, 2)  # (2, batch · heads, *kept, dim)
        else:
            projected = self.qkv(hidden).to(cache.both.dtype)
            # query, key and value, (batch, 3, heads, dim)
            parts = projected.view(len(hidden), 3, self.heads, self.head_dim)
            query = parts[:, 0]
            kept = self._write_down(parts[:, 1:], place, cache)
        query = query.reshape(-1, 1, self.head_dim)  # (batch · heads, 1, dim)
        mixed = self._attend_one(query, kept[0], kept[1], place)
        return self.output(mixed.view(len(hidden), -1).to(hidden.dtype))  # type: ignore[no-any-return]

    def lyric_attention(
        self, hidden: Tensor, encoder_states: Tensor | None, num_lyrics: int
    ) -> Tensor:
        """Probabilities with which codes attend to lyrics, (batch, heads, codes, lyrics), float32.

        For the kinds "cross" and "prime", on a whole sequence; in the latter, softmax runs over all
        keys of the layer and the lyric part is cut out.
        """
        if self.kind == "cross":
            query = self._split_heads(self.query(hidden))
            keys, _ = self._encoder_keys_values(encoder_states, None)
            return self._scores(query, keys).softmax(dim=-1)
        query, keys, _ = self._project(hidden)
        keys = keys[:, :, : self.layout.prime_length]
        query = query[:, :, num_lyrics:]
        hidden_keys = ~_causal(query.shape[2], keys.shape[2], num_lyrics, query.device)
        scores = self._scores(query, keys).masked_fill(hidden_keys, -torch.inf)
        return scores.softmax(dim=-1)[..., :num_lyrics]

    def fill_encoder_cache(self, encoder_states: Tensor, cache: LayerCache) -> None:
        """Project the encoder's states once per window; every step then reads them."""
        keys, values = self._encoder_keys_values(encoder_states, None)
        cache.keys.copy_(keys)
        cache.values.copy_(values)

    def _encoder_keys_values(
        self, encoder_states: Tensor | None, cache: LayerCache | None
    ) -> tuple[Tensor, Tensor]:
        if encoder_states is None:
            assert cache is not None, (
                "cross-attention needs encoder states or a cache that holds them"
            )
            return cache.keys, cache.values
        projected = self.key_value(encoder_states.to(layer_dtype(self.key_value)))
        keys, values = (self._split_heads(x) for x in projected.chunk(2, dim=-1))
        return keys, values

    def _split_heads(self, x: Tensor) -> Tensor:
        batch, time, _ = x.shape
        # (batch, heads, time, dim)
        return x.view(batch, time, self.heads, self.head_dim).transpose(1, 2)

    def _project(self, hidden: Tensor, dtype: torch.dtype | None = None) -> tuple[Tensor, ...]:
        """Query, key and value (batch, heads, time, dim) in `dtype`, that of a cache."""
        projected = self.qkv(hidden)
        parts = (projected if dtype is None else projected.to(dtype)).chunk(3, dim=-1)
        return tuple(self._split_heads(part) for part in parts)

    def _merge_heads(self, mixed: Tensor, dtype: torch.dtype) -> Tensor:
        """(batch, heads, time, dim) to (batch, time, width) in `dtype`."""
        return self.output(mixed.transpose(1, 2).flatten(2).to(dtype))  # type: ignore[no-any-return]

    def _scores(self, query: Tensor, keys: Tensor) -> Tensor:
        return torch.matmul(query * self.head_dim**-0.5, keys.transpose(-1, -2)).float()

    def _attend(
        self,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        *,
        causal: bool = False,
        visible: Tensor | None = None,
    ) -> Tensor:
        if self.is_eager or (self.training and kernels.trains_plainly(query, keys)):
            return self._attend_plainly(query, keys, values, causal=causal, visible=visible)
        return functional.scaled_dot_product_attention(
            query,
            keys,
            values,
            attn_mask=visible,
            is_causal=causal,
            dropout_p=self.dropout if self.training else 0.0,
        )

    def _attend_plainly(
        self, query: Tensor, keys: Tensor, values: Tensor, *, causal: bool, visible: Tensor | None
    ) -> Tensor:
        """`_attend` as two products of matrices."""
        scores = torch.matmul(query * self.head_dim**-0.5, keys.transpose(-1, -2))
        if causal:
            visible = _causal(query.shape[-2], keys.shape[-2], 0, query.device)
        if visible is not None:
            scores = scores.masked_fill(~visible, -torch.inf)
        shares = functional.dropout(scores.softmax(dim=-1), self.dropout, self.training)
        return torch.matmul(shares, values)

    # --- a run of positions ---

    def _self_attend(
        self, query: Tensor, keys: Tensor, values: Tensor, start: int, cache: LayerCache | None
    ) -> Tensor:
        if self.kind in ("dense", "prime"):
            return self._attend_flat(query, keys, values, start, cache)
        rows = _Rows.spanning(start, query.shape[2], self.layout.row_length)
        query, keys, values = (rows.fold(x) for x in (query, keys, values))
        if self.kind == "row":
            mixed = self._attend_rows(query, keys, values, rows, cache)
        elif self.kind == "column":
            mixed = self._attend_columns(query, keys, values, rows, cache)
        else:
            mixed = self._attend_previous_rows(query, keys, values, rows, cache)
        return rows.unfold(mixed)

    def _attend_flat(
        self, query: Tensor, keys: Tensor, values: Tensor, start: int, cache: LayerCache | None
    ) -> Tensor:
        kept = self.layout.prime_length if self.kind == "prime" else self.layout.sequence_length
        new = max(0, min(kept - start, keys.shape[2]))
        keys, values = keys[:, :, :new], values[:, :, :new]
        if cache is not None:
            cache.keys[:, :, start : start + new] = keys
            cache.values[:, :, start : start + new] = values
            end = start + new if new else kept
            keys, values = cache.keys[:, :, :end], cache.values[:, :, :end]
        if start == 0 and query.shape[2] == keys.shape[2]:
            return self._attend(query, keys, values, causal=True)
        visible = _causal(query.shape[2], keys.shape[2], start, query.device)
        return self._attend(query, keys, values, visible=visible)

    def _attend_rows(
        self, query: Tensor, keys: Tensor, values: Tensor, rows: "_Rows", cache: LayerCache | None
    ) -> Tensor:
        if cache is not None:
            if rows.skip:  # the first row began before this run
                keys[:, :, 0, : rows.skip] = cache.keys[:, :, : rows.skip]
                values[:, :, 0, : rows.skip] = cache.values[:, :, : rows.skip]
            cache.keys.copy_(keys[:, :, -1])
            cache.values.copy_(values[:, :, -1])
        query, keys, values = (_rows_as_batch(x) for x in (query, keys, values))
        return _rows_from_batch(self._attend(query, keys, values, causal=True), rows.num_rows)

    def _attend_columns(
        self, query: Tensor, keys: Tensor, values: Tensor, rows: "_Rows", cache: LayerCache | None
    ) -> Tensor:
        query, keys, values = (_columns_as_heads(x) for x in (query, keys, values))
        if cache is None:
            return _columns_from_heads(self._attend(query, keys, values, causal=True), self.heads)
        last = rows.first + rows.num_rows
        kept_keys, kept_values = cache.keys.flatten(1, 2), cache.values.flatten(1, 2)
        earlier = _columns_before(rows.skip, self.layout.row_length, self.heads, query.device)
        for kept, new in ((kept_keys, keys), (kept_values, values)):
            first_row = torch.where(earlier, kept[:, :, rows.first], new[:, :, 0])
            kept[:, :, rows.first : last] = new
            kept[:, :, rows.first] = first_row
        kept_keys, kept_values = kept_keys[:, :, :last], kept_values[:, :, :last]
        visible = _causal(rows.num_rows, last, rows.first, query.device)
        return _columns_from_heads(
            self._attend(query, kept_keys, kept_values, visible=visible), self.heads
        )

    def _attend_previous_rows(
        self, query: Tensor, keys: Tensor, values: Tensor, rows: "_Rows", cache: LayerCache | None
    ) -> Tensor:
        above_keys, above_values = torch.zeros_like(keys), torch.zeros_like(values)
        if cache is not None:
            here, above = rows.first % 2, (rows.first + 1) % 2
            if rows.skip:
                keys[:, :, 0, : rows.skip] = cache.keys[:, :, here, : rows.skip]
                values[:, :, 0, : rows.skip] = cache.values[:, :, here, : rows.skip]
            if rows.first:
                above_keys[:, :, 0] = cache.keys[:, :, above]
                above_values[:, :, 0] = cache.values[:, :, above]
            for row in range(max(0, rows.num_rows - 2), rows.num_rows):
                cache.keys[:, :, (rows.first + row) % 2] = keys[:, :, row]
                cache.values[:, :, (rows.first + row) % 2] = values[:, :, row]
        above_keys[:, :, 1:] = keys[:, :, :-1]
        above_values[:, :, 1:] = values[:, :, :-1]
        # In the very first row keys and values are zeros, so that attention yields exactly zero.
        query, above_keys, above_values = (
            _rows_as_batch(x) for x in (query, above_keys, above_values)
        )
        return _rows_from_batch(self._attend(query, above_keys, above_values), rows.num_rows)

    # --- one position ---

    def _write_down(self, new: Tensor, place: StepPlace, cache: LayerCache) -> Tensor:
        """Keep a key and value (batch, 2, heads, dim); what the position then reads of the buffers.

        Returns (2, batch · heads, keys, dim).
        """
        new = new.transpose(0, 1).unsqueeze(3)  # (2, batch, heads, 1, dim)
        panels = cache.both.ndim == 6
        kept = cache.both.flatten(3, 4) if panels else cache.both  # (2, batch, heads, keys, dim)
        if place.writes is not None:
            new = torch.where(place.writes, new, kept.index_select(3, place.slot))
        kept.index_copy_(3, place.slot, new)
        folded = cache.both.flatten(1, 2)
        return folded if place.panel is None else kernels.panel(folded, place.panel)

    def _attend_one(
        self, query: Tensor, keys: Tensor, values: Tensor, place: StepPlace | None
    ) -> Tensor:
        # Plain products: for a single query the fused kernel is no faster, in any precision, and on
        # GPUs it refuses heads as wide as the upsamplers'.
        scale, keys = self.head_dim**-0.5, keys.transpose(1, 2)
        if place is None or place.mask is None:
            scores = torch.bmm(query * scale, keys)  # (batch · heads, 1, keys)
        else:
            scores = torch.baddbmm(place.mask, query, keys, alpha=scale)
        mixed = torch.bmm(scores.softmax(dim=-1, dtype=torch.float32).to(values.dtype), values)
        return mixed if place is None or place.sees is None else mixed * place.sees


class _Rows(NamedTuple):
    """The whole rows around a run of positions.

    `skip` positions stand before the run in its first row, `rest` after it in its last.
    """

    first: int
    num_rows: int
    skip: int
    rest: int
    row_length: int

    @classmethod
    def spanning(cls, start: int, length: int, row_length: int) -> "_Rows":
        first, skip = divmod(start, row_length)
        num_rows = -(-(skip + length) // row_length)
        return cls(first, num_rows, skip, num_rows * row_length - skip - length, row_length)

    def fold(self, x: Tensor) -> Tensor:
        """(batch, heads, time, dim) to (batch, heads, rows, row_length, dim), padded with zeros."""
        if self.skip or self.rest:
            x = functional.pad(x, (0, 0, self.skip, self.rest))
        return x.reshape(*x.shape[:2], self.num_rows, self.row_length, -1)

    def unfold(self, x: Tensor) -> Tensor:
        """The inverse of `fold`, padding cut away."""
        x = x.flatten(2, 3)
        return x[:, :, self.skip : x.shape[2] - self.rest]


def _rows_as_batch(x: Tensor) -> Tensor:
    """(batch, heads, rows, row_length, dim) to (batch · rows, heads, row_length, dim)."""
    return x.transpose(1, 2).flatten(0, 1)


def _rows_from_batch(x: Tensor, num_rows: int) -> Tensor:
    return x.reshape(-1, num_rows, *x.shape[1:]).transpose(1, 2)


def _columns_as_heads(x: Tensor) -> Tensor:
    """(batch, heads, rows, row_length, dim) to (batch, heads · row_length, rows, dim)."""
    return x.transpose(2, 3).flatten(1, 2)


def _columns_from_heads(x: Tensor, heads: int) -> Tensor:
    return x.reshape(len(x), heads, -1, *x.shape[2:]).transpose(2, 3)


def _columns_before(skip: int, row_length: int, heads: int, device: torch.device) -> Tensor:
    """Which of the (heads · row_length, 1) columns stand before the first one of a run."""
    return (torch.arange(row_length, device=device) < skip).repeat(heads).unsqueeze(-1)


def _causal(num_queries: int, num_keys: int, start: int, device: torch.device) -> Tensor:
    """(num_queries, num_keys) bool: query `i`, at position `start + i`, sees keys up to there."""
    queries = torch.arange(start, start + num_queries, device=device)
    return torch.arange(num_keys, device=device) <= queries.unsqueeze(-1)
