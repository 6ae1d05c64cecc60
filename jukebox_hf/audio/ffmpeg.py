"""The formats that soundfile lacks (m4a, aac, wma, the sound of a video), through pydub and FFmpeg.

pydub is imported where it is used: it warns when FFmpeg is missing, and on Python 3.13 it needs
`audioop-lts`. It works in 16-bit integers (32-bit for sources of more than 16), and decodes a
file as a whole: about 10 MB of memory per minute of 44.1 kHz stereo, three times that for a moment.
"""

import os
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jukebox_hf.audio.resampling import Samples

INSTALL_HINT = (
    "FFmpeg is not installed; install it with `apt install ffmpeg`, `brew install ffmpeg`, "
    "`winget install ffmpeg` or `conda install ffmpeg`"
)
# What people name such files; any other suffix is tried as well when soundfile gives up.
SUFFIXES = frozenset(
    {".m4a", ".m4b", ".mp4", ".aac", ".wma", ".webm", ".mkv", ".mka", ".mov", ".avi", ".ac3"}
    | {".amr", ".3gp", ".ape", ".wv", ".m4v", ".wmv", ".flv", ".ts", ".dts", ".tta", ".alac"}
)


class FFmpegMissingError(Exception):
    """FFmpeg, or a part of it, is not there; the message says what to install."""


class FFmpegError(Exception):
    """FFmpeg could not do it; the message is its own, in one line."""


class DecodedSource:
    """A file that FFmpeg has decoded into memory; see `sources.Source`."""

    def __init__(self, path: Path) -> None:
        segment_class = _audio_segment()
        _probe(path)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)  # pydub leaves pipes open
                segment = segment_class.from_file(os.fspath(path))
        except Exception as error:  # pydub raises whatever its parsing of FFmpeg's output raises
            raise FFmpegError(_last_line(error)) from None
        self.format = path.suffix.lower().lstrip(".") or "ffmpeg"
        self.sampling_rate: int = segment.frame_rate
        self.channels: int = segment.channels
        kind = {1: np.int8, 2: np.int16, 4: np.int32}[segment.sample_width]
        self._samples: NDArray[Any] = np.frombuffer(segment.raw_data, dtype=kind).reshape(
            -1, self.channels
        )
        self._scale = np.float32(2.0 ** (1 - 8 * segment.sample_width))
        self.num_samples = len(self._samples)

    def read(self, start: int, num_samples: int) -> Samples:
        """Samples [start, start + num_samples), fewer at the end of the file."""
        return self._samples[start : start + num_samples].astype(np.float32) * self._scale

    def close(self) -> None:
        self._samples = self._samples[:0]


def probe(path: Path) -> tuple[int, int, float]:
    """Sampling rate, channels and seconds of a file's sound, without decoding it."""
    found, stream = _probe(path)
    try:
        duration = stream.get("duration") or found["format"]["duration"]
        return int(stream["sample_rate"]), int(stream["channels"]), float(duration)
    except (KeyError, ValueError, TypeError):
        raise FFmpegError("it does not say how long it is") from None


def read_tags(path: Path) -> dict[str, str]:
    """The tags of a file by lower-case name, as FFmpeg sees them."""
    tags = _probe(path)[0].get("format", {}).get("tags", {})
    return {str(name).lower(): str(value) for name, value in tags.items()}


def _probe(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What ffprobe says of a file and of its first sound."""
    _audio_segment()
    from pydub.utils import mediainfo_json

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # pydub leaves pipes open
            found = mediainfo_json(os.fspath(path))
        return found, next(s for s in found["streams"] if s.get("codec_type") == "audio")
    except (StopIteration, KeyError, ValueError, TypeError):
        raise FFmpegError("it holds no sound") from None


def encode(
    path: Path,
    samples: Samples,
    sampling_rate: int,
    *,
    container: str,
    codec: str,
    tags: Mapping[str, str],
) -> None:
    """Write (samples, channels) in [-1, 1] through FFmpeg, from 16-bit integers."""
    segment_class = _audio_segment()
    integers = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2")
    segment = segment_class(
        data=integers.tobytes(),
        sample_width=2,
        frame_rate=sampling_rate,
        channels=samples.shape[1],
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            segment.export(
                os.fspath(path), format=container, codec=codec, bitrate="256k", tags=dict(tags)
            ).close()
    except OSError:
        raise
    except Exception as error:
        raise FFmpegError(_last_line(error)) from None


def check_installed() -> None:
    """Raise `FFmpegMissingError` unless pydub can run FFmpeg."""
    _audio_segment()


def _audio_segment() -> Any:
    """pydub's `AudioSegment`, or `FFmpegMissingError`."""
    for program in ("ffmpeg", "ffprobe"):
        if shutil.which(program) is None:
            raise FFmpegMissingError(INSTALL_HINT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes and `audioop` in pydub 0.25.1
            from pydub import AudioSegment
    except ImportError as error:
        raise FFmpegMissingError(
            f"pydub cannot be imported ({error}); run `pip install pydub audioop-lts`"
        ) from None
    return AudioSegment


def _last_line(error: Exception) -> str:
    """FFmpeg's last words, without the pages of banner before them."""
    lines = [line.strip() for line in str(error).replace("\\n", "\n").splitlines()]
    noise = ("'", "Conversion", "size=", "video:")
    meaningful = [line for line in lines if line and not line.startswith(noise)]
    return (meaningful[-1] if meaningful else type(error).__name__)[:200].rstrip(".")
