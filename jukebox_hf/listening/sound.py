"""How loud and how lively audio is, and whether seams can be heard: measures without a network.

Audio (samples,) float32 nominally in [-1, 1] goes in, numbers come out; spectrograms are mel bands
in decibels (bands, frames).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from jukebox_hf.vqvae.losses import STFT, magnitudes

FRAME_SECONDS = 0.05
SILENCE_DB = -60.0  # root mean square of a frame, relative to full scale
CLIPPED = 0.999  # of full scale
QUIETEST_DB = -120.0
LOWEST_HERTZ = 30.0
BANDS = 40
DEPTH_DB = 80.0  # what is so far under the loudest band of a piece counts as that
ONSET_STFT = STFT(1024, 256, 1024)
# Onsets of a piece: changes of bands that are not heard beside the loudest, and of bands as quiet
# as noise at -60 dB of full scale, count little or nothing.
ONSET_DEPTH_DB = 60.0
ONSET_FLOOR_DB = -60.0
PULSE_SECONDS = (0.25, 1.5)  # 240 to 40 beats a minute
SEAM_FRAMES = range(-1, 2)  # around a seam: the window of a frame reaches over it


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
    loudness = frame_levels(audio, round(FRAME_SECONDS * sampling_rate))
    return Levels(
        silent_share=float((loudness < 10 ** (SILENCE_DB / 20)).double().mean()),
        clipped_share=float((audio.abs() >= CLIPPED).double().mean()),
        peak_db=decibels(float(audio.abs().max())),
        rms_db=decibels(float(audio.double().square().mean().sqrt())),
    )


def frame_levels(audio: Tensor, length: int) -> Tensor:
    """Root mean square of every whole frame of so many samples: (frames,) float64.

    Raises `ValueError` for audio without one.
    """
    frames = audio[: len(audio) // length * length].double().reshape(-1, length)
    if not len(frames):
        raise ValueError(f"audio of {len(audio)} samples is shorter than a frame of {length}")
    return frames.square().mean(dim=1).sqrt()


def decibels(amplitude: float) -> float:
    """20 log10, at least -120."""
    return max(20 * math.log10(max(amplitude, 1e-12)), QUIETEST_DB)


def mel_filters(bands: int, stft_size: int, sampling_rate: int) -> Tensor:
    """Triangles on the mel scale (O'Shaughnessy 1987), with a peak of 1: (bands, bins) float64."""

    def to_mel(hertz: float) -> float:
        return 2595 * math.log10(1 + hertz / 700)

    mels = np.linspace(to_mel(LOWEST_HERTZ), to_mel(sampling_rate / 2), bands + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    hertz = np.linspace(0, sampling_rate / 2, stft_size // 2 + 1)
    # A triangle narrower than a bin would catch none: it gets at least a bin to each side.
    step = sampling_rate / stft_size
    left = np.maximum(edges[1:-1] - edges[:-2], step)[:, None]
    right = np.maximum(edges[2:] - edges[1:-1], step)[:, None]
    distance = hertz[None] - edges[1:-1, None]
    return torch.from_numpy(
        np.clip(1 - np.where(distance < 0, -distance / left, distance / right), 0, None)
    )


def mel_power(audio: Tensor, sampling_rate: int, stft: STFT) -> Tensor:
    """Power (40, frames) of audio (samples,) in mel bands; frame i is centred on sample i * hop."""
    filters = mel_filters(BANDS, stft.size, sampling_rate).float()
    return filters @ magnitudes(audio[None, None].float(), stft)[0].square()


def mel_decibels(audio: Tensor, sampling_rate: int, stft: STFT) -> Tensor:
    """Mel bands (40, frames) of audio (samples,), at most 80 dB under the loudest."""
    power = mel_power(audio, sampling_rate, stft)
    floor = power.max().clamp_min(1e-10) * 10 ** (-DEPTH_DB / 10)
    return 10 * torch.log10(power.clamp_min(floor))


class Liveliness(NamedTuple):
    """How much happens.

    Attributes:
        onset_strength: mean rise from frame to frame in dB, over bands and frames (spectral flux
            of Dixon 2006, in decibels). Noise at -60 dB of full scale has next to none.
        pulse: highest autocorrelation of that rise between 40 and 240 beats a minute; 0 without.
    """

    onset_strength: float
    pulse: float


def measure_liveliness(audio: Tensor, sampling_rate: int, seams: Sequence[int] = ()) -> Liveliness:
    """Onsets and pulse of audio (samples,).

    Args:
        seams: samples at which parallel chains were joined. Frames there count as the mean, so that
            seams at even distances are no beat.
    """
    power = mel_power(audio, sampling_rate, ONSET_STFT)
    quietest = _noise_power(sampling_rate) * 10 ** (ONSET_FLOOR_DB / 10)
    floor = torch.maximum(quietest, power.max() * 10 ** (-ONSET_DEPTH_DB / 10))
    rises = 10 * torch.log10(power + floor).diff(dim=1).clamp_min(0)
    onsets = rises.mean(dim=0).double()
    inside = torch.ones(len(onsets), dtype=torch.bool)
    for frame in _seam_frames(seams, len(onsets)):
        inside[frame] = False
    if not bool(inside.any()):
        return Liveliness(0.0, 0.0)
    mean = onsets[inside].mean()
    centred = torch.where(inside, onsets - mean, 0.0)
    energy = float(centred.square().sum())
    frame_rate = sampling_rate / ONSET_STFT.hop_length
    shortest, longest = (round(seconds * frame_rate) for seconds in PULSE_SECONDS)
    lags = range(shortest, min(longest, len(centred) - 1) + 1)
    found = [float(centred[lag:] @ centred[: len(centred) - lag]) for lag in lags]
    pulse = max(found, default=0.0) / energy if energy > 1e-9 else 0.0
    return Liveliness(float(mean), max(pulse, 0.0))


def _noise_power(sampling_rate: int) -> Tensor:
    """Expected power (40, 1) of white noise at full scale (root mean square 1) in mel bands."""
    window = torch.hann_window(ONSET_STFT.window_length, dtype=torch.float64)
    filters = mel_filters(BANDS, ONSET_STFT.size, sampling_rate)
    return (filters.sum(dim=1, keepdim=True) * window.square().sum()).float()


def _seam_frames(seams: Sequence[int], count: int) -> list[int]:
    """Rises that seams may have caused: those into the frames whose windows reach over them."""
    frames = {
        round(sample / ONSET_STFT.hop_length) - 1 + reach
        for sample in seams
        for reach in range(SEAM_FRAMES.start - 1, SEAM_FRAMES.stop + 1)
    }
    return sorted(frame for frame in frames if 0 <= frame < count)


def onsets_at_seams(audio: Tensor, sampling_rate: int, seams: Sequence[int]) -> Tensor:
    """Onset strength in the frames around each seam over the piece's mean: (seams, 5).

    From two frames before to two after, in decibels over 40 mel bands alike, however quiet these
    are: seams are heard between notes. Music without seams has 1 on average. The rise of frame i is
    that into the frame of 46 ms centred on the seam + i x 11.6 ms (at 22.05 kHz). Seams nearer to
    an end than that are left out.
    """
    onsets = mel_decibels(audio, sampling_rate, ONSET_STFT).diff(dim=1).clamp_min(0).mean(dim=0)
    mean = onsets.mean().clamp_min(1e-9)
    places = [round(sample / ONSET_STFT.hop_length) - 1 for sample in seams]
    rows = [
        onsets[place - 2 : place + 3] / mean for place in places if 2 <= place < len(onsets) - 2
    ]
    return torch.stack(rows) if rows else torch.zeros(0, 5)
