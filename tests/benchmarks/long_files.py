"""Memory of `jukebox encode` and `decode` with two and with twenty minutes of sound.

    python -m tests.benchmarks.long_files JUKEBOX [--suffix wav]

JUKEBOX is the command of an environment that the package was installed into. Prints a line of JSON
per run, with CPU seconds and peak memory, and the ratios of long to short. Linux only.
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

from jukebox_hf.audio import save_audio
from tests.benchmarks.first_run import POLL_SECONDS, peak_bytes
from tests.benchmarks.measuring import environment

RATE = 22050
SECONDS = {"short": 120, "long": 1200}


def measured(command: list[str]) -> dict[str, Any]:
    """CPU seconds and peak memory of a command; raises `CalledProcessError` if it fails."""
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            peak = max(peak, peak_bytes(process.pid))
            time.sleep(POLL_SECONDS)
        process.returncode = os.waitstatus_to_exitcode(ended[1])
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
    cpu_seconds = round(ended[2].ru_utime + ended[2].ru_stime, 1)
    return {"cpu_seconds": cpu_seconds, "peak_bytes": peak}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jukebox")
    parser.add_argument("--suffix", default="wav")
    arguments = parser.parse_args()
    print(json.dumps(environment(torch.device("cpu"))))
    peaks: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, seconds in SECONDS.items():
            sound, codes = Path(folder, f"{name}.{arguments.suffix}"), Path(folder, f"{name}.codes")
            noise = (0.1 * torch.randn(1, 10 * RATE) for _ in range(seconds // 10))
            save_audio(sound, noise, RATE)
            heard = sound.with_stem(f"{name}_heard")
            runs = {
                "encode": ["encode", str(sound), "-o", f"{codes}.safetensors"],
                "decode": ["decode", f"{codes}.safetensors", "-o", str(heard)],
            }
            for verb, line in runs.items():
                found = measured([arguments.jukebox, *line, "-q"])
                peaks[f"{verb} {name}"] = found["peak_bytes"]
                print(json.dumps({"run": verb, "seconds": seconds, **found}), flush=True)
    for verb in ("encode", "decode"):
        ratio = peaks[f"{verb} long"] / peaks[f"{verb} short"]
        print(json.dumps({"run": verb, "long / short": round(ratio, 3)}))


if __name__ == "__main__":
    main()
