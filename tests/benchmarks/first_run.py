"""What somebody sees who installed the package: the README's line, in an empty directory, offline.

    python -m tests.benchmarks.first_run JUKEBOX

JUKEBOX is the command of an environment that the wheel was installed into. It gets an empty home
and, where `unshare -n` is allowed, no network. One line of JSON per run: wall seconds,
seconds until there is something to hear, peak memory, the files that are left. Linux only.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.measuring import environment

LINE = ("generate", "--genre", "rock", "--lyrics", "song.txt", "--seed", "1", "-q")
LYRICS = "We sing a song of summer rain,\nof open roads and evening light,\nand home again.\n"
POLL_SECONDS = 0.05
OFFLINE = ("unshare", "-n")


def first_run(jukebox: Path, *, threads: int | None = None) -> dict[str, Any]:
    """Run the line once. Raises `RuntimeError` with what it said if it fails."""
    with tempfile.TemporaryDirectory() as empty:
        home, folder = Path(empty, "home"), Path(empty, "here")
        home.mkdir()
        folder.mkdir()
        (folder / "song.txt").write_text(LYRICS, encoding="utf-8")
        given = {"HOME": str(home), "PATH": os.defpath}
        if threads is not None:
            given["OMP_NUM_THREADS"] = str(threads)
        offline = _can_go_offline()
        command = [*(OFFLINE if offline else ()), str(jukebox), *LINE]
        begun = time.monotonic()
        with (
            open(Path(empty, "said"), "w+", encoding="utf-8") as said,
            subprocess.Popen(command, cwd=folder, env=given, stdout=said, stderr=said) as process,
        ):
            peak, heard = 0, None
            while process.poll() is None:
                peak = max(peak, _peak_bytes(process.pid))
                if heard is None and any(folder.glob("*/preview/*.wav")):
                    heard = round(time.monotonic() - begun, 1)
                time.sleep(POLL_SECONDS)
            seconds = time.monotonic() - begun
            if process.returncode:
                said.seek(0)
                raise RuntimeError(f"{' '.join(command)} failed: {said.read().strip()}")
        return {
            "seconds": round(seconds, 1),
            "listen_seconds": heard,
            "peak_bytes": peak,
            "offline": offline,
            "threads": threads,
            "files": sorted(
                str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
            ),
        }


def _can_go_offline() -> bool:
    try:
        return subprocess.run([*OFFLINE, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _peak_bytes(process: int) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:  # it has just ended
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) * 1024 if lines else 0


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("jukebox", type=Path, help="the command of the environment to try")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, help="OMP_NUM_THREADS of the runs")
    given = parser.parse_args()
    for _ in range(given.rounds):
        print(json.dumps(first_run(given.jukebox.absolute(), threads=given.threads)), flush=True)
    print(json.dumps(environment(torch.device("cpu"))))


if __name__ == "__main__":
    main()
