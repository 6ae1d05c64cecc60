"""Every command with its options, as `--help` says it."""

from collections.abc import Iterator

import click

from jukebox_cli.evaluate_music import music
from jukebox_cli.main import main


def list_commands(
    command: click.Command, context: click.Context
) -> Iterator[tuple[click.Context, click.Command]]:
    """A command and, if it is a group, all below it, each with the context that its help needs."""
    yield context, command
    if context.info_name == "evaluate":  # which looks at its first word
        yield click.Context(music, info_name="evaluate music", parent=context.parent), music
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None, "it was listed"
            yield from list_commands(inner, click.Context(inner, info_name=name, parent=context))


def describe_commands() -> str:
    """All of them as Markdown."""
    parts = [__doc__ or ""]
    for context, command in list_commands(main, click.Context(main, info_name="jukebox")):
        parts.append(f"## {context.command_path}\n\n```text\n{command.get_help(context)}\n```")
    return "\n\n".join(parts)


__all__: list[str] = []
