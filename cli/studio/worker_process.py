"""The server's side of the worker: start it, ask it, notice its end.

Requests go out as lines of JSON, answers come back in any order. The worker is started with the
server, and again when it has ended and somebody needs it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

LONGEST_LINE = 2**26
LOG_LINES = 40


class WorkerEndedError(Exception):
    """The worker ended before it answered."""


class StoppedWorkError(Exception):
    """The work was stopped because somebody asked for it."""


class WorkError(ValueError):
    """What the library says is wrong.

    Attributes:
        is_fault: whether it is a fault of ours rather than of what was asked for.
    """

    def __init__(self, sentence: str, *, is_fault: bool = False) -> None:
        super().__init__(sentence)
        self.is_fault = is_fault


class WorkerProcess:
    """A worker on the other end of two pipes.

    Attributes:
        ready: whether it has imported the library.
        pid: of it; None while there is none.
        log: the last lines that it wrote to its standard error.
    """

    def __init__(self, device: str) -> None:
        self.device = device
        self.ready = False
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self._process: asyncio.subprocess.Process | None = None
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._listeners: dict[int, Callable[[dict[str, Any]], None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> asyncio.subprocess.Process:
        """The running worker, started if there is none."""
        async with self._starting:
            if self._process is None or self._process.returncode is not None:
                self.ready = False
                self.log.clear()
                # Of its own group: a Ctrl-C at the terminal is the server's, which ends the worker.
                group: dict[str, Any] = (
                    {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
                    if os.name == "nt"
                    else {"start_new_session": True}
                )
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "jukebox_cli.studio.worker",
                    self.device,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    limit=LONGEST_LINE,
                    **group,
                )
                for listen in (self._read_answers(self._process), self._read_log(self._process)):
                    task = asyncio.create_task(listen)
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
        assert self._process is not None
        return self._process

    async def ask(
        self,
        verb: str,
        arguments: dict[str, Any],
        *,
        on_event: Callable[[dict[str, Any]], None] | None = None,
        on_number: Callable[[int], None] | None = None,
    ) -> Any:
        """Send a request and wait for its answer.

        Raises `WorkError`, `StoppedWorkError` or `WorkerEndedError`.
        """
        process = await self.start()
        number = next(self._numbers)
        if on_event is not None:
            self._listeners[number] = on_event
        if on_number is not None:
            on_number(number)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            await self._send(process, {"id": number, "verb": verb, "arguments": arguments})
            return await answer
        finally:
            self._answers.pop(number, None)
            self._listeners.pop(number, None)

    async def stop_work(self, number: int) -> None:
        """Ask the worker to stop the work with this number; its `ask` then ends."""
        if self._process is not None and number in self._answers:
            await self._send(self._process, {"id": 0, "verb": "stop", "job": number})

    @staticmethod
    async def _send(process: asyncio.subprocess.Process, message: dict[str, Any]) -> None:
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(message).encode() + b"\n")
            await process.stdin.drain()
        except (ConnectionError, OSError):
            raise WorkerEndedError("the worker ended") from None

    async def _read_answers(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        with contextlib.suppress(ConnectionError, ValueError):
            async for line in process.stdout:
                self._take(json.loads(line))
        code = await process.wait()
        self.ready = False
        for answer in list(self._answers.values()):
            if not answer.done():
                answer.set_exception(WorkerEndedError(_how_it_ended(code)))

    def _take(self, message: dict[str, Any]) -> None:
        number = message.get("id")
        if message.get("event") == "ready":
            self.ready = True
        elif "event" in message:
            listener = self._listeners.get(number or 0)
            if listener is not None:
                listener(message)
        else:
            answer = self._answers.get(number or 0)
            if answer is None or answer.done():
                return
            if "error" in message:
                error = WorkError(message["error"], is_fault=message.get("fault", False))
                answer.set_exception(error)
            elif message.get("stopped"):
                answer.set_exception(StoppedWorkError())
            else:
                answer.set_result(message["ok"])

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        with contextlib.suppress(ConnectionError, ValueError):
            async for line in process.stderr:
                self.log.append(line.decode("utf-8", errors="replace").rstrip()[:500])

    async def end(self) -> None:
        """Close the pipe, at which the worker ends, and wait for that."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 1.0)
        except TimeoutError:
            process.kill()
            await process.wait()


def _how_it_ended(code: int) -> str:
    """What became of the worker, in words."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return (
                f"the process that makes the music was ended ({signal.Signals(-code).name}); "
                "perhaps memory ran out"
            )
    return f"the process that makes the music ended with code {code}"
