"""Inputs of a prior for windows of given codes, and the bits of every code of a piece."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from jukebox_hf.hub.system import System
from jukebox_hf.labels import ResolvedLabels
from jukebox_hf.prior.modeling_prior import JukeboxPrior

Levels = dict[int, Tensor]  # (time,) codes by level, of one piece


class PieceInputs:
    """What `JukeboxPrior.forward` takes for a window of a piece: labels, lyrics, upper codes."""

    def __init__(
        self, system: System, level: int, piece: Levels, *, artist: str | None, genre: str | None
    ) -> None:
        self.config = system.prior_config(level)
        self.processor = system.processor(level)
        self.resolved: ResolvedLabels = self.processor.resolve(artist=artist, genre=genre)
        self.codes = piece[level]
        self.upper = piece.get(level + 1)
        shortest = round(self.config.min_total_seconds * self.config.sampling_rate) + 1
        self.total_samples = max(len(self.codes) * self.config.hop_length, shortest)

    @property
    def ratio(self) -> int:
        """Codes per code of the level above; windows begin where one of those does."""
        return self.config.upper_ratio if self.config.is_upsampler else 1

    def starts(self, count: int) -> list[int]:
        """`count` windows spread over the piece, fewer if it is short."""
        room = len(self.codes) - self.config.context_length
        if room < 0:
            raise ValueError(
                f"the piece has {len(self.codes)} codes of level {self.config.level}; one window "
                f"is {self.config.context_length}"
            )
        places = torch.linspace(0, room, count).long() // self.ratio * self.ratio
        return sorted(set(places.tolist()))

    def at(self, start: int) -> dict[str, Any]:
        """Arguments for the window that begins at a code."""
        config, length = self.config, self.config.context_length
        labels = self.processor.window(
            [self.resolved],
            total_samples=self.total_samples,
            offset_samples=start * config.hop_length,
        )
        given: dict[str, Any] = {"codes": self.codes[None, start : start + length]}
        given |= {"labels": labels.labels, "lyric_tokens": labels.lyric_tokens}
        if config.is_upsampler:
            assert self.upper is not None, "an upsampler needs the codes above"
            given["upper_codes"] = self.upper[
                None, start // self.ratio : (start + length) // self.ratio
            ]
        return given


@torch.inference_mode()
def bits_of_piece(prior: JukeboxPrior, inputs: PieceInputs) -> Tensor:
    """Bits of every code (time,), each seen with at least half a context before it.

    Only at the beginning of the piece is there less. Codes after the last whole window that
    begins at an upper code are left out.
    """
    length = prior.config.context_length
    stride = max(length // 2 // inputs.ratio, 1) * inputs.ratio
    room = len(inputs.codes) - length
    starts = sorted({*range(0, room + 1, stride), room // inputs.ratio * inputs.ratio})
    parts: list[Tensor] = []
    done = 0
    for start in starts:
        given = inputs.at(start)
        logits = prior(**given).logits[0]
        codes = given["codes"][0] + prior.config.vocabulary_size - prior.config.codebook_size
        bits = functional.cross_entropy(logits.float(), codes, reduction="none") / math.log(2)
        parts.append(bits[done - start :])
        done = start + length
    return torch.cat(parts)
