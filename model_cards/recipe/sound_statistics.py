"""How loud, how lively and how familiar audio is: measures that need no network.

Audio (samples,) float32 nominally in [-1, 1] goes in, numbers come out; spectrograms are mel bands
in decibels (bands, frames).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv1d

from jukebox_hf.vqvae.losses import STFT, magnitudes
from model_cards.recipe.evaluate_codec import FLOOR_DB, mel_filters

FRAME_SECONDS = 0.05
SILENCE_DB = -60.0  # root mean square of a frame, relative to full scale
CLIPPED = 0.999  # of full scale
QUIETEST_DB = -120.0
BANDS = 40
ONSET_STFT = STFT(1024, 256, 1024)
PULSE_SECONDS = (0.25, 1.5)  # 240 to 40 beats a minute
MATCH_STFT = STFT(2048, 1024, 2048)
# Per frame and band, on average: a window quieter in change than this has nothing to recognise.
LEAST_CHANGE_DB = 0.5


class Levels(NamedTuple):
    """How loud a piece is.

    Attributes:
        silent_share: of frames of 50 ms below -60 dB of full scale.
        clipped_share: of samples at 0.999 of full scale or more.
        peak_db, rms_db: relative to full scale; -120 or more.
    """

    silent_share: float
    clipped_share: float
    peak_db: float
    rms_db: float


def measure_levels(audio: Tensor, sampling_rate: int) -> Levels:
    """Loudness of audio (samples,); a last part of a frame does not count as one."""
    length = round(FRAME_SECONDS * sampling_rate)
    frames = audio[: len(audio) // length * length].double().reshape(-1, length)
    if not len(frames):
        raise ValueError(f"audio of {len(audio)} samples is shorter than {FRAME_SECONDS:g} s")
    loudness = frames.square().mean(dim=1).sqrt()
    return Levels(
        silent_share=float((loudness < 10 ** (SILENCE_DB / 20)).double().mean()),
        clipped_share=float((audio.abs() >= CLIPPED).double().mean()),
        peak_db=decibels(float(audio.abs().max())),
        rms_db=decibels(float(audio.double().square().mean().sqrt())),
    )


def decibels(amplitude: float) -> float:
    """20 log10, at least -120."""
    return max(20 * math.log10(max(amplitude, 1e-12)), QUIETEST_DB)


def mel_decibels(audio: Tensor, sampling_rate: int, stft: STFT) -> Tensor:
    """Mel bands (40, frames) of audio (samples,), at most 80 dB under the loudest."""
    filters = mel_filters(BANDS, stft.size, sampling_rate).float()
    power = filters @ magnitudes(audio[None, None].float(), stft)[0].square()
    floor = power.max().clamp_min(1e-10) * 10 ** (-FLOOR_DB / 10)
    return 10 * torch.log10(power.clamp_min(floor))


class Liveliness(NamedTuple):
    """How much happens.

    Attributes:
        onset_strength: mean rise from frame to frame in dB, over bands and frames (spectral flux).
        pulse: highest autocorrelation of that rise between 40 and 240 beats a minute; 0 without.
    """

    onset_strength: float
    pulse: float


def measure_liveliness(audio: Tensor, sampling_rate: int) -> Liveliness:
    """Onsets and pulse of audio (samples,)."""
    rises = mel_decibels(audio, sampling_rate, ONSET_STFT).diff(dim=1).clamp_min(0).mean(dim=0)
    centred = (rises - rises.mean()).double()
    energy = float(centred.square().sum())
    frame_rate = sampling_rate / ONSET_STFT.hop_length
    shortest, longest = (round(seconds * frame_rate) for seconds in PULSE_SECONDS)
    lags = range(shortest, min(longest, len(centred) - 1) + 1)
    found = [float(centred[lag:] @ centred[: len(centred) - lag]) for lag in lags]
    pulse = max(found, default=0.0) / energy if energy > 1e-9 else 0.0
    return Liveliness(float(rises.mean()), max(pulse, 0.0))


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
