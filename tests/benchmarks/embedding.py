"""The section `embed`: what embedding takes in time and memory, as ratios in one run.

Times of codes on random priors, alternating; memory of fresh processes, from the moment before.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from jukebox_hf import Codes, JukeboxEmbedder
from jukebox_hf.hub import save_system
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.representations.embedding_cost import estimate
from jukebox_hf.representations.embedding_settings import EmbeddingSettings
from tests.benchmarks.measuring import alternate, ratio, summary
from tests.benchmarks.models import random_prior
from tests.tiny import tiny_processor, tiny_vqvae

Row = dict[str, Any]
CPU = torch.device("cpu")
SONG_CODES = 512
CLIPS = 20
CLIP_CODES = ((20, 100), (30, 300), (100, 1000))  # the released codec makes 344.5 in a second
DEEP = {"depth": 72, "width": 512, "heads": 1}  # 72 layers, as many as the released prior has


def codes_of(lengths: Sequence[int]) -> list[Codes]:
    """Random codes of level 0."""
    drawn = torch.Generator().manual_seed(0)
    return [
        Codes({0: torch.randint(0, 2048, (1, length), generator=drawn)}, (8,), 44100)
        for length in lengths
    ]


def times(size: str, rounds: int) -> Iterator[Row]:
    """A sweep of all layers, uneven clips in batches, and bfloat16."""
    prior = random_prior(size, "float32", CPU)
    depth = prior.config.depth
    (song,) = codes_of([SONG_CODES])
    every = tuple(range(1, depth + 1))
    embedder = JukeboxEmbedder(prior, None, EmbeddingSettings(layers=(depth,), pool="mean"))
    measured = alternate(
        {"deepest": lambda: embedder(song), "sweep": lambda: embedder(song, layers=every)},
        CPU,
        rounds=rounds,
        warm_up=1,
    )
    yield _row("sweep of all layers / one pass to the deepest", size, measured, "sweep", "deepest")
    for low, high in CLIP_CODES:
        drawn = torch.Generator().manual_seed(low)
        lengths = torch.randint(low, high, (CLIPS,), generator=drawn).tolist()
        clips = codes_of(lengths)
        alone = JukeboxEmbedder(prior, None, embedder.settings, batch_size=1)
        batched = JukeboxEmbedder(prior, None, embedder.settings, batch_size=CLIPS)
        measured = alternate(
            {
                "one by one": lambda alone=alone, clips=clips: [alone(clip) for clip in clips],
                "batches": lambda batched=batched, clips=clips: batched(clips),
            },
            CPU,
            rounds=rounds,
            warm_up=1,
        )
        what = f"{CLIPS} clips of {low} to {high} codes, in batches / one by one"
        yield _row(what, size, measured, "batches", "one by one")
    half = JukeboxEmbedder(random_prior(size, "bfloat16", CPU), None, embedder.settings)
    measured = alternate(
        {"float32": lambda: embedder(song), "bfloat16": lambda: half(song)},
        CPU,
        rounds=rounds,
        warm_up=1,
    )
    yield _row("bfloat16 / float32", size, measured, "bfloat16", "float32")


def _row(what: str, size: str, measured: dict[str, Any], first: str, second: str) -> Row:
    return {
        "what": what,
        "size": size,
        **{name: summary(found)["cpu_ms"] for name, found in measured.items()},
        **ratio(measured[first], measured[second]),
    }


def predictions() -> Iterator[Row]:
    """What `--dry-run` predicts for the released 5b, for a song of 180 s."""
    config = JukeboxPriorConfig.preset("5b")
    for layer, pool in ((36, "mean"), (66, "none"), (72, "mean")):
        for precision in ("float32", "float16", "int8"):
            settings = EmbeddingSettings(layers=(layer,), pool=pool)  # type: ignore[arg-type]
            cost = estimate(
                config, settings, [180.0], precision=precision, batch_size=1, device=CPU,
                calibrate=False,
            )  # fmt: skip
            yield {
                "what": f"predicted: 5b, layers 1 to {layer}, 180 s of audio, {precision}",
                "TFLOP": round(cost.operations / 1e12, 1),
                "weights_GB": round(cost.weight_bytes / 1e9, 2),
                **{
                    one.gpu.name: f"{one.seconds:.3g} s" if one.fits else "does not fit"
                    for one in cost.gpus
                },
            }


# --- memory, in processes of their own ----------------------------------------------------------


def peak(reset: bool = False) -> int:
    """The most memory since the last reset, in bytes (Linux)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def memory(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Peak of loading some layers, and of a pass with a sweep or without, over what was before."""
    torch.set_num_threads(1)
    if options["task"] == "write":
        _write_deep(folder)
        return {}
    before = peak(reset=True)
    layers = options["layers"]
    embedder = JukeboxEmbedder.from_pretrained(
        folder, layers=layers, device="cpu", pool="mean", level=0
    )
    loaded = peak() - before
    (song,) = codes_of([options["codes"]])
    embedder(song)
    return {"load_bytes": loaded, "peak_bytes": peak() - before}


def _write_deep(folder: Path) -> None:
    config = JukeboxPriorConfig(
        level=0, codebook_size=2048, hop_length=8, sampling_rate=44100, context_length=8192,
        num_rows=128, attention_width=DEEP["width"], mlp_width=4 * DEEP["width"],
        attention_pattern="factored", **DEEP,
    )  # fmt: skip
    prior = JukeboxPrior(config).eval()
    save_system(
        folder,
        vqvae=tiny_vqvae(sampling_rate=44100, codebook_size=2048),
        priors={0: prior},
        processors={0: tiny_processor(config)},
    )


def main() -> None:
    """`python -m tests.benchmarks.embedding FOLDER`, options on stdin: for `sections`."""
    import sys

    print(json.dumps(memory(Path(sys.argv[1]), json.loads(sys.stdin.read()))))


if __name__ == "__main__":
    main()
