"""Encoding parts of songs so that every code is what encoding the whole song would give.

A code depends on the audio around it, and a codec pads what is cut off. Where a part of a song is
encoded it is therefore read with a margin, whose codes are dropped; only the true ends of a song
are padded. So codes from a cache, and codes made while training, are the same: up to rounding, by
which a code changes only where two of them are equally near.

A song counts as long as its whole codes at the coarsest level, so that levels always fit together;
fewer than `hop_lengths[-1]` samples at its end are not encoded.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from jukebox_hf.audio import AudioReader
from jukebox_hf.vqvae.network import VQVAENetwork

# So much of a song is encoded at a time. On a CPU 30 seconds took 1.5 times the processor time (new
# memory for every convolution), 2.5 seconds 1.2 times (margins).
SECTION_SECONDS = 10.0


class Region(NamedTuple):
    """Which audio of a song to read, in samples, to encode a part of it."""

    start: int
    stop: int


def encodable_samples(total_samples: int, hop_lengths: Sequence[int]) -> int:
    """How many samples of a song have codes: whole codes of the coarsest level."""
    return total_samples // hop_lengths[-1] * hop_lengths[-1]


def encoding_margin(vqvae: VQVAENetwork, levels: Sequence[int]) -> int:
    """Samples on either side of a cut whose codes, at any of `levels`, the cut may change.

    A multiple of the coarsest of their hop lengths.
    """
    hop_lengths = vqvae.config.hop_lengths
    needed = max(vqvae.encoding_halo(level) * hop_lengths[level] for level in levels)
    coarsest = max(hop_lengths[level] for level in levels)
    return -(-needed // coarsest) * coarsest


def region_around(start: int, stop: int, *, margin: int, total: int) -> Region:
    """What to read for the part from `start` to `stop`: always equally much, if the song has it.

    At the ends of a song the region does not shrink but moves, so that a batch of regions is one
    tensor.

    >>> region_around(0, 10, margin=3, total=100), region_around(50, 60, margin=3, total=100)
    (Region(start=0, stop=16), Region(start=47, stop=63))
    """
    size = min(stop - start + 2 * margin, total)
    first = min(max(start - margin, 0), total - size)
    return Region(first, first + size)


def encode_part(
    vqvae: VQVAENetwork, audio: Tensor, levels: Sequence[int], *, skip: int, num_samples: int
) -> tuple[Tensor, ...]:
    """Encode audio (batch, 1, samples) of a region, and keep the codes of the part that counts.

    The part begins `skip` samples into the region and lasts `num_samples`; both are whole codes.
    Returns codes (batch, num_samples // hop_length) int64 per level.
    """
    hop_lengths = vqvae.config.hop_lengths
    return tuple(
        codes[:, skip // hop_lengths[level] : (skip + num_samples) // hop_lengths[level]]
        for level, codes in zip(levels, vqvae.encode(audio, levels), strict=True)
    )


def encode_sections(
    vqvae: VQVAENetwork, reader: AudioReader, total_samples: int, levels: Sequence[int]
) -> Iterator[tuple[Tensor, ...]]:
    """Encode a song section by section, in memory that does not grow with its length.

    Yields codes (1, time) int16 per level, to be joined along time. Raises `OSError` or
    `ValueError` for a song that cannot be read to its end.
    """
    hop_lengths = vqvae.config.hop_lengths
    total = encodable_samples(total_samples, hop_lengths)
    margin = encoding_margin(vqvae, levels)
    section = max(1, round(SECTION_SECONDS * reader.sampling_rate) // hop_lengths[-1])
    for start in range(0, total, section * hop_lengths[-1]):
        stop = min(start + section * hop_lengths[-1], total)
        region = region_around(start, stop, margin=margin, total=total)
        audio, missing = reader.read(region.start, region.stop - region.start)
        if missing:
            end = (region.stop - missing) / reader.sampling_rate
            raise ValueError(f"damaged: it ends after {end:.2f} seconds, before its length")
        codes = encode_part(
            vqvae, audio[None], levels, skip=start - region.start, num_samples=stop - start
        )
        yield tuple(level.to("cpu", torch.int16) for level in codes)
