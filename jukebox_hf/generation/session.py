"""A generation on disk: nothing is lost, and who stops it goes on with the same music.

A plan goes in and a folder grows: `session.json` with everything there is to know, the codes of
every take after every window, previews, and finished audio. What is computed is the work of
`making`.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import soundfile
import torch
from torch import Tensor

from jukebox_hf.codes import Codes
from jukebox_hf.files import PARTIAL_SUFFIX, find_here, write_atomically
from jukebox_hf.generation.alignment_files import save_words
from jukebox_hf.generation.chains import Chain
from jukebox_hf.generation.devices import check_backend, resolve_device
from jukebox_hf.generation.holes import Hole
from jukebox_hf.generation.joined import Joined, JoinedCodes, combine
from jukebox_hf.generation.making import WindowReport
from jukebox_hf.generation.naming import run_notes
from jukebox_hf.generation.plan import Plan, TakePlan, make_plan
from jukebox_hf.generation.preview import INTERVAL_SECONDS
from jukebox_hf.generation.recording import (
    differences,
    model_record,
    restore_measures,
    same_labels,
    take_record,
    version_record,
)
from jukebox_hf.generation.session_files import (
    CODES_FOLDER,
    PRIMER_FOLDER,
    load_chains,
    load_given,
    load_hole,
    load_take,
    primer_path,
    remove_partial_files,
    save_given,
    save_hole,
    save_take,
    seams_of,
    words_path,
)
from jukebox_hf.generation.session_overview import SessionOverview, check_plain, now, place_of
from jukebox_hf.generation.session_record import (
    ParentRecord,
    SessionRecord,
    new_id,
)
from jukebox_hf.generation.session_work import Crew, SessionWork
from jukebox_hf.generation.settings import Prompt
from jukebox_hf.generation.shelf import PriorShelf
from jukebox_hf.generation.weights import begun_products, samples_bound
from jukebox_hf.generation.windows import Run
from jukebox_hf.hub.built_in import BUILT_IN
from jukebox_hf.hub.manifest import prior_level
from jukebox_hf.hub.system import System
from jukebox_hf.locks import SESSION_LOCK, locked


class Session(SessionOverview):
    """A folder with a generation in it.

    Make one with `create`, come back to it with `open`, and let it work with `run`. Only `run` and
    the methods that change something take the folder's lock.

    Attributes:
        folder: where it is.
        record: what `session.json` says.
        plan: what it was created with, or `restore_plan` has made of the record; else None.
    """

    def __init__(self, folder: Path, record: SessionRecord, plan: Plan | None = None) -> None:
        super().__init__(folder, record)
        self.plan = plan

    @classmethod
    def create(
        cls,
        folder: str | os.PathLike[str],
        plan: Plan,
        *,
        device: str | torch.device = "auto",
        parent: ParentRecord | None = None,
    ) -> "Session":
        """Begin a session in a new or empty folder, or where an earlier beginning was killed.

        Args:
            folder: made if needed, with the folders above it.
            plan: what to do, and with which model.
            device: that it begins on; it may go on elsewhere.
            parent: what it goes on from, for the record.

        Raises:
            FileExistsError: if the folder holds anything else.
            FolderInUseError: if another process begins one there.
            OSError: if it cannot be written.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        check_new(folder)
        with locked(folder):
            check_new(folder)  # another process may have been quicker
            _clear_beginning(folder)
            components = ["vqvae", *(f"prior_{level.level}" for level in plan.levels)]
            record = SessionRecord(
                id=new_id(),
                created=now(),
                complete=False,
                model=model_record(plan.system, components, folder),
                settings=plan.settings,
                device=str(resolve_device(device)),
                versions=version_record(),
                sampling_rate=plan.sampling_rate,
                hop_lengths=plan.hop_lengths,
                notes=list(run_notes(plan)),
                parent=parent,
                takes=[take_record(take, plan) for take in plan.takes],
                batch_sizes={},
                float32_products=begun_products(
                    plan.settings.precision, plan.settings.backend, resolve_device(device)
                ),
                float32_between=samples_bound(
                    plan.settings.precision, plan.settings.backend, resolve_device(device)
                ),
                chains=[],
                windows=[],
            )
            session = cls(folder, record, plan)
            for take in plan.takes:
                session._keep_primer(take, plan)
            if plan.takes[0].hole is not None:
                record.hole = save_hole(folder, plan.takes[0].hole)
            session._write()
        return session

    def codes(self, number: int) -> Codes | None:
        """A take's codes; None if there are none yet. `ValueError` if the file is damaged."""
        entry = self.take(number)
        levels = load_take(self.folder, number, entry.codes or {}, len(self.hop_lengths))
        found = {level: codes[None] for level, codes in levels.items() if len(codes)}
        if not found:
            return None
        return Codes(
            levels=found,
            hop_lengths=self.hop_lengths,
            sampling_rate=self.record.sampling_rate,
            fingerprint=self.record.model.codebook_fingerprint,
            origin={
                "source": f"{self.folder.name}, take {number}",
                "model": self.model_name,
                "seed": str(self.settings.seed),
                "take": str(number),
            },
        )

    def joined_codes(self, number: int) -> JoinedCodes | None:
        """A take's codes as in `codes`, with the chains that its levels are made of."""
        codes = self.codes(number)
        if codes is None:
            return None
        try:
            joined = {level: self._joined(number, level, codes) for level in codes.levels}
        except ValueError as error:
            raise ValueError(f"{self.folder}, take {number}: {error}") from None
        return JoinedCodes(
            **vars(codes), joined={level: own for level, own in joined.items() if own.seams}
        )

    def _joined(self, number: int, level: int, codes: Codes) -> Joined:
        own, given = None, None
        all_codes = codes.levels[level][0]
        for entry in self.record.chains:
            if (entry.take, entry.level) == (number, level) and entry.seams is not None:
                loaded = load_chains(self.folder, number, level, entry.codes)
                chains = [
                    Chain(Run(*run), found)
                    for run, found in zip(entry.runs, loaded, strict=True)
                    if found is not None
                ]
                own = (chains, seams_of(entry))
        for entry in self.record.given:
            if (entry.take, entry.level) == (number, level):
                given = load_given(self.folder, entry, all_codes)
        for entry in self.record.filled:
            if (entry.take, entry.level) == (number, level):
                given = load_given(self.folder, entry, all_codes, "filled")
        return combine(all_codes, given, own)

    # --- going on ---

    def open_system(self, model: str | Path | None = None) -> System:
        """The model that it began with, also if that is at another place now (`model`).

        Raises `ValueError` if it is another model.
        """
        record = self.record.model
        source = place_of(self.folder, record.source)
        if record.source == BUILT_IN:
            system = System.open(model)
        else:
            at_hand = model is not None or find_here(source) is not None
            if not at_hand and self._is_local:
                raise FileNotFoundError(
                    f"{self.folder}: its model {self.model_name} is not where it was; give the "
                    "place where it is now as --model"
                )
            system = System.open(model or source, revision=None if at_hand else record.revision)
        for name, place in record.adapters.items():
            system.attach_adapter(place_of(self.folder, place), level=prior_level(name))
        found = model_record(system, list(record.components), self.folder)
        for name, entry in record.components.items():
            if found.components[name] != entry:
                raise ValueError(
                    f"{self.folder} was begun with another {name} than {system.source} has now; "
                    f"give the model that it was begun with as --model{self._built_in_hint()}"
                )
        return system

    def _built_in_hint(self) -> str:
        """Where the model is that another version of the package came with."""
        version = self.record.versions.get("jukebox-hf")
        if self.record.model.source != BUILT_IN or version is None:
            return ""
        return f", or install jukebox-hf {version}, which came with it"

    def restore_plan(self, system: System) -> Plan:
        """The plan that it was begun with.

        Raises `ValueError` if the model reads the same words differently now.
        """
        plan = self._plan_again(system)
        other = self._take_of_other_labels(plan)
        if other is not None:  # plain lyrics with times in them, which earlier versions sang
            plan = self._plan_again(system, verbatim=True)
            if self._take_of_other_labels(plan) is not None:
                raise ValueError(
                    f"{self.folder}: the model reads the labels of take {other} otherwise than "
                    "when the session began; its vocabularies have changed"
                )
        self.plan = replace(plan, takes=tuple(self._with_primer(take) for take in plan.takes))
        return self.plan

    def _plan_again(self, system: System, *, verbatim: bool = False) -> Plan:
        settings = self.settings
        given: dict[str, Any] = dict(settings.by_name())
        return make_plan(
            system,
            {take.number: Prompt.restore(take.prompt, verbatim=verbatim) for take in self.takes},
            seed=settings.seed,
            precision=settings.precision,
            backend=settings.backend,
            chain_starts=settings.chain_starts,
            audio_format=settings.audio_format,
            to_level=settings.to_level,
            sampled=bool(settings.levels),
            hole=self._hole(),
            measured={take.number: restore_measures(take) for take in self.takes},
            **given,
        )

    def _take_of_other_labels(self, plan: Plan) -> int | None:
        """The first take whose labels a plan reads otherwise than the record has them."""
        for take in plan.takes:
            recorded = self.take(take.number).labels
            if not same_labels(recorded, take_record(take, plan).labels):
                return take.number
        return None

    def _hole(self) -> Hole | None:
        """What is made of every take, where that is not all after what they begin with."""
        record = self.record
        if record.hole is None:
            return None
        try:
            return load_hole(self.folder, record.hole, record.hop_lengths, record.sampling_rate)
        except ValueError as error:
            raise ValueError(f"{self.folder}, the piece with a hole: {error}") from None

    def check_same(self, plan: Plan, parent: ParentRecord | None = None) -> None:
        """Raise `ValueError` that names what differs if it was begun with another plan or model.

        `parent`: what the plan goes on from, where the details of that count too.
        """
        found = differences(self.record, plan, parent)
        components = self.record.model.components
        ours = model_record(plan.system, list(components), self.folder).components
        if not found and ours != components:
            found = [f"the model is another one than {plan.system.source}"]
        if found:
            more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
            raise ValueError(
                f"{self.folder} holds a session with other settings: {'; '.join(found[:3])}{more}; "
                "give the same settings to go on, or another folder to begin anew"
            )

    def run(
        self,
        model: System | None = None,
        *,
        device: str | torch.device = "auto",
        previews: bool = True,
        preview_seconds: float = INTERVAL_SECONDS,
        on_codes: Callable[[int, int, int], None] | None = None,
        crew: Crew | None = None,
        shelf: PriorShelf | None = None,
        beside: bool = False,
    ) -> Iterator[WindowReport]:
        """Make what is missing; yields a report after each batch of windows, which is then on disk.

        Args:
            model: from `open_system`, which is the default, or what it was created with.
            device: where to compute.
            previews: keep audio of what is under way in `preview/`, and when its words are sung.
            preview_seconds: between updates of that audio, at least.
            on_codes: see `Generation`.
            crew: which of several processes this is, None if it is alone. All of them call this;
                takes and chains are divided, and the music is the same.
            shelf: where priors are kept loaded from one session to the next.
            beside: sample levels beside each other, in processes of their own, where cores and
                memory allow it (`beside.processes_beside`); the music is the same.

        Raises:
            FolderInUseError: if another process works on it.
            OSError, ValueError: if files cannot be written, or are damaged.
        """
        crew = crew or Crew()
        with locked(self.folder) if crew.is_main else nullcontext():
            check_plain(self.folder)
            if not crew.is_main:
                crew.wait()  # for the main one to have encoded primers, which are gone then
            self.record = SessionRecord.load(self.folder)  # as the last one left it
            place = resolve_device(device)
            plan = self.plan
            if plan is None or (model is not None and model is not plan.system):
                plan = self.restore_plan(model or self.open_system())
            yield from SessionWork(
                folder=self.folder,
                record=self.record,
                plan=_runnable(plan, place),
                device=place,
                preview_seconds=preview_seconds if previews else None,
                on_codes=on_codes,
                crew=crew,
                shelf=shelf,
                beside=beside,
            ).run()

    # --- changes ---

    def _keep_primer(self, take: TakePlan, plan: Plan) -> None:
        """Keep what a take begins with, so that its source is not needed again."""
        entry = self.take(take.number)
        primer = take.prompt.primer
        if isinstance(primer, Codes):
            entry.codes = save_take(self.folder, take.number, primer)
            if isinstance(primer, JoinedCodes):
                self.record.given += save_given(self.folder, take.number, primer)
                if primer.words:
                    save_words(words_path(self.folder, take.number), primer.words)
        elif take.primer_audio is not None:
            path = primer_path(self.folder, take.number)
            path.parent.mkdir(exist_ok=True)
            _write_primer(path, take.primer_audio, plan.sampling_rate)
            entry.codes = None  # until it is encoded
        else:
            entry.codes = {}

    def _with_primer(self, take: TakePlan) -> TakePlan:
        """The take with the audio of its primer, where that has not been encoded yet."""
        if self.take(take.number).codes is not None:
            return take
        path = primer_path(self.folder, take.number)
        try:
            audio, _ = soundfile.read(path, dtype="float32")
        except soundfile.SoundFileError as error:
            raise ValueError(
                f"{path} is missing or damaged, although the session begins with it ({error}); "
                "begin again in a new folder"
            ) from None
        return replace(take, primer_audio=torch.from_numpy(audio)[None])


def check_new(folder: Path) -> None:
    """Raise `FileExistsError` if a session cannot begin in a folder, since it holds other things.

    What a beginning left that was killed is no hindrance: it holds a lock file, which is the first
    to be written, and nothing but codes and primers.
    """
    check_plain(folder)
    names = {path.name for path in folder.iterdir() if not path.name.endswith(PARTIAL_SUFFIX)}
    strange = bool(names - {SESSION_LOCK, CODES_FOLDER, PRIMER_FOLDER})
    if strange or (any(folder.iterdir()) and SESSION_LOCK not in names):
        raise FileExistsError(f"{folder} is not empty and holds no session; choose a new folder")


def _clear_beginning(folder: Path) -> None:
    """Remove what a killed beginning left."""
    remove_partial_files(folder)
    codes = (folder / CODES_FOLDER).glob("take_*.safetensors")
    for path in (*codes, *(folder / PRIMER_FOLDER).glob("*.wav")):
        path.unlink(missing_ok=True)


def _write_primer(path: Path, audio: Tensor, sampling_rate: int) -> None:
    """Write audio (1, samples) without rounding, whole or not at all."""

    def write(temporary: Path) -> None:
        try:
            soundfile.write(
                temporary, audio[0].numpy(), sampling_rate, format="WAV", subtype="FLOAT"
            )
        except soundfile.SoundFileError as error:
            raise OSError(f"{path}: cannot be written, maybe the disk is full ({error})") from None

    write_atomically(path, write)


def _runnable(plan: Plan, device: torch.device) -> Plan:
    """The plan on a device that may not have its backend: they all make the same codes."""
    try:
        check_backend(plan.settings.backend, device)
    except ValueError:
        return replace(plan, settings=replace(plan.settings, backend="eager"))
    return plan
