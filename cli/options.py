"""What commands share: options, parameter types, and how errors and results are shown.

Text of the command line goes in; seconds, levels and per-level values come out.
Nothing here imports torch.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import click

Function = TypeVar("Function", bound=Callable[..., Any])
Value = TypeVar("Value")

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("float32", "float16", "bfloat16")
SAMPLING_PRECISIONS = (*PRECISIONS, "int8", "int4")  # as `generation.devices.PRECISIONS`
LONGEST_MESSAGE = 2000  # characters of an error: it may quote what a stranger wrote
JSON_FLAG = "--json"
INTERRUPTED = 130
STANDARD_STREAM = "-"  # in place of a file: standard input, or standard output
AUDIO_FORMATS = ("wav", "flac", "ogg", "opus", "mp3", "m4a", "aac")  # as `audio.WRITABLE_FORMATS`
MOST_TAKES = 10_000  # as `generation.session_record.MOST_TAKES`
BACKENDS = ("eager", "compiled", "graph")  # as `generation.devices.BACKENDS`

# Errors of libraries that say what a user did or what the world is like, by module and class.
# A module that is not imported cannot have raised, so none has to be imported to look.
LIBRARY_ERRORS = (
    ("huggingface_hub.errors", "HfHubHTTPError"),
    ("httpx", "HTTPError"),  # huggingface_hub 1: no connection
    ("httpx2", "HTTPError"),  # huggingface_hub 2
    ("safetensors", "SafetensorError"),
    ("torch", "OutOfMemoryError"),
)


# --- errors and results -------------------------------------------------------------------------


@contextlib.contextmanager
def clean_errors() -> Iterator[None]:
    """Within it an expected error is one line on stderr and exit code 1, and Ctrl-C exit code 130.

    Expected are `ValueError`, `OSError` and `ImportError`, and what the Hub, safetensors and a full
    device raise. With `JUKEBOX_TRACEBACK=1` in the environment the error itself is raised, to see
    where it comes from.
    """
    try:
        yield
    except KeyboardInterrupt:
        if os.environ.get("RANK", "0") == "0":  # of several processes one says it
            click.echo("Interrupted.", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    except click.NoSuchOption as error:
        raise named_here(error) from None
    except expected_errors() as error:
        if isinstance(error, OSError) and error.errno == errno.EPIPE:
            raise  # `jukebox labels | head`: click ends quietly
        if os.environ.get("JUKEBOX_TRACEBACK"):
            raise
        raise click.ClickException(one_line(error)) from error


@contextlib.contextmanager
def errors_as_json(arguments: Sequence[str]) -> Iterator[None]:
    """Within it, where `arguments` say `--json`, what a command fails with is an object, too.

    It goes to stdout, where a program reads the result, and takes its place; the sentence for
    people stays on stderr.
    """
    try:
        yield
    except click.ClickException as error:
        print_error(arguments, error.format_message(), error.exit_code)
        raise
    except click.exceptions.Exit as error:
        if error.exit_code == INTERRUPTED:
            print_error(arguments, "interrupted; the same can go on", INTERRUPTED)
        raise


def print_error(arguments: Sequence[str], message: str, exit_code: int) -> None:
    """With `--json` among the arguments: an error as a line of JSON on stdout."""
    given = list(arguments)
    if JSON_FLAG in given[: given.index("--") if "--" in given else None]:
        print_result("", {"error": shown(message), "exit_code": exit_code}, as_json=True)


def named_here(error: click.NoSuchOption) -> click.UsageError:
    """The same error, with our name where the option is one of transformers, TRL or peft.

    Those are written with underscores (`--per_device_train_batch_size`), which stand for dashes.
    """
    command = error.ctx.command if error.ctx is not None else None
    known = {
        option: parameter
        for parameter in (command.params if command is not None else ())
        for option in parameter.opts
        if option.startswith("--")
    }
    name = error.option_name.lstrip("-").replace("-", "_")
    found = f"--{name.replace('_', '-')}"
    if found not in known and "--set" in known:
        from jukebox_hf.training import NAMES_ELSEWHERE, setting_names

        setting = NAMES_ELSEWHERE.get(name, name)
        found = f"--{setting.replace('_', '-')}"
        if found not in known and setting in setting_names():
            found = f"--set {setting}=VALUE"
    if found not in known and not found.startswith("--set "):
        return error
    return click.UsageError(f"No such option {error.option_name!r}. Here it is {found}", error.ctx)


def expected_errors() -> tuple[type[BaseException], ...]:
    """The kinds of error that deserve one line instead of a traceback."""
    found = [
        getattr(sys.modules[module], name)
        for module, name in LIBRARY_ERRORS
        if hasattr(sys.modules.get(module), name)
    ]
    return (ValueError, OSError, ImportError, *found)


def one_line(error: BaseException) -> str:
    """The message of an error on one line; a file's error starts with its name."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return shown(f"{os.fsdecode(error.filename)}: {error.strerror}")
    text = " ".join(str(error).split()) or type(error).__name__
    return shown(text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}...")


def shown(text: str) -> str:
    """Text that cannot steer a terminal, whoever wrote it; lines and tabs stay."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else ascii(char)[1:-1] for char in text
    )


def note(text: str, *, quiet: bool = False) -> None:
    """Say something beside the result, on stderr."""
    if not quiet:
        with unheard():
            click.echo(shown(text), err=True)


def print_result(text: object, record: Mapping[str, Any], *, as_json: bool) -> None:
    """The result of a command on stdout: `text`, or with `--json` the record on one line."""
    with unheard():
        click.echo(
            json.dumps(record, ensure_ascii=False, default=str) if as_json else shown(str(text))
        )


def silence_transformers() -> None:
    """No bars of transformers for reading and writing a file of weights."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Nobody need listen: what is printed to a closed pipe or terminal is lost, the work is not."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EBADF, errno.EIO, errno.EINVAL):
            raise
        for stream in (sys.stdout, sys.stderr):  # Python flushes both at its end
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
                continue
            with contextlib.suppress(OSError, ValueError, AttributeError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def print_anything() -> None:
    """From now on what a terminal cannot show is spelt out: printing never fails for a letter."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


# --- parameter types ----------------------------------------------------------------------------


class DurationType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """`90`, `90.5`, `1:30`, `1:30.5` or `1:02:03` -> seconds, a float of at least 0."""

    name = "duration"

    def get_metavar(self, *args: Any, **kwargs: Any) -> str:
        return "SECONDS|M:SS"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        seconds = value if isinstance(value, (int, float)) else parse_duration(value)
        if seconds is None or not 0 <= seconds < math.inf:
            self.fail(
                f"{value!r:.60} is not a duration; give seconds, as in 90 or 2.5, or m:ss, as in "
                "1:30",
                param,
                ctx,
            )
        return float(seconds)


def parse_duration(text: str) -> float | None:
    """Seconds that `text` means, or None if it is no duration.

    >>> parse_duration("90.5"), parse_duration("1:30"), parse_duration("1:02:03.5")
    (90.5, 90.0, 3723.5)
    >>> parse_duration("1:75"), parse_duration("soon"), parse_duration("-1:30")
    (None, None, None)
    """
    *leading, last = text.strip().split(":")
    try:
        seconds = float(last)
    except ValueError:
        return None
    if not leading:
        return seconds
    clock = all(part.isascii() and part.isdigit() for part in leading) and len(leading) <= 2
    if (
        not clock
        or not last[:1].isdigit()
        or seconds >= 60
        or any(int(p) >= 60 for p in leading[1:])
    ):
        return None
    for power, part in enumerate(reversed(leading), start=1):
        seconds += int(part) * 60**power
    return seconds


class NumbersType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """`2` or `0,2` -> numbers, such as those of levels, in ascending order, each once."""

    def __init__(self, noun: str, *, least: int, example: str) -> None:
        self.noun = noun
        self.name = f"{noun}s"
        self.least = least
        self.example = example

    def get_metavar(self, *args: Any, **kwargs: Any) -> str:
        return f"{self.noun.upper()}[,{self.noun.upper()}...]"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in value.split(",")]
        if not all(p.isascii() and p.isdigit() and int(p) >= self.least for p in parts):
            self.fail(
                f"{value!r:.60} is not a list of {self.name}; give them as in {self.example}",
                param,
                ctx,
            )
        return tuple(sorted({int(part) for part in parts}))


class PerLevelType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """`VALUE` -> (None, value), `LEVEL=VALUE` -> (level, value); the value is of another type."""

    def __init__(self, value_type: click.ParamType[Any]) -> None:
        self.value_type = value_type
        self.name = f"per-level {value_type.name}"

    def get_metavar(self, *args: Any, **kwargs: Any) -> str:
        return "VALUE|LEVEL=VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int | None, Any]:
        if isinstance(value, tuple):
            return cast("tuple[int | None, Any]", value)
        level, equals, text = value.rpartition("=")
        if self.value_type is click.STRING:  # which may hold the sign
            level, equals, text = value.partition("=")
            if not (equals and level.isascii() and level.isdigit()):
                return (None, value)
        if equals and not (level.isascii() and level.isdigit()):
            self.fail(
                f"{value!r:.60}: {level!r:.40} is not a level; give VALUE or LEVEL=VALUE",
                param,
                ctx,
            )
        return (int(level) if equals else None, self.value_type.convert(text, param, ctx))


DURATION = DurationType()
LEVELS = NumbersType("level", least=0, example="2 or 0,2")
TAKES = NumbersType("take", least=1, example="3 or 2,5")


def merge_levels(
    ctx: click.Context, param: click.Parameter, pairs: Sequence[tuple[int | None, Value]]
) -> dict[int | None, Value]:
    """Callback: what was given, by level; the key None stands for all levels that are not named."""
    merged: dict[int | None, Value] = {}
    for level, value in pairs:
        if level in merged:
            which = "for all levels" if level is None else f"for level {level}"
            raise click.BadParameter(f"given twice {which}", ctx=ctx, param=param)
        merged[level] = value
    return merged


# --- options ------------------------------------------------------------------------------------


def per_level_option(
    *declarations: str, value_type: click.ParamType[Any], help: str, default_text: str | None = None
) -> Callable[[Function], Function]:
    """An option given as `VALUE` or `LEVEL=VALUE`, repeatable; the command gets a dict.

    Its keys are levels, and None for all that are not named.
    """
    return click.option(
        *declarations,
        type=PerLevelType(value_type),
        multiple=True,
        callback=merge_levels,
        show_default=default_text or False,
        help=f"{help} Repeatable.",
    )


def model_option(
    *,
    required: bool = False,
    help: str = "Model: a folder, or a repository on the Hub.",
    default_text: str = "",
) -> Callable[[Function], Function]:
    """`--model REPO_OR_DIR`; None if not `required`: `default_text` says what that means."""
    return click.option(
        "--model",
        required=required,
        metavar="REPO_OR_DIR",
        show_default=default_text or False,
        help=help,
    )


def output_option(
    *, help: str, kind: Literal["file", "folder", "any"] = "any", default_text: str = ""
) -> Callable[[Function], Function]:
    """`-o/--output`: a path, or None. Whether it may exist is the library's to check."""
    return click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path, dir_okay=kind != "file", file_okay=kind != "folder"),
        show_default=default_text or False,
        help=help,
    )


def seed_option(default: str = "a new one") -> Callable[[Function], Function]:
    """`--seed`: an integer of 64 bits without sign, or None for what `default` says in words."""
    return click.option(
        "--seed",
        type=click.IntRange(0, 2**64 - 1),
        show_default=default,
        help="Seed of everything random; the same seed gives the same result.",
    )


def device_option(function: Function) -> Function:
    """`--device`: one of `DEVICES`."""
    return click.option(
        "--device", type=click.Choice(DEVICES), default="auto", help="Where the models run."
    )(function)


def precision_option(function: Function) -> Function:
    """`--precision`: one of `PRECISIONS`, or None for the one that suits device and model."""
    return click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        show_default="what suits the device",
        help="Precision the models run in.",
    )(function)


def overwrite_option(function: Function) -> Function:
    """`--overwrite`: replace files that exist, which are otherwise left alone."""
    return click.option("--overwrite", is_flag=True, help="Replace files that exist.")(function)


def json_option(function: Function) -> Function:
    """`--json`, the argument `as_json`: see `print_result`."""
    return click.option(
        JSON_FLAG, "as_json", is_flag=True, help="Print the result, or the error, as JSON."
    )(function)


def quiet_option(function: Function) -> Function:
    """`-q/--quiet`: no notes and no progress on stderr."""
    return click.option("-q", "--quiet", is_flag=True, help="No notes and no progress.")(function)
