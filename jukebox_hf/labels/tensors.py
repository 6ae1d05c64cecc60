"""Labels as a prior reads them: artist, genres and timing of every piece in a batch."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class JukeboxLabels(NamedTuple):
    """Who and what each piece of a batch is, and which part of it a window shows. All int64.

    Attributes:
        artist: (batch,) rows of the artist table; 0 is `unknown`.
        genres: (batch, genre_slots) rows of the genre table, whose embeddings are added up;
            -1 marks an empty slot.
        total_samples: (batch,) length of the whole piece, in audio samples.
        offset_samples: (batch,) where the window starts in the piece, in audio samples.
    """

    artist: Tensor
    genres: Tensor
    total_samples: Tensor
    offset_samples: Tensor

    def to(self, device: torch.device | str) -> JukeboxLabels:
        """The same labels on another device."""
        return JukeboxLabels(*(tensor.to(device) for tensor in self))

    def select(self, items: slice | list[int] | Tensor) -> JukeboxLabels:
        """The labels of some items of the batch, in the order given."""
        return JukeboxLabels(*(tensor[items] for tensor in self))
