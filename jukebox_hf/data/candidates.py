"""What a dataset says about its songs, before anyone has listened: names, labels, lyrics.

Cells of a table go in; `Labels` in plain words come out. `folders` and `tables` make `Candidate`s
of them, `songs` looks into these.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jukebox_hf.data.sources import AudioSource
from jukebox_hf.labels import (
    UNKNOWN,
    FoundLyrics,
    TimedLyrics,
    find_lyrics,
    read_lyrics_file,
    timed_segments,
)
from jukebox_hf.texts import composed

LABEL_COLUMNS = ("artist", "genre", "lyrics")


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


class Found(NamedTuple):
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
        timed: Path | None = None,
    ) -> None:
        """One more song, labelled by the `columns` of its row, and by a file of timed lyrics.

        Lyrics that cannot be read are left out, with a note.
        """
        cells = {label: row.get(column) for label, column in columns.items()}
        found: FoundLyrics | None = None
        try:
            found = parse_lyrics(cells.get("lyrics")) if timed is None else read_lyrics_file(timed)
        except (ValueError, OSError) as error:
            self.notes.append(f"{name}: taken without its lyrics: {error}")
        lyrics = None if found is None else found.lyrics
        for note in () if found is None else found.notes:
            self.notes.append(f"{name}: lyrics: {note}")
        labels = Labels(
            artist=_one_line(cells.get("artist")) or UNKNOWN,
            genre=_one_line(cells.get("genre")) or UNKNOWN,
            lyrics=lyrics.text if isinstance(lyrics, TimedLyrics) else lyrics,
            lyric_times=lyrics if isinstance(lyrics, TimedLyrics) else None,
        )
        self.candidates.append(Candidate(name, source, labels))


class ColumnNames(NamedTuple):
    """What the columns of a dataset are called; None: the usual name, if it is there."""

    audio: str = "audio"
    artist: str | None = None
    genre: str | None = None
    lyrics: str | None = None

    def present(self, existing: Sequence[str], source: str) -> dict[str, str]:
        """The columns of artist, genre and lyrics that there are, by these words.

        Raises `ValueError` for one that was asked for and does not exist.
        """
        found = {}
        for label in LABEL_COLUMNS:
            wanted = getattr(self, label)
            if wanted is not None and wanted not in existing:
                raise no_column(label, wanted, existing, source)
            if wanted is not None or label in existing:
                found[label] = wanted or label
        return found


def no_column(label: str, wanted: str, existing: Iterable[str], source: str) -> ValueError:
    """The error for a column that is not there."""
    columns = ", ".join(existing) or "none"
    return ValueError(
        f"{source} has no column {wanted!r} for the {label}; its columns are: {columns}"
    )


def _one_line(value: Any) -> str:
    """A name in one line; several become one, with commas between them."""
    if value is None or value != value:  # NaN, what tables have for nothing
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


def distinct_names(names: Iterable[str]) -> Iterator[str]:
    """The same names, with the number of the row after those that occurred before.

    >>> list(distinct_names(["a.wav", "b.wav", "a.wav"]))
    ['a.wav', 'b.wav', 'a.wav#2']
    """
    seen = set()
    for row, name in enumerate(names):
        yield f"{name}#{row}" if name in seen else name
        seen.add(name)
