"""`jukebox continue`: go on from a session or a codes file, with new music."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .branching import branch, changes_of
from .crew import crew_option, join_crew, launch_if_asked
from .generation_options import (
    TAKES,
    help_main_process,
    label_options,
    sampling_options,
    step_options,
)
from .options import (
    DURATION,
    clean_errors,
    device_option,
    json_option,
    model_option,
    output_option,
    quiet_option,
    seed_option,
)


@click.command("continue")
@click.argument("source", metavar="SESSION|CODES", type=click.Path(exists=True, path_type=Path))
@click.option("--seconds", type=DURATION, required=True, help="How much new music.")
@click.option("--from", "from_seconds", type=DURATION, help="Where to go on. [default: the end]")
@click.option(
    "--take",
    "numbers",
    type=TAKES,
    show_default="those kept, or all",
    help="Take to go on from, or several.",
)
@click.option(
    "--takes",
    type=click.IntRange(min=1),
    default=1,
    help="How many ways to go on from each of them.",
)
@label_options
@seed_option
@model_option(default_text="that of the session; for codes, the one that comes with the package")
@device_option
@step_options
@sampling_options
@output_option(
    kind="folder",
    help="Folder of the new session.",
    default_text="a new one with time and seed in its name",
)
@crew_option
@click.option("--dry-run", is_flag=True, help="Say what it would take, and stop.")
@json_option
@quiet_option
@clean_errors
def continue_(
    source: Path,
    seconds: float,
    from_seconds: float | None,
    numbers: tuple[int, ...] | None,
    takes: int,
    **options: Any,
) -> None:
    """Go on from the takes of a session, or from codes, and make more music after them.

    Every continuation has its own noise. Make a few, listen, keep one (`jukebox sessions keep`), go
    on from there. Artist, genre, lyrics and settings are those of the session unless given. Prints
    the paths of the audio files, which hold the old music and the new.
    """
    launch_if_asked(options["num_processes"])
    crew = join_crew()
    if not crew.is_main:
        help_main_process(options, crew)
        return

    from jukebox_hf.generation.continuing import Source, chosen_numbers, continue_prompt
    from jukebox_hf.generation.settings import new_seed

    found = Source(source)
    changes = changes_of(options)
    starts = [found.start(number) for number in chosen_numbers(found, numbers)]
    prompts = [
        continue_prompt(start, seconds=seconds, from_seconds=from_seconds, **changes)
        for start in starts
        for _ in range(takes)
    ]
    branch(
        found,
        dict(enumerate(prompts, start=1)),
        seed=new_seed(),
        to_level=found.session.settings.to_level if found.session else None,
        parent={
            "action": "continue",
            "takes": [start.number for start in starts for _ in range(takes)],
            "from_seconds": from_seconds,
        },
        options=options,
        crew=crew,
    )
