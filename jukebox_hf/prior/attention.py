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

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from jukebox_hf.prior.configuration_prior import LayerKind

# For these the product of large weights is faster the other way round, on a CPU in float32.
MIN_TRANSPOSED_ROWS, MAX_TRANSPOSED_ROWS = 7, 64
MIN_TRANSPOSED_WEIGHTS = 2**19
MAX_SMALL_SCORES = 2**14  # queries x keys


class Layout(NamedTuple):
    """How a transformer's sequence is folded, and which part of it prime layers see."""

    sequence_length: int
    row_length: int
    prime_length: int

    @property
    def num_rows(self) -> int:
        """Rows of the folded sequence."""
        return self.sequence_length // self.row_length


class StepMasks(NamedTuple):
    """Where one position reads and writes; computed once and shared by all layers of a step.

    Slots are (1,) int64. Masks are additive, in the dtype of the cache, 0 for what is visible and
    -inf for the rest.
    """

    position: Tensor
    column: Tensor
    row_slot: Tensor  # in a buffer of two rows
    column_slot: Tensor  # in a buffer of columns
    above_slot: Tensor  # the row above, in a buffer of two rows
    prime_slot: Tensor
    in_prime: Tensor  # (1,) bool
    has_row_above: Tensor  # (1,), 0 in the first row, else 1
    row_mask: Tensor  # (1, 1, row_length)
    column_mask: Tensor  # (1, 1, num_rows)
    dense_mask: Tensor  # (1, 1, sequence_length)
    prime_mask: Tensor  # (1, 1, prime_length)

    @classmethod
    def at(
        cls, position: Tensor, layout: Layout, dtype: torch.dtype = torch.float32
    ) -> "StepMasks":
        """Everything that depends on `position`, an int64 tensor with one element."""
        position = position.reshape(1)
        row = position // layout.row_length
        column = position % layout.row_length
        places = torch.arange(layout.sequence_length, device=position.device).view(1, 1, -1)

        def visible_up_to(last: Tensor, length: int) -> Tensor:
            return torch.where(places[..., :length] > last, -torch.inf, 0.0).to(dtype)

        return cls(
            position=position,
            column=column,
            row_slot=row % 2 * layout.row_length + column,
            column_slot=column * layout.num_rows + row,
            above_slot=(row + 1) % 2,
            prime_slot=position.clamp(max=layout.prime_length - 1),
            in_prime=position < layout.prime_length,
            has_row_above=(row > 0).to(dtype),
            row_mask=visible_up_to(column, layout.row_length),
            column_mask=visible_up_to(row, layout.num_rows),
            dense_mask=visible_up_to(position, layout.sequence_length),
            prime_mask=visible_up_to(position, layout.prime_length),
        )


class LayerCache(NamedTuple):
    """Keys and values that one layer keeps, each (batch, heads, *kept, head_dim).

    kept: row (row_length,); column (row_length, num_rows), so that a column is one panel;
    previous_row (2, row_length); dense (sequence_length,); prime (prime_length,);
    cross (encoder_length,).
    """

    keys: Tensor
    values: Tensor

    @staticmethod
    def kept(kind: LayerKind, layout: Layout, encoder_length: int) -> tuple[int, ...]:
        """Shape of the kept positions for a layer of this kind."""
        return {
            "row": (layout.row_length,),
            "column": (layout.row_length, layout.num_rows),
            "previous_row": (2, layout.row_length),
            "dense": (layout.sequence_length,),
            "prime": (layout.prime_length,),
            "cross": (encoder_length,),
        }[kind]


class PriorCache(NamedTuple):
    """Static buffers of one batch, a `LayerCache` per layer: allocated once, then overwritten."""

    layers: Sequence[LayerCache]

    def zero_(self) -> None:
        """Forget everything, in place. Not needed between windows: what is stale is never read."""
        for layer in self.layers:
            layer.keys.zero_()
            layer.values.zero_()

    def num_bytes(self) -> int:
        """Memory that the buffers take."""
        return sum(2 * layer.keys.numel() * layer.keys.element_size() for layer in self.layers)


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
        if self._is_faster_transposed(hidden):
            # MKL has a faster kernel the other way round: three quarters of the time.
            return torch.addmm(self.bias.unsqueeze(1), self.weight, hidden.t()).t()
        if compiles_one_row(hidden) and hidden.dtype != torch.float32:
            return (row_product(hidden, self.weight) + self.bias.float()).to(hidden.dtype)
        return super().forward(hidden)

    def _is_faster_transposed(self, hidden: Tensor) -> bool:
        """Whether this is one position, (batch, width), of some windows, in float32 on a CPU."""
        return (
            hidden.ndim == 2
            and MIN_TRANSPOSED_ROWS <= len(hidden) <= MAX_TRANSPOSED_ROWS
            and self.weight.numel() >= MIN_TRANSPOSED_WEIGHTS
            and hidden.dtype == torch.float32
            and hidden.device.type == "cpu"
        )


def compiles_one_row(hidden: Tensor) -> bool:
    """Whether a step of one position, (1, in_features), is being compiled for a CPU."""
    return (
        torch.compiler.is_compiling() and hidden.device.type == "cpu" and hidden.shape[:-1] == (1,)
    )


def row_product(hidden: Tensor, weight: Tensor) -> Tensor:
    """(1, in_features) times `weight` (out_features, in_features), as (1, out_features) float32.

    Written out for the compiler: it converts and sums as it reads, at 0.9 of the rate at which this
    memory can be read; the libraries' kernels for one row reach half of it in 16 bit.
    """
    # `as_strided` makes the compiler store the row once, instead of computing it for every output.
    row = hidden.float().as_strided((hidden.shape[-1],), (1,))
    return (weight.float() * row).sum(dim=-1).unsqueeze(0)


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

    def step(self, hidden: Tensor, masks: StepMasks, cache: LayerCache) -> Tensor:
        """Attend from one position, (batch, width) to the same, over static buffers."""
        keys, values = (kept.flatten(0, 1) for kept in cache)  # (batch · heads, *kept, dim)
        if self.kind == "cross":
            query = self.query(hidden).to(keys.dtype).reshape(-1, 1, self.head_dim)
            mixed = self._attend_one(query, keys, values, None)
        else:
            projected = self.qkv(hidden).to(keys.dtype).chunk(3, dim=-1)
            # each (batch · heads, 1, dim)
            query, key, value = (part.reshape(-1, 1, self.head_dim) for part in projected)
            mixed = self._step_self(query, key, value, masks, keys, values)
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
        if self.training and _is_small_on_cpu(query, keys):
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

    def _step_self(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        masks: StepMasks,
        keys: Tensor,
        values: Tensor,
    ) -> Tensor:
        """Write down one key and value (batch · heads, 1, dim), then attend to what is visible."""
        if self.kind == "row":
            keys.index_copy_(1, masks.column, key)
            values.index_copy_(1, masks.column, value)
            return self._attend_one(query, keys, values, masks.row_mask)
        if self.kind == "column":
            keys.flatten(1, 2).index_copy_(1, masks.column_slot, key)
            values.flatten(1, 2).index_copy_(1, masks.column_slot, value)
            keys, values = _panel(keys, masks.column), _panel(values, masks.column)
            return self._attend_one(query, keys, values, masks.column_mask)
        if self.kind == "previous_row":
            keys.flatten(1, 2).index_copy_(1, masks.row_slot, key)
            values.flatten(1, 2).index_copy_(1, masks.row_slot, value)
            keys, values = _panel(keys, masks.above_slot), _panel(values, masks.above_slot)
            return self._attend_one(query, keys, values, None) * masks.has_row_above
        if self.kind == "dense":
            keys.index_copy_(1, masks.position, key)
            values.index_copy_(1, masks.position, value)
            return self._attend_one(query, keys, values, masks.dense_mask)
        for kept, new in ((keys, key), (values, value)):
            old = kept.index_select(1, masks.prime_slot)
            kept.index_copy_(1, masks.prime_slot, torch.where(masks.in_prime, new, old))
        return self._attend_one(query, keys, values, masks.prime_mask)

    def _attend_one(
        self, query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None
    ) -> Tensor:
        # Plain products: for a single query the fused kernel is no faster, in any precision, and on
        # GPUs it refuses heads as wide as the upsamplers'.
        scale, keys = self.head_dim**-0.5, keys.transpose(1, 2)
        if mask is None:
            scores = torch.bmm(query * scale, keys)  # (batch · heads, 1, keys)
        else:
            scores = torch.baddbmm(mask, query, keys, alpha=scale)
        return torch.bmm(scores.softmax(dim=-1, dtype=torch.float32).to(values.dtype), values)


def _panel(kept: Tensor, index: Tensor) -> Tensor:
    """`kept[:, index]`, from (batch · heads, panels, keys, dim) one panel.

    Where a CPU runs it eagerly, reading the index waits for nothing and a view saves the copy: at
    batch 16 a tenth of the step. Elsewhere the index stays a tensor.
    """
    if kept.device.type == "cpu" and not torch.compiler.is_compiling():
        return kept.select(1, int(index))
    return kept.index_select(1, index).squeeze(1)


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


def _is_small_on_cpu(query: Tensor, keys: Tensor) -> bool:
    """Whether training is faster with plain products than with the fused attention.

    The CPU's fused kernel costs more per sequence than short rows hold, its gradient above all.
    """
    return query.device.type == "cpu" and query.shape[-2] * keys.shape[-2] <= MAX_SMALL_SCORES
