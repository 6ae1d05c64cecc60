"""`jukebox generate`: words in, music out, in a session that survives anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .crew import crew_option, join_crew, launch_if_asked
from .generation_options import (
    BUILT_IN_MODEL,
    adapter_option,
    label_options,
    open_model,
    read_lyrics_option,
    sampling_options,
    step_options,
)
from .options import (
    DURATION,
    MOST_TAKES,
    device_option,
    json_option,
    model_option,
    output_option,
    quiet_option,
    seed_option,
)
from .session_commands import Output, carry_out, help_main_process


@click.command()
@label_options
@click.option(
    "--seconds", type=DURATION, show_default="the model's", help="Length, primer included."
)
@click.option(
    "--takes", type=click.IntRange(1, MOST_TAKES), show_default="1", help="How many pieces."
)
@click.option(
    "--primer",
    "primers",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="Audio file to continue. Repeatable: takes use them in turn.",
)
@click.option(
    "--primer-start",
    "primer_start_seconds",
    type=DURATION,
    help="Leave out the primer before this.",
)
@click.option(
    "--primer-end", "primer_end_seconds", type=DURATION, help="Leave out the primer after this."
)
@click.option(
    "--prompts",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with one JSON object per take: artist, genre, lyrics, lyrics_file, primer, seconds, "
    "... Other options fill in what a line leaves out.",
)
@seed_option()
@model_option(default_text=BUILT_IN_MODEL)
@adapter_option
@device_option
@step_options
@sampling_options
@output_option(
    kind="folder",
    help="Folder of the session; one with the same settings is resumed.",
    default_text="a new one with time and seed in its name",
)
@crew_option
@click.option("--dry-run", is_flag=True, help="Say what it would take, and stop.")
@json_option
@quiet_option
def generate(
    model: str | None,
    adapters: tuple[tuple[int | None, str], ...],
    num_processes: int | None,
    device: str,
    output: Path | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    lyrics: str | None,
    primers: tuple[Path, ...],
    prompts: Path | None,
    **wanted: Any,
) -> None:
    """Make music from a genre, an artist, lyrics, and the beginning of a song.

    All of them may be left out. The music is made in a session: a folder that gets the audio files
    and everything needed to go on after an interruption (`jukebox resume FOLDER`, or the same
    command again with -o FOLDER). Prints the paths of the audio files.
    """
    launch_if_asked(num_processes)
    if primers and prompts is not None:
        raise click.UsageError("--prompts and --primer exclude each other; name primers there")
    place = Output.of(
        join_crew(), device=device, output=output, dry_run=dry_run, as_json=as_json, quiet=quiet
    )
    if not place.crew.is_main:
        help_main_process(model, place)
        return
    system = open_model(model, adapters=adapters, quiet=quiet)

    from jukebox_hf.generation import Request

    wanted |= {"lyrics": read_lyrics_option(lyrics), "primers": primers, "prompts": prompts}
    carry_out(system, Request.new(wanted), place)
