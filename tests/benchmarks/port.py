"""Ours against the former port (transformers 4.57.6, deprecated Jukebox): `make bench-port`.

Equal random weights, renamed by our converter's tables; the port runs in a process and an
environment of its own and takes turns with ours, sampling included. Start it with that
environment's Python: `python -m tests.benchmarks.port --port-python .venv-port/bin/python`.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from jukebox_hf.generation.choices import PRECISIONS
from jukebox_hf.generation.weights import loading_dtype, prepare
from jukebox_hf.hub.conversion.tensor_names import is_linear_weight, transformers_targets
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.kernels import float32_products
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from tests.benchmarks.measuring import alternate, environment, ratio, seconds_of, summary
from tests.benchmarks.models import CODEBOOK, NUM_ROWS, SIZES, steps_at

CPU = torch.device("cpu")
CHUNK = 512  # codes that the port reads at once: more take it too much memory at batch 16
TARGETS = {  # port in float32 / ours, of performance.md section 3
    ("float32", "eager", 1, "middle"): 1.2,
    ("float32", "eager", 1, "end"): 1.4,
    ("bfloat16", "eager", 1, "middle"): 2.2,
    ("float16", "eager", 1, "middle"): 2.2,
    ("bfloat16", "compiled", 1, "middle"): 2.5,
    ("float16", "compiled", 1, "middle"): 2.5,
    ("int4", "compiled", 1, "middle"): 5.5,
    ("int4", "compiled", 2, "middle"): 8.0,
    ("float32", "eager", 16, "middle"): 5.0,
    ("bfloat16", "eager", 16, "middle"): 8.0,
}


class Port:
    """The process in which the port runs; one JSON object per line each way."""

    def __init__(self, python: str) -> None:
        worker = Path(__file__).with_name("port_worker.py")
        self.process = subprocess.Popen(
            [python, "-W", "ignore", str(worker)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def tell(self, **command: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def ask(self, **command: Any) -> dict[str, Any]:
        self.tell(**command)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the port's process ended at {command}; run port_worker.py by hand")
        return json.loads(line)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def port_config(size: str, context: int) -> dict[str, Any]:
    """The port's options for a prior of `models.config_of`."""
    shape = SIZES[size]
    return {
        "hidden_size": shape["width"],
        "num_layers": shape["depth"],
        "n_heads": 1,
        "n_ctx": context,
        "blocks": NUM_ROWS,
        "attention_multiplier": 0.25,
        "music_vocab_size": CODEBOOK,
        "attention_pattern": "raw_column_previous_row_attention",
        "merged_decoder": False,
        "is_encoder_decoder": False,
        "nb_relevant_lyric_tokens": 0,
        "mask": True,  # causal; off by default there
    }


def converted(config: JukeboxPriorConfig, weights: Path) -> JukeboxPrior:
    """Our prior with the port's weights, by the names that `jukebox convert` uses."""
    theirs = load_file(weights)
    targets = transformers_targets(theirs)
    ours = {}
    for name, tensor in theirs.items():
        target = targets[name].name
        ours[target] = tensor.t().contiguous() if is_linear_weight(target) else tensor
    prior = JukeboxPrior(config)
    expected = set(prior.state_dict())
    assert set(ours) == expected, set(ours) ^ expected
    prior.load_state_dict(ours)
    return prior.eval()


def check_equal(port: Port, folder: Path) -> float:
    """Largest difference of logits on a small model; they must agree before anything is timed."""
    from tests.benchmarks.models import config_of

    context, size = 1024, "4x256"
    port.ask(
        do="build",
        config=port_config(size, context),
        weights=str(folder / "small.safetensors"),
        dtype="float32",
    )
    prior = converted(config_of(size, context=context), folder / "small.safetensors")
    codes = torch.randint(0, CODEBOOK, (1, context), generator=torch.Generator().manual_seed(2))
    found = port.ask(do="logits", tokens=codes.tolist(), path=str(folder / "logits.safetensors"))
    theirs = load_file(found["path"])["logits"]
    with torch.inference_mode():
        ours = prior(codes).logits
    difference = float((ours - theirs).abs().max() / theirs.std())
    if difference > 1e-4:
        raise SystemExit(f"not equal: logits differ by {difference:.1e} of their spread")
    return difference


def compare(
    port: Port, weights: Path, size: str, variants: list[tuple[str, str]], **where: Any
) -> list[dict[str, Any]]:
    """One row per variant (precision, backend), each against the port in float32."""
    from tests.benchmarks.models import config_of

    batch, place, rounds, steps = (where[name] for name in ("batch", "place", "rounds", "steps"))
    config = config_of(size)
    runs = {}
    for precision, backend in variants:
        prior = converted(config, weights)
        if where["float16_values"]:
            for parameter in prior.parameters():
                parameter.data = parameter.data.half().float()
        torch.nn.Module.to(prior, loading_dtype(precision))
        packed, products = backend == "eager", float32_products()
        prior = prepare(prior, precision, CPU, packed=packed, float32=products, rows=batch)
        runs[f"{precision} {backend}"] = steps_at(
            prior, place, batch=batch, backend=backend, steps=steps
        )
    warm_up = 1
    used = (rounds + warm_up) * steps
    position = {"middle": config.context_length // 2, "end": config.context_length - used}[place]
    port.ask(
        do="begin", batch=batch, position=position, rounds=rounds + 1, steps=steps, chunk=CHUNK
    )
    theirs: list[tuple[float, float]] = []

    def run_port() -> None:
        found = port.ask(do="steps")
        theirs.append((found["wall"], found["cpu"]))

    for _ in range(2):
        for run in runs.values():
            seconds_of(run, CPU)  # compiles, and touches the weights
    times = alternate({"port": run_port, **runs}, CPU, rounds=rounds, warm_up=warm_up)
    port.tell(do="end")
    theirs = theirs[warm_up:]
    rows = [{"what": "port float32", **summary(theirs, per=steps)}]
    for name in runs:
        precision, backend = name.split()
        row = {"what": name, **summary(times[name], per=steps), **ratio(theirs, times[name])}
        target = TARGETS.get((precision, backend, batch, place))
        if target is not None:
            row["target"] = target
        rows.append(row)
    return [{"size": size, "batch": batch, "place": place, **row} for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port-python", required=True, help="of an environment with the port")
    parser.add_argument("--size", default="24x1024", choices=[*SIZES])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=4, help="codes per round")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--places", nargs="+", default=["middle", "end"])
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=PRECISIONS)
    parser.add_argument(
        "--compiled", nargs="*", default=[], help="precisions to be compiled too: minutes each"
    )
    parser.add_argument(
        "--float16-values",
        action="store_true",
        help="our weights are numbers that float16 holds, as those of checkpoints saved in it",
    )
    parser.add_argument("--json", type=Path, help="write everything there")
    given = parser.parse_args()
    torch.set_num_threads(1)
    variants = [(one, "eager") for one in given.precisions]
    result: dict[str, Any] = {"environment": environment(CPU), "rows": []}
    port = Port(given.port_python)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        result["equal_within"] = check_equal(port, folder)
        weights = folder / "port.safetensors"
        port.ask(
            do="build",
            config=port_config(given.size, 8192),
            weights=str(weights),
            dtype="float32",
        )
        for batch in given.batches:
            for place in given.places:
                wanted = list(variants)
                if given.compiled and batch <= 2 and place == "middle":
                    wanted += [(one, "compiled") for one in given.compiled]
                rows = compare(
                    port,
                    weights,
                    given.size,
                    wanted,
                    batch=batch,
                    place=place,
                    rounds=given.rounds,
                    steps=given.steps,
                    float16_values=given.float16_values,
                )
                result["rows"] += rows
                for row in rows:
                    print(json.dumps(row), flush=True)
    port.close()
    result["environment"]["load_after"] = environment(CPU)["load"]
    if given.json:
        given.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
