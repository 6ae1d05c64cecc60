"""Which songs a measurement is about: the split of a training run, and clips by genre.

The names that decide about the split are those in the dataset that training read: a dataset that
was packed or encoded under other names is split differently.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from jukebox_hf.data import Song
from jukebox_hf.training.settings import TrainingSettings

SETTINGS_FILE = "settings.yaml"
DEFAULT_FRACTION = 0.05  # of `TrainingSettings`


class Split(NamedTuple):
    """How a run holds songs out."""

    fraction: float
    seed: int


def add_split_options(parser: argparse.ArgumentParser) -> None:
    """Options that say which songs are held out."""
    parser.add_argument(
        "--run", type=Path, help="folder of the training run whose split to take, for what follows"
    )
    parser.add_argument(
        "--validation-fraction",
        type=float,
        help=f"share of songs that training held out (the run's, or {DEFAULT_FRACTION})",
    )
    parser.add_argument("--split-seed", type=int, help="the training's --seed (the run's, or 0)")


def split_of(given: argparse.Namespace) -> Split:
    """The split that these options mean.

    Raises `ValueError` if they contradict the run, or `OSError` if it is not there.
    """
    fraction, seed = given.validation_fraction, given.split_seed
    if given.run is None:
        return Split(DEFAULT_FRACTION if fraction is None else fraction, seed or 0)
    settings = TrainingSettings.load(given.run / SETTINGS_FILE)
    if settings.validation_dataset is not None:
        raise ValueError(
            f"{given.run} was evaluated on a dataset of its own; give that with "
            "--validation-fraction 0 instead of --run"
        )
    theirs = Split(float(settings.validation_fraction), settings.seed)
    for name, mine, its in (("fraction", fraction, theirs[0]), ("seed", seed, theirs[1])):
        if mine is not None and mine != its:
            raise ValueError(f"{given.run} held songs out with the {name} {its}, not {mine}")
    return theirs


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
