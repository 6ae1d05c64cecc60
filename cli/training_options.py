"""What `train` and `finetune` share: their options, and how settings become a run."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .crew import crew_option, launch_if_asked
from .dataset_options import refuse_without_effect, song_options
from .options import (
    PRECISIONS,
    device_option,
    json_option,
    note,
    output_option,
    print_result,
    quiet_option,
    silence_transformers,
)

if TYPE_CHECKING:
    from jukebox_hf.training import TrainingSettings

# Options that are settings of the same name; the others are fields of `RunOptions`.
SETTINGS = (
    *("dataset", "split", "subset", "revision"),
    *("audio_column", "artist_column", "genre_column", "lyrics_column"),
    *("validation_dataset", "validation_fraction", "steps", "max_minutes", "batch_size"),
    *("accumulation_steps", "learning_rate", "seed", "num_workers", "precision", "device"),
)


@dataclass(frozen=True)
class RunOptions:
    """What the options say that the training commands have in common.

    Attributes:
        settings: those that are settings of the same name, by name; None is not given.
        assignments: of `--set`.
        preset, config, report_to, output, num_processes, resume, dry_run, as_json, quiet: as in
            the help.
    """

    settings: dict[str, Any]
    assignments: tuple[str, ...]
    preset: str | None
    config: Path | None
    report_to: str | None
    output: Path | None
    num_processes: Any
    resume: bool
    dry_run: bool
    as_json: bool
    quiet: bool


def training_options(command: Callable[..., None]) -> Callable[..., None]:
    """Everything that the training commands have in common, as their argument `options`."""

    @functools.wraps(command)
    def function(**given: Any) -> None:
        settings = {name: given.pop(name) for name in SETTINGS}
        own = {one.name: given.pop(one.name) for one in fields(RunOptions) if one.name in given}
        command(**given, options=RunOptions(settings=settings, **own))

    for option in reversed(
        [
            click.option("--preset", metavar="NAME", help="Built-in settings to start from."),
            click.option(
                "--config",
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                metavar="FILE.yaml",
                help="Settings to start from; what a preset looks like.",
            ),
            click.option(
                "--set",
                "assignments",
                multiple=True,
                metavar="SETTING=VALUE",
                help="Any other setting, such as schedule=cosine or model.width=256. Repeatable.",
            ),
            song_options(),
            click.option(
                "--validation-dataset",
                metavar="FOLDER_OR_REPO",
                help="Songs to evaluate on.",
                show_default="some of --dataset",
            ),
            click.option(
                "--validation-fraction",
                type=click.FloatRange(0, 1, max_open=True),
                help="Share of the songs to hold out.",
                show_default="0.05, a song at least",
            ),
            click.option("--steps", type=click.IntRange(min=1), help="How long to train."),
            click.option(
                "--max-minutes",
                type=click.FloatRange(min=0, min_open=True),
                help="At most so long.",
            ),
            click.option(
                "--batch-size",
                type=click.IntRange(min=1),
                help="Examples per step, over all processes.",
            ),
            click.option(
                "--accumulation-steps",
                type=click.IntRange(min=1),
                help="Parts to compute a step in, to need less memory.",
            ),
            click.option(
                "--learning-rate",
                type=click.FloatRange(min=0, min_open=True),
                help="At its highest.",
            ),
            click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Of everything random."),
            click.option(
                "--num-workers", type=click.IntRange(min=0), help="Processes that read songs."
            ),
            click.option(
                "--precision",
                type=click.Choice(PRECISIONS),
                help="Of what need not be float32; weights always are.",
                show_default="float32, or the preset's",
            ),
            device_option,
            crew_option,
            click.option(
                "--report-to",
                metavar="TRACKER[,...]",
                help="Any of tensorboard, trackio, wandb.",
                show_default="none",
            ),
            output_option(kind="folder", help="Folder of the run: checkpoints, log, final/."),
            click.option(
                "--resume", is_flag=True, help="Go on with the run in --output, bit for bit."
            ),
            click.option("--dry-run", is_flag=True, help="Say what it would take, and stop."),
            json_option,
            quiet_option,
        ]
    ):
        function = option(function)
    return function


def collect(options: RunOptions, **more: Any) -> dict[str, Any]:
    """The settings that were given as options, and `more`; what is None was not given."""
    given = {name: value for name, value in options.settings.items() if value is not None}
    for name, default in (("device", "auto"), ("audio_column", "audio")):
        if given.get(name) == default:
            del given[name]  # a preset may say otherwise
    if options.report_to is not None:
        given["report_to"] = [name.strip() for name in options.report_to.split(",") if name.strip()]
    if options.output is not None:
        given["output"] = str(options.output)
    return given | {name: value for name, value in more.items() if value is not None}


def settings_of(
    task: str, options: RunOptions, default_preset: str | None, **more: Any
) -> TrainingSettings:
    """The settings of a run from a preset or file, then `--set`, then options.

    When resuming, from the run itself; then only what cannot change its result may be given.
    """
    from jukebox_hf.training import TrainingSettings, merge_settings, parse_overrides

    if options.output is None:
        raise click.UsageError("--output says where the run goes; give a folder")
    if options.preset is not None and options.config is not None:
        raise click.UsageError(
            "--preset and --config exclude each other; copy the preset and edit it"
        )
    given = merge_settings(parse_overrides(options.assignments), collect(options, **more))
    if options.resume:
        path = options.output / "settings.yaml"
        if not path.is_file():
            raise click.UsageError(f"{options.output} holds no run to resume")
        saved = TrainingSettings.load(path)
        if saved.task != task:
            raise click.UsageError(f"the run in {options.output} trains a {saved.task}")
        return saved.with_changes(output=given.pop("output")).resumed_with(given)
    if options.config is not None:
        settings = TrainingSettings.load(options.config, **given)
    elif (name := options.preset or default_preset) is not None:
        settings = TrainingSettings.preset(name, **given)
    else:
        settings = TrainingSettings.from_mapping({"task": task, **given}, source="settings")
    if settings.task != task:
        raise click.UsageError(f"these settings train a {settings.task}, not a {task}")
    if settings.dataset is None:
        raise click.UsageError("--dataset says what to learn from; give a folder or a dataset")
    refuse_without_effect(settings.dataset, settings.validation_dataset)
    return settings


def run_training(settings: TrainingSettings, options: RunOptions) -> None:
    """Train, in this process or several, and print where the model is."""
    from jukebox_hf.launching import is_main
    from jukebox_hf.training import find_finished

    quiet, as_json = options.quiet, options.as_json
    if options.resume and (finished := find_finished(settings)) is not None:
        if is_main():
            note(f"{settings.output} is complete already: {finished.steps} steps", quiet=quiet)
            _print_result(settings, finished.steps, finished.skipped, options)
        return
    launch_if_asked(options.num_processes)
    silence_transformers()
    from jukebox_hf.training import JukeboxTrainer

    trainer = JukeboxTrainer(
        settings,
        resume=options.resume,
        visible=not quiet,
        say=lambda text: note(text, quiet=quiet),
    )
    plan = trainer.plan(timed=options.dry_run)
    if options.dry_run:
        if is_main():
            for text in trainer.examples.notes:
                note(text, quiet=quiet)
            print_result("\n".join(plan.lines()), plan._asdict(), as_json=as_json)
        return
    if is_main():
        for line in plan.lines():
            note(line, quiet=quiet)
    result = trainer.train()
    if result.interrupted:
        if is_main():
            command = click.get_current_context().command_path
            note(
                f"Interrupted after step {result.steps}. Go on with: {command} -o "
                f"{settings.output} --resume"
            )
        raise click.exceptions.Exit(130)
    if is_main():
        _print_result(settings, result.steps, [s._asdict() for s in result.skipped], options)


def _print_result(
    settings: TrainingSettings,
    steps: int,
    skipped: list[dict[str, str]],
    options: RunOptions,
) -> None:
    output = Path(settings.output or "")
    final = output / "final"
    record = {
        "output": output,
        "final": final,
        "best": output / "best",
        "steps": steps,
        "skipped": skipped,
    }
    print_result(final, record, as_json=options.as_json)
