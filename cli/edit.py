"""`jukebox edit`: parts of takes one after another, as a new session."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .generation_options import open_model
from .options import (
    DURATION,
    device_option,
    json_option,
    model_option,
    note,
    output_option,
    parse_duration,
    print_result,
    quiet_option,
)
from .session_commands import Output, begin, print_complete, work_on

if TYPE_CHECKING:
    from jukebox_hf.generation import Part, Plan, Request
    from jukebox_hf.hub import System

PART = re.compile(
    r"(?P<source>.+?)(?::(?P<take>\d{1,5}))?(?:@(?P<start>[\d:.]*)-(?P<end>[\d:.]*))?"
)


@click.command()
@click.argument("parts", metavar="SESSION|CODES[:TAKE][@FROM-TO]...", nargs=-1, required=True)
@click.option(
    "--snap",
    "snap_seconds",
    type=DURATION,
    default=0.0,
    help="Move each join by up to this much, to where both sides are most alike.",
)
@click.option(
    "--fade",
    "fade_seconds",
    type=DURATION,
    show_default="0.03",
    help="Over how long both sides of a join are mixed.",
)
@click.option(
    "--timing",
    type=click.Choice(("keep", "new")),
    show_default="keep for one part, else new",
    help="Whether the piece stays where its first part is in its song, or begins a new one.",
)
@model_option(default_text="that of the first session; for codes, the one of the package")
@device_option
@output_option(
    kind="folder",
    help="Folder of the new session.",
    default_text="a new one with time and seed in its name",
)
@click.option("--dry-run", is_flag=True, help="Say what would come out, and stop.")
@json_option
@quiet_option
def edit(
    parts: tuple[str, ...],
    model: str | None,
    device: str,
    output: Path | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **wanted: Any,
) -> None:
    """Put parts of takes together, one after another, as a new piece.

    `song:2@0:05-0:20` alone is a trim, `song@0-8 song@12-` cuts out four seconds, the same part
    twice is a loop, and parts of several sessions are merged. Codes are copied as they are, at
    every level that all parts have; where parts meet, they are cross-faded, unless they follow
    each other in a take: those are one part. Go on from there with `continue` or `infill`. Prints
    the path of the audio.
    """
    from jukebox_hf.generation import Crew, JukeboxPipeline, Request

    place = Output.of(
        Crew(), device=device, output=output, dry_run=dry_run, as_json=as_json, quiet=quiet
    )
    found = [parse_part(text) for text in parts]
    system = _system(found, model, quiet=quiet)
    pipeline = JukeboxPipeline(system, device=place.device)
    request = Request.edit(found, wanted, system.load_vqvae_network(device=pipeline.device))
    session = place.session()
    plan = pipeline.plan(request, going_on=session)
    if dry_run:
        _show(request, plan, as_json=as_json)
        return
    if session is not None and session.complete:
        print_complete(session, place)
        return
    session = begin(pipeline, request, plan, session, place)
    for text in session.record.notes:
        note(f"Note: {text}", quiet=quiet)
    work_on(session, pipeline, place)


def parse_part(text: str) -> Part:
    """`SESSION|CODES[:TAKE][@FROM-TO]`; the whole text where that is the name of something."""
    from jukebox_hf.generation import Part

    match = None if Path(text).exists() else PART.fullmatch(text)
    if match is None:
        return Part(Path(text))
    take = match["take"]
    return Part(
        Path(match["source"]),
        None if take is None else int(take),
        *(_seconds(text, match[name]) for name in ("start", "end")),
    )


def _seconds(text: str, value: str | None) -> float | None:
    if not value:
        return None
    seconds = parse_duration(value)
    if seconds is None:
        raise ValueError(
            f"{text!r:.80}: {value!r:.40} is not a time; give seconds, as in 12.5, or m:ss"
        )
    return seconds


def _system(parts: list[Part], model: str | None, *, quiet: bool) -> System:
    """The model of the first part that is a session, once all parts are of one codec."""
    from jukebox_hf.generation import find_parts

    for stretch in find_parts(parts):
        if stretch.source.session is not None:
            return stretch.source.session.open_system(model)
    return open_model(model, quiet=quiet)


def _show(request: Request, plan: Plan, *, as_json: bool) -> None:
    """The result of a dry run."""
    assert request.parent is not None
    details = request.parent.details
    take = plan.takes[0]
    seconds = take.num_samples / plan.sampling_rate
    levels = [level for level, count in sorted(take.existing.items()) if count]
    lines = [f"{plan.system.title}: {seconds:.4g} s at levels {', '.join(map(str, levels))}."]
    for part in details["parts"]:
        lines.append(
            f"part  {part['source']}, take {part['take']}: {part['start_seconds']:g} to "
            f"{part['end_seconds']:g} s"
        )
    for join in details["joins"]:
        moved = f", moved by {join['moved_seconds']:+g} s" if join["moved_seconds"] else ""
        lines.append(f"join  at {join['seconds']:g} s{moved}, likeness {join['likeness']:g}")
    lines += [f"note  {text}" for text in plan.notes]
    record = {
        "model": plan.system.source,
        "seconds": round(seconds, 4),
        "offset_seconds": take.offset_samples / plan.sampling_rate,
        "levels": levels,
        "fade_seconds": details["fade_seconds"],
        "parts": details["parts"],
        "joins": details["joins"],
        "notes": list(plan.notes),
    }
    print_result("\n".join(lines), record, as_json=as_json)
