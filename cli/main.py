"""The `jukebox` command: finds its commands by name and imports one only when it is asked for.

Arguments go in; the exit code comes out: 0 done, 1 failed, 2 usage, 130 interrupted and resumable.
What a command does stands in the module that `COMMANDS` names; shared options stand in `options`.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from .crew import is_launched, run_as_launched, terminated_like_interrupted
from .options import LONGEST_MESSAGE, clean_errors, errors_as_json, print_anything, shown


class CommandEntry(NamedTuple):
    """Where a command lives, and its line in the list of commands."""

    module: str
    attribute: str
    help: str


# One row per command whose module exists, in the order in which `jukebox --help` lists them.
COMMANDS: dict[str, CommandEntry] = {
    "generate": CommandEntry("generate", "generate", "Make music from genre, artist and lyrics."),
    "continue": CommandEntry("continue_", "continue_", "Go on from a session or from codes."),
    "upsample": CommandEntry(
        "upsample", "upsample", "Finish takes that stopped at a coarse level."
    ),
    "edit": CommandEntry("edit", "edit", "Cut, repeat and join parts of what is made."),
    "infill": CommandEntry("infill", "infill", "Make a stretch of a take again, or put one in."),
    "resume": CommandEntry("resume", "resume", "Go on with an interrupted session."),
    "sessions": CommandEntry(
        "sessions", "sessions", "List, show, keep, export, rename and remove sessions."
    ),
    "studio": CommandEntry("studio.command", "studio", "Compose on a page in the browser."),
    "encode": CommandEntry("encode", "encode", "Turn audio into codes."),
    "decode": CommandEntry("decode", "decode", "Turn codes back into audio."),
    "embed": CommandEntry("embed", "embed", "Turn music into features for other models."),
    "train": CommandEntry("train", "train", "Train a codec or a prior."),
    "finetune": CommandEntry("finetune", "finetune", "Teach a model your songs."),
    "evaluate": CommandEntry("evaluate", "evaluate", "Measure a codec or priors on songs."),
    "convert": CommandEntry("convert", "convert", "Bring older checkpoints into this layout."),
    "merge": CommandEntry("merge", "merge", "Add the weights of adapters to those of a model."),
    "push": CommandEntry("push", "push", "Upload a model, a part of one or codes to the Hub."),
    "pull": CommandEntry("pull", "pull", "Fetch a model with all its parts from the Hub."),
    "info": CommandEntry("info", "info", "Tell what a model is and what it needs."),
    "labels": CommandEntry("labels", "labels", "List or search the artists and genres of a model."),
}


class LazyGroup(click.Group):
    """A group that knows its commands from a table and imports a command on its first use."""

    arguments: Sequence[str] = ()  # as they were typed

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module = importlib.import_module(f".{entry.module}", package=__package__)
        command = getattr(module, entry.attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands from the table alone: importing them all would cost seconds."""
        if COMMANDS:
            with formatter.section("Commands"):
                formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """As click's; as a whole program also as one of several processes (`crew`)."""
        given = kwargs.get("args", args[0] if args else None)
        self.arguments = list(sys.argv[1:] if given is None else given)
        if not kwargs.get("standalone_mode", True):
            return super().main(*args, **kwargs)
        with terminated_like_interrupted():
            if not is_launched():
                return super().main(*args, **kwargs)
            kwargs["standalone_mode"] = False  # errors are said by one process
            run_as_launched(functools.partial(super().main, *args, **kwargs))

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with self._errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        print_anything()
        with self._errors():
            try:
                with clean_errors():  # also Ctrl-C while a command is imported
                    return super().invoke(ctx)
            except click.UsageError as error:  # may quote an option of any length
                text = error.format_message()
                short = shown(text[:LONGEST_MESSAGE])
                if short == text:
                    raise
                raise click.UsageError(f"{short}...", ctx=error.ctx) from None

    def _errors(self) -> contextlib.AbstractContextManager[None]:
        """Where errors are told as JSON; of several processes `crew` has one tell them."""
        return contextlib.nullcontext() if is_launched() else errors_as_json(self.arguments)


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "show_default": True,
        "max_content_width": 100,
    },
)
@click.version_option(package_name="jukebox-hf", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Make music as raw audio, with singing, from genre, artist and lyrics."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
