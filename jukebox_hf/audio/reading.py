"""Reading audio files: whole, from here to there, or as exact windows for training.

Paths go in; tensors (channels, samples) come out, float32 and at the sampling rate asked for, or
the file's own.
Positions are always counted at that rate, from the beginning of the file, and a window equals the
same samples of the whole file: only as much of the file is decoded and resampled as it needs.
"""

import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
import soundfile
import torch
from torch import Tensor

from jukebox_hf.audio import ffmpeg
from jukebox_hf.audio.resampling import (
    Quality,
    Samples,
    check_sampling_rate,
    crop_bounds,
    resample,
    resample_samples,
    resampled_length,
)
from jukebox_hf.audio.sources import (
    BLOCK_SAMPLES,
    check_file,
    open_source,
    reason_of,
    unreadable,
)
from jukebox_hf.audio.splicing import OpenContent

logger = logging.getLogger(__name__)

SILENCE_PEAK = 1e-3  # -60 dB: nothing that one would hear
LOUD_PEAK = 2.0  # of full scale; decoders of lossy formats overshoot by less


Cut = Literal["resampled", "file"]


class AudioInfo(NamedTuple):
    """What an audio file is."""

    duration_seconds: float
    sampling_rate: int
    channels: int
    format: str


class AudioWindow(NamedTuple):
    """Samples of a file, and how many of them the file did not have."""

    audio: Tensor  # (channels, samples) float32
    missing_samples: int  # zeros at the end, because the file ends earlier


def audio_info(path: str | os.PathLike[str]) -> AudioInfo:
    """Length, rate, channels and format of an audio file.

    The length is found out, not taken from the header; formats that need FFmpeg are decoded for it.
    Raises `OSError` or `ValueError` with one sentence, like `load_audio`.
    """
    source = open_source(path)
    try:
        duration = source.num_samples / source.sampling_rate
        return AudioInfo(duration, source.sampling_rate, source.channels, source.format)
    finally:
        source.close()


def load_audio(
    path: str | os.PathLike[str],
    sampling_rate: int | None = None,
    *,
    start_seconds: float = 0.0,
    end_seconds: float | None = None,
    mono: bool = True,
    cut: Cut = "resampled",
    quality: Quality = "VHQ",
    round_up: bool = False,
    normalize: bool = False,
) -> Tensor:
    """Read a file, or the part of it between two times, as (channels, samples) float32.

    What is asked for happens in this order: channels are mixed, the part is cut (with
    `cut="file"`), resampled, cut (with `cut="resampled"`), divided by its peak. `cut="file",
    quality="HQ", round_up=True, normalize=True` is what jukemirlib does with librosa 0.10 and
    later, bit for bit.

    Args:
        path: a file in any format; see the package's docstring.
        sampling_rate: what to resample to, samples per second; None: nothing is resampled, and
            `audio_info(path).sampling_rate` says what the file has.
        start_seconds, end_seconds: the part to read; None reads to the end. A file that ends before
            `end_seconds` gives what it has.
        mono: mix all channels down to their mean, giving (1, samples).
        cut: where the part begins and ends. "resampled": at samples of `sampling_rate`, to which
            times are rounded; the part equals the same part of the whole file. "file": at samples
            of the file's own rate, times are cut off to whole ones, and the part is resampled by
            itself, as librosa does.
        quality: of the resampler, see `resample`; goes with a `sampling_rate`.
        round_up: with `cut="file"` and a `sampling_rate`, end with a zero where the length is
            rounded up; see `resample`.
        normalize: divide by the largest absolute sample of what is returned, unless that is 0.

    What is wrong with a file that can be read in spite of it is logged as a warning: sound that is
    missing or damaged, with its place and length; levels that no sound has; silence.

    Raises `OSError` for a file that is not there, `ValueError` for one that is not audio, holds no
    samples, or ends before `start_seconds`, and for what has no effect.
    """
    if cut not in ("resampled", "file"):
        raise ValueError(f"cut must be 'resampled' or 'file', got {cut!r}")
    if round_up and cut != "file":
        raise ValueError("round_up goes with cut='file': otherwise the file's length decides")
    if sampling_rate is None and (quality != "VHQ" or round_up):
        setting = "round_up" if round_up else "quality"
        raise ValueError(f"{setting} has no effect where nothing is resampled; give a rate as well")
    with AudioReader(path, sampling_rate, mono=mono) as reader:
        sampling_rate = reader.sampling_rate
        if cut == "file":
            first, last = reader.native_part(start_seconds, end_seconds)
            native = reader.read_native(first, last - first)
            audio = resample(
                native, reader.native_rate, sampling_rate, quality=quality, round_up=round_up
            )
        elif quality != "VHQ":
            # of the other qualities a crop is not the same part of the whole
            offset, stop = reader.part(start_seconds, end_seconds)
            native = reader.read_native(0, reader.native_samples)
            whole = resample(native, reader.native_rate, sampling_rate, quality=quality)
            audio = whole[:, offset:stop].clone()
        else:
            audio = _read_part(reader, start_seconds, end_seconds)
        reader.warn_of_level()
    if audio.shape[1] == 0:
        raise ValueError(f"{path} holds no samples that can be decoded; the file is damaged")
    return peak_normalize(audio) if normalize else audio


def _read_part(reader: "AudioReader", start_seconds: float, end_seconds: float | None) -> Tensor:
    """The part between two times, cut after resampling, with a warning if it is shorter."""
    offset, stop = reader.part(start_seconds, end_seconds)
    audio = reader.read_available(offset, stop - offset)
    if audio.shape[1] < stop - offset:
        logger.warning(
            "%s ends after %.2f seconds, although its header promises %.2f",
            reader.path,
            (offset + audio.shape[1]) / reader.sampling_rate,
            reader.num_samples / reader.sampling_rate,
        )
    return audio


def peak_normalize(audio: Tensor) -> Tensor:
    """Audio divided by its largest absolute sample; silence as it is."""
    peak = audio.abs().max()
    return audio / peak if peak > 0 else audio


def _check_times(start_seconds: float, end_seconds: float | None) -> None:
    if not (math.isfinite(start_seconds) and start_seconds >= 0):
        raise ValueError(f"start_seconds must be 0 or more, got {start_seconds!r}")
    if end_seconds is None:
        return
    if not (math.isfinite(end_seconds) and end_seconds > start_seconds):
        raise ValueError(
            f"end_seconds must be more than start_seconds ({start_seconds:g}), got {end_seconds!r}"
        )


class AudioReader:
    """An open song, from which windows are cut at exact offsets.

    Args:
        path: a file in any format.
        sampling_rate: what windows are resampled to; offsets and lengths are counted at this rate.
            None: the file's own.
        mono: mix all channels down to their mean.
        open_content: opens the file, for one that is somewhere else than on disk, such as in a
            table; `path` then only names it. Formats that need FFmpeg are not read so.
        warns: log what is wrong with the file as soon as it shows; else it stands in `notes` only.

    Attributes:
        num_samples: length at `sampling_rate`. A damaged file may hold less.
        channels: of the windows: 1 if `mono`.
        native_rate, native_samples: sampling rate (Hz) and length of the file itself.

    Raises like `load_audio`. One reader serves one thread; it is cheap to open except for formats
    that need FFmpeg, which are decoded once to find out how long they are.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        sampling_rate: int | None,
        *,
        mono: bool = True,
        open_content: OpenContent | None = None,
        warns: bool = True,
    ) -> None:
        if sampling_rate is not None:
            check_sampling_rate(sampling_rate)
        self.path = Path(path)
        self._mono = mono
        self._warns = warns
        self._num_said = 0
        self._peak = 0.0  # of what was read so far
        self._mixed_peak = 0.0
        self._source = open_source(path, open_content)
        self.channels = 1 if mono else self._source.channels
        self.native_rate = self._source.sampling_rate
        self.native_samples = self._source.num_samples
        self.sampling_rate = self.native_rate if sampling_rate is None else sampling_rate
        self.num_samples = resampled_length(
            self.native_samples, self.native_rate, self.sampling_rate
        )
        if self.num_samples <= 0:
            self.close()
            raise ValueError(f"{path} holds no samples, expected audio")
        self._warn()

    @property
    def notes(self) -> tuple[str, ...]:
        """What is wrong with the file as far as it shows, a sentence each."""
        return tuple(f"{self.path}: {note}" for note in self.remarks)

    @property
    def remarks(self) -> tuple[str, ...]:
        """`notes` without the name of the file."""
        return tuple(self._source.notes)

    def warn_of_level(self) -> None:
        """Log that what was read so far is silent, or far too loud, if it is."""
        note = self.level_note()
        if note is not None:
            logger.warning("%s", note)

    def level_note(self) -> str | None:
        """That what was read so far is silent, or far too loud, if it is."""
        remark = self.level_remark()
        return None if remark is None else f"{self.path}: {remark}"

    def level_remark(self) -> str | None:
        """`level_note` without the name of the file."""
        if self._peak > LOUD_PEAK:
            return f"it reaches {self._peak:,.3g} times full scale"
        if self._peak < SILENCE_PEAK:
            return "it is silent, there is nothing to hear in what was read of it"
        if self._mixed_peak < min(SILENCE_PEAK, self._peak / 100):
            return (
                "its channels cancel each other out, so that it is silent when mixed down to one; "
                "give it one of its channels"
            )
        return None

    def part(self, start_seconds: float = 0.0, end_seconds: float | None = None) -> tuple[int, int]:
        """First sample, and the one after the last, of the part between two times.

        None, and a time past the end, mean the end of the file as its header says it. Raises
        `ValueError` for times in the wrong order, or a part that begins after the end.
        """
        _check_times(start_seconds, end_seconds)
        start = round(start_seconds * self.sampling_rate)
        if start >= self.num_samples:
            raise ValueError(
                f"{self.path} lasts {self.num_samples / self.sampling_rate:.2f} seconds, but its "
                f"part from {start_seconds:g} seconds on was asked for"
            )
        stop = self.num_samples
        if end_seconds is not None:
            stop = min(stop, max(round(end_seconds * self.sampling_rate), start + 1))
        return start, stop

    def read(self, offset: int, num_samples: int) -> AudioWindow:
        """The samples [offset, offset + num_samples) of the resampled file.

        Always exactly `num_samples` long: past the end of the file there are zeros, and the result
        says how many. Raises `ValueError` for negative numbers, for a damaged file, and for samples
        that are not finite numbers.
        """
        found = self.read_available(offset, num_samples)
        missing = num_samples - found.shape[1]
        return AudioWindow(torch.nn.functional.pad(found, (0, missing)), missing)

    def read_available(self, offset: int, num_samples: int) -> Tensor:
        """Like `read`, but without zeros: shorter where the file ends."""
        if offset < 0 or num_samples < 0:
            raise ValueError(
                f"offset and num_samples must be 0 or more, got {offset} and {num_samples}"
            )
        rate = self._source.sampling_rate
        start, stop, skip = crop_bounds(offset, num_samples, rate, self.sampling_rate)
        resampled = resample_samples(self._read_mixed(start, stop), rate, self.sampling_rate)
        found = resampled[skip : skip + num_samples].T
        return torch.from_numpy(np.array(found, order="C"))

    def native_part(
        self, start_seconds: float = 0.0, end_seconds: float | None = None
    ) -> tuple[int, int]:
        """As `part`, in samples of the file's own rate, with times cut off to whole ones.

        Start and length are cut off each by itself, as librosa does with an offset and a duration.
        """
        _check_times(start_seconds, end_seconds)
        rate, stop = self.native_rate, self.native_samples
        start = int(start_seconds * rate)
        if start >= stop:
            raise ValueError(
                f"{self.path} lasts {stop / rate:.2f} seconds, but its part from {start_seconds:g} "
                "seconds on was asked for"
            )
        if end_seconds is not None:
            duration = round(end_seconds - start_seconds, 9)  # 0.3 - 0.1 is a little less than 0.2
            stop = min(stop, start + max(1, int(duration * rate)))
        return start, stop

    def read_native(self, start: int, num_samples: int) -> Tensor:
        """Samples of the file at its own rate, (channels, samples): fewer where it ends."""
        if start < 0 or num_samples < 0:
            raise ValueError(
                f"start and num_samples must be 0 or more, got {start} and {num_samples}"
            )
        stop = min(start + num_samples, self.native_samples)
        return torch.from_numpy(np.array(self._read_mixed(start, stop).T, order="C"))

    def blocks(
        self, num_samples: int, *, offset: int = 0, stop: int | None = None
    ) -> Iterator[Tensor]:
        """The file from `offset` to `stop`, in order, `num_samples` at a time, the last shorter.

        Needs memory for one block only.
        """
        if num_samples < 1:
            raise ValueError(f"num_samples must be 1 or more, got {num_samples}")
        stop = self.num_samples if stop is None else min(stop, self.num_samples)
        for position in range(offset, stop, num_samples):
            wanted = min(num_samples, stop - position)
            audio = self.read_available(position, wanted)
            if audio.shape[1]:
                yield audio
            if audio.shape[1] < wanted:
                return  # the header promised more

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()

    def _warn(self) -> None:
        """Log the notes that are new."""
        if self._warns:
            for note in self.notes[self._num_said :]:
                logger.warning("%s", note)
            self._num_said = len(self._source.notes)

    def _read_mixed(self, start: int, stop: int) -> Samples:
        """Samples [start, stop) at the file's own rate, mixed down block by block."""
        blocks: list[Samples] = []
        for position in range(start, stop, BLOCK_SAMPLES):
            wanted = min(BLOCK_SAMPLES, stop - position)
            block = self._source.read(position, wanted)
            self._warn()
            if not np.isfinite(block).all():
                first = position + int(np.argmin(np.isfinite(block).all(axis=1)))
                raise ValueError(
                    f"{self.path} holds samples that are not finite numbers, the first at "
                    f"{first / self._source.sampling_rate:.2f} seconds"
                )
            short = len(block) < wanted
            self._peak = max(self._peak, _peak(block))
            if self._mono and block.shape[1] > 1:
                block = block.mean(axis=1, keepdims=True, dtype=np.float32)
                self._mixed_peak = max(self._mixed_peak, _peak(block))
            else:
                self._mixed_peak = self._peak
            blocks.append(block)
            if short:
                break
        if not blocks:
            return np.zeros((0, self.channels), dtype=np.float32)
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _peak(samples: Samples) -> float:
    return max(float(samples.max()), -float(samples.min())) if samples.size else 0.0


def mix_down(audio: Tensor) -> Tensor:
    """Mean of all channels: (channels, samples) -> (1, samples)."""
    if audio.ndim != 2 or audio.shape[0] == 0:
        raise ValueError(f"audio must be (channels, samples), got shape {tuple(audio.shape)}")
    return audio.mean(dim=0, keepdim=True)


def read_tags(path: str | os.PathLike[str]) -> dict[str, str]:
    """The tags of an audio file by lower-case name (`title`, `artist`, `genre`, `comment`...).

    Empty when it has none. Raises like `load_audio`.
    """
    file = Path(path)
    check_file(file)
    try:
        with soundfile.SoundFile(os.fspath(file)) as opened:
            tags: dict[str, str] = opened.copy_metadata()
            return tags
    except soundfile.LibsndfileError as error:
        reason = reason_of(error)
    except TypeError:
        reason = "it has no header"
    try:
        return ffmpeg.probe_tags(file)
    except (ffmpeg.FFmpegError, ffmpeg.FFmpegMissingError) as error:
        raise unreadable(file, reason, error) from None
