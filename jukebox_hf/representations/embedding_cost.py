"""What embedding costs: operations, memory, disk and time, here and on GPUs that are not here.

Settings, a config and seconds of audio go in, numbers and words come out; no weights are read. Time
here is measured on a few layers of the right shape; on other GPUs it is predicted from published
rates, of which a share is assumed: `generation.gpus`.
"""

import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from jukebox_hf.generation.estimate import bare_layers, best_time
from jukebox_hf.generation.gpus import GPUS, PRODUCT_SHARE, Gpu
from jukebox_hf.generation.memory import USED_SHARE, available_memory
from jukebox_hf.generation.weights import loading_dtype
from jukebox_hf.hub.architecture import expected_shapes
from jukebox_hf.prior import sizes
from jukebox_hf.prior.prior_config import PriorConfig
from jukebox_hf.representations.embedder import DEFAULT_BATCH_SIZE
from jukebox_hf.representations.embedding_settings import EmbeddingSettings
from jukebox_hf.representations.embedding_windows import code_windows, piece_starts
from jukebox_hf.representations.frames import num_frames
from jukebox_hf.words import format_bytes, format_seconds

FEW_LAYERS, MORE_LAYERS = 2, 5
DECODER_LAYER = re.compile(r"decoder\.layers\.(\d+)\.")
TIMED_CODES = 512
NPY_HEADER_BYTES = 128


class EmbeddingWork(NamedTuple):
    """What some audio is to a prior: windows, codes in all of them, pieces, numbers written."""

    windows: int
    codes: int
    pieces: int
    values: int


@dataclass(frozen=True)
class GpuCost:
    """Predicted for one GPU: nothing here was measured."""

    gpu: Gpu
    batch_size: int
    memory_bytes: int
    fits: bool
    seconds: float


@dataclass(frozen=True)
class Cost:
    """What embedding takes.

    Attributes:
        inputs: how many.
        audio_seconds: of all of them, as far as known.
        work: see `EmbeddingWork`.
        operations: floating-point operations of the layers.
        weight_bytes, window_bytes: of the layers that are held, and more for each window at once.
        memory_bytes: with the batch size asked for.
        available_bytes: on this device.
        disk_bytes: of what is written.
        seconds: here; None if it was not measured.
        gpus: predictions.
    """

    inputs: int
    audio_seconds: float
    work: EmbeddingWork
    operations: float
    weight_bytes: int
    window_bytes: int
    memory_bytes: int
    available_bytes: int
    disk_bytes: int
    seconds: float | None
    gpus: tuple[GpuCost, ...]

    def to_record(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "inputs": self.inputs,
            "audio_seconds": self.audio_seconds,
            "windows": self.work.windows,
            "tera_operations": self.operations / 1e12,
            "memory_bytes": self.memory_bytes,
            "available_bytes": self.available_bytes,
            "disk_bytes": self.disk_bytes,
            "seconds": self.seconds,
            "gpus": [
                {
                    "name": one.gpu.name,
                    "batch_size": one.batch_size,
                    "memory_bytes": one.memory_bytes,
                    "fits": one.fits,
                    "seconds": one.seconds,
                    "measured": False,
                }
                for one in self.gpus
            ],
        }


def work_of(config: PriorConfig, settings: EmbeddingSettings, seconds: float) -> EmbeddingWork:
    """What a file of so many seconds takes."""
    start, end = settings.start_seconds, settings.end_seconds
    seconds = max(min(seconds, seconds if end is None else end) - start, 0.0)
    rate, hop, context = config.sampling_rate, config.hop_length, config.context_length
    if settings.window_seconds is not None:
        window = int(settings.window_seconds * rate)
        pieces = len(piece_starts(int(seconds * rate), window, max(int(settings.stride * rate), 1)))
        codes = [window // hop] * pieces
    else:
        pieces, codes = 1, [int(seconds * rate) // hop]
        if settings.span == "first":
            codes = [min(codes[0], context)]
    stride = max(int(context * settings.hop_fraction), 1)
    if settings.span == "adjacent":
        stride = context
    windows = [code_windows(number, context, stride) for number in codes[:1]] * len(codes)
    passed = sum(window.stop - window.start for one in windows for window in one)
    layers = len(settings.layers or (0,))
    rows = 1
    if settings.pool == "none":
        number = codes[0] if codes else 0
        if settings.rate is not None:
            number = num_frames(number, settings.rate, rate / hop)
        rows = number
    return EmbeddingWork(
        sum(map(len, windows)), passed, pieces, rows * pieces * layers * config.width
    )


def operations_per_code(config: PriorConfig, num_layers: int) -> float:
    """Floating-point operations per code: two per weight, and two products with keys and values.

    The attention of rows, columns and previous rows; for 5b 0.3 % of the whole.
    """
    linear = config.width * config.attention_width * 4 + 2 * config.width * config.mlp_width
    seen = {
        "row": config.row_length,
        "column": config.sequence_length // config.row_length,
        "previous_row": config.row_length,
        "dense": config.sequence_length,
        "prime": config.prime_length,
        "cross": config.lyric_length,
    }
    attention = sum(4 * config.attention_width * seen[k] for k in config.layer_kinds[:num_layers])
    return 2 * linear * num_layers + attention


def weight_bytes(config: PriorConfig, precision: str, num_layers: int) -> int:
    """Of a prior with so many layers, as it is held; exact."""
    held = {
        name: shape
        for name, shape in expected_shapes(config).items()
        if (place := DECODER_LAYER.match(name)) is None or int(place[1]) < num_layers
    }
    return sizes.weight_bytes(held, precision)


def window_bytes(config: PriorConfig, precision: str) -> int:
    """The most that one window of a batch takes while it passes a layer, estimated.

    The stream and its normed copy, the larger of attention's and the feed-forward's intermediates,
    and what conditions each position.
    """
    size = loading_dtype(precision).itemsize
    inner = max(4 * config.attention_width, 2 * config.mlp_width)
    per_position = (2 * config.width + inner) * size + 2 * config.width * sizes.FLOAT32_BYTES
    return config.sequence_length * per_position


def fitting_batch_size(
    config: PriorConfig,
    num_layers: int,
    precision: str,
    device: torch.device,
    *,
    layer_by_layer: bool = False,
) -> int:
    """Windows that fit on a device at once, at most `DEFAULT_BATCH_SIZE`.

    Raises:
        ValueError: if the layers and one window do not fit.
    """
    weights = weight_bytes(config, precision, 1 if layer_by_layer else num_layers)
    window, room = window_bytes(config, precision), available_memory(device) * USED_SHARE
    if weights + window > room:
        advice = "choose --precision float16 or int8" if precision == "float32" else "free some"
        if not layer_by_layer:
            advice = "hold one at a time with --layer-by-layer, or " + advice
        raise ValueError(
            f"{num_layers} layers in {precision} and one window need "
            f"{format_bytes(weights + window)}, but {format_bytes(room)} are available; {advice}"
        )
    return int(min(max((room - weights) // window, 1), DEFAULT_BATCH_SIZE))


def estimate(
    config: PriorConfig,
    settings: EmbeddingSettings,
    durations: Sequence[float],
    *,
    precision: str,
    batch_size: int,
    device: torch.device,
    output_itemsize: int = 4,
    layer_by_layer: bool = False,
    calibrate: bool = True,
    gpus: Sequence[Gpu] = GPUS,
) -> Cost:
    """What embedding files of these durations (seconds) costs."""
    parts = [work_of(config, settings, seconds) for seconds in durations]
    work = EmbeddingWork(
        *(sum(values) for values in zip(EmbeddingWork(0, 0, 0, 0), *parts, strict=True))
    )
    deepest = max(settings.layers or (config.depth,))
    operations = work.codes * operations_per_code(config, deepest)
    weights = weight_bytes(config, precision, 1 if layer_by_layer else deepest)
    window = window_bytes(config, precision)
    seconds = None
    if calibrate and work.codes:
        seconds = work.codes * seconds_per_code(config, precision, device, deepest)
    pooled = settings.pool == "mean"
    files = len(durations) if pooled else work.pieces * len(settings.layers or (0,))
    return Cost(
        len(durations),
        sum(durations),
        work,
        operations,
        weights,
        window,
        weights + min(batch_size, max(work.windows, 1)) * window,
        available_memory(device),
        work.values * output_itemsize + files * NPY_HEADER_BYTES,
        seconds,
        tuple(_on_gpu(gpu, precision, operations, weights, window, batch_size) for gpu in gpus),
    )


def _on_gpu(
    gpu: Gpu, precision: str, operations: float, weights: int, window: int, batch_size: int
) -> GpuCost:
    room = gpu.gibibytes * 2**30 * USED_SHARE
    size = int(min(max((room - weights) // window, 1), batch_size))
    rate = gpu.products_float32 if precision == "float32" else gpu.products
    needed = weights + size * window
    return GpuCost(gpu, size, needed, needed <= room, operations / (PRODUCT_SHARE * rate))


@torch.inference_mode()
def seconds_per_code(
    config: PriorConfig, precision: str, device: torch.device, num_layers: int
) -> float:
    """Measured on a few layers with made-up weights, of a part of a window."""
    few = min(FEW_LAYERS, num_layers)
    first = _time_layers(config, precision, device, few)
    if num_layers <= FEW_LAYERS:
        return first
    more = min(MORE_LAYERS, num_layers)
    second = _time_layers(config, precision, device, more)
    per_layer = max(second - first, 0.0) / (more - few)
    return first + per_layer * (num_layers - few)


def _time_layers(config: PriorConfig, precision: str, device: torch.device, depth: int) -> float:
    length = min(TIMED_CODES, config.context_length)
    prior = bare_layers(config, depth, precision, device)
    codes = torch.zeros(1, length, dtype=torch.int64, device=device)
    run: Callable[[], object] = lambda: deque(prior.iterate_layers(codes), maxlen=0)  # noqa: E731
    return best_time(device, 2, run) / length


def describe_cost(
    cost: Cost, *, model: str, level: int, precision: str, device: torch.device
) -> str:
    """The cost in words, a paragraph and a line per GPU."""
    enough = "" if cost.memory_bytes <= cost.available_bytes else ", which may not be enough"
    count = f"{cost.inputs} input{'s' * (cost.inputs != 1)}"
    time = "" if cost.seconds is None else f" Time: about {format_seconds(cost.seconds)}."
    lines = [
        f"{model}, level {level}: {count}, {format_seconds(cost.audio_seconds)} of audio, "
        f"{cost.work.windows:,} windows, {cost.operations / 1e12:.3g} TFLOP, on {device.type} in "
        f"{precision}. Memory: {format_bytes(cost.memory_bytes)} needed, "
        f"{format_bytes(cost.available_bytes)} available{enough}. "
        f"Disk: {format_bytes(cost.disk_bytes)}.{time}",
        f"On other hardware, in {precision}: predicted from published rates, of which a share of "
        f"{PRODUCT_SHARE:g} is assumed, never measured.",
    ]
    for one in cost.gpus:
        if one.fits:
            told = f"about {format_seconds(one.seconds)}, {one.batch_size} windows at once"
        else:
            told = "which does not fit; use --layer-by-layer, or --precision float16 or int8"
        lines.append(f"  {one.gpu.name}: {format_bytes(one.memory_bytes)} needed, {told}")
    return "\n".join(lines)
