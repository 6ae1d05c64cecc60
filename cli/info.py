"""`jukebox info`: what a model is and what it needs, without fetching its weights."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from .generation_options import open_model
from .options import json_option, note, print_result, quiet_option

if TYPE_CHECKING:
    from jukebox_hf.generation import Need


@click.command()
@click.argument("model", metavar="[REPO|DIR]", required=False)
@click.option("--revision", metavar="REVISION", show_default="main", help="Of a repository.")
@click.option("--all", "everything", is_flag=True, help="Also data and figures of training.")
@json_option
@quiet_option
def info(
    model: str | None, revision: str | None, everything: bool, as_json: bool, quiet: bool
) -> None:
    """Tell what a model is: its parts, what it can be asked for, its licence, the memory it needs.

    Without a name, of the one that comes with the package. Reads configs and the headers of
    weights; of a repository on the Hub these few kilobytes are all that is fetched. Memory is what
    one take needs on a GPU: the largest prior beside the VQ-VAE.
    """
    system = open_model(model, revision=revision, quiet=quiet)

    from jukebox_hf.generation import memory_needs
    from jukebox_hf.hub import gather_facts, info_lines, info_record, short_lines
    from jukebox_hf.words import printable

    facts = gather_facts(system)
    for text in facts.notes:
        note(f"Note: {text}", quiet=quiet)
    needs = memory_needs(facts.codec, facts.priors, shapes=facts.shapes)
    record: dict[str, Any] = {}
    if everything or as_json:  # which tell of the device: only torch knows it
        from jukebox_hf.generation import available_memory, resolve_device

        device = str(resolve_device("auto"))
        available = available_memory(device)
        record = info_record(facts) | {
            "memory": [need._asdict() for need in needs],
            "device": device,
            "available_bytes": available,
        }
        lines = info_lines(facts, memory=memory_lines(needs, available, device))
    else:
        lines = short_lines(facts, memory=[memory_line(needs)])
    shown = "\n".join(printable(line) for line in lines)
    print_result(shown, record, as_json=as_json)


def memory_lines(needs: Iterable[Need], available: int, device: str) -> list[str]:
    """What each precision needs and where that fits, a line for each."""
    from jukebox_hf.words import format_bytes

    lines = []
    for need in needs:
        gpu = f"a GPU with {need.gpu_gibibytes} GB" if need.gpu_gibibytes else "no single GPU"
        here = "" if need.num_bytes <= available else f"; more than is free here ({device})"
        lines.append(f"  {need.precision:<10} {format_bytes(need.num_bytes)}: fits {gpu}{here}")
    return lines


def memory_line(needs: Iterable[Need]) -> str:
    """The same on one line; precisions that need the same stand together."""
    from jukebox_hf.words import format_bytes

    words = []
    for num_bytes, same in groupby(needs, lambda need: need.num_bytes):
        alike = list(same)
        size = alike[0].gpu_gibibytes
        names = "/".join(need.precision for need in alike)
        words.append(f"{names} {format_bytes(num_bytes)} ({f'{size} GB' if size else 'no'} GPU)")
    return f"  memory     {', '.join(words)}"
