"""`jukebox resume`: go on with an interrupted session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .crew import crew_option, join_crew, launch_if_asked
from .generation_options import Output, help_main_process, print_complete, work_on
from .options import clean_errors, device_option, json_option, model_option, quiet_option


@click.command()
@click.argument("session", type=click.Path(exists=True, file_okay=False, path_type=Path))
@model_option(help="The model of the session, if it is at another place now.")
@device_option
@crew_option
@json_option
@quiet_option
@clean_errors
def resume(session: Path, num_processes: int | None, **options: Any) -> None:
    """Go on with an interrupted session; the music is the same as without the interruption.

    Prints the paths of the audio files.
    """
    launch_if_asked(num_processes)
    crew = join_crew()
    if not crew.is_main:
        help_main_process(options, crew)
        return

    from jukebox_hf.generation.session import Session

    found = Session.open(session)
    output = Output.of(options, crew)
    if found.complete:
        print_complete(found, output)
    else:
        work_on(found, found.open_system(options["model"]), output)
