"""What somebody sees who installed the package: the README's line, in an empty directory, offline.

    python -m tests.benchmarks.first_run JUKEBOX
    python -m tests.benchmarks.first_run JUKEBOX --against OTHER_JUKEBOX --rounds 3 --stages
    python -m tests.benchmarks.first_run JUKEBOX --against OTHER_JUKEBOX --answers

JUKEBOX is the command of an environment that the wheel was installed into. It gets an empty home
and, where `unshare -n` is allowed, no network. One line of JSON per run: wall and CPU seconds,
both also until there is something to hear, peak memory, the files that are left. Linux only.

With `--against`, runs of both take turns, in the order that every round turns around, once with one
thread (levels follow each other) and once as many as there are; then come the medians of the
ratios, JUKEBOX's over the other's. `--stages` says where the CPU seconds of both go (`stages`).
`--answers` times in turns what makes no music instead (`ANSWERS`): reading, refusing, importing.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
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
            peak, together, heard, heard_cpu = 0, 0, None, None
            while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
                peak = max(peak, peak_bytes(process.pid))
                cpu, used = _of_all(process.pid)
                together = max(together, used)
                if heard is None and any(folder.glob("*/preview/*.wav")):
                    heard, heard_cpu = round(time.monotonic() - begun, 1), round(cpu, 1)
                time.sleep(POLL_SECONDS)
            seconds = time.monotonic() - begun
            process.returncode = os.waitstatus_to_exitcode(ended[1])
            if process.returncode:
                said.seek(0)
                raise RuntimeError(f"{' '.join(command)} failed: {said.read().strip()}")
        return {
            "seconds": round(seconds, 1),
            "cpu_seconds": round(ended[2].ru_utime + ended[2].ru_stime, 1),
            "listen_seconds": heard,
            "listen_cpu_seconds": heard_cpu,
            "peak_bytes": peak,  # of the largest process
            "peak_bytes_together": max(together, peak),
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


def peak_bytes(process: int) -> int:
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:  # it has just ended
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) * 1024 if lines else 0


def _of_all(process: int) -> tuple[float, int]:
    """CPU seconds so far and bytes now of a process and those that it has started.

    Memory that several of them share is counted once.
    """
    seconds, used = 0.0, 0
    with contextlib.suppress(psutil.Error):  # it has just ended
        parent = psutil.Process(process)
        for one in [parent, *parent.children(recursive=True)]:
            with contextlib.suppress(psutil.Error):
                times = one.cpu_times()
                seconds += times.user + times.system
                used += _shared_fairly(one.pid)
    return seconds, used


def _shared_fairly(process: int) -> int:
    """Bytes of a process, what it shares divided by those who do."""
    try:
        text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8")
    except OSError:
        return 0
    lines = [line for line in text.splitlines() if line.startswith("Pss:")]
    return int(lines[0].split()[1]) * 1024 if lines else 0


# What answers without making music: arguments of the command, or code for its Python. `made` is a
# session of the environment itself.
ANSWERS: dict[str, tuple[str, ...] | str] = {
    "import jukebox_hf": "import jukebox_hf",
    "read a preset": (
        "from jukebox_hf import TrainingSettings\n"
        "TrainingSettings.preset('toy_top', dataset='songs', output='run')"
    ),
    "refuse a misspelt setting": (
        "from jukebox_hf import TrainingSettings\n"
        "try: TrainingSettings.preset('toy_top', stps=3)\n"
        "except ValueError: pass\n"
        "else: raise SystemExit(3)"
    ),
    "refuse a misspelt option": ("generate", "--gnre", "rock"),
    "refuse a misspelt preset": (
        *("train", "prior", "--preset", "toy_tp", "--dataset", "songs", "--output", "run"),
    ),
    "list presets": ("train", "presets"),
    "read a session's record": ("sessions", "show", "made"),
    "search a vocabulary": ("labels", "search", "rock"),
    "describe a model": ("info",),
    "no such model, no network": ("info", "nobody/nothing"),
}


def compare_answers(ours: Path, other: Path, *, rounds: int) -> None:
    """Print the CPU and wall seconds of every answer of both, in turns, and their ratios."""
    with contextlib.ExitStack() as stack:
        places = {}
        for jukebox in (ours, other):
            places[jukebox] = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            made = ("generate", "--seconds", "1", "--to-level", "2", "--output", "made", "-q")
            _answer(jukebox, made, places[jukebox])
        for name, what in ANSWERS.items():
            found: dict[Path, list[tuple[float, float]]] = {ours: [], other: []}
            for index in range(rounds):
                for jukebox in (ours, other)[:: -1 if index % 2 else 1]:
                    found[jukebox].append(_answer(jukebox, what, places[jukebox]))
            row: dict[str, Any] = {"answer": name}
            for place, seconds in (("cpu_seconds", 0), ("seconds", 1)):
                each = [[one[seconds] for one in found[jukebox]] for jukebox in (ours, other)]
                row[place] = [round(statistics.median(one), 2) for one in each]
                ratio = [mine / theirs for mine, theirs in zip(*each, strict=True)]
                row[f"{place}_ratio"] = round(statistics.median(ratio), 3)
            print(json.dumps(row), flush=True)


def _answer(jukebox: Path, what: tuple[str, ...] | str, folder: Path) -> tuple[float, float]:
    """CPU and wall seconds of a command, or of code, in an empty home and without a network."""
    own = [str(jukebox.with_name("python")), "-c", what]
    command = own if isinstance(what, str) else [str(jukebox), *what]
    (folder / "home").mkdir(exist_ok=True)
    (folder / "here").mkdir(exist_ok=True)
    begun = time.monotonic()
    with subprocess.Popen(
        [*(OFFLINE if _can_go_offline() else ()), *command],
        cwd=folder / "here",
        env={"HOME": str(folder / "home"), "PATH": os.defpath, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1, 2):  # done, failed as it should, or refused
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime, time.monotonic() - begun


RATIOS = ("cpu_seconds", "listen_cpu_seconds", "seconds", "listen_seconds", "peak_bytes")


def compare(ours: Path, other: Path, *, rounds: int) -> None:
    """Print runs of both in turns, and the medians of their ratios."""
    for threads in (1, None):
        runs: dict[Path, list[dict[str, Any]]] = {ours: [], other: []}
        for index in range(rounds):
            for jukebox in (ours, other)[:: -1 if index % 2 else 1]:
                runs[jukebox].append(first_run(jukebox, threads=threads))
                print(json.dumps({"jukebox": str(jukebox), **runs[jukebox][-1]}), flush=True)
        print(json.dumps({"threads": threads, **ratios(runs[ours], runs[other])}), flush=True)


def ratios(ours: list[dict[str, Any]], others: list[dict[str, Any]]) -> dict[str, Any]:
    """Of every round, ours over the other's: the median, the least and the most."""
    found = {}
    for name in RATIOS:
        each = [
            one[name] / other[name]
            for one, other in zip(ours, others, strict=True)
            if one[name] and other[name]
        ]
        if each:
            found[name] = [round(f(each), 2) for f in (statistics.median, min, max)]
    return found


def stages(jukebox: Path) -> dict[str, Any]:
    """Where the CPU seconds go, by the environment of a command: see `stages.py`."""
    script = Path(__file__).with_name("stages.py")
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [str(jukebox.with_name("python")), "-W", "ignore", str(script), "made"],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"{script} failed with {jukebox}: {done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("jukebox", type=Path, help="the command of the environment to try")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, help="OMP_NUM_THREADS of the runs")
    parser.add_argument("--against", type=Path, help="the command of another environment")
    parser.add_argument("--answers", action="store_true", help="time what makes no music")
    parser.add_argument("--stages", action="store_true", help="where the CPU seconds go")
    given = parser.parse_args()
    ours = given.jukebox.absolute()
    if given.stages:
        for jukebox in [ours, *([given.against.absolute()] if given.against else [])]:
            print(json.dumps({"jukebox": str(jukebox), "stages": stages(jukebox)}), flush=True)
    if given.answers:
        if given.against is None:
            parser.error("--answers compares: give --against")
        compare_answers(ours, given.against.absolute(), rounds=given.rounds)
    elif given.against is not None:
        compare(ours, given.against.absolute(), rounds=given.rounds)
    else:
        for _ in range(given.rounds):
            print(json.dumps(first_run(ours, threads=given.threads)), flush=True)
    print(json.dumps(environment(torch.device("cpu"))))


if __name__ == "__main__":
    main()
