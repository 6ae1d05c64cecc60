"""`jukebox continue`: go on from a session or a codes file, with new music."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from .generation_options import going_on_options
from .options import DURATION, MOST_TAKES, TAKES
from .session_commands import making_of_source

if TYPE_CHECKING:
    from jukebox_hf.generation import Request, Source


@click.command("continue")
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
@making_of_source
def continue_(source: Source, wanted: dict[str, Any]) -> Request:
    """Go on from the takes of a session, or from codes, and make more music after them.

    Every continuation has its own noise. Make a few, listen, keep one (`jukebox sessions keep`), go
    on from there. Artist, genre, lyrics and settings are those of the session unless given. Prints
    the paths of the audio files, which hold the old music and the new.
    """
    from jukebox_hf.generation import Request

    return Request.more(source, wanted)
