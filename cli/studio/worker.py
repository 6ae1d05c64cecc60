"""The studio's worker: one process that makes music, one line of JSON per message.

Requests come in on standard input, answers and progress go out on standard output. There is one
thread that works and one that reads: while a piece is made, what else is asked is answered between
two codes, so that nothing competes with it and nothing waits for its end. When the pipe ends, the
worker ends at once: whoever comes next goes on from what is on disk.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

from ..options import expected_errors, one_line

PROGRESS_SECONDS = 0.2  # between two lines about a job


class StoppedError(BaseException):
    """Somebody asked the job under way to stop. No `Exception`: nothing may take it for a fault."""


class Worker:
    """Answers messages, one after the other; questions also while it works."""

    def __init__(self, out: IO[str], device: str) -> None:
        from .worker_actions import Actions

        self.out = out
        self.actions = Actions(device)
        self.inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.waiting: list[dict[str, Any]] = []  # work that came while other work was under way
        self.working: int | None = None
        self._stop = False
        self._told = 0.0

    def serve(self) -> None:
        """Answer for ever."""
        while True:
            message = self.waiting.pop(0) if self.waiting else self.inbox.get()
            self._answer(message)

    def tell(self, **record: Any) -> None:
        """One line to the server."""
        self.out.write(json.dumps(record) + "\n")
        self.out.flush()

    def _answer(self, message: Mapping[str, Any]) -> None:
        verb, number = message["verb"], message["id"]
        if verb == "stop":
            self._stop = self._stop or message["job"] == self.working
            return
        try:
            result = None
            if verb == "work":
                self._work(message)
            else:
                result = self._reply(message)
        except StoppedError:
            self.tell(id=number, stopped=True)
        except KeyboardInterrupt:
            raise
        except expected_errors() as error:
            folder = message["arguments"].get("folder")
            self.tell(id=number, error=_for_the_page(one_line(error), folder))
        except Exception as error:  # a fault of ours: its piece says so, and the next one is made
            import traceback

            traceback.print_exc()
            self.tell(id=number, error=f"{type(error).__name__}: {one_line(error)}", fault=True)
        else:
            self.tell(id=number, ok=result)

    def _reply(self, message: Mapping[str, Any]) -> Any:
        """A question, or a change that takes a moment."""
        verb, given = message["verb"], message["arguments"]
        actions = self.actions
        replies: dict[str, Callable[[], Any]] = {
            "describe": lambda: actions.describe(given["model"]),
            "describe_model_of": lambda: actions.describe_model_of(
                Path(given["folder"]), given["name"], given["models"]
            ),
            "plan": lambda: actions.plan(
                Path(given["folder"]), given["request"], measured=given["measured"]
            ),
            "keep": lambda: actions.keep(Path(given["folder"]), given["name"], given["numbers"]),
            "rename": lambda: actions.rename(
                Path(given["folder"]), given["name"], given["new_name"]
            ),
            "remove": lambda: actions.remove(Path(given["folder"]), given["name"]),
            "restore": lambda: actions.restore(Path(given["folder"]), given["name"]),
            "export": lambda: actions.export(
                Path(given["folder"]),
                given["name"],
                given["numbers"],
                Path(given["place"]),
                given["form"],
                given["models"],
                given.get("delays"),
            ),
            "check_upload": lambda: actions.check_upload(Path(given["path"])),
        }
        return replies[verb]()

    def _work(self, message: Mapping[str, Any]) -> None:
        number, given = message["id"], message["arguments"]
        self.working, self._stop, self._told = number, False, 0.0
        try:
            self.actions.work(
                Path(given["folder"]),
                given["target"],
                given["request"],
                on_begin=lambda: self.tell(id=number, event="begun"),
                on_codes=lambda level, codes, total: self._progress(number, level, codes, total),
            )
        finally:
            self.working = None

    def _progress(self, number: int, level: int, codes: int, total: int) -> None:
        """Between two codes: say how far it is, and answer what was asked meanwhile."""
        while not self.inbox.empty():
            message = self.inbox.get()
            if message["verb"] == "work":
                self.waiting.append(message)
            else:
                self._answer(message)
        if self._stop:
            raise StoppedError
        now = time.monotonic()
        if now - self._told >= PROGRESS_SECONDS or codes == total:
            self._told = now
            self.tell(id=number, event="progress", level=level, codes=codes, total=total)


def _for_the_page(sentence: str, folder: str | None) -> str:
    """A sentence that names pieces as the page does, and not where they are on this machine."""
    return sentence.replace(f"{folder}{os.sep}", "") if folder else sentence


def read_lines(source: IO[str], inbox: queue.SimpleQueue[dict[str, Any]]) -> None:
    """Pass on what comes in; at its end, end the process, whatever it is doing."""
    for line in source:
        inbox.put(json.loads(line))
    os._exit(0)


def main() -> None:
    """Serve on the pipes that the process was started with, on the device that it names."""
    # Libraries may print: their text goes to stderr, and only our lines to the pipe.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    source = os.fdopen(os.dup(0), encoding="utf-8")
    with open(os.devnull, encoding="utf-8") as nothing:
        os.dup2(nothing.fileno(), 0)
    inbox: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=read_lines, args=(source, inbox), daemon=True).start()

    worker = Worker(out, sys.argv[1])
    worker.actions.load_library()  # seconds; the page shows meanwhile
    worker.inbox = inbox
    worker.tell(event="ready", pid=os.getpid())
    worker.serve()


if __name__ == "__main__":
    main()
