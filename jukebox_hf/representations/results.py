"""What becomes of states while they appear, and what is returned of them.

States of a piece after one layer go in, window by window; means, frames or all of them come out as
arrays. Only what is asked for is kept.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jukebox_hf.representations.embedding_settings import EmbeddingSettings
from jukebox_hf.representations.frames import num_frames, resample_states
from jukebox_hf.representations.inputs import EmbeddedPiece, Prepared

Array = NDArray[np.float32]
# Makes room for the states of one layer, (time, width): in memory, or in a file.
Allocate = Callable[[int, tuple[int, int]], Array]


@dataclass(frozen=True)
class Embedding(Mapping[int, Array]):
    """One input after each layer that was asked for: `embedding[36]`, float32.

    Shapes, where time is states or frames:

        (time, width)            a file
        (width,)                 a file, pooled
        (pieces, time, width)    a file in windows of equal length
        (pieces, width)          the same, pooled

    Attributes:
        name: of the input.
        layers: the arrays by layer, in the order asked for.
        times: where each state or frame begins, in seconds of the file, (time,) or (pieces, time);
            of pooled ones where the piece begins, () or (pieces,). A state has seen the codes
            before it: about all audio until 0.24 s (of the released models) after its time.
        codes: (codes,) or (pieces, codes) int64 that were embedded.
        seconds: of audio that were read.
        notes: what is worth knowing: that it is silent, or was cut.
        nonfinite: by layer, how many numbers are infinite or none, where there are any.
    """

    name: str
    layers: dict[int, Array] = field(repr=False)
    times: NDArray[np.float64] = field(repr=False)
    codes: NDArray[np.int64] = field(repr=False)
    seconds: float
    notes: tuple[str, ...] = ()
    nonfinite: dict[int, int] = field(default_factory=dict)

    def __getitem__(self, layer: int) -> Array:
        if layer not in self.layers:
            raise KeyError(f"layer {layer} was not asked for; there are {list(self.layers)}")
        return self.layers[layer]

    def __iter__(self) -> Iterator[int]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def stacked(self) -> Array:
        """All layers as one array, in the order asked for: (layers, ...)."""
        return np.stack(list(self.layers.values()))


class Embeddings(Mapping[int, "Array | list[Array]"]):
    """Several inputs: `embeddings[36]` is (inputs, ...), or a list where lengths differ.

    Iterating over `files` gives each `Embedding` by itself.
    """

    def __init__(self, files: Sequence[Embedding]) -> None:
        self.files = tuple(files)

    def __getitem__(self, layer: int) -> "Array | list[Array]":
        found = [file[layer] for file in self.files]
        if len({array.shape for array in found}) > 1:
            return found
        return np.stack(found)

    def __iter__(self) -> Iterator[int]:
        return iter(self.files[0] if self.files else ())

    def __len__(self) -> int:
        return len(self.files[0]) if self.files else 0

    def __repr__(self) -> str:
        return f"Embeddings of {len(self.files)} inputs, layers {list(self)}"


class PieceStates:
    """One piece after one layer, taken window by window."""

    def __init__(
        self,
        piece: EmbeddedPiece,
        layer: int,
        width: int,
        settings: EmbeddingSettings,
        code_rate: float,
        allocate: Allocate | None,
    ) -> None:
        self.nonfinite = 0
        self._piece = piece
        self._pool = settings.pool == "mean"
        self._frames = None
        if settings.rate is not None and not self._pool:
            self._frames = num_frames(piece.num_states, settings.rate, code_rate)
        self._sum = torch.zeros(width, dtype=torch.float64) if self._pool else None
        self._states: Array | None = None
        self._resampled: Array | None = None
        one_window = len(piece.windows) == 1
        if not self._pool and not (one_window and self._frames is not None):
            shape = (piece.num_states, width)
            use_file = allocate is not None and self._frames is None
            self._states = (
                allocate(layer, shape) if use_file and allocate else np.empty(shape, np.float32)
            )

    def take(self, window: int, states: Tensor) -> None:
        """The states (time, width) of one of its windows."""
        start, stop, kept = self._piece.windows[window]
        stop = min(stop, self._piece.num_states)
        states = states[kept - start : stop - start]
        if self._sum is not None:
            # float32 sums of a window, whatever the states are: half would overflow
            total = states.float().mean(dim=0).to("cpu", torch.float64) * len(states)
            if not bool(torch.isfinite(total).all()):
                self.nonfinite += _count_nonfinite(states)
            self._sum += total
            return
        self.nonfinite += _count_nonfinite(states)
        if self._states is None:
            assert self._frames is not None
            self._resampled = resample_states(states, self._frames).float().cpu().numpy()
        else:
            self._states[kept:stop] = states.float().cpu().numpy()

    def result(self) -> Array:
        """(width,) if pooled, else (time, width)."""
        if self._sum is not None:
            return (self._sum / self._piece.num_states).float().numpy()
        if self._resampled is not None:
            return self._resampled
        assert self._states is not None
        if self._frames is None:
            return self._states
        found: Array = resample_states(torch.from_numpy(self._states), self._frames).numpy()
        return found


def _count_nonfinite(states: Tensor) -> int:
    return int((~torch.isfinite(states)).sum())


def assemble(
    prepared: Prepared,
    states: Mapping[int, Sequence[PieceStates]],
    settings: EmbeddingSettings,
    code_rate: float,
    has_pieces: bool,
) -> Embedding:
    """The embedding of an input from the states of its pieces, by layer."""
    layers, nonfinite = {}, {}
    for layer, pieces in states.items():
        found = [piece.result() for piece in pieces]
        layers[layer] = np.stack(found) if has_pieces else found[0]
        count = sum(piece.nonfinite for piece in pieces)
        if count:
            nonfinite[layer] = count
    times = [_times(piece, settings, code_rate) for piece in prepared.pieces]
    codes = [piece.codes.numpy() for piece in prepared.pieces]
    return Embedding(
        prepared.name,
        layers,
        np.stack(times) if has_pieces else times[0],
        np.stack(codes) if has_pieces else codes[0],
        prepared.seconds,
        prepared.notes,
        nonfinite,
    )


def _times(
    piece: EmbeddedPiece, settings: EmbeddingSettings, code_rate: float
) -> NDArray[np.float64]:
    """Where each state or frame of a piece begins, in seconds of its file."""
    if settings.pool == "mean":
        return np.asarray(piece.start_seconds)
    states = piece.num_states
    frames = states if settings.rate is None else num_frames(states, settings.rate, code_rate)
    return np.asarray(piece.start_seconds + np.arange(frames) * (states / frames / code_rate))
