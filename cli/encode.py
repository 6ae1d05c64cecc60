"""`jukebox encode`: audio to a file of codes, or a dataset of songs to a dataset of codes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from .dataset_encoding import encode_dataset_songs, encoding_options, refuse_dataset_options
from .dataset_options import song_options
from .generation_options import BUILT_IN_MODEL, open_model
from .options import (
    DURATION,
    LEVELS,
    clean_errors,
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


@click.command()
@click.argument("audio", required=False, type=click.Path(path_type=Path))
@model_option(
    default_text=BUILT_IN_MODEL,
    help="Model, or a bare VQ-VAE: a folder, or a repository on the Hub.",
)
@click.option("--levels", type=LEVELS, show_default="all", help="Levels to encode; 0 is finest.")
@click.option("--start", type=DURATION, default=0.0, help="Leave out the audio before this.")
@click.option("--end", type=DURATION, help="Leave out the audio after this.")
@output_option(
    help="File to write, or folder for the codes of a dataset.",
    default_text="AUDIO's name with .codes.safetensors",
)
@overwrite_option
@song_options()
@encoding_options
@device_option
@precision_option
@json_option
@quiet_option
@clean_errors
def encode(
    audio: Path | None,
    model: str | None,
    levels: tuple[int, ...] | None,
    start: float,
    end: float | None,
    output: Path | None,
    overwrite: bool,
    device: str,
    precision: str | None,
    as_json: bool,
    quiet: bool,
    **dataset_options: Any,
) -> None:
    """Turn an audio file, or every song of a dataset, into codes.

    AUDIO may have any format, sampling rate and number of channels; channels are mixed down. The
    codes of all levels go into one file, which `jukebox decode`, `continue` and `upsample` read.

    With --dataset, -o names a folder, which gets the codes, labels and lyrics of all songs, for
    `jukebox train prior` and `finetune`. The same command goes on with what is there already.

    Prints the path of the file or folder.
    """
    if dataset_options["dataset"] is not None:
        if audio is not None or start or end is not None or overwrite:
            raise click.UsageError(
                "--dataset goes without AUDIO, --start, --end and --overwrite; what is in the "
                "folder already is kept"
            )
        encode_dataset_songs(
            model=model,
            output=output,
            levels=levels,
            device=device,
            precision=precision,
            as_json=as_json,
            quiet=quiet,
            **dataset_options,
        )
        return
    refuse_dataset_options(dataset_options)
    if audio is None:
        raise click.UsageError("give an audio file, or --dataset DIR_OR_REPO")
    if end is not None and end <= start:
        raise click.UsageError(f"--end {end:g} must be after --start {start:g}")
    output = output or Path(f"{audio.stem}.codes.safetensors")

    import transformers.utils.logging as transformers_logging
    from tqdm import tqdm

    from jukebox_hf.audio import AudioReader
    from jukebox_hf.codes import check_codes_path, save_codes
    from jukebox_hf.data import check_part, encode_audio
    from jukebox_hf.generation import resolve_device

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    check_codes_path(output, overwrite=overwrite)
    target = resolve_device(device)
    system = open_model(model, quiet=quiet)
    for text in system.notes:
        note(text, quiet=quiet)
    config = system.vqvae_config()
    chosen = levels or tuple(range(config.num_levels))
    with AudioReader(audio, config.sampling_rate) as reader:
        first, stop = reader.part(start, end)
        check_part(config, chosen, first, stop)
        vqvae = system.load_vqvae(device=target, dtype=precision or "float32")
        with tqdm(
            desc="Encoding",
            total=stop - first,
            unit=" samples",
            unit_scale=True,
            file=sys.stderr,
            disable=True if quiet else None,  # None: off unless on a terminal
        ) as bar:
            codes = encode_audio(
                vqvae,
                reader,
                chosen,
                start=first,
                stop=stop,
                origin={"source": audio.name, "model": system.title},
                on_progress=lambda done: bar.update(done - bar.n),
            )
    save_codes(output, codes)
    record = {
        "codes": output,
        "model": system.source,
        "num_codes": {level: tensor.shape[1] for level, tensor in codes.levels.items()},
        "hop_lengths": codes.hop_lengths,
        "sampling_rate": codes.sampling_rate,
        "duration_seconds": max(map(codes.duration_seconds, codes.levels)),
        "fingerprint": codes.fingerprint,
    }
    counts = ", ".join(
        f"{tensor.shape[1]:,} at level {level}" for level, tensor in codes.levels.items()
    )
    note(f"{record['duration_seconds']:.2f} seconds of audio became codes: {counts}.", quiet=quiet)
    print_result(output, record, as_json=as_json)
