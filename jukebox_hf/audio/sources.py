"""One open audio file: any run of its samples, at its own rate, exactly as a full decode gives it.

`open_source(path)` tries soundfile and then FFmpeg. Sources give numpy arrays (samples, channels);
resampling and mixing are `reading`'s work. What headers say is not believed: `mp3`, `ogg`, `flac`
and `wav` look through a file first, and where a decoder would be misled it is given the parts that
they found.

Measured with libsndfile 1.2.2: seeking is exact in FLAC and where samples have a fixed size. It is
not in mp3 at low bit rates (up to 5,500 wrong samples, for want of the bits that earlier frames
saved up) nor in ogg/vorbis (shifted on the last page), and both, and opus by 1e-6, suffer when the
file has been read before. Hence `_SteadyFile`, and `_seek_compressed`, which opens such files anew
and enters them early. All other formats (GSM, ADPCM) are decoded from the start.
"""

import os
import struct
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, Self

import numpy as np
import soundfile

from jukebox_hf.audio import ffmpeg, flac, mp3, ogg, wav
from jukebox_hf.audio.resampling import Samples, crop_bounds, resample_samples, resampled_length
from jukebox_hf.audio.splicing import AudioPart, FrameLayout, OpenContent, Spliced, ends_early

BLOCK_SAMPLES = 1 << 18  # read at once, so that a header that lies cannot ask for all the memory
SAMPLING_RATES = range(1000, 1_000_001)  # what a header may say; else it is damaged
MOST_SAMPLES = 1 << 40
# Formats in which going back is slow; of these the last block is kept, for reads that overlap.
COMPRESSED = frozenset({"mp3", "ogg", "opus", "oga"})
# Samples of a fixed size, whatever holds them; seeking is exact in these and in FLAC.
FIXED_SIZE = frozenset(
    {"PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"}
)
# 16 frames reach back over every bit reservoir (511 bytes) and over the decoder's own overlap.
MP3_RUN_UP = 16 * 1152
# Mono MPEG-2 (24 kHz and less): libmpg123 complains on stderr after every seek, so do without.
MP3_SEEKABLE_RATE = 32000
# A page of ogg has at most 255 packets, a packet at most 2048 new samples: the last page is never
# longer than this.
VORBIS_TAIL = 255 * 2048 + 8192
OPENING_BYTES = 1024  # looked at to tell text from audio
# Floats louder than this (24 dB over full scale) are in units of integers.
LOUDEST_FLOAT = 16.0
LOUD_SHARE = 0.01  # beyond full scale, of the samples that are not 0; fewer are clicks
INTEGER_BITS = (16, 24, 32)
PROBES, PROBE_SAMPLES = 256, 1 << 14  # of a file of floats: all of one that lasts a minute
# After damage, so many seconds are left out, more each time, until decoding goes on.
SKIPPED_SECONDS = (0.1, 0.5, 2.0, 10.0)
REMEMBERED_FILES = 4096
# What the files of other formats begin with, whatever they are called.
FOR_FFMPEG = (b"\x1aE\xdf\xa3", b"0&\xb2u", b"FLV")  # Matroska and WebM, wma, Flash
OTHERS = (b"FORM", b".snd", b"dns.", b"riff", b"caff", *FOR_FFMPEG)


class SoundSource(Protocol):
    """An open audio file."""

    format: str  # "wav", "flac", "ogg", "opus", "mp3", ...
    sampling_rate: int
    channels: int
    num_samples: int  # as far as could be found out; a damaged file may hold less
    notes: list[str]  # what is wrong with it, each the end of a sentence
    is_float: bool  # whether samples may lie beyond full scale

    def read(self, start: int, num_samples: int) -> Samples:
        """Samples [start, start + num_samples), fewer at the end of the file."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class _Survey(NamedTuple):
    """What was found out about a file."""

    layout: FrameLayout | None
    scale: float = 1.0


# By path, size and time of the last change.
_SURVEYS: dict[tuple[str, int, int], _Survey] = {}


def open_source(
    path: str | os.PathLike[str], open_content: OpenContent | None = None
) -> SoundSource:
    """Open an audio file of any format.

    With `open_content` the path only names it, and FFmpeg, which wants files, is not tried. Raises
    `FileNotFoundError` or another `OSError` when there is no readable file, `ValueError` with one
    sentence when it is not audio or FFmpeg would be needed and is missing.
    """
    file = Path(path)
    check_file(file, open_content)
    key = _identity(file) if open_content is None else None
    known = _SURVEYS.get(key) if key else None
    layout = known.layout if known else _survey(file, open_content or _opener(file))
    source: SoundSource | None = None
    reason = "Format not recognised"
    try:
        if layout is not None or not _is_for_ffmpeg(file, open_content):
            source = _open_layout(file, open_content, layout)
    except soundfile.LibsndfileError as error:
        reason = reason_of(error)
    except TypeError:
        reason = "it has no header"  # soundfile takes the name .raw for headerless samples
    if source is None and open_content is not None:
        raise ValueError(f"{path} cannot be read as wav, flac, ogg, opus or mp3 ({reason})")
    if source is None:
        try:
            source = ffmpeg.DecodedSource(file)
        except (ffmpeg.FFmpegMissingError, ffmpeg.FFmpegError) as error:
            raise unreadable(file, reason, error) from None
    if layout is not None and layout.share < 1:
        found = source.num_samples / source.sampling_rate
        source.notes.append(ends_early(found, found / layout.share))
    try:
        scale = known.scale if known else _scale(source)
        if key:
            if len(_SURVEYS) >= REMEMBERED_FILES:
                _SURVEYS.clear()
            _SURVEYS[key] = _Survey(layout, scale)
    except BaseException:
        source.close()
        raise
    return source if scale == 1.0 else _ScaledSource(source, scale)


def _identity(path: Path) -> tuple[str, int, int]:
    stat = path.stat()
    return os.path.realpath(path), stat.st_size, stat.st_mtime_ns


def _survey(name: Path, open_content: OpenContent, *, thorough: bool = False) -> FrameLayout | None:
    """How the file is to be read, where its own word cannot be taken."""
    with open_content() as file:
        opening = file.read(12)
        try:
            if opening[:4] in (b"RIFF", b"RF64", b"BW64"):
                return wav.survey(file)
            if opening[:4] == b"OggS":
                return ogg.survey(file)
            if opening[:4] == b"fLaC":
                return flac.survey(file, thorough=thorough)
            if opening[:3] == b"ID3":
                found = flac.survey(file, thorough=thorough)
                return found or mp3.survey(file)
            if _could_be_mp3(name, opening):
                return mp3.survey(file)
            promise = wav.promise(file)
        except (struct.error, IndexError, ValueError, OverflowError):
            return None  # too odd to be looked through: the decoder says what it makes of it
    if promise is not None and promise[0] > promise[1] > 0:
        return FrameLayout((), share=promise[1] / promise[0])
    return None


def _is_for_ffmpeg(path: Path, open_content: OpenContent | None) -> bool:
    """Whether the content is of a format that soundfile lacks, whatever the file is called.

    By the names .mp3 and .wav libsndfile would look for sound in it, and complain on stderr.
    """
    with (open_content or _opener(path))() as file:
        opening = file.read(8)
    is_adts = opening[:1] == b"\xff" and opening[1:2] in (b"\xf0", b"\xf1", b"\xf8", b"\xf9")
    return is_adts or opening[4:8] == b"ftyp" or opening.startswith(FOR_FFMPEG)


def _could_be_mp3(name: Path, opening: bytes) -> bool:
    """A frame at once, or a name that says so: rubbish may stand before the first frame."""
    if opening[:1] == b"\xff":
        return True
    return (
        name.suffix.lower() == ".mp3" and not opening.startswith(OTHERS) and opening[4:8] != b"ftyp"
    )


def _open_layout(
    path: Path, open_content: OpenContent | None, layout: FrameLayout | None
) -> SoundSource:
    parts = layout.parts if layout else ()
    source: SoundSource
    if len(parts) > 1:
        source = JoinedSource(path, open_content, parts)
    else:
        source = SoundFileSource(path, open_content, parts[0] if parts else None)
    source.notes.extend(layout.notes if layout else ())
    return source


def _scale(source: SoundSource) -> float:
    """What the samples must be multiplied by, where they are floats in units of integers."""
    if not source.is_float:
        return 1.0
    step = max(PROBE_SAMPLES, source.num_samples // PROBES)
    peak, num_loud, num_sounding = 0.0, 0, 0
    for start in range(0, source.num_samples, step):
        block = np.nan_to_num(abs(source.read(start, PROBE_SAMPLES)), nan=0, posinf=0)
        if block.size:
            peak = max(peak, float(block.max()))
            num_loud += int(np.count_nonzero(block > 1))
            num_sounding += int(np.count_nonzero(block))
    if peak <= LOUDEST_FLOAT or num_loud < LOUD_SHARE * num_sounding:
        return 1.0
    bits = next((bits for bits in INTEGER_BITS if peak <= 1.05 * 2.0 ** (bits - 1)), None)
    return 1.0 if bits is None else 2.0 ** (1 - bits)


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
    """A file that soundfile reads, or a part of one; see `SoundSource`."""

    def __init__(
        self, path: Path, open_content: OpenContent | None = None, part: AudioPart | None = None
    ) -> None:
        self._path = path
        self._position = 0
        self._open_content = open_content
        self._part = part
        self._content: BinaryIO | None = None  # that is open, where soundfile has not opened it
        self._repaired: SoundSource | None = None
        self.notes: list[str] = []
        self._file = self._open()
        self.format = _format_name(self._file)
        self.sampling_rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.is_float = self._file.subtype in ("FLOAT", "DOUBLE")
        self._seeks = (part is None or part.can_seek) and (
            self.format in ("mp3", "ogg", "opus", "flac") or self._file.subtype in FIXED_SIZE
        )
        # The last samples read, up to `_position`; only of formats in which going back is slow.
        self._keeps_recent = self.format in COMPRESSED or not self._seeks
        self._recent: Samples = np.zeros((0, self.channels), dtype=np.float32)
        if self.sampling_rate not in SAMPLING_RATES:
            self.close()
            raise ValueError(
                f"{path} has a sampling rate of {self.sampling_rate} Hz, expected "
                f"{SAMPLING_RATES.start} to {SAMPLING_RATES.stop - 1}; the file is damaged"
            )
        known = part.num_samples if part is not None else None
        self.num_samples: int = self._file.frames if known is None else known
        layer = self._file.subtype.removeprefix("MPEG_LAYER_")
        is_guess = layer in ("I", "II") or (layer == "III" and self.format != "mp3")
        if is_guess or not 0 <= self.num_samples < MOST_SAMPLES:
            self.num_samples = self._count()

    def read(self, start: int, num_samples: int) -> Samples:
        """Samples [start, start + num_samples), fewer at the end of the file."""
        if self._repaired is not None:
            return self._repaired.read(start, num_samples)
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
            place = max(self._position, start)
            reason = reason_of(error)
        self._position = -1  # nowhere: the next read starts afresh
        self._recent = self._recent[:0]
        if self.format == "flac" and self._part is None:
            self._repair()
            if self._repaired is not None:
                return self._repaired.read(start, num_samples)
        return self._read_around(start, num_samples, place, reason)

    def close(self) -> None:
        self._file.close()
        if self._content is not None:
            self._content.close()
        if self._repaired is not None:
            self._repaired.close()

    def _repair(self) -> None:
        """Look through all of a FLAC file that turned out to be damaged."""
        layout = _survey(self._path, self._open_content or _opener(self._path), thorough=True)
        if layout is not None and layout.parts:
            self._repaired = JoinedSource(self._path, self._open_content, layout.parts)
            self.notes.extend(layout.notes)

    def _read_around(self, start: int, num_samples: int, place: int, reason: str) -> Samples:
        """What can be decoded before and behind damage, with silence between."""
        samples = np.zeros((num_samples, self.channels), dtype=np.float32)
        before = self._attempt(start, place - start) if place > start else None
        if before is not None:
            samples[: len(before)] = before
        for seconds in SKIPPED_SECONDS:
            resumed = place + round(seconds * self.sampling_rate)
            rest = self._attempt(resumed, start + num_samples - resumed) if self._seeks else None
            if rest is not None and len(rest):
                samples[resumed - start : resumed - start + len(rest)] = rest
                break
        else:
            if place <= start and before is None:
                raise ValueError(
                    f"{self._path} is damaged after {place / self.sampling_rate:.1f} seconds "
                    f"({reason})"
                )
            resumed = start + num_samples
            samples = samples[: place - start]
        self.notes.append(
            f"{(resumed - place) / self.sampling_rate:.2f} seconds after "
            f"{place / self.sampling_rate:.2f} seconds are damaged ({reason})"
        )
        return samples

    def _attempt(self, start: int, num_samples: int) -> Samples | None:
        try:
            self._go_to(start)
            return self._next(num_samples) if num_samples > 0 else None
        except soundfile.LibsndfileError:
            self._position = -1
            self._recent = self._recent[:0]
            return None

    def _count(self) -> int:
        """How many samples come out when all are decoded."""
        total = 0
        try:
            while block := len(self._file.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
                total += block
        except soundfile.LibsndfileError:
            pass
        self._position = -1
        return total

    def _open(self, first_piece: int | None = None) -> Any:
        if self._open_content is None and self._part is None:
            return _SteadyFile(os.fspath(self._path))
        if self._content is not None:
            self._content.close()
        content = (self._open_content or _opener(self._path))()
        if self._part is not None:
            pieces = self._part.pieces
            if first_piece is not None:
                pieces = (*pieces[: self._part.opening_pieces], *pieces[first_piece:])
            content = Spliced(content, pieces)  # type: ignore[assignment]
        self._content = content
        return _SteadyFile(self._content)

    def _go_to(self, start: int) -> None:
        if start == self._position:
            return
        if self._part is not None and self._part.entries:
            self._enter(start)
        elif not self._seeks:
            self._reopen(0, start)
        elif self.format in COMPRESSED:
            self._seek_compressed(start)
        else:
            if self._position < 0:
                self._file.close()
                self._file = self._open()
            self._file.seek(start)
            self._position = start
        while self._position < start:
            if len(self._next(min(BLOCK_SAMPLES, start - self._position))) == 0:
                break
        self._recent = self._recent[:0]  # what was decoded on the way may be inexact

    def _enter(self, start: int) -> None:
        """Begin at the last entry before `start`."""
        assert self._part is not None
        entries = self._part.entries
        position, piece = entries[max(0, bisect_right(entries, (start, MOST_SAMPLES)) - 1)]
        if not position <= self._position <= start:
            self._file.close()
            self._file = self._open(piece)
            self._position = position

    def _seek_compressed(self, start: int) -> None:
        """Go to `start`, or so far before it that decoding from there is exact from `start` on."""
        if self.format == "mp3":
            can_seek = self.sampling_rate >= MP3_SEEKABLE_RATE
            entry = max(0, start - MP3_RUN_UP) if can_seek else 0
        elif self.format == "ogg":
            entry = max(0, min(start, self.num_samples - VORBIS_TAIL))
        else:
            entry = start
        self._reopen(entry, start)

    def _reopen(self, entry: int, start: int) -> None:
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
            if self._keeps_recent:
                self._recent = np.concatenate([self._recent, block])[-BLOCK_SAMPLES:]
        if not blocks:
            return np.zeros((0, self.channels), dtype=np.float32)
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class JoinedSource:
    """Parts of a file, one after the other; see `SoundSource`.

    All become what the best of them is: its sampling rate, its channels.
    """

    def __init__(
        self, path: Path, open_content: OpenContent | None, parts: Sequence[AudioPart]
    ) -> None:
        self.notes: list[str] = []
        opened: list[SoundFileSource | int] = []  # numbers are samples of silence
        try:
            for part in parts:
                if part.pieces:
                    opened.append(SoundFileSource(path, open_content, part))
                else:
                    opened.append(part.num_samples or 0)
        except BaseException:
            _close_all(opened)
            raise
        sounding = [source for source in opened if isinstance(source, SoundFileSource)]
        assert sounding
        self.format = sounding[0].format
        self.sampling_rate = max(source.sampling_rate for source in sounding)
        self.channels = max(source.channels for source in sounding)
        self.is_float = any(source.is_float for source in sounding)
        if len({(source.sampling_rate, source.channels) for source in sounding}) > 1:
            self.notes.append(
                "sampling rate or channels change in it; all became "
                f"{self.sampling_rate} Hz with {self.channels} channels"
            )
        self._sources = opened
        rate = sounding[0].sampling_rate
        lengths = []
        for source in opened:
            if isinstance(source, SoundFileSource):
                rate = source.sampling_rate
            length = source if isinstance(source, int) else source.num_samples
            lengths.append(resampled_length(length, rate, self.sampling_rate))
        self._ends = list(accumulate(lengths))
        self.num_samples = self._ends[-1]

    def read(self, start: int, num_samples: int) -> Samples:
        """Samples [start, start + num_samples), fewer at the end of the file."""
        blocks: list[Samples] = []
        stop = min(start + num_samples, self.num_samples)
        while start < stop:
            index = bisect_right(self._ends, start)
            begin = self._ends[index - 1] if index else 0
            wanted = min(stop, self._ends[index]) - start
            block = self._read_part(self._sources[index], start - begin, wanted)
            missing = wanted - len(block)
            blocks.append(block)
            if missing and index < len(self._sources) - 1:  # keeps what follows in its place
                blocks.append(np.zeros((missing, self.channels), dtype=np.float32))
            elif missing:
                break
            start += wanted
        if not blocks:
            return np.zeros((0, self.channels), dtype=np.float32)
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def _read_part(self, source: SoundFileSource | int, start: int, num_samples: int) -> Samples:
        if isinstance(source, int):
            return np.zeros((num_samples, self.channels), dtype=np.float32)
        rate = source.sampling_rate
        known = len(source.notes)
        first, stop, skip = crop_bounds(start, num_samples, rate, self.sampling_rate)
        block = resample_samples(source.read(first, stop - first), rate, self.sampling_rate)
        self.notes.extend(source.notes[known:])
        block = block[skip : skip + num_samples]
        if source.channels == self.channels:
            return block
        if source.channels > 1:
            block = block.mean(axis=1, keepdims=True, dtype=np.float32)
        return np.repeat(block, self.channels, axis=1)

    def close(self) -> None:
        _close_all(self._sources)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close_all(sources: Sequence[SoundFileSource | int]) -> None:
    for source in sources:
        if isinstance(source, SoundFileSource):
            source.close()


class _ScaledSource:
    """Floats in units of integers, brought to [-1, 1]; see `SoundSource`."""

    def __init__(self, source: SoundSource, scale: float) -> None:
        self._source = source
        self._scale = np.float32(scale)
        self.format = source.format
        self.sampling_rate, self.channels = source.sampling_rate, source.channels
        self.num_samples = source.num_samples
        self.is_float = True
        self.notes = source.notes
        bits = round(1 - np.log2(scale))
        self.notes.append(
            f"its samples are floats in the units of {bits}-bit integers; they were divided by "
            f"{2 ** (bits - 1):,}"
        )

    def read(self, start: int, num_samples: int) -> Samples:
        """Samples [start, start + num_samples), fewer at the end of the file."""
        return self._source.read(start, num_samples) * self._scale

    def close(self) -> None:
        self._source.close()


def _format_name(file: Any) -> str:
    if file.format == "OGG":
        return "opus" if file.subtype == "OPUS" else "ogg" if file.subtype == "VORBIS" else "oga"
    return {"WAVEX": "wav", "RF64": "wav"}.get(file.format, str(file.format).lower())
