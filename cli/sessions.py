"""`jukebox sessions`: look at sessions, mark good takes, get audio and codes out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import (
    AUDIO_FORMATS,
    TAKES,
    device_option,
    json_option,
    model_option,
    note,
    one_line,
    overwrite_option,
    print_result,
    quiet_option,
)

if TYPE_CHECKING:
    from jukebox_hf.generation import ParentRecord, SessionOverview, TakeRecord
    from jukebox_hf.sampling_settings import LevelSettings

SESSION = click.Path(exists=True, file_okay=False, path_type=Path)


class NumbersInOrder(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.4
    """So many numbers, as they stand: `3,1,2` -> (3, 1, 2)."""

    name = "numbers"

    def __init__(self, count: int, *, whole: bool = False) -> None:
        self.count = count
        self.whole = whole

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            found = tuple((int if self.whole else float)(part) for part in value.split(","))
        except ValueError:
            found = ()
        if len(found) != self.count:
            self.fail(
                f"{value!r:.60} is not {self.count} numbers; give them as in 1,2,3", param, ctx
            )
        return found


@click.group()
def sessions() -> None:
    """Look at sessions, mark their good takes, and get audio and codes out of them."""


@sessions.command("list")
@click.argument("folder", type=SESSION, default=".")
@json_option
def list_sessions(folder: Path, as_json: bool) -> None:
    """List the sessions in FOLDER: state, takes, seconds and seed of each."""
    from jukebox_hf.generation import SessionOverview, session_folders

    found = []
    for path in session_folders(folder):
        try:
            found.append(SessionOverview.open(path))
        except (ValueError, OSError) as error:  # the others are to be seen all the same
            note(f"Left out: {one_line(error)}")
    lines = []
    for session in found:
        seconds = max(take.seconds for take in session.takes)
        lines.append(
            f"{session.folder}\t{state(session)}\t{len(session.takes)} x {seconds:g} s"
            f"\tseed {session.settings.seed}"
        )
    records = [sessions_summary(session) for session in found]
    if lines or as_json:
        print_result("\n".join(lines), {"sessions": records}, as_json=as_json)
    else:
        note(f"There are no sessions in {folder}.")


@sessions.command()
@click.argument("session", type=SESSION)
@json_option
def show(session: Path, as_json: bool) -> None:
    """Show one session: what was asked for, how far it is, where chains were joined.

    With --json, all that session.json says.
    """
    from jukebox_hf.generation import SessionOverview

    found = SessionOverview.open(session)
    record = found.record
    settings = found.settings
    lines = [
        f"session   {session} ({state(found)})",
        f"model     {found.model_name}",
        f"licence   {record.model.licence or 'unknown'}",
        f"begun     {record.created}",
        *([] if record.parent is None else [f"from      {origin(record.parent)}"]),
        f"seed      {settings.seed}",
        f"precision {settings.precision} on {record.device}",
    ]
    for level, own in sorted(settings.levels.items(), reverse=True):
        lines.append(f"level {level}   {', '.join(choices(own))}")
    for take in found.takes:
        lines.append(take_line(found, take))
    for entry in record.joins():
        for seam in entry.seams or []:
            lines.append(
                f"seam      take {entry.take}, level {entry.level} at {seam.seconds:g} s, "
                f"likeness {seam.likeness:g}"
            )
    lines += [f"note      {text}" for text in record.notes]
    print_result("\n".join(lines), record.to_json(), as_json=as_json)


@sessions.command()
@click.argument("session", type=SESSION)
@click.argument("takes", type=TAKES)
@json_option
def keep(session: Path, takes: tuple[int, ...], as_json: bool) -> None:
    """Mark the good takes of a session, as in `keep SESSION 2,5`.

    `continue`, `upsample` and `export` then use these unless told otherwise. Nothing is deleted.
    """
    from jukebox_hf.generation import SessionOverview

    found = SessionOverview.open(session)
    found.keep(list(takes))
    text = "\n".join(str(number) for number in takes)
    print_result(text, {"session": str(session), "kept": list(takes)}, as_json=as_json)


@sessions.command()
@click.argument("session", type=SESSION)
@click.argument("name")
@json_option
def rename(session: Path, name: str, as_json: bool) -> None:
    """Give the folder of a session another NAME. Prints its path."""
    from jukebox_hf.generation import rename_session

    moved = str(rename_session(session, name))
    print_result(moved, {"session": moved}, as_json=as_json)


@sessions.command()
@click.argument("folders", metavar="[SESSION]...", type=SESSION, nargs=-1)
@click.option("--yes", is_flag=True, help="Empty the bin, too: what is in it is gone then.")
@json_option
def remove(folders: tuple[Path, ...], yes: bool, as_json: bool) -> None:
    """Move sessions into the bin, the folder `.trash` beside them; --yes empties it.

    Without a SESSION the bin is the one of this folder. To take a session back, move its folder out
    of the bin. Prints where the sessions are, or what is gone.
    """
    from jukebox_hf.generation import empty_trash, remove_session

    removed = [remove_session(folder) for folder in folders]
    places = dict.fromkeys(folder.parent for folder in folders) or {Path(): None}
    gone = [path for place in places for path in empty_trash(place)] if yes else []
    shown = [str(path) for path in (gone if yes else removed)]
    record = {"removed": [str(path) for path in removed], "gone": [str(path) for path in gone]}
    if not folders and not yes:
        raise click.UsageError("name a session, or say --yes to empty the bin of this folder")
    print_result("\n".join(shown), record, as_json=as_json)


@sessions.command()
@click.argument("session", type=SESSION)
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="Folder for the files; made if needed.",
)
@click.option("--takes", "numbers", type=TAKES, show_default="those kept, or all", help="Which.")
@click.option(
    "--format",
    "audio_format",
    type=click.Choice(AUDIO_FORMATS),
    default="flac",
    help="Of the audio files.",
)
@click.option("--codes", is_flag=True, help="Write codes files instead of audio.")
@click.option(
    "--stereo",
    type=NumbersInOrder(3, whole=True),
    metavar="LEFT,CENTRE,RIGHT",
    help="Write these three takes as one file, as renders of one take sound wide.",
)
@click.option(
    "--delay",
    type=NumbersInOrder(3),
    metavar="SECONDS,SECONDS,SECONDS",
    show_default="0,0,0",
    help="With --stereo: by how much each of them is late.",
)
@model_option(help="The model of the session, if it is at another place now.")
@device_option
@overwrite_option
@json_option
@quiet_option
def export(
    session: Path,
    output: Path,
    numbers: tuple[int, ...] | None,
    audio_format: str,
    codes: bool,
    stereo: tuple[int, ...] | None,
    delay: tuple[float, ...] | None,
    model: str | None,
    device: str,
    overwrite: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Write audio, or codes, of chosen takes to files elsewhere.

    A take that is not finished is written from the finest level that it has complete. Prints the
    paths.
    """
    from jukebox_hf.generation import Session, export_audio, export_codes, export_stereo

    found = Session.open(session)
    chosen = list(numbers) if numbers else found.kept
    if stereo is None and delay is not None:
        raise click.UsageError("--delay goes with --stereo")
    if stereo is not None and (codes or numbers):
        raise click.UsageError("--stereo names its takes, and writes audio")
    if stereo is not None:
        chosen = list(stereo)
        paths = [
            export_stereo(
                found,
                stereo,
                output,
                delay_seconds=delay or (),
                audio_format=audio_format,
                overwrite=overwrite,
                model=model,
                device=device,
            )
        ]
    elif codes:
        paths = export_codes(found, chosen, output, overwrite=overwrite)
    else:
        paths = export_audio(
            found,
            chosen,
            output,
            audio_format=audio_format,
            overwrite=overwrite,
            model=model,
            device=device,
        )
    files = [str(path) for path in paths]
    record = {"session": str(session), "takes": chosen, "files": files}
    print_result("\n".join(files), record, as_json=as_json)


def origin(parent: ParentRecord) -> str:
    """What a session goes on from, in a few words."""
    takes = ", ".join(str(number) for number in dict.fromkeys(parent.takes))
    cut = "" if parent.from_seconds is None else f" at {parent.from_seconds:g} s"
    return f"{parent.source}, take {takes}{cut} ({parent.action})"


def choices(settings: LevelSettings) -> list[str]:
    """How a level is sampled, without what is off."""
    off = (None, False, 1)
    return [
        f"{name.replace('_', ' ')} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in vars(settings).items()
        if value not in off
    ]


def state(session: SessionOverview) -> str:
    """How far a session is, in a few words."""
    if session.complete:
        return "complete"
    to_level = session.settings.to_level
    for level in reversed(range(to_level, len(session.hop_lengths))):
        made = [session.seconds_made(take, level) for take in session.takes]
        asked = [take.seconds for take in session.takes]
        if any(one < whole - 1e-3 for one, whole in zip(made, asked, strict=True)):
            return f"level {level}, {sum(made) / max(sum(asked), 1e-9):.0%}"
    return "not finished"


def take_line(session: SessionOverview, take: TakeRecord) -> str:
    """One take in one line."""
    prompt = take.prompt
    words = [word for word in (prompt.artist, prompt.genre) if word]
    made = ", ".join(
        f"level {level} {session.seconds_made(take, level):g} s"
        for level in reversed(range(len(session.hop_lengths)))
        if session.seconds_made(take, level)
    )
    parts = [
        f"take {take.number}    {' / '.join(words) or 'no labels'}, {take.seconds:g} s"
        + (", kept" if take.kept else "")
        + ("" if take.candidate is None else f", candidate {take.candidate.number}"),
        made or "nothing yet",
        take.audio or "",
    ]
    return ": ".join(part for part in parts if part)


def sessions_summary(session: SessionOverview) -> dict[str, Any]:
    """A session in a list, for JSON."""
    return {
        "session": str(session.folder),
        "state": state(session),
        "complete": session.complete,
        "created": session.record.created,
        "seed": session.settings.seed,
        "model": session.record.model.source,
        "takes": [
            {"number": take.number, "seconds": take.seconds, "kept": take.kept}
            for take in session.takes
        ],
    }
