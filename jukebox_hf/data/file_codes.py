"""One audio file to the codes that a codec makes of it, in memory that does not grow with it.

An open file and a codec go in; `Codes` come out. Whole datasets are `encoding`'s work.
"""

import logging
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from jukebox_hf.audio import AudioReader
from jukebox_hf.codes import Codes
from jukebox_hf.data.regions import SECTION_SECONDS, encoding_margin
from jukebox_hf.vqvae.network import VQVAENetwork
from jukebox_hf.vqvae.vqvae_config import VQVAEConfig

logger = logging.getLogger(__name__)


def check_part(config: VQVAEConfig, levels: Sequence[int], start: int, stop: int) -> None:
    """Raise `ValueError` unless the codec has these levels, and codes for samples start to stop."""
    if not levels:
        raise ValueError("expected at least one level to encode, got none")
    for level in levels:
        if level not in range(config.num_levels):
            raise ValueError(f"this codec has levels 0 to {config.num_levels - 1}, got {level}")
    longest = max(config.hop_lengths[level] for level in levels)
    if stop - start < longest:
        raise ValueError(
            f"the audio lasts {(stop - start) / config.sampling_rate:.4f} seconds, less than the "
            f"{longest / config.sampling_rate:.4f} of one code at level {max(levels)}; "
            "give more audio or a finer level"
        )


@torch.no_grad()
def encode_audio(
    vqvae: VQVAENetwork,
    reader: AudioReader,
    levels: Sequence[int] | None = None,
    *,
    start: int = 0,
    stop: int | None = None,
    origin: Mapping[str, str] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Codes:
    """Encode a file, or a part of it, section by section.

    The codes are those of encoding the part at once: `(stop - start) // hop_length` per level.
    A file that ends before its header says gives what it has, with a warning.

    Args:
        vqvae: the codec, on any device.
        reader: an open file, mono and at the codec's sampling rate.
        levels: None means all.
        start, stop: the part, in samples, as from `AudioReader.part`; what lies outside it does not
            influence the codes.
        origin: kept with the codes.
        on_progress: called with the samples done so far.

    Raises `ValueError` for levels that the codec lacks, too little audio, and a damaged file.
    """
    config = vqvae.config
    if (reader.sampling_rate, reader.channels) != (config.sampling_rate, 1):
        raise ValueError(
            f"the codec needs one channel at {config.sampling_rate} Hz, got {reader.channels} at "
            f"{reader.sampling_rate} Hz"
        )
    chosen = sorted(set(range(config.num_levels) if levels is None else levels))
    stop = reader.num_samples if stop is None else stop
    check_part(config, chosen, start, stop)
    coarsest = config.hop_lengths[-1]
    section = max(1, round(SECTION_SECONDS * config.sampling_rate) // coarsest) * coarsest
    margin = -(-encoding_margin(vqvae, chosen) // coarsest) * coarsest
    parts: dict[int, list[Tensor]] = {level: [] for level in chosen}
    position = start
    while position < stop:
        end = min(position + section, stop)
        if stop - end < coarsest:
            end = stop  # less than one code is left over: it belongs to this section
        first, last = max(position - margin, start), min(end + margin, stop)
        audio = reader.read_available(first, last - first)
        if audio.shape[1] < last - first:
            logger.warning(
                "%s ends after %.2f seconds, although its header promises %.2f",
                reader.path,
                (first + audio.shape[1]) / reader.sampling_rate,
                reader.num_samples / reader.sampling_rate,
            )
            stop = first + audio.shape[1]
            check_part(config, chosen, start, stop)
            end = min(end, stop)
            if end <= position:
                break
        for level, codes in zip(chosen, vqvae.encode(audio[None], chosen), strict=True):
            hop_length = config.hop_lengths[level]
            wanted = codes[:, (position - first) // hop_length : (end - first) // hop_length]
            parts[level].append(wanted.to("cpu", torch.int32))
        position = end
        if on_progress is not None:
            on_progress(position - start)
    return Codes(
        levels={level: torch.cat(pieces, dim=1) for level, pieces in parts.items()},
        hop_lengths=config.hop_lengths,
        sampling_rate=config.sampling_rate,
        fingerprint=vqvae.fingerprint(),
        origin=dict(origin or {}),
    )
