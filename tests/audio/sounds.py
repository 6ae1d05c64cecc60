"""Small sounds and files of every format, made on the spot."""

import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None,
    reason="FFmpeg is not installed",
)


def noisy_sweep(
    num_samples: int, sampling_rate: int = 44100, channels: int = 1, seed: int = 0
) -> Tensor:
    """(channels, samples) within [-0.6, 0.6]: no two moments sound the same."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(num_samples) / sampling_rate
    tone = torch.sin(2 * torch.pi * (110 * time + 40 * time**2))
    noise = torch.randn(channels, num_samples, generator=generator).clamp(-4, 4)
    return 0.4 * tone + 0.05 * noise


def write_file(path: Path, audio: Tensor, sampling_rate: int, **options: Any) -> Path:
    """Write (channels, samples) with plain soundfile, in blocks."""
    samples = audio.numpy().T
    with soundfile.SoundFile(
        path, "w", samplerate=sampling_rate, channels=samples.shape[1], **options
    ) as file:
        for start in range(0, len(samples), 1 << 16):
            file.write(np.ascontiguousarray(samples[start : start + (1 << 16)]))
    return path


def decode_at_once(path: Path | BytesIO) -> NDArray[np.float32]:
    """(samples, channels): the whole file in one call of soundfile, which never seeks."""
    samples: NDArray[np.float32] = soundfile.read(path, dtype="float32", always_2d=True)[0]
    return samples
