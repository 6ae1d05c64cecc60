"""How familiar music is: the place in known songs that sounds most alike.

Spectrograms are mel bands in decibels (bands, frames), of `jukebox_hf.listening.sound`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv1d

from jukebox_hf.vqvae.losses import STFT

MATCH_STFT = STFT(2048, 1024, 2048)
# Per frame and band, on average: a window quieter in change than this has nothing to recognise.
LEAST_CHANGE_DB = 0.5


class Match(NamedTuple):
    """The most similar place."""

    song: int  # its number; -1 if there is none
    start_seconds: float
    correlation: float  # 1: the same but for loudness of bands and of the whole


def nearest_mel_windows(
    windows: Sequence[Tensor], songs: Sequence[Tensor], frame_seconds: float
) -> list[Match]:
    """Where in the songs (bands, frames) the course of the bands is most like each window's.

    Normalised cross-correlation at every place: of window and place every band's mean is taken
    away, so that what counts is how the sound changes, not how it sounds. All windows are equally
    long; shorter songs cannot hold them. Windows in which nothing changes match nothing.
    """
    kernels = torch.stack([centre_bands(window) for window in windows])
    norms = kernels.flatten(1).norm(dim=1)
    length = kernels.shape[2]
    least = LEAST_CHANGE_DB * math.sqrt(kernels[0].numel())
    best = [Match(-1, 0.0, 0.0)] * len(windows)
    for number, song in enumerate(songs):
        if song.shape[1] < length:
            continue
        centred = song - song.mean(dim=1, keepdim=True)  # closer to 0: sums stay exact
        products = conv1d(centred[None], kernels)[0]  # (windows, places)
        spread = _centred_energy(centred, length).clamp_min(0).sqrt()
        quiet = (spread[None] < least) | (norms[:, None] < least)
        likeness = torch.where(quiet, 0.0, products / (norms[:, None] * spread).clamp_min(1e-6))
        highest, places = likeness.max(dim=1)
        for window in range(len(windows)):
            if float(highest[window]) > best[window].correlation:
                start = int(places[window]) * frame_seconds
                best[window] = Match(number, start, float(highest[window]))
    return best


def centre_bands(window: Tensor) -> Tensor:
    """A window (bands, frames) less the mean of every band."""
    return window - window.mean(dim=1, keepdim=True)


def _centred_energy(song: Tensor, length: int) -> Tensor:
    """Energy around the bands' means of every window of so many frames: (places,)."""
    zero = song.new_zeros(song.shape[0], 1, dtype=torch.float64)
    sums = torch.cat([zero, song.double().cumsum(dim=1)], dim=1)
    squares = torch.cat([zero, song.double().square().cumsum(dim=1)], dim=1)
    inside, energy = (part[:, length:] - part[:, :-length] for part in (sums, squares))
    return (energy - inside.square() / length).sum(dim=0).float()
