"""What a training run will take: steps, epochs, and memory, before it starts.

Weights, gradients, moments and averages are exact. Activations are counted by running the model
once on a device without memory and adding up what it keeps for the backward pass.
"""

import contextlib
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from jukebox_hf.generation.memory import available_memory
from jukebox_hf.labels import JukeboxLabels
from jukebox_hf.layers import CheckpointedLayer
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from jukebox_hf.prior.sizes import FLOAT32_BYTES
from jukebox_hf.training.optimization import trainable
from jukebox_hf.training.settings import TrainingSettings
from jukebox_hf.vqvae import JukeboxVQVAE
from jukebox_hf.words import format_bytes, format_seconds

# Under autocast most of what is kept has 16 bits; norms and the stream between layers do not.
KEPT_IN_16_BITS = 0.65
MEASURED_EXAMPLES = 8


class TrainingPlan(NamedTuple):
    """What a run takes. Bytes are of one process without sharding."""

    parameters: int
    trainable_parameters: int
    examples: int
    steps: int
    epochs: float
    audio_hours: float  # seen in all steps
    weight_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    average_bytes: int
    activation_bytes: int  # of one part of a step; an estimate
    free_bytes: int | None  # of the device, if known
    step_seconds: float | None = None  # on this machine, where it was measured

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return (
            self.weight_bytes
            + self.gradient_bytes
            + self.optimizer_bytes
            + self.average_bytes
            + self.activation_bytes
        )

    @property
    def fits(self) -> bool:
        """Whether the device has room, as far as anyone knows."""
        return self.free_bytes is None or self.total_bytes <= self.free_bytes

    def lines(self) -> list[str]:
        """The plan in words."""
        learning = f", of which {_millions(self.trainable_parameters)} learn"
        if self.trainable_parameters == self.parameters:
            learning = ""
        free = "" if self.free_bytes is None else f"; {format_bytes(self.free_bytes)} are free"
        found = [
            f"{_millions(self.parameters)} parameters{learning}",
            f"{self.steps:,} steps over {self.examples:,} examples: {self.epochs:.1f} epochs, "
            f"{self.audio_hours:.1f} hours of audio",
            f"memory about {format_bytes(self.total_bytes)}: "
            f"weights {format_bytes(self.weight_bytes)}, "
            f"gradients {format_bytes(self.gradient_bytes)}, "
            f"optimizer {format_bytes(self.optimizer_bytes)}, "
            f"averages {format_bytes(self.average_bytes)}, "
            f"activations about {format_bytes(self.activation_bytes)}{free}",
        ]
        if self.step_seconds is not None:
            found.append(describe_time(self.step_seconds, self.steps))
        if not self.fits:
            found.append(
                "that may not fit: raise accumulation_steps, use activation_checkpointing or "
                "precision bfloat16, or for fine-tuning --lora"
            )
        return found


def describe_time(step_seconds: float, steps: int) -> str:
    """How long so many steps take here."""
    return (
        f"about {format_seconds(step_seconds)} a step here: {steps:,} steps take about "
        f"{format_seconds(steps * step_seconds)}, beside evaluations"
    )


def plan_training(
    settings: TrainingSettings,
    model: JukeboxVQVAE | JukeboxPrior,
    *,
    examples: int,
    example_seconds: float,
    processes: int = 1,
    device: torch.device | None = None,
    step_seconds: float | None = None,
) -> TrainingPlan:
    """What a run of these settings takes with this model.

    Args:
        settings: of the run.
        model: in any state; it is not touched.
        examples: how many there are in an epoch.
        example_seconds: of audio that one stands for.
        processes: that share a step.
        device: whose free memory counts; `None`: unknown.
        step_seconds: of a step on this machine, if it was measured.
    """
    tensors = {id(each): each for each in (*model.parameters(), *model.buffers())}
    learning = sum(parameter.numel() for _, parameter in trainable(model))
    seen = settings.steps * settings.batch_size
    return TrainingPlan(
        parameters=sum(p.numel() for p in model.parameters()),
        trainable_parameters=learning,
        examples=examples,
        steps=settings.steps,
        epochs=seen / max(1, examples),
        audio_hours=seen * example_seconds / 3600,
        weight_bytes=sum(each.numel() * each.element_size() for each in tensors.values()),
        gradient_bytes=learning * FLOAT32_BYTES,
        optimizer_bytes=2 * learning * FLOAT32_BYTES,
        average_bytes=learning * FLOAT32_BYTES * settings.average_weights,
        activation_bytes=activation_bytes(
            settings, model, settings.batch_size // (settings.accumulation_steps * processes)
        ),
        free_bytes=None if device is None else available_memory(device),
        step_seconds=step_seconds,
    )


def activation_bytes(
    settings: TrainingSettings, model: JukeboxVQVAE | JukeboxPrior, batch_size: int
) -> int:
    """What the forward pass of one part keeps for the backward pass, about.

    With checkpointing the input of every layer is kept, and one layer's worth is computed again.
    More than a few examples are reckoned from a few: each keeps as much as another.
    """
    measured = min(batch_size, MEASURED_EXAMPLES)
    with torch.device("meta"):
        twin = type(model)(model.config)  # type: ignore[arg-type]
    twin.train()
    kept = _Kept({id(parameter) for parameter in twin.parameters()})
    layers = _Kept(kept.ignored)
    with kept, _watch_layers(twin, layers):
        _run_once(twin, settings, measured)
    inside = layers.bytes  # the innermost hooks alone see a tensor
    if settings.activation_checkpointing and layers.count:
        inside = layers.inputs + inside // layers.count
    total = kept.bytes + inside
    share = 1.0 if settings.precision == "float32" else KEPT_IN_16_BITS
    return int(total * share) * batch_size // measured


class _Kept:
    """Adds up the bytes of what autograd saves inside of it, as a context manager."""

    def __init__(self, ignored: set[int]) -> None:
        self.ignored = ignored
        self.bytes = 0
        self.inputs = 0
        self.count = 0
        self._seen: set[int] = set()
        self._alive: list[Tensor] = []

    def add(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if id(tensor) not in self.ignored and storage._cdata not in self._seen:
            self._seen.add(storage._cdata)
            self._alive.append(tensor)  # else another tensor could get its place
            self.bytes += storage.nbytes()
        return tensor

    def __enter__(self) -> "_Kept":
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self.add, lambda saved: saved)
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.__exit__(*error)


@contextlib.contextmanager
def _watch_layers(model: nn.Module, layers: _Kept) -> Any:
    """Count what the layers that can be checkpointed keep, and their inputs."""
    handles = []

    def before(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        layers.count += 1
        layers.inputs += sum(a.numel() * a.element_size() for a in arguments if _is_tensor(a))
        layers.__enter__()

    def after(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        layers.__exit__(None, None, None)

    for module in model.modules():
        if isinstance(module, CheckpointedLayer):
            handles.append(module.register_forward_pre_hook(before))
            handles.append(module.register_forward_hook(after))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _run_once(
    model: JukeboxVQVAE | JukeboxPrior, settings: TrainingSettings, batch_size: int
) -> None:
    """One forward pass without memory."""
    with torch.device("meta"):
        if isinstance(model, JukeboxVQVAE):
            model(torch.empty(batch_size, 1, settings.clip_samples), learn=False)
            return
        config = model.config

        def integers(*shape: int) -> Tensor:
            return torch.empty(batch_size, *shape, dtype=torch.int64)

        given: dict[str, Any] = {}
        if config.has_labels:
            given["labels"] = JukeboxLabels(
                integers(), integers(config.genre_slots), integers(), integers()
            )
        if config.lyrics != "none":
            given["lyric_tokens"] = integers(config.lyric_length)
        if config.is_upsampler:
            given["upper_codes"] = integers(config.context_length // config.upper_ratio)
        model(integers(config.context_length), **given)


def _millions(count: int) -> str:
    return f"{count / 1e6:,.1f} M" if count >= 1e5 else f"{count:,}"
