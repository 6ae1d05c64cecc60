"""Songs of a prior's run as codes in its own folder, so that no step has to encode them.

    codes/   validation_codes/

Settings with songs go in; the same settings with codes come out. What is encoded stays there after
an interruption, and later runs may name the folder as their dataset.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from jukebox_hf.data import (
    EncodingProgress,
    EncodingReport,
    SkippedSong,
    describe_songs,
    encode_dataset,
    holds_codes,
    open_codes,
    open_songs,
)
from jukebox_hf.generation.devices import resolve_device
from jukebox_hf.hub import System
from jukebox_hf.locks import RUN_LOCK, locked
from jukebox_hf.training.checkpoints import find_checkpoints
from jukebox_hf.training.run_folder import CHECKPOINTS, SETTINGS_NAME
from jukebox_hf.training.settings import TrainingSettings

FOLDERS = {"dataset": "codes", "validation_dataset": "validation_codes"}  # by the setting


class Encoded(NamedTuple):
    """What `encode_songs` did: settings that name the codes, and songs that there are none of.

    `found` says in a line what each dataset holds; `notes` what of it was not taken as given.
    """

    settings: TrainingSettings
    reports: tuple[EncodingReport, ...] = ()
    skipped: tuple[SkippedSong, ...] = ()
    found: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def own_codes(settings: TrainingSettings) -> TrainingSettings:
    """The settings with the codes in the run's folder in place of the songs they were made of."""
    output = Path(settings.output or "")
    changes = {
        name: str(output / folder)
        for name, folder in FOLDERS.items()
        if getattr(settings, name) is not None and holds_codes(output / folder)
    }
    return settings.with_changes(**changes)


def own_datasets(output: Path) -> dict[str, str]:
    """The settings of the run in a folder that name codes in it, also after it was moved."""
    if not (output / SETTINGS_NAME).is_file():
        return {}
    saved = TrainingSettings.load(output / SETTINGS_NAME)
    there = Path(saved.output or "")
    return {
        name: str(output / folder)
        for name, folder in FOLDERS.items()
        if (place := getattr(saved, name)) is not None and Path(place) == there / folder
    }


def encode_songs(
    settings: TrainingSettings,
    *,
    look_into: Callable[[int, int], None] | None = None,
    progress: Callable[[EncodingProgress], None] | None = None,
) -> Encoded:
    """Encode the songs of a run into its folder, with the codec that it learns the codes of.

    Datasets that are codes already stay as they are; so does a run that has checkpoints, which is
    gone on with or refused by the trainer. Songs that are there are not encoded again.

    Args:
        settings: of a prior's run, with `output` and with `codec` or `start_from`.
        look_into: called with how many songs of how many have been looked into.
        progress: of encoding, see `encode_dataset`.

    Raises:
        ValueError: for a level that the model has no prior of, or songs none of which is usable.
        OSError: if songs, model or folder are not to be had, or another run works in the folder.
    """
    output = Path(settings.output or "")
    if find_checkpoints(output / CHECKPOINTS):
        return Encoded(own_codes(settings))
    source = settings.codec or settings.start_from
    system = System.open(source)
    if settings.start_from is not None and settings.level is not None:
        System.open(settings.start_from).prior_config(settings.level)  # found out before hours
    datasets = {
        name: place
        for name in FOLDERS
        if (place := getattr(settings, name)) is not None and not _is_codes(place, settings)
    }
    if not datasets:
        return Encoded(settings)
    found = {
        name: open_songs(place, **settings.place(), progress=look_into)
        for name, place in datasets.items()
    }
    codec = system.load_vqvae(device=resolve_device(settings.device), dtype="float32")
    output.mkdir(parents=True, exist_ok=True)
    with locked(output, RUN_LOCK):
        reports = [
            encode_dataset(
                songs.songs,
                codec,
                output / FOLDERS[name],
                model=source,
                drop_missing=True,
                progress=progress,
            )
            for name, songs in found.items()
        ]
    skipped = [song for songs in found.values() for song in songs.skipped]
    skipped += [song for report in reports for song in report.skipped]
    changes = {name: str(output / FOLDERS[name]) for name in datasets}
    notes = [note for songs in found.values() for note in songs.notes]
    notes += [note for report in reports for note in report.notes]
    described = [describe_songs(songs.songs) for songs in found.values()]
    return Encoded(
        settings.with_changes(**changes),
        tuple(reports),
        tuple(skipped),
        tuple(described),
        tuple(notes),
    )


def _is_codes(dataset: str, settings: TrainingSettings) -> bool:
    """Whether a folder, or a dataset on the Hub, holds codes."""
    if Path(dataset).exists():
        return holds_codes(dataset)
    try:
        open_codes(dataset, revision=settings.revision)
    except (ValueError, FileNotFoundError):
        return False
    return True
