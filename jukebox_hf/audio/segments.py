"""pydub's `AudioSegment`, for those who cut, fade, mix and play with it: to and from tensors.

pydub works in integers of 16 bits by default, which is why files are not read through it.
"""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from pydub import AudioSegment

BYTES = 4  # of a sample: integers of 32 bits hold all 24 bits of a float


def to_segment(audio: Tensor, sampling_rate: int) -> "AudioSegment":
    """(channels, samples) or (samples,) in [-1, 1] as an `AudioSegment` of 32-bit integers.

    Values beyond full scale are cut off.
    """
    channels_first = audio.detach().to("cpu", torch.float32)
    if channels_first.ndim == 1:
        channels_first = channels_first.unsqueeze(0)
    if channels_first.ndim != 2:
        raise ValueError(
            f"audio must be (channels, samples) or (samples,), got shape {tuple(audio.shape)}"
        )
    scaled = np.rint(channels_first.numpy().T.astype(np.float64) * 2.0**31)
    integers = np.clip(scaled, -(2.0**31), 2.0**31 - 1).astype("<i4")
    return segment_class()(
        data=integers.tobytes(),
        sample_width=BYTES,
        frame_rate=sampling_rate,
        channels=channels_first.shape[0],
    )


def from_segment(segment: "AudioSegment") -> tuple[Tensor, int]:
    """An `AudioSegment` as (channels, samples) float32 in [-1, 1], and its sampling rate."""
    kind = {1: np.int8, 2: np.int16, 4: np.int32}[segment.sample_width]
    integers = np.frombuffer(segment.raw_data, dtype=kind).reshape(-1, segment.channels)
    scale = 2.0 ** (1 - 8 * segment.sample_width)
    samples = (integers.astype(np.float64) * scale).astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(samples.T)), segment.frame_rate


def segment_class() -> Any:
    """Imported here: pydub warns where FFmpeg is missing, and needs audioop-lts on Python 3.13."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes and `audioop` in pydub 0.25.1
        from pydub import AudioSegment
    return AudioSegment
