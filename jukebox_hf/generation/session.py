"""A generation on disk: nothing is lost, and who stops it goes on with the same music.

A plan goes in and a folder grows: `session.json` with everything there is to know, the codes of
every take after every window, previews, and finished audio. What is computed is the work of `run`.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import soundfile
import torch

from jukebox_hf.audio import WriteReport, save_audio
from jukebox_hf.codes import Codes
from jukebox_hf.generation.alignment import load_alignment, save_alignment
from jukebox_hf.generation.alignment_files import save_alignment_files
from jukebox_hf.generation.chains import Chain, Seam
from jukebox_hf.generation.devices import resolve_device
from jukebox_hf.generation.lock import locked
from jukebox_hf.generation.pipeline import run_notes, take_file_name, take_tags
from jukebox_hf.generation.plan import Plan, TakePlan, make_plan
from jukebox_hf.generation.preview import Previews
from jukebox_hf.generation.run import Generation, WindowReport
from jukebox_hf.generation.session_files import (
    FORMAT_VERSION,
    RECORD_NAME,
    alignment_path,
    is_session,
    load_chains,
    load_take,
    read_record,
    remove_partial_files,
    save_chains,
    save_take,
    write_record,
)
from jukebox_hf.generation.session_record import (
    differences,
    model_record,
    restore_measures,
    take_record,
    version_record,
    window_record,
)
from jukebox_hf.generation.settings import GenerationSettings, Prompt
from jukebox_hf.generation.windows import Run
from jukebox_hf.hub.system import System

logger = logging.getLogger(__name__)

PRIMER_FOLDER = "primers"
AUDIO_FORMAT = "flac"


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
                "created": _now(),
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
            session._keep_primer(take, plan, system)
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
                chains = [Chain(run, own) for run, own in zip(runs, codes, strict=True)]
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
        revisions = {entry["revision"] for entry in record["components"].values()}
        source = record["source"]
        local = model is not None or Path(source).exists() or len(revisions) != 1
        system = System.open(model or source, revision=None if local else revisions.pop())
        found = model_record(system, list(record["components"]))
        for name, entry in record["components"].items():
            if found["components"][name] != entry:
                raise ValueError(
                    f"{self.folder} was begun with another {name} than {system.source} has now; "
                    "give the model that it was begun with as --model"
                )
        return system

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
            to_level=settings.to_level,
            measured={take["number"]: restore_measures(take) for take in self.record["takes"]},
            **given,
        )
        for take in plan.takes:
            if take_record(take, plan)["labels"] != self.take(take.number)["labels"]:
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
    ) -> Iterator[WindowReport]:
        """Make what is missing; yields a report after each batch of windows, which is then on disk.

        Args:
            system: from `open_system`, or what it was created with.
            plan: from `restore_plan`, which is the default, or what it was created with.
            device: where to compute.
            previews: keep audio of what is under way in `preview/`.
            on_codes: see `Generation`.

        Raises:
            FolderInUseError: if another process works on it.
            OSError, ValueError: if files cannot be written, or are damaged.
        """
        with locked(self.folder):
            self.record = read_record(self.folder)  # as the last one left it
            remove_partial_files(self.folder)
            plan = plan or self.restore_plan(system)
            generation = self._restore_generation(system, plan, resolve_device(device), on_codes)
            generation.prepare()
            self._save_primed(generation)
            listened = Previews(self.folder, generation) if previews else None
            for report in generation:
                self._save(generation, report)
                if listened is not None:
                    listened.update(now=report.level_done)
                yield report
            yield from self._finish(generation, listened)

    def _restore_generation(
        self,
        system: System,
        plan: Plan,
        device: torch.device,
        on_codes: Callable[[int, int, int], None] | None,
    ) -> Generation:
        chains, seams = {}, {}
        for entry in self.record["chains"]:
            key = (entry["take"], entry["level"])
            chains[key] = load_chains(self.folder, *key, entry["codes"])
            if entry["seams"] is not None:
                seams[key] = [Seam(seam["code"], seam["likeness"]) for seam in entry["seams"]]
        return Generation(
            system,
            plan,
            device=device,
            codes={
                take["number"]: load_take(
                    self.folder, take["number"], take["codes"], plan.num_levels
                )
                for take in self.record["takes"]
                if take["codes"] is not None
            },
            chains=chains,
            seams=seams,
            batch_sizes={int(level): n for level, n in self.record["batch_sizes"].items()},
            on_codes=on_codes,
        )

    # --- writing ---

    def _keep_primer(self, take: TakePlan, plan: Plan, system: System) -> None:
        """Keep what a take begins with, so that its source is not needed again."""
        entry = self.take(take.number)
        primer = take.prompt.primer
        if isinstance(primer, Codes):
            entry["codes"] = save_take(self.folder, take.number, primer)
        elif take.primer_audio is not None:
            path = self._primer_path(take.number)
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, take.primer_audio[0].numpy(), plan.sampling_rate, subtype="FLOAT")
            entry["codes"] = None  # until it is encoded
        else:
            entry["codes"] = {}

    def _primer_path(self, number: int) -> Path:
        return self.folder / PRIMER_FOLDER / f"{number:02d}.wav"

    def _with_primer(self, take: TakePlan) -> TakePlan:
        """The take with the audio of its primer, where that has not been encoded yet."""
        if self.take(take.number)["codes"] is not None:
            return take
        audio, _ = soundfile.read(self._primer_path(take.number), dtype="float32")
        return replace(take, primer_audio=torch.from_numpy(audio)[None])

    def _save_primed(self, generation: Generation) -> None:
        """Write the codes of primers as soon as they are known; their audio is not needed then."""
        fresh = [take for take in self.record["takes"] if take["codes"] is None]
        for take in fresh:
            take["codes"] = self._save_codes(generation, take["number"])
        if fresh:
            self._write()
        for take in self.record["takes"]:
            self._primer_path(take["number"]).unlink(missing_ok=True)
        folder = self.folder / PRIMER_FOLDER
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    def _save(self, generation: Generation, report: WindowReport) -> None:
        """Put a batch of windows on disk: first codes, then the record that knows of them."""
        takes = report.takes or [take.number for take in generation.plan.takes_at(report.level)]
        if report.level_done:
            takes = [take.number for take in generation.plan.takes_at(report.level)]
        for number in takes:
            if (number, report.level) in generation.chains:
                self._save_chains(generation, number, report.level)
            self.take(number)["codes"] = self._save_codes(generation, number)
        self.record["batch_sizes"] = {str(k): v for k, v in generation.batch_sizes.items()}
        if report.windows:
            self.record["windows"].append(window_record(report))
        for number, alignment in generation.alignments.items():
            path = alignment_path(self.folder, number)
            if report.level_done and not path.exists():
                save_alignment(path, alignment)
        self._write()

    def _save_codes(self, generation: Generation, number: int) -> dict[str, Any]:
        if not any(len(codes) for codes in generation.codes[number].values()):
            return {}
        return save_take(self.folder, number, generation.take_codes(number))

    def _save_chains(self, generation: Generation, number: int, level: int) -> None:
        key = (number, level)
        rows = generation.chains[key]
        seams = generation.seams.get(key)
        seconds = generation.plan.hop_lengths[level] / generation.plan.sampling_rate
        entry = {
            "take": number,
            "level": level,
            "runs": [[row.run.begin, row.run.end] for row in rows],
            "codes": save_chains(
                self.folder,
                number,
                level,
                [row.codes[: row.done] for row in rows],
                generation.take_codes(number)
                if any(len(codes) for codes in generation.codes[number].values())
                else Codes(
                    {level: torch.zeros(1, 1, dtype=torch.int64)},
                    generation.plan.hop_lengths,
                    generation.plan.sampling_rate,
                ),
            ),
            "seams": None
            if seams is None
            else [
                {
                    "code": seam.code,
                    "seconds": round(seam.code * seconds, 4),
                    "likeness": round(seam.likeness, 4),
                }
                for seam in seams
            ],
        }
        others = [one for one in self.record["chains"] if (one["take"], one["level"]) != key]
        self.record["chains"] = [*others, entry]

    def _finish(self, generation: Generation, previews: Previews | None) -> Iterator[WindowReport]:
        """Write the finished audio of every take that has none."""
        for take in generation.plan.takes:
            entry = self.take(take.number)
            if entry["audio"] is None or not (self.folder / entry["audio"]).is_file():
                report = self._write_audio(generation, take)
                entry["audio"] = report.path.name
                entry["peak"] = round(report.peak, 4)
                entry["clipped_samples"] = report.clipped_samples
                entry["alignment"] = self._write_alignment(generation, take, report.path)
                self._write()
        if previews is not None:
            previews.remove()
        self.record["complete"] = True
        self._write()
        yield from ()

    def _write_audio(self, generation: Generation, take: TakePlan) -> WriteReport:
        level = generation.finest_level(take.number)
        assert level is not None, "a finished generation has at least one complete level"
        name = take_file_name(take.number, take.prompt, generation.plan.settings.seed)
        if level:
            name += f"_level_{level}"
        return save_audio(
            self.folder / f"{name}.{AUDIO_FORMAT}",
            generation.decode(take.number, level),
            generation.plan.sampling_rate,
            tags=take_tags(generation.system, generation.plan, take),
            overwrite=True,  # of a process that was stopped before it could record the file
        )

    def _write_alignment(self, generation: Generation, take: TakePlan, audio: Path) -> list[str]:
        """Write when the words are sung, where that is known; returns the files' names."""
        path = alignment_path(self.folder, take.number)
        alignment = load_alignment(path) if path.exists() else generation.align(take.number)
        if alignment is None or not bool(alignment.weights.any()):
            return []
        words = [word for word in (take.prompt.artist, take.prompt.genre) if word]
        title = ", ".join([f"Take {take.number}", *words])
        notes = f"Made by {generation.system.manifest.name or 'jukebox_hf'}"
        files = save_alignment_files(audio, alignment, title=title, notes=notes)
        path.unlink(missing_ok=True)
        return [file.name for file in files]

    def _write(self) -> None:
        self.record["updated"] = _now()
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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


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
