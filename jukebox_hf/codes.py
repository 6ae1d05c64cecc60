"""The codes file: what the VQ-VAE made of some audio, or a prior made of nothing, on disk.

Codes (takes, time) of one or several levels go in and come back, with what is needed to check that
a model understands them. On disk it is a safetensors file: one int16 tensor `level_0`, `level_1`...
per level that is there, and the metadata `format_version`, `hop_lengths`, `sampling_rate`,
`fingerprint` and `origin`, so that any safetensors reader can open it.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from jukebox_hf.files import check_writable_target, write_atomically
from jukebox_hf.hops import check_hop_lengths, check_positive_integer
from jukebox_hf.records import check_version

FORMAT_VERSION = 1
LARGEST_CODE = 32767  # of int16; released codebooks have 2048 codes
TENSOR_PREFIX = "level_"


class CodecSettings(Protocol):
    """What a codec's config says about the codes that it makes: a `JukeboxVQVAEConfig` does."""

    codebook_size: int
    codebook_fingerprint: str | None
    sampling_rate: int

    @property
    def hop_lengths(self) -> tuple[int, ...]:
        """Audio samples per code of every level, finest first."""
        ...


@dataclass(frozen=True)
class Codes:
    """Codes of several takes at one or several levels, and how they relate to audio.

    Levels need not be complete: a piece whose upsampling has not finished holds less of its finer
    levels, or none. They all start at the same moment. Checked when made; raises `ValueError`.

    Args:
        levels: per level, (takes, time) of any integer type, of torch or numpy; kept as int64
            tensors on the CPU or wherever the tensor is. Level 0 is the finest.
        hop_lengths: audio samples per code, of *all* levels of the codec, finest first.
        sampling_rate: samples per second.
        fingerprint: hash of the codebooks that give the codes their meaning; None when unknown.
        origin: where the codes come from, in free words by name (`source`, `model`, `seed`...).
    """

    levels: dict[int, Tensor]
    hop_lengths: tuple[int, ...]
    sampling_rate: int
    fingerprint: str | None = None
    origin: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hop_lengths", tuple(self.hop_lengths))
        check_hop_lengths(self.hop_lengths)
        check_positive_integer(self.sampling_rate, "sampling_rate")
        if self.fingerprint is not None and not isinstance(self.fingerprint, str):
            raise ValueError(f"fingerprint must be text or None, got {self.fingerprint!r}")
        _check_origin(self.origin)
        levels = {
            level: _checked_level(level, codes, len(self.hop_lengths))
            for level, codes in sorted(self.levels.items())
        }
        object.__setattr__(self, "levels", levels)
        object.__setattr__(self, "origin", dict(self.origin))
        _check_lengths(levels, self.hop_lengths)

    def check_codec(self, config: "CodecSettings", *, fingerprint: str | None = None) -> None:
        """Raise `ValueError` unless these codes are ones of the codec with this config.

        Fingerprints are compared where both sides have one; `fingerprint` is that of the codebooks
        themselves once they are loaded, since a config may lack it.
        """
        if (self.hop_lengths, self.sampling_rate) != (config.hop_lengths, config.sampling_rate):
            raise ValueError(
                f"the codes were made with hop lengths {self.hop_lengths} at {self.sampling_rate} "
                f"Hz, but this model has {config.hop_lengths} at {config.sampling_rate} Hz; "
                "use the model that made them"
            )
        theirs = fingerprint or config.codebook_fingerprint
        if self.fingerprint and theirs and self.fingerprint != theirs:
            raise ValueError(
                "the codes were made with another codec: their codebooks' fingerprint is "
                f"{self.fingerprint[:19]}..., this model's is {theirs[:19]}...; use the model that "
                "made them, or encode the audio again"
            )
        for level, codes in self.levels.items():
            if codes.numel() and int(codes.max()) >= config.codebook_size:
                raise ValueError(
                    f"level {level} holds code {int(codes.max())}, but this model's codebooks have "
                    f"{config.codebook_size} codes"
                )

    def numpy(self) -> dict[int, NDArray[np.int64]]:
        """The codes by level, (takes, time), as arrays."""
        return {level: codes.cpu().numpy() for level, codes in self.levels.items()}

    @property
    def takes(self) -> int:
        """How many pieces of music the file holds."""
        return next(iter(self.levels.values())).shape[0]

    def num_samples(self, level: int) -> int:
        """Audio samples that the codes of `level` stand for."""
        return self.levels[level].shape[1] * self.hop_lengths[level]

    def duration_seconds(self, level: int) -> float:
        """Seconds of audio that the codes of `level` stand for."""
        return self.num_samples(level) / self.sampling_rate


def save_codes(path: str | os.PathLike[str], codes: Codes) -> None:
    """Write a codes file; an existing file is replaced in one step, or left alone on an error.

    Raises `ValueError` for codes that do not fit the 16 bits of the format and `OSError` for a path
    that cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    for level, level_codes in codes.levels.items():
        if level_codes.numel() and int(level_codes.max()) > LARGEST_CODE:
            raise ValueError(
                f"level {level} holds code {int(level_codes.max())}, but a codes file stores "
                f"0..{LARGEST_CODE}; use a codebook of at most {LARGEST_CODE + 1} codes"
            )
        tensors[f"{TENSOR_PREFIX}{level}"] = level_codes.to("cpu", torch.int16).contiguous()
    metadata = {
        "format_version": str(FORMAT_VERSION),
        "hop_lengths": json.dumps(codes.hop_lengths),
        "sampling_rate": str(codes.sampling_rate),
        "origin": json.dumps(codes.origin, ensure_ascii=False),
    }
    if codes.fingerprint is not None:
        metadata["fingerprint"] = codes.fingerprint
    write_atomically(
        path, lambda temporary: _write(temporary, tensors, metadata), sweep=True, apart=True
    )


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write the file; the same codes always give the same bytes.

    safetensors (0.8) writes metadata in a random order. Its header is JSON of a length that goes
    before it, so the same entries in alphabetical order fit in its place.
    """
    save_file(tensors, path, metadata=metadata)
    with path.open("rb+") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        assert len(text) <= length, "the same header needs no more room"
        file.seek(8)
        file.write(text.ljust(length))


def check_codes_path(path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Say before the work what would stop `save_codes`, or what it would overwrite.

    Raises `FileExistsError` for an existing file unless `overwrite`, other `OSError`s for a place
    that cannot be written to.
    """
    if check_writable_target(path).exists() and not overwrite:
        raise FileExistsError(
            f"{path} exists; choose another name, or say overwrite=True (--overwrite)"
        )


def load_codes(path: str | os.PathLike[str]) -> Codes:
    """Read a codes file; every level that it holds, as int64 on the CPU.

    Raises `FileNotFoundError`, or `ValueError` with one sentence for a file that is damaged, is
    something else, or was written by a later version of this package.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no codes file {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is not a codes file, or it is damaged: {str(error).rstrip('.')}; "
            "make it again with `jukebox encode`"
        ) from None
    return _codes_from_file(path, tensors, metadata)


def _codes_from_file(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> Codes:
    if "format_version" not in metadata or "hop_lengths" not in metadata:
        raise ValueError(
            f"{path} is a safetensors file but not a codes file: expected the metadata "
            f"format_version and hop_lengths, got {', '.join(sorted(metadata)) or 'none'}"
        )
    version = _integer(metadata["format_version"], "format_version", path)
    check_version({"format_version": version}, FORMAT_VERSION, str(path))
    levels: dict[int, Tensor] = {}
    for name, tensor in tensors.items():
        number = name.removeprefix(TENSOR_PREFIX)
        if number == name or not (number.isascii() and number.isdigit() and len(number) <= 3):
            raise ValueError(f"{path}: expected tensors level_0, level_1..., got {name!r}")
        if tensor.dtype != torch.int16:
            raise ValueError(f"{path}: {name} must be int16, got {tensor.dtype}")
        levels[int(number)] = tensor
    hop_lengths = _json(metadata["hop_lengths"], "hop_lengths", path)
    if not isinstance(hop_lengths, list):
        raise ValueError(f"{path}: hop_lengths must be a list of integers, got {hop_lengths!r:.80}")
    sampling_rate = _integer(metadata.get("sampling_rate", ""), "sampling_rate", path)
    origin = _json(metadata.get("origin", "{}"), "origin", path)
    try:
        return Codes(
            levels=levels,
            hop_lengths=tuple(hop_lengths),
            sampling_rate=sampling_rate,
            fingerprint=metadata.get("fingerprint"),
            origin=origin,
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _checked_level(level: Any, codes: Any, num_levels: int) -> Tensor:
    if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level < num_levels:
        raise ValueError(f"levels must be 0..{num_levels - 1} as in hop_lengths, got {level!r}")
    if isinstance(codes, np.ndarray) and codes.dtype.kind in "iu":
        codes = torch.from_numpy(codes.astype(np.int64))
    if not isinstance(codes, Tensor):
        raise ValueError(f"codes of level {level} must be a tensor, got {type(codes).__name__}")
    if codes.is_floating_point() or codes.is_complex() or codes.dtype == torch.bool:
        raise ValueError(f"codes of level {level} must be integers, got {codes.dtype}")
    if codes.ndim != 2 or codes.shape[0] == 0:
        raise ValueError(
            f"codes of level {level} must be (takes, time) with at least one take, "
            f"got shape {tuple(codes.shape)}"
        )
    if codes.numel() and int(codes.min()) < 0:
        raise ValueError(f"codes of level {level} must not be negative, got {int(codes.min())}")
    return codes.to(torch.int64)


def _check_lengths(levels: Mapping[int, Tensor], hop_lengths: tuple[int, ...]) -> None:
    """Same takes everywhere; no level reaches a whole upper code further than the level above it.

    A finer level may stop early (not upsampled yet), or reach on by part of an upper code (audio of
    odd length), but codes without a code above them have no meaning to an upsampler.
    """
    if not levels:
        raise ValueError("expected the codes of at least one level, got none")
    for finer, coarser in pairwise(sorted(levels)):
        takes, length = levels[finer].shape
        upper_takes, upper_length = levels[coarser].shape
        if takes != upper_takes:
            raise ValueError(
                f"every level needs the same takes, got {takes} at level {finer} and "
                f"{upper_takes} at level {coarser}"
            )
        if length * hop_lengths[finer] // hop_lengths[coarser] > upper_length:
            raise ValueError(
                f"level {finer} covers {length * hop_lengths[finer]} samples but level {coarser} "
                f"above it only {upper_length * hop_lengths[coarser]}; a finer level must not "
                "last longer than the one above it"
            )


def _check_origin(origin: Any) -> None:
    if not isinstance(origin, dict) or not all(
        isinstance(key, str) and isinstance(value, str) for key, value in origin.items()
    ):
        raise ValueError(f"origin must map text to text, got {origin!r:.200}")


def _json(text: str, name: str, path: str | os.PathLike[str]) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"{path}: the metadata {name} is not valid JSON: {text!r:.80}") from None


def _integer(text: str, name: str, path: str | os.PathLike[str]) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ValueError(f"{path}: the metadata {name} must be a whole number, got {text!r:.80}")
    return int(text)
