"""A folder of codes while it is being filled, by one process or several, with interruptions.

Rows go in and are written in parts, each whole or not there. A shard that is through leaves a file
with the songs that it skipped; when all songs are accounted for, the folder is made complete. No
locks: two processes that by mistake do the same shard waste time, but spoil nothing.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
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
    code_features,
    part_files,
    read_part,
    write_part,
    write_text,
)
from jukebox_hf.files import PARTIAL_SUFFIX

SHARD_PREFIX = "shard-"


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
        elif any(not file.name.startswith(".") for file in path.iterdir()):
            raise ValueError(
                f"{path} is not empty and holds no dataset of codes; give a new or empty folder"
            )
        else:
            info.save(description)

    def lengths(self) -> dict[str, int]:
        """The length in samples of every song that is there, by its name."""
        found: dict[str, int] = {}
        for part in part_files(self.path):
            table = read_part(part).select_columns(["song", "total_samples"])
            found.update(zip(table["song"], table["total_samples"], strict=True))
        return found

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write songs, all of them or none."""
        if rows:
            name = f"{PART_PREFIX}{self._shard_name}-{secrets.token_hex(6)}{PART_SUFFIX}"
            write_part(self.path / name, rows, self.info.levels)

    def end_shard(self, skipped: Sequence[SkippedSong]) -> None:
        """Say that this shard is through, and what could not be encoded."""
        _write_json(
            self._shard_file(self._shard_name), {"skipped": [list(song) for song in skipped]}
        )

    def missing_songs(self, names: Iterable[str]) -> list[str]:
        """Which of these songs are neither there nor skipped by a shard."""
        accounted = set(self.lengths())
        for file in self.path.glob(f"{SHARD_PREFIX}*.json"):
            accounted |= {
                name for name, _ in json.loads(file.read_text(encoding="utf-8"))["skipped"]
            }
        return [name for name in names if name not in accounted]

    def missing_shards(self) -> list[str]:
        """Which shards have not said that they are through."""
        return [name for name in self._all_shards if not self._shard_file(name).is_file()]

    def complete(self) -> None:
        """Make the folder one that `open_codes` and `datasets.load_from_disk` read."""
        from datasets import DatasetInfo

        self._drop_repeated_songs()
        parts = [path.name for path in part_files(self.path)]
        features = asdict(DatasetInfo(features=code_features(self.info.levels)))["features"]
        _write_json(self.path / INFO_FILE, {"description": DESCRIPTION, "features": features})
        state: dict[str, object] = {
            "_data_files": [{"filename": name} for name in parts],
            "_fingerprint": hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16],
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": "train",
        }
        _write_json(self.path / STATE_FILE, state)
        for leftover in self.path.glob(f".{PART_PREFIX}*{PARTIAL_SUFFIX}"):
            leftover.unlink(missing_ok=True)  # of a process that was killed while it wrote

    def _drop_repeated_songs(self) -> None:
        seen: set[str] = set()
        for part in part_files(self.path):
            table = read_part(part)
            names = list(table["song"])
            fresh = [row for row, name in enumerate(names) if name not in seen]
            seen.update(names)
            if len(fresh) < len(names):
                self.add([table[row] for row in fresh])
                part.unlink()

    def _shard_file(self, name: str) -> Path:
        return self.path / f"{SHARD_PREFIX}{name}.json"


DESCRIPTION = "Codes of songs, made by `jukebox encode`; jukebox_codes.json says by which codec."


def _write_json(path: Path, content: object) -> None:
    write_text(path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")
