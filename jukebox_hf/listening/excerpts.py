"""Clips of songs: as many of each, evenly in it."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from jukebox_hf.data import Song


class Place(NamedTuple):
    """A clip of a song."""

    song: Song
    start_seconds: float


def spread_clips(songs: Sequence[Song], count: int, seconds: float) -> list[Place]:
    """So many clips, as many from each song as from any other, or one more.

    With fewer clips than songs the songs are spread evenly over all. The clips of a song lie evenly
    in it, a single one in its middle. Songs shorter than a clip give none; those that cannot hold
    several without overlap give fewer.
    """
    usable = [song for song in songs if song.duration_seconds >= seconds]
    if not usable:
        return []
    number = min(count, len(usable))
    chosen = [usable[int((i + 0.5) * len(usable) / number)] for i in range(number)]
    share, more = divmod(count, number)
    places = []
    for place, song in enumerate(chosen):
        fits = min(share + (place < more), int(song.duration_seconds // seconds))
        room = song.duration_seconds / fits
        places += [Place(song, room * (i + 0.5) - seconds / 2) for i in range(fits)]
    return places


def read_clip(place: Place, sampling_rate: int, seconds: float) -> Tensor:
    """Its audio (samples,), mixed down to one channel."""
    with place.song.open(sampling_rate) as reader:
        start = round(place.start_seconds * sampling_rate)
        return reader.read_available(start, round(seconds * sampling_rate))[0]
