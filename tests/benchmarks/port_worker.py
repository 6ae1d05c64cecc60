"""The former port's half of the comparison: runs with transformers 4.57.6, in its own environment.

Reads one JSON object per line, answers one per line. It imports nothing of this project.

{"do": "build", "config": {...}, "weights": PATH, "dtype": "float32"}   a random prior; saves it
{"do": "begin", "batch": 1, "position": 4096, "rounds": 9, "steps": 4}  fill caches up to there
{"do": "steps"}                             sample some codes: {"wall": seconds, "cpu": seconds}
{"do": "logits", "tokens": [[...]]}         of a whole window, for comparing: {"path": PATH}
"""

import json
import sys
import time

import torch
from safetensors.torch import save_file
from transformers.models.deprecated.jukebox import modeling_jukebox as port
from transformers.models.deprecated.jukebox.configuration_jukebox import JukeboxPriorConfig

commands = (json.loads(line) for line in sys.stdin)


def answer(**content):
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def build(command):
    """A prior with random weights; the port leaves some of its own uninitialized."""
    config = JukeboxPriorConfig(**command["config"])
    prior = port.JukeboxConditionalAutoregressive(
        config, n_ctx=config.n_ctx, embed_dim=config.music_vocab_size
    ).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in prior.parameters():
        torch.nn.init.normal_(parameter, std=0.02, generator=generator)
    state = {f"prior.{name}": tensor.clone() for name, tensor in prior.state_dict().items()}
    save_file(state, command["weights"])
    return prior.to(getattr(torch, command["dtype"]))


class Paused:
    """Stands in for the port's progress bar: its sampling loop goes on when it is told to."""

    def __init__(self, positions, steps):
        self.positions, self.steps = list(positions), steps

    def __iter__(self):
        places = iter(self.positions)
        while True:
            command = next(commands)
            if command["do"] != "steps":
                return  # the end of this batch and position
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(self.steps):
                yield next(places)
            answer(wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)


def sample(prior, command):
    """The port's own loop from `position` on, under control of the other side."""
    batch, position, steps = command["batch"], command["position"], command["steps"]
    total = position + command["rounds"] * steps

    def progress(items, **options):
        if options.get("desc", "").startswith("Preparing"):
            return items
        answer(ready=True)
        return Paused(items, steps)

    port.tqdm = progress
    given = torch.randint(0, 2048, (batch, position), generator=torch.Generator().manual_seed(1))
    prior.primed_sample(batch, given, chunk_size=command["chunk"], sample_tokens=total)


def main():
    torch.set_num_threads(1)
    prior = None
    with torch.inference_mode():
        for command in commands:
            if command["do"] == "build":
                prior = build(command)
                answer(torch=torch.__version__)
            elif command["do"] == "logits":
                # The port's forward gives predictions with `get_preds`.
                _, predictions = prior(torch.tensor(command["tokens"]), get_preds=True)
                save_file({"logits": predictions.float().contiguous()}, command["path"])
                answer(path=command["path"])
            elif command["do"] == "begin":
                sample(prior, command)


main()
