"""One task in a process of its own, so that its peak memory can be told: see `sections`.

Options come as JSON on stdin, what was measured goes as JSON to stdout.
"""

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from jukebox_hf import JukeboxPipeline
from jukebox_hf.generation.sampling import WindowSampler
from jukebox_hf.generation.weights import load_for_sampling
from jukebox_hf.hub import save_system
from jukebox_hf.hub.system import System
from jukebox_hf.sampling_settings import LevelSettings
from tests.benchmarks.models import random_prior
from tests.tiny import tiny_prior, tiny_processor, tiny_vqvae


def peak_bytes() -> int:
    """The most memory that this process has had, files it has mapped included (Linux).

    Not `ru_maxrss`: a process inherits that from the one that started it.
    """
    status = Path("/proc/self/status").read_text()
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak is not None, "Linux says so"
    return int(peak[1]) * 1024


def sample(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Make a piece with a small system of three levels, 8 kHz."""
    device = torch.device(options["device"])
    model = folder / "small"
    if not model.exists():
        width = 32 if options["tiny"] else 128
        shape = {"width": width, "attention_width": width // 2, "mlp_width": width, "depth": 6}
        priors = {level: tiny_prior(level, **shape, context_length=256) for level in range(3)}
        save_system(
            model,
            vqvae=tiny_vqvae(),
            priors=priors,
            processors={level: tiny_processor(prior.config) for level, prior in priors.items()},
            generation={"hop_fraction": {"0": 0.5, "1": 0.5, "2": 0.5}},
        )
    pipeline = JukeboxPipeline.from_pretrained(model, device=device)
    chains = {0: options["chains"], 1: min(options["chains"], 4)} if options["chains"] > 1 else None
    # 256 codes of 128 samples are 4.1 s, the shortest piece: one window of the top
    seconds = 4.1 if options["tiny"] else options["seconds"]
    pipeline.generate(seconds=4.1, total_seconds=50, seed=1, to_level=2)  # warm
    wall, cpu = time.perf_counter(), time.process_time()
    pipeline.generate(seconds=seconds, total_seconds=50, seed=1, chains=chains)
    return {
        "audio_s": seconds,
        "wall_s": round(time.perf_counter() - wall, 2),
        "cpu_s": round(time.process_time() - cpu, 2),
    }


def load(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Load a stored prior and sample a few codes."""
    size, precision = options["size"], options["precision"]
    model = folder / size
    if not model.exists():
        prior = random_prior(size, "float16", torch.device("cpu"), packed=False)
        save_system(
            model,
            vqvae=tiny_vqvae(sampling_rate=44100, codebook_size=2048),
            priors={0: prior},
            processors={0: tiny_processor(prior.config)},
        )
        return load_again(options)
    before = peak_bytes()
    system = System.open(model)
    started = time.perf_counter()
    prior = load_for_sampling(system, 0, precision=precision, device=torch.device("cpu"))
    seconds = time.perf_counter() - started
    loaded = peak_bytes()
    sampler = WindowSampler(prior, LevelSettings(), 1)
    with torch.inference_mode():
        conditioning = prior.condition()
    given = torch.zeros(1, prior.config.context_length // 2, dtype=torch.int64)
    sampler.sample(given, torch.rand(1, 4), conditioning)
    stored = sum(path.stat().st_size for path in (model / "prior_0").glob("*.safetensors"))
    return {
        "stored_bytes": stored,
        "load_s": round(seconds, 2),
        "load_peak_bytes": loaded - before,
        "peak_bytes": peak_bytes() - before,
    }


def load_again(options: dict[str, Any]) -> dict[str, Any]:
    """Writing the model took memory of its own: measure in a fresh process."""
    import subprocess

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.task", *sys.argv[1:]],
        input=json.dumps(options),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    tasks: dict[str, Callable[[Path, dict[str, Any]], dict[str, Any]]] = {
        "sample": sample,
        "load": load,
    }
    torch.set_num_threads(1)
    found = tasks[sys.argv[1]](Path(sys.argv[2]), json.loads(sys.stdin.read()))
    print(json.dumps({"peak_bytes": peak_bytes(), **found}))


if __name__ == "__main__":
    main()
