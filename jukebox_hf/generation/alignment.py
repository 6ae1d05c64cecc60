"""Which words are sung when: the attention of a top prior to its lyrics, put together over windows.

Codes and resolved labels of a piece go in; a `LyricAlignment` comes out, (codes, characters).
Words and their times are `word_times`' work, pictures and pages that of `heat_map` and `karaoke`.
"""

import os
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from jukebox_hf.files import write_atomically
from jukebox_hf.generation.windows import window_starts
from jukebox_hf.labels import PriorProcessor, ResolvedLabels
from jukebox_hf.prior.network import PriorNetwork
from jukebox_hf.records import VERSION_KEY, check_version

FORMAT_VERSION = 1
# What numpy raises for a file that is no archive, is cut off, or holds something else.
DAMAGE = (ValueError, KeyError, TypeError, IndexError, EOFError, zipfile.BadZipFile, zlib.error)


class WindowAttention(NamedTuple):
    """How one window of codes attends to the lyrics that it sees."""

    start: int  # first code of the window
    attention: Tensor  # (context_length, lyric_length) probabilities of one head
    lyric_indices: Tensor  # (lyric_length,) int64: place in the whole lyrics, -1 = padding


@dataclass(frozen=True)
class LyricAlignment:
    """How every code of a piece attends to every character of its lyrics.

    Attributes:
        weights: (codes, characters) float32 probabilities. Row t is the attention of the prior
            while it predicts code t. Column j belongs to character j - 1, since the prior reads
            lyrics shifted by one: column 0 stands for no character, and the last character has no
            column. Zero where a window did not see the character.
        lyrics: the characters, as the prior read them (`ResolvedLabels.lyric_text`).
        code_seconds: how long one code lasts.
    """

    weights: Tensor
    lyrics: str
    code_seconds: float

    def __post_init__(self) -> None:
        if self.weights.ndim != 2 or self.weights.shape[1] != len(self.lyrics):
            raise ValueError(
                f"weights must be (codes, {len(self.lyrics)} characters), "
                f"got shape {tuple(self.weights.shape)}"
            )
        if not self.code_seconds > 0:
            raise ValueError(f"code_seconds must be greater than 0, got {self.code_seconds}")

    @property
    def duration_seconds(self) -> float:
        """How long the piece is."""
        return self.weights.shape[0] * self.code_seconds

    def character_weights(self) -> Tensor:
        """(codes, characters): every character's column; zeros for the last, which has none."""
        return torch.nn.functional.pad(self.weights[:, 1:], (0, min(1, len(self.lyrics))))


def align_lyrics(
    prior: PriorNetwork,
    processor: PriorProcessor,
    codes: Tensor,
    labels: ResolvedLabels,
    *,
    total_samples: int,
    offset_samples: int,
    stride: int,
) -> LyricAlignment:
    """Align the top-level codes of one piece with its lyrics, one window at a time.

    Args:
        prior: with an `alignment_layer`; on any device, in any precision.
        processor: the one of the prior.
        codes: (time,) int64 of the prior's level; shorter than a context is fine.
        labels: what the piece was made from; it needs lyrics.
        total_samples, offset_samples: of the song, and where in it the piece begins.
        stride: how far windows move, in codes; the one that sampling used reproduces the original.

    Raises `ValueError` for a prior that names no alignment layer, or labels without lyrics.
    """
    config = prior.config
    if config.alignment_head is None:
        raise ValueError(
            "this prior cannot align lyrics: its config names no alignment_layer and alignment_head"
        )
    if not labels.lyric_ids:
        raise ValueError("there are no lyrics to align")
    if codes.ndim != 1 or codes.numel() == 0:
        raise ValueError(f"codes must be (time,) of one piece, got shape {tuple(codes.shape)}")
    total = max(len(codes), config.context_length)
    padded = torch.nn.functional.pad(codes, (0, total - len(codes))).to(prior.device)
    windows = []
    for start in window_starts(total, config.context_length, stride):
        seen = processor.window(
            [labels],
            total_samples=total_samples,
            offset_samples=offset_samples + start * config.hop_length,
        )
        assert seen.lyric_indices is not None, "a prior with an alignment layer reads lyrics"
        with torch.inference_mode():
            attention = prior.align(
                padded[None, start : start + config.context_length],
                **seen.inputs().to(prior.device),
            )  # (1, heads, context_length, lyric_length)
        head = attention[0, config.alignment_head].float().cpu().clone()
        windows.append(WindowAttention(start, head, seen.lyric_indices[0]))
    return LyricAlignment(
        weights=assemble_alignment(windows, len(codes), len(labels.lyric_ids)),
        lyrics=labels.lyric_text,
        code_seconds=config.hop_length / config.sampling_rate,
    )


def assemble_alignment(
    windows: Iterable[WindowAttention], num_codes: int, num_characters: int
) -> Tensor:
    """Put the maps of overlapping windows together: (num_codes, num_characters) float32.

    Where windows overlap the earlier one wins, but only in the columns that it sees: characters
    that only a later window saw keep what that one says. This is the original's rule, so that
    alignments equal it. Rows past `num_codes` belong to padding and are dropped, and so is what
    falls on lyric padding.
    """
    ordered = sorted(windows, key=lambda window: window.start, reverse=True)
    end = max((window.start + len(window.attention) for window in ordered), default=num_codes)
    whole = torch.zeros(max(end, num_codes), num_characters + 1)  # the last column takes padding
    for start, attention, lyric_indices in ordered:
        rows = slice(start, start + len(attention))
        columns = torch.where(lyric_indices < 0, num_characters, lyric_indices)
        whole[rows, columns] = attention.to(whole.dtype)
    return whole[:num_codes, :num_characters].clone()


def save_alignment(path: str | os.PathLike[str], alignment: LyricAlignment) -> None:
    """Write an alignment as compressed numpy arrays (`.npz`), weights in 16 bits.

    Arrays: `weights` (codes, characters that some window saw) float16, `first_column` of the whole
    that they begin at, `lyrics` as UTF-8 bytes, `code_seconds`, `format_version`.
    """
    weights = alignment.weights.numpy()
    seen = np.flatnonzero(weights.any(axis=0))
    first, stop = (int(seen[0]), int(seen[-1]) + 1) if seen.size else (0, 0)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(
                file,
                weights=weights[:, first:stop].astype(np.float16),
                first_column=np.int64(first),
                lyrics=np.frombuffer(alignment.lyrics.encode(), dtype=np.uint8),
                code_seconds=np.float64(alignment.code_seconds),
                format_version=np.int64(FORMAT_VERSION),
            )

    write_atomically(path, write)


def load_alignment(path: str | os.PathLike[str]) -> LyricAlignment:
    """Read what `save_alignment` wrote: weights to three digits.

    Raises `FileNotFoundError`, or `ValueError` for a file that is damaged or something else.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no alignment file {path}")
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            check_version({VERSION_KEY: arrays[VERSION_KEY].tolist()}, FORMAT_VERSION, "its record")
            stored = torch.from_numpy(arrays["weights"].astype(np.float32))
            first = int(arrays["first_column"])
            lyrics = arrays["lyrics"].tobytes().decode()
            code_seconds = float(arrays["code_seconds"])
            right = len(lyrics) - first - stored.shape[1]
            if first < 0 or right < 0:
                raise ValueError("its weights and its lyrics do not belong together")
            weights = torch.nn.functional.pad(stored, (first, right))
            return LyricAlignment(weights, lyrics, code_seconds)
    except DAMAGE as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} is not an alignment that can be read: {reason}") from None
