"""Steps of a prior on a CPU, bound to the buffers that they work on: the same, sooner.

`PriorNetwork.step` says what a step is. Run operation by operation, a small prior spends two thirds
of it on finding out, again for every code, which modules, views and places there are. Here that is
found out once for a batch size: what is left is a list of operations over tensors that stay.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from jukebox_hf.prior import kernels
from jukebox_hf.prior.attention import Attention, Linear, layer_dtype
from jukebox_hf.prior.network import PriorNetwork
from jukebox_hf.prior.quantization import MAX_PACKED_ROWS, Int4Linear, Int8Linear
from jukebox_hf.prior.step_buffers import LayerCache, PriorCache, StepTables
from jukebox_hf.prior.transformer import LayerNorm, TransformerLayer

GATE = 1.702  # see `FeedForward`


class _At(NamedTuple):
    """Where a position stands: in the sequence, its row, its column."""

    position: int
    row: int
    column: int


# What a layer does at a place; its states are in a buffer that all layers share.
Act = Callable[[_At], None]


class BoundSteps:
    """The steps of one prior over one set of buffers.

    With float32 weights the sums are those of `PriorNetwork.step`, bit for bit: the same products
    of the same shapes, in the same order. With others, only what is multiplied is rounded to 16
    bits, and all between the layers is float32: nearer to exact, and a few operations sooner.
    Only valid as long as the buffers and the prior's weights are.
    """

    def __init__(self, prior: PriorNetwork, cache: PriorCache) -> None:
        """`prior`: one that `can_bind`; `cache`: its buffers, of as many rows as steps will have.

        Nothing is copied: weights may change in place, but not move.
        """
        decoder = prior.decoder
        rows = cache.layers[0].both.shape[1]
        self._prefix = prior.config.lyric_prefix_length
        self._row_length = decoder.layout.row_length
        self._embedding = decoder.embedding.weight.detach()
        self._positions = decoder.positions.weight.detach()
        self._conditions_output = prior.config.condition_after_transformer
        self._output = prior.output.weight.detach().t()
        self._hidden = torch.empty(rows, decoder.shape.width)
        self._layers = [
            _bind_layer(cast("TransformerLayer", layer), kept, cache.tables, self._hidden)
            for layer, kept in zip(decoder.layers, cache.layers, strict=True)
        ]

    def step(self, tokens: Tensor, position: int, positions: Tensor | None, logits: Tensor) -> None:
        """As `PriorNetwork.step`, with numbers for what stands there in a tensor.

        Args:
            tokens: (batch,) int64, those at `position - 1`.
            position: from 1 to context_length - 1.
            positions: (batch, context_length, width), what conditions each, or None.
            logits: (batch, vocabulary_size) float32, written.
        """
        position_in_sequence = position + self._prefix
        hidden = self._hidden
        torch.index_select(self._embedding, 0, tokens, out=hidden)
        hidden.add_(self._positions[position_in_sequence])
        here = None
        if positions is not None:
            here = positions[:, position]
            hidden.add_(here)
        at = _At(position_in_sequence, *divmod(position_in_sequence, self._row_length))
        for act in self._layers:
            act(at)
        if here is not None and self._conditions_output:
            hidden.add_(here)
        torch.mm(hidden, self._output, out=logits)


def can_bind(prior: PriorNetwork, *, float32_between: bool = True) -> bool:
    """Whether steps of this prior can be bound: on a CPU, where nothing waits for a device.

    `float32_between`: whether what lies between layers of 16, 8 or 4 bits may be float32.
    """
    exact = prior.decoder.dtype == torch.float32
    return prior.device.type == "cpu" and (exact or float32_between)


def _bind_layer(
    layer: TransformerLayer,
    kept: LayerCache,
    tables: StepTables,
    hidden: Tensor,
) -> Act:
    """What `TransformerLayer.step` does, in place of `hidden` (rows, width)."""
    rows = len(hidden)
    bound = _bind_attention(layer.attention, kept, tables, rows)
    expand, contract = _bind_linear(layer.mlp.expand, rows), _bind_linear(layer.mlp.contract, rows)
    attended, expanded, transformed = bound.out, expand.out, contract.out
    summed, gate = torch.empty_like(hidden), torch.empty_like(expanded)
    attention_norm, mlp_norm = _bind_norm(layer.attention_norm), _bind_norm(layer.mlp_norm)
    scale = layer.residual_scale

    def act(at: _At) -> None:
        bound.attend(attention_norm(hidden), at)
        torch.add(hidden, attended, out=summed)
        expand.multiply(mlp_norm(summed))
        torch.mul(expanded, GATE, out=gate)
        expanded.mul_(gate.sigmoid_())
        contract.multiply(expanded)
        if scale == 1.0:
            torch.add(summed, transformed, out=hidden)
        else:
            hidden.add_(transformed.add_(attended).mul_(scale))

    return act


def _bind_norm(norm: LayerNorm) -> Callable[[Tensor], Tensor]:
    shape, weight, bias = list(norm.normalized_shape), norm.weight.detach(), norm.bias.detach()
    return lambda hidden: torch.layer_norm(hidden, shape, weight, bias, norm.eps)


class _BoundLinear(NamedTuple):
    """`multiply` writes its product with (rows, in_features) into `out` (rows, out_features)."""

    out: Tensor
    multiply: Callable[[Tensor], Any]


def _bind_linear(layer: Any, rows: int) -> _BoundLinear:
    dtype = layer_dtype(layer)
    if dtype != torch.float32:
        return _bind_narrow(layer, rows, dtype)
    if type(layer) is not Linear:  # packed weights, or an adapter around ours
        out = torch.empty(rows, layer.out_features)
        return _BoundLinear(out, lambda hidden: out.copy_(layer(hidden)))
    weight, bias = layer.weight.detach(), layer.bias.detach()
    if kernels.is_faster_transposed(torch.empty(rows, layer.in_features), weight):
        column, upright = bias.unsqueeze(1), torch.empty(layer.out_features, rows)
        return _BoundLinear(
            upright.t(), lambda hidden: torch.addmm(column, weight, hidden.t(), out=upright)
        )
    transposed, out = weight.t(), torch.empty(rows, layer.out_features)
    return _BoundLinear(out, lambda hidden: torch.addmm(bias, hidden, transposed, out=out))


def _bind_narrow(layer: Any, rows: int, dtype: torch.dtype) -> _BoundLinear:
    """A layer that takes and gives 16 bits: only what it multiplies is rounded to them."""
    narrow, out = (
        torch.empty(rows, layer.in_features, dtype=dtype),
        torch.empty(rows, layer.out_features),
    )
    if isinstance(layer, (Int4Linear, Int8Linear)) and rows <= MAX_PACKED_ROWS:
        bias = layer.bias

        def multiply(hidden: Tensor) -> None:
            narrow.copy_(hidden)
            torch.add(layer.multiply(narrow), bias, out=out)

        return _BoundLinear(out, multiply)

    def forward(hidden: Tensor) -> None:
        narrow.copy_(hidden)
        out.copy_(layer(narrow))

    return _BoundLinear(out, forward)


class _BoundAttention(NamedTuple):
    """`attend` writes what it makes of (rows, width) at a place into `out` (rows, width)."""

    out: Tensor
    attend: Callable[[Tensor, _At], None]


def _bind_attention(
    attention: Attention, kept: LayerCache, tables: StepTables, rows: int
) -> _BoundAttention:
    """What `Attention.step` does."""
    kind, heads, dim = attention.kind, attention.heads, attention.head_dim
    output = _bind_linear(attention.output, rows)
    query = torch.empty(rows * heads, 1, dim)
    mixed = torch.empty(rows * heads, 1, dim)
    merged, by_heads = mixed.view(rows, -1), query.view(rows, heads, dim)
    scale = dim**-0.5
    if kind == "cross":
        project = _bind_linear(attention.query, rows)
        projected = project.out.view(rows, heads, dim)
        keys, values = kept.keys.flatten(0, 1).transpose(1, 2), kept.values.flatten(0, 1)

        def attend_across(hidden: Tensor, at: _At) -> None:
            project.multiply(hidden)
            torch.mul(projected, scale, out=by_heads)
            scores = torch.bmm(query, keys)
            torch.bmm(torch.softmax(scores, -1), values, out=mixed)
            output.multiply(merged)

        return _BoundAttention(output.out, attend_across)

    project = _bind_linear(attention.qkv, rows)
    parts = project.out.view(rows, 3, heads, dim)
    asked, new = parts[:, 0], parts[:, 1:].transpose(0, 1)  # new: (2, rows, heads, dim)
    places = _Places(attention, kept, tables)

    def attend(hidden: Tensor, at: _At) -> None:
        project.multiply(hidden)
        panel = places.find(at)
        if panel.slot is not None:
            panel.slot.copy_(new)
        if panel.mask is None:
            torch.mul(asked, scale, out=by_heads)
            scores = torch.bmm(query, panel.keys)
        else:
            by_heads.copy_(asked)
            scores = torch.baddbmm(panel.mask, query, panel.keys, alpha=scale)
        torch.bmm(torch.softmax(scores, -1), panel.values, out=mixed)
        if not panel.sees:
            mixed.zero_()
        output.multiply(merged)

    return _BoundAttention(output.out, attend)


class _Panel(NamedTuple):
    """What a position writes and reads; see `StepPlace`.

    slot: (2, rows, heads, dim), where its key and value go; None where they are not kept.
    keys: (rows * heads, dim, keys). values: (rows * heads, keys, dim).
    mask: (1, 1, keys), or None where it sees all.
    sees: whether it sees anything.
    """

    slot: Tensor | None
    keys: Tensor
    values: Tensor
    mask: Tensor | None
    sees: bool


class _Places:
    """The `_Panel` of every position of a self-attention layer: views, made when first wanted."""

    def __init__(self, attention: Attention, kept: LayerCache, tables: StepTables) -> None:
        self._kind = attention.kind
        self._prime_length = attention.layout.prime_length
        self._tables = tables
        self._both = kept.both  # (2, rows, heads, *kept, dim)
        self._folded = kept.both.flatten(1, 2)  # (2, rows * heads, *kept, dim)
        self._panels: dict[int, tuple[Tensor, Tensor]] = {}

    def find(self, at: _At) -> _Panel:
        """The one of a position."""
        both, kind = self._both, self._kind
        slot: Tensor | None
        mask: Tensor | None
        if kind == "row":
            slot, panel, mask = both[:, :, :, at.column], -1, self._tables.mask_of(kind, at.column)
        elif kind == "column":
            slot, panel = both[:, :, :, at.column, at.row], at.column
            mask = self._tables.mask_of(kind, at.row)
        elif kind == "previous_row":
            slot, panel, mask = both[:, :, :, at.row % 2, at.column], (at.row + 1) % 2, None
        else:
            in_prime = min(at.position, self._prime_length - 1)
            number = at.position if kind == "dense" else in_prime
            slot = both[:, :, :, number] if number == at.position else None
            panel, mask = -1, self._tables.mask_of(kind, number)
        keys, values = self._read(panel)
        return _Panel(slot, keys, values, mask, kind != "previous_row" or at.row > 0)

    def _read(self, panel: int) -> tuple[Tensor, Tensor]:
        found = self._panels.get(panel)
        if found is None:
            both = self._folded if panel < 0 else self._folded[:, :, panel]
            keys, values = both[0], both[1]
            found = self._panels[panel] = (keys.transpose(1, 2), values)
        return found
