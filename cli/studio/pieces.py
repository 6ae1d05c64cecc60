"""The pieces in a folder as the page shows them: sessions, read from their files without torch.

A folder goes in; plain values for JSON come out. Whatever a `session.json` of a stranger holds, the
rest of the folder is still shown. Nothing is written here, no link is followed, and names that come
from the page are looked up among those that were found, never joined to a path.
"""

from __future__ import annotations

import json
import math
import os
import stat
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jukebox_hf.sampling_settings import SETTINGS

RECORD_NAME = "session.json"
PREVIEW_FOLDER = "preview"
TRASH_FOLDER = ".trash"
LARGEST_RECORD = 64 * 2**20
LARGEST_WORDS = 4 * 2**20
KNOWN_VERSION = 1
PCM = 1
WAV_HEADER = struct.Struct("<4sI4s4sIHHIIHH4sI")
AUDIO_TYPES = {".flac": "audio/flac", ".wav": "audio/wav"}
DAMAGED = (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError)


@dataclass(frozen=True)
class Piece:
    """One session, read.

    Attributes:
        name: of its folder.
        folder: where it is.
        facts: what the page shows of it; see `_facts`.
        error: one sentence if its record cannot be read; `facts` is empty then.
    """

    name: str
    folder: Path
    facts: dict[str, Any] = field(default_factory=dict)
    error: str | None = None

    @property
    def complete(self) -> bool:
        return bool(self.facts.get("complete"))

    @property
    def takes(self) -> list[dict[str, Any]]:
        return list(self.facts.get("takes", []))


class Pieces:
    """The sessions directly in a folder; a record is read again when its file has changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, tuple[tuple[int, int], Piece]] = {}

    def scan(self) -> dict[str, Piece]:
        """All sessions by name, oldest first."""
        found = dict(self._scan(self.folder))
        self._read = {name: self._read[name] for name in found}
        pieces = (piece for _, piece in self._read.values())
        return {
            piece.name: piece
            for piece in sorted(pieces, key=lambda one: (one.facts.get("created", ""), one.name))
        }

    def _scan(self, folder: Path) -> Iterator[tuple[str, Piece]]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            return
        for entry in entries:
            if entry.name.startswith(".") or not entry.is_dir(follow_symlinks=False):
                continue
            path = plain_file(Path(entry.path), RECORD_NAME)
            if path is None:
                continue
            status = path.stat()
            stamp = (status.st_mtime_ns, status.st_size)
            known = self._read.get(entry.name)
            if known is None or known[0] != stamp:
                self._read[entry.name] = (stamp, read_piece(entry.name, Path(entry.path)))
            yield entry.name, self._read[entry.name][1]

    def removed(self) -> list[str]:
        """Names of the pieces in the bin, the one that was removed last first."""
        trash = self.folder / TRASH_FOLDER
        if trash.is_symlink():
            return []
        try:
            entries = [
                entry
                for entry in os.scandir(trash)
                if entry.is_dir(follow_symlinks=False)
                and plain_file(Path(entry.path), RECORD_NAME) is not None
            ]
        except OSError:
            return []
        entries.sort(key=lambda entry: entry.stat(follow_symlinks=False).st_ctime_ns, reverse=True)
        return [entry.name for entry in entries]

    def is_free(self, name: str) -> bool:
        """Whether a new piece may have that name, also where capitals do not count."""
        taken = {path.lower() for path in os.listdir(self.folder)} if self.folder.is_dir() else ()
        return name.lower() not in taken


def read_piece(name: str, folder: Path) -> Piece:
    """One session; damaged or too new ones come with a sentence."""
    path = folder / RECORD_NAME
    try:
        if path.stat().st_size > LARGEST_RECORD:
            raise ValueError(f"it is larger than {LARGEST_RECORD >> 20} MB")
        record = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
        version = record["format_version"]
        if isinstance(version, int) and version > KNOWN_VERSION:
            sentence = (
                f"{name} was made by a later version of jukebox-hf; upgrade with "
                "`pip install -U jukebox-hf` to open it"
            )
            return Piece(name, folder, error=sentence)
        return Piece(name, folder, _facts(record))
    except (*DAMAGED, OSError) as error:
        detail = " ".join(str(error).split())[:200]
        return Piece(name, folder, error=f"{name}/{RECORD_NAME} cannot be read: {detail}")


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no number of a record")


# --- what a record says -------------------------------------------------------------------------


def _facts(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the page needs of a record, each value checked for its kind."""
    rate = _number(record["sampling_rate"], low=1)
    hops = [_number(hop, low=1) for hop in record["hop_lengths"]]
    settings, model = record["settings"], record["model"]
    shares = _chain_counts(record)
    takes = [_take(take, rate, hops, shares) for take in record["takes"]]
    if not takes:
        raise ValueError("it has no takes")
    return {
        "id": _text(record.get("id")),
        "created": _text(record["created"]) or "",
        "updated": _text(record.get("updated")) or "",
        "complete": record["complete"] is True,
        "model": _text(model["name"]) or short_model(_text(model["source"])) or "",
        "licence": _text(model["licence"]),
        "seed": str(int(settings["seed"])),
        "to_level": int(_number(settings["to_level"], low=0)),
        "top_level": len(hops) - 1,
        "precision": _text(settings["precision"]) or "",
        "settings": _level_settings(settings["levels"]),
        "notes": [text for text in record["notes"] if isinstance(text, str)],
        "parent": _parent(record.get("parent")),
        "takes": takes,
        "seams": _seams(record),
    }


def _take(
    take: Mapping[str, Any],
    rate: float,
    hops: list[float],
    chain_counts: Mapping[tuple[int, int], int],
) -> dict[str, Any]:
    number = int(_number(take["number"], low=1))
    prompt = take["prompt"]
    seconds = _number(take["seconds"], low=0)
    levels = []
    for level, hop in enumerate(hops):
        entry = (take["codes"] or {}).get(str(level), {"count": 0})
        count = _number(entry["count"], low=0)
        made = max(count, chain_counts.get((number, level), 0))
        levels.append(
            {
                "level": level,
                "heard_seconds": round(count * hop / rate, 3),
                "share": round(min(made * hop / rate / max(seconds, 1e-9), 1.0), 4),
            }
        )
    existing = take.get("existing") or {}
    top = len(hops) - 1
    lyrics = prompt["lyrics"]
    if isinstance(lyrics, Mapping):  # with times
        lyrics = " ".join(str(segment[1]) for segment in lyrics["segments"])
    audio = take["audio"]
    return {
        "number": number,
        "seconds": seconds,
        "kept": take["kept"] is True,
        "genre": _text(prompt["genre"]),
        "artist": _text(prompt["artist"]),
        "lyrics": _text(lyrics),
        "cut_seconds": round(_number(existing.get(str(top), 0), low=0) * hops[top] / rate, 3),
        "levels": levels,
        "audio": _text(audio),
        "alignment": [name for name in take.get("alignment") or [] if isinstance(name, str)],
    }


def _chain_counts(record: Mapping[str, Any]) -> dict[tuple[int, int], int]:
    """Codes made of levels that are cut into chains, before these are joined."""
    counts = {}
    for entry in record["chains"]:
        made = [int(_number(one["count"], low=0)) for one in entry["codes"] if one is not None]
        begin = min((int(run[0]) for run in entry["runs"]), default=0)
        ways = len(made) if len({tuple(run) for run in entry["runs"]}) == 1 else 1  # candidates
        counts[int(entry["take"]), int(entry["level"])] = begin + sum(made) // max(ways, 1)
    return counts


def _seams(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Where takes are joined: as they began, and where levels were made in chains."""
    filled = {(entry["take"], entry["level"]) for entry in record.get("filled") or []}
    given = [
        entry
        for entry in record.get("given") or []
        if (entry["take"], entry["level"]) not in filled
    ]
    return [
        {
            "take": int(entry["take"]),
            "level": int(entry["level"]),
            "seconds": _number(seam["seconds"], low=0),
        }
        for entry in (*given, *(record.get("filled") or []), *record["chains"])
        for seam in entry["seams"] or []
    ]


def _level_settings(levels: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    names = [name for name, kind in SETTINGS.items() if kind.type is not bool]
    return {
        str(int(level)): {
            name: own[name]
            for name in names
            if isinstance(own.get(name), (int, float, str)) and _is_finite(own[name])
        }
        for level, own in levels.items()
    }


def _parent(parent: Any) -> dict[str, Any] | None:
    if not isinstance(parent, Mapping):
        return None
    source = parent.get("source")
    takes = parent.get("takes")
    seconds = parent.get("from_seconds")
    details = parent.get("details")
    details = details if isinstance(details, Mapping) else {}
    parts, end = details.get("parts"), details.get("to_seconds")
    return {
        "parts": [_part(part) for part in parts] if isinstance(parts, list) else [],
        "id": _text(parent.get("id")),
        # Sessions of earlier versions name a path; its last part is what may still be here.
        "name": source.replace("\\", "/").rstrip("/").rpartition("/")[2]
        if isinstance(source, str)
        else None,
        "action": _text(parent.get("action")),
        "takes": [one for one in takes if isinstance(one, int)] if isinstance(takes, list) else [],
        "from_seconds": _seconds(seconds),
        "to_seconds": _seconds(end),
    }


def _seconds(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return value if is_number and _is_finite(value) else None


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    """A stretch of a take that an edited piece was put together from."""
    return {
        "id": _text(part["id"]),
        "name": _text(part["source"]),
        "take": int(_number(part["take"], low=1)),
        "start_seconds": _number(part["start_seconds"], low=0),
        "end_seconds": _number(part["end_seconds"], low=0),
    }


def _number(value: Any, *, low: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not _is_finite(value):
        raise ValueError(f"expected a number, got {value!r:.40}")
    if not low <= value < 2**53:
        raise ValueError(f"expected a number of at least {low:g}, got {value!r:.40}")
    return value


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def short_model(source: str | None) -> str | None:
    """A model's name for the page: of a folder only the last part."""
    if source is None or not (source.startswith((".", "/", "~")) or "\\" in source):
        return source
    return source.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def find_parents(pieces: Mapping[str, Piece]) -> dict[str, str]:
    """By name of a piece, the name of the piece that it goes on from, where that is here."""
    by_id: dict[str, list[str]] = {}
    for name, piece in pieces.items():
        by_id.setdefault(piece.facts.get("id") or "", []).append(name)
    found: dict[str, str] = {}
    for name, piece in pieces.items():
        parent = piece.facts.get("parent")
        if parent is None:
            continue
        # A copied folder has the number of the original: then the name decides.
        same = by_id.get(parent["id"], []) if parent["id"] else [parent["name"]]
        above = parent["name"] if parent["name"] in same else next(iter(same), None)
        if above is not None and above in pieces and above != name:
            found[name] = above
    for name in list(found):  # a record that names its own descendant makes no circle
        seen = {name}
        above = found.get(name)
        while above is not None:
            if above in seen:
                del found[name]
                break
            seen.add(above)
            above = found.get(above)
    return found


# --- files of a piece ---------------------------------------------------------------------------


def plain_file(folder: Path, *parts: str) -> Path | None:
    """A regular file below `folder`; None where there is none, or a link on the way to it."""
    path = folder
    for index, part in enumerate(parts):
        if not part or part in (".", "..") or any(mark in part for mark in "/\\\0:"):
            return None
        path = path / part
        try:
            mode = os.lstat(path).st_mode
        except (OSError, ValueError):
            return None
        if not (stat.S_ISREG(mode) if index == len(parts) - 1 else stat.S_ISDIR(mode)):
            return None
    return path


@dataclass(frozen=True)
class Sound:
    """Something to hear of a take: the finished file, or a snapshot of what is under way."""

    path: Path
    media_type: str
    finished: bool
    version: str


def find_sound(piece: Piece, number: int) -> Sound | None:
    """What there is to hear of a take now."""
    take = next((one for one in piece.takes if one["number"] == number), None)
    if take is None:
        return None
    finished = plain_file(piece.folder, take["audio"]) if take["audio"] else None
    path = finished or plain_file(piece.folder, PREVIEW_FOLDER, f"{number:02d}.wav")
    media_type = AUDIO_TYPES.get(path.suffix) if path is not None else None
    if path is None or media_type is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    version = f"{status.st_mtime_ns:x}-{status.st_size:x}"
    return Sound(path, media_type, finished is not None, version)


class SoundCut:
    """A part of a sound as WAV of 16 bits; less where it ends before, and nothing beyond its end.

    It is read second by second while it is sent, so that a minute of it is never in memory. A
    snapshot is read while it is written: what is in the file by then is what comes out, and silence
    where it has become shorter. Raises `ValueError` for a file that is no sound (any more).
    """

    def __init__(self, sound: Sound, begin: float, seconds: float) -> None:
        import soundfile

        try:
            self._file = soundfile.SoundFile(str(sound.path))
            first = min(round(begin * self._file.samplerate), self._file.frames)
            self._file.seek(first)
        except soundfile.SoundFileError:
            raise ValueError(f"{sound.path.name} cannot be read as sound") from None
        left = int(self._file.frames) - first
        self._frames = min(round(seconds * int(self._file.samplerate)), left)

    @property
    def num_bytes(self) -> int:
        """Of all blocks together."""
        return WAV_HEADER.size + int(self._frames * self._frame_bytes)

    @property
    def _frame_bytes(self) -> int:
        return 2 * int(self._file.channels)

    def blocks(self) -> Iterator[bytes]:
        """The header, and the samples of one second after the other; to be asked for once."""
        import soundfile

        rate, size = int(self._file.samplerate), self._frame_bytes
        data = self._frames * size
        fixed = (16, PCM, self._file.channels, rate, rate * size, size, 16)
        yield WAV_HEADER.pack(b"RIFF", 36 + data, b"WAVE", b"fmt ", *fixed, b"data", data)
        with self._file as file:
            for begin in range(0, self._frames, rate):
                frames = min(rate, self._frames - begin)
                try:
                    block = file.read(frames, dtype="int16").tobytes()
                except soundfile.SoundFileError:
                    block = b""
                yield block.ljust(frames * size, b"\0")


def find_words(piece: Piece, take: Mapping[str, Any]) -> list[dict[str, Any]]:
    """When each word of a take is sung, as far as that is known."""
    names = [name for name in take["alignment"] if name.endswith(".words.json")]
    paths = [plain_file(piece.folder, name) for name in names]
    paths.append(plain_file(piece.folder, PREVIEW_FOLDER, f"{take['number']:02d}.words.json"))
    path = next((one for one in paths if one is not None), None)
    try:
        if path is None or path.stat().st_size > LARGEST_WORDS:
            return []
        records = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
        return [
            {
                "text": str(word["text"]),
                "start": _number(word["start_seconds"], low=0),
                "end": _number(word["end_seconds"], low=0),
            }
            for word in records
        ]
    except (*DAMAGED, OSError):
        return []
