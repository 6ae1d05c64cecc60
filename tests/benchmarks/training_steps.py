"""Whole steps of training, of this build and perhaps of one in another environment, in turns.

Each build has a process of its own that waits for its turn (`training_worker.py`).
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.measuring import ratio, summary

CASES = [
    *[(kind, precision) for kind in ("codec", "prior") for precision in ("bfloat16", "float32")],
    ("prior", "bfloat16", "--compile"),
]
WARM_UP_STEPS = 3  # memory is laid out by then


class Worker:
    """A process that trains when it is told to."""

    def __init__(self, python: str, *arguments: str) -> None:
        script = Path(__file__).with_name("training_worker.py")
        self.process = subprocess.Popen(
            [python, "-W", "ignore", str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()  # the first step is done

    def _read(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended; what it said stands above")
        found: dict[str, float] = json.loads(line)
        return found

    def step(self) -> tuple[float, float]:
        """Wall and CPU seconds of a step."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        found = self._read()
        return found["wall"], found["cpu"]

    def close(self) -> None:
        """End it; nothing of it is kept."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def steps_in_turns(
    against: str | None, *, rounds: int, tiny: bool, cases: Sequence[tuple[str, ...]] = CASES
) -> Iterator[dict[str, Any]]:
    """A row per model and precision; with the Python of another environment, ratios to its build.

    A ratio above 1 says that this build is faster.
    """
    for kind, precision, *options in cases:
        arguments = [kind, precision, *options, *(["--tiny"] if tiny else [])]
        pythons = {"this": sys.executable, **({"other": against} if against else {})}
        workers = {name: Worker(python, *arguments) for name, python in pythons.items()}
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in workers}
        for number in range(WARM_UP_STEPS + rounds):
            for name in list(workers)[:: -1 if number % 2 else 1]:
                seconds = workers[name].step()
                if number >= WARM_UP_STEPS:
                    times[name].append(seconds)
        for worker in workers.values():
            worker.close()
        how = ", compiled" if "--compile" in options else ""
        row = {"what": f"whole step of the {kind}, {precision}{how}", **summary(times["this"])}
        if against:
            row |= {"other_cpu_ms": summary(times["other"])["cpu_ms"]}
            row |= {"against": against, **ratio(times["other"], times["this"])}
        yield row
