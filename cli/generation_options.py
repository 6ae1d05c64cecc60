"""Options and steps that the commands which make music share.

What is asked for on the command line goes in; prompts, settings and a worked-on session come out.
Nothing here imports torch until a command runs.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from .crew import CrewEndedError, own_device, tell_folder
from .options import (
    BACKENDS,
    DURATION,
    SAMPLING_PRECISIONS,
    note,
    per_level_option,
    print_result,
)

if TYPE_CHECKING:
    from jukebox_hf.generation.plan import Plan
    from jukebox_hf.generation.run import WindowReport
    from jukebox_hf.generation.session import Session
    from jukebox_hf.generation.session_record import ParentRecord
    from jukebox_hf.generation.session_work import Crew
    from jukebox_hf.generation.settings import GenerationSettings, Prompt
    from jukebox_hf.hub.system import System
    from jukebox_hf.labels import TimedLyrics

Function = TypeVar("Function", bound=Callable[..., Any])

BUILT_IN_MODEL = "the model that comes with the package"
LARGEST_PROMPTS_BYTES = 64 * 2**20
SAMPLING_NAMES = (
    "temperature",
    "top_k",
    "top_p",
    "hop_fraction",
    "chains",
    "codes_only",
    "guidance",
)


# --- options ------------------------------------------------------------------------------------


def label_options(function: Function) -> Function:
    """`--artist`, `--genre`, `--lyrics`, `--total-seconds`, `--offset-seconds`."""
    options = [
        click.option("--artist", help="Artist, as the model knows it (`jukebox labels`)."),
        click.option("--genre", help="Genre, as the model knows it."),
        click.option(
            "--lyrics",
            metavar="FILE|-",
            help="Lyrics: a text file, a timed .lrc file, or - for standard input.",
        ),
        click.option(
            "--total-seconds",
            type=DURATION,
            show_default="the model's",
            help="Length of the whole song that the piece is part of.",
        ),
        click.option(
            "--offset-seconds",
            type=DURATION,
            show_default="0",
            help="Where in that song the piece begins.",
        ),
    ]
    return _apply(options, function)


def step_options(function: Function) -> Function:
    """`--precision` and `--backend`: what the priors' weights are, and how a step runs."""
    options = [
        click.option(
            "--precision",
            type=click.Choice(SAMPLING_PRECISIONS),
            show_default="what suits the device",
            help="Weights of the priors; int8 and int4 are rounded: smaller, faster, not exact.",
        ),
        click.option(
            "--backend",
            type=click.Choice(BACKENDS),
            show_default="graph for large models on CUDA, else eager",
            help="How a step runs: compiled takes a minute to begin, graph needs CUDA.",
        ),
    ]
    return _apply(options, function)


def sampling_options(function: Function) -> Function:
    """How each level is sampled; the command gets one dict per option, by level."""
    options = [
        click.option(
            "--to-level",
            type=click.IntRange(min=0),
            show_default="0, the finished music",
            help="Finest level to make; the top level alone is a quick sketch.",
        ),
        per_level_option(
            "--temperature",
            value_type=click.FLOAT,
            help="Below 1 the likely becomes likelier.",
            default_text="the model's",
        ),
        per_level_option(
            "--top-k", value_type=click.INT, help="Choose among so many likeliest codes only."
        ),
        per_level_option(
            "--top-p",
            value_type=click.FLOAT,
            help="Choose among the likeliest codes that reach this probability only.",
        ),
        per_level_option(
            "--guidance",
            value_type=click.FLOAT,
            help="Above 1 artist and genre count more than the model learnt; takes more time.",
            default_text="the model's",
        ),
        per_level_option(
            "--hop-fraction",
            value_type=click.FLOAT,
            help="How far windows move, as a part of what the model sees at once.",
            default_text="the model's",
        ),
        per_level_option(
            "--chains",
            value_type=ChainsType(),
            help="Cut the levels below the top into so many runs that are made side by side and "
            "joined, or auto: faster, not exact.",
            default_text="the model's",
        ),
        click.option(
            "--codes-only",
            is_flag=True,
            default=None,
            help="Never let a model with lyrics in its sequence choose a letter for a sound.",
        ),
    ]
    return _apply(options, function)


def _apply(options: Sequence[Callable[[Function], Function]], function: Function) -> Function:
    for option in reversed(options):
        function = option(function)
    return function


class ChainsType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """`4` -> 4, `auto` -> "auto"."""

    name = "chains"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
            return int(value)
        if value != "auto":
            self.fail(f"{value!r} is not a number of chains; give one, or auto", param, ctx)
        return "auto"


class TakesType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """`3` or `2,5` -> numbers of takes in ascending order, each once."""

    name = "takes"

    def get_metavar(self, *args: Any, **kwargs: Any) -> str:
        return "TAKE[,TAKE...]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in value.split(",")]
        if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is not a list of takes; give them as in 3 or 2,5", param, ctx)
        return tuple(sorted({int(part) for part in parts}))


TAKES = TakesType()


def given_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """The sampling settings that were given, by name and level; what was not given is left out."""
    return {name: options[name] for name in SAMPLING_NAMES if options.get(name)}


def open_model(model: str | None, *, revision: str | None = None, quiet: bool = False) -> System:
    """The model given, else the one that comes with the package; one line says that it is used.

    Raises `FileNotFoundError` where there is none.
    """
    from jukebox_hf.hub import open_location

    # Before the libraries that models need: a mistyped name is refused at once.
    location = None if model is None else open_location(model, revision=revision)

    from jukebox_hf.hub.built_in import LARGER_MODEL
    from jukebox_hf.hub.system import System

    system = System.open(location)
    if model is None:
        name = system.manifest.name or "the model"
        note(
            f"Using {name}, the small demo that comes with the package; choose a larger model "
            f"with --model, such as {LARGER_MODEL}.",
            quiet=quiet,
        )
    return system


def read_lyrics_option(value: str | None) -> str | TimedLyrics | None:
    """What `--lyrics` names, read; `-` is standard input."""
    if value is None:
        return None
    from jukebox_hf.labels import LARGEST_LYRICS_BYTES, decode_lyrics, read_lyrics

    if value == "-":
        data = sys.stdin.buffer.read(LARGEST_LYRICS_BYTES + 1)
        return decode_lyrics(data, source="standard input")
    return read_lyrics(Path(value))


def read_prompts(path: Path, defaults: Mapping[str, Any]) -> list[Prompt]:
    """The prompts of a `.jsonl` file, one per line; `defaults` fill in what a line leaves out.

    Raises `ValueError` for a line that is no prompt, with its number.
    """
    from jukebox_hf.generation.settings import Prompt
    from jukebox_hf.texts import read_text

    prompts = []
    text = read_text(path, largest=LARGEST_PROMPTS_BYTES, what="prompts").text
    for number, line in enumerate(text.split("\n"), start=1):  # no other sign ends a line of JSON
        if not line.strip():
            continue
        source = f"{path}, line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{source}: expected one JSON object per line ({error})") from None
        prompt = Prompt.from_record(record, source=source, folder=path.parent)
        missing = {
            name: value
            for name, value in defaults.items()
            if name not in record and not (name == "lyrics" and "lyrics_file" in record)
        }
        prompts.append(type(prompt)(**{**vars(prompt), **missing}))
    if not prompts:
        raise ValueError(f"{path} holds no prompts; expected one JSON object per line")
    return prompts


# --- work ---------------------------------------------------------------------------------------


class Output(NamedTuple):
    """Where to compute, where to write, and how much to say."""

    device: str
    folder: Path | None
    dry_run: bool
    as_json: bool
    quiet: bool
    crew: Crew

    @classmethod
    def of(cls, options: Mapping[str, Any], crew: Crew) -> Output:
        """From a command's options of the same meaning."""
        return cls(
            device=own_device(options["device"]),
            folder=options.get("output"),
            dry_run=options.get("dry_run", False),
            as_json=options["as_json"],
            quiet=options["quiet"],
            crew=crew,
        )

    def session(self) -> Session | None:
        """The session that the folder holds already."""
        from jukebox_hf.generation.session import Session

        if self.folder is None or not Session.is_at(self.folder):
            return None
        return Session.open(self.folder)


def fit_plan(
    system: System,
    prompts: dict[int, Prompt],
    options: Mapping[str, Any],
    *,
    seed: int | None = None,
    settings: GenerationSettings | None = None,
    to_level: int | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Plan:
    """The plan that a command asks for.

    Seed, precision and backend are those given, else those of `settings` (of the session that is
    gone on with), else new ones.
    """
    from jukebox_hf.generation.devices import (
        check_backend,
        default_backend,
        default_precision,
        resolve_device,
    )
    from jukebox_hf.generation.plan import make_plan
    from jukebox_hf.generation.settings import new_seed

    place = resolve_device(options["device"])
    if options["seed"] is not None:
        seed = options["seed"]
    elif settings is not None:
        seed = settings.seed
    precision = options["precision"] or (settings.precision if settings else None)
    backend = options["backend"] or (settings.backend if settings else None)
    backend = backend or default_backend(place, system)
    check_backend(backend, place)
    return make_plan(
        system,
        prompts,
        seed=new_seed() if seed is None else seed,
        precision=precision or default_precision(place),
        backend=backend,
        to_level=to_level if options["to_level"] is None else options["to_level"],
        defaults=defaults,
        **given_settings(options),
    )


def carry_out(
    system: System,
    plan: Plan,
    session: Session | None,
    output: Output,
    *,
    parent: ParentRecord | None = None,
) -> None:
    """Begin a session, or go on with `session` if it is the same; work on it, print the result."""
    from jukebox_hf.generation.session import Session, default_folder

    if session is not None:
        session.check_same(system, plan)
    if output.dry_run:
        tell_folder(output.crew, None)
        show_plan(system, plan, output)
        return
    if session is not None and session.complete:
        print_complete(session, output)
        return
    if session is None:
        folder = output.folder or default_folder(plan.settings.seed, Path())
        session = Session.create(folder, system, plan, device=output.device, parent=parent)
        note(f"Session: {folder}", quiet=output.quiet)
    else:
        note(f"Going on with {session.folder}.", quiet=output.quiet)
    for text in session.record.notes:
        note(f"Note: {text}", quiet=output.quiet)
    work_on(session, system, output, plan=plan)


def print_complete(session: Session, output: Output) -> None:
    """The result of a session that needs no work."""
    tell_folder(output.crew, None)
    note(f"{session.folder} is complete already.", quiet=output.quiet)
    print_session(session, as_json=output.as_json, quiet=output.quiet)


def show_plan(system: System, plan: Plan, output: Output) -> None:
    """Say what is going to happen: on stderr, or as the result of a dry run with other GPUs."""
    from jukebox_hf.generation.devices import resolve_device
    from jukebox_hf.generation.estimate import describe, estimate

    if output.quiet and not output.dry_run:
        return
    place = resolve_device(output.device)
    costs = estimate(system, plan, place)
    text = describe(plan, costs, model=system.title, device=place)
    if output.dry_run:
        from jukebox_hf.generation.gpus import describe_gpus, estimate_gpus

        elsewhere = estimate_gpus(system, plan)
        record = {
            "model": system.source,
            "seed": plan.settings.seed,
            "takes": len(plan.takes),
            "notes": list(plan.notes),
            **costs.to_record(),
            "gpus": [one.to_record() for one in elsewhere],
        }
        text = f"{text}\n{describe_gpus(elsewhere)}"
        for told in plan.notes:
            note(f"Note: {told}", quiet=output.quiet)
        print_result(text, record, as_json=output.as_json)
    else:
        note(text)


def work_on(session: Session, system: System, output: Output, *, plan: Plan | None = None) -> None:
    """Let a session work to its end, show how far it is, and print what it made.

    What `plan` costs is said before.
    """
    from jukebox_hf.generation.session import Session

    tell_folder(output.crew, session.folder)
    bars = Bars(session, quiet=output.quiet)
    try:
        with working():
            if plan is not None:
                show_plan(system, plan, output)
            for report in session.run(
                system, device=output.device, on_codes=bars.show, crew=output.crew
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


def help_main_process(options: Mapping[str, Any], crew: Crew) -> None:
    """Do this process's share of what the main one has begun, in silence."""
    from jukebox_hf.generation.session import Session

    try:
        folder = tell_folder(crew, None)
        if folder is None:
            return
        session = Session.open(folder)
        with working():
            system = session.open_system(options["model"])
            for _ in session.run(system, device=own_device(options["device"]), crew=crew):
                pass
    except KeyboardInterrupt:
        raise click.exceptions.Exit(130) from None
    except CrewEndedError:
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
        "seams": sum(len(entry.seams or []) for entry in session.record.chains),
        "notes": session.record.notes,
    }
    print_result("\n".join(audio), record, as_json=as_json)


@contextlib.contextmanager
def working() -> Iterator[None]:
    """No bars of libraries; and a polite request to end (SIGTERM) is as clean as Ctrl-C."""
    import transformers.utils.logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        earlier = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread: nothing to be done, and nothing lost
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)


class Bars:
    """One progress bar per level on a terminal; elsewhere one line when a level is done.

    As soon as there is something to listen to, one line says where.
    """

    def __init__(self, session: Session, *, quiet: bool) -> None:
        self.session = session
        self.quiet = quiet
        self.level: int | None = None
        self.bar: Any = None
        self.has_told = quiet

    def show(self, level: int, codes: int, total: int) -> None:
        """A level has so many of its codes."""
        from tqdm import tqdm

        self._tell_preview()
        if level != self.level:
            self.close()
            self.level = level
            self.bar = tqdm(
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
        self.bar.set_postfix_str(f"{seconds:.1f} s of audio", refresh=False)
        self.bar.update(codes - self.bar.n)

    def after(self, report: WindowReport) -> None:
        """A batch is done."""
        self.show(report.level, report.codes_done, report.codes_total)
        if report.level_done and self.bar.disable:
            note(f"Level {report.level} is done: {report.codes_total:,} codes.", quiet=self.quiet)

    def _tell_preview(self) -> None:
        from jukebox_hf.generation.session_files import preview_paths

        paths = [] if self.has_told else preview_paths(self.session.folder)
        if paths:
            self.has_told = True
            place = paths[0] if len(paths) == 1 else paths[0].parent
            text = f"Listen already: {place} (it grows, and gets finer level by level)"
            if self.bar is None or self.bar.disable:
                note(text)
            else:
                self.bar.write(text, file=sys.stderr)

    def close(self) -> None:
        """Leave the last bar as it is."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
