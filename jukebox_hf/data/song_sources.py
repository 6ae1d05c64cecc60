"""Where the sound of a song is: in a file, or in a cell of a table.

Both open as an `AudioReader`, which cuts exact windows out of a song without decoding all of it; a
cell is read where it is, without copying. Formats that only FFmpeg reads cannot be entered in the
middle; they are decoded once, into a FLAC file in the cache (`HF_HOME/jukebox_hf/decoded`), and
read from there.
"""

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

from jukebox_hf.audio import AudioReader
from jukebox_hf.audio.ffmpeg import DecodedSource
from jukebox_hf.audio.sources import SoundSource, open_source
from jukebox_hf.files import write_atomically, write_text

DECODED_BLOCK_SAMPLES = 1 << 18

# Where the content of a cell is while FFmpeg decodes it; of no interest to anyone.
TEMPORARY_PREFIX = "jukebox_cell_"
LONGEST_REASON = 300


def reason_to_skip(error: Exception) -> str:
    """What to say of a song that gave this error: its message, in one line."""
    text = re.sub(rf"\S*{TEMPORARY_PREFIX}\w*[/\\]", "", str(error))
    return " ".join(text.split())[:LONGEST_REASON] or type(error).__name__


class AudioSource(Protocol):
    """Where the sound of a song is. Its methods raise `OSError` or `ValueError`."""

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was wrong with the sound when it was decoded into a file that is read instead."""
        ...

    def prepare(self) -> tuple["AudioSource", int]:
        """The source to read windows from from now on, and its own sampling rate (Hz)."""
        ...

    def open(self, sampling_rate: int, *, mono: bool) -> AudioReader:
        """A reader, to be closed."""
        ...


@dataclass(frozen=True)
class FileSource:
    """A song in a file of its own.

    Attributes:
        path: the file; made absolute.
        decoded_path: what is read in its stead, for formats that only FFmpeg reads.
        remarks: what was wrong with it when that was decoded.
    """

    path: Path
    decoded_path: Path | None = None
    remarks: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        # Decoders take some relative names for options or addresses, and folders may change.
        object.__setattr__(self, "path", Path(os.path.abspath(self.path)))

    def prepare(self) -> tuple[AudioSource, int]:
        """See `AudioSource`. Decodes formats that only FFmpeg reads, unless that has been done."""
        stat = self.path.stat()
        key = f"{os.path.realpath(self.path)}\0{stat.st_size}\0{stat.st_mtime_ns}"
        return _prepare(self, self.path, key)

    def open(self, sampling_rate: int, *, mono: bool) -> AudioReader:
        """See `AudioSource`."""
        return AudioReader(self.decoded_path or self.path, sampling_rate, mono=mono, warns=False)


class Rows(Protocol):
    """A column of audio in a table, undecoded."""

    def open_audio(self, row: int) -> BinaryIO:
        """The content of the audio file in a row, for reading and seeking."""
        ...


@dataclass(frozen=True)
class RowSource:
    """A song in a cell of a table, as the content of an audio file, read where it is.

    Attributes:
        rows: the column.
        row: which of its cells.
        suffix: of the file that the cell holds, such as ".mp3"; may be empty.
    """

    rows: Rows = field(compare=False)
    row: int
    suffix: str = ""

    @property
    def remarks(self) -> tuple[str, ...]:
        """See `AudioSource`: it is read where it is."""
        return ()

    def prepare(self) -> tuple[AudioSource, int]:
        """See `AudioSource`. Decodes formats that only FFmpeg reads, unless that has been done."""
        try:
            opened = open_source(self._name, self._open)
        except ValueError:
            return self._prepare_with_ffmpeg()
        opened.close()
        return self, opened.sampling_rate

    def open(self, sampling_rate: int, *, mono: bool) -> AudioReader:
        """See `AudioSource`."""
        return AudioReader(
            self._name, sampling_rate, mono=mono, open_content=self._open, warns=False
        )

    @property
    def _name(self) -> str:
        return f"audio{self.suffix}"

    def _open(self) -> BinaryIO:
        return self.rows.open_audio(self.row)

    def _prepare_with_ffmpeg(self) -> tuple[AudioSource, int]:
        with self._open() as file:
            content = file.read()
        with tempfile.TemporaryDirectory(
            prefix=TEMPORARY_PREFIX, ignore_cleanup_errors=True
        ) as folder:
            path = Path(folder) / self._name
            path.write_bytes(content)
            return _prepare(self, path, hashlib.sha256(content).hexdigest())


# --- formats that cannot be entered in the middle ----------------------------------------------


def _prepare(source: AudioSource, path: Path, key: str) -> tuple[AudioSource, int]:
    decoded_path = _decoded_folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.flac"
    remarks_path = decoded_path.with_suffix(".txt")
    if decoded_path.is_file():
        return FileSource(path, decoded_path, _remarks(remarks_path)), _sampling_rate(decoded_path)
    opened = open_source(path)
    try:
        if isinstance(opened, DecodedSource):
            decoded_path.parent.mkdir(parents=True, exist_ok=True)
            remarks = tuple(" ".join(note.split()) for note in opened.notes)
            if remarks:
                write_text(remarks_path, "\n".join(remarks) + "\n")
            write_atomically(decoded_path, lambda temporary: _write_flac(temporary, opened))
            source = FileSource(path, decoded_path, remarks)
        return source, opened.sampling_rate
    finally:
        opened.close()


def _remarks(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, ValueError):
        return ()


def _decoded_folder() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HOME) / "jukebox_hf" / "decoded"


def _sampling_rate(path: Path) -> int:
    opened = open_source(path)
    try:
        return opened.sampling_rate
    finally:
        opened.close()


def _write_flac(path: Path, source: SoundSource) -> None:
    """Write what FFmpeg has decoded, as 24-bit integers."""
    import soundfile

    with soundfile.SoundFile(
        path, "w", source.sampling_rate, source.channels, format="FLAC", subtype="PCM_24"
    ) as file:
        for start in range(0, source.num_samples, DECODED_BLOCK_SAMPLES):
            file.write(_to_int32(source.read(start, DECODED_BLOCK_SAMPLES)))


def _to_int32(samples: Any) -> Any:
    """Floats in [-1, 1] as 24-bit integers in the upper bits of 32; soundfile's own scaling of
    floats (by 2 ** 23 - 1) would round them."""
    integers = np.clip(np.rint(samples * 2.0**23), -(2**23), 2**23 - 1).astype(np.int32)
    return integers << 8
