"""`jukebox finetune`: a model and your songs in, a model that knows them out."""

from __future__ import annotations

from typing import Any

import click

from .options import model_option
from .training_options import run, settings_of, training_options

DEFAULT_RANK = 16


@click.command()
@model_option(required=False, help="Model to teach: a folder, or a repository on the Hub.")
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
@training_options
def finetune(
    model: str | None, level: int | None, lora: bool, lora_rank: int | None, **options: Any
) -> None:
    """Teach a model your songs: by default its top prior, with all weights.

    Artists and genres that it does not know are added to its tables. The result refers to the
    base's codec and upsamplers, so it is a whole model: `jukebox generate --model OUTPUT/final`.
    """
    if model is None and not options["resume"]:
        raise click.UsageError("--model says what to teach; give a folder or a repository")
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
    run(settings, options)
