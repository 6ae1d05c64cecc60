"""`jukebox merge`: a model with an adapter to a model without one."""

from __future__ import annotations

from pathlib import Path

import click

from .options import json_option, overwrite_option, print_result


@click.command()
@click.argument("model", metavar="REPO|DIR")
@click.argument(
    "adapter", required=False, type=click.Path(path_type=Path, exists=True, file_okay=False)
)
@click.option(
    "--level",
    type=click.IntRange(0, 9),
    metavar="LEVEL",
    show_default="the one whose shapes fit",
    help="Of the prior that ADAPTER was trained on.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the merged model.",
)
@overwrite_option
@json_option
def merge(
    model: str,
    adapter: Path | None,
    level: int | None,
    output: Path,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Add the weights of LoRA adapters to those of the priors that they belong to.

    Without ADAPTER: those that the model brings, as `finetune --lora` leaves it. ADAPTER is a
    folder with peft's two files, also of a LoRA that was trained elsewhere.
    """
    from jukebox_hf.hub import open_location

    location = open_location(model)

    from jukebox_hf.hub import System
    from jukebox_hf.hub import merge as merge_adapters

    folder = merge_adapters(
        System.open(location), output, adapter=adapter, level=level, overwrite=overwrite
    )
    print_result(folder, {"output": folder}, as_json=as_json)
