"""States at another rate: Fourier resampling over time, as librosa's `fft` and scipy do it.

States (..., time, width) and a number of frames go in, (..., frames, width) come out. The mean over
time stays what it is. The piece is taken to be periodic, so its first and last frames mix its end
into its beginning: models of others were trained on frames like these.
"""

import math

import torch
from torch import Tensor

COLUMNS_AT_ONCE = 512  # widths resampled together: the spectra of all would take twice the states


def num_frames(num_codes: int, rate: float, code_rate: float) -> int:
    """Frames that `num_codes` states become at `rate` per second, rounded up.

    >>> num_frames(1722, 30, 344.53125), num_frames(8192, 15, 344.53125)
    (150, 357)
    """
    return math.ceil(num_codes * (rate / code_rate))


def resample_states(states: Tensor, frames: int) -> Tensor:
    """Resample (..., time, width) to (..., frames, width); float32, half comes back as half.

    Frame k stands at `k * time / frames` states.
    """
    time = states.shape[-2]
    if frames == time:
        return states
    parts = [
        _resample(states[..., first : first + COLUMNS_AT_ONCE].float(), time, frames)
        for first in range(0, states.shape[-1], COLUMNS_AT_ONCE)
    ]
    return torch.cat(parts, dim=-1).to(states.dtype)


def _resample(states: Tensor, time: int, frames: int) -> Tensor:
    shorter = min(time, frames)
    kept = torch.fft.rfft(states, dim=-2)[..., : shorter // 2 + 1, :]
    if shorter % 2 == 0:
        # The highest frequency of the shorter side stands for two of the longer one.
        factor = torch.ones(shorter // 2 + 1, 1, dtype=states.dtype, device=states.device)
        factor[-1] = 2.0 if frames < time else 0.5
        kept = kept * factor
    resampled: Tensor = torch.fft.irfft(kept, n=frames, dim=-2)
    return resampled * (frames / time)
