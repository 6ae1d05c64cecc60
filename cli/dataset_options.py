"""Options of every command that reads a dataset of songs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

Function = TypeVar("Function", bound=Callable[..., Any])
COLUMNS = ("audio_column", "artist_column", "genre_column", "lyrics_column")


def song_options(*, required: bool = False) -> Callable[[Function], Function]:
    """`--dataset` and what its parts are called: the keyword arguments of `open_songs`."""
    options = [
        click.option(
            "--dataset",
            required=required,
            metavar="DIR_OR_REPO",
            help="Songs: a folder, with or without metadata.csv or .jsonl, or a dataset on the "
            "Hub.",
        ),
        click.option("--subset", metavar="NAME", help="Configuration of a dataset on the Hub."),
        click.option(
            "--split",
            metavar="NAME",
            show_default="train, or all of a plain folder",
            help="Part of the dataset.",
        ),
        click.option(
            "--revision", metavar="REV", help="Branch, tag or commit of a dataset on the Hub."
        ),
        click.option(
            "--audio-column", metavar="NAME", default="audio", help="Column with the audio."
        ),
        *(
            click.option(
                f"--{label}-column",
                metavar="NAME",
                show_default=f"{label}, if there is one",
                help=f"Column with the {label}.",
            )
            for label in ("artist", "genre", "lyrics")
        ),
    ]

    def decorate(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def refuse_without_effect(*datasets: str | None) -> None:
    """Raise a usage error for an option on the command line that none of the datasets heeds."""
    places = [place for place in datasets if place is not None]
    ctx = click.get_current_context()
    given = [
        name
        for name in ("revision", "subset", "split", *COLUMNS)
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if not given or not all(Path(place).exists() for place in places):
        return
    for name in given:
        reasons = [_without_effect(name, place) for place in places]
        if reasons and all(reasons):
            raise click.UsageError(
                f"--{name.replace('_', '-')} has no effect on {places[0]}, {reasons[0]}; leave it "
                "out"
            )


def _without_effect(option: str, place: str) -> str | None:
    """Why a dataset on this machine does not heed an option; None if it does."""
    from jukebox_hf.data import holds_codes, holds_tables

    if holds_codes(place):
        return "which holds codes"
    if option == "revision":
        return "which is not on the Hub"
    if option == "subset" and not holds_tables(place):
        return "which has no configurations"
    if option == "split" and Path(place).is_file():
        return "which is one file"
    return None


class ShardType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """`K/N` -> (K - 1, N): part K of N, counted from 1."""

    name = "shard"

    def get_metavar(self, *args: Any, **kwargs: Any) -> str:
        return "K/N"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        number, _, total = value.partition("/")
        digits = all(part.isascii() and part.isdigit() for part in (number, total))
        if not digits or not 1 <= int(number) <= int(total):
            self.fail(f"{value!r} is not a part; give it as in 1/4, the first of four", param, ctx)
        return int(number) - 1, int(total)


SHARD = ShardType()
