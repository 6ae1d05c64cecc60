"""Sound in memory, as numpy and torch have it, to what the rest works on; no file is involved.

Arrays (samples,) or (channels, samples) of floats go in, checked tensors (channels, samples) come
out.
"""

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from jukebox_hf.audio.resampling import resample

MOST_CHANNELS = 8  # that any file format here holds
# (samples,) or (channels, samples), floats that are nominally in [-1, 1].
AudioArray: TypeAlias = Tensor | NDArray[np.floating[Any]]


def as_audio(samples: Any, name: str = "audio") -> Tensor:
    """An array of sound as (channels, samples) float32 on the CPU.

    Raises `ValueError`, which begins with `name`, for anything but finite floats (samples,) or
    (channels, samples) with at least one sample; (samples, channels), as soundfile has them, are
    told by their many channels.
    """
    kind = type(samples).__name__
    if not isinstance(samples, Tensor):
        if not hasattr(samples, "__array__"):
            raise ValueError(f"{name} must be an array of floating-point numbers, got {kind}")
        array = np.ascontiguousarray(samples)  # torch has no array that runs backwards
        samples = array if array.flags.writeable else array.copy()  # and warns of the others
    try:
        audio = torch.as_tensor(samples)
    except TypeError:
        raise ValueError(f"{name} must be floating-point numbers, got {samples.dtype}") from None
    shape = tuple(audio.shape)
    if not audio.is_floating_point():
        raise ValueError(
            f"{name} must be floating-point numbers, got {audio.dtype}; divide integers by the "
            "largest that their type holds, so that they are in [-1, 1]"
        )
    if audio.ndim not in (1, 2) or audio.numel() == 0:
        raise ValueError(
            f"{name} must be (channels, samples) or (samples,) with at least one sample, got shape "
            f"{shape}"
        )
    if audio.ndim == 2 and shape[0] > max(shape[1], MOST_CHANNELS):
        raise ValueError(
            f"{name} has at most {MOST_CHANNELS} channels, but (channels, samples) is {shape}; "
            "transpose it if that is (samples, channels)"
        )
    audio = audio.detach().to("cpu", torch.float32)
    if not bool(torch.isfinite(audio).all()):
        raise ValueError(f"{name} holds samples that are not finite numbers")
    return audio[None] if audio.ndim == 1 else audio


def as_mono(samples: Any, from_rate: int | None, to_rate: int, name: str = "audio") -> Tensor:
    """An array of sound mixed down and resampled: (1, samples) float32 on the CPU.

    Raises `ValueError` as `as_audio`, and for a rate that is missing or no positive integer.
    """
    if from_rate is None:
        raise ValueError(
            f"{name} is an array, which does not know its sampling rate: say sampling_rate=..., "
            f"such as {to_rate}, which this model reads"
        )
    return resample(as_audio(samples, name).mean(dim=0, keepdim=True), from_rate, to_rate)
