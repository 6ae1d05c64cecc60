"""`jukebox info`: what a model is and what it needs, without fetching its weights."""

from __future__ import annotations

import click

from .generation_options import open_model
from .options import clean_errors, json_option, note, print_result, quiet_option


@click.command()
@click.argument("model", metavar="[REPO|DIR]", required=False)
@click.option("--revision", metavar="REVISION", show_default="main", help="Of a repository.")
@json_option
@quiet_option
@clean_errors
def info(model: str | None, revision: str | None, as_json: bool, quiet: bool) -> None:
    """Tell what a model is: its parts, what it can be asked for, its licence, the memory it needs.

    Without a name, of the one that comes with the package. Reads configs and the headers of
    weights; of a repository on the Hub these few kilobytes are all that is fetched. Memory is what
    one take needs on a GPU: the largest prior beside the VQ-VAE.
    """
    system = open_model(model, revision=revision, quiet=quiet)

    from jukebox_hf.generation import available_memory, memory_needs, resolve_device
    from jukebox_hf.hub.facts import describe
    from jukebox_hf.hub.info import info_lines, info_record
    from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
    from jukebox_hf.words import format_bytes, printable

    facts = describe(system)
    for text in facts.notes:
        note(f"Note: {text}", quiet=quiet)
    configs = [part.config for part in facts.components.values()]
    priors = [config for config in configs if isinstance(config, JukeboxPriorConfig)]
    needs = memory_needs(facts.codec, priors)
    device = resolve_device("auto")
    available = available_memory(device)
    record = info_record(facts) | {
        "memory": [need._asdict() for need in needs],
        "device": str(device),
        "available_bytes": available,
    }
    lines = info_lines(facts)
    for need in needs:
        gpu = f"a GPU with {need.gpu_gibibytes} GB" if need.gpu_gibibytes else "no single GPU"
        here = "" if need.num_bytes <= available else f"; more than is free here ({device})"
        lines.append(f"  {need.precision:<10} {format_bytes(need.num_bytes)}: fits {gpu}{here}")
    shown = "\n".join(printable(line) for line in lines)
    print_result(shown, record, as_json=as_json)
