"""How loud the training audio is: what the codec's losses are divided by.

Songs go in; the mean absolute value, the variance and the mean norm of the spectrum come out, the
three `bandwidth_...` fields of the codec's config.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from jukebox_hf.data.items import check_lengths
from jukebox_hf.data.song_windows import WindowTable
from jukebox_hf.data.songs import Song
from jukebox_hf.vqvae.losses import STFT, magnitudes

# The release: seconds of samples, counting both channels, for training the codec.
SECONDS = 600.0
SPECTRUM = STFT(2048, 256, 1536)


class Bandwidth(NamedTuple):
    """Statistics of audio; see `JukeboxVQVAEConfig`.

    Attributes:
        l1: mean absolute value of a sample.
        l2: variance of a sample.
        spectral: norm of the STFT magnitudes of a clip, averaged over clips. It grows with their
            length: measure with clips as long as those of training.
    """

    l1: float
    l2: float
    spectral: float


def measure_bandwidth(
    songs: Sequence[Song],
    *,
    sampling_rate: int,
    clip_samples: int,
    seconds: float = SECONDS,
    stft: STFT = SPECTRUM,
) -> Bandwidth:
    """Statistics of clips spread evenly over the songs.

    Args:
        songs: all of them, also those held out, as in the 2020 release.
        sampling_rate, clip_samples: of the clips that training uses.
        seconds: how much audio to read; every channel counts by itself.
        stft: of `spectral`; the mean of the channels is transformed.

    The release took every 16th clip from the beginning until there was enough; here they are spread
    over all songs. Clips that cannot be read are left out.

    Raises:
        ValueError: if no song is as long as a clip, or none can be read, or all is silence.
    """
    lengths = [song.num_samples(sampling_rate) for song in songs]
    check_lengths(
        [song.name for song in songs],
        [length / sampling_rate for length in lengths],
        clip_samples / sampling_rate,
        "a clip",
    )
    windows = WindowTable(lengths, clip_samples)
    wanted = min(len(windows), max(1, round(seconds * sampling_rate / clip_samples)))
    count = clips = 0
    total = absolute = squares = norms = 0.0
    for number in range(wanted):
        window = windows.window(number * len(windows) // wanted)
        try:
            with songs[window.song].open(sampling_rate, mono=False) as reader:
                audio, missing = reader.read(window.offset, clip_samples)
        except (OSError, ValueError):
            continue
        if missing:
            continue
        exact = audio.double()
        total += float(exact.sum())
        absolute += float(exact.abs().sum())
        squares += float(exact.square().sum())
        norms += float(torch.linalg.vector_norm(magnitudes(audio[None], stft).double()))
        count += audio.numel()
        clips += 1
        if count >= seconds * sampling_rate:
            break
    if not absolute:
        raise ValueError(
            "the bandwidth cannot be measured: no clip could be read, or all are silent"
        )
    return Bandwidth(absolute / count, squares / count - (total / count) ** 2, norms / clips)
