"""Sampling rates: resampling with soxr, and which samples of one rate make which of another.

Arrays here are numpy, (samples, channels), as soundfile and soxr want them; `resample` is the door
for tensors (channels, samples).
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor

from jukebox_hf.audio.kaiser import resample_kaiser_best

Quality = Literal["HQ", "VHQ", "kaiser_best"]
QUALITIES: tuple[Quality, ...] = ("VHQ", "HQ", "kaiser_best")
Samples = NDArray[np.float32]  # (samples, channels)
PartT = TypeVar("PartT")

# Input samples on either side of a crop, times the factor by which the rate falls. soxr's longest
# filter reaches about 220 (measured: crops stop changing there); four times that costs nothing.
CONTEXT_SAMPLES = 1024


class Crop(NamedTuple):
    """Which input samples a crop of resampled audio needs, and what to drop from the result."""

    start: int  # first input sample
    stop: int  # one past the last
    skip: int  # output samples before the wanted ones


def resampled_length(num_samples: int, from_rate: int, to_rate: int) -> int:
    """Samples after resampling: num_samples * to_rate / from_rate, halves rounded up.

    >>> resampled_length(48000, 48000, 44100)
    44100
    """
    return (2 * num_samples * to_rate + from_rate) // (2 * from_rate)


def resample(
    audio: Tensor,
    from_rate: int,
    to_rate: int,
    *,
    quality: Quality = "VHQ",
    round_up: bool = False,
) -> Tensor:
    """Resample (channels, samples) or (samples,) to (..., resampled_length) float32 on the CPU.

    Args:
        audio, from_rate, to_rate: what, from which rate to which.
        quality: `VHQ` computes in double precision, so that a crop resampled with its surroundings
            equals the same part of the whole, to the last bit for the usual pairs of rates. `HQ`,
            librosa's default since 0.10, is about a quarter faster; below the highest octave both
            are equal to 1e-6, but noise up to the new rate's limit differs by 6e-3 and music by
            1e-4, enough to change codes. `kaiser_best` is librosa's default before 0.10, which on
            a recording differs from `HQ` by up to 7e-4, and on noise by 5e-2.
        round_up: end with a zero where the exact length is rounded up instead of to the nearest, as
            librosa does.

    Raises `ValueError` for rates that are not positive integers and other qualities.
    """
    for rate in (from_rate, to_rate):
        check_sampling_rate(rate)
    if quality not in QUALITIES:
        raise ValueError(f"quality must be one of {', '.join(QUALITIES)}, got {quality!r}")
    samples = audio.detach().to("cpu", torch.float32)
    if from_rate == to_rate:
        return samples
    if samples.ndim not in (1, 2):
        raise ValueError(
            f"audio must be (channels, samples) or (samples,), got shape {tuple(audio.shape)}"
        )
    resampled = resample_samples(
        np.atleast_2d(samples.numpy()).T, from_rate, to_rate, quality=quality
    )
    if round_up:
        missing = -(-samples.shape[-1] * to_rate // from_rate) - len(resampled)
        resampled = np.pad(resampled, ((0, missing), (0, 0)))
    return torch.from_numpy(np.ascontiguousarray(resampled.T)).reshape(*audio.shape[:-1], -1)


def resample_samples(
    samples: Samples, from_rate: int, to_rate: int, *, quality: Quality = "VHQ"
) -> Samples:
    """Resample (samples, channels) to exactly `resampled_length` samples."""
    if from_rate == to_rate:
        return samples
    wanted = resampled_length(len(samples), from_rate, to_rate)
    if wanted == 0 or len(samples) == 0:
        return np.zeros((0, samples.shape[1]), dtype=np.float32)
    contiguous = _contiguous(samples)
    result: Samples
    if quality == "kaiser_best":
        result = resample_kaiser_best(contiguous, from_rate, to_rate)
    else:
        result = soxr.resample(contiguous, from_rate, to_rate, quality=quality)
    missing = wanted - len(result)
    if missing > 0:  # kaiser_best rounds down; soxr in the same way, but a later version may not
        result = np.concatenate([result, np.zeros((missing, result.shape[1]), np.float32)])
    return result[:wanted]


def resample_parts(parts: Iterator[Samples], from_rate: int, to_rate: int) -> Iterator[Samples]:
    """Resample (samples, channels) that come in parts: the same samples as of the whole."""
    if from_rate == to_rate:
        yield from parts
        return
    stream: soxr.ResampleStream | None = None
    read = written = 0
    for part, is_last in _with_last(parts):
        stream = stream or soxr.ResampleStream(
            from_rate, to_rate, part.shape[1], dtype="float32", quality="VHQ"
        )
        read += len(part)
        made = stream.resample_chunk(_contiguous(part), last=is_last)
        if is_last:
            missing = resampled_length(read, from_rate, to_rate) - written
            made = np.pad(made, ((0, max(0, missing - len(made))), (0, 0)))[:missing]
        written += len(made)
        yield made


def _with_last(parts: Iterable[PartT]) -> Iterator[tuple[PartT, bool]]:
    """Each part, and whether it is the last.

    >>> list(_with_last("ab"))
    [('a', False), ('b', True)]
    """
    iterator = iter(parts)
    for part in iterator:
        for following in iterator:
            yield part, False
            part = following
        yield part, True


def _contiguous(samples: Samples) -> Samples:
    """With the strides that soxr before 1.1 wants of one channel."""
    return np.ascontiguousarray(samples, dtype=np.float32).reshape(-1).reshape(samples.shape)


def crop_bounds(offset: int, num_samples: int, from_rate: int, to_rate: int) -> Crop:
    """What to read at `from_rate` for the samples [offset, offset + num_samples) at `to_rate`.

    The first input sample is chosen where both rates have a sample at the same moment (every 160 of
    48 kHz and 147 of 44.1 kHz), so that the crop lies on the same grid as the whole; at awkward
    pairs of rates that is up to a second early. The bounds may reach past the end of the file.
    """
    if from_rate == to_rate:
        return Crop(offset, offset + num_samples, 0)
    common = math.gcd(from_rate, to_rate)
    period, output_period = from_rate // common, to_rate // common
    context = CONTEXT_SAMPLES * max(1, -(-from_rate // to_rate))
    periods = max(0, offset * from_rate // to_rate - context) // period
    stop = -(-(offset + num_samples) * from_rate // to_rate) + context
    return Crop(periods * period, stop, offset - periods * output_period)


def check_sampling_rate(rate: Any) -> None:
    """Raise `ValueError` unless `rate` is a whole number of samples per second."""
    if isinstance(rate, bool) or not isinstance(rate, int) or rate < 1:
        raise ValueError(f"a sampling rate must be a positive integer, got {rate!r}")
