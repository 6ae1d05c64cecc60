"""`jukebox upsample`: the finer levels of takes that stopped at a coarser one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .generation_options import going_on_options
from .options import MOST_TAKES, TAKES
from .session_commands import making_of_source

if TYPE_CHECKING:
    from jukebox_hf.generation import Request, Source


@click.command()
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
@making_of_source
def upsample(source: Source, wanted: dict[str, Any]) -> Request:
    """Finish takes that stopped at a coarser level, as `generate --to-level 2` leaves them.

    With the seed of the session, which is the default, they become what `generate` would have made
    of them at once. `--renders 3` makes three finishes of each, which `sessions export --stereo`
    puts side by side; names may differ by level, as in `--genre 1=rock --genre 0=pop`. Prints the
    paths of the audio files.
    """
    from jukebox_hf.generation import Request

    return Request.finer(source, wanted)
