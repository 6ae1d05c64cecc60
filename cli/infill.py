"""`jukebox infill`: a stretch of a take made again, or put in, with both sides given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .crew import join_crew, launch_if_asked
from .generation_options import (
    going_on_options,
    read_lyrics_option,
)
from .making import Output, carry_out, help_main_process, open_system_of
from .options import (
    DURATION,
    MOST_TAKES,
)


@click.command()
@click.argument("source", metavar="SESSION|CODES", type=click.Path(exists=True, path_type=Path))
@click.option("--take", type=click.IntRange(1), show_default="the only one", help="Which take.")
@click.option(
    "--from", "from_seconds", type=DURATION, required=True, help="Where the stretch begins."
)
@click.option("--to", "to_seconds", type=DURATION, help="Where it ends.")
@click.option(
    "--insert",
    "insert_seconds",
    type=DURATION,
    help="Instead of --to: put so much new music in there; before 0, an intro.",
)
@click.option(
    "--candidates",
    type=click.IntRange(1),
    show_default="8",
    help="Of so many ways to make the top level, take the one that fits best what follows.",
)
@click.option(
    "--takes",
    type=click.IntRange(1, MOST_TAKES),
    show_default="1",
    help="Finish so many of the best candidates.",
)
@going_on_options()
def infill(
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
    """Make a stretch of a take again, or put new music in, while what is around it stays.

    As in `infill song --take 1 --from 0:12 --to 0:14 --candidates 32`. The beginning follows from
    what is before; the end is a choice among the candidates. A new session is made, the old one
    stays as it is. Prints the paths of the audio files.
    """
    launch_if_asked(num_processes)
    place = Output.of(
        join_crew(), device=device, output=output, dry_run=dry_run, as_json=as_json, quiet=quiet
    )
    if not place.crew.is_main:
        help_main_process(model, place)
        return

    from jukebox_hf.generation import Request, Source

    found = Source(source)
    wanted["lyrics"] = read_lyrics_option(lyrics)
    request = Request.infill(found, wanted)
    carry_out(open_system_of(found, model, quiet=quiet), request, place)
