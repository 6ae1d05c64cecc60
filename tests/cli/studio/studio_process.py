"""A studio in a process of its own, and ways to ask it, to break it and to compare what it made."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

PATIENCE = 120.0  # seconds; machines that test are busy
ENDING = 30.0  # seconds that a server may take for it


class StudioProcess:
    """`jukebox studio FOLDER`, started.

    Attributes:
        address: of the page.
        port: of the server.
    """

    def __init__(self, folder: Path, *arguments: str | Path, port: int = 0, **environment: str):
        self.folder = folder
        command = [sys.executable, "-m", "jukebox_hf", "studio", str(folder), "--no-browser"]
        self.log = (folder.parent / f"{folder.name}.log").open("a", encoding="utf-8")
        self.process = subprocess.Popen(
            [*command, "--port", str(port), *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )
        self.is_ending = False
        assert self.process.stdout is not None
        timer = threading.Timer(PATIENCE, self.process.kill)
        timer.start()
        self.address = self.process.stdout.readline().strip()
        timer.cancel()
        assert self.address, self._said()
        found = re.match(r"http://[^/]+:(\d+)(/.*)", self.address)
        assert found is not None
        self.port, self.path = int(found[1]), found[2]

    # --- asking ---

    def ask(
        self, method: str, path: str, body: Any = None, **headers: str | None
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON of an answer; headers are those of the page unless given or None."""
        host = f"127.0.0.1:{self.port}"
        given: dict[str, str | None] = {"Host": host}
        if method == "POST":
            given |= {"Origin": f"http://{host}", "X-Studio": "1"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in given.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.putheader("Content-Length", str(len(data or b"")))
            connection.endheaders(data)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, {}

    def state(self, piece: str | None = None) -> dict[str, Any]:
        query = f"?piece={piece}" if piece else ""
        status, found = self.ask("GET", f"{self.path}api/state{query}")
        assert status == 200, found
        return found

    def make(self, **request: Any) -> str:
        """Queue a piece; returns its name."""
        status, found = self.ask("POST", f"{self.path}api/make", {"verb": "make", **request})
        assert status == 202, found
        return str(found["piece"])

    def act(self, piece: str, verb: str, **body: Any) -> dict[str, Any]:
        status, found = self.ask("POST", f"{self.path}api/pieces/{piece}/{verb}", body)
        assert status < 300, found
        return found

    def wait(
        self,
        holds: Callable[[dict[str, Any]], Any],
        piece: str | None = None,
        patience: float = PATIENCE,
    ) -> Any:
        """Wait until something holds of the state; returns what it gives."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            state = self.state(piece)
            found = holds(state)
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"it never came: {json.dumps(state)[:2000]}")

    def wait_for(self, piece: str, *states: str, patience: float = PATIENCE) -> None:
        """Wait until a piece is in one of these states."""
        wanted = {*states, "failed"}
        reached = self.wait(
            lambda state: [
                one["state"]
                for one in state["pieces"]
                if one["name"] == piece and one["state"] in wanted
            ],
            patience=patience,
        )
        assert reached[0] in states, self.state()["queue"]

    def wait_until_within(self, piece: str) -> None:
        """Wait until a piece is in the middle: its sketch is made, and it is not done."""
        jobs = self.wait(
            lambda state: [
                job
                for job in state["queue"]
                if job["piece"] == piece
                and (job["state"] == "failed" or job.get("level") in (1, 0))
            ]
        )
        assert jobs[0]["state"] == "running", jobs

    def stop_piece(self, piece: str) -> None:
        """Stop a piece that is of no use any more, and wait until nothing is made."""
        self.act(piece, "stop")
        self.wait(lambda state: not state["queue"])

    # --- ending ---

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def trouble(self) -> str | None:
        """What is wrong with the server, if it ended though nobody ended it."""
        if self.is_ending or self.process.poll() is None:
            return None
        return f"the studio ended by itself with status {self.process.returncode}: {self._said()}"

    def _said(self) -> str:
        """The end of what it wrote."""
        return Path(self.log.name).read_text(encoding="utf-8")[-2000:] or "it wrote nothing"

    def kill(self) -> None:
        """`kill -9` of the server and of its worker."""
        self.is_ending = True
        workers = self.workers()
        self.process.kill()
        for worker in workers:
            worker.kill()
        psutil.wait_procs(workers, timeout=10)
        self.process.wait(60)
        self._close()

    def stop(self) -> int:
        """Ctrl-C; returns the exit code. One that does not end soon is killed."""
        self.is_ending = True
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(ENDING)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        finally:
            self._close()

    def _close(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()


def checksums(folder: Path) -> dict[int, dict[str, Any]]:
    """The checksums of a piece's codes, by take and level."""
    record = json.loads((folder / "session.json").read_text(encoding="utf-8"))
    assert record["complete"], "the piece is not finished"
    return {take["number"]: take["codes"] for take in record["takes"]}
