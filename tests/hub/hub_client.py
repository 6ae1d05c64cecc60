"""Starts the test server, and runs scenarios against it as separate processes with own caches."""

import base64
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HEADER_RANGE = "bytes=0-100000"
SERVER = Path(__file__).with_name("hub_server.py")


class HubServer:
    """The server's process, and its control."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SERVER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.url = f"http://127.0.0.1:{int(self.process.stdout.readline())}"

    def stop(self) -> None:
        self.process.communicate("")

    def control(self, what: str, **content: Any) -> None:
        request = urllib.request.Request(
            f"{self.url}/_control/{what}", data=json.dumps(content).encode(), method="POST"
        )
        with urllib.request.urlopen(request) as answer:
            answer.read()

    def log(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.url}/_control/log") as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found

    def put(self, repo: str, files: Mapping[str, bytes], **options: Any) -> None:
        """A repository as a stranger could have made it, with any content."""
        encoded = {path: base64.b64encode(data).decode() for path, data in files.items()}
        self.control("put", kind="models", repo=repo, files=encoded, **options)

    def put_folder(self, repo: str, folder: Path, **options: Any) -> None:
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        self.put(repo, files, **options)

    def weights(self, entries: list[dict[str, Any]]) -> dict[str, int]:
        """Bytes of weights and tables that were downloaded, by repository and path.

        Looks at headers (`HfApi.parse_safetensors_file_metadata`) do not count.
        """
        sent: dict[str, int] = {}
        for entry in entries:
            repo, _, rest = entry["path"].strip("/").partition("/resolve/")
            is_weights = rest.endswith((".safetensors", ".arrow", ".bin"))
            if entry["method"] == "GET" and is_weights and entry["range"] != HEADER_RANGE:
                name = f"{repo}/{rest.partition('/')[2]}"
                sent[name] = sent.get(name, 0) + entry["sent"]
        return sent

    def uploads(self, entries: list[dict[str, Any]]) -> list[str]:
        """Each large file that was uploaded in full, by its hash."""
        return [
            entry["path"].rpartition("/")[2]
            for entry in entries
            if entry["method"] == "PUT" and entry["status"] == 200
        ]

    def read(self, repo: str, path: str, revision: str = "main") -> str | None:
        """A file of a public repository; `None` if there is none."""
        try:
            with urllib.request.urlopen(f"{self.url}/{repo}/resolve/{revision}/{path}") as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError:
            return None

    def environment(self, home: Path, user: str | None, **changes: str) -> dict[str, str]:
        names = ("HF_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_HOME")
        inherited = {name: value for name, value in os.environ.items() if name not in names}
        return {
            **inherited,
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "OMP_NUM_THREADS": "1",
            **({"HF_TOKEN": f"hf_{user}"} if user else {}),
            **changes,
        }

    def start(
        self, scenario: str, home: Path, user: str | None = None, **arguments: Any
    ) -> "Scenario":
        environment = self.environment(home, user, **arguments.pop("environment", {}))
        return Scenario(scenario, environment, arguments)

    def run(self, scenario: str, home: Path, user: str | None = None, **arguments: Any) -> Any:
        """What a function of `hub_scenarios` returns in a process of its own."""
        return self.start(scenario, home, user, **arguments).result()


class Scenario:
    """A function of `hub_scenarios` in a process of its own."""

    def __init__(
        self, name: str, environment: Mapping[str, str], arguments: Mapping[str, Any]
    ) -> None:
        command = [sys.executable, "-W", "error::ResourceWarning", "-m", "tests.hub.hub_scenarios"]
        self.process = subprocess.Popen(
            [*command, name, json.dumps(arguments, default=str)],
            env=dict(environment),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def result(self) -> Any:
        out, err = self.process.communicate(timeout=300)
        assert self.process.returncode == 0, f"{out[-2000:]}\n{err[-8000:]}"
        return json.loads(out.splitlines()[-1])

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def wait_until(condition: Any, seconds: float = 300.0) -> None:
    """Wait until `condition()` holds; fails after a while."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)
