"""What a run says about itself: a log file always, a progress bar, and trackers where asked for.

Numbers by name go in. One line of JSON per event goes to `log.jsonl`; resuming cuts the log back to
the step that the checkpoint is of, so that every step stands there once.
"""

import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from jukebox_hf.training.evaluation import CodecEvaluation, PriorEvaluation
from jukebox_hf.training.settings import TrainingSettings
from jukebox_hf.training.training_cost import describe_time

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger(__name__)
LOG_NAME = "log.jsonl"
TIMED_STEPS = 5  # after a first one, from which the rest of the time follows


class RunLog:
    """Appends events to `log.jsonl` in a folder. A disk that is full stops the log, not the run."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG_NAME
        self._complained = False

    def cut_back(self, step: int) -> None:
        """Forget what happened after `step`."""
        if self.path.is_file():
            kept = [line for line in self._lines() if line[1].get("step", 0) <= step]
            self.path.write_text("".join(f"{text}\n" for text, _ in kept), encoding="utf-8")

    def holds(self, kind: str, step: int) -> bool:
        """Whether there is an event of a kind at a step."""
        if not self.path.is_file():
            return False
        events = (event for _, event in self._lines())
        return any(event.get("event") == kind and event.get("step") == step for event in events)

    def _lines(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for text in self.path.read_text(encoding="utf-8").splitlines():
            try:
                event = json.loads(text)
            except ValueError:
                continue  # cut off when the process was killed
            yield text, event

    def write(self, kind: str, step: int, **content: Any) -> None:
        """Append one event; what is not finite is written as text."""
        event = {"event": kind, "step": step, **_plain(content)}
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event, ensure_ascii=False) + "\n")
        except OSError as error:
            if not self._complained:
                logger.warning("could not write %s: %s", self.path, error)
            self._complained = True


def read_log(folder: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The events of a run, or those of one kind."""
    events = [event for _, event in RunLog(folder)._lines()]
    return [event for event in events if kind is None or event["event"] == kind]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


class RunningMeans:
    """Means of scalars since the last time they were read; they stay on their device until then."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, metrics: Mapping[str, Tensor]) -> None:
        """Count one value of each."""
        for name, value in metrics.items():
            value = value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def read(self) -> dict[str, float]:
        """The means, and start anew."""
        names = list(self._sums)
        if not names:
            return {}
        sums = torch.stack([self._sums[name].reshape(()) for name in names]).tolist()
        means = {name: total / self._counts[name] for name, total in zip(names, sums, strict=True)}
        self._sums, self._counts = {}, {}
        return means


class Progress:
    """A bar on stderr with loss, steps and audio per second; nothing where that is no terminal."""

    def __init__(self, total: int, done: int, *, visible: bool) -> None:
        from tqdm import tqdm

        # tqdm's own None: off where stderr is no terminal.
        self._bar = tqdm(
            total=total, initial=done, disable=None if visible else True, unit="step", leave=False
        )
        self._start = time.monotonic()
        self._seconds = 0.0

    def advance(self, audio_seconds: float) -> None:
        """One more step."""
        self._seconds += audio_seconds
        self._bar.update()

    def show(self, loss: float) -> None:
        """Show the loss, and the audio per second so far."""
        elapsed = max(time.monotonic() - self._start, 1e-9)
        self._bar.set_postfix_str(f"loss {loss:.4f}, {self._seconds / elapsed:.1f} s audio/s")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, other text can be written to the terminal."""
        self._bar.clear()
        yield
        self._bar.refresh()

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()


class Trackers:
    """TensorBoard, trackio or wandb, through Accelerate; nothing without any.

    What they print goes to stderr: stdout is for results. Runs of one project are told by the name
    of their folder, and in wandb found by tags: the task, the level, the preset, and the model
    that the run started from or whose codes it learns.
    """

    def __init__(self, accelerator: "Accelerator", names: tuple[str, ...]) -> None:
        self._accelerator = accelerator
        self._names = names

    def start(self, settings: Mapping[str, Any]) -> None:
        """Open them; settings become their table of hyper-parameters."""
        if self._names:
            flat = {name: _scalar(value) for name, value in settings.items()}
            name = Path(str(settings.get("output", "."))).resolve().name
            options: dict[str, dict[str, Any]] = {
                "wandb": {"name": name, "tags": run_tags(settings)},
                "trackio": {"name": name},
            }
            own = {each: options[each] for each in self._names if each in options}
            with redirect_stdout(sys.stderr):
                self._accelerator.init_trackers("jukebox", config=flat, init_kwargs=own)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Numbers by name."""
        if self._names:
            with redirect_stdout(sys.stderr):
                self._accelerator.log(dict(values), step=step)

    def audio(self, name: str, audio: Tensor, sampling_rate: int, step: int) -> None:
        """Sound (channels, samples), in TensorBoard."""
        writer = self._tensorboard()
        if writer is not None:
            writer.add_audio(name, audio.mean(dim=0).clamp(-1, 1), step, sample_rate=sampling_rate)

    def histogram(self, name: str, counts: Tensor, step: int) -> None:
        """How often each code was used (codebook_size,), most used first, in TensorBoard."""
        writer = self._tensorboard()
        if writer is not None:
            writer.add_histogram(f"{name}/counts", counts, step)
            writer.add_image(f"{name}/usage", usage_image(counts), step)

    def _tensorboard(self) -> Any:
        if "tensorboard" not in self._names or not self._accelerator.is_main_process:
            return None
        return self._accelerator.get_tracker("tensorboard", unwrap=True)

    def close(self) -> None:
        """Write out what they hold."""
        if self._names:
            with redirect_stdout(sys.stderr):
                self._accelerator.end_training()


class Reporter:
    """Everything that a run says: its log, the bar, the trackers, and notes for the user.

    All processes report; the main process alone writes and speaks.
    """

    def __init__(
        self,
        settings: TrainingSettings,
        folder: Path,
        accelerator: "Accelerator",
        *,
        visible: bool,
        say: Callable[[str], None] | None,
    ) -> None:
        self.log = RunLog(folder)
        self.trackers = Trackers(accelerator, tuple(settings.report_to))
        self._settings = settings
        self._accelerator = accelerator
        self._visible = visible and accelerator.is_main_process
        self._say = say or logger.info
        self._means, self._train_loss = RunningMeans(), RunningMeans()
        self._progress: Progress | None = None
        self._step, self._seconds, self._since = 0, 0.0, 0.0
        self._started_at, self._counted, self._timed_since = 0, 0, 0.0

    def start(self, step: int) -> None:
        """Begin after so many steps; the folder is there by now."""
        if self._accelerator.is_main_process:
            self.log.cut_back(step)
        self.trackers.start(self._settings.to_dict())
        self._progress = Progress(self._settings.steps, step, visible=self._visible)
        self._step, self._since = step, time.monotonic()
        self._started_at, self._counted = step, 0

    def count(self, metrics: Mapping[str, Tensor]) -> None:
        """Numbers of one part of a step, to be averaged until they are logged."""
        self._means.add(metrics)
        if "loss" in metrics:
            self._train_loss.add({"loss": metrics["loss"]})

    def count_step(self, audio_seconds: float) -> None:
        """One more step, which saw so much audio over all processes."""
        self._seconds += audio_seconds
        if self._progress is not None:
            self._progress.advance(audio_seconds)
        self._counted += 1
        if self._counted == 1:
            self._timed_since = time.monotonic()
        elif self._counted == 1 + TIMED_STEPS:
            self._say_how_long()

    def _say_how_long(self) -> None:
        left = self._settings.steps - self._started_at - self._counted
        if left > TIMED_STEPS:
            seconds = (time.monotonic() - self._timed_since) / TIMED_STEPS
            self.say(describe_time(seconds, left))

    def log_step(self, step: int, **more: float) -> None:
        """Log means and speed since the last time, and `more`."""
        now = time.monotonic()
        elapsed = max(now - self._since, 1e-9)
        means = self._mean_over_processes(self._means.read())
        loss = means.get("loss", math.nan)
        speed = {
            "steps_per_second": (step - self._step) / elapsed,
            "audio_seconds_per_second": self._seconds / elapsed,
        }
        self._step, self._seconds, self._since = step, 0.0, now
        found = {**means, **more, **speed}
        if self._progress is not None:
            self._progress.show(loss)
        self.write("train", step, **found)
        self.trackers.scalars({f"train/{name}": value for name, value in found.items()}, step)

    def log_evaluation(
        self, step: int, evaluation: CodecEvaluation | PriorEvaluation, warnings: list[str]
    ) -> float:
        """Log an evaluation and what is wrong; returns the mean training loss since the last one.

        It is not a number if there was no step in between.
        """
        scalars = evaluation.scalars()
        means = self._mean_over_processes(self._train_loss.read())
        train_loss = means.get("loss", math.nan)
        if not self.log.holds("evaluation", step):  # repeated where a run was killed right after it
            self.write("evaluation", step, **scalars, train_loss=train_loss, warnings=warnings)
        if self._accelerator.is_main_process:
            for warning in warnings:
                logger.warning(warning)
        self.trackers.scalars({f"validation/{name}": v for name, v in scalars.items()}, step)
        if isinstance(evaluation, CodecEvaluation):
            for level, counts in enumerate(evaluation.code_counts):
                self.trackers.histogram(f"level_{level}/codes", counts, step)
        return train_loss

    def write(self, kind: str, step: int, **content: Any) -> None:
        """An event for the log."""
        if self._accelerator.is_main_process:
            self.log.write(kind, step, **content)

    def say(self, text: str) -> None:
        """A note for the user."""
        if self._accelerator.is_main_process:
            with self._progress.paused() if self._progress is not None else nullcontext():
                self._say(text)

    def close(self) -> None:
        """Remove the bar, and let trackers write out what they hold."""
        if self._progress is not None:
            self._progress.close()
            self.trackers.close()

    def _mean_over_processes(self, means: dict[str, float]) -> dict[str, float]:
        if self._accelerator.num_processes == 1 or not means:
            return means
        values = torch.tensor(list(means.values()), device=self._accelerator.device)
        mean = self._accelerator.reduce(values, reduction="mean").tolist()
        return dict(zip(means, mean, strict=True))


def run_tags(settings: Mapping[str, Any]) -> list[str]:
    """What a run is found by among others; of a folder on this machine only its last name."""
    level = settings.get("level")
    places = [settings.get(name) for name in ("start_from", "codec")]
    found = [
        settings.get("task"),
        None if level is None else f"level {level}",
        *(settings.get("tags") or ()),
        dict(settings.get("model") or {}).get("preset"),
        *(Path(place).name if place and Path(place).exists() else place for place in places),
    ]
    # wandb takes no longer ones, and each once
    return list(dict.fromkeys(str(tag)[:64] for tag in found if tag is not None))


def usage_image(counts: Tensor, *, width: int = 512, height: int = 128) -> Tensor:
    """A picture (1, height, width) in [0, 1] of code counts, sorted, on a logarithmic scale."""
    ordered = counts.float().cpu().sort(descending=True).values
    columns = torch.nn.functional.interpolate(ordered[None, None], size=width, mode="nearest")[0, 0]
    heights = (1 + columns).log() / (1 + columns.max()).log().clamp_min(1e-6)
    rows = torch.linspace(1, 0, height)
    return (rows[:, None] < heights[None, :]).float()[None]


def _scalar(value: Any) -> Any:
    return value if isinstance(value, int | float | str | bool) else json.dumps(value, default=str)
