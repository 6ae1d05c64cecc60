"""Trains tiny models as one of several processes, and writes what came out; see test_processes."""

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.training.tiny_runs import (
    codec_settings,
    codec_trainer,
    prior_settings,
    prior_trainer,
    weights_of,
)

# A large epsilon: Adam would turn the rounding errors of tiny gradients into whole steps.
COMMON: dict[str, Any] = {"batch_size": 8, "steps": 4, "epsilon": 1e-2, "evaluate_every": 2}
CODEC: dict[str, Any] = {**COMMON, "unquantized_steps": 1, "kmeans_steps": 2, "save_every": 2}


def main(folder: Path, process: int, processes: int) -> None:
    torch.set_num_threads(1)
    codec = codec_trainer(codec_settings(folder / "codec", **CODEC), processes=processes)
    result = codec.train()
    assert result.evaluation is not None
    save_file(
        {**weights_of(codec), "loss": torch.tensor([result.evaluation.loss])},
        folder / f"codec_{process}.safetensors",
    )
    prior = prior_trainer(prior_settings(folder / "prior", **COMMON), "upsampler")
    result = prior.train()
    assert result.evaluation is not None
    save_file(
        {**weights_of(prior), "loss": torch.tensor([result.evaluation.loss])},
        folder / f"prior_{process}.safetensors",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
