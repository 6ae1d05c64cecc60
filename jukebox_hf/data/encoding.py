"""Songs to a dataset of their codes, so that priors train without running the codec again.

Songs and a codec go in; a folder of codes comes out. The work can be interrupted at any time and
divided among processes: what is there is kept, and what is missing is made.
"""

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
from jukebox_hf.data.code_folder import CodeFolder
from jukebox_hf.data.regions import encodable_samples, encode_sections
from jukebox_hf.data.songs import Song
from jukebox_hf.data.sources import reason_to_skip
from jukebox_hf.vqvae import JukeboxVQVAE

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
        complete: whether every song is there or skipped, so that `open_codes` opens the folder;
            otherwise other shards have not finished.
    """

    folder: Path
    encoded: int
    present: int
    skipped: tuple[SkippedSong, ...]
    complete: bool


def encode_dataset(
    songs: Iterable[Song | SkippedSong],
    vqvae: JukeboxVQVAE,
    folder: str | os.PathLike[str],
    *,
    levels: Sequence[int] | None = None,
    shard: int = 0,
    num_shards: int = 1,
    model: str | None = None,
    progress: Callable[[EncodingProgress], None] | None = None,
) -> EncodingReport:
    """Encode songs with a codec into a dataset of codes, which `open_codes` opens.

    Args:
        songs: those of `open_songs`, or the stream of `stream_songs`; the same for every shard.
        vqvae: the codec, on the device where it is to run.
        folder: where to write; made if it is not there. If it holds codes of the same codec and
            levels already, only songs that are missing are encoded.
        levels: which levels to keep; None: all.
        shard, num_shards: encode every `num_shards`-th song only, from song `shard` on; for several
            processes that write into the same folder. The last one makes it complete.
        model: the codec's name, for the record.
        progress: called after every section of a song.

    A song that turns out to be damaged is skipped. Songs are written together, every minute or so:
    that is what an interruption costs.

    Raises:
        ValueError: for a folder that holds something else or codes of another codec; for a codec
            without codebooks; if no song can be encoded; if a song that is there has changed.
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
        run.announce(song for song in mine if isinstance(song, Song))
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
    else:
        complete = not target.missing_shards()
    present = len(target.lengths())
    if complete:
        if not present:
            raise ValueError(_nothing_encoded(run.skipped))
        target.complete()
    return EncodingReport(target.path, run.encoded, present, tuple(run.skipped), complete)


class _Run:
    """The songs of one run on their way into the folder."""

    def __init__(
        self,
        folder: CodeFolder,
        vqvae: JukeboxVQVAE,
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

    def announce(self, songs: Iterable[Song]) -> None:
        """Say what is to come, for the progress."""
        missing = [song for song in songs if song.name not in self._present]
        self._songs = len(missing)
        self._seconds = sum(song.duration_seconds for song in missing)

    def take(self, song: Song | SkippedSong) -> None:
        """Encode a song unless it is there, and write when there is enough to write."""
        if isinstance(song, SkippedSong):
            self.skipped.append(song)
            return
        total = song.num_samples(self._folder.info.sampling_rate)
        if song.name in self._present:
            if self._present[song.name] != total:
                raise ValueError(
                    f"{song.name} has changed since it was encoded into {self._folder.path} (it "
                    f"had {self._present[song.name]} samples, now {total}); use another folder"
                )
            return
        done = self._seconds_done
        try:
            row = self._encode(song, total)
        except (OSError, ValueError) as error:
            self.skipped.append(SkippedSong(song.name, reason_to_skip(error)))
        else:
            self._present[song.name] = total
            self._rows.append(row)
            self._bytes += sum(cell.nbytes for name, cell in row.items() if name[:6] == "codes_")
            self.encoded += 1
        self._seconds_done = done + song.duration_seconds
        if self._bytes >= PART_BYTES or time.monotonic() - self._written >= PART_SECONDS:
            self.write()

    def write(self) -> None:
        """Write the songs that are done."""
        self.failed_to_write = True
        self._folder.add(self._rows)
        self.failed_to_write = False
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
        codes = [torch.cat(level, dim=1)[0].numpy() for level in zip(*sections, strict=True)]
        return {
            "song": song.name,
            "artist": song.artist,
            "genre": song.genre,
            "lyrics": song.lyrics,
            **timed_lyrics_cells(song.lyric_times),
            "total_samples": total,
            **{f"codes_{level}": found for level, found in zip(info.levels, codes, strict=True)},
        }

    def _report(self, name: str) -> None:
        if self._progress is not None:
            self._progress(
                EncodingProgress(name, self.encoded, self._songs, self._seconds_done, self._seconds)
            )


def _nothing_encoded(skipped: Sequence[SkippedSong]) -> str:
    shown = "; ".join(f"{name} ({reason})" for name, reason in skipped[:3]) or "there are none"
    return f"no song could be encoded: {shown}"
