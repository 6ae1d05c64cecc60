"""`jukebox infill`: a stretch of a take made again, or put in, with both sides given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .generation_options import going_on_options
from .options import DURATION, MOST_TAKES
from .session_commands import making_of_source

if TYPE_CHECKING:
    from jukebox_hf.generation import Request, Source


@click.command()
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
@making_of_source
def infill(source: Source, wanted: dict[str, Any]) -> Request:
    """Make a stretch of a take again, or put new music in, while what is around it stays.

    As in `infill song --take 1 --from 0:12 --to 0:14 --candidates 32`. The beginning follows from
    what is before; the end is a choice among the candidates. A new session is made, the old one
    stays as it is. Prints the paths of the audio files.
    """
    from jukebox_hf.generation import Request

    return Request.infill(source, wanted)
