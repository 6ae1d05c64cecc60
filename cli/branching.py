"""What `continue` and `upsample` share: a new session that begins with codes of another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .generation_options import Output, carry_out, fit_plan, open_model, read_lyrics_option

if TYPE_CHECKING:
    from jukebox_hf.generation.continuing import Source
    from jukebox_hf.generation.session_work import Crew
    from jukebox_hf.generation.settings import Prompt


def changes_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a prompt that were given anew."""
    changes = {
        "artist": options["artist"],
        "genre": options["genre"],
        "lyrics": read_lyrics_option(options["lyrics"]),
        "total_seconds": options["total_seconds"],
        "offset_seconds": options["offset_seconds"],
    }
    return {name: value for name, value in changes.items() if value is not None}


def branch(
    source: Source,
    prompts: dict[int, Prompt],
    *,
    seed: int,
    to_level: int | None,
    parent: dict[str, Any],
    options: Mapping[str, Any],
    crew: Crew,
) -> None:
    """Begin a session with these prompts, work on it, and print what it made.

    With the folder of an unfinished one that was begun likewise, go on with that. `seed` and
    `to_level` hold where none are given.
    """
    output = Output.of(options, crew)
    earlier = source.session
    if earlier is not None:
        system = earlier.open_system(options["model"])
    else:
        system = open_model(options["model"], quiet=output.quiet)
    session = output.session()
    settings = session.settings if session else None
    if settings is None and earlier is not None:
        settings = replace(earlier.settings, seed=seed)
    plan = fit_plan(
        system,
        prompts,
        options,
        seed=seed,
        settings=settings,
        to_level=to_level,
        defaults=source.defaults(),
    )
    from jukebox_hf.generation.session_record import ParentRecord

    told = ParentRecord(
        id=earlier.record.id if earlier is not None else None,
        source=source.path.resolve().name,
        **parent,
    )
    carry_out(system, plan, session, output, parent=told)
