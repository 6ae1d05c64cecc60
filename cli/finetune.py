"""`jukebox finetune`: a model and your songs in, a model that knows them out.

The songs become codes in the folder of the run, once; then the prior learns from these.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .bars import ProgressBar
from .crew import is_launched
from .dataset_encoding import count, list_skipped, tell_found
from .generation_options import BUILT_IN_MODEL, say_built_in
from .options import model_option, note, silence_transformers
from .training_options import (
    RunOptions,
    run_training,
    settings_of,
    training_options,
)

if TYPE_CHECKING:
    from jukebox_hf.training import TrainingSettings

DEFAULT_RANK = 16


@click.command()
@model_option(
    default_text=BUILT_IN_MODEL, help="Model to teach: a folder, or a repository on the Hub."
)
@click.option(
    "--level",
    type=click.IntRange(min=0),
    help="Which prior to teach; 0 is the finest.",
    show_default="the top one",
)
@click.option("--lora", is_flag=True, help="Train a small adapter instead of all weights.")
@click.option(
    "--lora-rank",
    type=click.IntRange(min=1),
    help="Size of the adapter.",
    show_default=f"{DEFAULT_RANK} with --lora",
)
@click.option(
    "--on-the-fly",
    is_flag=True,
    help="Encode anew at every step, mixed down and shifted in other ways each time, instead of "
    "once into OUTPUT/codes. Much slower.",
)
@training_options
def finetune(
    model: str | None,
    level: int | None,
    lora: bool,
    lora_rank: int | None,
    on_the_fly: bool,
    options: RunOptions,
) -> None:
    """Teach a model your songs: by default its top prior, with all weights.

    The songs are encoded first, into OUTPUT/codes; the same command goes on with what is there.

    Artists and genres that it does not know are added to its tables. The result refers to the
    base's codec and upsamplers, so it is a whole model: `jukebox generate --model OUTPUT/final`.
    """
    from jukebox_hf.launching import is_main

    output = options.output
    if options.resume and output is not None:
        from jukebox_hf.training import own_datasets

        # Whatever songs these codes were made of.
        options = replace(options, settings=options.settings | own_datasets(output))
    elif model is None:
        from jukebox_hf.hub import BUILT_IN_NAME

        model = BUILT_IN_NAME
        say_built_in(model, quiet=options.quiet)
    rank = (lora_rank or DEFAULT_RANK) if lora or lora_rank else None
    settings = settings_of(
        "prior",
        options,
        "finetune",
        start_from=model,
        codec=model,
        level=level,
        lora_rank=rank,
    )
    if not (on_the_fly or options.resume or options.dry_run):
        settings = encode_first(settings, quiet=options.quiet)
    run_training(settings, options)
    if not options.dry_run and is_main():
        final = shlex.quote(str(Path(settings.output or "") / "final"))
        note(f"Make music with it: jukebox generate --model {final}", quiet=options.quiet)


def encode_first(settings: TrainingSettings, *, quiet: bool) -> TrainingSettings:
    """The same run on the codes of its songs, which are made where they are missing."""
    from jukebox_hf.training import encode_songs, own_codes

    if is_launched():  # the process that launched this one has encoded them
        return own_codes(settings)
    silence_transformers()
    bar = ProgressBar(quiet=quiet)
    try:
        found = encode_songs(settings, look_into=bar.look_into, progress=bar.encode)
    except KeyboardInterrupt:
        bar.close()
        note("The songs that are done are kept; the same command goes on from there.", quiet=quiet)
        raise
    bar.close()
    tell_found(found.found, found.notes, quiet=quiet)
    list_skipped(found.skipped, quiet=quiet)
    for report in found.reports:
        note(
            f"Encoded {count(report.encoded, 'song')}; {report.folder} holds {report.present}.",
            quiet=quiet,
        )
    return found.settings
