"""What int8 and int4 weights cost, in bits per code on given codes.

`python -m tests.benchmarks.precision_cost MODEL LEVEL CODES [--windows 8]`: a model folder, the
level of one of its priors, and a codes file with music that it was not trained on. Rows of labels
are the model's "unknown". On random weights the numbers say nothing: use a trained model.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from jukebox_hf.codes import load_codes
from jukebox_hf.generation.devices import PRECISIONS
from jukebox_hf.generation.weights import load_for_sampling
from jukebox_hf.hub.system import System

CPU = torch.device("cpu")


def windows_of(system: System, level: int, path: Path, count: int) -> list[dict[str, Any]]:
    """Inputs of `JukeboxPrior.forward` for windows spread over the first take of a codes file."""
    codes, config = load_codes(path), system.prior_config(level)
    processor = system.processor(level)
    own, length = codes.levels[level][0], config.context_length
    if len(own) < length:
        raise ValueError(f"{path} has {len(own)} codes of level {level}; one window is {length}")
    total = max(
        len(own) * config.hop_length, round(config.min_total_seconds * config.sampling_rate) + 1
    )
    ratio = config.upper_ratio if config.is_upsampler else 1
    starts = torch.linspace(0, len(own) - length, count).long() // ratio * ratio
    found = []
    for start in sorted(set(starts.tolist())):
        labels = processor.window(
            [processor.resolve()], total_samples=total, offset_samples=start * config.hop_length
        )
        given: dict[str, Any] = {"codes": own[None, start : start + length]}
        given |= {"labels": labels.labels, "lyric_tokens": labels.lyric_tokens}
        if config.is_upsampler:
            above = codes.levels[level + 1][0]
            given["upper_codes"] = above[None, start // ratio : (start + length) // ratio]
        found.append(given)
    return found


@torch.inference_mode()
def bits(system: System, level: int, precision: str, windows: list[dict[str, Any]]) -> float:
    """Mean bits per code of a precision, over windows."""
    prior = load_for_sampling(system, level, precision=precision, device=CPU)
    return sum(float(prior(**given).music_loss) for given in windows) / len(windows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("level", type=int)
    parser.add_argument("codes", type=Path)
    parser.add_argument("--windows", type=int, default=8)
    given = parser.parse_args()
    system = System.open(given.model)
    windows = windows_of(system, given.level, given.codes, given.windows)
    exact = None
    for precision in PRECISIONS:
        found = bits(system, given.level, precision, windows)
        exact = found if exact is None else exact
        row = {"precision": precision, "bits_per_code": found, "excess": found - exact}
        print(json.dumps({"level": given.level, "windows": len(windows), **row}), flush=True)


if __name__ == "__main__":
    main()
