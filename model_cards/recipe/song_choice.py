"""Which songs a measurement is about: the split of a training run.

The names that decide about the split are those in the dataset that training read: a dataset that
was packed or encoded under other names is split differently.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

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
