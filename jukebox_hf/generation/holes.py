"""A hole in a take: a stretch that is sampled with the music on both sides given.

A prior writes from left to right. So several candidates of the stretch are sampled at the top
level, each is scored by how likely it makes the codes that follow, and the best are kept. Below,
finer codes are sampled under the new top codes and joined to what follows. Here stands which codes
that are, how candidates are scored and how the new codes are put in; the sampling is `making`'s
work.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from jukebox_hf.generation.chains import COMPARED_SECONDS, FADE_SECONDS, FADE_STFT, Seam, most_alike
from jukebox_hf.generation.joined import Excerpt, Joined, JoinedCodes, join
from jukebox_hf.generation.windows import Run
from jukebox_hf.labels import PriorProcessor, ResolvedLabels
from jukebox_hf.prior.network import PriorNetwork
from jukebox_hf.vqvae.network import VQVAENetwork

SCORED_CODES = 128  # of what follows: farther on, candidates made no difference
FIRST_TAKE = 1  # of an infill; the candidates of all takes are rows of it


@dataclass(frozen=True)
class Hole:
    """A stretch that is made with both sides given; in audio samples, whole top codes.

    Attributes:
        begin, end: in the new piece.
        removed: of the old piece, that it takes the place of; 0: it is put in between.
        candidates: how many are sampled at the top level to choose from.
        original: the old piece.
    """

    begin: int
    end: int
    removed: int
    candidates: int
    original: JoinedCodes = field(compare=False, repr=False)

    def old_place(self, place: int, hop_length: int) -> int:
        """Where a code right of the hole is in the old piece, from where it is in the new one."""
        return place - (self.end - self.begin - self.removed) // hop_length

    def after(self, level: int) -> Tensor:
        """The old codes (time,) of a level that follow the hole."""
        hop = self.original.hop_lengths[level]
        return self.original.levels[level][0, self.old_place(self.end // hop, hop) :]


class Score(NamedTuple):
    """How likely a candidate makes what follows: its number, and bits per code (less is better)."""

    candidate: int
    bits: float


# --- runs -----------------------------------------------------------------------------------------


def hole_runs(
    hole: Hole,
    take: int,
    total: int,
    *,
    hop_length: int,
    context: int,
    stride: int,
    overlap: int,
    unit: int,
) -> list[Run]:
    """The runs of one level that fill a hole: a candidate each at the top, else one.

    Below the top a run goes on for an overlap after the hole, where it meets the old codes. It
    begins so early that its windows see what they can before the hole.
    """
    begin, end = hole.begin // hop_length, hole.end // hop_length
    is_top = unit == 1
    if is_top and take != FIRST_TAKE:
        return []
    if not is_top:
        end = min(end + -(-overlap // unit) * unit, total)
    if end - begin <= context // 2:
        first = max(end - context, 0)
    else:
        first = max(begin - (context - stride), 0) // unit * unit
    return [Run(first, end, begin - first)] * (hole.candidates if is_top else 1)


# --- choosing -------------------------------------------------------------------------------------


def score(
    prior: PriorNetwork,
    processor: PriorProcessor,
    codes: Tensor,
    scored: int,
    labels: ResolvedLabels,
    *,
    total_samples: int,
    offset_samples: int,
) -> float:
    """Bits per code of the last `scored` of `codes` (time,), seen in one window of the prior."""
    config = prior.config
    start = max(len(codes) - config.context_length, 0)
    window = codes[start:]
    padded = torch.nn.functional.pad(window, (0, config.context_length - len(window)))
    seen = processor.window(
        [labels],
        total_samples=total_samples,
        offset_samples=offset_samples + start * config.hop_length,
    )
    with torch.inference_mode():
        logits = prior.window_logits(
            padded[None].to(prior.device), **seen.inputs().to(prior.device)
        )
        part = slice(len(window) - scored, len(window))
        nats = torch.nn.functional.cross_entropy(
            logits[0, part].float().cpu(), prior.to_tokens(window[part])
        )
    return float(nats) / math.log(2)


def scored_codes(hole: Hole) -> int:
    """How many codes after the hole are scored."""
    top = len(hole.original.hop_lengths) - 1
    return min(SCORED_CODES, len(hole.after(top)))


def heard_by_scoring(hole: Hole, context: int) -> float:
    """The part of the hole, from its end, that the scoring of candidates sees."""
    top = hole.original.hop_lengths[-1]
    length = (hole.end - hole.begin) // top
    return min(max(context - scored_codes(hole), 0) / length, 1.0)


# --- putting in -----------------------------------------------------------------------------------


def fill_top(left: Joined, made: Tensor, hole: Hole) -> Joined:
    """The top level with new codes (time,) in the hole: nothing overlaps, the codes follow."""
    level = len(hole.original.hop_lengths) - 1
    hop = hole.original.hop_lengths[level]
    old = hole.original.level(level)
    after = old.part(hole.old_place(hole.end // hop, hop), len(old))
    return left.followed_by(made).followed_by_piece(after)


def fill(codec: VQVAENetwork, level: int, left: Joined, made: Tensor, hole: Hole) -> Joined:
    """A finer level with new codes (time,) from the hole's beginning to beyond its end.

    What follows the hole is the old codes. The seam is at the hole's end, or up to a fade before
    it: where new and old sound most alike.
    """
    rate, hop = codec.config.sampling_rate, codec.config.hop_lengths[level]
    begin, end = hole.begin // hop, hole.end // hop
    old = hole.original.level(level).settled(hop, rate)
    grown = left.followed_by(made)
    shift = end - hole.old_place(end, hop)
    earliest = max(end - round(FADE_SECONDS * rate) // hop, begin + 1, shift)
    place, alike = most_alike(
        codec,
        level,
        (grown.codes, end),
        (old.codes, end - shift),
        range(min(earliest, end) - end, 1),
        reach=max(round(COMPARED_SECONDS * rate), hop),
    )
    place += end
    reach = codec.decoding_halo(level) + -(-(round(FADE_SECONDS * rate) // 2 + FADE_STFT) // hop)
    parts = [
        Excerpt(grown.settled(hop, rate), 0, place),
        Excerpt(old, place - shift, len(old)),
    ]
    return join(parts, [Seam(0, alike)], reach=reach)


def best(scores: Sequence[Score], count: int) -> list[Score]:
    """The candidates that make what follows likeliest, in that order."""
    return sorted(scores, key=lambda one: (one.bits, one.candidate))[:count]
