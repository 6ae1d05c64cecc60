"""`jukebox upsample`: the finer levels of takes that stopped at a coarser one."""

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
    clean_errors,
    device_option,
    json_option,
    model_option,
    output_option,
    quiet_option,
    seed_option,
)


@click.command()
@click.argument("source", metavar="SESSION|CODES", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--takes", "numbers", type=TAKES, show_default="those kept, or all", help="Takes to finish."
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
def upsample(source: Path, numbers: tuple[int, ...] | None, **options: Any) -> None:
    """Finish takes that stopped at a coarser level, as `generate --to-level 2` leaves them.

    With the seed of the session, which is the default, they become what `generate` would have made
    of them at once. Prints the paths of the audio files.
    """
    launch_if_asked(options["num_processes"])
    crew = join_crew()
    if not crew.is_main:
        help_main_process(options, crew)
        return

    from jukebox_hf.generation.continuing import Source, chosen_numbers, upsample_prompt
    from jukebox_hf.generation.settings import new_seed

    found = Source(source)
    changes = changes_of(options)
    starts = [found.start(number) for number in chosen_numbers(found, numbers)]
    branch(
        found,
        {start.number: upsample_prompt(start, **changes) for start in starts},
        seed=found.session.settings.seed if found.session else new_seed(),
        to_level=None,
        parent={"action": "upsample", "takes": [start.number for start in starts]},
        options=options,
        crew=crew,
    )
