"""`jukebox labels`: the artists and genres that a model knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .generation_options import BUILT_IN_MODEL, open_model
from .options import json_option, model_option, note, print_result, quiet_option

if TYPE_CHECKING:
    from jukebox_hf.labels import FoundNames, PriorProcessor


@click.command()
@click.argument("words", metavar="[search TEXT]", nargs=-1)
@model_option(default_text=BUILT_IN_MODEL)
@click.option(
    "--level",
    type=click.IntRange(min=0),
    show_default="the highest",
    help="Level whose prior is asked: those of one model may know different names.",
)
@json_option
@quiet_option
def labels(
    words: tuple[str, ...], model: str | None, level: int | None, as_json: bool, quiet: bool
) -> None:
    """List the artists and genres that a model knows, or search them.

    Prints one name per line, after `artist` or `genre` and a tab; after `alias`, another word for a
    genre and, after one more tab, the genre that it is taken for. A search finds names that contain
    TEXT, whatever their case and accents, or else those that look like it. No weights are needed.
    """
    from jukebox_hf.words import printable

    text = parse_search(words)
    system = open_model(model, quiet=quiet)
    for told in system.notes:
        note(f"Note: {told}", quiet=quiet)
    if not system.prior_levels:
        raise ValueError(f"{system.source} has no prior, so it knows no artists and genres")
    level = max(system.prior_levels) if level is None else level
    processor = system.processor(level)
    found = processor.search(text)

    aliases = processor.genre_aliases.search(text)

    name = model or system.manifest.name or BUILT_IN_MODEL
    note(labels_summary(processor, text, found, f"prior_{level} of {name}"), quiet=quiet)
    if aliases:
        note("An alias is another word for a genre, or one near it: name, genre.", quiet=quiet)
    lines = [f"genre\t{printable(name)}" for name in found.genres]
    lines += [f"artist\t{printable(name)}" for name in found.artists]
    lines += [
        f"alias\t{printable(name)}\t{printable(alias.genre)}" for name, alias in aliases.items()
    ]
    record = {
        "model": system.source,
        "level": level,
        "dialect": processor.dialect,
        "search": text or None,
        "alike": found.alike,
        "genres": [{"name": name, "id": processor.genres[name]} for name in found.genres],
        "artists": [{"name": name, "id": processor.artists[name]} for name in found.artists],
        "aliases": [{"name": name, **alias._asdict()} for name, alias in aliases.items()],
    }
    if lines or as_json:
        print_result("\n".join(lines), record, as_json=as_json)


def labels_summary(processor: PriorProcessor, text: str, found: FoundNames, where: str) -> str:
    """One sentence on what was found."""
    if not processor.has_labels:
        return f"{where} was trained without artists and genres."
    if not text:
        counts = f"{len(found.genres)} genres and {len(found.artists)} artists"
        return f"{where} knows {counts} (dialect {processor.dialect})."
    if not found.alike:
        counts = f"{len(found.genres)} of its genres and {len(found.artists)} of its artists"
        return f"{where}: {counts} contain {text!r}."
    if found.genres or found.artists:
        return f"{where} knows no name that contains {text!r}; these look like it:"
    return f"{where} knows no name that contains {text!r} or looks like it."


def parse_search(words: tuple[str, ...]) -> str:
    """What to search for; empty to list everything.

    >>> parse_search(("search", "the", "beatles"))
    'the beatles'
    """
    if not words:
        return ""
    text = " ".join(words[1:]).strip()
    if words[0] != "search" or not text:
        raise click.UsageError(
            f"expected nothing or `search TEXT`, got {' '.join(words)!r}; "
            "try `jukebox labels search TEXT`"
        )
    return text
