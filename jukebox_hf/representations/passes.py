"""Windows of codes through the layers of a prior: in batches, whole or layer by layer.

Windows go in; for every batch and layer that is wanted come the states, one layer's at a time, so
that nobody has to hold them all. Windows of a batch may differ in length: shorter ones are padded
on the right, where nothing looks, and a window's states do not depend on the batch it is in.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from jukebox_hf.labels import JukeboxLabels
from jukebox_hf.precision import exact_float32
from jukebox_hf.prior.network import PriorNetwork
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.representations.embedding_windows import Timing

# Fewer positions than this are padded up to it: with few rows the CPU's matrix products round
# otherwise (measured with MKL: below 16), and states would depend on what else is in the batch.
MIN_POSITIONS = 32
# A window that is shorter than this share of the longest in its batch waits for another batch.
SHORTEST_SHARE = 0.75
# On a CPU larger batches are no faster, and slower once they leave its caches: on one core 20 clips
# of 170 to 1000 codes took 1.5 times as long in one batch as one by one.
MAX_CPU_POSITIONS = 1024


class WindowInput(NamedTuple):
    """One pass: codes (codes,), what the prior is told, and the codes above, if it reads any."""

    codes: Tensor
    timing: Timing
    upper_codes: Tensor | None = None


class LayerStates(NamedTuple):
    """States of a batch after one layer.

    Attributes:
        rows: which windows these are.
        layer: after which layer, from 1.
        states: (rows, time, width), in the dtype between the layers; what lies past a window's own
            length means nothing.
    """

    rows: list[int]
    layer: int
    states: Tensor


class Passes(Protocol):
    """A prior that windows are put through."""

    config: PriorConfig

    def run(
        self, windows: Sequence[WindowInput], layers: Sequence[int], batch_size: int
    ) -> Iterator[LayerStates]:
        """The states of all windows after the layers, in no particular order of batches."""
        ...


def batches_of(
    windows: Sequence[WindowInput], batch_size: int, device: torch.device | None = None
) -> list[list[int]]:
    """Which windows run together: up to `batch_size` of about the same length, longest first."""
    most = MAX_CPU_POSITIONS if device is not None and device.type == "cpu" else math.inf
    order = sorted(range(len(windows)), key=lambda index: -len(windows[index].codes))
    batches: list[list[int]] = []
    for index in order:
        longest = len(windows[batches[-1][0]].codes) if batches else 0
        length = len(windows[index].codes)
        # The codes above are convolved: padding changes that, and more rows round it otherwise.
        alone = windows[index].upper_codes is not None
        fits = not alone and length >= SHORTEST_SHARE * longest
        if batches:
            count = len(batches[-1]) + 1
            fits &= count <= batch_size and count * max(longest, MIN_POSITIONS) <= most
        if batches and fits:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


class WholePasses:
    """Batch after batch through all layers: the prior is in memory as a whole."""

    def __init__(self, prior: PriorNetwork) -> None:
        self.prior = prior
        self.config = prior.config

    def run(
        self, windows: Sequence[WindowInput], layers: Sequence[int], batch_size: int
    ) -> Iterator[LayerStates]:
        """See `Passes`."""
        for rows in batches_of(windows, batch_size, self.prior.device):
            with _exact(self.prior):
                inputs = batch_inputs(self.prior, [windows[row] for row in rows])
                states, encoder_states = layer_inputs(self.prior, inputs)
                steps = self.prior.decoder.iterate_layers(states, encoder_states=encoder_states)
                del states
                for number, hidden in steps:
                    if number in layers:
                        yield LayerStates(rows, number, self._of_codes(hidden))
                    if number == max(layers):
                        break

    def _of_codes(self, hidden: Tensor) -> Tensor:
        return hidden[:, self.config.lyric_prefix_length :]


class LayerwisePasses:
    """All windows through a layer, then through the next: for priors larger than the memory.

    The prior holds one layer. `load_layer` puts another one, counted from 1, in its place.
    """

    def __init__(self, prior: PriorNetwork, load_layer: Callable[[int], None]) -> None:
        self.prior = prior
        self.config = prior.config
        self._load_layer = load_layer

    def run(
        self, windows: Sequence[WindowInput], layers: Sequence[int], batch_size: int
    ) -> Iterator[LayerStates]:
        """See `Passes`. The states of all windows are held on the CPU, one layer's at a time."""
        batches = batches_of(windows, batch_size, self.prior.device)
        device = self.prior.device
        held: list[tuple[Tensor, Tensor | None]] = []
        with _exact(self.prior):
            for rows in batches:
                inputs = batch_inputs(self.prior, [windows[row] for row in rows])
                states, encoder_states = layer_inputs(self.prior, inputs)
                held.append((states.to("cpu"), encoder_states))
            for number in range(1, max(layers) + 1):
                self._load_layer(number)
                decoder = self.prior.decoder
                for index, rows in enumerate(batches):
                    states, encoder_states = held[index]
                    hidden = decoder.layers[0](states.to(device, decoder.dtype), encoder_states)
                    held[index] = (hidden.to("cpu"), encoder_states)
                    if number in layers:
                        yield LayerStates(
                            rows, number, hidden[:, self.config.lyric_prefix_length :]
                        )


def _exact(prior: PriorNetwork) -> AbstractContextManager[None]:
    """float32 is float32 throughout, without TF32; 16 bit is what it is."""
    if prior.decoder.dtype == torch.float32:
        return exact_float32(prior.device)
    return nullcontext()


class BatchInputs(NamedTuple):
    """The arguments of one pass."""

    codes: Tensor  # (batch, time) int64
    labels: JukeboxLabels | None
    lyric_tokens: Tensor | None
    upper_codes: Tensor | None


def batch_inputs(prior: PriorNetwork, windows: Sequence[WindowInput]) -> BatchInputs:
    """Windows as one batch on the prior's device, padded to the longest."""
    config, device = prior.config, prior.device
    longest = max(len(window.codes) for window in windows)
    upper = None
    if windows[0].upper_codes is not None:
        upper = torch.stack([w.upper_codes for w in windows if w.upper_codes is not None])
    else:
        longest = min(max(longest, MIN_POSITIONS), config.context_length)
    codes = torch.stack(
        [functional.pad(window.codes, (0, longest - len(window.codes))) for window in windows]
    )
    lyrics = None
    if config.lyrics != "none":
        lyrics = torch.zeros(len(windows), config.lyric_length, dtype=torch.int64)
    return BatchInputs(
        codes.to(device),
        unknown_labels(config, [window.timing for window in windows]).to(device)
        if config.has_labels
        else None,
        None if lyrics is None else lyrics.to(device),
        None if upper is None else upper.to(device),
    )


def layer_inputs(prior: PriorNetwork, inputs: BatchInputs) -> tuple[Tensor, Tensor | None]:
    """What the first layer reads, and the lyric encoder's states."""
    return prior.layer_inputs(
        inputs.codes,
        labels=inputs.labels,
        lyric_tokens=inputs.lyric_tokens,
        upper_codes=inputs.upper_codes,
    )


def unknown_labels(config: PriorConfig, timings: Sequence[Timing]) -> JukeboxLabels:
    """Labels of pieces by nobody known, of no known genre: row 0 of both tables, one genre slot."""
    genres = torch.full((len(timings), config.genre_slots), -1, dtype=torch.int64)
    genres[:, :1] = 0
    return JukeboxLabels(
        artist=torch.zeros(len(timings), dtype=torch.int64),
        genres=genres,
        total_samples=torch.tensor([timing.total_samples for timing in timings]),
        offset_samples=torch.tensor([timing.offset_samples for timing in timings]),
    )
