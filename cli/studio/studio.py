"""A studio: rooms with pieces, one queue for all of them, and one worker.

Requests that `asking` has checked go in; `page_state` tells the page what becomes of them. The page
holds nothing: whatever it shows can be had from here at any moment, also by a page just opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jukebox_hf.locks import holder

from .asking import Limits, Stereo, sources_of
from .exports import Exports
from .job_queue import Job, JobQueue
from .pieces import Piece, Pieces
from .worker_process import StoppedWorkError, WorkerEndedError, WorkerProcess, WorkError

WORK_FOLDER = ".studio"  # uploads and exports, in the folder of pieces
CHECK_SECONDS = 30.0  # that a request waits for the library's opinion
KEEP_SECONDS = 1.0  # between attempts to mark takes of a piece that is being worked on


class NotThereError(LookupError):
    """The page asked for something that is not there (any more)."""


class BusyError(ValueError):
    """Something cannot be done while a piece is being made."""


@dataclass
class Room:
    """A folder of pieces and what may be asked for in it.

    Attributes:
        id: empty where there is one room.
        pieces: in its folder.
    """

    id: str
    pieces: Pieces

    @property
    def folder(self) -> Path:
        return self.pieces.folder


@dataclass
class PieceProgress:
    """How far the job under way is.

    Attributes:
        job: its id.
        number: of the worker's request.
        level, codes, total: of the level under way.
        since, first: when that level began, and with how many codes.
        stopping: whether it was asked to stop.
    """

    job: str
    number: int = 0
    level: int | None = None
    codes: int = 0
    total: int = 0
    since: float = 0.0
    first: int = 0
    stopping: bool = False

    @property
    def share(self) -> float:
        return self.codes / self.total if self.total else 0.0


@dataclass
class Studio:
    """Everything behind the page.

    Attributes:
        folder: of the pieces, and of the queue.
        models: what the page may choose from; None is the model that comes with the package.
        limits: of one request.
        worker: makes the music.
        is_space: whether every visitor has a room.
    """

    folder: Path
    models: list[str | None]
    limits: Limits
    worker: WorkerProcess
    is_space: bool = False
    queue: JobQueue = field(init=False)
    exports: Exports = field(init=False)
    progress: PieceProgress | None = None

    def __post_init__(self) -> None:
        self.queue = JobQueue(self.folder)
        self.exports = Exports(self.folder / WORK_FOLDER / "exports")
        self._rooms: dict[str, Room] = {}
        self._described: dict[int, dict[str, Any]] = {}
        self._plans: dict[str, dict[str, float | None]] = {}
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    # --- beginning and end ---

    async def open(self) -> None:
        """Take up what an earlier server left, and start the worker."""
        for job in self.queue.jobs:
            if job.state == "running":
                job.state = "waiting"
        self.queue.jobs.sort(key=lambda job: not job.begun)  # what was under way comes first
        self._clear_work_folders()
        await self.worker.start()
        self._tasks = [
            asyncio.create_task(self._make_pieces()),
            asyncio.create_task(self._mark_takes()),
        ]

    async def close(self) -> None:
        """End the worker. What it was making goes on when the studio is opened again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.worker.end()

    def room(self, identity: str) -> Room:
        """A room by its name; the only one has none."""
        if identity in self._rooms:
            return self._rooms[identity]
        folder = self.folder / identity if identity else self.folder
        room = Room(identity, Pieces(folder))
        if folder.is_dir():  # a room that nobody made anything in is not remembered
            self._rooms[identity] = room
        return room

    def upload_folder(self) -> Path:
        """The folder for uploads, made if needed."""
        folder = self.folder / WORK_FOLDER / "uploads"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _clear_work_folders(self) -> None:
        """Delete exports, and uploads that no job waits for."""
        wanted = {(job.request.get("primer") or {}).get("file") for job in self.queue.jobs}
        folder = self.folder / WORK_FOLDER
        if folder.is_symlink():
            raise ValueError(f"{folder} is a link; remove it to go on")
        shutil.rmtree(folder / "exports", ignore_errors=True)
        if (folder / "uploads").is_dir():
            for path in (folder / "uploads").iterdir():
                if path.name not in wanted:
                    path.unlink(missing_ok=True)

    # --- the work ---

    async def _make_pieces(self) -> None:
        """One job after the other, for ever."""
        while True:
            job = self.queue.next()
            if job is None:
                await self._wake.wait()
                self._wake.clear()
                continue
            try:
                await self._make(job)
            except OSError as error:  # a full disk, no more processes
                job.state, job.message = "failed", error.strerror or str(error)

    async def _make(self, job: Job) -> None:
        progress = self.progress = PieceProgress(job.id)
        had_begun = job.begun
        job.state, job.begun = "running", True
        self.queue.save()

        def on_event(message: dict[str, Any]) -> None:
            if message["event"] == "progress":
                if message["level"] != progress.level:
                    progress.since, progress.first = time.monotonic(), message["codes"]
                progress.level, progress.codes = message["level"], message["codes"]
                progress.total = message["total"]

        def on_number(number: int) -> None:
            progress.number = number

        try:
            await self.worker.ask(
                "work",
                {
                    "folder": str(self.room(job.room).folder),
                    "target": job.piece,
                    "request": self._for_worker(job.request),
                },
                on_event=on_event,
                on_number=on_number,
            )
            self.queue.jobs.remove(job)
            self._forget_upload(job)
        except StoppedWorkError:
            self.queue.jobs.remove(job)
        except WorkError as error:
            job.state, job.message, job.begun = "failed", str(error), had_begun
            job.log = list(self.worker.log) if error.is_fault else []
        except WorkerEndedError as error:
            job.state, job.message, job.log = "failed", str(error), list(self.worker.log)
        finally:
            self.progress = None
        self.queue.save()

    def _forget_upload(self, job: Job) -> None:
        """Delete what a piece began with; its codes are in the piece now."""
        name = (job.request.get("primer") or {}).get("file")
        others = {(one.request.get("primer") or {}).get("file") for one in self.queue.jobs}
        if name is not None and name not in others:
            (self.upload_folder() / name).unlink(missing_ok=True)

    def _for_worker(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """A request with names and paths in the place of numbers and names of the page."""
        given = dict(request)
        given["models"] = self.models
        if "model" in request:
            given["model"] = self.models[request["model"]] if request["verb"] == "make" else None
        if given.get("primer"):
            path = self.upload_folder() / given["primer"]["file"]
            given["primer"] = {**given["primer"], "path": str(path)}
        return given

    async def _mark_takes(self) -> None:
        """Mark takes as kept as soon as nobody works on their piece."""
        while True:
            await asyncio.sleep(KEEP_SECONDS)
            for key in list(self.queue.keeps):
                with contextlib.suppress(WorkError, WorkerEndedError, OSError):
                    await self._mark(key)

    async def _mark(self, key: tuple[str, str]) -> None:
        room, name = self.room(key[0]), key[1]
        piece = room.pieces.scan().get(name)
        if piece is None:
            self.queue.keeps.pop(key, None)
        elif not self._is_making(room, name) and not self._is_elsewhere(piece):
            numbers = self.queue.keeps[key]
            try:
                await self.worker.ask(
                    "keep", {"folder": str(room.folder), "name": name, "numbers": numbers}
                )
            finally:
                if self.queue.keeps.get(key) == numbers:
                    self.queue.keeps.pop(key)
        self.queue.save()

    def _is_making(self, room: Room, name: str) -> bool:
        job = self.queue.find(room.id, name)
        return job is not None and job.state == "running"

    # --- what the page asks for ---

    async def describe(self, index: int) -> dict[str, Any]:
        """What the form needs to know of a model."""
        if not 0 <= index < len(self.models):
            raise NotThereError("there is no such model")
        if index not in self._described:
            self._described[index] = await self._ask("describe", {"model": self.models[index]})
        return self._described[index]

    async def describe_model_of(self, room: Room, name: str) -> dict[str, Any]:
        """The same of the model that a piece was made with."""
        self.piece(room, name)
        given = {"folder": str(room.folder), "name": name, "models": self.models}
        described: dict[str, Any] = await self._ask("describe_model_of", given)
        return described

    async def _ask(self, verb: str, arguments: dict[str, Any]) -> Any:
        """Ask the worker; its end is an error like any other."""
        try:
            return await self.worker.ask(verb, arguments)
        except WorkerEndedError as error:
            raise ValueError(f"{error}; try again") from None

    async def plan(self, room: Room, request: Mapping[str, Any]) -> dict[str, Any]:
        """What a request would take. Timed only while nothing is being made."""
        self._check_sources(room, request)
        self._check_upload(request)
        plan: dict[str, Any] = await self._ask(
            "plan",
            {
                "folder": str(room.folder),
                "request": self._for_worker(request),
                "measured": self.progress is None,
            },
        )
        if plan["seconds"] is not None:
            self._plans = {**dict(list(self._plans.items())[-50:]), _key(request): plan["levels"]}
        return plan

    async def add(self, room: Room, request: dict[str, Any]) -> str:
        """Put a piece into the queue; returns its name. Raises `ValueError` with one sentence."""
        waiting = sum(job.state == "waiting" for job in self.queue.of_room(room.id))
        if waiting >= self.limits.waiting:
            raise ValueError(f"{waiting} pieces wait already; let one of them be made first")
        name = request.get("name")
        if name is not None:
            self._check_new_name(room, name)
        levels = self._plans.get(_key(request))
        if levels is None:
            with contextlib.suppress(TimeoutError):  # it says so when its turn comes
                async with asyncio.timeout(CHECK_SECONDS):
                    await self.plan_roughly(room, request)
        self._check_sources(room, request)
        self._check_upload(request)
        if name is None or not self._is_free(room, name):
            name = self._new_name(room)
        room.folder.mkdir(parents=True, exist_ok=True)
        job = Job.new(room.id, name, request)
        job.levels = levels or {}
        self._enqueue(job)
        return name

    async def plan_roughly(self, room: Room, request: Mapping[str, Any]) -> None:
        """Let the library look at a request; raises `ValueError` if it would refuse it."""
        self._check_sources(room, request)
        self._check_upload(request)
        arguments = {"folder": str(room.folder), "request": self._for_worker(request)}
        await self._ask("plan", {**arguments, "measured": False})

    def _enqueue(self, job: Job) -> None:
        self.queue.jobs.append(job)
        try:
            self.queue.save()
        except OSError:
            self.queue.jobs.remove(job)
            raise
        self._wake.set()

    def _check_sources(self, room: Room, request: Mapping[str, Any]) -> None:
        """Raise `NotThereError` or `ValueError` unless all that it takes something of is there."""
        found = {name: self.piece(room, name) for name in sources_of(request)}
        seconds = sum(
            _part_seconds(part, found[part["piece"]]) for part in request.get("parts") or []
        )
        if seconds > self.limits.edited_seconds:
            raise ValueError(
                f"this studio puts together up to {self.limits.edited_seconds:g} seconds, got "
                f"{seconds:.1f}"
            )

    def _check_upload(self, request: Mapping[str, Any]) -> None:
        primer = request.get("primer")
        if primer and not (self.upload_folder() / primer["file"]).is_file():
            raise ValueError("the file to begin with is not there any more; choose it again")

    def _is_free(self, room: Room, name: str) -> bool:
        queued = {job.piece.lower() for job in self.queue.of_room(room.id)}
        return name.lower() not in queued and room.pieces.is_free(name)

    def _new_name(self, room: Room) -> str:
        number = 1
        while not self._is_free(room, f"song-{number}"):
            number += 1
        return f"song-{number}"

    def piece(self, room: Room, name: str) -> Piece:
        """A piece that is there and can be read."""
        piece = room.pieces.scan().get(name)
        if piece is None:
            raise NotThereError(f"there is no piece {name[:100]!r} here")
        if piece.error is not None:
            raise ValueError(piece.error)
        return piece

    def go_on(self, room: Room, name: str) -> None:
        """Queue a piece that was stopped, or try again what failed."""
        job = self.queue.find(room.id, name)
        if job is not None and job.state == "failed":
            job.state, job.message, job.log = "waiting", None, []
            self.queue.save()
            self._wake.set()
            return
        if job is not None:
            raise BusyError(f"{name} is in the queue already")
        piece = self.piece(room, name)
        if self._is_elsewhere(piece):
            raise BusyError(f"{name} is being worked on by another program; wait for it to end")
        if piece.complete:
            raise ValueError(f"{name} is complete already")
        self._enqueue(Job.new(room.id, name, {"verb": "resume"}))

    async def stop(self, room: Room, name: str) -> None:
        """Stop making a piece, or take it out of the queue."""
        job = self.queue.find(room.id, name)
        if job is None:
            raise NotThereError(f"{name} is not in the queue")
        if job.state == "running" and self.progress is not None:
            self.progress.stopping = True
            with contextlib.suppress(WorkerEndedError):
                await self.worker.stop_work(self.progress.number)
        else:
            self.queue.jobs.remove(job)
            self.queue.save()

    async def keep(self, room: Room, name: str, numbers: list[int]) -> None:
        """Mark takes as the good ones: now, or as soon as nobody works on the piece."""
        piece = self.piece(room, name)
        known = {take["number"] for take in piece.takes}
        wrong = [number for number in numbers if number not in known]
        if wrong:
            raise ValueError(f"{name} has no take {wrong[0]}")
        self.queue.keeps[room.id, name] = numbers
        self.queue.save()
        at_rest = not self._is_making(room, name) and not self._is_elsewhere(piece)
        if at_rest and self.worker.ready:
            try:
                await self._mark((room.id, name))
            except WorkerEndedError as error:
                raise ValueError(f"{error}; try again") from None

    async def rename(self, room: Room, name: str, new_name: str) -> str:
        """Give a piece another name, which is that of its folder."""
        self._check_at_rest(room, name)
        if new_name == name:
            return name
        self._check_new_name(room, new_name)
        await self._ask("rename", {"folder": str(room.folder), "name": name, "new_name": new_name})
        return new_name

    async def remove(self, room: Room, name: str) -> str:
        """Put a piece into the bin; returns by which name it comes back."""
        self._check_at_rest(room, name, readable=False)
        given = {"folder": str(room.folder), "name": name}
        removed: str = await self._ask("remove", given)
        return removed

    async def restore(self, room: Room, name: str) -> str:
        """Take a piece out of the bin; returns its name."""
        if name not in room.pieces.removed():
            raise NotThereError(f"there is no piece {name[:100]!r} in the bin")
        restored: str = await self._ask("restore", {"folder": str(room.folder), "name": name})
        return restored

    def _check_at_rest(self, room: Room, name: str, *, readable: bool = True) -> None:
        """Raise `BusyError` for a piece that is being made, or waits for it."""
        piece = room.pieces.scan().get(name)
        if piece is None or readable:
            piece = self.piece(room, name)
        if self.queue.find(room.id, name) is not None:
            raise BusyError(f"{name} is in the queue; stop it first")
        waits = [job for job in self.queue.of_room(room.id) if name in sources_of(job.request)]
        if waits:
            raise BusyError(f"{waits[0].piece} waits to be made from {name}; let it be made first")
        if self._is_elsewhere(piece):
            raise BusyError(f"{name} is being worked on by another program; wait for it to end")

    def _check_new_name(self, room: Room, name: str) -> None:
        if not self._is_free(room, name):
            raise ValueError(f"there is a piece or file called {name} already; choose another name")

    async def export(
        self, room: Room, name: str, numbers: list[int], form: str, stereo: Stereo | None = None
    ) -> str:
        """Write takes to a file that can be fetched; returns its place among the exports."""
        piece = self.piece(room, name)
        place = self.exports.new()
        given = {
            "folder": str(room.folder),
            "name": name,
            "numbers": numbers or self.kept(room, piece),
            "place": str(place),
            "form": form,
            "models": self.models,
        }
        if stereo is not None:
            given |= {"numbers": stereo.takes, "delays": stereo.delays}
        names = await self._ask("export", given)
        if len(names) == 1:
            return f"{place.name}/{names[0]}"
        return await self.exports.pack(place, name, [place / one for one in names], place)

    async def download(self, room: Room, name: str) -> str:
        """Pack a whole piece, so that it goes on elsewhere; returns its place among the exports."""
        piece = self.piece(room, name)
        if self._is_making(room, name):
            raise BusyError(f"{name} is being made; wait for it to end, or stop it")
        files = [
            path
            for path in sorted(piece.folder.rglob("*"))
            if path.is_file() and not path.is_symlink() and not path.name.startswith(".")
        ]
        return await self.exports.pack(self.exports.new(), name, files, room.folder)

    async def check_upload(self, path: Path) -> dict[str, Any]:
        """Look at a file that was uploaded; it is deleted if it is of no use."""
        try:
            found: dict[str, Any] = await self._ask("check_upload", {"path": str(path)})
        except ValueError:
            path.unlink(missing_ok=True)
            raise
        return found

    # --- what others ask of it ---

    def kept(self, room: Room, piece: Piece) -> list[int]:
        """The takes that are marked, or about to be; all of them if none is."""
        return self.marked(room, piece) or [take["number"] for take in piece.takes]

    def marked(self, room: Room, piece: Piece) -> list[int]:
        """The takes that are marked, or about to be."""
        waiting = self.queue.keeps.get((room.id, piece.name))
        if waiting is not None:
            return waiting
        return [take["number"] for take in piece.takes if take["kept"]]

    def state_of(self, room: Room, piece: Piece) -> str:
        """How far a piece is, in a word: of the queue, of its files, and of who works on it."""
        job = self.queue.find(room.id, piece.name)
        if job is not None:
            return {"running": "making"}.get(job.state, job.state)
        if piece.complete:
            return "sketch" if piece.facts["to_level"] else "done"
        return "elsewhere" if self._is_elsewhere(piece) else "stopped"

    def _is_elsewhere(self, piece: Piece) -> bool:
        """Whether another program works on a piece. Our worker does one thing after the other."""
        held_by = holder(piece.folder)
        return held_by is not None and held_by.partition(" ")[0] != str(self.worker.pid)


def _part_seconds(part: Mapping[str, Any], piece: Piece) -> float:
    """How long a part is; what is wrong with it is the library's to say."""
    whole = next((take["seconds"] for take in piece.takes if take["number"] == part["take"]), 0.0)
    end = whole if part["to"] is None else min(part["to"], whole)
    return max(float(end - (part["from"] or 0.0)), 0.0)


def _key(request: Mapping[str, Any]) -> str:
    """What tells requests apart that take different time."""
    kept = {name: value for name, value in request.items() if name not in ("name", "seed")}
    return json.dumps(kept, sort_keys=True)
