"""What the commands that make music share: a request becomes a session that is worked on and shown.

The library plans and makes; here it is told what to, and what it does is said.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from .crew import join_crew, launch_if_asked, own_device, tell_folder
from .generation_options import open_model, read_lyrics_option
from .options import AUDIO_FORMATS, note, print_result

if TYPE_CHECKING:
    from jukebox_hf.generation import (
        Crew,
        JukeboxPipeline,
        Plan,
        Request,
        Session,
        Source,
        WindowReport,
    )
    from jukebox_hf.hub import System


class Output(NamedTuple):
    """Where to compute, where to write, and how much to say."""

    device: str
    folder: Path | None
    dry_run: bool
    as_json: bool
    quiet: bool
    crew: Crew

    @classmethod
    def of(
        cls,
        crew: Crew,
        *,
        device: str,
        as_json: bool,
        quiet: bool,
        output: Path | None = None,
        dry_run: bool = False,
    ) -> Output:
        """From a command's options of the same meaning; `-o` names a folder, not a file."""
        suffix = "" if output is None else output.suffix.lower().lstrip(".")
        if output is not None and suffix in AUDIO_FORMATS and not output.is_dir():
            raise click.UsageError(
                f"-o {output} is the name of a file, expected a folder for the session, which gets "
                f"the music and all that going on needs: -o {output.with_suffix('')} --format "
                f"{suffix}"
            )
        return cls(own_device(device), output, dry_run, as_json, quiet, crew)

    def session(self) -> Session | None:
        """The session that the folder holds already."""
        from jukebox_hf.generation import Session

        if self.folder is None or not Session.is_at(self.folder):
            return None
        return Session.open(self.folder)


def carry_out(system: System, request: Request, output: Output) -> None:
    """Begin a session, or go on if the folder holds the same one; work on it, print the result."""
    from jukebox_hf.generation import JukeboxPipeline

    pipeline = JukeboxPipeline(system, device=output.device)
    session = output.session()
    plan = pipeline.plan(request, going_on=session)
    if output.dry_run:
        tell_folder(output.crew, None)
        show_plan(plan, pipeline, output)
        return
    if session is not None and session.complete:
        print_complete(session, output)
        return
    session = begin(pipeline, request, plan, session, output)
    for text in session.record.notes:
        note(f"Note: {text}", quiet=output.quiet)
    work_on(session, pipeline, output, plan=plan)


def open_system_of(source: Source, model: str | None, *, quiet: bool) -> System:
    """The model to go on with: of a session its own, unless one is named; of codes it or ours."""
    if source.session is not None:
        return source.session.open_system(model)
    return open_model(model, quiet=quiet)


def making_of_source(ask: Callable[[Source, dict[str, Any]], Request]) -> Callable[..., None]:
    """A command that makes a session of what another one, or a file of codes, holds.

    It takes `generation_options.going_on_options`; those that only `ask` knows are handed to it.
    """

    @functools.wraps(ask)
    def command(
        source: Path,
        model: str | None,
        num_processes: int | None,
        device: str,
        output: Path | None,
        dry_run: bool,
        as_json: bool,
        quiet: bool,
        lyrics: str | None,
        **wanted: Any,
    ) -> None:
        launch_if_asked(num_processes)
        place = Output.of(
            join_crew(), device=device, output=output, dry_run=dry_run, as_json=as_json, quiet=quiet
        )
        if not place.crew.is_main:
            help_main_process(model, place)
            return

        from jukebox_hf.generation import Source

        found = Source(source)
        wanted["lyrics"] = read_lyrics_option(lyrics)
        request = ask(found, wanted)
        carry_out(open_system_of(found, model, quiet=quiet), request, place)

    return command


def begin(
    pipeline: JukeboxPipeline,
    request: Request,
    plan: Plan,
    session: Session | None,
    output: Output,
) -> Session:
    """The session to work on: the one that is there, or a new one."""
    from jukebox_hf.generation import default_folder

    if session is not None:
        note(f"Going on with {session.folder}.", quiet=output.quiet)
        return session
    if output.folder is None:
        _tell_unfinished(pipeline, request, output)
    folder = output.folder or default_folder(plan.settings.seed, Path())
    session = pipeline.begin(folder, request, plan=plan)
    note(f"Session: {folder}", quiet=output.quiet)
    return session


def _tell_unfinished(pipeline: JukeboxPipeline, request: Request, output: Output) -> None:
    """Say how to go on with a session of the same request that lies here unfinished."""
    from jukebox_hf.generation import Session, session_folders

    for folder in reversed(session_folders(Path())):
        try:
            session = Session.open(folder)
            if not session.complete:
                pipeline.plan(request, going_on=session)  # refuses another one
                note(
                    f"{folder} holds the same unfinished; to go on with it instead: jukebox resume "
                    f"{folder}",
                    quiet=output.quiet,
                )
                return
        except (ValueError, OSError):  # another one, or damaged
            continue


def print_complete(session: Session, output: Output) -> None:
    """The result of a session that needs no work."""
    tell_folder(output.crew, None)
    note(f"{session.folder} is complete already.", quiet=output.quiet)
    print_session(session, as_json=output.as_json, quiet=output.quiet)


def show_plan(plan: Plan, pipeline: JukeboxPipeline, output: Output) -> None:
    """Say what is going to happen: on stderr, or as the result of a dry run with other GPUs.

    Only a dry run measures how long it takes: that costs seconds, and a bar tells it soon.
    """
    from jukebox_hf.generation import describe_gpus, describe_plan, estimate_costs, estimate_gpus

    if output.quiet and not output.dry_run:
        return
    beside = output.crew.number == 1
    costs = estimate_costs(plan, pipeline.device, calibrate=output.dry_run, beside=beside)
    text = describe_plan(plan, costs, pipeline.device)
    if not output.dry_run:
        note(text)
        return
    elsewhere = estimate_gpus(plan)
    record = {
        "model": plan.system.source,
        "seed": plan.settings.seed,
        "takes": len(plan.takes),
        "notes": list(plan.notes),
        **costs.to_record(),
        "gpus": [one.to_record() for one in elsewhere],
    }
    for told in plan.notes:
        note(f"Note: {told}", quiet=output.quiet)
    print_result(f"{text}\n{describe_gpus(elsewhere)}", record, as_json=output.as_json)


def work_on(
    session: Session, pipeline: JukeboxPipeline, output: Output, *, plan: Plan | None = None
) -> None:
    """Let a session work to its end, show how far it is, and print what it made.

    What `plan` costs is said before.
    """
    from jukebox_hf.generation import Session

    tell_folder(output.crew, session.folder)
    bars = Bars(session, quiet=output.quiet)
    try:
        if plan is not None:
            show_plan(plan, pipeline, output)
        for report in session.run(
            pipeline.system,
            device=pipeline.device,
            on_codes=bars.show,
            crew=output.crew,
            beside=True,
        ):
            bars.after(report)
    except KeyboardInterrupt:
        bars.close()
        note(f"Interrupted. Go on with: jukebox resume {session.folder}")
        raise click.exceptions.Exit(130) from None
    finally:
        bars.close()
    finished = Session.open(session.folder)
    print_session(finished, as_json=output.as_json, quiet=output.quiet)


def help_main_process(model: str | None, output: Output) -> None:
    """Do this process's share of what the main one has begun, in silence."""
    from jukebox_hf.generation import Session
    from jukebox_hf.launching import PeerError

    try:
        folder = tell_folder(output.crew, None)
        if folder is None:
            return
        session = Session.open(folder)
        system = session.open_system(model)
        for _ in session.run(system, device=output.device, crew=output.crew):
            pass
    except KeyboardInterrupt:
        raise click.exceptions.Exit(130) from None
    except PeerError:
        raise click.exceptions.Exit(1) from None  # the main process has said why


def print_session(session: Session, *, as_json: bool, quiet: bool) -> None:
    """The result of a session: the paths of its audio, or its record in short."""
    for take in session.takes:
        if take.clipped_samples:
            note(
                f"{take.audio}: {take.clipped_samples} samples beyond full scale (peak "
                f"{take.peak}) were cut off there",
                quiet=quiet,
            )
    beside = [name for take in session.takes for name in take.alignment]
    if beside:
        note(f"When the words are sung: {', '.join(beside)}", quiet=quiet)
    audio = [str(path) for path in session.audio_paths]
    record = {
        "session": str(session.folder),
        "id": session.record.id,
        "complete": session.complete,
        "seed": session.settings.seed,
        "model": session.record.model.source,
        "licence": session.record.model.licence,
        "audio": audio,
        "takes": [take.number for take in session.takes],
        "seams": sum(len(entry.seams or []) for entry in session.record.joins()),
        "notes": session.record.notes,
    }
    print_result("\n".join(audio), record, as_json=as_json)


class Bars:
    """One progress bar per level on a terminal; elsewhere one line when a level is done.

    Levels that are made beside each other have theirs below one another. As soon as there is
    something to listen to, one line says where.
    """

    def __init__(self, session: Session, *, quiet: bool) -> None:
        self.session = session
        self.quiet = quiet
        self.bars: dict[int, Any] = {}
        self.has_told = quiet

    def show(self, level: int, codes: int, total: int) -> None:
        """A level has so many of its codes."""
        from tqdm import tqdm

        self._tell_preview()
        if level not in self.bars:
            for other in [one for one in self.bars if self.bars[one].n >= self.bars[one].total]:
                self.bars.pop(other).close()  # it stays above
            self.bars[level] = tqdm(
                total=total,
                initial=codes,
                desc=f"Level {level}",
                unit="code",
                unit_scale=True,
                file=sys.stderr,
                disable=True if self.quiet else None,
                dynamic_ncols=True,
            )
        record = self.session.record
        seconds = codes * record.hop_lengths[level] / record.sampling_rate
        bar = self.bars[level]
        bar.set_postfix_str(f"{seconds:.1f} s of audio", refresh=False)
        bar.update(codes - bar.n)

    def after(self, report: WindowReport) -> None:
        """A batch is done."""
        self.show(report.level, report.codes_done, report.codes_total)
        if report.level_done and self.bars[report.level].disable:
            note(f"Level {report.level} is done: {report.codes_total:,} codes.", quiet=self.quiet)

    def _tell_preview(self) -> None:
        from jukebox_hf.generation import preview_paths

        paths = [] if self.has_told else preview_paths(self.session.folder)
        if paths:
            self.has_told = True
            place = paths[0] if len(paths) == 1 else paths[0].parent
            text = f"Listen already: {place} (it grows, and gets finer level by level)"
            bar = next(iter(self.bars.values()), None)
            if bar is None or bar.disable:
                note(text)
            else:
                bar.write(text, file=sys.stderr)

    def close(self) -> None:
        """Leave the last bars as they are."""
        for bar in self.bars.values():
            bar.close()
        self.bars.clear()
