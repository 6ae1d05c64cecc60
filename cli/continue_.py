"""`jukebox continue`: go on from a session or a codes file, with new music."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .crew import join_crew, launch_if_asked
from .generation_options import (
    TAKES,
    going_on_options,
    read_lyrics_option,
)
from .making import Output, carry_out, help_main_process, open_system_of
from .options import (
    DURATION,
    MOST_TAKES,
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
    type=click.IntRange(1, MOST_TAKES),
    default=1,
    help="How many ways to go on from each of them.",
)
@going_on_options()
def continue_(
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
    """Go on from the takes of a session, or from codes, and make more music after them.

    Every continuation has its own noise. Make a few, listen, keep one (`jukebox sessions keep`), go
    on from there. Artist, genre, lyrics and settings are those of the session unless given. Prints
    the paths of the audio files, which hold the old music and the new.
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
    request = Request.more(found, wanted)
    carry_out(open_system_of(found, model, quiet=quiet), request, place)
