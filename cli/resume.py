"""`jukebox resume`: go on with an interrupted session."""

from __future__ import annotations

from pathlib import Path

import click

from .generation_options import Output, print_session, work_on
from .options import clean_errors, device_option, json_option, model_option, note, quiet_option


@click.command()
@click.argument("session", type=click.Path(exists=True, file_okay=False, path_type=Path))
@model_option(help="The model of the session, if it is at another place now.")
@device_option
@json_option
@quiet_option
@clean_errors
def resume(session: Path, model: str | None, device: str, as_json: bool, quiet: bool) -> None:
    """Go on with an interrupted session; the music is the same as without the interruption.

    Prints the paths of the audio files.
    """
    from jukebox_hf.generation.session import Session

    found = Session.open(session)
    if found.complete:
        note(f"{session} is complete already.", quiet=quiet)
        print_session(found, as_json=as_json, quiet=quiet)
        return
    output = Output(device, session, dry_run=False, as_json=as_json, quiet=quiet)
    work_on(found, found.open_system(model), output)
