"""Timing honestly: pairs in one process, alternating order, medians of per-round ratios.

Nothing here knows what is measured.
"""

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("torch", "transformers", "safetensors", "numpy")


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(run: Callable[[], object], device: torch.device) -> tuple[float, float]:
    """Wall and CPU seconds of one run."""
    synchronize(device)
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    synchronize(device)
    return time.perf_counter() - wall, time.process_time() - cpu


def alternate(
    variants: Mapping[str, Callable[[], object]], device: torch.device, *, rounds: int, warm_up: int
) -> dict[str, list[tuple[float, float]]]:
    """(wall, CPU) seconds of every variant in every round; each round turns the order around."""
    for run in variants.values():
        for _ in range(warm_up):
            run()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for index in range(rounds):
        order = list(variants)[:: -1 if index % 2 else 1]
        for name in order:
            times[name].append(seconds_of(variants[name], device))
    return times


def summary(times: list[tuple[float, float]], *, per: int = 1) -> dict[str, float]:
    """Milliseconds per step: median, best and worst of wall time, and the median of CPU time."""
    wall = [1e3 * seconds / per for seconds, _ in times]
    return {
        "ms": round(statistics.median(wall), 3),
        "best_ms": round(min(wall), 3),
        "worst_ms": round(max(wall), 3),
        "cpu_ms": round(1e3 * statistics.median(cpu for _, cpu in times) / per, 3),
    }


def ratio(slow: list[tuple[float, float]], fast: list[tuple[float, float]]) -> dict[str, float]:
    """How many times faster: the median of the ratios of every round, and their range.

    `cpu_ratio` and so on are of CPU time, which does not count what other processes did meanwhile:
    the ones to read where a core is shared.
    """
    result = {}
    for index, name in enumerate(("", "cpu_")):
        ratios = [one[index] / other[index] for one, other in zip(slow, fast, strict=True)]
        result |= {
            f"{name}ratio": round(statistics.median(ratios), 3),
            f"{name}from": round(min(ratios), 3),
            f"{name}to": round(max(ratios), 3),
        }
    return result


def environment(device: torch.device) -> dict[str, Any]:
    """What a result depends on besides the code: commit, versions, hardware, load, date."""

    def output(*command: str) -> str:
        try:
            done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        except OSError:  # no git here
            return ""
        return done.stdout.strip()

    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": output("git", "rev-parse", "--short", "HEAD"),
        "uncommitted": bool(output("git", "status", "--porcelain", "--", "jukebox_hf", "tests")),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "load": [round(one, 1) for one in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
