"""The formats in which audio is written, by the extension of a file's name."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class WritableFormat(NamedTuple):
    """How one file name extension is written."""

    container: str  # libsndfile's name, or FFmpeg's
    codec: str
    options: Mapping[str, Any] = {}
    sampling_rates: tuple[int, ...] | None = None  # the only ones possible
    max_channels: int = 8
    needs_ffmpeg: bool = False


MPEG_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
AAC_RATES = (*MPEG_RATES, 64000, 88200, 96000)
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
MP3_OPTIONS = {"bitrate_mode": "CONSTANT", "compression_level": 0.0}
# mp3: 320 kbit/s at 44.1 kHz, the most there is; ogg and opus: about 260 (both stereo). The lossy
# ones hold more channels than two, but in orders that differ from wav's and from each other's.
# libsndfile 1.2.2 leaves the last 5 ms of an opus file silent.
FORMATS: dict[str, WritableFormat] = {
    ".wav": WritableFormat("WAV", "PCM_24"),
    ".flac": WritableFormat("FLAC", "PCM_24"),
    ".ogg": WritableFormat("OGG", "VORBIS", {"compression_level": 0.2}, max_channels=2),
    ".opus": WritableFormat("OGG", "OPUS", {"compression_level": 0.5}, OPUS_RATES, max_channels=2),
    ".mp3": WritableFormat("MP3", "MPEG_LAYER_III", MP3_OPTIONS, MPEG_RATES, max_channels=2),
    ".m4a": WritableFormat("ipod", "aac", {}, AAC_RATES, max_channels=2, needs_ffmpeg=True),
    ".aac": WritableFormat("adts", "aac", {}, AAC_RATES, max_channels=2, needs_ffmpeg=True),
}
WRITABLE_FORMATS = tuple(suffix.lstrip(".") for suffix in FORMATS)
