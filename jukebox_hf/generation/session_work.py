"""The work of a session: let a generation run, and put what it makes on disk, batch by batch.

A folder with its record and a plan go in; codes, previews, alignments and audio are written, each
codes file before the record that knows of it. Several processes may share the work: each writes the
codes of its own rows, and the main one keeps the record.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from jukebox_hf.audio import WriteReport, save_audio
from jukebox_hf.generation.alignment import load_alignment, save_alignment
from jukebox_hf.generation.alignment_files import (
    load_words,
    save_alignment_files,
    save_word_files,
    save_words,
)
from jukebox_hf.generation.beside import LevelsBeside, processes_beside
from jukebox_hf.generation.joined import JoinedCodes
from jukebox_hf.generation.level_sampler import Row
from jukebox_hf.generation.making import Generation, WindowReport
from jukebox_hf.generation.naming import page_notes, take_file_name, take_tags
from jukebox_hf.generation.plan import LevelPlan, Plan, TakePlan
from jukebox_hf.generation.preview import Previews
from jukebox_hf.generation.recording import batch_record
from jukebox_hf.generation.session_files import (
    Given,
    alignment_path,
    chain_path,
    load_chains,
    load_given,
    load_take,
    part_path,
    part_paths,
    preview_words_path,
    remove_partial_files,
    remove_parts,
    remove_previews,
    remove_primers,
    save_chain,
    save_given,
    save_take,
    seam_records,
    seams_of,
    words_path,
)
from jukebox_hf.generation.session_overview import now
from jukebox_hf.generation.session_record import (
    BatchRecord,
    CandidateRecord,
    ChainPart,
    ChainRecord,
    PartRecord,
    SessionRecord,
    StoredCodes,
    TakeRecord,
    new_id,
)
from jukebox_hf.generation.shelf import PriorShelf
from jukebox_hf.generation.word_times import word_times


@dataclass(frozen=True)
class Crew:
    """Which of several processes this is, and how to wait for the others.

    Attributes:
        index: 0 is the main one.
        number: of processes.
        wait: returns when all of them have called it equally often.
    """

    index: int = 0
    number: int = 1
    wait: Callable[[], None] = lambda: None

    @property
    def is_main(self) -> bool:
        return self.index == 0


@dataclass
class SessionWork:
    """One stretch of work on a session, by this process.

    Attributes:
        folder: of the session; the main process holds its lock.
        record: what `session.json` says; kept up to date in place.
        plan, device: what is made, with which model, and where.
        preview_seconds: how often audio of what is under way is kept up to date; None: never.
        shelf: where priors are kept from one stretch of work to the next.
        on_codes: see `Generation`.
        beside: whether levels are sampled beside each other where they can be.
        crew: the processes that share the work.
    """

    folder: Path
    record: SessionRecord
    plan: Plan
    device: torch.device
    preview_seconds: float | None
    on_codes: Callable[[int, int, int], None] | None
    crew: Crew
    shelf: PriorShelf | None = None
    beside: bool = False

    def __post_init__(self) -> None:
        self._part = PartRecord()
        self._listened: Previews | None = None

    def run(self) -> Iterator[WindowReport]:
        """Make what is missing; a report comes out after each batch, which is then on disk."""
        if self.crew.number > 1:
            yield from self._run_shared()
            return
        self._begin()
        generation = self._generation()
        processes = processes_beside(self.plan, self.device) if self.beside else 1
        reports: Iterable[WindowReport] = generation
        if processes > 1:
            reports = LevelsBeside(generation, [self.device] * processes)
        listened = None
        if self.preview_seconds is not None:
            listened = Previews(self.folder, generation, interval=self.preview_seconds)
        self._listened = listened
        for report in reports:
            self._save(generation, report)
            if listened is not None:
                listened.update(now=report.level_done)
            yield report
        self._finish(generation)

    def _run_shared(self) -> Iterator[WindowReport]:
        """Level by level: every process its rows, then the main one joins them.

        The others have waited for its beginning before they read the session (`Session.run`).
        """
        if self.crew.is_main:
            self._begin()
            self.crew.wait()
        for level in self.plan.levels:
            self._reload()
            generation = self._generation(share=(self.crew.index, self.crew.number))
            for report in generation.make_level(level):
                self._save(generation, report)
                yield report
            self.crew.wait()
            if self.crew.is_main:
                self._take_over_parts()
                self._finish_level(level)
            self.crew.wait()
            self._part = PartRecord()  # the record has it now
        if self.crew.is_main:
            self._finish(self._generation())
        self.crew.wait()
        self._reload()

    # --- beginning ---

    def _begin(self) -> None:
        """Clear up after whoever worked here last, and encode primers."""
        remove_partial_files(self.folder)
        self._take_over_parts()
        fresh = [take for take in self.record.takes if take.codes is None]
        if fresh:
            generation = self._generation()
            for take in fresh:
                take.codes = self._save_codes(generation, take.number)
            self._write()
        remove_primers(self.folder)  # their codes are on disk now

    def _reload(self) -> None:
        """Read what the main process has written."""
        vars(self.record).update(vars(SessionRecord.load(self.folder)))

    def _generation(self, share: tuple[int, int] = (0, 1)) -> Generation:
        """A generation with all that is on disk."""
        chains, seams = {}, {}
        for entry in self.record.chains:
            key = (entry.take, entry.level)
            chains[key] = load_chains(self.folder, *key, entry.codes)
            if entry.seams is not None:
                seams[key] = seams_of(entry)
        codes = {
            take.number: load_take(self.folder, take.number, take.codes, self.plan.num_levels)
            for take in self.record.takes
            if take.codes is not None
        }
        given = {
            (entry.take, entry.level): load_given(
                self.folder, entry, codes[entry.take][entry.level], kind
            )
            for kind, entries in self._kinds().items()
            for entry in entries
        }
        generation = Generation(
            self.plan,
            device=self.device,
            codes=codes,
            chains=chains,
            seams=seams,
            given=given,
            batch_sizes=self.record.batch_sizes,
            float32=self.record.products,
            float32_between=self.record.float32_between,
            share=share,
            on_codes=self._tell,
            shelf=self.shelf,
        )
        generation.prepare()
        return generation

    def _kinds(self) -> dict[Given, list[ChainRecord]]:
        """Chains that levels begin with, and then of those whose hole is filled."""
        return {"given": self.record.given, "filled": self.record.filled}

    def _tell(self, level: int, codes: int, total: int) -> None:
        """During a batch: say how far it is, and let it be heard."""
        if self.on_codes is not None:
            self.on_codes(level, codes, total)
        if self._listened is not None:
            self._listened.update()

    # --- after every batch ---

    def _save(self, generation: Generation, report: WindowReport) -> None:
        """Put a batch of windows on disk: first codes, then the record that knows of them."""
        takes = {window.take for window in report.windows}
        if report.level_done and self.crew.number == 1:  # chains were joined
            takes |= {take.number for take in self.plan.takes_at(report.level)}
        for number in sorted(takes):
            rows = generation.chains.get((number, report.level))
            made = {window.chain for window in report.windows if window.take == number}
            if rows is not None:
                self._save_chains(number, report.level, rows, made)
                self._note_seams(generation, number, report.level)
            if rows is None or (report.level_done and self.crew.number == 1):
                self._note_codes(number, self._save_codes(generation, number))
                self._note_filled(generation, number, report.level)
        if report.windows:
            self._note_windows(batch_record(report), generation.batch_sizes)
        for number, alignment in generation.alignments.items():
            path = alignment_path(self.folder, number)
            if not path.exists():
                save_alignment(path, alignment)
                self._show_words(number, path)
        self._write()

    def _show_words(self, number: int, path: Path) -> None:
        """Say beside the preview when the words are sung, as `.words.json` will."""
        if self.preview_seconds is None:
            return
        words = preview_words_path(self.folder, number)
        words.parent.mkdir(exist_ok=True)
        save_words(words, word_times(load_alignment(path)))

    def _save_codes(self, generation: Generation, number: int) -> dict[int, StoredCodes]:
        if not any(len(codes) for codes in generation.codes[number].values()):
            return {}
        return save_take(self.folder, number, generation.take_codes(number))

    def _save_chains(self, number: int, level: int, rows: list[Row], made: set[int]) -> None:
        runs = [(row.run.begin, row.run.end) for row in rows]
        for chain in sorted(made):
            entry = save_chain(
                chain_path(self.folder, number, level, chain),
                level,
                rows[chain].codes[: rows[chain].done],
                self.plan.hop_lengths,
                self.plan.sampling_rate,
            )
            if self.crew.is_main:
                self.record.chains_of(number, level, runs).codes[chain] = entry
            else:
                self._part.chains.append(ChainPart(number, level, runs, chain, entry))

    def _note_seams(self, generation: Generation, number: int, level: int) -> None:
        seams = generation.seams.get((number, level))
        if seams is None:
            return
        code_seconds = self.plan.hop_lengths[level] / self.plan.sampling_rate
        self.record.chains_of(number, level).seams = seam_records(seams, code_seconds)

    def _note_filled(self, generation: Generation, number: int, level: int) -> None:
        """Keep the chains of a level whose hole was filled, and what with."""
        take = self.plan.take(number)
        if take.hole is None:
            return
        if number in generation.chosen:
            found = generation.chosen[number]
            bits = round(found.bits, 4)
            self._take(number).candidate = CandidateRecord(found.candidate, bits)
        known = any((one.take, one.level) == (number, level) for one in self.record.filled)
        joined = generation.given.get((number, level))
        if not known and joined is not None and joined.seams:
            codes = JoinedCodes(
                {level: joined.codes[None]},
                self.plan.hop_lengths,
                self.plan.sampling_rate,
                joined={level: joined},
            )
            self.record.filled += save_given(self.folder, number, codes, "filled")

    # --- the record, or this process's part of it ---

    def _note_codes(self, number: int, codes: dict[int, StoredCodes]) -> None:
        if self.crew.is_main:
            self._take(number).codes = codes
        else:
            self._part.takes[number] = codes

    def _note_windows(self, batch: BatchRecord, batch_sizes: dict[int, int]) -> None:
        target = self.record if self.crew.is_main else self._part
        target.windows.append(batch)
        target.batch_sizes |= batch_sizes

    def _take(self, number: int) -> TakeRecord:
        return next(take for take in self.record.takes if take.number == number)

    def _write(self) -> None:
        if self.crew.is_main:
            self.record.id = self.record.id or new_id()
            self.record.updated = now()
            self.record.save(self.folder)
        else:
            path = part_path(self.folder, self.crew.index)
            path.parent.mkdir(exist_ok=True)
            self._part.save(path)

    def _take_over_parts(self) -> None:
        """Bring what other processes have put down into the record."""
        paths = part_paths(self.folder)
        for path in paths:
            self.record.merge(PartRecord.load(path), str(path))
        if paths:
            self._write()
            remove_parts(self.folder)

    # --- the end of a level, and of all ---

    def _finish_level(self, level: LevelPlan) -> None:
        """Join what several processes have made of a level, and align its lyrics."""
        generation = self._generation()
        generation.finish_level(level)
        for take in self.plan.takes_at(level.level):
            if (take.number, level.level) in generation.chains:
                self._note_seams(generation, take.number, level.level)
                self._note_codes(take.number, self._save_codes(generation, take.number))
                self._note_filled(generation, take.number, level.level)
        self._write()

    def _finish(self, generation: Generation) -> None:
        """Write the finished audio of every take that has none."""
        for take in self.plan.takes:
            entry = self._take(take.number)
            if entry.audio is None or not (self.folder / entry.audio).is_file():
                report = self._write_audio(generation, take)
                entry.audio = report.path.name
                entry.peak = round(report.peak, 4)
                entry.clipped_samples = report.clipped_samples
                entry.alignment = self._write_alignment(generation, take, report.path)
                self._write()
        remove_previews(self.folder)  # before the record says that there is nothing left to do
        self.record.complete = True
        self._write()

    def _write_audio(self, generation: Generation, take: TakePlan) -> WriteReport:
        level = generation.finest_level(take.number)
        assert level is not None, "a finished generation has at least one complete level"
        name = take_file_name(take.number, take.prompt, self.plan.settings.seed)
        if level:
            name += f"_level_{level}"
        return save_audio(
            self.folder / f"{name}.{self.plan.settings.audio_format}",
            generation.decode(take.number, level),
            self.plan.sampling_rate,
            tags=take_tags(self.plan, take),
            overwrite=True,  # of a process that was stopped before it could record the file
        )

    def _write_alignment(self, generation: Generation, take: TakePlan, audio: Path) -> list[str]:
        """Write when the words are sung, where that is known; returns the files' names.

        Nothing of a model that does not follow words, as its manifest says.
        """
        if "lyrics" in self.plan.system.manifest.notes:
            return []
        words = [word for word in (take.prompt.artist, take.prompt.genre) if word]
        texts: dict[str, Any] = {
            "title": ", ".join([f"Take {take.number}", *words]),
            "notes": page_notes(self.plan, take),
        }
        given = words_path(self.folder, take.number)
        if not self.plan.levels and given.exists():
            parent = self.record.parent
            lyrics = str(parent.details.get("lyrics", "")) if parent is not None else ""
            made_of = save_word_files(audio, load_words(given), lyrics, **texts)
            given.unlink(missing_ok=True)
            return [file.name for file in made_of]
        path = alignment_path(self.folder, take.number)
        if not path.exists() and (made := generation.align(take.number)) is not None:
            save_alignment(path, made)
        # From the file, rounded, also if it was just made: an interruption changes nothing.
        alignment = load_alignment(path) if path.exists() else None
        if alignment is None or not bool(alignment.weights.any()):
            return []
        files = save_alignment_files(audio, alignment, **texts)
        path.unlink(missing_ok=True)
        return [file.name for file in files if file.exists()]
