"""What decoding one position at a time keeps: keys and values, and where each position finds them.

A sequence is folded into rows (`Layout`). A layer keeps as many keys and values as its kind can
still see (`LayerCache`); where a position writes, which panel of the buffer it reads and what of
that it may see follows from its place alone, so it is tabled once (`StepTables`) and looked up.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from jukebox_hf.prior.prior_config import LayerKind
from jukebox_hf.prior.sizes import Layout


class StepPlace(NamedTuple):
    """Where one position reads and writes in the buffers of one kind of layer.

    Attributes:
        slot: (1,) int64, which of the kept positions its key and value become.
        panel: (1,) int64, which panel of the kept positions it reads; None where there is one.
        mask: (1, 1, keys), 0 for what it sees and -inf for the rest, in the dtype of the cache;
            None where it sees all.
        sees: (1,), 0 where it sees nothing at all, else 1, in the dtype of the cache; or None.
        writes: (1,) bool, whether it is kept at all; None where every position is.
    """

    slot: Tensor
    panel: Tensor | None = None
    mask: Tensor | None = None
    sees: Tensor | None = None
    writes: Tensor | None = None


class StepTables:
    """The `StepPlace` of every position, for each kind of layer that a transformer has.

    `dense` layers compute their mask: a table would hold the square of the sequence.
    """

    def __init__(
        self,
        kinds: Iterable[LayerKind],
        layout: Layout,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> None:
        self.kinds = [kind for kind in dict.fromkeys(kinds) if kind != "cross"]
        position = torch.arange(layout.sequence_length, device=device)
        row, column = position // layout.row_length, position % layout.row_length
        prime = position.clamp(max=max(layout.prime_length - 1, 0))
        above = (row + 1) % 2
        columns = [row, column, position, column * layout.num_rows + row]
        columns += [row % 2 * layout.row_length + column, above, prime]
        self._numbers = torch.stack(columns, dim=1)  # (sequence_length, 7)
        self._positions = position.view(1, 1, -1)
        self._dtype = dtype
        self._has_row_above = (row > 0).to(dtype)
        self._in_prime = position < layout.prime_length
        lengths: dict[LayerKind, int] = {
            "row": layout.row_length, "column": layout.num_rows, "prime": layout.prime_length,
        }  # fmt: skip
        self._masks: dict[LayerKind, Tensor] = {
            kind: torch.full((length, length), -torch.inf, dtype=dtype, device=device).triu_(1)
            for kind, length in lengths.items()
            if kind in self.kinds
        }

    def at(self, position: Tensor) -> Mapping[LayerKind, StepPlace]:
        """The places of `position`, an int64 tensor with one element."""
        position = position.reshape(1)
        numbers = self._numbers.index_select(0, position).squeeze(0)
        row, column, slot, in_columns, in_two_rows, above, prime = torch.split(numbers, 1)
        found: dict[LayerKind, StepPlace] = {}
        for kind in self.kinds:
            if kind == "row":
                found[kind] = StepPlace(column, mask=self._mask("row", column))
            elif kind == "column":
                found[kind] = StepPlace(in_columns, column, self._mask("column", row))
            elif kind == "previous_row":
                sees = self._has_row_above.index_select(0, position)
                found[kind] = StepPlace(in_two_rows, above, sees=sees)
            elif kind == "prime":
                writes = self._in_prime.index_select(0, position)
                found[kind] = StepPlace(prime, mask=self._mask("prime", prime), writes=writes)
            else:
                hidden = torch.where(self._positions > position, -torch.inf, 0.0).to(self._dtype)
                found[kind] = StepPlace(slot, mask=hidden)
        return found

    def mask_of(self, kind: LayerKind, number: int) -> Tensor:
        """The mask (1, 1, keys) of a `StepPlace` by its number: column, row or position."""
        if kind == "dense":
            hidden = torch.zeros_like(self._positions, dtype=self._dtype)
            hidden[..., number + 1 :] = -torch.inf
            return hidden
        return self._masks[kind][number].view(1, 1, -1)

    def _mask(self, kind: LayerKind, number: Tensor) -> Tensor:
        return self._masks[kind].index_select(0, number).unsqueeze(0)


class LayerCache(NamedTuple):
    """Keys and values that one layer keeps, (2, batch, heads, *kept, head_dim): keys first.

    kept: row (row_length,); column (row_length, num_rows), so that a column is one panel;
    previous_row (2, row_length); dense (sequence_length,); prime (prime_length,);
    cross (encoder_length,).
    """

    both: Tensor

    @property
    def keys(self) -> Tensor:
        """(batch, heads, *kept, head_dim), a view."""
        return self.both[0]

    @property
    def values(self) -> Tensor:
        """(batch, heads, *kept, head_dim), a view."""
        return self.both[1]


class PriorCache(NamedTuple):
    """Static buffers of one batch, a `LayerCache` per layer: allocated once, then overwritten."""

    layers: Sequence[LayerCache]
    tables: StepTables

    def first_rows(self, rows: int) -> "PriorCache":
        """The same buffers for the first rows of the batch; views, so nothing is allocated."""
        return self.rows(0, rows)

    def rows(self, first: int, end: int) -> "PriorCache":
        """The same buffers for the rows `[first, end)` of the batch; views."""
        layers = [LayerCache(layer.both[:, first:end]) for layer in self.layers]
        return self._replace(layers=layers)

    def zero_(self) -> None:
        """Forget everything, in place. Not needed between windows: what is stale is never read."""
        for layer in self.layers:
            layer.both.zero_()

    def num_bytes(self) -> int:
        """Memory that keys and values take."""
        return sum(layer.both.numel() * layer.both.element_size() for layer in self.layers)
