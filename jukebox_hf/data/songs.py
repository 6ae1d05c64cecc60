"""Songs of a dataset: which there are, who plays them, what is sung, how long they last.

The name of a dataset goes in: a folder of audio files, a repository on the Hub, a dataset saved
on disk. Out come its usable songs in the order of their names, and those that were skipped, each
with the reason. `finding` knows what datasets look like; cutting clips is `clips`' work.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from torch import Tensor

from jukebox_hf.audio import AudioReader, resampled_length
from jukebox_hf.data import finding
from jukebox_hf.data.candidates import Candidate, FoundSongs, SkippedSong
from jukebox_hf.data.columns import ColumnNames
from jukebox_hf.data.song_sources import AudioSource, FileSource, reason_to_skip
from jukebox_hf.labels import UNKNOWN, TimedLyrics

# A song that never gets louder than -60 dB of full scale is silent.
SILENCE_PEAK = 1e-3
PROBES = 8  # places looked at before a whole song is searched for sound
PROBE_SECONDS = 0.1
SEARCH_SECONDS = 20
# The header of an mp3 file may promise a little more than there is: so much at its end is decoded.
TAIL_SECONDS = 1.0
SCAN_THREADS = 8
LISTED_KINDS = 3  # of reasons, where no song can be used


class Named(Protocol):
    """Anything with a name of its own in its dataset."""

    @property
    def name(self) -> str: ...


NamedT = TypeVar("NamedT", bound=Named)


@dataclass(frozen=True)
class Song:
    """One piece of recorded music.

    Attributes:
        name: its path in the folder, or its name in the table; unique in the dataset, and the same
            when other songs are added.
        source: where its sound is; `open` is the way to it.
        native_samples, native_rate: length in samples and sampling rate (Hz) of the recording.
        artist, genre: "unknown" where the dataset does not tell.
        lyrics: as plain text; also of timed lyrics. None if there are none.
        lyric_times: the lyrics with the times at which they are sung, where these are known.
        remarks: what is wrong with its sound as far as that has shown: missing seconds, levels.
    """

    name: str
    source: AudioSource = field(compare=False, repr=False)
    native_samples: int
    native_rate: int
    artist: str = UNKNOWN
    genre: str = UNKNOWN
    lyrics: str | None = field(default=None, repr=False)
    lyric_times: TimedLyrics | None = field(default=None, repr=False)
    remarks: tuple[str, ...] = field(default=(), compare=False, repr=False)

    @property
    def duration_seconds(self) -> float:
        """How long it lasts."""
        return self.native_samples / self.native_rate

    @property
    def path(self) -> Path | None:
        """Its file; None for a song inside a table."""
        return self.source.path if isinstance(self.source, FileSource) else None

    def num_samples(self, sampling_rate: int) -> int:
        """Its length at a sampling rate, where windows must end."""
        return resampled_length(self.native_samples, self.native_rate, sampling_rate)

    def open(self, sampling_rate: int, *, mono: bool = True) -> AudioReader:
        """Open its audio at a sampling rate; to be closed, or used in a `with` statement.

        Raises `OSError` or `ValueError` as `AudioReader` does.
        """
        return self.source.open(sampling_rate, mono=mono)


class Songs(NamedTuple):
    """What is in a dataset.

    Attributes:
        songs: the usable ones, in the order of their names.
        skipped: short, silent and damaged ones and the like; also in the order of their names.
        notes: what was not taken as given, such as lyrics that could not be read, and what is wrong
            with the sound of songs, a line each.
    """

    songs: tuple[Song, ...]
    skipped: tuple[SkippedSong, ...]
    notes: tuple[str, ...] = ()


class UnusableSongError(ValueError):
    """A song that cannot be used; the message is the reason in `SkippedSong`."""


def open_songs(
    dataset: str | os.PathLike[str],
    *,
    split: str | None = None,
    audio_column: str = "audio",
    artist_column: str | None = None,
    genre_column: str | None = None,
    lyrics_column: str | None = None,
    subset: str | None = None,
    revision: str | None = None,
    min_seconds: float = 0.0,
    max_seconds: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Songs:
    """The songs of a dataset.

    Args:
        dataset: a folder of audio files in any depth, with or without `metadata.csv`, `.jsonl` or
            `.parquet` (columns `file_name`, `artist`, `genre`, `lyrics`, or other words for these;
            tables of other names, too), as `audiofolder` has it;
            or such a metadata file; or a folder that `datasets` saved; or a dataset on the Hub
            with a column of audio, or laid out as an audio folder. Files such as `SONG.lrc`,
            `SONG.srt`, `SONG_lyrics.txt` and `SONG.txt` beside the audio are lyrics.
        split: which part; None takes "train" where there are several, and all of a plain folder.
        audio_column, artist_column, genre_column, lyrics_column: what the columns are called. None
            takes `artist`, `genre` and `lyrics` if they are there. Timed lyrics may stand in the
            lyrics column as text in the `.lrc` format, or as a list of segments with `start`
            (seconds) and `text`. Of a folder without metadata the only column is `label`, the name
            of the folder that a file lies in.
        subset: which configuration of a dataset on the Hub that has several.
        revision: branch, tag or commit of a dataset on the Hub.
        min_seconds, max_seconds: shorter songs, and songs of `max_seconds` or more, are skipped.
        progress: called with the number of songs looked into and of all.

    Every file is opened, its length is measured, and it is searched for sound. Most of it is not
    decoded: damage in the middle of a song shows only when that is read.

    Raises:
        ValueError: for a dataset without usable songs, or without a column that was named.
        OSError: if it is not there or cannot be fetched.
    """
    columns = ColumnNames(audio_column, artist_column, genre_column, lyrics_column)
    found = finding.find_songs(
        dataset, split=split, columns=columns, subset=subset, revision=revision
    )
    songs, skipped = [], list(found.skipped)
    for result in _inspect_all(found.candidates, min_seconds, max_seconds, progress):
        if isinstance(result, Song):
            songs.append(result)
        else:
            skipped.append(result)
    if not songs:
        raise ValueError(_no_songs(os.fspath(dataset), skipped))
    songs.sort(key=_by_name)
    notes = [*found.notes, *(sound_note(song.name, song.remarks) for song in songs if song.remarks)]
    return Songs(tuple(songs), tuple(sorted(skipped, key=_by_name)), tuple(notes))


def sound_note(name: str, remarks: Iterable[str]) -> str:
    """What is wrong with the sound of a song, in one line."""
    return f"{name}: {'; '.join(dict.fromkeys(remarks))}"


def stream_songs(
    dataset: str | os.PathLike[str],
    *,
    split: str | None = None,
    audio_column: str = "audio",
    artist_column: str | None = None,
    genre_column: str | None = None,
    lyrics_column: str | None = None,
    subset: str | None = None,
    revision: str | None = None,
    min_seconds: float = 0.0,
    max_seconds: float | None = None,
) -> Iterator[Song | SkippedSong]:
    """The songs of a table on the Hub one after the other, none of them kept on disk.

    Meant for a single pass, such as encoding. Arguments and errors as `open_songs`.
    """
    columns = ColumnNames(audio_column, artist_column, genre_column, lyrics_column)
    rows: Iterable[FoundSongs] = finding.stream_found(
        dataset, split=split, columns=columns, subset=subset, revision=revision
    )
    for found in rows:
        yield from found.skipped
        for candidate in found.candidates:
            yield _inspect(candidate, min_seconds, max_seconds)


def inspect_song(
    candidate: Candidate, *, min_seconds: float = 0.0, max_seconds: float | None = None
) -> Song:
    """Look into a song: how long it really is, and whether there is anything to hear.

    Raises `UnusableSongError` with the reason to skip it.
    """
    try:
        source, rate = candidate.source.prepare()
        with source.open(rate, mono=True) as reader:
            num_samples = _measured_length(reader)
            _check_duration(num_samples / rate, min_seconds, max_seconds)
            has_sound = _has_sound(reader, num_samples)
            level = reader.level_remark()
            remarks = (*source.remarks, *reader.remarks)
            if not has_sound:
                raise UnusableSongError(_silent(level, remarks))
            remarks += (level,) if level else ()
    except UnusableSongError:
        raise
    except (OSError, ValueError) as error:
        raise UnusableSongError(reason_to_skip(error)) from None
    return Song(candidate.name, source, num_samples, rate, *candidate.labels, remarks=remarks)


def split_songs(
    songs: Sequence[NamedT], validation_fraction: float, seed: int
) -> tuple[tuple[NamedT, ...], tuple[NamedT, ...]]:
    """Songs to train on, and songs held out, in the order given.

    A hash of the seed and the song's name decides, so that a song stays on its side when others are
    added or removed. Unless the fraction is 0 or there is only one song, neither side is empty.

    Raises:
        ValueError: if `validation_fraction` is not in [0, 1).
    """
    if not 0 <= validation_fraction < 1:
        raise ValueError(
            f"validation_fraction must be at least 0 and below 1, got {validation_fraction}"
        )
    drawn = [_uniform(f"{seed}:{song.name}") for song in songs]
    held_out = {index for index, number in enumerate(drawn) if number < validation_fraction}
    if validation_fraction and len(songs) > 1:
        order = sorted(range(len(songs)), key=drawn.__getitem__)
        held_out = set(order[: min(max(len(held_out), 1), len(songs) - 1)])
    train = tuple(song for index, song in enumerate(songs) if index not in held_out)
    return train, tuple(songs[index] for index in sorted(held_out))


def _uniform(text: str) -> float:
    """A number in [0, 1) that looks random but always belongs to this text."""
    digest = hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _inspect_all(
    candidates: Sequence[Candidate],
    min_seconds: float,
    max_seconds: float | None,
    progress: Callable[[int, int], None] | None,
) -> Iterator[Song | SkippedSong]:
    def inspect(candidate: Candidate) -> Song | SkippedSong:
        return _inspect(candidate, min_seconds, max_seconds)

    with ThreadPoolExecutor(SCAN_THREADS) as pool:
        for number, result in enumerate(pool.map(inspect, candidates), start=1):
            if progress is not None:
                progress(number, len(candidates))
            yield result


def _inspect(
    candidate: Candidate, min_seconds: float, max_seconds: float | None
) -> Song | SkippedSong:
    try:
        return inspect_song(candidate, min_seconds=min_seconds, max_seconds=max_seconds)
    except UnusableSongError as error:
        return SkippedSong(candidate.name, str(error))


def _measured_length(reader: AudioReader) -> int:
    """Samples that can be decoded: what the header promises, less what the end then lacks."""
    tail = min(reader.num_samples, round(TAIL_SECONDS * reader.sampling_rate))
    missing = reader.read(reader.num_samples - tail, tail).missing_samples
    if missing == tail:
        seconds = reader.num_samples / reader.sampling_rate
        raise UnusableSongError(
            f"damaged: its header promises {seconds:.1f} seconds, but it ends before that"
        )
    return reader.num_samples - missing


def _has_sound(reader: AudioReader, num_samples: int) -> bool:
    """Look at a few places first; only a song that is silent there is searched as a whole."""
    length = min(num_samples, round(PROBE_SECONDS * reader.sampling_rate))
    places = np.linspace(0, num_samples - length, PROBES + 2)[1:-1].astype(int).tolist()
    if any(_peak(reader.read(place, length).audio) >= SILENCE_PEAK for place in places):
        return True
    blocks = reader.blocks(SEARCH_SECONDS * reader.sampling_rate, stop=num_samples)
    return any(_peak(block) >= SILENCE_PEAK for block in blocks)


def _silent(level: str | None, remarks: Sequence[str]) -> str:
    reason = "nothing in it is louder than -60 dB"
    if level is not None and "cancel" in level:  # silent only as it is mixed down
        reason = level
    return f"silent: {'; '.join((reason, *remarks))}"


def _peak(audio: Tensor) -> float:
    return float(audio.abs().max())


def _check_duration(seconds: float, min_seconds: float, max_seconds: float | None) -> None:
    if seconds < min_seconds:
        raise UnusableSongError(f"too short: {seconds:.2f} of at least {min_seconds:g} seconds")
    if max_seconds is not None and seconds >= max_seconds:
        raise UnusableSongError(
            f"too long: {seconds:.2f} seconds, less than {max_seconds:g} wanted"
        )


def _no_songs(dataset: str, skipped: Sequence[SkippedSong]) -> str:
    if not skipped:
        return f"{dataset} holds no songs; expected audio files, or a table with a column of audio"
    kinds = Counter(reason.split(":")[0] for _, reason in skipped)  # such as "too short"
    examples: dict[str, str] = {}
    for name, reason in skipped:
        kind = reason.split(":")[0]
        more = f", and {kinds[kind] - 1} more like it" if kinds[kind] > 1 else ""
        examples.setdefault(kind, f"{name} ({reason}){more}")
    shown = "; ".join(examples[kind] for kind, _ in kinds.most_common(LISTED_KINDS))
    rest = sum(count for _, count in kinds.most_common()[LISTED_KINDS:])
    return f"no song of {dataset} can be used: {shown}{f'; and {rest} others' if rest else ''}"


def _by_name(item: Named) -> str:
    return item.name
