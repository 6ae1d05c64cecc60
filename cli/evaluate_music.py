"""`jukebox evaluate music`: generated music beside real music."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .generation_options import BUILT_IN_MODEL, open_model
from .options import (
    device_option,
    json_option,
    model_option,
    note,
    print_result,
    quiet_option,
    silence_transformers,
)

if TYPE_CHECKING:
    from jukebox_hf.listening import MusicEvaluation


@click.command()
@click.argument("folder", metavar="FOLDER")
@click.option(
    "--reference",
    required=True,
    metavar="SONGS",
    help="Real music to compare with: a folder of songs or a dataset.",
)
@model_option(
    default_text=BUILT_IN_MODEL, help="Model whose states and codes are compared: a folder or repo."
)
@click.option(
    "--level",
    type=click.IntRange(min=0),
    show_default="the highest that has a prior",
    help="Level whose prior is asked.",
)
@click.option(
    "--layer", type=click.IntRange(min=1), show_default="the middle one", help="Of its states."
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=1),
    default=10.0,
    show_default=True,
    help="What is heard of every piece; shorter ones are left out.",
)
@click.option(
    "--clips",
    type=click.IntRange(min=2),
    show_default="as many as pieces, 30 at least",
    help="Of the reference, spread over its songs.",
)
@click.option(
    "--codes",
    metavar="DATASET",
    help="Codes of real songs, from `jukebox encode --dataset`, in which copies are looked for."
    "  [default: all songs of the reference are encoded now]",
)
@click.option("--no-copies", is_flag=True, help="Do not look for copies.")
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.png",
    help="Draw the measures with their intervals.",
)
@click.option("--overwrite", is_flag=True, help="Replace a picture that is there.")
@device_option
@json_option
@quiet_option
def music(
    folder: str,
    reference: str,
    model: str | None,
    level: int | None,
    layer: int | None,
    seconds: float,
    clips: int | None,
    codes: str | None,
    no_copies: bool,
    picture: Path | None,
    overwrite: bool,
    device: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Measure generated music, a session or a FOLDER of audio, beside real music.

    Notes, pulse, onsets, loudness, silence and clipping with intervals; onset strength where chains
    were joined; the Frechet distance of a prior's states; and how much was copied, from where.
    Notes need two more packages; without them the table says which.
    """
    if codes is not None and no_copies:
        raise click.UsageError("--codes are where copies are looked for; leave out --no-copies")
    if picture is not None and picture.exists() and not overwrite:
        raise click.UsageError(f"{picture} exists; choose another name, or say --overwrite")
    if picture is not None and not picture.absolute().parent.is_dir():
        raise click.UsageError(f"there is no folder {picture.parent} to put the picture into")
    for given in (folder, reference):
        if not Path(given).exists() and given.startswith((".", "/", "~")):
            raise FileNotFoundError(f"there is no folder {given}")
    silence_transformers()
    from jukebox_hf import open_codes

    encoded = None if codes is None else open_codes(codes)
    system = open_model(model, quiet=quiet)
    from jukebox_hf.listening import evaluate_music
    from jukebox_hf.representations import JukeboxEmbedder

    embedder = JukeboxEmbedder.from_pretrained(
        system, layers=None if layer is None else [layer], level=level, device=device
    )

    def progress(what: str, done: int, total: int) -> None:
        if done == total or done % 10 == 0:
            note(f"{what}: {done} of {total}", quiet=quiet)

    found = evaluate_music(
        folder,
        reference,
        embedder,
        seconds=seconds,
        clips=clips,
        codes=encoded,
        copies=not no_copies,
        model_name=system.manifest.name or Path(system.source).name,
        progress=progress,
    )
    if picture is not None:
        from jukebox_hf.listening import save_picture

        save_picture(picture, found)
        note(f"Drawn in {picture}.", quiet=quiet)
    print_result(describe_music(found), found.to_record(), as_json=as_json)


def describe_music(found: MusicEvaluation) -> str:
    """The table for people; `--json` has every number."""
    from jukebox_hf.listening import MEASURES

    rows = [("mean [95 % interval]", "samples", "reference", "difference")]
    rows += [
        (MEASURES[name], str(own.samples), str(own.reference), str(own.difference))
        for name, own in found.measures.items()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        f"{found.samples} pieces, {found.clips} clips of the reference, {found.seconds:g} s each",
        *(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ),
    ]
    if found.seams is not None:
        lines.append(
            f"onset strength at {found.num_seams} seams, over the mean: {found.seams} "
            "(1: not to be heard)"
        )
    if found.distance is not None:
        lines.append(
            f"Frechet distance of states (layer {found.distance.layer} of {found.model}): "
            f"{found.distance.samples:.4g}; of as many real clips {found.distance.reference:.4g}"
        )
    if found.copies is not None:
        copies = found.copies
        other = "" if copies.control is None else f"; real songs in other songs {copies.control}"
        lines += [
            f"codes found again in one place of the reference, windows of {copies.window_codes} "
            f"codes of level {copies.level}: {copies.samples}{other}",
            f"  most: {copies.most:.0%}, {copies.sample} from {copies.second:g} s on, as in "
            f"{copies.song} from {copies.song_second:g} s on",
        ]
    return "\n".join([*lines, *(f"Note: {remark}" for remark in found.remarks)])
