"""A generation on disk: nothing is lost, and who stops it goes on with the same music.

A plan goes in and a folder grows: `session.json` with everything there is to know, the codes of
every take after every window, previews, and finished audio. What is computed is the work of `run`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import soundfile
import torch

from jukebox_hf.codes import Codes
from jukebox_hf.generation.chains import Chain, Seam
from jukebox_hf.generation.devices import check_backend, resolve_device
from jukebox_hf.generation.pipeline import run_notes
from jukebox_hf.generation.plan import Plan, TakePlan, make_plan
from jukebox_hf.generation.run import WindowReport
from jukebox_hf.generation.session_files import (
    FORMAT_VERSION,
    RECORD_NAME,
    is_session,
    load_chains,
    load_take,
    primer_path,
    read_record,
    save_take,
    write_record,
)
from jukebox_hf.generation.session_record import (
    differences,
    model_record,
    now,
    restore_measures,
    same_labels,
    take_record,
    version_record,
)
from jukebox_hf.generation.session_work import Crew, SessionWork
from jukebox_hf.generation.settings import GenerationSettings, Prompt
from jukebox_hf.generation.windows import Run
from jukebox_hf.hub.built_in import BUILT_IN
from jukebox_hf.hub.system import System
from jukebox_hf.locks import locked


class Session:
    """A folder with a generation in it.

    Make one with `create`, come back to it with `open`, and let it work with `run`. Only `run` and
    the methods that change something take the folder's lock.

    Attributes:
        folder: where it is.
        record: what `session.json` says, as plain values.
    """

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder = folder
        self.record = record

    @classmethod
    def create(
        cls,
        folder: str | Path,
        system: System,
        plan: Plan,
        *,
        device: str = "auto",
        parent: Mapping[str, Any] | None = None,
    ) -> "Session":
        """Begin a session in a new or empty folder.

        Args:
            folder: made if needed, with the folders above it.
            system, plan: what to do, and with which model.
            device: that it begins on; it may go on elsewhere.
            parent: what it goes on from, for the record: session, take, seconds.

        Raises:
            FileExistsError: if the folder holds anything.
            OSError: if it cannot be written.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise FileExistsError(
                f"{folder} is not empty and holds no session; choose a new folder"
            )
        components = ["vqvae", *(f"prior_{level.level}" for level in plan.levels)]
        session = cls(
            folder,
            {
                "format_version": FORMAT_VERSION,
                "created": now(),
                "complete": False,
                "model": model_record(system, components),
                "settings": plan.settings.to_record(),
                "device": str(resolve_device(device)),
                "versions": version_record(),
                "sampling_rate": plan.sampling_rate,
                "hop_lengths": list(plan.hop_lengths),
                "notes": list(run_notes(system, plan)),
                "parent": dict(parent) if parent else None,
                "takes": [take_record(take, plan) for take in plan.takes],
                "batch_sizes": {},
                "chains": [],
                "windows": [],
            },
        )
        for take in plan.takes:
            session._keep_primer(take, plan)
        session._write()
        return session

    @classmethod
    def open(cls, folder: str | Path) -> "Session":
        """The session in a folder.

        Raises `FileNotFoundError` if there is none, `ValueError` if its record is damaged.
        """
        folder = Path(folder)
        return cls(folder, read_record(folder))

    @staticmethod
    def is_at(folder: str | Path) -> bool:
        """Whether a folder holds a session."""
        return is_session(Path(folder))

    # --- what it is ---

    @property
    def settings(self) -> GenerationSettings:
        """How it samples."""
        return GenerationSettings.restore(self.record["settings"])

    @property
    def complete(self) -> bool:
        """Whether all is made and written, and the audio is still there."""
        return bool(self.record["complete"]) and len(self.audio_paths) == len(self.takes)

    @property
    def takes(self) -> list[dict[str, Any]]:
        """What the record says about each take."""
        return list(self.record["takes"])

    def take(self, number: int) -> dict[str, Any]:
        """What the record says about one take; `ValueError` if there is none of that number."""
        for take in self.record["takes"]:
            if take["number"] == number:
                return take  # type: ignore[no-any-return]
        numbers = ", ".join(str(take["number"]) for take in self.record["takes"])
        raise ValueError(f"{self.folder} has no take {number}; it has {numbers}")

    @property
    def audio_paths(self) -> list[Path]:
        """The finished audio files that are there."""
        paths = (self.folder / take["audio"] for take in self.record["takes"] if take["audio"])
        return [path for path in paths if path.is_file()]

    def codes(self, number: int) -> Codes | None:
        """A take's codes; None if there are none yet. `ValueError` if the file is damaged."""
        entry = self.take(number)
        levels = load_take(self.folder, number, entry["codes"] or {}, len(self.hop_lengths))
        found = {level: codes[None] for level, codes in levels.items() if len(codes)}
        if not found:
            return None
        return Codes(
            levels=found,
            hop_lengths=self.hop_lengths,
            sampling_rate=self.record["sampling_rate"],
            fingerprint=self.record["model"]["codebook_fingerprint"],
            origin={
                "source": f"{self.folder.name}, take {number}",
                "model": self.record["model"]["name"] or self.record["model"]["source"],
                "seed": str(self.record["settings"]["seed"]),
                "take": str(number),
            },
        )

    def chains(self, number: int, level: int) -> tuple[list[Chain], list[Seam]] | None:
        """The joined chains of a take at a level, and their seams; None if it has none."""
        for entry in self.record["chains"]:
            if (entry["take"], entry["level"]) == (number, level) and entry["seams"] is not None:
                codes = load_chains(self.folder, number, level, entry["codes"])
                runs = [Run(begin, end) for begin, end in entry["runs"]]
                chains = [
                    Chain(run, own) for run, own in zip(runs, codes, strict=True) if own is not None
                ]
                return chains, [Seam(seam["code"], seam["likeness"]) for seam in entry["seams"]]
        return None

    @property
    def hop_lengths(self) -> tuple[int, ...]:
        """Audio samples per code of every level, finest first."""
        return tuple(self.record["hop_lengths"])

    def seconds_made(self, take: Mapping[str, Any], level: int) -> float:
        """Seconds of audio that a take's codes of a level stand for."""
        entry = (take["codes"] or {}).get(str(level), {"count": 0})
        return float(entry["count"] * self.hop_lengths[level] / self.record["sampling_rate"])

    # --- going on ---

    def open_system(self, model: str | Path | None = None) -> System:
        """The model that it began with, also if that is at another place now (`model`).

        Raises `ValueError` if it is another model.
        """
        record = self.record["model"]
        source = record["source"]
        if source == BUILT_IN:
            system = System.open(model)
        else:
            at_hand = model is not None or Path(source).exists()
            system = System.open(model or source, revision=None if at_hand else record["revision"])
        found = model_record(system, list(record["components"]))
        for name, entry in record["components"].items():
            if found["components"][name] != entry:
                raise ValueError(
                    f"{self.folder} was begun with another {name} than {system.source} has now; "
                    f"give the model that it was begun with as --model{self._built_in_hint()}"
                )
        return system

    def _built_in_hint(self) -> str:
        """Where the model is that another version of the package came with."""
        version = self.record["versions"].get("jukebox-hf")
        if self.record["model"]["source"] != BUILT_IN or version is None:
            return ""
        return f", or install jukebox-hf {version}, which came with it"

    def restore_plan(self, system: System) -> Plan:
        """The plan that it was begun with.

        Raises `ValueError` if the model reads the same words differently now.
        """
        settings = self.settings
        given: dict[str, Any] = dict(settings.by_name())
        plan = make_plan(
            system,
            {take["number"]: Prompt.restore(take["prompt"]) for take in self.record["takes"]},
            seed=settings.seed,
            precision=settings.precision,
            backend=settings.backend,
            chain_starts=settings.chain_starts,
            to_level=settings.to_level,
            measured={take["number"]: restore_measures(take) for take in self.record["takes"]},
            **given,
        )
        for take in plan.takes:
            recorded = self.take(take.number)["labels"]
            if not same_labels(recorded, take_record(take, plan)["labels"]):
                raise ValueError(
                    f"{self.folder}: the model reads the labels of take {take.number} otherwise "
                    "than when the session began; its vocabularies have changed"
                )
        return replace(plan, takes=tuple(self._with_primer(take) for take in plan.takes))

    def check_same(self, system: System, plan: Plan) -> None:
        """Raise `ValueError` that names what differs if it was begun with another plan or model."""
        found = differences(self.record, plan)
        components = self.record["model"]["components"]
        if not found and model_record(system, list(components))["components"] != components:
            found = [f"the model is another one than {system.source}"]
        if found:
            more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
            raise ValueError(
                f"{self.folder} holds a session with other settings: {'; '.join(found[:3])}{more}; "
                "give the same settings to go on, or another folder to begin anew"
            )

    def run(
        self,
        system: System,
        plan: Plan | None = None,
        *,
        device: str = "auto",
        previews: bool = True,
        on_codes: Callable[[int, int, int], None] | None = None,
        crew: Crew | None = None,
    ) -> Iterator[WindowReport]:
        """Make what is missing; yields a report after each batch of windows, which is then on disk.

        Args:
            system: from `open_system`, or what it was created with.
            plan: from `restore_plan`, which is the default, or what it was created with.
            device: where to compute.
            previews: keep audio of what is under way in `preview/`.
            on_codes: see `Generation`.
            crew: which of several processes this is, None if it is alone. All of them call this;
                takes and chains are divided, and the music is the same.

        Raises:
            FolderInUseError: if another process works on it.
            OSError, ValueError: if files cannot be written, or are damaged.
        """
        crew = crew or Crew()
        with locked(self.folder) if crew.is_main else nullcontext():
            self.record = read_record(self.folder)  # as the last one left it
            place = resolve_device(device)
            yield from SessionWork(
                folder=self.folder,
                record=self.record,
                system=system,
                plan=_runnable(plan or self.restore_plan(system), place),
                device=place,
                previews=previews,
                on_codes=on_codes,
                crew=crew,
            ).run()

    # --- changes ---

    def _keep_primer(self, take: TakePlan, plan: Plan) -> None:
        """Keep what a take begins with, so that its source is not needed again."""
        entry = self.take(take.number)
        primer = take.prompt.primer
        if isinstance(primer, Codes):
            entry["codes"] = save_take(self.folder, take.number, primer)
        elif take.primer_audio is not None:
            path = primer_path(self.folder, take.number)
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, take.primer_audio[0].numpy(), plan.sampling_rate, subtype="FLOAT")
            entry["codes"] = None  # until it is encoded
        else:
            entry["codes"] = {}

    def _with_primer(self, take: TakePlan) -> TakePlan:
        """The take with the audio of its primer, where that has not been encoded yet."""
        if self.take(take.number)["codes"] is not None:
            return take
        audio, _ = soundfile.read(primer_path(self.folder, take.number), dtype="float32")
        return replace(take, primer_audio=torch.from_numpy(audio)[None])

    def _write(self) -> None:
        self.record["updated"] = now()
        write_record(self.folder, self.record)

    def keep(self, numbers: list[int]) -> None:
        """Mark these takes as the good ones; what goes on from here then takes only them."""
        for number in numbers:
            self.take(number)
        with locked(self.folder):
            self.record = read_record(self.folder)
            for take in self.record["takes"]:
                take["kept"] = take["number"] in numbers
            self._write()

    @property
    def kept(self) -> list[int]:
        """The takes marked as good; all of them if none is marked."""
        marked = [take["number"] for take in self.record["takes"] if take["kept"]]
        return marked or [take["number"] for take in self.record["takes"]]


def _runnable(plan: Plan, device: torch.device) -> Plan:
    """The plan on a device that may not have its backend: they all make the same codes."""
    try:
        check_backend(plan.settings.backend, device)
    except ValueError:
        return replace(plan, settings=replace(plan.settings, backend="eager"))
    return plan


def session_folders(folder: Path) -> list[Path]:
    """The sessions directly in a folder, or the folder itself if it is one; oldest first."""
    if is_session(folder):
        return [folder]
    found = [path.parent for path in folder.glob(f"*/{RECORD_NAME}")]
    return sorted(found, key=lambda path: (path / RECORD_NAME).stat().st_mtime)


def default_folder(seed: int, parent: Path) -> Path:
    """A new folder's name, from the time and the seed; a number is added where it exists."""
    stem = f"jukebox_{datetime.now():%Y%m%d_%H%M%S}_seed_{seed}"
    candidate = parent / stem
    number = 2
    while candidate.exists():
        candidate = parent / f"{stem}_{number}"
        number += 1
    return candidate
