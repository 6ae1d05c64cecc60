"""What a plan would take on GPUs that this machine does not have: estimates, nothing measured.

A plan goes in; per GPU come memory and time. Bandwidth and rates are those that NVIDIA publishes;
which share of them a step reaches is assumed, see below.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from jukebox_hf.generation.devices import default_precision
from jukebox_hf.generation.estimate import (
    SampledLevel,
    Speed,
    conditioner_operations,
    sampled_levels,
)
from jukebox_hf.generation.memory import USED_SHARE
from jukebox_hf.generation.plan import Plan
from jukebox_hf.words import format_bytes, format_seconds

# Assumptions. The first two together give 30 % of an H100's bandwidth for a released upsampler at
# batch 1, 60 % for the 5b top prior: what a graph of compiled steps is meant to reach.
BANDWIDTH_SHARE = 0.8  # while a layer's weights are read
GRAPH_LAYER_SECONDS = 15e-6  # starting and draining the kernels of a layer
# Python and torch's dispatcher took 165 us per layer on a CPU core of 2.6 GHz; launches on top.
EAGER_LAYER_SECONDS = 200e-6
PRODUCT_SHARE = 0.4  # of the peak rate, in passes over many codes at once


class Gpu(NamedTuple):
    """A GPU as its data sheet describes it.

    Attributes:
        name: with the variant, where there are several.
        gibibytes: of memory.
        bandwidth: bytes per second of that memory.
        products: floating-point operations per second in float16 with float32 sums, dense.
        products_float32: the same in float32, without TF32.
    """

    name: str
    gibibytes: int
    bandwidth: float
    products: float
    products_float32: float


GPUS = (
    Gpu("H100 SXM 80 GB", 80, 3.35e12, 989e12, 67e12),
    Gpu("A100 SXM 80 GB", 80, 2.04e12, 312e12, 19.5e12),
    Gpu("RTX 4090 24 GB", 24, 1.01e12, 165e12, 82.6e12),
    Gpu("T4 16 GB", 16, 0.30e12, 65e12, 8.1e12),
)


class GpuEstimate(NamedTuple):
    """What a plan would take on a GPU.

    Attributes:
        gpu: which one.
        precision: of the priors there.
        memory_bytes: the most at once, with the batches that fit.
        fits: whether there is room for the smallest batches.
        eager_seconds, graph_seconds: of all levels, by backend.
    """

    gpu: Gpu
    precision: str
    memory_bytes: int
    fits: bool
    eager_seconds: float
    graph_seconds: float

    def to_record(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.gpu.name,
            "precision": self.precision,
            "memory_bytes": self.memory_bytes,
            "fits": self.fits,
            "eager_seconds": self.eager_seconds,
            "graph_seconds": self.graph_seconds,
            "measured": False,
        }


def estimate_gpus(plan: Plan, gpus: Sequence[Gpu] = GPUS) -> list[GpuEstimate]:
    """What a plan would take on some GPUs.

    A plan for float32, which is the CPU's default, is taken to run in the GPUs' own, float16.
    """
    precision = plan.settings.precision
    if precision == "float32":
        precision = default_precision(torch.device("cuda"))
    return [_estimate(plan, precision, gpu) for gpu in gpus]


def _estimate(plan: Plan, precision: str, gpu: Gpu) -> GpuEstimate:
    available = gpu.gibibytes * 2**30
    levels = list(sampled_levels(plan, precision, "cuda", available))
    needed = max((level.memory.total(level.batch_size) for level in levels), default=0)
    seconds = [
        sum(_speed(level, gpu, per_layer).seconds(level.work) for level in levels)
        for per_layer in (EAGER_LAYER_SECONDS, GRAPH_LAYER_SECONDS)
    ]
    return GpuEstimate(gpu, precision, needed, needed <= available * USED_SHARE, *seconds)


def _speed(level: SampledLevel, gpu: Gpu, seconds_per_layer: float) -> Speed:
    """Seconds of one level's prior: per step, per prefilled code of a batch, per window.

    Weights of 8 and 4 bits are counted as 16: they are widened before they are multiplied.
    """
    config = level.config
    per_layer = 3 * config.width * config.attention_width + config.attention_width * config.width
    weights = config.depth * (per_layer + 2 * config.width * config.mlp_width)
    read = 2 * weights + 4 * config.vocabulary_size * config.width  # the output layer is float32
    operations = 2 * weights * level.rows
    streaming = read / (BANDWIDTH_SHARE * gpu.bandwidth)
    multiplying = operations / gpu.products
    # Eagerly, launching goes on beside the kernels; in a graph each layer drains before the next.
    launching = config.depth * seconds_per_layer
    busy = max(streaming, multiplying)
    eager = seconds_per_layer == EAGER_LAYER_SECONDS
    conditioning = conditioner_operations(config) * level.rows
    return Speed(
        step=max(busy, launching) if eager else busy + launching,
        prefilled=operations / (PRODUCT_SHARE * gpu.products),
        window=launching + conditioning / (PRODUCT_SHARE * gpu.products_float32),
    )


def describe_gpus(estimates: Sequence[GpuEstimate]) -> str:
    """A line per GPU, below one that says what the lines are worth."""
    precision = estimates[0].precision
    lines = [
        f"On other hardware, in {precision}: estimates from published bandwidths and assumed "
        "shares of them, never measured."
    ]
    for one in estimates:
        times = (
            f"about {format_seconds(one.eager_seconds)} eager, "
            f"{format_seconds(one.graph_seconds)} graph"
        )
        lines.append(
            f"  {one.gpu.name}: {format_bytes(one.memory_bytes)} needed, "
            + (times if one.fits else "which does not fit")
        )
    return "\n".join(lines)
