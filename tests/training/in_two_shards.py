"""Trains a tiny prior whose parameters are divided among processes; see test_processes.

Accelerate falls back to plain data parallelism on CPUs, so torch's own `fully_shard` is used: what
it makes of parameters is what FSDP version 2 makes of them on GPUs.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.training.checkpoints import (
    RunState,
    load_checkpoint,
    save_checkpoint,
    whole_state,
)
from jukebox_hf.training.optimization import AveragedWeights, make_optimizer
from jukebox_hf.training.stepping import scale_gradients
from tests.prior.tiny_priors import ARCHITECTURES, inputs


class Run:
    """A prior in training, divided or not."""

    def __init__(self, *, sharded: bool) -> None:
        torch.manual_seed(0)
        self.model = JukeboxPrior(JukeboxPriorConfig(**ARCHITECTURES["upsampler"]))
        if sharded:
            mesh = init_device_mesh("cpu", (distributed.get_world_size(),))
            for layer in self.model.decoder.layers:
                fully_shard(layer, mesh=mesh)
            fully_shard(self.model, mesh=mesh)
        self.optimizer = make_optimizer(
            self.model,
            "adamw",
            learning_rate=1e-2,
            betas=(0.9, 0.99),
            epsilon=1e-2,
            weight_decay=0.1,
        )
        self.averages = AveragedWeights(self.model, 0.9)
        self.state = RunState()

    def step(self) -> None:
        self.model.train()
        codes, given = inputs(self.model, 4, seed=self.state.step)
        self.model(codes, **given).loss.backward()
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        scale_gradients(gradients, max_norm=0.5, scale=1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.averages.update(self.model)
        self.state.step += 1

    def save(self, folder: Path, *, write: bool) -> None:
        def save_model(target: Path, state: Any) -> None:
            self.model.save_pretrained(target, state_dict=dict(state))

        save_checkpoint(
            folder,
            write=write,
            model=self.model,
            save_model=save_model,
            optimizer=self.optimizer,
            averages=self.averages,
            state=self.state,
        )

    def load(self, folder: Path) -> None:
        self.state = load_checkpoint(
            folder, model=self.model, optimizer=self.optimizer, averages=self.averages
        )

    def weights(self) -> dict[str, torch.Tensor]:
        own = whole_state(self.model)
        with self.averages.applied(self.model):
            averaged = whole_state(self.model)
        return own | {f"average.{name}": value for name, value in averaged.items()}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    first = distributed.get_rank() == 0
    whole = Run(sharded=True)
    whole.step()
    whole.step()
    whole.save(folder / "step_00000002", write=first)
    whole.step()
    distributed.barrier()
    resumed = Run(sharded=True)
    resumed.load(folder / "step_00000002")
    resumed.step()
    expected, found = whole.weights(), resumed.weights()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    if first:
        save_file(expected, folder / "sharded.safetensors")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
