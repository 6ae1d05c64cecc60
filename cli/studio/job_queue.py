"""What is to be made, in order, on disk: `studio.json` in the folder of pieces.

Jobs go in and come out again after the server, the worker or the machine went away. The file is
written whole before the page is told that something waits. Plain values; who makes them is the
business of `worker_process`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jukebox_hf.files import write_text
from jukebox_hf.records import from_json, read_json, to_json
from jukebox_hf.words import shorten

QUEUE_NAME = "studio.json"
FORMAT_VERSION = 1
LARGEST_QUEUE = 64 * 2**20


STATES = ("waiting", "running", "failed")
VERBS = ("make", "continue", "upsample", "edit", "infill", "resume")


@dataclass
class Job:
    """One piece to be made, or gone on with.

    Attributes:
        id: for the page.
        room: whose pieces these are; empty where there is one room.
        piece: the folder that it makes.
        request: what is asked for, checked; its verb is one of `VERBS`.
        state: waiting, running, or failed.
        begun: whether it has been at work before.
        levels: seconds that each level was estimated to take, by level.
        message: one sentence on what went wrong.
        log: the last lines that the worker wrote, if that was a fault.
    """

    id: str
    room: str
    piece: str
    request: dict[str, Any]
    state: str = "waiting"
    begun: bool = False
    levels: dict[str, float | None] = field(default_factory=dict)
    message: str | None = None
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.state not in STATES:
            raise ValueError(f"a job is {', '.join(STATES)}, got {shorten(self.state)}")
        if self.request.get("verb") not in VERBS:
            raise ValueError(f"a job does {', '.join(VERBS)}, got {shorten(self.request)}")

    @classmethod
    def new(cls, room: str, piece: str, request: dict[str, Any]) -> Job:
        """A job that waits."""
        return cls(secrets.token_hex(8), room, piece, request)


@dataclass
class Keep:
    """Takes that are to be marked as the good ones, as soon as nobody works on their piece."""

    room: str
    piece: str
    takes: list[int]


@dataclass
class _Saved:
    """What `studio.json` holds."""

    jobs: list[Job]
    keeps: list[Keep]


class JobQueue:
    """The jobs of a studio, and marks on takes that wait for their piece; all on disk.

    Attributes:
        jobs: in the order in which they are made.
        keeps: by room and piece, the takes that are to be marked as kept when it is free.
    """

    def __init__(self, folder: Path) -> None:
        """Raises `ValueError` for a file that is damaged, or of a later version."""
        self.path = folder / QUEUE_NAME
        self.jobs: list[Job] = []
        self.keeps: dict[tuple[str, str], list[int]] = {}
        if self.path.is_file():
            self._read()

    def _read(self) -> None:
        try:
            content = read_json(self.path, max_bytes=LARGEST_QUEUE)
            saved = from_json(_Saved, content, str(self.path), version=FORMAT_VERSION)
        except ValueError as error:
            raise ValueError(
                f"{error}; the file holds only what waits to be made: delete it to go on without"
            ) from None
        self.jobs = saved.jobs
        self.keeps = {(keep.room, keep.piece): keep.takes for keep in saved.keeps}

    def save(self) -> None:
        """Write the file whole, or not at all."""
        keeps = [Keep(*key, takes) for key, takes in self.keeps.items()]
        content = to_json(_Saved(self.jobs, keeps), version=FORMAT_VERSION)
        write_text(self.path, json.dumps(content, indent=1) + "\n")

    def of_room(self, room: str) -> Iterator[Job]:
        """The jobs of one room, in order."""
        return (job for job in self.jobs if job.room == room)

    def find(self, room: str, piece: str) -> Job | None:
        """The job that makes a piece."""
        return next((job for job in self.of_room(room) if job.piece == piece), None)

    def next(self) -> Job | None:
        """What is made next."""
        return next((job for job in self.jobs if job.state == "waiting"), None)
