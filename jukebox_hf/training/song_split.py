"""The songs of a run, as audio or as codes, and which of them are held out.

Settings go in; songs to train on and to evaluate on come out, with those that cannot be used.
"""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jukebox_hf.data import (
    CodeSong,
    CodeSongs,
    SkippedSong,
    Song,
    holds_codes,
    open_codes,
    open_songs,
    split_songs,
)
from jukebox_hf.training.facts import LearntFrom
from jukebox_hf.training.settings import TrainingSettings

logger = logging.getLogger(__name__)

LISTED = 5  # songs named in a note


class SongSplit(NamedTuple):
    """Songs to train on and songs held out, as audio or as codes."""

    train: Sequence[Song] | CodeSongs
    validation: Sequence[Song] | CodeSongs | None
    skipped: tuple[SkippedSong, ...]

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


def open_split(settings: TrainingSettings, *, min_seconds: float, allow_codes: bool) -> SongSplit:
    """The songs of a run, and which of them are held out.

    Raises:
        ValueError: without usable songs, or without any to train on.
    """
    if settings.dataset is None:
        raise ValueError("training needs `dataset`: a folder of songs or codes, or one on the Hub")
    songs, skipped = _open(settings, settings.dataset, min_seconds, allow_codes)
    if settings.validation_dataset is not None:
        held_out, skipped_too = _open(
            settings, settings.validation_dataset, min_seconds, allow_codes
        )
        if isinstance(songs, CodeSongs) != isinstance(held_out, CodeSongs):
            raise ValueError("dataset and validation_dataset must both be songs, or both be codes")
        return SongSplit(songs, held_out, skipped + skipped_too)
    fraction, seed = settings.validation_fraction, settings.seed
    train: Sequence[Song] | CodeSongs
    validation: Sequence[Song] | CodeSongs
    if isinstance(songs, CodeSongs):
        train, validation = songs.split(fraction, seed)
    else:
        train, validation = split_songs(songs, fraction, seed)
    return SongSplit(train, validation if len(validation) else None, skipped)


def _open(
    settings: TrainingSettings, dataset: str, min_seconds: float, allow_codes: bool
) -> tuple[Sequence[Song] | CodeSongs, tuple[SkippedSong, ...]]:
    if holds_codes(dataset):
        if not allow_codes:
            raise ValueError(f"{dataset} holds codes, but a codec learns from audio; give songs")
        return open_codes(dataset), ()
    if allow_codes and not Path(dataset).exists():
        try:
            return open_codes(dataset, revision=settings.revision), ()
        except (ValueError, FileNotFoundError):
            logger.debug("%s holds no codes", dataset)  # then it holds songs
    found = open_songs(
        dataset,
        split=settings.split,
        subset=settings.subset,
        revision=settings.revision,
        audio_column=settings.audio_column,
        artist_column=settings.artist_column,
        genre_column=settings.genre_column,
        lyrics_column=settings.lyrics_column,
        min_seconds=min_seconds,
    )
    return found.songs, found.skipped


def skipped_note(skipped: Sequence[SkippedSong]) -> list[str]:
    """One line about songs that are not used, or nothing."""
    if not skipped:
        return []
    shown = "; ".join(f"{song.name} ({song.reason})" for song in skipped[:LISTED])
    more = f"; and {len(skipped) - LISTED} more" if len(skipped) > LISTED else ""
    return [f"{len(skipped)} songs are not used: {shown}{more}"]


def song_notes(split: SongSplit, examples: int, held_out: int) -> tuple[str, ...]:
    songs = len(split.everyone())
    kept_back = f", {held_out} held-out ones" if held_out else "; none are held out to evaluate on"
    return (f"{songs} songs: {examples} examples an epoch{kept_back}", *skipped_note(split.skipped))
