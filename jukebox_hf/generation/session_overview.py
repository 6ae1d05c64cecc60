"""What a session's folder says of itself, without what it takes to go on: no torch, no model.

`session.Session` is one that can work.
"""

import os
import stat
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from jukebox_hf.generation.session_record import (
    RECORD_NAME,
    SessionRecord,
    TakeRecord,
    new_id,
)
from jukebox_hf.generation.settings import GenerationSettings
from jukebox_hf.locks import locked


class SessionOverview:
    """A session as its record describes it.

    Attributes:
        folder: where it is.
        record: what `session.json` says.
    """

    def __init__(self, folder: Path, record: SessionRecord) -> None:
        self.folder = folder
        self.record = record

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Self:
        """The session in a folder.

        Raises `FileNotFoundError` if there is none, `ValueError` if its record is damaged, and
        `OSError` if there are links in the folder.
        """
        folder = Path(folder)
        check_plain(folder)
        return cls(folder, SessionRecord.load(folder))

    @staticmethod
    def is_at(folder: str | os.PathLike[str]) -> bool:
        """Whether a folder holds a session."""
        return (Path(folder) / RECORD_NAME).is_file()

    # --- what it is ---

    @property
    def settings(self) -> GenerationSettings:
        """How it samples."""
        return self.record.settings

    @property
    def complete(self) -> bool:
        """Whether all is made and written, and the audio is still there."""
        return self.record.complete and len(self.audio_paths) == len(self.takes)

    @property
    def takes(self) -> list[TakeRecord]:
        """What the record says about each take."""
        return self.record.takes

    def take(self, number: int) -> TakeRecord:
        """What the record says about one take; `ValueError` if there is none of that number."""
        found = self.record.take(number)
        if found is None:
            numbers = ", ".join(str(take.number) for take in self.takes)
            raise ValueError(f"{self.folder} has no take {number}; it has {numbers}")
        return found

    @property
    def model_name(self) -> str:
        """What to call its model: never a folder of this machine."""
        model = self.record.model
        return model.name or (Path(model.source).name if self._is_local else model.source)

    @property
    def _is_local(self) -> bool:
        source = self.record.model.source
        return isinstance(place_of(self.folder, source), Path) or Path(source).is_absolute()

    @property
    def audio_paths(self) -> list[Path]:
        """The finished audio files that are there."""
        paths = (self.folder / take.audio for take in self.takes if take.audio)
        return [path for path in paths if path.is_file()]

    @property
    def hop_lengths(self) -> tuple[int, ...]:
        """Audio samples per code of every level, finest first."""
        return self.record.hop_lengths

    def seconds_made(self, take: TakeRecord, level: int) -> float:
        """Seconds of audio that a take's codes of a level stand for."""
        stored = (take.codes or {}).get(level)
        count = 0 if stored is None else stored.count
        return count * self.hop_lengths[level] / self.record.sampling_rate

    def _write(self) -> None:
        self.record.id = self.record.id or new_id()
        self.record.updated = now()
        self.record.save(self.folder)

    def keep(self, numbers: Sequence[int]) -> None:
        """Mark these takes as the good ones; what goes on from here then takes only them."""
        for number in numbers:
            self.take(number)
        with locked(self.folder):
            check_plain(self.folder)
            self.record = SessionRecord.load(self.folder)
            for take in self.takes:
                take.kept = take.number in numbers
            self._write()

    @property
    def kept(self) -> list[int]:
        """The takes marked as good; all of them if none is marked."""
        marked = [take.number for take in self.takes if take.kept]
        return marked or [take.number for take in self.takes]


def place_of(folder: Path, source: str) -> str | Path:
    """Where the model of a session in `folder` is, from its record."""
    if source.startswith(("./", "../")) or source in (".", ".."):
        return Path(os.path.normpath(folder.resolve() / source))
    return source


def now() -> str:
    """The time, for the record."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def check_plain(folder: Path) -> None:
    """Raise `OSError` if anything in a session's folder is a link, a pipe or a device.

    An archive from a stranger may hold links to anywhere, through which files would be read,
    written over or deleted that are none of the session's.
    """
    if not folder.is_dir():
        return
    for path in (*folder.iterdir(), *folder.glob("*/*")):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:  # of another process, which has just renamed it
            continue
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            kind = "a link" if stat.S_ISLNK(mode) else "a pipe or a device"
            raise OSError(
                f"{path} is {kind}, and a session's folder holds only files and folders of its "
                "own; put the file itself there, or remove it"
            )
