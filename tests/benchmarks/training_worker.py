"""Steps of training, one whenever a line comes on stdin; answers with one JSON object per step.

    PYTHON tests/benchmarks/training_worker.py codec|prior PRECISION [--compile] [--tiny]

Runs by itself, with the package of whichever environment runs it, so that builds can be compared.
The steps are the trainer's own, optimizer and averages included; the data is made up. The prior is
12 x 512 with windows of 8192 codes, the codec that of the preset `demo_cpu_vqvae`.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from typing import Any

import torch

from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.training import trainer as training
from jukebox_hf.training.settings import TrainingSettings
from jukebox_hf.training.tasks import CodecTask, PriorTask
from jukebox_hf.vqvae import JukeboxVQVAE, JukeboxVQVAEConfig


class Drawn:
    """Examples drawn from their number: noise, or codes."""

    def __init__(self, key: str, length: int, symbols: int) -> None:
        self.key, self.length, self.symbols = key, length, symbols

    def __len__(self) -> int:
        return 1000

    def set_epoch(self, epoch: int) -> None:
        pass

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(index)
        if self.key == "codes":
            return {"codes": torch.randint(self.symbols, (self.length,), generator=generator)}
        return {"audio": torch.rand(1, self.length, generator=generator) - 0.5}


class PacedTrainer(training.JukeboxTrainer):
    """Waits for a line after every step."""

    _since: tuple[float, float] | None = None

    def _late(self) -> bool:
        if self._since is not None:
            wall, cpu = (now - then for now, then in zip(_clocks(), self._since, strict=True))
            print(json.dumps({"wall": wall, "cpu": cpu}), flush=True)
        else:
            print("{}", flush=True)  # the first step, which loads what the others need
        if not sys.stdin.readline():
            os._exit(0)  # nothing is to be saved
        self._since = _clocks()
        return False


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def paced_trainer(
    kind: str, precision: str, output: str, *, tiny: bool, compiled: bool = False
) -> PacedTrainer:
    """A run that does nothing but steps."""
    rare = {name: 10**6 for name in ("log_every", "save_every", "evaluate_every", "steps")}
    changes: dict[str, Any] = {**rare, "precision": precision, "output": output}
    changes["compile"] = compiled
    torch.manual_seed(0)
    task: CodecTask | PriorTask
    if kind == "codec":
        settings = TrainingSettings.preset(
            "demo_cpu_vqvae", unquantized_steps=0, kmeans_steps=0, **changes
        )
        if tiny:
            settings = settings.with_changes(batch_size=1)
        config = JukeboxVQVAEConfig(**settings.model)
        task = CodecTask(JukeboxVQVAE(config), settings)
        examples = Drawn("audio", settings.clip_samples, 0)
    else:
        depth, width, context = (2, 64, 256) if tiny else (12, 512, 8192)
        shape = JukeboxPriorConfig(
            level=0,
            depth=depth,
            width=width,
            attention_width=width // 4,
            mlp_width=width,
            heads=1,
            codebook_size=2048,
            hop_length=8,
            sampling_rate=44100,
            context_length=context,
            num_rows=context // 64,
            attention_pattern="factored",
        )
        settings = TrainingSettings(task="prior", batch_size=1, device="cpu", **changes)
        task = PriorTask(JukeboxPrior(shape), settings)
        examples = Drawn("codes", context, shape.codebook_size)
    if hasattr(training, "RunExamples"):
        work = (task, training.RunExamples(examples, None))
        return PacedTrainer(settings, work=work)
    parts = vars(training)["RunParts"](task, examples, None, lambda *_: None)  # until 2026-11
    return PacedTrainer(settings, **{"parts": parts})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["codec", "prior"])
    parser.add_argument("precision")
    parser.add_argument("--compile", action="store_true", help="as the setting of that name does")
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        trainer = paced_trainer(
            *(given.kind, given.precision, folder + "/run"),
            **{"tiny": given.tiny, "compiled": given.compile},
        )
        trainer.train()
