"""What the choice among candidates takes away of what a seam costs, when a stretch is made again.

`python -m tests.benchmarks.infill SONGS [--model M] [--holes 12] [--seconds 2] [--candidates 32]`.
SONGS is a folder of songs that the model did not learn from, with a `metadata.csv` that may say
their genre. In the middle of each, a stretch of the top level is made again as `jukebox infill`
makes it. The prior then scores what follows it: after the original, after each candidate, and
after the best of so many. The best are chosen by the first 128 codes, as in use; of every number of
candidates all groups that the sampled ones can be divided into are averaged.
"""

import argparse
import csv
import math
import random
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from jukebox_hf import JukeboxPipeline
from jukebox_hf.audio import load_audio
from jukebox_hf.codes import Codes, save_codes
from jukebox_hf.generation import Request
from jukebox_hf.generation.holes import SCORED_CODES, score
from jukebox_hf.generation.making import Generation

BEFORE_SECONDS = 4.0
SPANS = {"first 64": (0, 64), "first 128": (0, 128), "129 to 512": (128, 512)}
NUMBERS = (1, 4, 8, 16, 32)


class Hole(NamedTuple):
    """Bits per code of what follows one stretch, by span: after the original and each candidate."""

    original: Mapping[str, float]
    candidates: Sequence[Mapping[str, float]]

    def best_of(self, number: int, span: str) -> float:
        """Mean over groups of `number` candidates of the one that is best by `SCORED_CODES`."""
        groups = [
            self.candidates[first : first + number]
            for first in range(0, len(self.candidates) - number + 1, number)
        ]
        chosen = [min(group, key=lambda one: one["first 128"]) for group in groups]
        return sum(one[span] for one in chosen) / len(chosen)


def measure(
    pipeline: JukeboxPipeline,
    song: Path,
    genre: str | None,
    *,
    seconds: float,
    candidates: int,
    seed: int,
) -> Hole:
    """Make a stretch in a song again, and score what follows."""
    system = pipeline.system
    config = system.prior_config(max(system.prior_levels))
    codec = system.load_vqvae(device=pipeline.device)
    after = max(end for _, end in SPANS.values()) * config.hop_length / config.sampling_rate
    length = BEFORE_SECONDS + seconds + after + 0.1
    audio = load_audio(song, config.sampling_rate, start_seconds=1.0, end_seconds=1.0 + length)
    level = config.level
    (top,) = codec.encode(audio[None], [level], chunk_seconds=5.0)
    codes = Codes({level: top.cpu()}, codec.config.hop_lengths, config.sampling_rate)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "song.safetensors"
        save_codes(path, codes)
        request = Request.infill(
            path,
            {
                "from_seconds": BEFORE_SECONDS,
                "to_seconds": BEFORE_SECONDS + seconds,
                "candidates": candidates,
                "to_level": level,
                "genre": genre,
                "seed": seed,
            },
        )
    plan = pipeline.plan(request)
    generation = Generation(plan, device=pipeline.device)
    for _ in generation:
        pass
    take, whole = plan.take(1), top[0].cpu()
    assert take.hole is not None
    begin, end = (place // config.hop_length for place in (take.hole.begin, take.hole.end))
    prior, processor = system.load_prior(level, device=pipeline.device), system.processor(level)

    def bits(hole: torch.Tensor) -> dict[str, float]:
        return {
            name: score(
                prior,
                processor,
                torch.cat([whole[:begin], hole, whole[end : end + stop]]),
                stop - first,
                take.labels[level],
                total_samples=take.total_samples,
                offset_samples=take.offset_samples,
            )
            for name, (first, stop) in SPANS.items()
        }

    assert SPANS["first 128"][1] == SCORED_CODES
    made = [row.codes[begin - row.run.begin :] for row in generation.chains[1, level]]
    return Hole(bits(whole[begin:end]), [bits(one) for one in made])


def mean_and_interval(values: Sequence[float]) -> str:
    """The mean, and half of its 95 % interval by the normal distribution."""
    numbers = torch.tensor(values)
    error = float(numbers.std()) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{float(numbers.mean()):.3f} ± {1.96 * error:.3f}"


def table(holes: Sequence[Hole], candidates: int) -> str:
    """Bits per code after the stretch, and the share of the seam's extra bits that is gone."""
    numbers = [number for number in NUMBERS if number <= candidates]
    lines = ["| after the stretch | " + " | ".join(f"codes {name}" for name in SPANS) + " |"]
    lines.append("| --- |" + " --: |" * len(SPANS))

    def row(label: str, values: Mapping[str, Sequence[float]]) -> None:
        found = " | ".join(mean_and_interval(values[name]) for name in SPANS)
        lines.append(f"| {label} | {found} |")

    row("original", {name: [hole.original[name] for hole in holes] for name in SPANS})
    for number in numbers:
        label = "a candidate" if number == 1 else f"best of {number}"
        row(label, {name: [hole.best_of(number, name) for hole in holes] for name in SPANS})
    for number in numbers[1:]:
        # Of means: of single holes the seam's cost may be about nothing.
        parts = []
        for name in SPANS:
            costs = torch.tensor([hole.best_of(1, name) - hole.original[name] for hole in holes])
            gone = [hole.best_of(1, name) - hole.best_of(number, name) for hole in holes]
            known = float(costs.mean()) > 1.96 * float(costs.std()) / math.sqrt(len(holes))
            parts.append(f"{sum(gone) / float(costs.sum()):.0%}" if known else "no cost")
        lines.append(f"| taken away by the best of {number} | {' | '.join(parts)} |")
    return "\n".join(lines)


def read_songs(folder: Path) -> list[tuple[Path, str | None]]:
    """The songs that the folder's table names, with their genre."""
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [(folder / row["file_name"], row.get("genre") or None) for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("songs", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--holes", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--candidates", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pipeline = JukeboxPipeline.from_pretrained(options.model)
    songs = read_songs(options.songs)
    random.Random(options.seed).shuffle(songs)
    holes = []
    for number, (song, genre) in enumerate(songs[: options.holes]):
        holes.append(
            measure(
                pipeline,
                song,
                genre,
                seconds=options.seconds,
                candidates=options.candidates,
                seed=number,
            )
        )
        print(f"{number + 1} stretches\n{table(holes, options.candidates)}\n", flush=True)


if __name__ == "__main__":
    main()
