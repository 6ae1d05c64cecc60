"""`jukebox resume`: go on with an interrupted session."""

from __future__ import annotations

from pathlib import Path

import click

from .crew import crew_option, join_crew, launch_if_asked
from .options import device_option, json_option, model_option, quiet_option
from .session_commands import Output, help_main_process, print_complete, work_on


@click.command()
@click.argument("session", type=click.Path(exists=True, file_okay=False, path_type=Path))
@model_option(help="The model of the session, if it is at another place now.")
@device_option
@crew_option
@json_option
@quiet_option
def resume(
    session: Path,
    model: str | None,
    num_processes: int | None,
    device: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Go on with an interrupted session; the music is the same as without the interruption.

    Prints the paths of the audio files.
    """
    launch_if_asked(num_processes)
    place = Output.of(join_crew(), device=device, as_json=as_json, quiet=quiet)
    if not place.crew.is_main:
        help_main_process(model, place)
        return

    from jukebox_hf.generation import JukeboxPipeline, Session

    found = Session.open(session)
    if found.complete:
        print_complete(found, place)
    else:
        pipeline = JukeboxPipeline(found.open_system(model), device=place.device)
        work_on(found, pipeline, place)
