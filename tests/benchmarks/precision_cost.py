"""What 16, 8 and 4 bits per weight cost, in bits per code on given codes.

`python -m tests.benchmarks.precision_cost MODEL LEVEL CODES... [--windows 8]`: a model, level of
a prior of it, and codes files (`jukebox encode`) of music that it was not trained on. Every
take of every file counts. Differences are taken window by window, so that few windows tell them
exactly. On random weights the numbers say nothing: use a trained model.
"""

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from jukebox_hf.codes import load_codes
from jukebox_hf.generation.choices import PRECISIONS
from jukebox_hf.generation.weights import load_for_sampling
from jukebox_hf.hub.system import System
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from tests.benchmarks.window_inputs import PieceInputs

CPU = torch.device("cpu")


def windows_of(
    system: System,
    level: int,
    paths: Sequence[Path],
    count: int,
    *,
    artist: str | None = None,
    genre: str | None = None,
) -> list[dict[str, Any]]:
    """Inputs of `JukeboxPrior.forward` for `count` windows of every take of some codes files.

    Takes that are shorter than a window are left out; `ValueError` if all are.
    """
    found = []
    context = system.prior_config(level).context_length
    for path in paths:
        levels = load_codes(path).levels
        for take in range(len(levels[level])):
            piece = {one: codes[take] for one, codes in levels.items()}
            if len(piece[level]) >= context:
                inputs = PieceInputs(system, level, piece, artist=artist, genre=genre)
                found += [inputs.at(start) for start in inputs.starts(count)]
    if not found:
        raise ValueError(f"no take has {context} codes of level {level}, which is one window")
    return found


@torch.inference_mode()
def bits(
    system: System, level: int, precision: str, windows: Sequence[dict[str, Any]]
) -> list[float]:
    """Mean bits per code of every window in a precision, with the layers that sampling uses."""
    prior = JukeboxPrior.of(load_for_sampling(system, level, precision=precision, device=CPU))
    return [float(prior(**given).music_loss) for given in windows]


def compare(
    system: System, level: int, windows: Sequence[dict[str, Any]], precisions: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """A row per precision; `excess` is against the first, with its standard error over windows."""
    exact: list[float] = []
    for precision in precisions:
        found = bits(system, level, precision, windows)
        exact = exact or found
        differences = [one - other for one, other in zip(found, exact, strict=True)]
        spread = statistics.stdev(differences) if len(differences) > 1 else 0.0
        yield {
            "level": level,
            "windows": len(windows),
            "precision": precision,
            "bits_per_code": round(statistics.mean(found), 5),
            "excess": round(statistics.mean(differences), 5),
            "standard_error": round(spread / len(differences) ** 0.5, 5),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("level", type=int)
    parser.add_argument("codes", type=Path, nargs="+")
    parser.add_argument("--windows", type=int, default=8, help="per take")
    parser.add_argument("--artist")
    parser.add_argument("--genre")
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=PRECISIONS)
    given = parser.parse_args()
    system = System.open(given.model)
    labels = {"artist": given.artist, "genre": given.genre}
    windows = windows_of(system, given.level, given.codes, given.windows, **labels)
    for row in compare(system, given.level, windows, given.precisions):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
