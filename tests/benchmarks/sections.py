"""What the sections of the matrix measure. Each yields rows as soon as it has them."""

import copy
import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor

from jukebox_hf import convnet
from jukebox_hf.generation.choices import PRECISIONS
from jukebox_hf.generation.memory import prior_memory
from jukebox_hf.training.kept_memory import ask_for_large_pages, kept_memory
from jukebox_hf.vqvae.configuration_vqvae import JukeboxVQVAEConfig
from jukebox_hf.vqvae.modeling_vqvae import JukeboxVQVAE
from tests.benchmarks import embedding
from tests.benchmarks.measuring import ROOT, alternate, ratio, seconds_of, summary
from tests.benchmarks.models import config_of, random_prior, step_bytes, steps_at
from tests.benchmarks.training_steps import steps_in_turns

Row = dict[str, Any]
STEPS = 4  # codes per timed run
CEILING_BYTES = 256 * 2**20


class Scope(NamedTuple):
    """Where and how much to measure."""

    device: torch.device
    full: bool
    tiny: bool
    rounds: int
    folder: Path
    chosen_sizes: tuple[str, ...] = ()  # of `models.SIZES`; none: what the rest says
    chosen_batches: tuple[int, ...] = ()
    chosen_variants: tuple[tuple[str, str], ...] = ()  # precision and backend
    chosen_places: tuple[str, ...] = ()
    against: str | None = None  # the Python of another build's environment

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def sizes(self) -> list[str]:
        if self.chosen_sizes:
            return [*self.chosen_sizes]
        if self.tiny:
            return ["4x256"]
        if self.on_gpu:
            return ["released_upsampler", "released_5b"]
        return ["4x256", "12x512", "24x1024"] if self.full else ["24x1024"]

    @property
    def batches(self) -> list[int]:
        if self.chosen_batches:
            return [*self.chosen_batches]
        return [1, 4, 16, 32] if self.full else [1, 41, 16] if self.on_gpu else [1, 16]

    @property
    def places(self) -> list[str]:
        if self.chosen_places:
            return [*self.chosen_places]
        return ["middle", "end"] if self.full else ["middle"]

    @property
    def clock(self) -> str:
        """Which of the times of `summary` counts: a CPU may be shared, a GPU is not."""
        return "ms" if self.on_gpu else "cpu_ms"

    def best_seconds(self, run: Callable[[], object]) -> float:
        """Of the fastest round of one thing."""
        times = alternate({"it": run}, self.device, rounds=max(self.rounds, 5), warm_up=1)["it"]
        return min(wall if self.on_gpu else cpu for wall, cpu in times)


def machine(scope: Scope) -> Iterator[Row]:
    """Ceilings: copying, reading, and multiplying matrices."""
    count = (2**22 if scope.tiny else CEILING_BYTES) // 4
    source = torch.ones(count, device=scope.device)
    target = torch.empty_like(source)
    best = scope.best_seconds(lambda: target.copy_(source))
    yield {"what": "copy", "GB/s": round(2 * source.nbytes / best / 1e9, 2)}
    best = scope.best_seconds(source.sum)
    yield {"what": "read", "GB/s": round(source.nbytes / best / 1e9, 2)}
    size = 256 if scope.tiny else 8192 if scope.on_gpu else 1024
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        factor = torch.randn(size, size, device=scope.device).to(dtype)
        best = scope.best_seconds(partial(torch.matmul, factor, factor))
        yield {"what": f"GEMM {str(dtype)[6:]}", "GFLOP/s": round(2 * size**3 / best / 1e9, 1)}


def decode(scope: Scope) -> Iterator[Row]:
    """One step with sampling: of one size and batch, every variant in turns with the first.

    On a GPU, which is nobody else's, one after the other: two together might not fit.
    """
    for size in scope.sizes:
        for batch in scope.batches:
            for place in scope.places:
                yield from _decode(scope, size, batch, place)


def _decode(scope: Scope, size: str, batch: int, place: str) -> Iterator[Row]:
    first, *others = scope.chosen_variants or _variants(scope, batch)
    reference: list[tuple[float, float]] = []
    for variant in (first, *others):
        alone = scope.on_gpu or variant == first
        together = [variant] if alone else [first, variant]
        found = list(_decode_together(scope, size, batch, place, together))
        if not (scope.on_gpu and reference):
            reference = next(times for _, times in found if times)
        for row, times in found:
            if row["what"] == " ".join(variant):
                against = {"against": " ".join(first), **ratio(reference, times)} if times else {}
                yield row | against
        gc.collect()  # what one variant held, the next one needs
        if scope.on_gpu:
            torch.cuda.empty_cache()


def _decode_together(
    scope: Scope, size: str, batch: int, place: str, variants: list[tuple[str, str]]
) -> Iterator[tuple[Row, list[tuple[float, float]]]]:
    """Rows and the times behind them; without times, how long a compilation took."""
    runs, weights = {}, {}
    steps = 16 if scope.on_gpu else STEPS
    for precision, backend in variants:
        packed = backend == "eager"
        prior = random_prior(size, precision, scope.device, packed=packed, rows=batch)
        name = f"{precision} {backend}"
        run = steps_at(prior, place, batch=batch, backend=backend, steps=steps)
        weights[name] = step_bytes(prior)
        first, _ = seconds_of(run, scope.device)
        runs[name] = run
        if backend != "eager":
            yield {"size": size, "what": name, "batch": batch, "first_call_s": round(first, 1)}, []
    for name, one in alternate(runs, scope.device, rounds=scope.rounds, warm_up=1).items():
        row = {
            "size": size,
            "batch": batch,
            "place": place,
            "what": name,
            **summary(one, per=steps),
        }
        yield row | {"weight_GB/s": round(weights[name] / row[scope.clock] / 1e6, 2)}, one


def _variants(scope: Scope, batch: int) -> list[tuple[str, str]]:
    """Precision and backend; on a GPU in 16 bit only, where the released weights fit."""
    if scope.on_gpu:
        return [("float16", backend) for backend in ("eager", "compiled", "graph")]
    if scope.full:
        backends = ("eager", "compiled") if batch in (1, 16) else ("eager",)
        return [(precision, backend) for backend in backends for precision in PRECISIONS]
    chosen = [("float32", "eager"), ("bfloat16", "eager"), ("int4", "eager")]
    return chosen + ([("int4", "compiled")] if batch == 1 else [])


def threads(scope: Scope) -> Iterator[Row]:
    """One step by one thread against as many as there are cores."""
    cores = os.cpu_count() or 1
    if scope.on_gpu or cores == 1:
        return

    def with_threads(number: int, run: Callable[[], object]) -> None:
        torch.set_num_threads(number)
        run()
        torch.set_num_threads(1)

    for size in scope.chosen_sizes or (["4x256"] if scope.tiny else ["4x256", "12x512", "24x1024"]):
        for batch in scope.chosen_batches or (1, 32):
            prior = random_prior(size, "float32", scope.device, rows=batch)
            run = steps_at(prior, "middle", batch=batch, backend="eager", steps=STEPS)
            runs = {f"{n} threads": partial(with_threads, n, run) for n in (1, cores)}
            times = alternate(runs, scope.device, rounds=scope.rounds, warm_up=1)
            one, all_of_them = times.values()
            row = {"size": size, "batch": batch, "what": f"{cores} threads"}
            against = {"against": "1 thread", **ratio(one, all_of_them)}
            yield row | summary(all_of_them, per=STEPS) | against


def prefill(scope: Scope) -> Iterator[Row]:
    """Half a window in one pass, and in pieces of 32 codes as the original read it."""
    for size in scope.sizes[:2]:
        precision = "float16" if scope.on_gpu else "float32"
        prior = random_prior(size, precision, scope.device, rows=1)
        count = prior.config.context_length // (8 if scope.tiny else 2)
        codes = torch.zeros(1, count, dtype=torch.int64, device=scope.device)
        with torch.inference_mode():
            conditioning, cache = prior.condition(), prior.new_cache(1)

        def read(piece: int, prior=prior, codes=codes, given=conditioning, cache=cache) -> None:
            with torch.inference_mode():
                for start in range(0, codes.shape[1], piece):
                    part = codes[:, start : start + piece]
                    prior.prefill(part, given, cache, start=start)

        times = alternate(
            {"whole": partial(read, count), "pieces of 32": partial(read, 32)},
            scope.device,
            rounds=min(scope.rounds, 3),
            warm_up=0,
        )
        for name, one in times.items():
            faster = ratio(times["pieces of 32"], one)
            yield {"size": size, "codes": count, "what": name, **summary(one), **faster}


def sample(scope: Scope) -> Iterator[Row]:
    """Three levels of a small system: twice and three times the audio, in time and peak memory."""
    times = {}
    for factor in (1, 2, 3):
        found = _in_process("sample", {"seconds": 4.1 * factor, "chains": 1}, scope)
        times[factor] = found
        row = {"what": f"{factor}x length", **found}
        if factor > 1:
            row["time_ratio"] = round(found["wall_s"] / times[1]["wall_s"], 3)
            row["cpu_ratio"] = round(found["cpu_s"] / times[1]["cpu_s"], 3)
            row["peak_ratio"] = round(found["peak_bytes"] / times[1]["peak_bytes"], 3)
        yield row


def chains(scope: Scope) -> Iterator[Row]:
    """The same piece in one chain per level, and in more."""
    alone: dict[str, Any] = {}
    for count in (1, 2, 4, 8, 16):
        found = _in_process("sample", {"seconds": 12.3, "chains": count}, scope)
        alone = alone or found
        yield {
            "what": f"{count} chains",
            **found,
            "faster": round(alone["wall_s"] / found["wall_s"], 2),
            "cpu_faster": round(alone["cpu_s"] / found["cpu_s"], 2),
        }


def codec(scope: Scope) -> Iterator[Row]:
    """The released architecture with random weights: times real time, whole and in pieces."""
    config = JukeboxVQVAEConfig()
    vqvae = JukeboxVQVAE(config).eval().to(scope.device)
    vqvae.restore_codebooks()
    seconds = 0.5 if scope.tiny else 4.0
    samples = round(seconds * config.sampling_rate) // 128 * 128
    audio = torch.rand(1, 1, samples, device=scope.device) - 0.5
    with torch.inference_mode():
        codes = vqvae.encode(audio)
    for level, some in enumerate(codes):
        for name, pieces in (("whole", None), ("pieces of 1 s", 1.0)):
            runs = {
                "encode": partial(vqvae.encode, audio, [level], chunk_seconds=pieces),
                "decode": partial(vqvae.decode, some, level, chunk_seconds=pieces),
            }
            with torch.inference_mode():
                times = alternate(runs, scope.device, rounds=min(scope.rounds, 3), warm_up=1)
            for what, one in times.items():
                row = {"what": f"{what} {name}", "level": level, **summary(one)}
                yield row | {"times_real_time": round(1e3 * seconds / row["ms"], 2)}
    if not scope.on_gpu:
        yield from _orders_of_memory(scope, vqvae, audio, codes)
    coarse = copy.deepcopy(vqvae).to(torch.bfloat16)
    for level, some in enumerate(codes):
        for what, argument in (("encode", (audio, [level])), ("decode", (some, level))):
            runs = {
                "float32": partial(getattr(vqvae, what), *argument),
                "bfloat16": partial(getattr(coarse, what), *argument),
            }
            with torch.inference_mode():
                times = alternate(runs, scope.device, rounds=min(scope.rounds, 3), warm_up=1)
            row = {"what": f"{what} whole, bfloat16", "level": level, **summary(times["bfloat16"])}
            faster = ratio(times["float32"], times["bfloat16"])
            yield row | {"against": "float32", **faster}


def _orders_of_memory(
    scope: Scope, vqvae: JukeboxVQVAE, audio: Tensor, codes: Sequence[Tensor]
) -> Iterator[Row]:
    """Convolutions in float32 with the channels of a moment together, against torch's own order."""

    def torch_order(run: Callable[[], object]) -> None:
        with patch.object(convnet, "MAX_CHANNELS_LAST_WIDTH", 0):
            run()

    for level, some in enumerate(codes):
        for what in ("encode", "decode"):
            argument = (audio, [level]) if what == "encode" else (some, level)
            run = partial(getattr(vqvae, what), *argument)
            runs = {"ours": run, "torch's order": partial(torch_order, run)}
            with torch.inference_mode():
                times = alternate(runs, scope.device, rounds=min(scope.rounds, 3), warm_up=1)
            row = {"what": f"{what} whole, channels together", "level": level}
            faster = ratio(times["torch's order"], times["ours"])
            yield row | summary(times["ours"]) | {"against": "torch's order", **faster}


def train(scope: Scope) -> Iterator[Row]:
    """Forward and backward of a window: share of the matrix product rate; then whole steps."""
    ask_for_large_pages()  # of use where nothing has been measured before
    with kept_memory(scope.device):
        yield from _share_of_products(scope)
    if not scope.on_gpu:
        yield from steps_in_turns(scope.against, rounds=scope.rounds, tiny=scope.tiny)


def _share_of_products(scope: Scope) -> Iterator[Row]:
    rates = {
        row["what"]: row["GFLOP/s"] for row in machine(scope) if row["what"].startswith("GEMM")
    }
    # A window of 24 x 1024 leaves 10 GB of activations behind.
    size = scope.sizes[0] if scope.on_gpu or scope.tiny or scope.chosen_sizes else "12x512"
    prior = random_prior(size, "float32", scope.device).train()
    context = prior.config.context_length
    codes = torch.zeros(1, context, dtype=torch.int64, device=scope.device)
    weights = sum(one.numel() for one in prior.decoder.layers.parameters())
    weights += prior.config.vocabulary_size * prior.config.width
    flop = 6 * weights * context
    for precision in ("bfloat16",) if scope.on_gpu else ("float32", "bfloat16"):

        def step(precision: str = precision) -> None:
            prior.zero_grad()
            with torch.autocast(scope.device.type, torch.bfloat16, enabled=precision != "float32"):
                loss = prior(codes).loss
            loss.backward()

        recomputed = False
        try:
            step()
        except torch.OutOfMemoryError:  # all activations of a window: 60 GB at the released size
            recomputed = True
            prior.gradient_checkpointing_enable()
        one = summary(alternate({"it": step}, scope.device, rounds=3, warm_up=3)["it"])
        rate = flop / one[scope.clock] / 1e6
        yield {
            "size": size,
            "what": f"training step {precision}",
            "recomputed": recomputed,
            **one,
            "GFLOP/s": round(rate, 1),
            "share_of_GEMM": round(rate / rates[f"GEMM {precision}"], 3),
        }


def load(scope: Scope) -> Iterator[Row]:
    """Loading a prior of a folder and sampling from it: seconds, and peak over the formula."""
    if scope.on_gpu:
        return
    for size in scope.sizes[-1:]:
        for precision in PRECISIONS if scope.full else ("float32", "bfloat16", "int4"):
            found = _in_process("load", {"size": size, "precision": precision}, scope)
            formula = prior_memory(config_of(size), precision, "cpu")
            yield {
                "size": size,
                "what": precision,
                **found,
                "seconds_per_GB": round(found["load_s"] / found["stored_bytes"] * 1e9, 2),
                "formula_bytes": formula.total(1),
                "peak_less_formula": found["peak_bytes"] - formula.total(1),
                "peak_over_weights": round(found["load_peak_bytes"] / formula.weights, 2),
            }


def embed(scope: Scope) -> Iterator[Row]:
    """Embedding: sweeps, uneven clips, bfloat16, memory of few layers; and predictions."""
    if scope.on_gpu:
        return
    yield from embedding.times("4x256" if scope.tiny else "12x512", scope.rounds)
    folder, every = scope.folder / "deep", list(range(1, 73))

    def memory(task: str, layers: Sequence[int], codes: int) -> dict[str, int]:
        options = {"task": task, "layers": [*layers], "codes": codes}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.embedding", str(folder)],
            input=json.dumps(options),
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
        )
        found: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
        return found

    memory("write", [], 0)
    half, whole = memory("read", [36], 64), memory("read", [72], 64)
    for name in ("load_bytes", "peak_bytes"):
        yield {
            "what": f"layers 1 to 36 of 72 / all of them, {name}",
            "36": half[name],
            "72": whole[name],
            "ratio": round(half[name] / whole[name], 3),
        }
    one, sweep = memory("read", [72], 4096), memory("read", every, 4096)
    yield {
        "what": "sweep of all layers / one pass to the deepest, peak_bytes",
        "deepest": one["peak_bytes"],
        "sweep": sweep["peak_bytes"],
        "ratio": round(sweep["peak_bytes"] / one["peak_bytes"], 3),
    }
    yield from embedding.predictions()


def _in_process(task: str, options: dict[str, Any], scope: Scope) -> dict[str, Any]:
    """What a task measures in a fresh process, whose peak memory is its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.task", task, str(scope.folder)],
        input=json.dumps(options | {"device": str(scope.device), "tiny": scope.tiny}),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{task} {options} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
