"""What a plan costs on this machine: windows, memory, disk and time, in one paragraph.

A plan goes in, numbers and words come out. Times are measured on a few layers of the right shape
with made-up weights, so that nothing has to be fetched or loaded to know them.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from jukebox_hf.generation import memory
from jukebox_hf.generation.beside import PROCESS_BYTES, processes_beside, share_rows
from jukebox_hf.generation.devices import sampling_threads
from jukebox_hf.generation.memory import PriorMemory
from jukebox_hf.generation.plan import LevelPlan, Plan
from jukebox_hf.generation.weights import loading_dtype, prepare
from jukebox_hf.generation.windows import Window, run_windows
from jukebox_hf.layers import hollow
from jukebox_hf.prior.bound_steps import BoundSteps, can_bind
from jukebox_hf.prior.kernels import float32_products
from jukebox_hf.prior.network import PriorNetwork
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.prior.step_buffers import PriorCache
from jukebox_hf.words import format_bytes, format_seconds

FEW_LAYERS, MORE_LAYERS = 3, 6  # times of both give those of one layer and of all else
TIMED_STEPS = 4
TIMED_PREFILL = 256
FLAC_BYTES_PER_SAMPLE = 2.0  # 24 bit of this kind of music, compressed
STORED_LEVELS_BYTES = 2  # per code


class Work(NamedTuple):
    """What one level has to do, in batches.

    Attributes:
        rows: takes, or chains of takes, side by side.
        windows: per row, all together.
        codes: to be sampled, all together.
        passes: batches of windows.
        steps: of the prior, each for a batch.
        prefilled: given codes that are read, counted once per batch.
    """

    rows: int
    windows: int
    codes: int
    passes: int
    steps: int
    prefilled: int


class Speed(NamedTuple):
    """Seconds of a prior with some batch: per step, per prefilled code, per window."""

    step: float
    prefilled: float
    window: float

    def seconds(self, work: Work) -> float:
        """Of all the work of a level."""
        return work.steps * self.step + work.prefilled * self.prefilled + work.passes * self.window


class SampledLevel(NamedTuple):
    """A level that has something to sample, with a prior of that config.

    Attributes:
        level, config, work: what and how much.
        memory: per window.
        batch_size: windows at once.
        rows: of the prior's batches.
    """

    level: int
    config: PriorConfig
    memory: PriorMemory
    batch_size: int
    rows: int
    work: Work


@dataclass(frozen=True)
class LevelEstimate:
    """What one level costs."""

    level: int
    work: Work
    batch_size: int
    memory: PriorMemory
    seconds: float | None

    @property
    def memory_bytes(self) -> int:
        return self.memory.total(self.batch_size)


@dataclass(frozen=True)
class Estimate:
    """What a plan costs.

    Attributes:
        levels: that are sampled, in the order of the work.
        available_bytes: of memory on the device now.
        disk_bytes: that a session takes when it is complete.
        processes: that sample levels beside each other; 1: they follow each other.
    """

    levels: tuple[LevelEstimate, ...]
    available_bytes: int
    disk_bytes: int
    processes: int = 1

    @property
    def seconds(self) -> float | None:
        """Of all levels together; None if it was not measured.

        Beside each other no less than the longest, and than what every process has to do.
        """
        parts = [level.seconds for level in self.levels if level.seconds is not None]
        if len(parts) < len(self.levels):
            return None
        return max(sum(parts) / self.processes, max(parts, default=0.0))

    @property
    def memory_bytes(self) -> int:
        """The most that is needed at once.

        Priors are loaded one after the other, or, by processes beside each other, all by each.
        """
        needed = [level.memory_bytes for level in self.levels]
        if self.processes > 1:
            return self.processes * (sum(needed) + PROCESS_BYTES)
        return max(needed, default=0)

    def to_record(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "seconds": self.seconds,
            "memory_bytes": self.memory_bytes,
            "available_bytes": self.available_bytes,
            "disk_bytes": self.disk_bytes,
            "processes": self.processes,
            "levels": [
                {
                    "level": level.level,
                    "windows": level.work.windows,
                    "codes": level.work.codes,
                    "batch_size": level.batch_size,
                    "memory_bytes": level.memory_bytes,
                    "seconds": level.seconds,
                }
                for level in self.levels
            ],
        }


def estimate_costs(
    plan: Plan, device: torch.device, *, calibrate: bool = True, beside: bool = False
) -> Estimate:
    """What a plan costs on a device; `calibrate` also measures how long it takes.

    `beside`: where levels may be sampled beside each other, see `Session.run`.
    """
    processes = processes_beside(plan, device) if beside else 1
    available = memory.available_memory(device)
    precision = plan.settings.precision
    levels = []
    speeds: dict[tuple[Any, ...], Speed] = {}
    for work in sampled_levels(plan, precision, device, available, processes):
        config, size = work.config, work.batch_size
        seconds = None
        if calibrate:
            # Levels often have priors of one shape.
            key = (config.width, config.depth, config.sequence_length, config.row_length, work.rows)
            if key not in speeds:
                speeds[key] = measure(config, precision, device, work.rows)
            seconds = speeds[key].seconds(work.work)
        levels.append(LevelEstimate(work.level, work.work, size, work.memory, seconds))
    samples = sum(take.num_samples for take in plan.takes)
    codes = sum(take.num_samples // hop for take in plan.takes for hop in plan.hop_lengths)
    disk = round(samples * FLAC_BYTES_PER_SAMPLE + codes * STORED_LEVELS_BYTES)
    return Estimate(tuple(levels), available, disk, processes)


def sampled_levels(
    plan: Plan,
    precision: str,
    device: torch.device | str,
    available_bytes: int,
    processes: int = 1,
) -> Iterator[SampledLevel]:
    """The levels with something to do, in batches that fit into `available_bytes`."""
    for level in plan.levels:
        config = plan.system.prior_config(level.level)
        takes = plan.takes_at(level.level)
        copies = level.sampling(takes).rows_per_window
        needed = memory.prior_memory(config, precision, device).with_rows(copies)
        runs = sum(len(level.runs(take)) for take in takes)
        if runs:
            size = min(needed.batch_size(available_bytes), share_rows(runs, processes))
            work = level_work(plan, level, size)
            yield SampledLevel(level.level, config, needed, size, size * copies, work)


def level_work(plan: Plan, level: LevelPlan, batch_size: int) -> Work:
    """What a level has to do with batches of up to `batch_size` windows."""
    shapes: Counter[tuple[tuple[int, int], ...]] = Counter()
    for take in plan.takes_at(level.level):
        for run in level.runs(take):
            windows = run_windows(run, level.context, level.stride)
            shapes[tuple((window.given, window.new) for window in windows)] += 1
    per_shape = [
        (rows, math.ceil(rows / batch_size), [Window(0, *window) for window in windows])
        for windows, rows in shapes.items()
    ]
    return Work(
        rows=sum(rows for rows, _, _ in per_shape),
        windows=sum(rows * len(windows) for rows, _, windows in per_shape),
        codes=sum(rows * sum(w.new for w in windows) for rows, _, windows in per_shape),
        passes=sum(batches * len(windows) for _, batches, windows in per_shape),
        steps=sum(batches * sum(w.new for w in windows) for _, batches, windows in per_shape),
        prefilled=sum(batches * sum(w.given for w in windows) for _, batches, windows in per_shape),
    )


def measure(config: PriorConfig, precision: str, device: torch.device, batch_size: int) -> Speed:
    """How fast a prior of that config is: timed on a few layers, in the middle of a window."""
    with sampling_threads(device, config.width):
        few = _time_layers(config, min(FEW_LAYERS, config.depth), precision, device, batch_size)
        if config.depth > FEW_LAYERS:
            count = min(MORE_LAYERS, config.depth)
            more = _time_layers(config, count, precision, device, batch_size)
            layers = (config.depth - FEW_LAYERS) / (count - FEW_LAYERS)
            few = Speed(*(max(a, a + (b - a) * layers) for a, b in zip(few, more, strict=True)))
        return few._replace(window=_conditioner_seconds(config, device, batch_size))


def bare_layers(
    config: PriorConfig, depth: int, precision: str, device: torch.device
) -> PriorNetwork:
    """A prior with so many layers and nothing around them, whose weights say nothing."""
    small = PriorConfig(
        level=config.level,
        codebook_size=config.codebook_size,
        hop_length=config.hop_length,
        sampling_rate=config.sampling_rate,
        context_length=config.sequence_length,
        width=config.width,
        depth=depth,
        heads=config.heads,
        attention_width=config.attention_width,
        mlp_width=config.mlp_width,
        num_rows=config.sequence_length // config.row_length,
        attention_pattern="factored",
    )
    with hollow():
        prior = PriorNetwork(small)
    nn.Module.to(prior, loading_dtype(precision))
    prior.to_empty(device=device)
    for parameter in prior.parameters():
        parameter.data.fill_(2**-7)  # one of float16's values, as weights often are
    prepare(prior, precision, device, float32=float32_products())
    return prior


@torch.inference_mode()
def _time_layers(
    config: PriorConfig, depth: int, precision: str, device: torch.device, batch_size: int
) -> Speed:
    """Times of a prior with so many layers and nothing around them."""
    prior = bare_layers(config, depth, precision, device)
    small = prior.config
    conditioning = prior.condition()
    cache = prior.new_cache(batch_size)
    middle = small.context_length // 2
    prefilled = min(TIMED_PREFILL, middle)
    codes = torch.zeros(batch_size, prefilled, dtype=torch.int64, device=device)
    prefill = best_time(device, 2, lambda: prior.prefill(codes, conditioning, cache))
    step = best_time(device, TIMED_STEPS, _as_sampled(prior, codes[:, 0], middle, cache))
    return Speed(step=step, prefilled=prefill / prefilled, window=0.0)


def _as_sampled(
    prior: PriorNetwork, tokens: Tensor, position: int, cache: PriorCache
) -> Callable[[], object]:
    """A step, as the eager backend takes it."""
    if can_bind(prior):
        steps, logits = (
            BoundSteps(prior, cache),
            torch.empty(len(tokens), prior.output.out_features),
        )
        return lambda: steps.step(tokens, position, None, logits)
    at = torch.full((1,), position, dtype=torch.int64, device=tokens.device)
    conditioning = prior.condition()
    return lambda: prior.step(tokens, at, conditioning, cache)


def best_time(device: torch.device, repeats: int, run: Callable[[], object]) -> float:
    """Seconds of the fastest of some runs, after one that does not count."""
    run()
    times = []
    for _ in range(repeats):
        _wait(device)
        started = time.perf_counter()
        run()
        _wait(device)
        times.append(time.perf_counter() - started)
    return min(times)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _conditioner_seconds(config: PriorConfig, device: torch.device, batch_size: int) -> float:
    """Seconds for what is done once per window: the convolutions' products at the measured rate."""
    if not config.is_upsampler:
        return 0.0
    size = 768
    factor = torch.ones(size, size, device=device)
    rate = 2 * size**3 / best_time(device, 3, lambda: factor @ factor)
    return conditioner_operations(config) * batch_size / rate


def conditioner_operations(config: PriorConfig) -> float:
    """Floating-point operations of the convolutions that condition one window of an upsampler."""
    if not config.is_upsampler:
        return 0.0
    inner = int(config.conditioner_width * config.conditioner_conv_multiplier)
    per_block = config.conditioner_width * inner * 4  # a kernel of three, and one of one
    weights = per_block * config.conditioner_depth * config.upper_downsamplings
    return 2 * weights * config.context_length / config.upper_stride


def describe_plan(plan: Plan, costs: Estimate, device: torch.device) -> str:
    """The plan and what it costs, in one paragraph."""
    takes = len(plan.takes)
    lengths = sorted({take.num_samples / plan.sampling_rate for take in plan.takes})
    seconds = (
        f"{lengths[0]:.4g} s" if len(lengths) == 1 else f"{lengths[0]:.4g} to {lengths[-1]:.4g} s"
    )
    parts = [
        f"{plan.system.title}: {takes} take{'s' * (takes > 1)} of {seconds}, "
        f"seed {plan.settings.seed}, on {device.type} in {plan.settings.precision} "
        f"({plan.settings.backend})."
    ]
    for level in costs.levels:
        own = next(one for one in plan.levels if one.level == level.level)
        chains = max(len(own.runs(take)) for take in plan.takes_at(level.level))
        parts.append(
            f"Level {level.level}: {level.work.windows:,} window{'s' * (level.work.windows > 1)}, "
            f"{level.work.codes:,} codes, {level.batch_size} at once"
            + (f", in {chains} {'candidates' if plan.takes[0].hole else 'chains'}" * (chains > 1))
            + ("." if level.seconds is None else f", about {format_seconds(level.seconds)}.")
        )
    fits = "" if costs.memory_bytes <= costs.available_bytes else ", which may not be enough"
    if costs.processes > 1:
        parts.append(f"Levels beside each other, in {costs.processes} processes.")
    parts.append(
        f"Memory: {format_bytes(costs.memory_bytes)} needed, "
        f"{format_bytes(costs.available_bytes)} available{fits}. "
        f"Disk: {format_bytes(costs.disk_bytes)}."
    )
    if costs.seconds is not None:
        parts.append(f"Time: about {format_seconds(costs.seconds)}.")
    return " ".join(parts)
