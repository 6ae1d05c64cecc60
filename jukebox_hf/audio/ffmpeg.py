"""The formats that soundfile lacks (m4a, aac, wma, the sound of a video), through FFmpeg.

FFmpeg comes as the package `av` (`pip install "jukebox-hf[formats]"`), or as the programs `ffmpeg`
and `ffprobe` on the PATH; `av` is taken where both are there, and the programs where it lacks
something. Both decode from the beginning, in order and as floats, in memory that does not grow;
what lies in front of a part is decoded and dropped, so that a part is that slice of the whole. How
long a file is they find out by decoding it: what such files say of themselves is often a guess.

A file is opened by its absolute path, as a file and nothing else, and only in formats that hold
their sound themselves: its name or its content cannot make FFmpeg open anything else.
"""

import json
import os
import shutil
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import numpy as np

from jukebox_hf.audio.resampling import Samples
from jukebox_hf.audio.splicing import ends_early

INSTALL_HINT = (
    'this format needs FFmpeg: run `pip install "jukebox-hf[formats]"`, or install it with '
    "`apt install ffmpeg`, `brew install ffmpeg`, `winget install ffmpeg` or "
    "`conda install ffmpeg`"
)
# What people name such files; any other suffix is tried as well when soundfile gives up.
SUFFIXES = frozenset(
    {".m4a", ".m4b", ".mp4", ".aac", ".wma", ".webm", ".mkv", ".mka", ".mov", ".avi", ".ac3"}
    | {".amr", ".3gp", ".ape", ".wv", ".m4v", ".wmv", ".flv", ".ts", ".dts", ".tta", ".alac"}
    | {".m2ts", ".mpg", ".mpeg", ".vob", ".eac3", ".tak", ".mpc", ".adts"}
)
# Playlists and their kin, which name other files, are not among these.
DEMUXERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,asf,asf_o,aac,avi,flv,mpegts,mpeg,mpegvideo,ogg,wav,w64,"
    "flac,mp3,aiff,au,caf,ac3,eac3,dts,dtshd,truehd,mlp,amr,amrnb,amrwb,ape,wv,tta,tak,mpc,mpc8,"
    "dsf,iff,voc,gsm,rm,loas,oma,xwma,nut,ivf,live_flv"
)
SILENT_SECONDS = 60.0  # FFmpeg that neither takes nor gives anything for so long is ended
BLOCK_SAMPLES = 1 << 16
BIT_RATE = 256_000
# Length in a header that was not guessed from the size; a little less is no loss.
GUESSED = frozenset({"aac", "mp3", "ac3", "eac3", "dts", "amr", "mpegts", "mpeg"})
MISSING_SECONDS = 0.5
ASF_MARK = bytes.fromhex("3026b2758e66cf11")
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
SHORTEST_GAP, LONGEST_GAP = 0.05, 600.0  # seconds between packets that count as lost
BARE = frozenset({"aac", "mp3", "ac3", "eac3", "dts"})  # frames, and nothing around them


class FFmpegMissingError(Exception):
    """FFmpeg, or a part of it, is not there; the message says what to install."""


class FFmpegError(Exception):
    """FFmpeg could not do it; the message is its own, in one line."""


class Probe(NamedTuple):
    """What a file says of its first sound."""

    sampling_rate: int
    channels: int
    promised_seconds: float | None  # None where it would be a guess
    tags: dict[str, str]


@dataclass
class Damage:
    """What goes wrong while a file is decoded."""

    notes: list[str] = field(default_factory=list)  # each the end of a sentence
    seconds: float = 0.0  # that are missing inside of the file, as far as is known


class Backend(Protocol):
    """One of the two ways to FFmpeg."""

    def probe(self, path: Path) -> Probe: ...

    def decode(self, path: Path, found: Probe, damage: Damage) -> Iterator[Samples]:
        """Blocks (samples, channels) in order; what goes wrong is added to `damage`."""
        ...

    def encode(self, job: "Encoding") -> None: ...


class Encoding(NamedTuple):
    """What is to be written."""

    path: Path
    blocks: Iterator[Samples]
    channels: int
    sampling_rate: int
    container: str
    codec: str
    tags: Mapping[str, str]


class DecodedSource:
    """A file that FFmpeg decodes from its beginning; see `sources.Source`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.notes: list[str] = []
        self.is_float = True
        self.format = path.suffix.lower().lstrip(".") or "ffmpeg"
        self._backend, self._found = _first_that_can(path)
        self.sampling_rate = self._found.sampling_rate
        self.channels = self._found.channels
        self._blocks: Iterator[Samples] | None = None
        self._recent: Samples = np.zeros((0, self.channels), dtype=np.float32)
        self._position = 0  # after the last of `_recent`
        self.num_samples = self._count()

    def _count(self) -> int:
        stat = self._path.stat()
        key = (os.path.realpath(self._path), stat.st_size, stat.st_mtime_ns)
        if key not in _COUNTED:
            if len(_COUNTED) >= 4096:
                _COUNTED.clear()
            damage = Damage()
            total = sum(map(len, self._backend.decode(self._path, self._found, damage)))
            end = total / self.sampling_rate + damage.seconds
            promised = _asf_seconds(self._path) or self._found.promised_seconds
            if promised is not None and end < promised - MISSING_SECONDS:
                damage.notes.append(ends_early(end, promised))
            _COUNTED[key] = (total, tuple(damage.notes))
        total, said = _COUNTED[key]
        self.notes.extend(said)
        return total

    def read(self, start: int, num_samples: int) -> Samples:
        """Samples [start, start + num_samples), fewer at the end of the file."""
        num_samples = max(0, min(num_samples, self.num_samples - start))
        if self._blocks is None or start < self._position - len(self._recent):
            self._blocks = self._backend.decode(self._path, self._found, Damage())
            self._recent, self._position = self._recent[:0], 0
        kept = [self._recent]
        while self._position < start + num_samples:
            block = next(self._blocks, None)
            if block is None:
                break
            kept.append(block)
            self._position += len(block)
            while len(kept) > 1 and self._position - sum(map(len, kept[1:])) <= start:
                kept.pop(0)
        decoded = kept[0] if len(kept) == 1 else np.concatenate(kept)
        first = max(0, start - (self._position - len(decoded)))
        self._recent = decoded[first:].copy()  # whoever reads on may begin a little earlier
        return self._recent[:num_samples].copy()

    def close(self) -> None:
        """Let go of the file."""
        close = getattr(self._blocks, "close", None)
        if close is not None:
            close()
        self._blocks = None


_COUNTED: dict[tuple[str, int, int], tuple[int, tuple[str, ...]]] = {}


def probe(path: Path) -> tuple[int, int, float]:
    """Sampling rate, channels and seconds of a file's sound; it is decoded once to find out."""
    source = DecodedSource(path)
    try:
        return source.sampling_rate, source.channels, source.num_samples / source.sampling_rate
    finally:
        source.close()


def _asf_seconds(path: Path) -> float | None:
    """The length in the opening of a .wma or .wmv; FFmpeg takes it from the file's size instead.

    Source: Advanced Systems Format, section 3.2, File Properties Object.
    """
    with path.open("rb") as file:
        head = file.read(1 << 14)
    at = head.find(ASF_PROPERTIES)
    if not head.startswith(ASF_MARK) or at < 0 or len(head) < at + 92:
        return None
    played, _, preroll, flags = struct.unpack("<QQQI", head[at + 64 : at + 92])
    is_live = flags & 1  # then the lengths are not known
    return None if is_live else max(0.0, float(played / 1e7 - preroll / 1e3)) or None


def probe_tags(path: Path) -> dict[str, str]:
    """The tags of a file by lower-case name, as FFmpeg sees them."""
    return _first_that_can(path)[1].tags


def encode(
    path: Path,
    blocks: Iterator[Samples],
    channels: int,
    sampling_rate: int,
    *,
    container: str,
    codec: str,
    tags: Mapping[str, str],
) -> None:
    """Write blocks (samples, channels) of floats in [-1, 1], a second or so each, by FFmpeg."""
    job = Encoding(path, blocks, channels, sampling_rate, container, codec, tags)
    _backends()[0].encode(job)


def check_installed() -> None:
    """Raise `FFmpegMissingError` unless FFmpeg is there in one of its forms."""
    _backends()


def _backends() -> list[Backend]:
    found: list[Backend] = []
    if _import_av() is not None:
        found.append(Library())
    if all(shutil.which(program) for program in ("ffmpeg", "ffprobe")):
        found.append(Program())
    if not found:
        raise FFmpegMissingError(INSTALL_HINT)
    return found


def _import_av() -> Any:
    """The package `av`, or None."""
    try:
        import av
        import av.error
    except ImportError:
        return None
    av.logging.set_level(None)
    return av


def _first_that_can(path: Path) -> tuple[Backend, Probe]:
    reason: FFmpegError | None = None
    for backend in _backends():
        try:
            return backend, backend.probe(path)
        except FFmpegError as error:
            reason = reason or error
    assert reason is not None
    raise reason


def _clean_tags(tags: Mapping[Any, Any]) -> dict[str, str]:
    return {str(name).lower(): str(value) for name, value in tags.items()}


def _check_stream(rate: int, channels: int) -> None:
    if not (1 <= channels <= 64 and 1000 <= rate <= 1_000_000):
        raise FFmpegError(f"it has {channels} channels at {rate} Hz")


class Library:
    """FFmpeg as the package `av`."""

    def probe(self, path: Path) -> Probe:
        with self._open(path) as container:
            stream = self._sound(container)
            context = stream.codec_context
            rate, channels = context.sample_rate or 0, context.channels or 0
            _check_stream(rate, channels)
            return Probe(
                rate,
                channels,
                self._promise(container, stream),
                _clean_tags({**stream.metadata, **container.metadata}),
            )

    def decode(self, path: Path, found: Probe, damage: Damage) -> Iterator[Samples]:
        av = _import_av()
        place = found.sampling_rate
        done = 0
        with self._open(path) as container:
            stream = self._sound(container)
            resampler, shape, layout = None, None, None
            losses = _Losses(container)
            try:
                for packet in container.demux(stream):
                    try:
                        frames = packet.decode()
                    except av.error.FFmpegError:
                        losses.failed(packet, done / place)
                        continue
                    losses.read(packet, done / place)
                    for frame in frames:
                        layout = layout or frame.layout.name
                        now = (frame.format.name, frame.layout.name, frame.sample_rate)
                        if resampler is None or now != shape:
                            if resampler is not None:
                                yield from self._arrays(resampler.resample(None), found)
                            shape = now
                            resampler = av.AudioResampler("flt", layout, found.sampling_rate)
                        frame.pts = None
                        for array in self._arrays(resampler.resample(frame), found):
                            done += len(array)
                            yield array
                if resampler is not None:
                    yield from self._arrays(resampler.resample(None), found)
            except av.error.FFmpegError as error:
                damage.notes.append(
                    f"it cannot be read after {done / place:.2f} seconds ({_last_line(error)})"
                )
        losses.add_to(damage, done / place)

    def encode(self, job: Encoding) -> None:
        av = _import_av()
        layout = "mono" if job.channels == 1 else "stereo"
        try:
            with av.open(os.fspath(job.path.absolute()), "w", format=job.container) as container:
                container.metadata.update(job.tags)
                stream = container.add_stream(job.codec, rate=job.sampling_rate, layout=layout)
                stream.bit_rate = BIT_RATE
                written = 0
                for block in job.blocks:
                    frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), "flt", layout)
                    frame.sample_rate = job.sampling_rate
                    frame.pts = written
                    written += len(block)
                    container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
        except (av.error.FFmpegError, ValueError) as error:
            if isinstance(error, OSError) and error.errno:
                raise OSError(error.errno, os.strerror(error.errno), os.fspath(job.path)) from None
            raise FFmpegError(_last_line(error)) from None

    @staticmethod
    def _open(path: Path) -> Any:
        av = _import_av()
        options = {"protocol_whitelist": "file", "format_whitelist": DEMUXERS}
        try:
            return av.open(
                f"file:{os.path.abspath(path)}",
                options=options,
                metadata_errors="replace",
                timeout=SILENT_SECONDS,
            )
        except (av.error.FFmpegError, ValueError) as error:
            raise FFmpegError(_last_line(error)) from None

    @staticmethod
    def _sound(container: Any) -> Any:
        for stream in container.streams.audio:
            if stream.codec_context is not None:
                return stream
        raise FFmpegError("it holds no sound")

    @staticmethod
    def _promise(container: Any, stream: Any) -> float | None:
        if set(container.format.name.split(",")) & GUESSED:
            return None
        if stream.duration:
            return float(stream.duration * stream.time_base)
        if container.duration and len(container.streams) == 1:
            return float(container.duration) / 1e6
        return None

    @staticmethod
    def _arrays(frames: Any, found: Probe) -> Iterator[Samples]:
        for frame in frames:
            yield frame.to_ndarray().reshape(-1, found.channels)


class _Losses:
    """What is lost, in seconds: of bare frames by their bytes, else by the times of the packets."""

    def __init__(self, container: Any) -> None:
        self._is_bare = container.format.name in BARE
        self._size = container.size or 0
        self._first_position: int | None = None
        self._good_bytes = 0
        self._seconds = 0.0
        self._place: float | None = None
        self._end: float | None = None  # of the packet before

    def read(self, packet: Any, place: float) -> None:
        if self._first_position is None:
            self._first_position = packet.pos or 0
        self._good_bytes += packet.size
        gap = self._gap_before(packet)
        if gap > 0:
            self._lose(gap, place)

    def failed(self, packet: Any, place: float) -> None:
        duration = float((packet.duration or 0) * (packet.time_base or 0))
        self._lose(duration + self._gap_before(packet), place)

    def _lose(self, seconds: float, place: float) -> None:
        self._place = place if self._place is None else self._place
        self._seconds += seconds

    def _gap_before(self, packet: Any) -> float:
        """Seconds of which there is no packet: the container found none, or nothing it could be."""
        if self._is_bare or packet.pts is None or not packet.duration:
            return 0.0
        start = float(packet.pts * packet.time_base)
        gap = 0.0 if self._end is None else start - self._end
        self._end = start + float(packet.duration * packet.time_base)
        # a jump is where recordings were joined
        return gap if SHORTEST_GAP < gap < LONGEST_GAP else 0.0

    def add_to(self, damage: Damage, seconds: float) -> None:
        """Say what was lost of a file that gave so many seconds."""
        if self._place is None:
            return
        if self._is_bare and self._good_bytes:
            rest = self._size - (self._first_position or 0) - self._good_bytes
            self._seconds = max(self._seconds, rest / self._good_bytes * seconds)
        damage.seconds += self._seconds
        damage.notes.append(
            f"{self._seconds:.2f} seconds from {self._place:.2f} seconds on are damaged and were "
            "left out"
        )


class Program:
    """FFmpeg as programs on the PATH."""

    SAFE = ("-protocol_whitelist", "file,pipe", "-format_whitelist", DEMUXERS)

    def probe(self, path: Path) -> Probe:
        command = ["ffprobe", "-v", "error", *self.SAFE, "-of", "json", "-show_format"]
        command += ["-show_streams", "-select_streams", "a", self._name(path)]
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=SILENT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise FFmpegError(f"it took longer than {SILENT_SECONDS:g} seconds") from None
        if done.returncode:
            raise FFmpegError(_last_line(done.stderr.decode(errors="replace")))
        try:
            found = json.loads(done.stdout)
            stream = found["streams"][0]
            rate, channels = int(stream["sample_rate"]), int(stream["channels"])
        except (ValueError, LookupError, TypeError):
            raise FFmpegError("it holds no sound") from None
        _check_stream(rate, channels)
        whole = found.get("format", {})
        promised: float | None = None
        if not set(str(whole.get("format_name", "")).split(",")) & GUESSED:
            duration = stream.get("duration")
            if duration is None and whole.get("nb_streams") == 1:
                duration = whole.get("duration")
            promised = float(duration) if duration is not None else None
        tags = {**stream.get("tags", {}), **whole.get("tags", {})}
        return Probe(rate, channels, promised, _clean_tags(tags))

    def decode(self, path: Path, found: Probe, damage: Damage) -> Iterator[Samples]:
        command = ["ffmpeg", "-nostdin", "-v", "error", *self.SAFE, "-i", self._name(path)]
        command += ["-map", "0:a:0", "-ar", str(found.sampling_rate), "-ac", str(found.channels)]
        command += ["-f", "f32le", "-c:a", "pcm_f32le", "pipe:1"]
        frame_bytes = 4 * found.channels
        done = 0
        with tempfile.TemporaryFile() as said, _Running(command, said) as running:
            assert running.process.stdout is not None
            while data := running.read(BLOCK_SAMPLES * frame_bytes):
                data = data[: len(data) // frame_bytes * frame_bytes]
                done += len(data) // frame_bytes
                yield np.frombuffer(data, "<f4").reshape(-1, found.channels)
            failed = running.process.wait() != 0
            said.seek(0)
            lines = said.read(1 << 16).decode(errors="replace").strip()
        seconds = done / found.sampling_rate
        if running.was_ended:
            damage.notes.append(f"FFmpeg stood still after {seconds:.2f} seconds and was ended")
        elif failed and done == 0:
            raise FFmpegError(_last_line(lines))
        elif lines:
            damage.notes.append(f"parts of it are damaged and were left out ({_last_line(lines)})")

    def encode(self, job: Encoding) -> None:
        command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-f", "f32le"]
        command += ["-ar", str(job.sampling_rate), "-ac", str(job.channels), "-i", "pipe:0"]
        for name, value in job.tags.items():
            command += ["-metadata", f"{name}={value}"]
        command += ["-c:a", job.codec, "-b:a", str(BIT_RATE), "-f", job.container]
        command.append(self._name(job.path))
        command.remove("-nostdin")
        with tempfile.TemporaryFile() as said, _Running(command, said, feeds=True) as running:
            for block in job.blocks:
                if not running.write(block.astype("<f4", copy=False).tobytes()):
                    break
            failed = running.finish() != 0
            said.seek(0)
            lines = said.read(1 << 16).decode(errors="replace")
        if failed or running.was_ended:
            if "No space left" in lines:
                raise OSError(f"cannot write {job.path}: No space left on device")
            raise FFmpegError(_last_line(lines) or "it stood still and was ended")

    @staticmethod
    def _name(path: Path) -> str:
        return f"file:{os.path.abspath(path)}"


class _Running:
    """A program that is ended when nothing moves for `SILENT_SECONDS`, or when it is left."""

    def __init__(self, command: list[str], said: IO[bytes], *, feeds: bool = False) -> None:
        self.was_ended = False
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE if feeds else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if feeds else subprocess.PIPE,
            stderr=said,
        )

    def read(self, num_bytes: int) -> bytes:
        """The next bytes; none at the end."""
        assert self.process.stdout is not None
        with self._watched():
            return self.process.stdout.read(num_bytes)

    def write(self, data: bytes) -> bool:
        """Whether the program took them."""
        assert self.process.stdin is not None
        try:
            with self._watched():
                self.process.stdin.write(data)
        except (BrokenPipeError, OSError):
            return False
        return True

    def finish(self) -> int:
        """Let the program end; its exit code."""
        assert self.process.stdin is not None
        try:
            with self._watched():
                self.process.stdin.close()
                return self.process.wait()
        except OSError:
            return self.process.wait()

    def _watched(self) -> "_Watch":
        return _Watch(self._end)

    def _end(self) -> None:
        self.was_ended = True
        self.process.kill()

    def __enter__(self) -> "_Running":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        self.process.wait()


class _Watch:
    """Calls something when its block takes longer than `SILENT_SECONDS`."""

    def __init__(self, end: Any) -> None:
        self._timer = threading.Timer(SILENT_SECONDS, end)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()


def _last_line(error: object) -> str:
    """FFmpeg's last words, without the pages of banner before them."""
    error = getattr(error, "strerror", None) or error
    lines = [line.strip() for line in str(error).replace("\\n", "\n").splitlines()]
    noise = ("'", "Conversion", "size=", "video:")
    meaningful = [line for line in lines if line and not line.startswith(noise)]
    last = meaningful[-1] if meaningful else type(error).__name__ if error else ""
    return last.split(": 'file:")[0][:200].rstrip(".")
