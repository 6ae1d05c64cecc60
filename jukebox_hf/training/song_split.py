"""The songs of a run, as audio or as codes, and which of them are held out.

A `SongSelection` goes in; songs to train on and to evaluate on come out, with those that cannot be
used, and what the trainer sees of them.
"""

import contextlib
import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from jukebox_hf.data import (
    CodeSong,
    CodeSongs,
    SkippedSong,
    Song,
    describe_skipped,
    describe_songs,
    group_notes,
    holds_codes,
    open_codes,
    open_songs,
    split_songs,
)
from jukebox_hf.training.batches import Examples
from jukebox_hf.training.facts import LearntFrom
from jukebox_hf.training.song_selection import SongSelection

logger = logging.getLogger(__name__)


class SongSplit(NamedTuple):
    """Songs to train on and songs held out, as audio or as codes.

    `skipped` cannot be used at all; `notes` say what else was not taken as given.
    """

    train: Sequence[Song] | CodeSongs
    validation: Sequence[Song] | CodeSongs | None
    skipped: tuple[SkippedSong, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def codes(self) -> bool:
        """Whether these are codes."""
        return isinstance(self.train, CodeSongs)

    def fingerprint(self) -> str:
        """A hash of the songs to train on: their names and lengths."""
        if isinstance(self.train, CodeSongs):
            lengths = [(song.name, song.total_samples) for song in self.train.songs]
        else:
            lengths = [(song.name, song.native_samples) for song in self.train]
        text = repr(lengths)
        return f"sha256:{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()}"

    def learnt_from(self) -> LearntFrom:
        """How many songs there are to train on, and how long they are together."""
        if isinstance(self.train, CodeSongs):
            samples = sum(song.total_samples for song in self.train.songs)
            return LearntFrom(len(self.train), samples / self.train.info.sampling_rate)
        return LearntFrom(len(self.train), sum(song.duration_seconds for song in self.train))

    def everyone(self) -> list[Song | CodeSong]:
        """All songs of both sides."""
        found: list[Song | CodeSong] = []
        for side in (self.train, self.validation):
            if side is not None:
                found += side.songs if isinstance(side, CodeSongs) else side
        return found


@dataclass
class RunExamples:
    """What a run learns from.

    Attributes:
        train: examples to train on.
        validation: examples held out; `None` evaluates nothing.
        notes: what the user should know before it starts.
        skipped: songs that are not used, or not as a whole; some are found out only in the end.
        fingerprint: of the songs; when it has changed, a run cannot go on to the same result.
        learnt_from: how much music there is to train on.
    """

    train: Examples
    validation: Examples | None
    notes: tuple[str, ...] = ()
    skipped: Callable[[], Sequence[SkippedSong]] = tuple
    fingerprint: str | None = None
    learnt_from: LearntFrom | None = None


def open_split(
    selection: SongSelection, *, min_seconds: float, allow_codes: bool, resumed: bool = False
) -> SongSplit:
    """The songs of a run, and which of them are held out.

    Args:
        selection: of songs; `TrainingSettings` are one.
        min_seconds: shorter songs are left out.
        allow_codes: whether songs may be codes.
        resumed: they were there before, so that an error says what to do if they have moved.

    Raises:
        ValueError: without usable songs, or without any to train on.
        OSError: if they are not there.
    """
    if selection.dataset is None:
        raise ValueError("training needs `dataset`: a folder of songs or codes, or one on the Hub")
    with _moved("dataset", selection.dataset, resumed):
        found = _open(selection, selection.dataset, min_seconds, allow_codes)
    songs = found.train
    if selection.validation_dataset is not None:
        with _moved("validation_dataset", selection.validation_dataset, resumed):
            other = _open(selection, selection.validation_dataset, min_seconds, allow_codes)
        if isinstance(songs, CodeSongs) != isinstance(other.train, CodeSongs):
            raise ValueError("dataset and validation_dataset must both be songs, or both be codes")
        return SongSplit(
            songs, other.train, found.skipped + other.skipped, found.notes + other.notes
        )
    fraction, seed = selection.validation_fraction, selection.seed
    train: Sequence[Song] | CodeSongs
    validation: Sequence[Song] | CodeSongs
    if isinstance(songs, CodeSongs):
        train, validation = songs.split(fraction, seed)
    else:
        train, validation = split_songs(songs, fraction, seed)
    return found._replace(train=train, validation=validation if len(validation) else None)


@contextlib.contextmanager
def _moved(setting: str, place: str, resumed: bool) -> Iterator[None]:
    """Say what to do where the songs of a run that is resumed are no longer where they were."""
    try:
        yield
    except OSError as error:
        if not resumed or Path(place).exists():
            raise
        option = f"--{setting.replace('_', '-')}"
        raise FileNotFoundError(
            f"{place}, where this run had its songs ({setting}), is not there ({error}); if they "
            f"have moved, resume with {option} NEW_PLACE"
        ) from error


def _open(
    selection: SongSelection, dataset: str, min_seconds: float, allow_codes: bool
) -> SongSplit:
    """A dataset, none of it held out yet."""
    if holds_codes(dataset):
        if not allow_codes:
            raise ValueError(f"{dataset} holds codes, but a codec learns from audio; give songs")
        return SongSplit(open_codes(dataset), None)
    if allow_codes and not Path(dataset).exists():
        try:
            return SongSplit(open_codes(dataset, revision=selection.revision), None)
        except (ValueError, FileNotFoundError):
            logger.debug("%s holds no codes", dataset)  # then it holds songs
    found = open_songs(dataset, **selection.place(), min_seconds=min_seconds)
    return SongSplit(found.songs, None, found.skipped, found.notes)


def song_notes(
    split: SongSplit, skipped: Sequence[SkippedSong], examples: int, held_out: int
) -> tuple[str, ...]:
    """What to say of the songs before a run."""
    songs = describe_songs(split.everyone())
    kept_back = f", {held_out} held-out ones" if held_out else "; none are held out to evaluate on"
    notes = [f"{songs}: {examples} examples an epoch{kept_back}"]
    if skipped:
        verb = "song is" if len(skipped) == 1 else "songs are"
        notes.append(f"{len(skipped)} {verb} not used, listed at the end")
    return (*notes, *group_notes(split.notes))


def skipped_lines(skipped: Sequence[SkippedSong]) -> list[str]:
    """Which songs were not used, and why, a line each; nothing if there are none."""
    if not skipped:
        return []
    songs = "1 song was" if len(skipped) == 1 else f"{len(skipped)} songs were"
    return [
        f"{songs} not used, or not as a whole:",
        *(f"  {line}" for line in describe_skipped(skipped)),
    ]


def each_once(*lists: Sequence[SkippedSong]) -> tuple[SkippedSong, ...]:
    """Songs of several lists by their names, with the first reason that is given for each."""
    found: dict[str, SkippedSong] = {}
    for song in chain(*lists):
        found.setdefault(song.name, SkippedSong(*song))
    return tuple(found[name] for name in sorted(found))
