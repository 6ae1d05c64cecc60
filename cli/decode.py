"""`jukebox decode`: a file of codes back to audio."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .generation_options import BUILT_IN_MODEL, open_model
from .options import (
    STANDARD_STREAM,
    device_option,
    json_option,
    model_option,
    note,
    output_option,
    overwrite_option,
    precision_option,
    print_result,
    quiet_option,
)

if TYPE_CHECKING:
    from jukebox_hf.audio import AudioTags
    from jukebox_hf.codes import Codes

CHUNK_SECONDS = 30.0  # decoded at a time; longer needs more memory and little less time


@click.command()
@click.argument("codes_file", metavar="CODES", type=click.Path(path_type=Path))
@model_option(
    default_text=BUILT_IN_MODEL,
    help="Model that made the codes, or its bare VQ-VAE: a folder, or a repository on the Hub.",
)
@click.option(
    "--level",
    type=click.IntRange(min=0),
    show_default="the finest in the file",
    help="Level to hear. Coarser levels keep less.",
)
@output_option(
    kind="file",
    help="Audio file to write, in the format that its extension names: wav, flac, ogg, opus, mp3, "
    "m4a, aac; - is a wav on standard output. With several takes their numbers are added to the "
    "name.",
    default_text="CODES' name with the level and .flac",
)
@overwrite_option
@device_option
@precision_option
@json_option
@quiet_option
def decode(
    codes_file: Path,
    model: str | None,
    level: int | None,
    output: Path | None,
    overwrite: bool,
    device: str,
    precision: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Turn a file of codes back into audio.

    Any level can be decoded alone: hear what the codec keeps at each. Prints the paths of the audio
    files, one per take; with -o - nothing but the sound, as in `jukebox decode CODES -o - | ffplay
    -`.
    """
    piped = output is not None and str(output) == STANDARD_STREAM
    if piped and as_json:
        raise click.UsageError("-o - writes the sound to standard output; leave out --json")
    if piped and sys.stdout.isatty():
        raise click.UsageError(
            "-o - writes a wav to standard output, which is a terminal: pipe it into a program"
        )
    with sound_to(output) as destination:
        decode_to(
            codes_file,
            destination,
            model=model,
            level=level,
            overwrite=overwrite,
            device=device,
            precision=precision,
            as_json=as_json,
            quiet=quiet,
            piped=piped,
        )


@contextlib.contextmanager
def sound_to(output: Path | None) -> Iterator[Path | None]:
    """Where to write: `output`; for `-` a temporary file that then goes to standard output."""
    if output is None or str(output) != STANDARD_STREAM:
        yield output
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sound.wav")
        yield path
        with path.open("rb") as file:
            stream = sys.stdout.buffer
            shutil.copyfileobj(file, stream)
            stream.flush()


def decode_to(
    codes_file: Path,
    output: Path | None,
    *,
    model: str | None,
    level: int | None,
    overwrite: bool,
    device: str,
    precision: str | None,
    as_json: bool,
    quiet: bool,
    piped: bool,
) -> None:
    """Decode into files, and print where they are unless they are `piped`."""
    from jukebox_hf.audio import check_output_path, save_audio
    from jukebox_hf.codes import load_codes
    from jukebox_hf.generation import resolve_device

    codes = load_codes(codes_file)
    level = chosen_level(codes, level, codes_file)
    if piped and codes.takes > 1:
        raise ValueError(
            f"{codes_file} holds {codes.takes} takes, but standard output takes one; give -o FILE"
        )
    paths = output_paths(codes_file, output, level, codes.takes)
    for path in paths:
        check_output_path(path, overwrite=overwrite)
    target = resolve_device(device)
    system = open_model(model, quiet=quiet)
    for text in system.notes:
        note(text, quiet=quiet)
    codes.check_codec(system.vqvae_config())
    vqvae = system.load_vqvae_network(device=target, dtype=precision or "float32")
    codes.check_codec(vqvae.config, fingerprint=vqvae.fingerprint())
    records = []
    for number, path in enumerate(paths):
        parts = vqvae.decode_parts(
            codes.levels[level][number : number + 1], level, chunk_seconds=CHUNK_SECONDS
        )
        report = save_audio(
            path,
            (part[0] for part in parts),
            codes.sampling_rate,
            tags=tags_of(codes, system.licence, codes_file if piped else path),
            overwrite=overwrite,
        )
        if report.clipped_samples:
            note(
                f"{codes_file if piped else path}: {report.clipped_samples:,} samples were too "
                "loud and cut off.",
                quiet=quiet,
            )
        records.append(
            {
                "audio": path,
                "sampling_rate": report.sampling_rate,
                "duration_seconds": report.num_samples / report.sampling_rate,
                "peak": report.peak,
                "clipped_samples": report.clipped_samples,
                "unwritten_tags": report.unwritten_tags,
            }
        )
    if piped:
        return
    record = {"model": system.source, "level": level, "takes": records}
    print_result("\n".join(map(str, paths)), record, as_json=as_json)


def chosen_level(codes: Codes, level: int | None, source: Path) -> int:
    """The level to decode: the one asked for, else the finest that has codes."""
    there = [number for number, tensor in codes.levels.items() if tensor.shape[1]]
    if not there:
        raise ValueError(f"{source} holds no codes yet")
    if level is None:
        return there[0]
    if level not in there:
        raise ValueError(
            f"{source} holds no codes of level {level}; it has level " + ", ".join(map(str, there))
        )
    return level


def output_paths(codes_file: Path, output: Path | None, level: int, takes: int) -> list[Path]:
    """Where each take goes.

    >>> output_paths(Path("a/song.codes.safetensors"), None, 0, 1)[0].name
    'song_level_0.flac'
    >>> [path.name for path in output_paths(Path("x"), Path("b.wav"), 0, 2)]
    ['b_1.wav', 'b_2.wav']
    """
    if output is None:
        stem = codes_file.name.removesuffix(".safetensors").removesuffix(".codes")
        output = Path(f"{stem}_level_{level}.flac")
    if takes == 1:
        return [output]
    return [output.with_stem(f"{output.stem}_{number}") for number in range(1, takes + 1)]


def tags_of(codes: Codes, licence: str | None, path: Path) -> AudioTags:
    """What the audio says about itself: where its codes come from."""
    from jukebox_hf.audio import AudioTags

    seed = codes.origin.get("seed", "")
    generated = seed.isascii() and seed.isdigit()
    return AudioTags(
        title=path.stem,
        generated=generated,
        model=codes.origin.get("model"),
        seed=int(seed) if generated else None,
        licence=licence,
        comment=f"codes of {codes.origin.get('source', 'unknown origin')}, decoded",
    )
