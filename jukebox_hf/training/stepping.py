"""The pieces of a training step that any task has: processes, seeds, gradients, Ctrl-C."""

import contextlib
import importlib
import importlib.util
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from jukebox_hf.generation.devices import resolve_device
from jukebox_hf.training.batches import derived_seed
from jukebox_hf.training.settings import TrainingSettings

# float16 gradients are scaled up by this, twice as much every 1000 steps, half as much after each
# overflow: the original's numbers.
FIRST_LOSS_SCALE, LARGEST_LOSS_SCALE, SMALLEST_LOSS_SCALE = 2.0**16, 2.0**24, 2.0**-10
LOSS_SCALE_GROWTH = 2 ** (1 / 1000)
REPEATED_SIGNAL_SECONDS = 2.0


def make_accelerator(settings: TrainingSettings) -> Accelerator:
    """Processes and device, as the settings and the launcher say. Precision is the trainer's.

    Raises:
        ValueError: for a device that is not there.
        ImportError: for a tracker that is not installed.
    """
    for name in settings.report_to:
        if importlib.util.find_spec(name) is None:
            raise ImportError(f"report_to {name} needs a package; `pip install {name}`")
    resolve_device(settings.device)  # or say that it is not there
    keep_deepspeed_off_stdout()
    # Nothing of a run may depend on variables that Accelerate reads where an argument is missing:
    # ACCELERATE_GRADIENT_ACCUMULATION_STEPS is even stronger than the argument, but not than a
    # plugin. Of processes that find no GPU it makes one run each, unless it is told to use CPUs.
    together = int(os.environ.get("WORLD_SIZE", "1"))
    accelerator = Accelerator(
        cpu=settings.device == "cpu" or (together > 1 and not torch.cuda.is_available()),
        mixed_precision="no",
        dynamo_backend="no",
        gradient_accumulation_plugin=GradientAccumulationPlugin(settings.accumulation_steps),
        log_with=list(settings.report_to) or None,
        project_dir=settings.output,
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )
    if accelerator.num_processes != together:
        raise ValueError(
            f"{together} processes were started for this run, but only {accelerator.num_processes} "
            "know of each other; start them with --num-processes, torchrun or `accelerate launch`"
        )
    return accelerator


def keep_deepspeed_off_stdout() -> None:
    """Import DeepSpeed where it is installed, so that what it logs goes to stderr.

    Accelerate imports it in any run (1.15), and its logger (0.19) keeps the stdout of that moment.
    """
    if importlib.util.find_spec("deepspeed") is None:
        return
    # One that cannot be imported here is Accelerate's to complain of, if a run wants it.
    with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(Exception):
        importlib.import_module("deepspeed")


def on_any_process(accelerator: Accelerator, *flags: bool) -> list[bool]:
    """Which of the flags are set on any process; every process must ask."""
    if accelerator.num_processes == 1:
        return list(flags)
    mine = torch.tensor([float(flag) for flag in flags], device=accelerator.device)
    return [bool(total > 0) for total in accelerator.reduce(mine, reduction="sum")]


def seed_step(seed: int, step: int, part: int, process: int) -> None:
    """Seed torch's global generators for one part of a step, so that resuming needs no state."""
    torch.manual_seed(derived_seed(seed, "step", step, part, process))


@torch.no_grad()
def scale_gradients(gradients: list[Tensor], max_norm: float, scale: float) -> float:
    """Divide gradients by `scale`, and by how far their norm exceeds `max_norm`, in place.

    Returns the norm of the unscaled gradients before clipping. It may not be finite; then they are
    left as they are.
    """
    total = nn.utils.get_total_norm(gradients)
    if isinstance(total, DTensor):
        total = total.full_tensor()
    norm = total.item() / scale
    if math.isfinite(norm):
        factor = 1 / (scale * max(1.0, norm / max_norm))
        if factor != 1.0:
            torch._foreach_mul_(gradients, factor)
    return norm


def next_loss_scale(scale: float, *, succeeded: bool) -> float:
    """The loss scale after a step of float16.

    >>> next_loss_scale(1024.0, succeeded=False)
    512.0
    """
    if succeeded:
        return min(scale * LOSS_SCALE_GROWTH, LARGEST_LOSS_SCALE)
    return max(scale / 2, SMALLEST_LOSS_SCALE)


def is_divided(model: nn.Module) -> bool:
    """Whether processes hold only parts of the parameters (FSDP)."""
    return any(isinstance(parameter, DTensor) for parameter in model.parameters())


def uncompiled() -> contextlib.AbstractContextManager[object]:
    """Inside, compiled parts run eagerly: batches of other sizes would compile them anew."""
    stance: Any = torch.compiler.set_stance("force_eager")
    return stance  # type: ignore[no-any-return]


class StopRequest:
    """Inside of it, Ctrl-C and SIGTERM ask to stop; a second one, seconds later, stops at once.

    Outside the main thread, where signals cannot be had, it does nothing.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.wanted = False
        self._say = say
        self._asked_at = math.inf
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        # A launcher may pass on the Ctrl-C that the terminal has sent to everyone already.
        if self.wanted and time.monotonic() - self._asked_at > REPEATED_SIGNAL_SECONDS:
            raise KeyboardInterrupt
        if not self.wanted:
            self.wanted, self._asked_at = True, time.monotonic()
            self._say("stopping after this step; Ctrl-C once more stops at once")
