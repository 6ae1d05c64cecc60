"""What to say of songs: which there are in one line, what is odd about them in a few more.

Songs with labels go in, sentences for people come out.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, Self

from jukebox_hf.data.candidates import SkippedSong
from jukebox_hf.labels import UNKNOWN, TimedLyrics
from jukebox_hf.words import printable, shorten

LISTED_EXAMPLES = 3  # of songs with the same fault


class LabelledSong(Protocol):
    """A song with its labels, as audio (`songs.Song`) or as codes (`codes.CodeSong`)."""

    @property
    def name(self) -> str: ...
    @property
    def artist(self) -> str: ...
    @property
    def genre(self) -> str: ...
    @property
    def lyrics(self) -> str | None: ...
    @property
    def lyric_times(self) -> TimedLyrics | None: ...


class SongLabels(NamedTuple):
    """What is known of a song, without its sound."""

    name: str
    artist: str
    genre: str
    lyrics: str | None
    lyric_times: TimedLyrics | None

    @classmethod
    def of(cls, song: LabelledSong) -> Self:
        """The labels of a song."""
        return cls(song.name, song.artist, song.genre, song.lyrics, song.lyric_times)


def describe_songs(songs: Sequence[LabelledSong]) -> str:
    """One line on what there is: songs, artists, genres, and how many have lyrics."""
    with_lyrics = sum(bool(song.lyrics) for song in songs)
    timed = sum(song.lyric_times is not None for song in songs)
    parts = [
        _count(len(songs), "song"),
        _names([song.artist for song in songs], "artist"),
        _names([song.genre for song in songs], "genre"),
        f"{with_lyrics or 'none'} with lyrics" + (f", {timed} of them timed" if timed else ""),
    ]
    return "; ".join(parts)


def _names(names: Sequence[str], kind: str) -> str:
    known = {name for name in names if name != UNKNOWN}
    unknown = sum(name == UNKNOWN for name in names)
    if not known:
        return f"no {kind}s known"
    return _count(len(known), kind) + (f" (of {unknown} unknown)" if unknown else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def describe_skipped(skipped: Sequence[SkippedSong]) -> list[str]:
    """Songs that are not used, those with the same reason on one line."""
    return group_notes([f"{name}: {reason}" for name, reason in skipped])


def group_notes(notes: Iterable[str]) -> list[str]:
    """Notes of the form `SONG: WHAT`; those that say the same of many songs become one line."""
    groups: dict[str, list[str]] = {}
    for note in notes:
        groups.setdefault(_kind(note), []).append(printable(note))
    lines = []
    for group in groups.values():
        if len(group) <= LISTED_EXAMPLES:
            lines += group
            continue
        names = ", ".join(
            shorten(note.partition(": ")[0])[1:-1] for note in group[:LISTED_EXAMPLES]
        )
        more = f"and {len(group) - LISTED_EXAMPLES} more"
        lines.append(f"{len(group)} songs ({names} {more}): {group[0].partition(': ')[2]}")
    return lines


def _kind(note: str) -> str:
    """What two notes have in common that say the same of different songs."""
    _, colon, what = note.partition(": ")
    if not colon:
        return note
    return re.sub(r"'[^']*'|\"[^\"]*\"|\d+(?:\.\d+)?|\S*/\S*", "#", what)
