"""`jukebox evaluate`: how good a codec or a prior is on songs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .dataset_options import refuse_without_effect, song_options
from .generation_options import say_built_in
from .options import (
    device_option,
    json_option,
    note,
    precision_option,
    print_result,
    quiet_option,
    silence_transformers,
)

MUSIC = "music"  # a model in a folder of that name is ./music

if TYPE_CHECKING:
    from jukebox_hf.training import CodecEvaluation, PriorEvaluation, SongSelection


class _Evaluate(click.Command):
    """`evaluate MODEL`, or `evaluate music FOLDER`, which is a command of its own."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        if args[:1] == [MUSIC]:
            from .evaluate_music import music

            return music.make_context(f"{info_name} {MUSIC}", args[1:], parent=parent, **extra)
        return super().make_context(info_name, args, parent=parent, **extra)


@click.command(cls=_Evaluate)
@click.argument("model", metavar="[REPO|DIR]", required=False)
@song_options(required=True)
@click.option(
    "--component",
    "components",
    multiple=True,
    metavar="NAME",
    help="vqvae, prior_0, ... Repeatable.",
    show_default="all that the dataset suits",
)
@click.option(
    "--items", type=click.IntRange(min=1), default=256, help="Clips or windows, spread evenly."
)
@click.option("--batch-size", type=click.IntRange(min=1), default=4, help="Of them at once.")
@click.option(
    "--clip-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=3.0,
    help="Length of the codec's clips.",
)
@click.option(
    "--held-out",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="FRACTION",
    help="Only songs that training with this validation fraction and --seed holds out.",
    show_default="all songs",
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Of that choice.")
@click.option(
    "--compare-labels", is_flag=True, help="Also score priors with the labels of other songs."
)
@click.option(
    "--record",
    is_flag=True,
    help="Write the figures into training.json of the model, a folder: cards and `jukebox info` "
    "show them.",
)
@click.option(
    "--num-workers", type=click.IntRange(min=0), default=0, help="Processes that read songs."
)
@device_option
@precision_option
@json_option
@quiet_option
def evaluate(
    model: str | None,
    components: tuple[str, ...],
    items: int,
    batch_size: int,
    num_workers: int,
    clip_seconds: float,
    held_out: float | None,
    compare_labels: bool,
    record: bool,
    device: str,
    precision: str | None,
    as_json: bool,
    quiet: bool,
    **selection: Any,
) -> None:
    """Measure a model, by default the one that comes with the package, on a dataset.

    Of a codec: every loss, spectral convergence in decibels, and how much of the codebooks is used.
    Of a prior: bits per code and per second of audio, beside what frequencies alone would give.

    `jukebox evaluate music FOLDER --reference SONGS` measures generated music instead: see
    `jukebox evaluate music --help`.
    """
    from jukebox_hf.training import SongSelection, check_recordable, evaluate_model

    silence_transformers()
    if model is None:
        from jukebox_hf.hub import BUILT_IN_NAME

        model = BUILT_IN_NAME
        say_built_in(model, quiet=quiet)
    refuse_without_effect(selection["dataset"])
    songs = SongSelection(**selection)
    if held_out is not None:
        songs.validation_fraction = held_out
    if record:
        check_recordable(model)
    found = evaluate_model(
        model,
        songs,
        components=components or None,
        clip_seconds=clip_seconds,
        held_out_only=held_out is not None,
        compare_labels=compare_labels,
        items=items,
        batch_size=batch_size,
        num_workers=num_workers,
        device=device,
        precision=precision or "float32",
        say=lambda text: note(text, quiet=quiet),
    )
    if record:
        paths = _record(
            model,
            songs,
            found,
            held_out=held_out is not None,
            items=items,
            clip_seconds=clip_seconds,
            compare_in=batch_size if compare_labels else None,
            precision=precision or "float32",
        )
        for path in paths:
            note(f"Recorded in {path}.", quiet=quiet)
    lines = [line for name, result in found.items() for line in describe_evaluation(name, result)]
    scalars = {name: result.scalars() for name, result in found.items()}
    print_result("\n".join(lines), scalars, as_json=as_json)


def _record(
    model: str,
    songs: SongSelection,
    found: Mapping[str, CodecEvaluation | PriorEvaluation],
    *,
    held_out: bool,
    items: int,
    clip_seconds: float,
    compare_in: int | None,
    precision: str,
) -> list[Path]:
    """Write the figures beside the components; returns the files."""
    from jukebox_hf.training import (
        evaluation_command,
        figures_of,
        record_figures,
        shared_name,
    )

    name = shared_name(songs.dataset or "")
    figures = {}
    for component, result in found.items():
        is_codec = component == "vqvae"
        command = evaluation_command(
            component,
            songs,
            held_out=held_out,
            items=items,
            clip_seconds=clip_seconds if is_codec else None,
            compare_in=None if is_codec else compare_in,
            precision="float32" if is_codec else precision,
        )
        dataset = f"held-out songs of {name}" if held_out else name
        figures[component] = figures_of(result, command=command, dataset=dataset)
    return record_figures(model, figures)


def describe_evaluation(name: str, result: CodecEvaluation | PriorEvaluation) -> list[str]:
    """A few lines for people; `--json` has every number."""
    from jukebox_hf.training import PriorEvaluation

    if isinstance(result, PriorEvaluation):
        lines = [
            f"{name}: {result.bits_per_code:.3f} bits per code, {result.bits_per_second:,.0f} bits "
            f"per second; frequencies alone {result.unigram_bits:.3f} ({result.windows} windows)"
        ]
        if result.lyric_bits is not None:
            lines.append(f"  lyrics: {result.lyric_bits:.3f} bits per symbol")
        if result.wrong_label_bits is not None:
            lines.append(f"  with wrong labels: {result.wrong_label_bits:.3f} bits per code")
        return lines
    lines = [f"{name}: loss {result.loss:.4f} ({result.seconds:,.0f} seconds of audio)"]
    for level, found in enumerate(result.levels):
        lines.append(
            f"  level {level}: spectral convergence {found.spectral_convergence_db:.2f} dB, "
            f"waveform {found.waveform:.4f}, multispectral {found.multispectral:.4f}, codes: "
            f"perplexity {found.perplexity:.0f}, {100 * found.used_share:.0f} % in use"
        )
    return lines
