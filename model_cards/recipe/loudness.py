"""How loud music is, and making all of it equally loud.

Audio (channels, samples) goes in and comes out, float32 in [-1, 1]. Nothing is compressed or
limited: a whole piece is multiplied by one number.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

# Loudness of training music in LUFS. Of 173 pieces of this music the peak limit below held back 78
# at -18, 35 at -20 and 15 at -22; those end up quieter. Masters of pop music lie near -10.
TARGET_LOUDNESS = -20.0
# Highest sample after normalising: 1 dB under full scale, so that lossy formats do not clip.
PEAK_LIMIT = 10 ** (-1 / 20)
# A sample this small is digital silence: under half a step of 12 bits, -78 dB of full scale.
SILENCE = 2.0**-13
BLOCK_SECONDS = 0.4
BLOCKS_PER_LENGTH = 4  # a new block begins every 100 ms
ABSOLUTE_GATE = -70.0  # LUFS
RELATIVE_GATE = -10.0  # LU under the loudness of what passes the absolute gate
BATCH_BLOCKS = 128


class Normalised(NamedTuple):
    """Audio after normalising, and what was done."""

    audio: Tensor
    loudness: float  # LUFS, before
    gain_db: float
    peak_limited: bool  # the peaks kept it from becoming as loud as asked for


def measure_loudness(audio: Tensor, sampling_rate: int) -> float:
    """Integrated loudness in LUFS after ITU-R BS.1770-4; minus infinity for silence.

    The K filter is applied to the spectrum of each block of 400 ms. Blocks are taken as periodic,
    which changes the result by a few hundredths of a LU. Every channel weighs 1, as front channels
    do. Audio shorter than one block is one block.

    Args:
        audio: (channels, samples).
        sampling_rate: Hz.
    """
    powers = _block_powers(audio, sampling_rate)
    loud = powers[powers > _power(ABSOLUTE_GATE)]
    if not loud.size:
        return -math.inf
    loud = loud[loud > _power(_loudness(loud.mean()) + RELATIVE_GATE)]
    return _loudness(loud.mean())


def _block_powers(audio: Tensor, sampling_rate: int) -> npt.NDArray[np.float64]:
    """Filtered power of every block, summed over the channels."""
    samples = audio.detach().cpu().float().numpy()
    length = min(round(BLOCK_SECONDS * sampling_rate), samples.shape[1])
    step = max(length // BLOCKS_PER_LENGTH, 1)
    frequencies = np.fft.rfftfreq(length, 1 / sampling_rate).astype(np.float64)
    response = _k_power_response(frequencies)
    # Parseval for a real signal: every bin but the first (and the last of an even length) twice.
    weights = np.full(len(response), 2.0)
    weights[0] = 1.0
    if length % 2 == 0:
        weights[-1] = 1.0
    response = response * weights / length**2
    blocks = np.lib.stride_tricks.sliding_window_view(samples, length, axis=1)[:, ::step]
    powers = [
        np.einsum("cbf,f->b", np.abs(np.fft.rfft(blocks[:, at : at + BATCH_BLOCKS])) ** 2, response)
        for at in range(0, blocks.shape[1], BATCH_BLOCKS)
    ]
    return np.concatenate(powers)


def _k_power_response(
    frequencies: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Power response of the K filter at frequencies in Hz.

    The two stages that BS.1770-4 gives as coefficients at 48 kHz, evaluated there; above 24 kHz
    they stay at what they are at 24 kHz.
    """
    shelf = (
        (1.53512485958697, -2.69169618940638, 1.19839281085285),
        (-1.69065929318241, 0.73248077421585),
    )
    high_pass = ((1.0, -2.0, 1.0), (-1.99004745483398, 0.99007225036621))
    delay = np.exp(-2j * np.pi * np.minimum(frequencies, 24_000) / 48_000)
    power = np.ones(len(frequencies))
    for (b0, b1, b2), (a1, a2) in (shelf, high_pass):
        stage = (b0 + b1 * delay + b2 * delay**2) / (1 + a1 * delay + a2 * delay**2)
        power *= np.abs(stage) ** 2
    return power


def _loudness(power: float) -> float:
    return -0.691 + 10 * math.log10(power)


def _power(loudness: float) -> float:
    return float(10 ** ((loudness + 0.691) / 10))


def normalise(
    audio: Tensor, sampling_rate: int, *, target: float = TARGET_LOUDNESS, peak: float = PEAK_LIMIT
) -> Normalised:
    """Bring audio (channels, samples) to a loudness in LUFS, without peaks above `peak`.

    Raises `ValueError` for silence.
    """
    loudness = measure_loudness(audio, sampling_rate)
    if not math.isfinite(loudness):
        raise ValueError("silent: nothing in it is louder than -70 LUFS")
    wanted = 10 ** ((target - loudness) / 20)
    possible = peak / float(audio.abs().max())
    gain = min(wanted, possible)
    return Normalised(audio * gain, loudness, 20 * math.log10(gain), possible < wanted)


def trim_silence(audio: Tensor, *, threshold: float = SILENCE) -> Tensor:
    """Cut digital silence off both ends of audio (channels, samples); all of silent audio."""
    loud = torch.nonzero(audio.abs().amax(dim=0) > threshold).flatten()
    if not len(loud):
        return audio[:, :0]
    return audio[:, int(loud[0]) : int(loud[-1]) + 1]


def add_up(stems: list[Tensor]) -> Tensor:
    """The sum of recordings (channels, samples), sample by sample; shorter ones end earlier.

    Raises `ValueError` unless all have equally many channels.
    """
    channels = {stem.shape[0] for stem in stems}
    if len(channels) != 1:
        raise ValueError(f"stems with {sorted(channels)} channels cannot be added up")
    total = torch.zeros(channels.pop(), max(stem.shape[1] for stem in stems))
    for stem in stems:
        total[:, : stem.shape[1]] += stem
    return total
