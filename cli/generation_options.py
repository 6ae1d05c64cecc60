"""Options that the commands which make music share, and what some of them name, read.

Text of the command line goes in; plain values for a request come out. Nothing here imports torch
until a command runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .options import (
    AUDIO_FORMATS,
    BACKENDS,
    DURATION,
    SAMPLING_PRECISIONS,
    note,
    per_level_option,
)

if TYPE_CHECKING:
    from jukebox_hf.hub import System
    from jukebox_hf.labels import TimedLyrics

Function = TypeVar("Function", bound=Callable[..., Any])

BUILT_IN_MODEL = "the model that comes with the package"


# --- options ------------------------------------------------------------------------------------


def label_options(function: Function) -> Function:
    """`--artist`, `--genre`, `--lyrics`, `--total-seconds`, `--offset-seconds`."""
    options = [
        per_level_option(
            "--artist",
            value_type=click.STRING,
            help="Artist, as the model knows it (`jukebox labels`).",
        ),
        per_level_option("--genre", value_type=click.STRING, help="Genre, as the model knows it."),
        click.option(
            "--lyrics",
            metavar="FILE|-",
            help="Lyrics: a text file, a timed .lrc file, or - for standard input.",
        ),
        click.option(
            "--total-seconds",
            type=DURATION,
            show_default="the model's",
            help="Length of the whole song that the piece is part of.",
        ),
        click.option(
            "--offset-seconds",
            type=DURATION,
            show_default="0",
            help="Where in that song the piece begins.",
        ),
    ]
    return _apply(options, function)


def step_options(function: Function) -> Function:
    """`--precision` and `--backend`: what the priors' weights are, and how a step runs."""
    options = [
        click.option(
            "--precision",
            type=click.Choice(SAMPLING_PRECISIONS),
            show_default="what suits the device",
            help="Weights of the priors; int8 and int4 are rounded: smaller, faster, not exact.",
        ),
        click.option(
            "--backend",
            type=click.Choice(BACKENDS),
            show_default="eager",
            help="How a step runs: compiled takes a minute to begin, graph needs CUDA.",
        ),
    ]
    return _apply(options, function)


def sampling_options(function: Function) -> Function:
    """How each level is sampled; the command gets one dict per option, by level."""
    options = [
        click.option(
            "--to-level",
            type=click.IntRange(min=0),
            show_default="0, the finished music",
            help="Finest level to make; the top level alone is a quick sketch.",
        ),
        click.option(
            "--format",
            "audio_format",
            type=click.Choice(AUDIO_FORMATS),
            show_default="flac",
            help="Of the audio files.",
        ),
        per_level_option(
            "--temperature",
            value_type=click.FLOAT,
            help="Below 1 the likely becomes likelier.",
            default_text="the model's",
        ),
        per_level_option(
            "--top-k", value_type=click.INT, help="Choose among so many likeliest codes only."
        ),
        per_level_option(
            "--top-p",
            value_type=click.FLOAT,
            help="Choose among the likeliest codes that reach this probability only.",
        ),
        per_level_option(
            "--guidance",
            value_type=click.FLOAT,
            help="Above 1 artist and genre count more than the model learnt; takes more time.",
            default_text="the model's",
        ),
        per_level_option(
            "--hop-fraction",
            value_type=click.FLOAT,
            help="How far windows move, as a part of what the model sees at once.",
            default_text="the model's",
        ),
        per_level_option(
            "--chains",
            value_type=ChainsType(),
            help="Cut the levels below the top into so many runs that are made side by side and "
            "joined, or auto: faster, not exact.",
            default_text="the model's",
        ),
        click.option(
            "--codes-only",
            is_flag=True,
            default=None,
            help="Never let a model with lyrics in its sequence choose a letter for a sound.",
        ),
    ]
    return _apply(options, function)


def _apply(options: Sequence[Callable[[Function], Function]], function: Function) -> Function:
    for option in reversed(options):
        function = option(function)
    return function


class AdapterType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """`PATH` or `2=PATH` -> the level, if it was said, and a folder or repository."""

    name = "adapter"

    def get_metavar(self, *args: Any, **kwargs: Any) -> str:
        return "[LEVEL=]DIR|REPO"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int | None, str]:
        level, separator, place = value.partition("=")
        is_level = bool(separator) and level.isascii() and level.isdigit() and len(level) == 1
        return (int(level), place) if is_level else (None, value)


def adapter_option(function: Function) -> Function:
    """`--adapter`: LoRAs on the model's priors."""
    return click.option(
        "--adapter",
        "adapters",
        type=AdapterType(),
        multiple=True,
        help="LoRA of one of its priors, as `finetune --lora` or peft makes it. Repeatable.",
    )(function)


class ChainsType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """`4` -> 4, `auto` -> "auto"."""

    name = "chains"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
            return int(value)
        if value != "auto":
            self.fail(f"{value!r:.60} is not a number of chains; give one, or auto", param, ctx)
        return "auto"


class TakesType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """`3` or `2,5` -> numbers of takes in ascending order, each once."""

    name = "takes"

    def get_metavar(self, *args: Any, **kwargs: Any) -> str:
        return "TAKE[,TAKE...]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in value.split(",")]
        if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
            self.fail(f"{value!r:.60} is not a list of takes; give them as in 3 or 2,5", param, ctx)
        return tuple(sorted({int(part) for part in parts}))


TAKES = TakesType()


def open_model(
    model: str | None,
    *,
    revision: str | None = None,
    adapters: Sequence[tuple[int | None, str]] = (),
    quiet: bool = False,
) -> System:
    """The model given, else the one that comes with the package; one line says that it is used.

    `adapters`: LoRAs of its priors, each with its level if that was said. Raises
    `FileNotFoundError` where there is none.
    """
    from jukebox_hf.hub import open_location

    # Before the libraries that models need: a mistyped name is refused at once.
    location = None if model is None else open_location(model, revision=revision)

    from jukebox_hf.hub import System

    system = System.open(location)
    for level, place in adapters:
        system.attach_adapter(place, level=level)
    if model is None:
        say_built_in(system.title, quiet=quiet)
    return system


def say_built_in(name: str, *, quiet: bool, option: str = "--model") -> None:
    """One line: no model was named, so it is the one that comes with the package."""
    from jukebox_hf.hub import LARGER_MODEL

    note(
        f"Using {name}, the small demo that comes with the package; choose a larger model with "
        f"{option}, such as {LARGER_MODEL}.",
        quiet=quiet,
    )


def read_lyrics_option(value: str | None) -> str | TimedLyrics | None:
    """What `--lyrics` names, read; `-` is standard input."""
    if value is None:
        return None
    from jukebox_hf.labels import LARGEST_LYRICS_BYTES, decode_lyrics, read_lyrics

    if value == "-":
        data = sys.stdin.buffer.read(LARGEST_LYRICS_BYTES + 1)
        return decode_lyrics(data, source="standard input")
    return read_lyrics(Path(value))
