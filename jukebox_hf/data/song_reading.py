"""Pieces of songs as mono audio, and a record of the songs that turn out to be damaged.

A song's number, an offset and a length go in; audio (1, samples) comes out.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from jukebox_hf.audio import mix_down
from jukebox_hf.data.candidates import SkippedSong
from jukebox_hf.data.items import Pick
from jukebox_hf.data.song_sources import reason_to_skip
from jukebox_hf.data.song_windows import SongWindow
from jukebox_hf.data.songs import Song

logger = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")


class SongReader:
    """Reads pieces of songs, also in the workers of a `DataLoader`.

    Args:
        songs: numbered by their place.
        sampling_rate: of the audio (Hz).
        blend_channels: mix stereo down in the proportions asked for, instead of half and half.
    """

    def __init__(
        self, songs: Sequence[Song], sampling_rate: int, *, blend_channels: bool = False
    ) -> None:
        self._songs = songs
        self._sampling_rate = sampling_rate
        self._blend_channels = blend_channels
        self._damaged = torch.zeros(len(songs), dtype=torch.bool)
        self._damaged.share_memory_()  # type: ignore[no-untyped-call]

    def read(self, song: int, offset: int, num_samples: int, blend: float = 0.5) -> Tensor:
        """Audio (1, num_samples) of a song from `offset` on, float32.

        `blend` is the share of the left channel. Raises `OSError` or `ValueError` for what cannot
        be read, also past the end.
        """
        with self._songs[song].open(self._sampling_rate, mono=not self._blend_channels) as reader:
            known = len(reader.remarks)
            audio, missing = reader.read(offset, num_samples)
            damage = reader.remarks[known:]
        if damage:  # silence stands in its place
            raise ValueError(f"damaged: {damage[0]}")
        if missing:
            end = (offset + num_samples - missing) / self._sampling_rate
            raise ValueError(f"damaged: it ends after {end:.2f} seconds, before its length")
        return blend_channels(audio, blend)

    def first_readable(
        self, picks: Iterable[Pick], read: Callable[[Pick], ResultT]
    ) -> tuple[SongWindow, ResultT]:
        """The first pick that `read` can read, and what it read.

        Raises `ValueError` when there is none.
        """
        reason = ""
        for pick in picks:
            try:
                return pick.window, read(pick)
            except (OSError, ValueError) as error:
                reason = f"{self._songs[pick.window.song].name}: {reason_to_skip(error)}"
                if not self._damaged[pick.window.song]:
                    logger.info("%s; other music takes its place", reason)
                self._damaged[pick.window.song] = True
        raise ValueError(f"hardly any song can be read, the last one was {reason}")

    def unreadable(self) -> tuple[SkippedSong, ...]:
        """The songs of which something could not be read so far, by any worker."""
        return tuple(
            SkippedSong(song.name, "damaged somewhere in the middle")
            for song, damaged in zip(self._songs, self._damaged.tolist(), strict=True)
            if damaged
        )


def blend_channels(audio: Tensor, left: float) -> Tensor:
    """(channels, samples) -> (1, samples): stereo with that share of the left channel.

    Other numbers of channels are averaged.
    """
    if audio.shape[0] != 2:
        return mix_down(audio)
    return left * audio[:1] + (1 - left) * audio[1:]
