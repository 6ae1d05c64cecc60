"""Chains of one level: where one is spliced to the next, and how both sound across the seam.

Chains are runs of codes that were sampled side by side and overlap a little. Their audio in the
overlaps decides where to cut; across each cut it is cross-faded.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d

from jukebox_hf.generation.windows import Run
from jukebox_hf.vqvae.network import VQVAENetwork

FADE_SECONDS = 0.03
FADE_STFT, FADE_HOP = 256, 32  # samples
MOST_GAIN = 2.0  # of a band of a fade: two unrelated sounds need 1.4
COMPARED_SECONDS = 0.010  # on either side of a possible cut
CONTEXT_CODES = 64  # decoded beside an overlap, so that its ends sound as they will


@dataclass(frozen=True)
class Chain:
    """A run and its codes (run.length,) int64."""

    run: Run
    codes: Tensor


@dataclass(frozen=True)
class Seam:
    """Where one chain is cut and the next goes on.

    Attributes:
        code: the first code that is the later chain's.
        likeness: of both chains' audio around the cut: 1 is equal, 0 unrelated, below 0 opposed.
        fade: length of the cross-fade in samples, where it is not `FADE_SECONDS` or as much of
            that as both chains have.
    """

    code: int
    likeness: float
    fade: int | None = None


def find_seams(codec: VQVAENetwork, level: int, chains: Sequence[Chain]) -> list[Seam]:
    """Where to cut between neighbours: in the later half of the overlap, where they are most alike.

    The first half is left to the later chain to warm up, since it began without a past.
    """
    return [_find_seam(codec, level, *pair) for pair in itertools.pairwise(chains)]


def splice(chains: Sequence[Chain], seams: Sequence[Seam]) -> Tensor:
    """The codes (time,) from the first chain's beginning on: each up to the seam with the next."""
    cuts = [chains[0].run.begin, *(seam.code for seam in seams), chains[-1].run.end]
    parts = [
        chain.codes[first - chain.run.begin : end - chain.run.begin]
        for chain, (first, end) in zip(chains, itertools.pairwise(cuts), strict=True)
    ]
    return torch.cat(parts)


def decode_chains(
    codec: VQVAENetwork,
    level: int,
    codes: Tensor,
    chains: Sequence[Chain],
    seams: Sequence[Seam],
    *,
    chunk_seconds: float | None,
) -> Tensor:
    """Audio (samples,) of spliced `codes` (time,), each chain sounding as itself up to its seams.

    Around a seam both chains are decoded with their own codes, as far as these go, and cross-faded.
    """
    hop = codec.config.hop_lengths[level]
    cuts = [0, *(seam.code for seam in seams), len(codes)]
    audio = torch.zeros(len(codes) * hop)

    def decode_as(index: int, first: int, end: int) -> Tensor:
        """These samples as one of the chains has them."""
        own, run = codes.clone(), chains[index].run
        own[run.begin : run.end] = chains[index].codes
        return decode_part(codec, level, own, first, end, chunk_seconds=chunk_seconds)

    for index in range(len(chains)):
        first, end = cuts[index] * hop, cuts[index + 1] * hop
        audio[first:end] = decode_as(index, first, end)
    for index, seam in enumerate(seams):
        cut = seam.code * hop
        fade = fade_samples(chains, seams, index, hop, codec.config.sampling_rate)
        fade = min(fade, cut - cuts[index] * hop, cuts[index + 2] * hop - cut) // 2 * 2
        # As far as spectra of the fade reach, but not to where another seam begins.
        reach = fade // 2 + FADE_STFT
        first = max(cut - reach, (cuts[index] * hop + cut) // 2)
        end = min(cut + reach, (cut + cuts[index + 2] * hop) // 2)
        left, right = (decode_as(which, first, end) for which in (index, index + 1))
        audio[first:end] = cross_fade(left, right, cut - first, fade)
    return audio


def cross_fade(left: Tensor, right: Tensor, middle: int, length: int) -> Tensor:
    """From `left` to `right`, both (samples,), in `length` samples around `middle`.

    The two are mixed with ramps that add up to 1, which suits what is alike in them. What is not,
    such as noise in high bands, would dip by 3 dB in the middle and rise again: there each band of
    the mixture is raised to the power that the ramps have between both.
    """
    ramp = torch.zeros(len(left))
    first = middle - length // 2
    ramp[first : first + length] = _ramp(length)
    ramp[first + length :] = 1
    mixture = left * (1 - ramp) + right * ramp
    window = torch.hann_window(FADE_STFT)
    if not length or len(left) <= FADE_STFT // 2:
        return mixture
    spectra = torch.stft(
        torch.stack([left, right, mixture]),
        FADE_STFT,
        FADE_HOP,
        window=window,
        return_complex=True,
    )
    powers = spectra.abs().square().mT  # (3, frames, bins); each bin with its neighbours:
    of_left, of_right, found = avg_pool1d(powers, 5, 1, 2).mT
    share = ramp[(torch.arange(found.shape[1]) * FADE_HOP).clamp(max=len(ramp) - 1)]
    wanted = of_left * (1 - share) + of_right * share
    gain = (wanted / found.clamp_min(1e-20)).sqrt().clamp(1, MOST_GAIN)
    return torch.istft(spectra[2] * gain, FADE_STFT, FADE_HOP, window=window, length=len(mixture))


def decode_part(
    codec: VQVAENetwork,
    level: int,
    codes: Tensor,
    first: int,
    end: int,
    *,
    chunk_seconds: float | None,
) -> Tensor:
    """The samples `[first, end)` of what `codes` (time,) decode to, without decoding all of it."""
    hop = codec.config.hop_lengths[level]
    halo = codec.decoding_halo(level)
    first_code = max(first // hop - halo, 0)
    end_code = min(-(-end // hop) + halo, len(codes))
    audio = codec.decode(codes[None, first_code:end_code], level, chunk_seconds=chunk_seconds)
    return audio[0, 0, first - first_code * hop : end - first_code * hop].cpu()


def past_span(codec: VQVAENetwork, level: int, run: Run, upper_total: int) -> tuple[int, int]:
    """The codes `[first, end)` of the level above whose sound decides a run's past."""
    hops = codec.config.hop_lengths
    first, end = _past_samples(codec, level, run)
    halo = codec.decoding_halo(level + 1)
    return max(first // hops[level + 1] - halo, 0), min(
        -(-end // hops[level + 1]) + halo, upper_total
    )


def find_past(
    codec: VQVAENetwork, level: int, run: Run, upper: Tensor, *, chunk_seconds: float | None
) -> Tensor:
    """The codes (run.past,) before a run that the sound of `upper` (time,) has there.

    Of the codes above, only those of `past_span` are read.
    """
    hop = codec.config.hop_lengths[level]
    first, end = _past_samples(codec, level, run)
    end = min(end, len(upper) * codec.config.hop_lengths[level + 1])
    audio = decode_part(codec, level + 1, upper, first, end, chunk_seconds=chunk_seconds)
    codes = codec.encode(audio[None, None], [level], chunk_seconds=chunk_seconds)[0][0]
    begin = run.begin - run.past - first // hop
    return codes[begin : begin + run.past].cpu()


def _past_samples(codec: VQVAENetwork, level: int, run: Run) -> tuple[int, int]:
    """The samples `[first, end)` that are encoded for a run's past, with what surrounds it."""
    hop, halo = codec.config.hop_lengths[level], codec.encoding_halo(level)
    return max(run.begin - run.past - halo, 0) * hop, (run.begin + halo) * hop


def _find_seam(codec: VQVAENetwork, level: int, left: Chain, right: Chain) -> Seam:
    config = codec.config
    hop = config.hop_lengths[level]
    begin, end = right.run.begin, left.run.end
    before = min(CONTEXT_CODES, begin - left.run.begin)
    after = min(CONTEXT_CODES, right.run.end - end)
    left_codes = left.codes[begin - before - left.run.begin :]
    right_codes = right.codes[: end + after - begin]
    left_audio = codec.decode(left_codes[None], level)[0, 0, before * hop :].cpu()
    right_audio = codec.decode(right_codes[None], level)[0, 0, : (end - begin) * hop].cpu()
    reach = max(round(COMPARED_SECONDS * config.sampling_rate) // hop, 1)
    middle = (begin + end) // 2
    candidates = range(min(middle, end - 1), max(end - reach, middle + 1))
    found = [
        likeness(left_audio[part], right_audio[part])
        for code in candidates
        for part in [slice(max((code - begin - reach) * hop, 0), (code - begin + reach) * hop)]
    ]
    best = max(range(len(found)), key=found.__getitem__)
    return Seam(candidates[best], found[best])


def most_alike(
    codec: VQVAENetwork,
    level: int,
    left: tuple[Tensor, int],
    right: tuple[Tensor, int],
    moves: Sequence[int],
    *,
    reach: int,
) -> tuple[int, float]:
    """By how many codes to move a join, and how alike both sides are there.

    Args:
        codec: that decodes them.
        level: of the codes.
        left, right: codes (time,) of either piece, and where in them the join is.
        moves: that are possible, in codes; of equals the shortest is taken.
        reach: samples that are compared on either side.
    """
    hop = codec.config.hop_lengths[level]
    margin = -(-reach // hop)
    sounds = []
    for codes, place in (left, right):
        first = max(place + min(moves) - margin, 0)
        end = min(place + max(moves) + margin, len(codes))
        audio = decode_part(codec, level, codes, first * hop, end * hop, chunk_seconds=None)
        sounds.append((audio, (place - first) * hop))
    best, highest = 0, -torch.inf
    for move in sorted(moves, key=abs):
        found = likeness(*(_around(audio, at + move * hop, reach) for audio, at in sounds))
        if found > highest + 1e-6:
            best, highest = move, found
    return best, highest


def _around(audio: Tensor, place: int, reach: int) -> Tensor:
    """(2 * reach,) samples around a place, silence where there are none."""
    found = torch.zeros(2 * reach)
    first, end = max(place - reach, 0), min(place + reach, len(audio))
    if first < end:
        found[first - place + reach : end - place + reach] = audio[first:end]
    return found


def likeness(left: Tensor, right: Tensor) -> float:
    """Twice the product of two sounds (samples,) over their summed power; 1 for silence."""
    power = float(left.square().sum() + right.square().sum())
    return 2 * float((left * right).sum()) / power if power > 1e-12 else 1.0


def fade_samples(
    chains: Sequence[Chain],
    seams: Sequence[Seam],
    index: int,
    hop_length: int,
    sampling_rate: int,
) -> int:
    """Length in samples of the fade at a seam, an even number."""
    seam = seams[index]
    if seam.fade is not None:
        return seam.fade
    room = min(seam.code - chains[index + 1].run.begin, chains[index].run.end - seam.code)
    return min(round(FADE_SECONDS * sampling_rate) // 2, room * hop_length) * 2


def _ramp(length: int) -> Tensor:
    """From 0 to 1: with its reverse it adds up to 1, which suits parts that are alike."""
    return torch.sin(torch.linspace(0, torch.pi / 2, length + 2)[1:-1]).square()
