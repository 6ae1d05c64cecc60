"""Codes of a level with the chains that they are made of, so that they can be cut and put together.

Where chains are joined, each side sounds as it did beside its own neighbours, and the two are
cross-faded (`chains`). Whoever cuts, continues or joins such codes must not lose that: here it is
carried along. Codes go in and come out; nothing is decoded here.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from jukebox_hf.codes import Codes
from jukebox_hf.generation.chains import Chain, Seam, fade_samples
from jukebox_hf.generation.windows import Run
from jukebox_hf.generation.word_times import SungWord


@dataclass(frozen=True)
class Joined:
    """The codes of one level of one piece, and the chains that are heard in it one after another.

    Args:
        codes: (time,) int64, each chain's up to the seam with the next.
        chains: at least one. Each begins before it is heard and goes on after, as far as its codes
            there are known, all within the piece.
        seams: between neighbours; from each on the later one is heard.

    Raises:
        ValueError: for chains and seams that do not belong to the codes.
    """

    codes: Tensor
    chains: tuple[Chain, ...]
    seams: tuple[Seam, ...] = ()

    def __post_init__(self) -> None:
        total = len(self.codes)
        if len(self.chains) != len(self.seams) + 1:
            raise ValueError(
                f"{len(self.chains)} chains have as many seams but one, got {len(self.seams)}"
            )
        for chain in self.chains:
            begin, end = chain.run.begin, chain.run.end
            if not (0 <= begin <= end <= total and len(chain.codes) == end - begin):
                raise ValueError(
                    f"a chain of {len(chain.codes)} codes from {begin} to {end} is none of a piece "
                    f"of {total} codes"
                )
        cuts = self.cuts
        if any(end <= begin for begin, end in itertools.pairwise(cuts)) and len(cuts) > 2:
            raise ValueError(f"seams must be in order and within {total} codes, got {cuts[1:-1]}")

    @classmethod
    def plain(cls, codes: Tensor) -> "Joined":
        """Codes (time,) of one chain."""
        return cls(codes, (Chain(Run(0, len(codes)), codes),))

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def cuts(self) -> list[int]:
        """Where each chain begins to be heard, and the end of the last."""
        return [0, *(seam.code for seam in self.seams), len(self.codes)]

    def heard(self, index: int) -> Tensor:
        """The codes (time,) that are decoded where a chain is heard: its own, as far as they go."""
        own, run = self.codes.clone(), self.chains[index].run
        own[run.begin : run.end] = self.chains[index].codes
        return own

    def chains_within(self, first: int, end: int) -> list[int]:
        """Which chains are heard in the codes `[first, end)`; one at least."""
        return [
            index
            for index, (begin, stop) in enumerate(itertools.pairwise(self.cuts))
            if begin < end and stop > first
        ] or [0]

    def part(self, first: int, end: int) -> "Joined":
        """The codes `[first, end)` as a piece of their own."""
        inside = self.chains_within(first, end)
        chains = tuple(
            _clipped(_moved(self.chains[index], -first), end - first) for index in inside
        )
        seams = tuple(_shifted(self.seams[index - 1], -first) for index in inside[1:])
        return Joined(self.codes[first:end], chains, seams)

    def followed_by(self, codes: Tensor) -> "Joined":
        """With more codes (time,), which go on with the last chain."""
        last = self.chains[-1]
        known = self.heard(len(self.chains) - 1)[last.run.begin :]
        grown = torch.cat([known, codes])
        chain = Chain(Run(last.run.begin, len(self) + len(codes)), grown)
        return Joined(torch.cat([self.codes, codes]), (*self.chains[:-1], chain), self.seams)

    def followed_by_chains(self, chains: Sequence[Chain], seams: Sequence[Seam]) -> "Joined":
        """With chains of which the first goes on with the last one here.

        The first one's codes up to the end of this piece are those that are here.
        """
        first = chains[0]
        whole = self.followed_by(first.codes[len(self) - first.run.begin :])
        for chain, seam in zip(chains[1:], seams, strict=True):
            length = max(chain.run.end, len(whole))
            codes = torch.cat([whole.codes, whole.codes.new_zeros(length - len(whole))])
            codes[seam.code :] = chain.codes[seam.code - chain.run.begin :]
            whole = Joined(codes, (*whole.chains, chain), (*whole.seams, seam))
        return whole

    def followed_by_piece(self, other: "Joined") -> "Joined":
        """With another piece whose first chain goes on with the last one here."""
        first, shift = other.chains[0].run, len(self)
        begin = Chain(Run(shift, shift + first.end), other.heard(0)[: first.end])
        chains = [begin, *(_moved(chain, shift) for chain in other.chains[1:])]
        return self.followed_by_chains(chains, [_shifted(seam, shift) for seam in other.seams])

    def settled(self, hop_length: int, sampling_rate: int) -> "Joined":
        """The same with the length of every fade written down, so that chains may be lengthened."""
        seams = tuple(
            replace(
                seam,
                fade=fade_samples(self.chains, self.seams, index, hop_length, sampling_rate),
            )
            for index, seam in enumerate(self.seams)
        )
        return replace(self, seams=seams)


@dataclass(frozen=True)
class JoinedCodes(Codes):
    """Codes of one take that know which of their levels are made of chains.

    Args:
        joined: by level, of the same codes; a level that is not there is one chain.
        words: that are sung in it, where that is known.
        lyrics: that the words are of.
    """

    joined: Mapping[int, Joined] = field(default_factory=dict)
    words: tuple[SungWord, ...] = ()
    lyrics: str = ""

    def level(self, level: int) -> Joined:
        """A level's codes with their chains."""
        return self.joined.get(level) or Joined.plain(self.levels[level][0])

    def cut(self, ends: Mapping[int, int]) -> "JoinedCodes":
        """The first `ends[level]` codes of every level, or all that there are."""
        parts = {level: self.level(level).part(0, end) for level, end in ends.items()}
        return replace(
            self,
            levels={level: part.codes[None] for level, part in parts.items()},
            joined={level: part for level, part in parts.items() if part.seams},
        )


class Excerpt(NamedTuple):
    """The codes `[first, end)` of a piece."""

    source: Joined
    first: int
    end: int


def join(excerpts: Sequence[Excerpt], seams: Sequence[Seam], *, reach: int) -> Joined:
    """Excerpts one after another, each heard as in its own piece up to the seams.

    Args:
        excerpts: of pieces whose fades are `settled`.
        seams: between neighbours; where they are in codes follows from the excerpts.
        reach: how many codes beyond its end an excerpt is known to be followed by, and before its
            beginning, so that the decoder hears there what it heard in the piece.
    """
    codes = torch.cat([source.codes[first:end] for source, first, end in excerpts])
    chains: list[Chain] = []
    joined: list[Seam] = []
    begin = 0
    for number, (source, first, end) in enumerate(excerpts):
        if number:
            joined.append(replace(seams[number - 1], code=begin))
        inside = source.chains_within(first, end)
        for index in inside:
            cut, stop = source.cuts[index], source.cuts[index + 1]
            run = source.chains[index].run
            known = Run(
                max(min(run.begin, max(cut, first) - reach), first - reach, 0),
                min(max(run.end, min(stop, end) + reach), end + reach, len(source)),
            )
            chain = Chain(known, source.heard(index)[known.begin : known.end])
            chains.append(_clipped(_moved(chain, begin - first), len(codes)))
        joined += [_shifted(source.seams[index - 1], begin - first) for index in inside[1:]]
        begin += end - first
    return Joined(codes, tuple(chains), tuple(joined))


def combine(
    codes: Tensor,
    given: Joined | None,
    own: tuple[Sequence[Chain], Sequence[Seam]] | None,
) -> Joined:
    """What a level is made of that begins with what was given and goes on with chains of its own.

    Args:
        codes: (time,) all of the level.
        given: what it began with; None: one chain.
        own: the chains that it was cut into, of which the first begins within what was given, and
            their seams; None: it was not.
    """
    if given is None:
        if own is None:
            return Joined.plain(codes)
        return Joined(codes, tuple(own[0]), tuple(own[1]))
    if own is None or len(given) == len(codes):
        return given.followed_by(codes[len(given) :])
    return given.followed_by_chains(*own)


def _moved(chain: Chain, by: int) -> Chain:
    run = chain.run
    return Chain(Run(run.begin + by, run.end + by), chain.codes)


def _clipped(chain: Chain, total: int) -> Chain:
    """What of a chain lies within a piece of `total` codes."""
    begin = min(max(chain.run.begin, 0), total)
    end = max(min(chain.run.end, total), begin)
    first = begin - chain.run.begin
    return Chain(Run(begin, end), chain.codes[first : first + end - begin])


def _shifted(seam: Seam, by: int) -> Seam:
    return replace(seam, code=seam.code + by)
