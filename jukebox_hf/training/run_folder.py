"""The folder of a run: settings, log, checkpoints, samples, `best/` and `final/`.

    settings.yaml   checkpoints/step_00001000/   samples/step_00001000/   best/
    log.jsonl       checkpoints/step_00002000/                            final/

Of several processes all take part, since they may hold parts of what is written; the main process
writes. If it cannot, all of them hear of it.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from accelerate import Accelerator
from torch import Tensor

from jukebox_hf.audio import save_audio
from jukebox_hf.files import safe_file_name
from jukebox_hf.hub.manifest import FINAL
from jukebox_hf.launching import PeerError
from jukebox_hf.locks import RUN_LOCK, FolderInUseError, locked
from jukebox_hf.training.checkpoints import (
    SaveError,
    checkpoint_name,
    durable_folder,
    find_checkpoints,
    remove_leftovers,
)
from jukebox_hf.training.reports import LOG_NAME, read_log
from jukebox_hf.training.settings import TrainingSettings
from jukebox_hf.training.stepping import on_any_process
from jukebox_hf.training.tasks import AudibleSamples

SETTINGS_NAME = "settings.yaml"
CHECKPOINTS, SAMPLES, BEST = "checkpoints", "samples", "best"


class OtherProcessError(SaveError, PeerError):
    """Another process of this run could not go on; the message of that one says why."""


class FinishedRun(NamedTuple):
    """A run that has nothing left to do."""

    steps: int
    final: Path
    skipped: list[dict[str, str]]  # songs, each with the reason why it was not used


def find_finished(settings: TrainingSettings) -> FinishedRun | None:
    """The run in `settings.output`, if it has done all its steps and written `final/`.

    The log says so in its last line. Without that line, as after a kill, it is not finished: what
    is missing is done when the run is resumed.
    """
    path = Path(settings.output or "")
    checkpoints, final = find_checkpoints(path / CHECKPOINTS), path / FINAL
    if not checkpoints or not final.is_dir() or not (path / LOG_NAME).is_file():
        return None
    ends = read_log(path, "end")
    steps = settings.steps
    is_last = checkpoints[-1].name == checkpoint_name(steps)
    if not is_last or not ends or ends[-1].get("interrupted") or ends[-1].get("step") != steps:
        return None
    return FinishedRun(steps, final, ends[-1].get("skipped", []))


class RunFolder:
    """Where things are in a run's folder, and how they get there."""

    def __init__(self, path: Path, accelerator: Accelerator) -> None:
        self.path = path
        self.checkpoints = path / CHECKPOINTS
        self._accelerator = accelerator

    def find_latest(self, *, resume: bool) -> Path | None:
        """The latest checkpoint of a run that is resumed.

        None for a new run, and for one that was killed before its first checkpoint.

        Raises:
            ValueError: for a new run where there is one, or nothing to resume.
        """
        found = find_checkpoints(self.checkpoints)
        if not resume and found:
            raise ValueError(
                f"{self.path} holds a run with checkpoints up to {found[-1].name}; go on with it "
                "(resume), or choose another output"
            )
        if resume and not found and not (self.path / SETTINGS_NAME).is_file():
            raise ValueError(f"{self.path} holds no run to resume")
        return found[-1] if found else None

    def saved_settings(self) -> TrainingSettings:
        """The settings that the run had when it was last started."""
        return TrainingSettings.load(self.path / SETTINGS_NAME)

    @contextlib.contextmanager
    def held(self, latest: Path | None, *, resume: bool) -> Iterator[None]:
        """Hold the folder's lock; `latest` is what `find_latest` has found, and must still be.

        Raises:
            FolderInUseError: if another run works in it, or has done so meanwhile.
            OSError: if it cannot be written.
        """
        with contextlib.ExitStack() as stack:
            with self.failing_together():
                if self._accelerator.is_main_process:
                    self.path.mkdir(parents=True, exist_ok=True)
                    stack.enter_context(locked(self.path, RUN_LOCK))
                    if self.find_latest(resume=resume) != latest:
                        raise FolderInUseError(
                            f"another process has gone on with the run in {self.path}; resume it"
                        )
            yield

    def prepare(self, settings: TrainingSettings) -> None:
        """Tidy up what a killed process left, and write the settings."""
        if self._accelerator.is_main_process:
            for folder in (self.path, self.checkpoints):
                remove_leftovers(folder)
            settings.save(self.path / SETTINGS_NAME)
        self._accelerator.wait_for_everyone()

    def checkpoint(self, step: int) -> Path:
        """Where the checkpoint of a step belongs."""
        return self.checkpoints / checkpoint_name(step)

    def write_model(
        self,
        name: str,
        export: Callable[[Path, Mapping[str, Tensor]], None],
        state: dict[str, Tensor],
    ) -> Path:
        """Write a model folder such as `final`, whole or not at all.

        Raises:
            SaveError: if the disk is full. What was there is intact.
        """
        target = self.path / name
        with self.failing_together():
            if self._accelerator.is_main_process:
                with durable_folder(target, usual_permissions=False) as temporary:
                    export(temporary, state)
        return target

    def write_samples(self, step: int, samples: AudibleSamples) -> list[Path]:
        """Write audio files, named as the samples are. Raises `OSError` if that is impossible."""
        folder = self.path / SAMPLES / checkpoint_name(step)
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for name, audio in samples.audio.items():
            path = folder / f"{safe_file_name(name)}.wav"
            save_audio(path, audio, samples.sampling_rate, overwrite=True)
            written.append(path)
        return written

    @contextlib.contextmanager
    def failing_together(self) -> Iterator[None]:
        """If one process fails inside, raise its error there and `OtherProcessError` elsewhere."""
        error: OSError | ValueError | None = None
        try:
            yield
        except (OSError, ValueError) as caught:
            error = caught
        (failed,) = on_any_process(self._accelerator, error is not None)
        if failed:
            raise error or OtherProcessError("another process could not go on, and says why")
