"""What a dataset says about its songs, before anyone has listened: names, labels, lyrics.

Cells of a table go in; `Labels` in plain words come out. `song_folders` and `tables` make
`Candidate`s of them, `songs` looks into these.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from jukebox_hf.data.song_sources import AudioSource
from jukebox_hf.labels import (
    TIMED_SUFFIXES,
    UNKNOWN,
    FoundLyrics,
    TimedLyrics,
    find_lyrics,
    looks_like_file_name,
    read_lyrics_file,
    timed_segments,
)
from jukebox_hf.texts import composed
from jukebox_hf.words import shorten

# What programs write into a cell for nothing; pandas reads these as nothing, too.
NOTHING = frozenset(
    {"nan", "NaN", "-nan", "None", "null", "NULL", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>"}
)


class Labels(NamedTuple):
    """What a dataset says about a song; see `songs.Song`."""

    artist: str = UNKNOWN
    genre: str = UNKNOWN
    lyrics: str | None = None
    lyric_times: TimedLyrics | None = None


class Candidate(NamedTuple):
    """A song that has been found but not looked into."""

    name: str
    source: AudioSource
    labels: Labels = Labels()


class SkippedSong(NamedTuple):
    """A song that is not used, and why."""

    name: str
    reason: str


class FoundSongs(NamedTuple):
    """What a dataset lists: what may be songs, what cannot, and what was not taken as given."""

    candidates: list[Candidate]
    skipped: list[SkippedSong]
    notes: list[str]

    def add(
        self,
        name: str,
        source: AudioSource,
        row: Mapping[str, Any],
        columns: Mapping[str, str],
        *,
        beside: Path | None = None,
        folder: Path | None = None,
    ) -> None:
        """One more song, labelled by the `columns` of its row, and by a file of lyrics beside it.

        A file with times comes before the row, one of plain text after it. Lyrics that are the name
        of a file below `folder` are read there. What cannot be read is left out, with a note.
        """
        cells = {label: row.get(column) for label, column in columns.items()}
        found = self._lyrics(name, cells.get("lyrics"), beside, folder)
        lyrics = None if found is None else found.lyrics
        if isinstance(lyrics, str) and not lyrics.strip():
            lyrics = None
        for note in () if found is None else found.notes:
            self.notes.append(f"{name}: lyrics: {note}")
        labels = Labels(
            artist=self._name(name, "artist", cells) or UNKNOWN,
            genre=self._name(name, "genre", cells) or UNKNOWN,
            lyrics=lyrics.text if isinstance(lyrics, TimedLyrics) else lyrics,
            lyric_times=lyrics if isinstance(lyrics, TimedLyrics) else None,
        )
        self.candidates.append(Candidate(name, source, labels))

    def _name(self, name: str, label: str, cells: Mapping[str, Any]) -> str:
        text = _one_line(cells.get(label))
        if text not in NOTHING:
            return text
        self.notes.append(f"{name}: {label} {text!r} is taken for nothing")
        return ""

    def _lyrics(
        self, name: str, cell: Any, beside: Path | None, folder: Path | None
    ) -> FoundLyrics | None:
        in_row = bool(cell.strip() if isinstance(cell, str) else cell)
        try:
            if beside is not None and (beside.suffix.lower() in TIMED_SUFFIXES or not in_row):
                return read_lyrics_file(beside)
            if isinstance(cell, str) and looks_like_file_name(cell):
                return read_lyrics_file(_file_of_lyrics(cell.strip(), folder))
            return parse_lyrics(cell)
        except (ValueError, OSError) as error:
            self.notes.append(f"{name}: taken without its lyrics: {error}")
        return None


def _file_of_lyrics(name: str, folder: Path | None) -> Path:
    """The file that a cell of lyrics names, below the folder of its table."""
    place = None if folder is None else (folder / name.replace("\\", "/")).resolve()
    if folder is None or place is None or not place.is_relative_to(folder.resolve()):
        raise ValueError(
            f"{shorten(name)} looks like the name of a file, and is none of its folder"
        )
    if not place.is_file():
        raise ValueError(f"{shorten(name)} looks like the name of a file, but there is none")
    return place


def _one_line(value: Any) -> str:
    """A name in one line; several become one, with commas between them."""
    if value is None or (
        isinstance(value, float) and value != value
    ):  # what tables have for nothing
        return ""
    if isinstance(value, (list, tuple)):
        return ", ".join(filter(None, map(_one_line, value)))
    if isinstance(value, Mapping) and "name" in value:
        return _one_line(value["name"])
    return composed(" ".join(str(value).split()))


def parse_lyrics(value: Any) -> FoundLyrics | None:
    """The lyrics in a cell: plain text, text with times, or a list of timed segments.

    Raises:
        ValueError: for a list that is none of timed segments.
    """
    if isinstance(value, str):
        return find_lyrics(composed(value)) if value.strip() else None
    if isinstance(value, Mapping):  # how some versions of datasets show a list of structs
        value = [
            dict(zip(value, cells, strict=False)) for cells in zip(*value.values(), strict=False)
        ]
    if isinstance(value, (list, tuple)) and value:
        timed = timed_segments(value)
        return FoundLyrics(timed, timed.notes)
    return None


def public_song_name(given: str, folder: Path | None, file: Path | None = None) -> str:
    """A song's name as its table has it, which may be published: without folders elsewhere.

    Args:
        given: a path as the table has it.
        folder: the dataset's, if it is on this machine. Of a path that is absolute or leads out of
            the folder, the part below it is the name, else the last part alone.
        file: what the path turned out to mean.

    >>> public_song_name("rock/a.wav", None), public_song_name("C:\\\\Users\\\\me\\\\a.wav", None)
    ('rock/a.wav', 'a.wav')
    """
    slashed = re.sub("(?i)^file:/+", "/", given.replace("\\", "/"))
    parts = PurePosixPath(slashed).parts
    if not re.match("[/~]|[A-Za-z]:/", slashed) and ".." not in parts:
        return given
    if folder is not None:
        for place in filter(None, (file, Path(slashed))):
            for way in (os.path.abspath, os.path.realpath):
                inside = Path(way(folder / place))
                if place.is_absolute() and inside.is_relative_to(way(folder)):
                    return inside.relative_to(way(folder)).as_posix()
    return next((part for part in reversed(parts) if part not in ("..", "/")), "a song")


def distinct_names(names: Iterable[str]) -> Iterator[str]:
    """The same names, with the number of the row after those that occurred before.

    >>> list(distinct_names(["a.wav", "b.wav", "a.wav"]))
    ['a.wav', 'b.wav', 'a.wav#2']
    """
    seen = set()
    for row, name in enumerate(names):
        yield f"{name}#{row}" if name in seen else name
        seen.add(name)
