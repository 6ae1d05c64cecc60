"""Labels on their way into a prior: resolved once per piece, then tensors for every window."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from jukebox_hf.labels.lyric_windows import LyricWindow
from jukebox_hf.labels.vocabularies import UNKNOWN_ID

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class ResolvedLabels:
    """What one piece is to one prior. Made once per piece; windows are cut from it.

    Attributes:
        artist_id, genre_ids: rows of the tables; `UNKNOWN_ID` where the prior does not know a name.
            Without labels 0 and nothing.
        artist_name, genre_name: what the prior calls these rows.
        lyric_ids: all symbols of the lyrics; empty without lyrics, or if the prior reads none.
        lyric_text: the lyrics as the prior reads them, one character per symbol.
        lyric_seconds: when each symbol is sung, for timed lyrics.
        notes: what was not taken as given: unknown names with the closest known ones, characters
            that cannot be sung and what replaced them.
    """

    artist_id: int
    genre_ids: tuple[int, ...]
    artist_name: str
    genre_name: str
    lyric_ids: tuple[int, ...] = ()
    lyric_text: str = ""
    lyric_seconds: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def has_names(self) -> bool:
        """Whether the prior knows the artist or a genre of this piece."""
        return any(row != UNKNOWN_ID for row in (self.artist_id, *self.genre_ids))


class _LabelTensors(NamedTuple):
    artist: Tensor
    genres: Tensor
    total_samples: Tensor
    offset_samples: Tensor


class JukeboxLabels(_LabelTensors):
    """Who and what each piece of a batch is, and which part of it a window shows. All int64.

    Attributes:
        artist: (batch,) rows of the artist table; 0 is `unknown`.
        genres: (batch, genre_slots) rows of the genre table, whose embeddings are added up;
            -1 marks an empty slot.
        total_samples: (batch,) length of the whole piece, in audio samples.
        offset_samples: (batch,) where the window starts in the piece, in audio samples.
    """

    __slots__ = ()

    def __new__(cls, artist: Tensor | Iterator[Tensor], *others: Tensor, **named: Tensor) -> Self:
        """The tensors in this order or by name; or, as `transformers.Trainer` does, all in one."""
        if isinstance(artist, Iterator):
            return cls._make(artist)
        return super().__new__(cls, artist, *others, **named)

    def to(self, device: torch.device | str) -> JukeboxLabels:
        """The same labels on another device."""
        return JukeboxLabels(*(tensor.to(device) for tensor in self))

    def select(self, items: slice | list[int] | Tensor) -> JukeboxLabels:
        """The labels of some items of the batch, in the order given."""
        return JukeboxLabels(*(tensor[items] for tensor in self))

    def without_names(self, items: Tensor) -> JukeboxLabels:
        """The same labels, but artist and genre of the items where `items` (batch,) is true are
        `unknown`, as for a piece that was given none.
        """
        import torch

        unknown = torch.full_like(self.genres, -1)
        unknown[:, :1] = UNKNOWN_ID
        return self._replace(
            artist=self.artist.masked_fill(items, UNKNOWN_ID),
            genres=torch.where(items.unsqueeze(-1), unknown, self.genres),
        )


class PriorInputs(UserDict[str, Any]):
    """Keyword arguments of a prior: `prior(codes, **inputs)`."""

    def to(self, device: torch.device | str) -> PriorInputs:
        """The same inputs on another device."""
        return PriorInputs({name: value.to(device) for name, value in self.items()})


class WindowLabels(NamedTuple):
    """What a prior reads for one window of every piece in a batch.

    Attributes:
        labels: `None` if the prior has no labels.
        lyric_tokens: (batch, lyric_length) int64, 0 where there is no symbol; `None` if the prior
            reads no lyrics.
        lyric_indices: (batch, lyric_length) int64, each token's place in its lyrics, -1 for none;
            `None` if the prior reads no lyrics.
        lyric_spans: per piece, first and last place in its lyrics, or `None` if it shows none.
    """

    labels: JukeboxLabels | None
    lyric_tokens: Tensor | None
    lyric_indices: Tensor | None
    lyric_spans: tuple[tuple[int, int] | None, ...]

    def inputs(self) -> PriorInputs:
        """The keyword arguments of the prior."""
        given = {"labels": self.labels, "lyric_tokens": self.lyric_tokens}
        return PriorInputs({name: value for name, value in given.items() if value is not None})


def stack_labels(
    resolved: Sequence[ResolvedLabels],
    total_samples: Sequence[int],
    offset_samples: Sequence[int],
    genre_slots: int,
) -> JukeboxLabels:
    """The labels of one window of every piece."""
    import torch

    genres = torch.full((len(resolved), genre_slots), -1, dtype=torch.int64)
    for row, piece in enumerate(resolved):
        genres[row, : len(piece.genre_ids)] = torch.tensor(piece.genre_ids, dtype=torch.int64)
    return JukeboxLabels(
        artist=torch.tensor([piece.artist_id for piece in resolved], dtype=torch.int64),
        genres=genres,
        total_samples=torch.tensor(total_samples, dtype=torch.int64),
        offset_samples=torch.tensor(offset_samples, dtype=torch.int64),
    )


def stack_lyrics(
    resolved: Sequence[ResolvedLabels], windows: Sequence[LyricWindow], lyric_length: int
) -> tuple[Tensor, Tensor]:
    """Lyric tokens and their places in the lyrics, both (batch, lyric_length)."""
    import torch

    tokens = torch.zeros(len(resolved), lyric_length, dtype=torch.int64)
    indices = torch.full_like(tokens, -1)
    for row, (piece, (padding, first, stop)) in enumerate(zip(resolved, windows, strict=True)):
        tokens[row, padding:] = torch.tensor(piece.lyric_ids[first:stop], dtype=torch.int64)
        indices[row, padding:] = torch.arange(first, stop)
    return tokens, indices
