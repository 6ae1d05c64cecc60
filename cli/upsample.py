"""`jukebox upsample`: the finer levels of takes that stopped at a coarser one."""

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
    MOST_TAKES,
)


@click.command()
@click.argument("source", metavar="SESSION|CODES", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--takes", "numbers", type=TAKES, show_default="those kept, or all", help="Takes to finish."
)
@click.option(
    "--renders",
    type=click.IntRange(1, MOST_TAKES),
    show_default="1",
    help="Finish each of them in so many ways.",
)
@going_on_options("that of the session; for codes, a new one")
def upsample(
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
    """Finish takes that stopped at a coarser level, as `generate --to-level 2` leaves them.

    With the seed of the session, which is the default, they become what `generate` would have made
    of them at once. `--renders 3` makes three finishes of each, which `sessions export --stereo`
    puts side by side; names may differ by level, as in `--genre 1=rock --genre 0=pop`. Prints the
    paths of the audio files.
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
    request = Request.finer(found, wanted)
    carry_out(open_system_of(found, model, quiet=quiet), request, place)
