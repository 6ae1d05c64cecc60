"""The loop that trains a codec or a prior, on any number of processes, through Accelerate.

A task and its examples go in; checkpoints, a log and `final/` come out. Interrupted at any point,
it goes on bit for bit: everything random is seeded anew by seed and step (`seed_step`), the data
order follows from the step (`batches`), and the rest is in the checkpoint.
"""

import contextlib
import importlib.util
import logging
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from jukebox_hf.audio import save_audio
from jukebox_hf.files import safe_file_name
from jukebox_hf.precision import torch_dtype
from jukebox_hf.training.batches import Examples, Share, derived_seed, load_once, load_steps
from jukebox_hf.training.checkpoints import (
    RunState,
    SaveError,
    checkpoint_name,
    durable_folder,
    find_checkpoints,
    load_checkpoint,
    remove_leftovers,
    rotate,
    save_checkpoint,
    whole_state,
)
from jukebox_hf.training.evaluation import CodecEvaluation, PriorEvaluation
from jukebox_hf.training.facts import write_training_facts
from jukebox_hf.training.optimization import (
    AveragedWeights,
    default_ema_decay,
    learning_rate_factor,
    make_optimizer,
    set_learning_rate,
)
from jukebox_hf.training.plan import TrainingPlan, plan_training
from jukebox_hf.training.reports import Progress, RunLog, RunningMeans, Trackers
from jukebox_hf.training.settings import TrainingSettings
from jukebox_hf.training.tasks import Task

logger = logging.getLogger(__name__)

SETTINGS_NAME = "settings.yaml"
# float16 gradients are scaled up by this, twice as much every 1000 steps, half as much after each
# overflow: the original's numbers.
FIRST_LOSS_SCALE, LARGEST_LOSS_SCALE, SMALLEST_LOSS_SCALE = 2.0**16, 2.0**24, 2.0**-10
LOSS_SCALE_GROWTH = 2 ** (1 / 1000)
REPEATED_SIGNAL_SECONDS = 2.0


class DivergedError(ValueError):
    """Gradients have not been finite for too long."""


@dataclass
class RunParts:
    """What a run works on.

    Attributes:
        task: of the model in training.
        train: examples to train on.
        validation: examples held out; `None` evaluates nothing.
        export: fills a folder with a model that `System.open` reads, from a complete state dict.
        notes: what the user should know before it starts.
        finish: what the user should know at the end, such as songs that could not be read.
        data_fingerprint: of the songs; when it has changed, a run cannot go on to the same result.
    """

    task: Task[Any]
    train: Examples
    validation: Examples | None
    export: Callable[[Path, Mapping[str, Tensor]], None]
    notes: tuple[str, ...] = ()
    finish: Callable[[], list[str]] = list
    data_fingerprint: str | None = None


class TrainingResult(NamedTuple):
    """How a run ended."""

    steps: int
    interrupted: bool
    final: Path | None  # a model folder; None after an interruption
    checkpoint: Path | None
    evaluation: CodecEvaluation | PriorEvaluation | None
    best_step: int | None


class JukeboxTrainer:
    """Trains what `settings` describe.

    >>> settings = TrainingSettings.preset("small_vqvae", dataset="songs", output="runs/codec")
    ... # doctest: +SKIP
    >>> JukeboxTrainer(settings).train()  # doctest: +SKIP
    """

    def __init__(
        self,
        settings: TrainingSettings,
        *,
        resume: bool = False,
        parts: RunParts | None = None,
        visible: bool = False,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """Open data and model, and the latest checkpoint when resuming.

        Args:
            settings: of the run; `output` is needed.
            resume: go on with the run in `output`, whose settings these must be.
            parts: model and data; default: what the settings name.
            visible: show a progress bar on stderr, if that is a terminal.
            say: takes notes for the user, one line each; default: a log message.

        Raises:
            ValueError: for settings that contradict each other, the data, or the run in `output`.
            OSError: if something is not there.
        """
        if settings.output is None:
            raise ValueError("a run needs `output`, the folder for its checkpoints and results")
        self.settings = settings
        self.folder = Path(settings.output)
        self.visible = visible
        self._say = say or logger.info
        self.accelerator = make_accelerator(settings)
        self.share = Share(
            settings.batch_size,
            settings.accumulation_steps,
            self.accelerator.process_index,
            self.accelerator.num_processes,
        ).check()
        latest = self._find_latest(resume)
        if parts is None:
            from jukebox_hf.training.building import build_parts

            parts = build_parts(settings, self.accelerator, checkpoint=latest)
        self.parts = parts
        self.task = parts.task
        self.state = RunState()
        if settings.precision == "float16":
            self.state.loss_scale = FIRST_LOSS_SCALE
        self._build()
        if latest is not None:
            self._load(latest)
            if self.state.data_fingerprint != parts.data_fingerprint:
                parts.notes += (
                    "the songs are not those that this run was started with: it goes on, but to "
                    "another result than it would have had",
                )
        self.state.data_fingerprint = parts.data_fingerprint
        self._failed_in_row = 0
        self._stopping = False

    def _find_latest(self, resume: bool) -> Path | None:
        """The latest checkpoint of a run that is resumed; nothing for a new one."""
        checkpoints = find_checkpoints(self.folder / "checkpoints")
        if not resume and checkpoints:
            raise ValueError(
                f"{self.folder} holds a run with checkpoints up to {checkpoints[-1].name}; go on "
                "with it (resume), or choose another output"
            )
        if resume and not checkpoints:
            raise ValueError(f"{self.folder} holds no checkpoint to resume from")
        return checkpoints[-1] if resume else None

    def _build(self) -> None:
        settings, model = self.settings, self.task.model
        if settings.activation_checkpointing:
            enable = getattr(model, "activation_checkpointing_enable", None)
            (enable or model.gradient_checkpointing_enable)()
        if settings.compile:
            for part in self.task.compilable():
                part.compile()
        model.train()
        optimizer = make_optimizer(
            model,
            settings.optimizer,
            learning_rate=settings.learning_rate,
            betas=(settings.beta1, settings.beta2),
            epsilon=settings.epsilon,
            weight_decay=settings.weight_decay,
        )
        with warnings.catch_warnings():
            # torch 2.13 has a new name for it, which Accelerate 1.15 cannot pass on.
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            self.model, self.optimizer = self.accelerator.prepare(model, optimizer)
        decay = settings.ema_decay
        decay = default_ema_decay(settings.batch_size) if decay is None else decay
        self.averages = AveragedWeights(model, decay) if settings.average_weights else None

    def _load(self, checkpoint: Path) -> None:
        self.state = load_checkpoint(
            checkpoint,
            model=self.task.model,
            optimizer=self.optimizer.optimizer,
            averages=self.averages,
        )

    def plan(self) -> TrainingPlan:
        """What the run takes: steps, epochs, memory."""
        config = self.task.model.config
        is_codec = self.settings.task == "vqvae"
        samples = self.settings.clip_samples if is_codec else config.window_samples
        return plan_training(
            self.settings,
            self.task.model,
            examples=len(self.parts.train),
            example_seconds=samples / config.sampling_rate,
            processes=self.share.processes,
            device=self.accelerator.device,
        )

    # --- the loop ---

    def train(self) -> TrainingResult:
        """Run until the last step, the time limit, or Ctrl-C; then save.

        Raises:
            DivergedError: after `max_failed_steps` steps in a row without finite gradients.
            SaveError: if the disk is full at the end. Earlier checkpoints are intact.
        """
        settings, accelerator, state = self.settings, self.accelerator, self.state
        self._begin()
        with self._stop_signals():
            for batches in self._batches(state.step, settings.steps):
                self.task.before_step(state.step, self._load_ahead)
                self._set_learning_rate()
                for part, batch in enumerate(batches):
                    seed_step(settings.seed, state.step, part, accelerator.process_index)
                    with accelerator.accumulate(self.model):
                        with self._autocast():
                            loss, metrics = self.task.loss(self.model, batch)
                        accelerator.backward(loss * state.loss_scale)
                    self.means.add({"loss": loss, **metrics})
                norm = self._scale_gradients()
                if succeeded := math.isfinite(norm):
                    self.optimizer.step()
                self.optimizer.zero_grad()
                self._count_step(batches, norm, succeeded)
                self._report()
                if self._should_stop():
                    break
        return self._finish()

    def _begin(self) -> None:
        self.means, self.train_loss = RunningMeans(), RunningMeans()
        self.evaluation: CodecEvaluation | PriorEvaluation | None = None
        self._start = self._logged_at = time.monotonic()
        self._logged_step, self._audio_seconds = self.state.step, 0.0
        self.log = RunLog(self.folder)
        self.trackers = Trackers(self.accelerator, tuple(self.settings.report_to))
        if self.accelerator.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
            for folder in (self.folder, self.folder / "checkpoints"):
                remove_leftovers(folder)
            self.log.cut_back(self.state.step)
            self.settings.save(self.folder / SETTINGS_NAME)
        self.accelerator.wait_for_everyone()
        self.trackers.start(self.settings.to_dict())
        self.progress = Progress(
            self.settings.steps,
            self.state.step,
            visible=self.visible and self.accelerator.is_main_process,
        )
        for note in self.parts.notes:
            self.say(note)

    def _batches(self, start: int, stop: int) -> Iterator[list[Any]]:
        """The batches of each step, on the device."""
        device = self.accelerator.device
        steps = load_steps(
            self.parts.train,
            self.task.collate,
            self.share,
            seed=self.settings.seed,
            start=start,
            stop=stop,
            num_workers=self.settings.num_workers,
            pin_memory=device.type == "cuda",
        )
        for batches in steps:
            yield [self.task.to_device(batch, device) for batch in batches]

    def _load_ahead(self, count: int) -> Iterator[list[Any]]:
        return self._batches(self.state.step, self.state.step + count)

    def _set_learning_rate(self) -> None:
        settings = self.settings
        factor = learning_rate_factor(
            self.state.step + 1,
            schedule=settings.schedule,
            warmup_steps=settings.warmup_steps,
            decay_start=settings.decay_start,
            decay_steps=settings.decay_length,
            decay_factor=settings.decay_factor,
        )
        self.learning_rate = settings.learning_rate * factor
        set_learning_rate(self.optimizer.optimizer, self.learning_rate)

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.settings.precision == "float32":
            return contextlib.nullcontext()
        dtype = torch_dtype(self.settings.precision)
        return torch.autocast(self.accelerator.device.type, dtype=dtype)

    def _evaluation_precision(self) -> contextlib.AbstractContextManager[object]:
        """A codec is judged in float32, as by `jukebox evaluate`: rounding changes codes."""
        return contextlib.nullcontext() if self.settings.task == "vqvae" else self._autocast()

    def _scale_gradients(self) -> float:
        """Undo the loss scale, clip, and return the norm before clipping, perhaps not finite."""
        parameters = (group["params"] for group in self.optimizer.param_groups)
        gradients = [p.grad for group in parameters for p in group if p.grad is not None]
        return scale_gradients(gradients, self.settings.max_grad_norm, self.state.loss_scale)

    def _count_step(self, batches: list[Any], norm: float, succeeded: bool) -> None:
        """Everything that goes with a step but the optimizer's own."""
        step, state = self.state.step, self.state
        self.means.add(self.task.after_step(step, succeeded=succeeded))
        state.step += 1
        if succeeded:
            self._failed_in_row = 0
            if self.averages is not None:
                self.averages.update(self.task.model)
            if self.settings.precision == "float16":
                state.loss_scale = min(state.loss_scale * LOSS_SCALE_GROWTH, LARGEST_LOSS_SCALE)
            self.means.add({"grad_norm": torch.tensor(norm)})
        else:
            self._count_failure()
        seconds = sum(self.task.audio_seconds(batch) for batch in batches)
        self._audio_seconds += seconds * self.share.processes
        self.progress.advance(seconds * self.share.processes)

    def _count_failure(self) -> None:
        """A step without finite gradients moves nothing, and lowers the loss scale."""
        self.state.failed_steps += 1
        self._failed_in_row += 1
        if self.settings.precision == "float16":
            self.state.loss_scale = max(self.state.loss_scale / 2, SMALLEST_LOSS_SCALE)
        if self._failed_in_row >= self.settings.max_failed_steps:
            raise DivergedError(
                f"the gradients of {self._failed_in_row} steps in a row, up to step "
                f"{self.state.step}, were not finite; lower learning_rate, use precision bfloat16 "
                "or float32, and resume from the last checkpoint"
            )

    def _should_stop(self) -> bool:
        """Whether someone pressed Ctrl-C, or the time is up; the same on every process."""
        limit = self.settings.max_minutes
        late = limit is not None and time.monotonic() - self._start >= 60 * limit
        wanted = self._stopping or late
        if self.share.processes > 1:
            flag = torch.tensor(float(wanted), device=self.accelerator.device)
            wanted = bool(self.accelerator.reduce(flag, reduction="sum") > 0)
        return wanted

    @contextlib.contextmanager
    def _stop_signals(self) -> Iterator[None]:
        """Inside, Ctrl-C and SIGTERM ask to stop after the step; a second one stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        asked_at = math.inf

        def stop(number: int, frame: FrameType | None) -> None:
            nonlocal asked_at
            # A launcher passes on the Ctrl-C that the terminal has sent to everyone already.
            if self._stopping and time.monotonic() - asked_at > REPEATED_SIGNAL_SECONDS:
                raise KeyboardInterrupt
            if not self._stopping:
                asked_at = time.monotonic()
                self._stopping = True
                self.say("stopping after this step; Ctrl-C once more stops at once")

        try:
            for number in before:
                signal.signal(number, stop)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    # --- what happens now and then ---

    def _report(self) -> None:
        """Log, evaluate, sample and save when it is time."""
        step = self.state.step
        if step % self.settings.log_every == 0:
            self._log_step()
        if _is_due(step, self.settings.evaluate_every):
            self.evaluate()
        if _is_due(step, self.settings.sample_every):
            self.make_samples()
        if _is_due(step, self.settings.save_every) and step < self.settings.steps:
            try:
                self.save()
            except SaveError as error:
                self.say(f"{error}; training goes on, and earlier checkpoints are intact")
                self.log.write("save_failed", step, error=str(error))

    def _log_step(self) -> None:
        step, now = self.state.step, time.monotonic()
        means = self._mean_over_processes(self.means.read())
        self.train_loss.add({"loss": torch.tensor(means.get("loss", math.nan))})
        elapsed = max(now - self._logged_at, 1e-9)
        speed = {
            "learning_rate": self.learning_rate,
            "loss_scale": self.state.loss_scale,
            "failed_steps": float(self.state.failed_steps),
            "steps_per_second": (step - self._logged_step) / elapsed,
            "audio_seconds_per_second": self._audio_seconds / elapsed,
        }
        self._logged_at, self._logged_step, self._audio_seconds = now, step, 0.0
        self.progress.show(means.get("loss", math.nan))
        if self.accelerator.is_main_process:
            self.log.write("train", step, **means, **speed)
        self.trackers.scalars({f"train/{name}": v for name, v in {**means, **speed}.items()}, step)

    def _mean_over_processes(self, means: dict[str, float]) -> dict[str, float]:
        if self.share.processes == 1 or not means:
            return means
        values = torch.tensor(list(means.values()), device=self.accelerator.device)
        mean = self.accelerator.reduce(values, reduction="mean").tolist()
        return dict(zip(means, mean, strict=True))

    def evaluate(self) -> CodecEvaluation | PriorEvaluation | None:
        """Evaluate the averaged weights on held-out examples; keeps the best model in `best/`."""
        batches = self._validation_batches(self.settings.evaluation_items)
        if batches is None:
            return None
        with self._averaged(), self._evaluation_precision(), _uncompiled():
            self.evaluation = self.task.evaluate(batches)
        step, scalars = self.state.step, self.evaluation.scalars()
        train_loss = self.train_loss.read().get("loss", math.nan)
        warnings = self.task.warnings(self.evaluation)
        if self.accelerator.is_main_process:
            self.log.write("evaluation", step, **scalars, train_loss=train_loss, warnings=warnings)
        for warning in warnings:
            logger.warning(warning)
        self.trackers.scalars({f"validation/{name}": v for name, v in scalars.items()}, step)
        if isinstance(self.evaluation, CodecEvaluation):
            for level, counts in enumerate(self.evaluation.code_counts):
                self.trackers.histogram(f"level_{level}/codes", counts, step)
        self._keep_best(self.evaluation.loss)
        best = self.state.best_loss
        self.say(
            f"step {step}: loss {train_loss:.4f} in training, {self.evaluation.loss:.4f} on "
            "held-out songs" + (f", best {best:.4f} at {self.state.best_step}" if best else "")
        )
        return self.evaluation

    def _keep_best(self, loss: float) -> None:
        best = self.state.best_loss
        if not self.task.complete or not math.isfinite(loss) or (best is not None and loss >= best):
            return
        self.state.best_loss, self.state.best_step = loss, self.state.step
        try:
            self.export(self.folder / "best")
        except SaveError as error:
            self.say(f"{error}; training goes on")

    def _validation_batches(self, count: int) -> Iterator[Any] | None:
        if self.parts.validation is None or not count:
            return None
        batches = load_once(
            self.parts.validation,
            self.task.collate,
            num_examples=count,
            batch_size=self.share.part_size,
            process=self.share.process,
            processes=self.share.processes,
            num_workers=self.settings.num_workers,
        )
        return (self.task.to_device(batch, self.accelerator.device) for batch in batches)

    def make_samples(self) -> list[Path]:
        """Write something to listen to into `samples/step_N/`; the main process does it alone."""
        if self.parts.validation is None or not self.accelerator.is_main_process:
            self.accelerator.wait_for_everyone()
            return []
        step = self.state.step
        batches = load_once(
            self.parts.validation,
            self.task.collate,
            num_examples=self.settings.num_samples,
            batch_size=1,
        )
        with self._averaged(), self._evaluation_precision(), _uncompiled():
            samples = self.task.samples(
                self.task.to_device(batch, self.accelerator.device) for batch in batches
            )
        folder = self.folder / "samples" / checkpoint_name(step)
        written = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, audio in samples.audio.items():
                path = folder / f"{safe_file_name(name)}.wav"
                save_audio(path, audio, samples.sampling_rate, overwrite=True)
                self.trackers.audio(name, audio, samples.sampling_rate, step)
                written.append(path)
        except OSError as error:
            self.say(f"could not write samples: {error}; training goes on")
        self.accelerator.wait_for_everyone()
        return written

    def _averaged(self) -> contextlib.AbstractContextManager[object]:
        if self.averages is None:
            return contextlib.nullcontext()
        return self.averages.applied(self.task.model)

    # --- what is written ---

    def save(self) -> Path:
        """Write a checkpoint of the present step, and remove the oldest ones.

        Raises:
            SaveError: if the disk is full. Earlier checkpoints are intact.
        """
        checkpoints = self.folder / "checkpoints"
        target = checkpoints / checkpoint_name(self.state.step)
        with self._on_every_process():
            save_checkpoint(
                target,
                write=self.accelerator.is_main_process,
                model=self.task.model,
                save_model=self.task.save,
                optimizer=self.optimizer.optimizer,
                averages=self.averages,
                state=self.state,
            )
            if self.accelerator.is_main_process:
                rotate(checkpoints, self.settings.keep_checkpoints)
        return target

    def export(self, folder: Path) -> None:
        """Write the averaged weights as a model folder that `System.open` reads.

        Raises:
            SaveError: if the disk is full. What was in `folder` is intact.
        """
        with self._averaged():
            weights = whole_state(self.task.model)
        with self._on_every_process():
            if self.accelerator.is_main_process:
                with durable_folder(folder) as temporary:
                    self.parts.export(temporary, weights)
                    component = self._own_component(temporary)
                    if component.is_dir():
                        write_training_facts(
                            component,
                            self.settings,
                            steps=self.state.step,
                            device=self.accelerator.device,
                        )

    def _own_component(self, folder: Path) -> Path:
        """The part of a model folder that this run trained."""
        if self.settings.task == "vqvae":
            return folder / "vqvae"
        name = f"prior_{self.task.model.config.level}"
        adapter = folder / f"adapter_{name}"
        return adapter if adapter.is_dir() else folder / name

    @contextlib.contextmanager
    def _on_every_process(self) -> Iterator[None]:
        """If the main process could not write, raise `SaveError` on all of them."""
        error = None
        try:
            yield
        except SaveError as caught:
            error = caught
        if self.share.processes > 1:
            flag = torch.tensor(float(error is not None), device=self.accelerator.device)
            failed = bool(self.accelerator.reduce(flag, reduction="sum") > 0)
        else:
            failed = error is not None
        if failed:
            raise error or SaveError("the main process could not write")

    def _finish(self) -> TrainingResult:
        """Save where it stopped; after the last step also evaluate and write `final/`."""
        interrupted = self._stopping
        checkpoint = self.save()
        final = None
        if not interrupted:
            if not _is_due(self.state.step, self.settings.evaluate_every):
                self.evaluate()
            final = self.folder / "final"
            self.export(final)
        for note in self.parts.finish():
            self.say(note)
        if self.accelerator.is_main_process:
            self.log.write("end", self.state.step, interrupted=interrupted)
        self.trackers.close()
        self.progress.close()
        return TrainingResult(
            steps=self.state.step,
            interrupted=interrupted,
            final=final,
            checkpoint=checkpoint,
            evaluation=self.evaluation,
            best_step=self.state.best_step,
        )

    def say(self, text: str) -> None:
        """A note for the user, from the main process."""
        if self.accelerator.is_main_process:
            with self.progress.paused():
                self._say(text)


def make_accelerator(settings: TrainingSettings) -> Accelerator:
    """Processes and device, as the settings and the launcher say. Precision is the trainer's.

    Raises:
        ValueError: for a device that is not there.
        ImportError: for a tracker that is not installed.
    """
    for name in settings.report_to:
        if importlib.util.find_spec(name) is None:
            raise ImportError(f"report_to {name} needs a package; `pip install {name}`")
    missing = (settings.device == "cuda" and not torch.cuda.is_available()) or (
        settings.device == "mps" and not torch.backends.mps.is_available()
    )
    if missing:
        raise ValueError(f"device {settings.device!r} is not available here; use auto or cpu")
    return Accelerator(
        cpu=settings.device == "cpu",
        mixed_precision="no",
        gradient_accumulation_steps=settings.accumulation_steps,
        log_with=list(settings.report_to) or None,
        project_dir=settings.output,
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )


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


def _uncompiled() -> contextlib.AbstractContextManager[object]:
    """Inside, compiled parts run eagerly: batches of other sizes would compile them anew."""
    stance: Any = torch.compiler.set_stance("force_eager")
    return stance  # type: ignore[no-any-return]


def _is_due(step: int, every: int) -> bool:
    return bool(every) and step % every == 0
