"""Options that the commands which make music share, and what some of them name, read.

Text of the command line goes in; plain values for a request come out. Nothing here imports torch
until a command runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from jukebox_hf.sampling_settings import SETTINGS, LevelSettings

from .crew import crew_option
from .options import (
    AUDIO_FORMATS,
    BACKENDS,
    DURATION,
    SAMPLING_PRECISIONS,
    device_option,
    json_option,
    model_option,
    note,
    output_option,
    per_level_option,
    quiet_option,
    seed_option,
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
            help="How a step runs: compiled takes minutes to begin, graph needs CUDA.",
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
        *(_level_option(one) for one in sorted(fields(LevelSettings), key=_is_flag)),
    ]
    return _apply(options, function)


def going_on_options(seed: str = "a new one") -> Callable[[Function], Function]:
    """Of commands that make a session of what a session or a file of codes holds.

    `seed` says where it comes from if it is not given.
    """
    options = [
        click.argument(
            "source", metavar="SESSION|CODES", type=click.Path(exists=True, path_type=Path)
        ),
        label_options,
        seed_option(seed),
        model_option(
            default_text="that of the session; for codes, the one that comes with the package"
        ),
        device_option,
        step_options,
        sampling_options,
        output_option(
            kind="folder",
            help="Folder of the new session.",
            default_text="a new one with time and seed in its name",
        ),
        crew_option,
        click.option("--dry-run", is_flag=True, help="Say what it would take, and stop."),
        json_option,
        quiet_option,
    ]
    return lambda function: _apply(options, function)


def _is_flag(one: Field[Any]) -> bool:
    return SETTINGS[one.name].type is bool


def _level_option(one: Field[Any]) -> Callable[[Function], Function]:
    """The option of a setting of levels; a flag is for all of them."""
    kind, name = SETTINGS[one.name], f"--{one.name.replace('_', '-')}"
    if _is_flag(one):
        return click.option(name, is_flag=True, default=None, help=kind.help)
    value_type = click.FLOAT if kind.type is float else click.INT
    return per_level_option(
        name,
        value_type=NumberOrWordType(kind.words) if kind.words else value_type,
        help=kind.help,
        default_text=None if one.default is None else "the model's",
    )


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


class NumberOrWordType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """`4` -> 4, and a word such as `auto` as it is."""

    name = "integer"

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
            return int(value)
        if value not in self.words:
            others = ", or ".join(self.words)
            self.fail(f"{value!r:.60} is not a whole number; give one, or {others}", param, ctx)
        return str(value)


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
