"""`jukebox train vqvae|prior`: songs or codes in, a model folder out."""

from __future__ import annotations

import click

from .generation_options import BUILT_IN_MODEL, say_built_in
from .options import json_option, model_option, print_result
from .training_options import RunOptions, run_training, settings_of, training_options


@click.group()
def train() -> None:
    """Train a codec or a prior, from nothing or from a model that exists.

    Settings come from a preset (`jukebox train presets`) or a YAML file, then from options. The
    folder of the run holds checkpoints, `log.jsonl`, samples, `best/` and in the end `final/`, both
    of which other commands take as --model.
    """


@train.command()
@click.option(
    "--start-from", metavar="REPO_OR_DIR", help="Model whose codec to go on from.", default=None
)
@training_options
def vqvae(start_from: str | None, options: RunOptions) -> None:
    """Train the codec: audio to codes and back."""
    settings = settings_of("vqvae", options, None, start_from=start_from)
    run_training(settings, options)


@train.command()
@model_option(
    default_text=f"--start-from, else {BUILT_IN_MODEL}",
    help="Codec, or system, whose codes to learn; its other parts stay with the result.",
)
@click.option("--level", type=click.IntRange(min=0), help="Whose codes to learn; 0 is the finest.")
@click.option(
    "--start-from", metavar="REPO_OR_DIR", help="Model whose prior to go on from.", default=None
)
@training_options
def prior(
    model: str | None, level: int | None, start_from: str | None, options: RunOptions
) -> None:
    """Train the prior of one level, on codes (`jukebox encode --dataset`) or on audio."""
    settings = settings_of("prior", options, None, codec=model, level=level, start_from=start_from)
    if settings.codec is None and settings.start_from is None:
        from jukebox_hf.hub import BUILT_IN_NAME

        say_built_in(BUILT_IN_NAME, quiet=options.quiet)
        settings = settings.with_changes(codec=BUILT_IN_NAME)
    run_training(settings, options)


@train.command()
@json_option
def presets(as_json: bool) -> None:
    """List the built-in presets, each with its first line; --json adds their settings."""
    from jukebox_hf.training import TrainingSettings, preset_names, preset_path

    found = {
        name: preset_path(name).read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        for name in preset_names()
    }
    width = max(map(len, found))
    lines = [f"{name:<{width}}  {about}" for name, about in found.items()]
    record = {
        name: {"about": about, "settings": TrainingSettings.preset(name).to_dict()}
        for name, about in (found.items() if as_json else ())
    }
    print_result("\n".join(lines), {"presets": record}, as_json=as_json)
