"""`jukebox generate`: words in, music out, in a session that survives anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .crew import crew_option, join_crew, launch_if_asked
from .generation_options import (
    BUILT_IN_MODEL,
    Output,
    carry_out,
    fit_plan,
    help_main_process,
    label_options,
    open_model,
    read_lyrics_option,
    read_prompts,
    sampling_options,
    step_options,
)
from .options import (
    DURATION,
    clean_errors,
    device_option,
    json_option,
    model_option,
    output_option,
    quiet_option,
    seed_option,
)

if TYPE_CHECKING:
    from jukebox_hf.generation.settings import Prompt


@click.command()
@label_options
@click.option(
    "--seconds", type=DURATION, show_default="the model's", help="Length, primer included."
)
@click.option("--takes", type=click.IntRange(min=1), show_default="1", help="How many pieces.")
@click.option(
    "--primer",
    "primers",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    help="Audio file to continue. Repeatable: takes use them in turn.",
)
@click.option("--primer-start", type=DURATION, help="Leave out the primer before this.")
@click.option("--primer-end", type=DURATION, help="Leave out the primer after this.")
@click.option(
    "--prompts",
    "prompts_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with one JSON object per take: artist, genre, lyrics, lyrics_file, primer, seconds, "
    "... Other options fill in what a line leaves out.",
)
@seed_option
@model_option(default_text=BUILT_IN_MODEL)
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
@clean_errors
def generate(model: str | None, **options: Any) -> None:
    """Make music from a genre, an artist, lyrics, and the beginning of a song.

    All of them may be left out. The music is made in a session: a folder that gets the audio files
    and everything needed to go on after an interruption (`jukebox resume FOLDER`, or the same
    command again with -o FOLDER). Prints the paths of the audio files.
    """
    launch_if_asked(options["num_processes"])
    crew = join_crew()
    if not crew.is_main:
        help_main_process({**options, "model": model}, crew)
        return
    prompts = make_prompts(options)
    output = Output.of(options, crew)
    session = output.session()
    system = open_model(model, quiet=output.quiet)
    plan = fit_plan(system, prompts, options, settings=session.settings if session else None)
    carry_out(system, plan, session, output)


def make_prompts(options: dict[str, Any]) -> dict[int, Prompt]:
    """One prompt per take, by number, from the options of the command."""
    from jukebox_hf.generation.settings import Prompt

    shared = {
        "artist": options["artist"],
        "genre": options["genre"],
        "lyrics": read_lyrics_option(options["lyrics"]),
        "seconds": options["seconds"],
        "total_seconds": options["total_seconds"],
        "offset_seconds": options["offset_seconds"],
        "primer_start_seconds": options["primer_start"],
        "primer_end_seconds": options["primer_end"],
    }
    given = {name: value for name, value in shared.items() if value is not None}
    primers: tuple[Path, ...] = options["primers"]
    if options["prompts_file"] is not None:
        if primers:
            raise click.UsageError("--prompts and --primer exclude each other; name primers there")
        lines = read_prompts(options["prompts_file"], given)
    else:
        lines = [Prompt(**given, primer=primer) for primer in primers or (None,)]
    takes = options["takes"] or len(lines)
    return {number + 1: lines[number % len(lines)] for number in range(takes)}
