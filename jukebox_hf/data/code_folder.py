"""A folder of codes while it is being filled, by one process or several, with interruptions.

Rows go in and are written in parts, each whole or not there. A shard that is through leaves a file
with the songs that it skipped; when all songs are accounted for, the folder is made complete. Parts
are only added while songs are encoded; what is there changes under a lock, and readers look again
where a part has gone. Two processes that by mistake do the same shard waste time and no more.
"""

import contextlib
import hashlib
import json
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jukebox_hf.data.candidates import SkippedSong
from jukebox_hf.data.code_files import (
    CODES_FILE,
    INFO_FILE,
    PART_PREFIX,
    PART_SUFFIX,
    STATE_FILE,
    CodesInfo,
    described,
    part_files,
    read_part,
    rewrite_part,
    write_part,
)
from jukebox_hf.files import sweep_leftovers, write_text
from jukebox_hf.locks import FolderInUseError, locked
from jukebox_hf.records import from_json, read_json, to_json

SHARD_PREFIX = "shard-"
CONTENTS_SUFFIX = ".contents.json"  # beside a part: what its songs' files were
LOCK_NAME = "codes.lock"
READ_ATTEMPTS = 200
WAIT_SECONDS = 0.05
LONGEST_WAIT_SECONDS = 600.0


@dataclass(frozen=True)
class SongContent:
    """What the file of a song was: its size, when it was changed last, and a hash of its bytes."""

    size: int
    changed_ns: int | None
    sha256: str


@dataclass(frozen=True)
class _Contents:
    songs: dict[str, SongContent]


@dataclass(frozen=True)
class _Shard:
    skipped: list[tuple[str, str]]


class CodeFolder:
    """One process's view of a folder that is being filled.

    Args:
        path: made if it is not there.
        info: what is to be written.
        shard, num_shards: this process's part of the songs.

    Raises `ValueError` if the folder holds something else, or codes of another codec.
    """

    def __init__(self, path: Path, info: CodesInfo, shard: int, num_shards: int) -> None:
        self.path = path
        self.info = info
        self._shard_name = f"{shard:05d}-of-{num_shards:05d}"
        self._all_shards = [f"{number:05d}-of-{num_shards:05d}" for number in range(num_shards)]
        path.mkdir(parents=True, exist_ok=True)
        description = path / CODES_FILE
        if description.is_file():
            info.check_same(CodesInfo.load(description), path)
            if read_json(description).get("model") != info.model:
                info.save(description)  # of before it may have been a path
        elif any(not file.name.startswith(".") for file in path.iterdir()):
            raise ValueError(
                f"{path} is not empty and holds no dataset of codes; give a new or empty folder"
            )
        else:
            info.save(description)

    def lengths(self) -> dict[str, int]:
        """The length in samples of every song that is there, by its name."""
        found: dict[str, int] = {}
        for _, table in self._tables(["song", "total_samples"]):
            found.update(zip(table["song"], table["total_samples"], strict=True))
        return found

    def contents(self) -> dict[str, SongContent]:
        """What the files of songs were when they were encoded, where that is known."""
        return {name: song for _, songs in self._all_contents() for name, song in songs.items()}

    def _all_contents(self) -> Iterator[tuple[Path, dict[str, SongContent]]]:
        for path in sorted(self.path.glob(f"{PART_PREFIX}*{CONTENTS_SUFFIX}")):
            with contextlib.suppress(OSError, ValueError):  # then length alone tells songs apart
                yield path, from_json(_Contents, read_json(path), str(path)).songs

    def drop(self, names: Collection[str]) -> None:
        """Take songs out; the folder is not complete until `complete` is called."""
        with self._alone():
            (self.path / STATE_FILE).unlink(missing_ok=True)
            self._rewrite(lambda row: None if row["song"] in names else {}, ["song"])
            for path, songs in self._all_contents():
                kept = {name: content for name, content in songs.items() if name not in names}
                if len(kept) < len(songs):
                    _write_json(path, to_json(_Contents(kept)))

    def relabel(self, labels: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Give songs the labels and lyrics that they have now; returns those that had others."""
        changed: list[str] = []
        columns = ["song", *next(iter(labels.values()), {})]

        def change(row: Mapping[str, Any]) -> Mapping[str, Any]:
            wanted = labels.get(row["song"])
            if wanted is None or all(row[name] == value for name, value in wanted.items()):
                return {}
            changed.append(row["song"])
            return wanted

        with self._alone():
            self._rewrite(change, columns)
        return sorted(set(changed))

    def _tables(self, columns: Sequence[str]) -> list[tuple[Path, Any]]:
        """The parts that are there; looks again if another process took one away meanwhile."""
        for _ in range(READ_ATTEMPTS):
            with contextlib.suppress(FileNotFoundError):
                return [
                    (part, read_part(part).select_columns(list(columns)))
                    for part in part_files(self.path)
                ]
            time.sleep(WAIT_SECONDS)
        raise OSError(f"{self.path} is being changed all the time by other processes; try again")

    def _rewrite(
        self, change: Callable[[Mapping[str, Any]], Mapping[str, Any] | None], columns: list[str]
    ) -> None:
        """Let `change` say of every row what is new in it, or None to take it out."""
        for part, table in self._tables(columns):
            changes = [change(row) for row in table]
            kept = [number for number, row in enumerate(changes) if row is not None]
            if len(kept) < len(changes) or any(changes):
                del table
                news = [row for row in changes if row is not None]
                rewrite_part(part, kept, news, self.info.levels)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process changes parts meanwhile; waits for one that does."""
        deadline = time.monotonic() + LONGEST_WAIT_SECONDS
        with contextlib.ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(locked(self.path, LOCK_NAME))
                    break
                except FolderInUseError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(WAIT_SECONDS)
            yield

    def add(
        self, rows: Sequence[Mapping[str, Any]], contents: Mapping[str, SongContent] | None = None
    ) -> None:
        """Write songs, all of them or none, and what their files were."""
        if rows:
            name = f"{PART_PREFIX}{self._shard_name}-{secrets.token_hex(6)}"
            if contents:
                record = to_json(_Contents(dict(contents)))
                _write_json(self.path / f"{name}{CONTENTS_SUFFIX}", record)
            write_part(self.path / f"{name}{PART_SUFFIX}", rows, self.info.levels)

    def end_shard(self, skipped: Sequence[SkippedSong]) -> None:
        """Say that this shard is through, and what could not be encoded."""
        _write_json(
            self._shard_file(self._shard_name), {"skipped": [list(song) for song in skipped]}
        )

    def missing_songs(self, names: Iterable[str]) -> list[str]:
        """Which of these songs are neither there nor skipped by a shard."""
        accounted = set(self.lengths())
        for file in self.path.glob(f"{SHARD_PREFIX}*.json"):
            try:
                shard = from_json(_Shard, read_json(file), str(file))
            except FileNotFoundError:
                continue  # another process has just replaced it
            accounted |= {name for name, _ in shard.skipped}
        return [name for name in names if name not in accounted]

    def missing_shards(self) -> list[str]:
        """Which shards have not said that they are through."""
        return [name for name in self._all_shards if not self._shard_file(name).is_file()]

    def complete(self) -> None:
        """Make the folder one that `open_codes` and `datasets.load_from_disk` read."""
        with self._alone():
            self._drop_repeated_songs()
            self._describe()

    def _describe(self) -> None:
        """Make the folder one that `datasets.load_from_disk` reads."""
        parts = [path.name for path in part_files(self.path)]
        own = {
            "_data_files": [{"filename": name} for name in parts],
            "_fingerprint": self._fingerprint(parts),
            "_split": "train",
        }
        info, state = described(self.info.levels, DESCRIPTION)
        _write_json(self.path / INFO_FILE, info)
        _write_json(self.path / STATE_FILE, {**state, **own})
        sweep_leftovers(self.path)  # not what another process is writing just now

    def _fingerprint(self, parts: Sequence[str]) -> str:
        """A hash by which `datasets` knows what it has computed of a table: parts and labels."""
        digest = hashlib.sha256("\n".join(parts).encode())
        for _, table in self._tables(["song", "artist", "genre", "lyrics", "total_samples"]):
            for row in table:
                digest.update(repr(list(row.values())).encode(errors="surrogatepass"))
        return digest.hexdigest()[:16]

    def _drop_repeated_songs(self) -> None:
        seen: set[str] = set()

        def change(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
            if row["song"] in seen:
                return None
            seen.add(row["song"])
            return {}

        self._rewrite(change, ["song"])

    def _shard_file(self, name: str) -> Path:
        return self.path / f"{SHARD_PREFIX}{name}.json"


DESCRIPTION = "Codes of songs, made by `jukebox encode`; jukebox_codes.json says by which codec."


def _write_json(path: Path, content: object) -> None:
    write_text(path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")
