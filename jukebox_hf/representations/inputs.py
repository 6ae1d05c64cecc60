"""From audio or codes to pieces of codes, each of which a prior then reads by itself.

An input goes in: a file, a song of a dataset, an array, codes. `Prepared` comes out: its pieces,
with what is worth saying about them. Audio is mixed down, cut at its own rate, resampled and
divided by its peak, in this order, as the tools of music research do.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor

from jukebox_hf.audio import AudioReader, as_audio, peak_normalize, resample
from jukebox_hf.codes import Codes
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.representations.embedding_settings import EmbeddingSettings
from jukebox_hf.representations.embedding_windows import (
    CodeWindow,
    Timing,
    adjacent_windows,
    code_windows,
    fixed_timing,
    piece_starts,
    true_timing,
)
from jukebox_hf.vqvae.network import VQVAENetwork

ENCODED_SECONDS = 10.0  # of a whole song at a time
ENCODED_PIECES = 8  # of equal length at a time
SILENCE_PEAK = 1e-3  # -60 dB of full scale, before anything is divided


@dataclass(frozen=True)
class AudioInput:
    """A recording that is read when its turn comes.

    Attributes:
        name: for messages and names of files.
        open: opens it, mixed down, at a sampling rate; raises `OSError` or `ValueError`.
    """

    name: str
    open: Callable[[int], AudioReader] = field(repr=False)

    @classmethod
    def of_file(cls, path: str | os.PathLike[str], name: str | None = None) -> "AudioInput":
        """The input that an audio file is."""
        file = Path(path)
        return cls(name or str(file), lambda rate: AudioReader(file, rate))


@dataclass(frozen=True)
class ArrayInput:
    """Samples (samples,) or (channels, samples).

    Without a rate they are taken to be what the codec reads: they are neither resampled nor divided
    by their peak. With one, both is done as with a file.
    """

    name: str
    samples: NDArray[np.float32] | Tensor = field(repr=False)
    sampling_rate: int | None = None


@dataclass(frozen=True)
class CodesInput:
    """Codes that were made before."""

    name: str
    codes: Codes = field(repr=False)


Input = AudioInput | ArrayInput | CodesInput


class EmbeddedPiece(NamedTuple):
    """Codes that are embedded by themselves.

    Attributes:
        codes: (codes,) int64.
        upper_codes: those of the level above, for an upsampler.
        num_states: how many states are kept; fewer than codes where audio was padded.
        start_seconds: where it begins in the file.
        windows: the passes over it.
        timings: what the prior is told in each.
    """

    codes: Tensor
    upper_codes: Tensor | None
    num_states: int
    start_seconds: float
    windows: tuple[CodeWindow, ...]
    timings: tuple[Timing, ...]


@dataclass(frozen=True)
class Prepared:
    """An input as pieces of codes."""

    name: str
    pieces: tuple[EmbeddedPiece, ...]
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def num_windows(self) -> int:
        """Passes over all pieces."""
        return sum(len(piece.windows) for piece in self.pieces)


class _Audio(NamedTuple):
    """A piece of audio at the codec's rate, (1, samples), and where it begins in its file."""

    samples: Tensor
    start_seconds: float


class Preparation:
    """Turns inputs into pieces, for one prior, one codec and one set of settings."""

    def __init__(
        self, config: PriorConfig, vqvae: VQVAENetwork | None, settings: EmbeddingSettings
    ) -> None:
        self.config = config
        self.vqvae = vqvae
        self.settings = settings
        self.ratio = config.upper_ratio if config.is_upsampler else 1
        hop = int(config.context_length * settings.hop_fraction) // self.ratio * self.ratio
        self.hop = max(hop, self.ratio)  # in codes

    def __call__(self, source: Input) -> Prepared:
        """The pieces of an input.

        Raises:
            ValueError: for one that is no audio, has other codes, or is shorter than a code or than
                a window.
            OSError: if it is not there.
        """
        if isinstance(source, CodesInput):
            return self._from_codes(source)
        if isinstance(source, ArrayInput):
            native = as_audio(source.samples, f"{source.name}: audio").mean(dim=0, keepdim=True)
            rate = source.sampling_rate or self.config.sampling_rate
            first, last = _part_of_array(native.shape[1], rate, self.settings, source.name)
            native, total = native[:, first:last], native.shape[1]
            exact = source.sampling_rate is None
        else:
            with source.open(self.config.sampling_rate) as reader:
                rate, total = reader.native_rate, reader.native_samples
                first, last = reader.native_part(
                    self.settings.start_seconds, self.settings.end_seconds
                )
                native = reader.read_native(first, last - first)
            exact = False
        if native.shape[1] == 0:
            raise ValueError(f"{source.name} holds no samples that can be decoded")
        notes = ["it is silent"] if float(native.abs().max()) < SILENCE_PEAK else []
        seconds = native.shape[1] / rate
        song = int(total / rate * self.config.sampling_rate)
        audio = list(self._cut(native, rate, first / rate, exact, source.name))
        pieces = tuple(self._encode(audio, song, source.name))
        context = self.config.window_seconds
        if self.settings.span == "first" and not self.settings.has_pieces:
            hop = self.config.hop_length
            if audio[0].samples.shape[1] // hop > self.config.context_length:
                notes.append(f"only its first {context:.4g} of {seconds:.4g} s are embedded")
        return Prepared(source.name, pieces, seconds, tuple(notes))

    # --- audio ---

    def _cut(
        self, native: Tensor, rate: int, start_seconds: float, exact: bool, name: str
    ) -> Iterator[_Audio]:
        """The pieces of audio, resampled and divided by their peak."""
        settings, wanted = self.settings, self.config.sampling_rate

        def load(part: Tensor) -> Tensor:
            if settings.round_to_16_bit:
                part = _through_16_bit(part)
            return resample(part, rate, wanted, quality=settings.resampler, round_up=True)

        normalization = "none" if exact else settings.normalization
        if not settings.has_pieces:
            audio = load(native)
            yield _Audio(audio if normalization == "none" else peak_normalize(audio), start_seconds)
            return
        assert settings.window_seconds is not None
        window, stride = int(settings.window_seconds * rate), int(settings.stride * rate)
        starts = piece_starts(native.shape[1], window, max(stride, 1))
        if not starts:
            raise ValueError(
                f"{name} lasts {native.shape[1] / rate:.4g} s, less than one window of "
                f"{settings.window_seconds:g} s"
            )
        peak = float(load(native).abs().max()) if normalization == "file" else 0.0
        for start in starts:
            audio = load(native[:, start : start + window])
            if normalization == "window":
                audio = peak_normalize(audio)
            yield _Audio(audio / peak if peak > 0 else audio, start_seconds + start / rate)

    def _encode(self, audio: Sequence[_Audio], song: int, name: str) -> Iterator[EmbeddedPiece]:
        """Codes of pieces, those of equal length together."""
        levels, hop_length = self._levels, self.config.hop_length
        assert self.vqvae is not None
        shortest = hop_length * self.ratio
        for start in range(0, len(audio), ENCODED_PIECES):
            some = audio[start : start + ENCODED_PIECES]
            samples = torch.stack([piece.samples for piece in some])  # (pieces, 1, samples)
            num_samples = samples.shape[2]
            if num_samples < shortest:
                raise ValueError(
                    f"{name} lasts {num_samples / self.config.sampling_rate:.4g} s, less than one "
                    f"code of level {levels[-1]} ({shortest / self.config.sampling_rate:.4g} s)"
                )
            if self.settings.span == "adjacent":
                codes = self._encode_adjacent(samples, levels)
            elif self.settings.span == "first":
                halo = self.vqvae.encoding_halo(levels[-1]) * shortest
                codes = self.vqvae.encode(samples[..., : self._context_samples + halo], levels)
                codes = tuple(part[:, : self.config.context_length] for part in codes)
            else:
                codes = self.vqvae.encode(samples, levels, chunk_seconds=ENCODED_SECONDS)
            for row, piece in enumerate(some):
                upper = codes[1][row] if self.ratio > 1 else None
                first = round(piece.start_seconds * self.config.sampling_rate)
                yield self._piece(
                    codes[0][row], upper, piece.start_seconds, first, song, num_samples
                )

    @property
    def _levels(self) -> list[int]:
        level = self.config.level
        return [level, level + 1] if self.ratio > 1 else [level]

    @property
    def _context_samples(self) -> int:
        return self.config.window_samples

    def _encode_adjacent(self, samples: Tensor, levels: Sequence[int]) -> tuple[Tensor, ...]:
        """Whole windows of audio, the last padded with zeros, each encoded by itself."""
        assert self.vqvae is not None
        length = self._context_samples
        missing = -samples.shape[2] % length
        padded = torch.nn.functional.pad(samples, (0, missing))
        encoded = [
            self.vqvae.encode(padded[..., start : start + length], levels)
            for start in range(0, padded.shape[2], length)
        ]
        return tuple(torch.cat(parts, dim=1) for parts in zip(*encoded, strict=True))

    # --- codes ---

    def _from_codes(self, source: CodesInput) -> Prepared:
        level, codes = self.config.level, source.codes
        missing = [wanted for wanted in self._levels if wanted not in codes.levels]
        if missing:
            held = ", ".join(map(str, codes.levels))
            raise ValueError(
                f"{source.name} holds codes of level {held}, not of level {missing[0]}"
            )
        self._check_codec(codes, source.name)
        rate = self.config.sampling_rate / self.config.hop_length
        tensor = codes.levels[level]
        first, last = _part_of_array(tensor.shape[1], rate, self.settings, source.name)
        first = first // self.ratio * self.ratio
        upper = codes.levels[level + 1] if self.ratio > 1 else None
        song = tensor.shape[1] * self.config.hop_length
        parts = [(first, last)]
        if self.settings.has_pieces:
            assert self.settings.window_seconds is not None
            window = int(self.settings.window_seconds * rate)
            stride = max(int(self.settings.stride * rate) // self.ratio, 1) * self.ratio
            parts = [
                (first + start, first + start + window)
                for start in piece_starts(last - first, window, stride)
            ]
            if not parts:
                raise ValueError(
                    f"{source.name} lasts {(last - first) / rate:.4g} s, less than one window of "
                    f"{self.settings.window_seconds:g} s"
                )
        pieces = []
        for take in range(codes.takes):
            for begin, end in parts:
                above = None
                if upper is not None:
                    above = upper[take, begin // self.ratio : -(-end // self.ratio)].long()
                part = tensor[take, begin:end].long()
                if self.settings.span == "first":
                    part = part[: self.config.context_length]
                start, samples = begin / rate, len(part) * self.config.hop_length
                offset = begin * self.config.hop_length
                pieces.append(self._piece(part, above, start, offset, song, samples))
        if not pieces or not len(pieces[0].codes):
            raise ValueError(f"{source.name} holds no codes of level {level}")
        return Prepared(source.name, tuple(pieces), (last - first) / rate)

    def _check_codec(self, codes: Codes, name: str) -> None:
        config = self.config
        hops = codes.hop_lengths
        hop = hops[config.level] if config.level < len(hops) else None
        if (hop, codes.sampling_rate) != (config.hop_length, config.sampling_rate):
            raise ValueError(
                f"{name} has {hop} samples per code at {codes.sampling_rate} Hz, but this prior "
                f"{config.hop_length} at {config.sampling_rate} Hz; embed the audio instead"
            )
        theirs = config.codebook_fingerprint
        if codes.fingerprint and theirs and codes.fingerprint != theirs:
            raise ValueError(
                f"{name} was made with another codec ({codes.fingerprint[:19]}..., this prior "
                f"knows {theirs[:19]}...); embed the audio instead"
            )
        largest = int(codes.levels[config.level].max()) if codes.levels[config.level].numel() else 0
        if largest >= config.codebook_size:
            raise ValueError(
                f"{name} holds code {largest}, but this prior knows {config.codebook_size} codes"
            )

    # --- windows ---

    def _piece(
        self,
        codes: Tensor,
        upper: Tensor | None,
        start_seconds: float,
        first_sample: int,
        song_samples: int,
        num_samples: int,
    ) -> EmbeddedPiece:
        context, hop_length = self.config.context_length, self.config.hop_length
        if upper is not None:
            codes = codes[: len(upper) * self.ratio]
        if self.settings.span == "adjacent":
            windows = adjacent_windows(len(codes), context)
        else:
            windows = code_windows(len(codes), context, self.hop)
        timings = [
            self._timing(
                song_samples, first_sample // hop_length * hop_length + w.start * hop_length
            )
            for w in windows
        ]
        num_states = min(num_samples // hop_length, len(codes))
        return EmbeddedPiece(
            codes, upper, num_states, start_seconds, tuple(windows), tuple(timings)
        )

    def _timing(self, song_samples: int, offset: int) -> Timing:
        config = self.config
        if not config.has_timing:
            return Timing(max(song_samples, config.window_samples), 0)
        if self.settings.timing == "true":
            return true_timing(
                song_samples,
                offset,
                min_total_seconds=config.min_total_seconds,
                max_total_seconds=config.max_total_seconds,
                sampling_rate=config.sampling_rate,
                hop_length=config.hop_length,
                window_samples=config.window_samples,
            )
        return fixed_timing(
            config.min_total_seconds, config.sampling_rate, config.hop_length, config.window_samples
        )


def _part_of_array(
    length: int, rate: float, settings: EmbeddingSettings, name: str
) -> tuple[int, int]:
    """First and last of the part that the settings name, as `AudioReader.native_part`."""
    first = int(settings.start_seconds * rate)
    if first >= length:
        raise ValueError(
            f"{name} lasts {length / rate:.4g} s, but its part from {settings.start_seconds:g} "
            "seconds on was asked for"
        )
    if settings.end_seconds is None:
        return first, length
    duration = round(settings.end_seconds - settings.start_seconds, 9)
    return first, min(length, first + max(1, int(duration * rate)))


def _through_16_bit(samples: Tensor) -> Tensor:
    """What remains of samples (1, samples) that are written as 16-bit audio and read again.

    By libsndfile itself, whose rounding is not that of `round(x * 32767)`.
    """
    file = BytesIO()
    soundfile.write(file, samples[0].numpy(), 44100, format="WAV", subtype="PCM_16")
    file.seek(0)
    return torch.from_numpy(soundfile.read(file, dtype="float32")[0])[None]
