"""Options of every command that reads a dataset of songs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Function = TypeVar("Function", bound=Callable[..., Any])


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
