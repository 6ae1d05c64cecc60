"""Songs to a dataset of their codes, so that priors train without running the codec again.

Songs and a codec go in; a folder of codes comes out. The work can be interrupted at any time and
divided among processes: what is there is kept, and what is missing is made.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import torch

from jukebox_hf.data.candidates import SkippedSong
from jukebox_hf.data.code_files import CodesInfo, timed_lyrics_cells
from jukebox_hf.data.code_folder import CodeFolder, SongContent
from jukebox_hf.data.regions import encodable_samples, encode_sections
from jukebox_hf.data.song_sources import reason_to_skip
from jukebox_hf.data.songs import Song, sound_note
from jukebox_hf.vqvae.network import VQVAENetwork

# Songs are written together when there are so many bytes of codes, or so much time has passed: what
# an interruption can cost, and how many files there will be.
PART_BYTES = 64 * 2**20
PART_SECONDS = 60.0


class EncodingProgress(NamedTuple):
    """How far a run has come.

    Attributes:
        song: which one is being encoded.
        songs_done, songs: how many this run has finished, and how many it has to do, or None if
            nobody knows yet.
        seconds_done, seconds: of audio, likewise.
    """

    song: str
    songs_done: int
    songs: int | None
    seconds_done: float
    seconds: float | None


@dataclass(frozen=True)
class EncodingReport:
    """What a run did.

    Attributes:
        folder: where the codes are.
        encoded: how many songs this run encoded.
        present: how many the folder holds now, of all runs and shards.
        skipped: songs of this shard that could not be encoded.
        relabelled: songs that were there and have other labels or lyrics now; they have got them.
        changed: songs whose files have changed; they were encoded again.
        gone: songs that the folder holds and the dataset does not have any more.
        notes: what is wrong with the sound of songs and showed only now, such as damage in the
            middle; of a stream all of it.
        complete: whether every song is there or skipped, so that `open_codes` opens the folder;
            otherwise other shards have not finished.
    """

    folder: Path
    encoded: int
    present: int
    skipped: tuple[SkippedSong, ...]
    complete: bool
    relabelled: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def encode_dataset(
    songs: Iterable[Song | SkippedSong],
    vqvae: VQVAENetwork,
    folder: str | os.PathLike[str],
    *,
    levels: Sequence[int] | None = None,
    shard: int = 0,
    num_shards: int = 1,
    model: str | None = None,
    drop_missing: bool = False,
    progress: Callable[[EncodingProgress], None] | None = None,
) -> EncodingReport:
    """Encode songs with a codec into a dataset of codes, which `open_codes` opens.

    Args:
        songs: those of `open_songs`, or the stream of `stream_songs`; the same for every shard.
        vqvae: the codec, on the device where it is to run.
        folder: where to write; made if it is not there. If it holds codes of the same codec and
            levels already, only songs that are missing or whose files have changed are encoded;
            all songs get the labels and lyrics that they have now.
        levels: which levels to keep; None: all.
        shard, num_shards: encode every `num_shards`-th song only, from song `shard` on; for several
            processes that write into the same folder. The last one makes it complete.
        model: the codec's name, for the record.
        drop_missing: take songs out of the folder that are not among `songs` any more.
        progress: called after every section of a song.

    A song that turns out to be damaged is skipped. Songs are written together, every minute or so:
    that is what an interruption costs.

    Raises:
        ValueError: for a folder that holds something else or codes of another codec; for a codec
            without codebooks; if no song can be encoded; if most songs that are there have changed,
            as if they were others of the same names.
        OSError: if the folder cannot be written.
    """
    if not 0 <= shard < num_shards:
        raise ValueError(f"shard must be from 0 to {num_shards - 1}, got {shard}")
    if not vqvae.config.use_codebook:
        raise ValueError("this codec has no codebooks, so it makes no codes; use another one")
    info = CodesInfo.of(vqvae, levels, model)
    target = CodeFolder(Path(folder), info, shard, num_shards)
    run = _Run(target, vqvae, progress)
    mine: Iterable[Song | SkippedSong] = islice(songs, shard, None, num_shards)
    if isinstance(songs, Sequence):
        mine = list(mine)
        run.announce([song for song in mine if isinstance(song, Song)])
    try:
        for song in mine:
            run.take(song)
    finally:
        if not run.failed_to_write:
            run.write()  # also after Ctrl-C
    target.end_shard(run.skipped)
    if isinstance(songs, Sequence):
        names = [song.name for song in songs if isinstance(song, Song)]
        complete = not target.missing_songs(names)
        labels = {song.name: _labels(song) for song in songs if isinstance(song, Song)}
        gone = sorted(target.lengths().keys() - names)
    else:
        labels, gone = run.labels, []
        complete = not target.missing_shards()
    if gone and drop_missing:
        target.drop(gone)
    present = len(target.lengths())
    relabelled: list[str] = []
    if complete:
        if not present:
            raise ValueError(_nothing_encoded(run.skipped))
        relabelled = target.relabel(labels)
        target.complete()
    return EncodingReport(
        target.path,
        run.encoded,
        present,
        tuple(run.skipped),
        complete,
        tuple(relabelled),
        tuple(run.changed),
        tuple(gone),
        tuple(run.notes),
    )


def _labels(song: Song) -> dict[str, Any]:
    """What a dataset says about a song, as cells of its row."""
    return {
        "artist": song.artist,
        "genre": song.genre,
        "lyrics": song.lyrics,
        **timed_lyrics_cells(song.lyric_times),
    }


class _Run:
    """The songs of one run on their way into the folder."""

    def __init__(
        self,
        folder: CodeFolder,
        vqvae: VQVAENetwork,
        progress: Callable[[EncodingProgress], None] | None,
    ) -> None:
        self._folder = folder
        self._vqvae = vqvae
        self._progress = progress
        self._present = folder.lengths()
        self._rows: list[dict[str, Any]] = []
        self._bytes = 0
        self._written = time.monotonic()
        self._songs: int | None = None
        self._seconds: float | None = None
        self._seconds_done = 0.0
        self.encoded = 0
        self.failed_to_write = False
        self.skipped: list[SkippedSong] = []
        self.changed: list[str] = []
        self.notes: list[str] = []
        self.labels: dict[str, dict[str, Any]] = {}
        self._contents: dict[str, SongContent] = {}

    def announce(self, songs: Sequence[Song]) -> None:
        """Say what is to come, for the progress; songs that have changed are to come again."""
        self._find_changed(songs)
        missing = [song for song in songs if song.name not in self._present]
        self._songs = len(missing)
        self._seconds = sum(song.duration_seconds for song in missing)

    def _find_changed(self, songs: Sequence[Song]) -> None:
        known = self._folder.contents()
        there = [song for song in songs if song.name in self._present]
        changed = []
        for song in there:
            total = song.num_samples(self._folder.info.sampling_rate)
            before = known.get(song.name)
            if self._present[song.name] != total or not _is_same(song, before):
                changed.append(song)
        if 2 * len(changed) > len(there):  # more likely another dataset with the same names
            raise ValueError(self._has_changed(changed[0]))
        self.changed = [song.name for song in changed]
        if changed:
            self._folder.drop(self.changed)
            for name in self.changed:
                del self._present[name]

    def _has_changed(self, song: Song) -> str:
        before = self._present[song.name]
        total = song.num_samples(self._folder.info.sampling_rate)
        what = "its content is another"
        if before != total:
            what = f"it had {before} samples, now {total}"
        return (
            f"{song.name} has changed since it was encoded into {self._folder.path} ({what}); use "
            "another folder"
        )

    def take(self, song: Song | SkippedSong) -> None:
        """Encode a song unless it is there, and write when there is enough to write."""
        if isinstance(song, SkippedSong):
            self.skipped.append(song)
            return
        total = song.num_samples(self._folder.info.sampling_rate)
        self.labels[song.name] = _labels(song)
        if song.name in self._present:
            if self._present[song.name] != total:
                raise ValueError(self._has_changed(song))
            return
        done = self._seconds_done
        try:
            content = _content(song)
            row = self._encode(song, total)
        except (OSError, ValueError) as error:
            self.skipped.append(SkippedSong(song.name, reason_to_skip(error)))
        else:
            self._present[song.name] = total
            self._rows.append(row)
            if content is not None:
                self._contents[song.name] = content
            self._bytes += sum(cell.nbytes for name, cell in row.items() if name[:6] == "codes_")
            self.encoded += 1
        self._seconds_done = done + song.duration_seconds
        if self._bytes >= PART_BYTES or time.monotonic() - self._written >= PART_SECONDS:
            self.write()

    def write(self) -> None:
        """Write the songs that are done."""
        self.failed_to_write = True
        self._folder.add(self._rows, self._contents)
        self.failed_to_write = False
        self._contents = {}
        self._rows, self._bytes, self._written = [], 0, time.monotonic()

    def _encode(self, song: Song, total: int) -> dict[str, Any]:
        info = self._folder.info
        if not encodable_samples(total, info.hop_lengths):
            raise ValueError(
                f"too short: one code takes {info.hop_lengths[-1]} samples, it has {total}"
            )
        sections = []
        with song.open(info.sampling_rate) as reader:
            for section in encode_sections(self._vqvae, reader, total, info.levels):
                sections.append(section)
                seconds = (
                    section[0].shape[1] * info.hop_lengths[info.levels[0]] / info.sampling_rate
                )
                self._seconds_done += seconds
                self._report(song.name)
            told = () if self._songs is None else song.remarks  # `open_songs` has told these
            remarks = [note for note in (*song.remarks, *reader.remarks) if note not in told]
            if remarks:
                self.notes.append(sound_note(song.name, remarks))
        codes = [torch.cat(level, dim=1)[0].numpy() for level in zip(*sections, strict=True)]
        return {
            "song": song.name,
            **_labels(song),
            "total_samples": total,
            **{f"codes_{level}": found for level, found in zip(info.levels, codes, strict=True)},
        }

    def _report(self, name: str) -> None:
        if self._progress is not None:
            self._progress(
                EncodingProgress(name, self.encoded, self._songs, self._seconds_done, self._seconds)
            )


def _content(song: Song) -> SongContent | None:
    """What the file of a song is now; None for a song that is in no file."""
    if song.path is None:
        return None
    stat = song.path.stat()
    with song.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return SongContent(stat.st_size, stat.st_mtime_ns, digest)


def _is_same(song: Song, before: SongContent | None) -> bool:
    """Whether a song's file is what it was; unknown counts as yes."""
    if before is None or song.path is None:
        return True
    stat = song.path.stat()
    if (stat.st_size, stat.st_mtime_ns) == (before.size, before.changed_ns):
        return True  # it need not be read
    now = _content(song)
    return now is not None and now.sha256 == before.sha256


def _nothing_encoded(skipped: Sequence[SkippedSong]) -> str:
    shown = "; ".join(f"{name} ({reason})" for name, reason in skipped[:3]) or "there are none"
    return f"no song could be encoded: {shown}"
