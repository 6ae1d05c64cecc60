"""The loop that trains a codec or a prior, on any number of processes, through Accelerate.

A task and its examples go in; checkpoints, a log and `final/` come out. Interrupted at any point,
it goes on bit for bit: everything random is seeded anew by seed and step (`seed_step`), the data
order follows from the step (`batches`), and the rest is in the checkpoint.
"""

import contextlib
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate.utils import gather_object
from torch import Tensor

from jukebox_hf.data import SkippedSong
from jukebox_hf.hub.manifest import FINAL
from jukebox_hf.hub.training_facts import Figure
from jukebox_hf.precision import torch_dtype
from jukebox_hf.training.batches import Share, load_once, load_steps
from jukebox_hf.training.building_codec import build_codec
from jukebox_hf.training.building_prior import build_prior
from jukebox_hf.training.checkpoints import (
    RunState,
    SaveError,
    load_checkpoint,
    rotate,
    save_checkpoint,
    whole_state,
)
from jukebox_hf.training.evaluation import CodecEvaluation, PriorEvaluation
from jukebox_hf.training.facts import write_training_facts
from jukebox_hf.training.figures import training_figures
from jukebox_hf.training.kept_memory import ask_for_large_pages, kept_memory
from jukebox_hf.training.optimization import (
    AveragedWeights,
    default_ema_decay,
    learning_rate_factor,
    make_optimizer,
    set_learning_rate,
)
from jukebox_hf.training.reports import Reporter
from jukebox_hf.training.run_folder import BEST, RunFolder
from jukebox_hf.training.settings import TrainingSettings
from jukebox_hf.training.song_split import RunExamples, each_once, skipped_lines
from jukebox_hf.training.stepping import (
    FIRST_LOSS_SCALE,
    StopRequest,
    is_divided,
    make_accelerator,
    next_loss_scale,
    on_any_process,
    scale_gradients,
    seed_step,
    uncompiled,
)
from jukebox_hf.training.tasks import Task
from jukebox_hf.training.training_cost import TrainingPlan, plan_training

LARGEST_TIMED_ON_A_CPU = 200_000_000  # parameters
LONG_STEP_SECONDS = 5.0  # is measured once


class DivergedError(ValueError):
    """Gradients have not been finite for too long."""


class TrainingResult(NamedTuple):
    """How a run ended."""

    steps: int
    interrupted: bool
    final: Path | None  # a model folder; None after an interruption
    checkpoint: Path | None
    evaluation: CodecEvaluation | PriorEvaluation | None
    best_step: int | None
    skipped: tuple[SkippedSong, ...] = ()  # songs that were not used, or not as a whole


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
        work: tuple[Task[Any], RunExamples] | None = None,
        visible: bool = False,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """Open data and model, and the latest checkpoint when resuming. Nothing is written yet.

        Args:
            settings: of the run; `output` is needed.
            resume: go on with the run in `output`, whose settings these must be.
            work: task and examples; default: what the settings name.
            visible: show a progress bar on stderr, if that is a terminal.
            say: takes notes for the user, one line each; default: a log message.

        Raises:
            ValueError: for settings that contradict each other, the data, or the run in `output`.
            OSError: if something is not there.
        """
        if settings.output is None:
            raise ValueError("a run needs `output`, the folder for its checkpoints and results")
        self.settings = settings
        self.accelerator = make_accelerator(settings)
        ask_for_large_pages()
        self.share = Share(
            settings.batch_size,
            settings.accumulation_steps,
            self.accelerator.process_index,
            self.accelerator.num_processes,
        ).check()
        self.folder = RunFolder(Path(settings.output), self.accelerator)
        self._resume = resume
        self._latest = latest = self.folder.find_latest(resume=resume)
        if work is None:
            build = build_codec if settings.task == "vqvae" else build_prior
            with self.accelerator.main_process_first():  # so that only one fetches from the Hub
                work = build(settings, self.accelerator, latest)
        self.task: Task[Any] = work[0]
        self.examples = work[1]
        self.reporter = Reporter(
            settings, self.folder.path, self.accelerator, visible=visible, say=say
        )
        self.evaluation: CodecEvaluation | PriorEvaluation | None = None
        self._evaluated_step: int | None = None
        self._failed_in_row = 0
        self._prepare_model()
        self.state = self._first_state() if latest is None else self._load(latest)
        self._resumed_at = None if latest is None else self.state.step
        if self.state.step > settings.steps:
            raise ValueError(
                f"{settings.output} is at step {self.state.step} already, so steps must be at "
                f"least that, got {settings.steps}"
            )

    def _prepare_model(self) -> None:
        """Model, optimizer and averages, placed where they belong."""
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

    def _first_state(self) -> RunState:
        scale = FIRST_LOSS_SCALE if self.settings.precision == "float16" else 1.0
        return RunState(loss_scale=scale, data_fingerprint=self.examples.fingerprint)

    def _load(self, checkpoint: Path) -> RunState:
        state = load_checkpoint(
            checkpoint,
            model=self.task.model,
            optimizer=self.optimizer.optimizer,
            averages=self.averages,
        )
        if state.data_fingerprint != self.examples.fingerprint:
            self._refuse_other_dataset()
            self.examples.notes += (
                "the songs are not those that this run was started with: it goes on, but to "
                "another result than it would have had",
            )
            state.data_fingerprint = self.examples.fingerprint
        return state

    def _refuse_other_dataset(self) -> None:
        """Songs that have changed where they are get a note; others, of another place, an error."""
        before, now = self.folder.saved_settings().dataset, self.settings.dataset
        if now != before:
            raise ValueError(
                f"the songs in {now} are not those in {before} that this run was started with: "
                "their names or lengths differ; give the place where those are now, or start anew "
                "in another folder"
            )

    def plan(self, *, timed: bool = False) -> TrainingPlan:
        """What the run takes: steps, epochs, memory; if `timed`, also how long a step is here."""
        config = self.task.model.config
        is_codec = self.settings.task == "vqvae"
        samples = self.settings.clip_samples if is_codec else config.window_samples
        return plan_training(
            self.settings,
            self.task.model,
            examples=len(self.examples.train),
            example_seconds=samples / config.sampling_rate,
            processes=self.share.processes,
            device=self.accelerator.device,
            step_seconds=self._time_step() if timed else None,
        )

    def _time_step(self) -> float | None:
        """Seconds of a step, without reading and encoding songs; its gradients are thrown away.

        None for models of which one step would take minutes.
        """
        parameters = sum(each.numel() for each in self.task.model.parameters())
        if self.accelerator.device.type == "cpu" and parameters > LARGEST_TIMED_ON_A_CPU:
            return None
        parts = next(self._batches(0, 1), [])
        found = math.inf
        for number in range(2):  # the first one sets things up, too
            begin = time.monotonic()
            for batch in parts:
                with self._autocast():
                    loss, _metrics = self.task.loss(self.model, batch)
                self.accelerator.backward(loss)
            self._scale_gradients()  # also waits for the device
            found = min(found, time.monotonic() - begin)
            self.task.after_step(0, succeeded=False)
            self.optimizer.zero_grad()
            compiled_now = self.settings.compile and number == 0  # that alone takes a minute
            if found > LONG_STEP_SECONDS and not compiled_now:
                break
        return found

    # --- the loop ---

    def train(self) -> TrainingResult:
        """Run until the last step, the time limit, or Ctrl-C; then save.

        Raises:
            DivergedError: after `max_failed_steps` steps in a row without finite gradients.
            SaveError: if the disk is full at the end. Earlier checkpoints are intact.
            FolderInUseError: if another run works in the folder.
        """
        with (
            self.folder.held(self._latest, resume=self._resume),
            kept_memory(self.accelerator.device),
        ):
            self._begin()
            try:
                interrupted = self._do_steps()
                return self._finish(interrupted=interrupted)
            finally:
                self.reporter.close()

    def _do_steps(self) -> bool:
        """All steps that are left, perhaps none; returns whether something asked to stop."""
        settings, accelerator, state = self.settings, self.accelerator, self.state
        with StopRequest(self.reporter.say) as stop:
            for batches in self._batches(state.step, settings.steps):
                self.task.before_step(state.step, self._load_ahead)
                self._set_learning_rate()
                for part, batch in enumerate(batches):
                    seed_step(settings.seed, state.step, part, accelerator.process_index)
                    with accelerator.accumulate(self.model):
                        with self._autocast():
                            loss, metrics = self.task.loss(self.model, batch)
                        accelerator.backward(loss * state.loss_scale)
                    self.reporter.count({"loss": loss, **metrics})
                norm = self._scale_gradients()
                if succeeded := math.isfinite(norm):
                    self.optimizer.step()
                self.optimizer.zero_grad()
                self._count_step(batches, norm, succeeded)
                self._do_what_is_due()
                interrupted, late = on_any_process(accelerator, stop.wanted, self._late())
                if interrupted or late:
                    return interrupted
        return False

    def _begin(self) -> None:
        self._start = time.monotonic()
        self.folder.prepare(self.settings)
        self.reporter.start(self.state.step)
        for note in self.examples.notes:
            self.reporter.say(note)

    def _batches(self, start: int, stop: int) -> Iterator[list[Any]]:
        """The batches of each step, on the device."""
        device = self.accelerator.device
        steps = load_steps(
            self.examples.train,
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

    def _scale_gradients(self) -> float:
        """Undo the loss scale, clip, and return the norm before clipping, perhaps not finite."""
        parameters = (group["params"] for group in self.optimizer.param_groups)
        gradients = [p.grad for group in parameters for p in group if p.grad is not None]
        return scale_gradients(gradients, self.settings.max_grad_norm, self.state.loss_scale)

    def _count_step(self, batches: list[Any], norm: float, succeeded: bool) -> None:
        """Everything that goes with a step but the optimizer's own."""
        state = self.state
        self.reporter.count(self.task.after_step(state.step, succeeded=succeeded))
        state.step += 1
        if self.settings.precision == "float16":
            state.loss_scale = next_loss_scale(state.loss_scale, succeeded=succeeded)
        if succeeded:
            self._failed_in_row = 0
            if self.averages is not None:
                self.averages.update(self.task.model)
            self.reporter.count({"grad_norm": torch.tensor(norm)})
        else:
            self._count_failure()
        seconds = sum(self.task.audio_seconds(batch) for batch in batches)
        self.reporter.count_step(seconds * self.share.processes)

    def _count_failure(self) -> None:
        """A step without finite gradients has moved nothing; too many of them end the run."""
        self.state.failed_steps += 1
        self._failed_in_row += 1
        if self._failed_in_row >= self.settings.max_failed_steps:
            raise DivergedError(
                f"the gradients of {self._failed_in_row} steps in a row, up to step "
                f"{self.state.step}, were not finite; lower learning_rate, use precision bfloat16 "
                "or float32, and resume from the last checkpoint"
            )

    def _late(self) -> bool:
        limit = self.settings.max_minutes
        return limit is not None and time.monotonic() - self._start >= 60 * limit

    def _do_what_is_due(self) -> None:
        """Log, evaluate, sample and save when it is time."""
        settings, state = self.settings, self.state
        if state.step % settings.log_every == 0:
            self.reporter.log_step(
                state.step,
                learning_rate=self.learning_rate,
                loss_scale=state.loss_scale,
                failed_steps=float(state.failed_steps),
            )
        if _is_due(state.step, settings.evaluate_every):
            self.evaluate()
        if _is_due(state.step, settings.sample_every):
            self.make_samples()
        if _is_due(state.step, settings.save_every) and state.step < settings.steps:
            try:
                self.save()
            except SaveError as error:
                self.reporter.say(f"{error}; training goes on, earlier checkpoints are intact")
                self.reporter.write("save_failed", state.step, error=str(error))

    def _finish(self, *, interrupted: bool) -> TrainingResult:
        """Save where it stopped; after the last step also evaluate and write `final/`.

        A run that was killed in here goes on in here: its checkpoint is there, the rest is done
        again, to the same result.
        """
        checkpoint = self.folder.checkpoint(self.state.step)
        if self.state.step != self._resumed_at:
            checkpoint = self.save()
        final = None
        if not interrupted:
            if self._evaluated_step != self.state.step:
                self.evaluate()
            final = self.export(FINAL)
        skipped = each_once(gather_object(list(self.examples.skipped())))
        for line in skipped_lines(skipped):
            self.reporter.say(line)
        self.reporter.write(
            "end",
            self.state.step,
            interrupted=interrupted,
            skipped=[song._asdict() for song in skipped],
        )
        return TrainingResult(
            steps=self.state.step,
            interrupted=interrupted,
            final=final,
            checkpoint=checkpoint,
            evaluation=self.evaluation,
            best_step=self.state.best_step,
            skipped=skipped,
        )

    # --- what happens now and then ---

    def evaluate(self) -> CodecEvaluation | PriorEvaluation | None:
        """Evaluate the averaged weights on held-out examples; keeps the best model in `best/`."""
        batches = self._validation_batches(self.settings.evaluation_items, self.share)
        if batches is None:
            return None
        with self._as_exported():
            evaluation = self.task.evaluate(batches)
        state, self.evaluation = self.state, evaluation
        self._evaluated_step = state.step
        train_loss = self.reporter.log_evaluation(
            state.step, evaluation, self.task.warnings(evaluation)
        )
        self._keep_best(evaluation.loss)
        best = ""
        if state.best_loss is not None:
            best = f", best {state.best_loss:.4f} at {state.best_step}"
        training = f"{train_loss:.4f} in training, " if math.isfinite(train_loss) else ""
        self.reporter.say(
            f"step {state.step}: loss {training}{evaluation.loss:.4f} on held-out songs{best}"
        )
        return evaluation

    def _keep_best(self, loss: float) -> None:
        best = self.state.best_loss
        if not self.task.complete or not math.isfinite(loss) or (best is not None and loss >= best):
            return
        self.state.best_loss, self.state.best_step = loss, self.state.step
        try:
            self.export(BEST)
        except SaveError as error:
            self.reporter.say(f"{error}; training goes on")

    def make_samples(self) -> list[Path]:
        """Write something to listen to into `samples/step_N/`; the main process does it alone."""
        written: list[Path] = []
        if is_divided(self.task.model):
            self.reporter.say("no samples are made while processes hold parts of the weights")
            return written
        alone = Share(1)
        batches = self._validation_batches(self.settings.num_samples, alone)
        if batches is not None and self.accelerator.is_main_process:
            with self._as_exported():
                samples = self.task.samples(batches)
            try:
                written = self.folder.write_samples(self.state.step, samples)
            except OSError as error:
                self.reporter.say(f"could not write samples: {error}; training goes on")
            for name, audio in samples.audio.items():
                rate, step = samples.sampling_rate, self.state.step
                self.reporter.trackers.audio(name, audio, rate, step)
        self.accelerator.wait_for_everyone()
        return written

    def _validation_batches(self, count: int, share: Share) -> Iterator[Any] | None:
        if self.examples.validation is None or not count:
            return None
        batches = load_once(
            self.examples.validation,
            self.task.collate,
            num_examples=count,
            batch_size=share.part_size,
            process=share.process,
            processes=share.processes,
            num_workers=self.settings.num_workers,
        )
        return (self.task.to_device(batch, self.accelerator.device) for batch in batches)

    @contextlib.contextmanager
    def _as_exported(self) -> Iterator[None]:
        """Inside, the model is what will be exported: averaged weights.

        A codec runs in float32, as in `jukebox evaluate`: rounding changes codes.
        """
        precision = contextlib.nullcontext() if self.settings.task == "vqvae" else self._autocast()
        with self._averaged(), precision, uncompiled():
            yield

    def _averaged(self) -> contextlib.AbstractContextManager[object]:
        if self.averages is None:
            return contextlib.nullcontext()
        return self.averages.applied(self.task.model)

    def save(self) -> Path:
        """Write a checkpoint of the present step, and remove the oldest ones.

        Raises:
            SaveError: if the disk is full. Earlier checkpoints are intact.
        """
        target = self.folder.checkpoint(self.state.step)
        with self.folder.failing_together():
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
                rotate(self.folder.checkpoints, self.settings.keep_checkpoints)
        return target

    def export(self, name: str) -> Path:
        """Write the averaged weights as a model folder that `System.open` reads.

        Raises:
            SaveError: if the disk is full. What was there is intact.
        """
        with self._averaged():
            weights = whole_state(self.task.model)
        return self.folder.write_model(name, self._export, weights)

    def _export(self, folder: Path, state: Mapping[str, Tensor]) -> None:
        self.task.export(folder, state)
        adapter = folder / f"adapter_{self.task.component}"
        write_training_facts(
            adapter if adapter.is_dir() else folder / self.task.component,
            self.settings,
            steps=self.state.step,
            device=self.accelerator.device,
            learnt_from=self.examples.learnt_from,
            figures=self._figures(),
        )

    def _figures(self) -> tuple[Figure, ...]:
        """What the evaluation of these weights found, if there has been one."""
        if self.evaluation is None or self._evaluated_step != self.state.step:
            return ()
        return training_figures(
            self.task.component,
            self.settings,
            self.evaluation,
            sampling_rate=self.task.model.config.sampling_rate,
        )


def _is_due(step: int, every: int) -> bool:
    return bool(every) and step % every == 0
