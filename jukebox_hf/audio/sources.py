"""One open audio file: any run of its samples, at its own rate, exactly as a full decode gives it.

`open_source(path)` tries soundfile and then FFmpeg. Sources give numpy arrays (samples, channels);
resampling and mixing are `reading`'s work.

Measured with libsndfile 1.2.2: seeking is exact in wav and flac. It is not in mp3 at low bit rates
(up to 5,500 wrong samples, for want of the bits that earlier frames saved up) nor in ogg/vorbis
(shifted on the last page), and both, and opus by 1e-6, suffer when the file has been read before.
Hence `_SteadyFile`, and `_seek_compressed`, which opens such files anew and enters them early.
"""

import os
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Protocol, Self

import numpy as np
import soundfile

from jukebox_hf.audio import ffmpeg
from jukebox_hf.audio.mp3 import with_counted_frames
from jukebox_hf.audio.resampling import Samples

BLOCK_SAMPLES = 1 << 18  # read at once, so that a header that lies cannot ask for all the memory
SAMPLING_RATES = range(1000, 1_000_001)  # what a header may say; else it is damaged
# Formats in which going back is slow; of these the last block is kept, for reads that overlap.
COMPRESSED = frozenset({"mp3", "ogg", "opus", "oga"})
# 16 frames reach back over every bit reservoir (511 bytes) and over the decoder's own overlap.
MP3_RUN_UP = 16 * 1152
# Mono MPEG-2 (24 kHz and less): libmpg123 complains on stderr after every seek, so do without.
MP3_SEEKABLE_RATE = 32000
# A page of ogg has at most 255 packets, a packet at most 2048 new samples: the last page is never
# longer than this.
VORBIS_TAIL = 255 * 2048 + 8192
OPENING_BYTES = 1024  # looked at to tell text from audio
# Opens the content of an audio file from its beginning, for reading and seeking; may be called
# again while another is open.
OpenContent = Callable[[], BinaryIO]


class Source(Protocol):
    """An open audio file."""

    format: str  # "wav", "flac", "ogg", "opus", "mp3", ...
    sampling_rate: int
    channels: int
    num_samples: int  # as the header says: a damaged file holds less

    def read(self, start: int, num_samples: int) -> Samples:
        """Samples [start, start + num_samples), fewer at the end of the file."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


def open_source(path: str | os.PathLike[str], open_content: OpenContent | None = None) -> Source:
    """Open an audio file of any format.

    With `open_content` the path only names it, and FFmpeg, which wants files, is not tried. Raises
    `FileNotFoundError` or another `OSError` when there is no readable file, `ValueError` with one
    sentence when it is not audio or FFmpeg would be needed and is missing.
    """
    file = Path(path)
    check_file(file, open_content)
    try:
        return SoundFileSource(file, open_content)
    except soundfile.LibsndfileError as error:
        reason = reason_of(error)
    except TypeError:
        reason = "it has no header"  # soundfile takes the name .raw for headerless samples
    if open_content is not None:
        raise ValueError(f"{path} cannot be read as wav, flac, ogg, opus or mp3 ({reason})")
    try:
        return ffmpeg.DecodedSource(file)
    except (ffmpeg.FFmpegMissingError, ffmpeg.FFmpegError) as error:
        raise unreadable(file, reason, error) from None


def unreadable(path: Path, reason: str, error: Exception) -> ValueError:
    """The sentence for a file that soundfile refused for `reason` and FFmpeg for `error`."""
    if isinstance(error, ffmpeg.FFmpegError):
        return ValueError(
            f"{path} cannot be read as audio ({reason}; FFmpeg: {error}); it is damaged or "
            "something else"
        )
    if path.suffix.lower() in ffmpeg.SUFFIXES:
        return ValueError(f"{path} cannot be read: {error}")
    return ValueError(
        f"{path} cannot be read as wav, flac, ogg, opus or mp3 ({reason}), and other formats need "
        f"FFmpeg: {error}"
    )


def reason_of(error: Any) -> str:
    """libsndfile's reason, without what is wrong or says nothing."""
    reason = str(error.error_string).strip().removeprefix("Error : ").rstrip(".")
    if reason.startswith("File does not exist"):  # said of an mp3 without frames
        return "Format not recognised"
    return reason


def check_file(path: Path, open_content: OpenContent | None = None) -> None:
    """Say what is wrong with a path before a decoder says it worse."""
    if open_content is None:
        if not path.exists():
            raise FileNotFoundError(f"there is no audio file {path}")
        if not path.is_file():
            raise IsADirectoryError(f"{path} is not a file, expected an audio file")
    with (open_content or _opener(path))() as file:  # also finds out whether it may be read
        opening = file.read(OPENING_BYTES)
    if not opening:
        raise ValueError(f"{path} is empty (0 bytes), expected an audio file")
    if _is_text(opening):  # also keeps playlists from FFmpeg, which would follow them
        raise ValueError(f"{path} is a text file, expected an audio file")


def _opener(path: Path) -> OpenContent:
    return lambda: path.open("rb")


def _is_text(opening: bytes) -> bool:
    try:
        text = opening.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(opening) - 3:  # else only the last character is cut
            return False
        text = opening[: error.start].decode("utf-8")
    return all(character.isprintable() or character in "\t\n\r\f\ufeff" for character in text)


class _SteadyFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A file that reads on without seeking.

    `SoundFile.read` ends with a seek to where it is already, unless the file says it cannot seek;
    in an mp3 at a low bit rate that spoils the first samples of the next read.
    """

    def seekable(self) -> bool:
        return False


class SoundFileSource:
    """A file that soundfile reads; see `Source`, and `open_source` for the arguments."""

    def __init__(self, path: Path, open_content: OpenContent | None = None) -> None:
        self._path = path
        self._position = 0
        self._open_content = open_content
        self._content: BinaryIO | None = None  # that is open, where soundfile has not opened it
        self._file = self._open()
        self.format = _format_name(self._file)
        if self.format == "mp3":
            corrected = with_counted_frames(open_content or _opener(path))
            if corrected is not None:
                self._file.close()
                self._open_content = lambda: BytesIO(corrected)
                self._file = self._open()
        self.sampling_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        # The last samples read, up to `_position`; only of compressed files.
        self._recent: Samples = np.zeros((0, self.channels), dtype=np.float32)
        self.num_samples: int = self._file.frames
        if self.sampling_rate not in SAMPLING_RATES:
            self.close()
            raise ValueError(
                f"{path} has a sampling rate of {self.sampling_rate} Hz, expected "
                f"{SAMPLING_RATES.start} to {SAMPLING_RATES.stop - 1}; the file is damaged"
            )

    def read(self, start: int, num_samples: int) -> Samples:
        """Samples [start, start + num_samples), fewer at the end of the file."""
        num_samples = max(0, min(num_samples, self.num_samples - start))
        if num_samples == 0:
            return np.zeros((0, self.channels), dtype=np.float32)
        first = self._position - len(self._recent)
        known = self._recent[start - first :] if first <= start else self._recent[:0]
        if len(known) >= num_samples:
            return known[:num_samples].copy()
        try:
            self._go_to(start + len(known))
            following = self._next(num_samples - len(known))
            return np.concatenate([known, following]) if len(known) else following
        except soundfile.LibsndfileError as error:
            seconds = self._position / self.sampling_rate
            self._position = -1  # nowhere: the next read starts afresh
            self._recent = self._recent[:0]
            raise ValueError(
                f"{self._path} is damaged after {seconds:.1f} seconds ({reason_of(error)})"
            ) from None

    def close(self) -> None:
        self._file.close()
        if self._content is not None:
            self._content.close()

    def _open(self) -> Any:
        if self._open_content is None:
            return _SteadyFile(os.fspath(self._path))
        if self._content is not None:
            self._content.close()
        self._content = self._open_content()
        return _SteadyFile(self._content)

    def _go_to(self, start: int) -> None:
        if start == self._position:
            return
        if self.format in COMPRESSED:
            self._seek_compressed(start)
        else:
            self._file.seek(start)
            self._position = start
        while self._position < start:
            if len(self._next(min(BLOCK_SAMPLES, start - self._position))) == 0:
                break
        self._recent = self._recent[:0]  # what was decoded on the way may be inexact

    def _seek_compressed(self, start: int) -> None:
        """Go to `start`, or so far before it that decoding from there is exact from `start` on."""
        if self.format == "mp3":
            can_seek = self.sampling_rate >= MP3_SEEKABLE_RATE
            entry = max(0, start - MP3_RUN_UP) if can_seek else 0
        elif self.format == "ogg":
            entry = max(0, min(start, self.num_samples - VORBIS_TAIL))
        else:
            entry = start
        if entry <= self._position <= start:
            return  # on the way already
        self._file.close()
        self._file = self._open()
        if entry:
            self._file.seek(entry)
        self._position = entry

    def _next(self, num_samples: int) -> Samples:
        blocks: list[Samples] = []
        while num_samples > 0:
            block: Samples = self._file.read(
                min(num_samples, BLOCK_SAMPLES), dtype="float32", always_2d=True
            )
            if len(block) == 0:
                break
            self._position += len(block)
            num_samples -= len(block)
            blocks.append(block)
            if self.format in COMPRESSED:
                self._recent = np.concatenate([self._recent, block])[-BLOCK_SAMPLES:]
        if not blocks:
            return np.zeros((0, self.channels), dtype=np.float32)
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _format_name(file: Any) -> str:
    if file.format == "OGG":
        return "opus" if file.subtype == "OPUS" else "ogg" if file.subtype == "VORBIS" else "oga"
    return {"WAVEX": "wav", "RF64": "wav"}.get(file.format, str(file.format).lower())
