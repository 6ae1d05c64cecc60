"""`jukebox embed`: what a prior knows of music, as features for other models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from .bars import ProgressBar
from .crew import crew_option, is_launched, join_crew, launch_if_asked, own_device
from .dataset_encoding import count, list_skipped, tell_found
from .dataset_options import SHARD, refuse_without_effect, song_options
from .generation_options import BUILT_IN_MODEL, open_model
from .options import (
    DURATION,
    device_option,
    json_option,
    model_option,
    note,
    output_option,
    print_result,
    quiet_option,
    silence_transformers,
)

if TYPE_CHECKING:
    from jukebox_hf.hub import System
    from jukebox_hf.representations import EmbeddingSettings, FoundInputs, Report

TOOLS = ("jukemirlib", "edge", "jukemir", "sheetsage")
PRECISIONS = ("float32", "float16", "bfloat16", "int8")
FORMATS = ("npy", "safetensors", "dataset")
# Options that say what is computed, by the names of `EmbeddingSettings`.
SETTINGS = {
    "rate": "rate",
    "pool": "pool",
    "window": "window_seconds",
    "stride": "stride_seconds",
    "start": "start_seconds",
    "end": "end_seconds",
    "timing": "timing",
    "normalize": "normalize",
    "span": "span",
    "resampler": "resampler",
}
LISTED_NOTES = 5


@click.command()
@click.argument("files", nargs=-1, metavar="[FILES]...")
@model_option(default_text=BUILT_IN_MODEL, help="Model: a folder, or a repository on the Hub.")
@click.option(
    "--level",
    type=click.IntRange(min=0),
    show_default="the highest that has a prior",
    help="Level whose prior is asked.",
)
@click.option(
    "--layers",
    metavar="LAYERS",
    show_default="the middle one, or that of --like",
    help="Layers, counted from 1: 36, or 36,53,66, or 1-72, or all.",
)
@click.option(
    "--like",
    type=click.Choice(TOOLS),
    help="Compute what that tool computes; other options change parts of it.",
)
@click.option(
    "--rate", type=float, show_default="every state", help="Frames per second (Fourier resampling)."
)
@click.option("--pool", type=click.Choice(("none", "mean")), default="none", help="Mean over time.")
@click.option(
    "--window", type=DURATION, help="Cut files into pieces that are embedded by themselves."
)
@click.option("--stride", type=DURATION, show_default="--window", help="From piece to piece.")
@click.option("--start", type=DURATION, default=0.0, help="Leave out the audio before this.")
@click.option("--end", type=DURATION, help="Leave out the audio after this.")
@click.option(
    "--timing",
    type=click.Choice(("fixed", "true")),
    default="fixed",
    help="What the prior is told of length and place: the same for every window, or the truth.",
)
@click.option(
    "--normalize",
    type=click.Choice(("file", "window", "none")),
    show_default="window with --window, else file",
    help="Divide by the peak of the file, or of each window.",
)
@click.option(
    "--span",
    type=click.Choice(("whole", "first", "adjacent")),
    default="whole",
    help="Songs longer than the context: windows that overlap, the first one only, or windows "
    "side by side.",
)
@click.option(
    "--resampler",
    type=click.Choice(("HQ", "VHQ", "kaiser_best")),
    default="HQ",
    help="Quality; kaiser_best is that of librosa before 0.10.",
)
@output_option(kind="folder", help="Folder for the features.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(FORMATS),
    default="npy",
    help="A .npy file per input and layer, a .safetensors file per input, or a dataset.",
)
@click.option(
    "--output-dtype",
    type=click.Choice(("float32", "float16")),
    default="float32",
    help="Of the numbers that are written.",
)
@song_options()
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    show_default="what fits, at most 8",
    help="Windows at once; it changes no float32 result.",
)
@click.option(
    "--layer-by-layer",
    is_flag=True,
    help="Hold one layer at a time: for models larger than the memory.",
)
@click.option(
    "--shard",
    type=SHARD,
    show_default="all; one of several launched processes takes its own",
    help="Embed this part of the inputs only.",
)
@crew_option
@device_option
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="float32",
    help="Of the layers, whatever is stored. The codec is always float32.",
)
@click.option("--push-to-hub", metavar="REPO", help="With --format dataset: upload it.")
@click.option("--private", is_flag=True, help="Make the repository of --push-to-hub private.")
@click.option("--dry-run", is_flag=True, help="Say what it would take, and embed nothing.")
@json_option
@quiet_option
def embed(
    files: tuple[str, ...],
    model: str | None,
    level: int | None,
    layers: str | None,
    like: str | None,
    output: Path | None,
    file_format: str,
    output_dtype: str,
    dataset: str | None,
    batch_size: int | None,
    layer_by_layer: bool,
    shard: tuple[int, int] | None,
    num_processes: int | None,
    device: str,
    precision: str,
    push_to_hub: str | None,
    private: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Turn music into features: states of a prior's layers, for other models to learn from.

    FILES are audio files of any format and length, codes files of `jukebox encode`, folders of
    them, or - for a list on standard input; --dataset names a dataset instead. Layer k is the
    output of the k-th block; a state knows the audio before it.

    The folder is resumable: the same command goes on with what is missing, and other settings are
    refused. Files that cannot be embedded are listed at the end.

    \b
    jukebox embed songs/ -o dance --like edge              30 frames per second, windows of 5 s
    jukebox embed songs/ -o probes --layers all --pool mean    one (layers, width) per song

    Prints the path of the folder.
    """
    if (dataset is None) == (not files):
        raise click.UsageError("give audio files or folders, or --dataset DIR_OR_REPO")
    if output is None and not dry_run:
        raise click.UsageError("give -o FOLDER, where the features go")
    if push_to_hub is not None and file_format != "dataset":
        raise click.UsageError("--push-to-hub needs --format dataset")
    if shard is not None and num_processes not in (None, 1):
        raise click.UsageError("--shard is for one process; --num-processes shares by itself")
    ctx = click.get_current_context()
    given = {
        field: options.pop(name)
        for name, field in SETTINGS.items()
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    selection = {name: value for name, value in options.items() if name not in SETTINGS}
    refuse_without_effect(dataset)
    if not dry_run:
        launch_if_asked(num_processes)

    from jukebox_hf.generation import resolve_device
    from jukebox_hf.representations import (
        choose_level,
        embed_into,
        feature_record,
        fitting_batch_size,
        open_folder,
    )

    crew = join_crew()
    first = crew.index == 0
    quiet = quiet or not first
    number, num_shards = shard or (crew.index, crew.number)
    target = resolve_device(own_device(device))
    silence_transformers()
    system = open_model(model, quiet=quiet)
    for text in system.notes:
        note(text, quiet=quiet)
    chosen = choose_level(system, level)
    settings = _settings(system, chosen, layers, like, given)
    _tell_licence(system, quiet=quiet)
    bar = ProgressBar(quiet=quiet)
    found = _find(files, dataset, system, chosen, selection, bar)
    tell_found([], found.notes, quiet=quiet)
    size = batch_size or fitting_batch_size(
        system.prior_config(chosen),
        max(settings.layers or (1,)),
        precision,
        target,
        layer_by_layer=layer_by_layer,
    )
    if dry_run:
        bar.close()
        _show_cost(
            system, chosen, settings, found, precision, size, target, output_dtype,
            layer_by_layer=layer_by_layer, as_json=as_json,
        )  # fmt: skip
        return
    assert output is not None
    record = feature_record(
        system, chosen, settings, precision, format=file_format, output_dtype=output_dtype
    )
    folder = open_folder(output, record)
    try:
        report = embed_into(
            folder,
            system,
            found.items,
            device=target,
            batch_size=size,
            layer_by_layer=layer_by_layer,
            shard=number,
            num_shards=num_shards,
            progress=bar.embed,
        )
    except KeyboardInterrupt:
        bar.close()
        note("What is done is kept; the same command goes on from there.", quiet=quiet)
        raise
    bar.close()
    _tell(report, quiet=quiet and first)
    failed = [*found.skipped, *report.failed]
    list_skipped(failed if first else report.failed, quiet=quiet and first)
    crew.wait()
    if not first:
        return
    present = folder.present([item.output for item in found.items])
    complete = report.complete or len(present) + len(failed) >= len(found.items)
    note(f"Embedded {count(report.embedded, 'input')}; {output} holds {len(present)}.", quiet=quiet)
    pushed = None
    if not complete and not is_launched():
        note(f"This was part {number + 1} of {num_shards}; others have not finished.", quiet=quiet)
    elif file_format == "dataset" and present:
        folder.complete_dataset(present)
        if push_to_hub is not None:
            from jukebox_hf.hub import push

            pushed = push(output, push_to_hub, private=private or None).url
            note(f"Pushed to {pushed}.", quiet=quiet)
    if not present:
        raise ValueError("nothing could be embedded")
    print_result(
        output,
        {
            "features": output,
            "model": system.source,
            "level": chosen,
            "layers": settings.layers,
            "embedded": report.embedded,
            "inputs": len(present),
            "complete": complete,
            "failed": [song._asdict() for song in failed],
            "nonfinite": sum(sum(one.nonfinite.values()) for one in report.records),
            "pushed": pushed,
        },
        as_json=as_json,
    )


def _settings(
    system: System, level: int, layers: str | None, like: str | None, given: dict[str, Any]
) -> EmbeddingSettings:
    """What is asked for, checked against the model's configs."""
    from jukebox_hf.representations import EmbeddingSettings, parse_layers

    config = system.prior_config(level)
    if layers is not None:
        given["layers"] = parse_layers(layers, config.depth)
    return EmbeddingSettings.like(like, **given).for_prior(config)


def _find(
    files: tuple[str, ...],
    dataset: str | None,
    system: System,
    level: int,
    selection: dict[str, Any],
    bar: ProgressBar,
) -> FoundInputs:
    """The inputs that are named."""
    from jukebox_hf.representations import dataset_items, find_items

    if dataset is not None:
        config = system.prior_config(level)
        levels = [level, level + 1] if config.is_upsampler else [level]
        return dataset_items(dataset, levels, progress=bar.look_into, **selection)
    paths: list[str] = []
    for name in files:
        if name == "-":
            paths += [line.rstrip("\r\n") for line in sys.stdin if line.strip()]
        else:
            paths.append(name)
    return find_items(paths)


def _tell_licence(system: System, *, quiet: bool) -> None:
    if system.licence == "openai-noncommercial":
        note(
            "Note: these weights are under OpenAI's Noncommercial Use License, which also covers "
            "what is made with them.",
            quiet=quiet,
        )


def _tell(report: Report, *, quiet: bool) -> None:
    """What is worth knowing about the inputs, each kind once."""
    kinds: dict[str, list[str]] = {}
    for record in report.records:
        for text in record.notes:
            kind = "only their beginning is embedded; --span whole covers whole songs"
            kinds.setdefault(kind if text.startswith("only its first") else text, []).append(
                record.name
            )
        if record.nonfinite:
            text = "infinite numbers, which --precision float32 or bfloat16 avoids"
            kinds.setdefault(text, []).append(record.name)
    for text, names in kinds.items():
        shown = ", ".join(names[:LISTED_NOTES])
        more = f" and {len(names) - LISTED_NOTES} more" if len(names) > LISTED_NOTES else ""
        note(f"{count(len(names), 'input')}: {text} ({shown}{more}).", quiet=quiet)
    pieces = [record.num_pieces for record in report.records]
    if any(number > 1 for number in pieces):
        note(f"{sum(pieces):,} pieces of {count(len(pieces), 'input')}.", quiet=quiet)
    infinite = sum(sum(record.nonfinite.values()) for record in report.records)
    if infinite:
        note(f"{infinite:,} numbers are infinite.", quiet=quiet)


def _show_cost(
    system: System,
    level: int,
    settings: EmbeddingSettings,
    found: FoundInputs,
    precision: str,
    batch_size: int,
    device: Any,
    output_dtype: str,
    *,
    layer_by_layer: bool,
    as_json: bool,
) -> None:
    from jukebox_hf.representations import describe_cost, estimate

    cost = estimate(
        system.prior_config(level),
        settings,
        [item.seconds for item in found.items if item.seconds is not None],
        precision=precision,
        batch_size=batch_size,
        device=device,
        output_itemsize=2 if output_dtype == "float16" else 4,
        layer_by_layer=layer_by_layer,
    )
    name = system.manifest.name or system.source
    text = describe_cost(cost, model=name, level=level, precision=precision, device=device)
    print_result(text, cost.to_record(), as_json=as_json)
