"""Small sounds and files of every format, made on the spot."""

import importlib.util
import shutil
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from jukebox_hf.audio import ffmpeg

has_library = importlib.util.find_spec("av") is not None
has_programs = shutil.which("ffmpeg") is not None and shutil.which("ffprobe") is not None
needs_library = pytest.mark.skipif(
    not has_library, reason="the package `av` (extra `formats`) is not installed"
)
needs_programs = pytest.mark.skipif(not has_programs, reason="no ffmpeg and ffprobe on the PATH")
needs_ffmpeg = pytest.mark.skipif(
    not (has_library or has_programs), reason="FFmpeg is there neither as `av` nor as programs"
)


def hide_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the package `av` were not installed."""
    monkeypatch.setattr(ffmpeg, "_import_av", lambda: None)


def hide_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no FFmpeg were on the PATH."""
    monkeypatch.setattr(ffmpeg.shutil, "which", lambda program: None)


def hide_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if FFmpeg were not there at all."""
    hide_library(monkeypatch)
    hide_programs(monkeypatch)


def transcode(
    audio: Tensor,
    path: Path,
    sampling_rate: int,
    codec: str,
    *,
    container: str | None = None,
    sample_format: str | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write (channels, samples) through the package `av`, which needs no FFmpeg on the system."""
    av = pytest.importorskip("av")
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[audio.shape[0]]
    with av.open(str(path), "w", format=container, container_options=options or {}) as output:
        stream = output.add_stream(codec, rate=sampling_rate, layout=layout)
        stream.bit_rate = 128_000
        if sample_format is not None:
            stream.codec_context.format = sample_format
        samples = np.ascontiguousarray(audio.numpy().T.reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(samples, "flt", layout)
        frame.sample_rate, frame.pts = sampling_rate, 0
        frame.time_base = Fraction(1, sampling_rate)
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def cut_without_encoding(source: Path, target: Path, seconds: float) -> Path:
    """What lies behind `seconds`, in the same packets: positions do not begin at 0."""
    av = pytest.importorskip("av")
    with av.open(str(source)) as opened, av.open(str(target), "w") as output:
        stream = opened.streams.audio[0]
        copied = output.add_stream_from_template(stream)
        for packet in opened.demux(stream):
            if packet.pts is not None and packet.pts * packet.time_base >= seconds:
                packet.stream = copied
                output.mux(packet)
    return target


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
