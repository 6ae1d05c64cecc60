"""`jukebox convert`: older checkpoints in, a model folder out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from .options import json_option, note, overwrite_option, print_result, quiet_option

DTYPES = ("keep", "float32", "float16", "bfloat16")


@click.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to make.",
)
@click.option(
    "--ids-dir",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder with the release's v2_artist_ids.txt, v2_genre_ids.txt, v3_artist_ids.txt and "
    "v3_genre_ids.txt: the names of artists and genres.",
)
@click.option(
    "--dtype",
    type=click.Choice(DTYPES),
    default="keep",
    help="What the weight matrices are stored in; all else stays float32. The port's 5b weights "
    "lose nothing in float16, which is what the release stores them in.",
)
@click.option(
    "--preset",
    "presets",
    metavar="[FILE=]NAME",
    multiple=True,
    help="What a file is, if it does not say so itself: vqvae, 1b_lyrics, upsampler_level_0, ... "
    "Repeatable.",
)
@click.option(
    "--vqvae",
    metavar="REPO_OR_DIR",
    help="Converted model with the VQ-VAE of the priors, if that is not among the sources.",
)
@overwrite_option
@json_option
@quiet_option
def convert(
    sources: tuple[str, ...],
    output: Path,
    ids_dir: Path | None,
    dtype: str,
    presets: tuple[str, ...],
    vqvae: str | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Convert the released checkpoints, or a repository of the former transformers port.

    SOURCE is a .pth.tar file, a folder with such files, or a folder or Hub repository in the layout
    of the port, such as openai/jukebox-1b-lyrics. All sources together make one model: its VQ-VAE
    and one prior per level.
    """
    preset_by_file = parse_presets(presets, sources)

    from jukebox_hf.hub import System
    from jukebox_hf.hub import convert as convert_checkpoints

    system = System.open(vqvae) if vqvae is not None else None
    result = convert_checkpoints(
        sources,
        output,
        ids_dir=ids_dir,
        dtype=dtype,
        presets=preset_by_file,
        vqvae=system.vqvae_config() if system else None,
        vqvae_reference=system.reference("vqvae") if system else None,
        overwrite=overwrite,
        progress=None if quiet or not sys.stderr.isatty() else show_progress,
    )
    from jukebox_hf.words import format_bytes

    for name, component in result.components.items():
        size = f"{component.num_parameters:,} parameters, {format_bytes(component.num_bytes)}"
        note(f"{name}: {size}, {component.dtype}, from {component.source}", quiet=quiet)
    notes = list(result.notes)
    if system is not None and system.reference("vqvae") is None:
        notes.append(
            f"the VQ-VAE of {vqvae} is on this machine only, so the converted model does not refer "
            "to it"
        )
    for text in notes:
        note(f"Note: {text}", quiet=quiet)
    record = {
        "output": str(result.output),
        "licence": result.licence,
        "components": {
            name: {
                "source": component.source,
                "parameters": component.num_parameters,
                "bytes": component.num_bytes,
                "dtype": component.dtype,
            }
            for name, component in result.components.items()
        },
        "notes": notes,
    }
    print_result(result.output, record, as_json=as_json)


def parse_presets(presets: Sequence[str], sources: Sequence[str]) -> dict[str, str]:
    """Names of presets by file; without a file, of the only source.

    >>> parse_presets(["a.pth.tar=vqvae"], ["a.pth.tar", "b.pth.tar"])
    {'a.pth.tar': 'vqvae'}
    """
    by_file = {}
    for text in presets:
        file, _, name = text.rpartition("=")
        if not file and len(sources) > 1:
            raise click.UsageError(
                f"--preset {text}: there are {len(sources)} sources; say which one: FILE={text}"
            )
        by_file[file or sources[0]] = name
    return by_file


def show_progress(done: int, total: int) -> None:
    """One line on a terminal, written over itself."""
    from jukebox_hf.words import format_bytes

    end = "\n" if done == total else ""
    click.echo(f"\r{format_bytes(done)} of {format_bytes(total)} written{end}", nl=False, err=True)
