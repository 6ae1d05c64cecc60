"""`jukebox encode`: audio files to files of codes, or a dataset of songs to a dataset of codes."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from .dataset_encoding import encode_dataset_songs, encoding_options, refuse_dataset_options
from .dataset_options import song_options
from .generation_options import BUILT_IN_MODEL, open_model
from .options import (
    DURATION,
    LEVELS,
    STANDARD_STREAM,
    device_option,
    json_option,
    model_option,
    note,
    one_line,
    output_option,
    overwrite_option,
    precision_option,
    print_result,
    quiet_option,
)

if TYPE_CHECKING:
    from torch import device

    from jukebox_hf.codes import Codes
    from jukebox_hf.hub import System

STANDARD_INPUT = "standard input"
CODES_SUFFIX = ".codes.safetensors"


@click.command()
@click.argument(
    "audio", metavar="[AUDIO|-]...", nargs=-1, type=click.Path(path_type=Path, allow_dash=True)
)
@model_option(
    default_text=BUILT_IN_MODEL,
    help="Model, or a bare VQ-VAE: a folder, or a repository on the Hub.",
)
@click.option("--levels", type=LEVELS, show_default="all", help="Levels to encode; 0 is finest.")
@click.option("--start", type=DURATION, default=0.0, help="Leave out the audio before this.")
@click.option("--end", type=DURATION, help="Leave out the audio after this.")
@output_option(
    help="File to write; of several files, or of a dataset, the folder for their codes.",
    default_text="AUDIO's name with .codes.safetensors",
)
@overwrite_option
@song_options()
@encoding_options
@device_option
@precision_option
@json_option
@quiet_option
def encode(
    audio: tuple[Path, ...],
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
    """Turn audio files, or every song of a dataset, into codes.

    AUDIO may have any format, sampling rate and number of channels; channels are mixed down; - is
    audio on standard input. The codes of all levels go into one file for each, which
    `jukebox decode`, `continue` and `upsample` read.

    With --dataset, -o names a folder, which gets the codes, labels and lyrics of all songs, for
    `jukebox train prior` and `finetune`. The same command goes on with what is there already.

    Prints the paths of the files, or that of the folder.
    """
    if dataset_options["dataset"] is not None:
        if audio or start or end is not None or overwrite:
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
    if not audio:
        raise click.UsageError(
            "give audio files, - for audio on standard input, or --dataset DIR_OR_REPO"
        )
    if end is not None and end <= start:
        raise click.UsageError(f"--end {end:g} must be after --start {start:g}")
    outputs = output_paths(audio, output)

    from jukebox_hf.codes import check_codes_path, save_codes
    from jukebox_hf.generation import resolve_device

    if len(audio) > 1:
        outputs[0].parent.mkdir(parents=True, exist_ok=True)
    for path in outputs:
        check_codes_path(path, overwrite=overwrite)
    target = resolve_device(device)
    system = open_model(model, quiet=quiet)
    for text in system.notes:
        note(text, quiet=quiet)
    encoder = Encoder(system, levels, start, end, target, precision or "float32")
    records, failed = [], []
    with on_disk(audio) as files:
        for file, path in zip(files, outputs, strict=True):
            try:
                codes = encoder.encode(file, quiet=quiet)
            except (OSError, ValueError) as error:
                if len(audio) == 1:
                    raise
                failed.append({"audio": str(file.name), "reason": one_line(error)})
                continue
            save_codes(path, codes)
            records.append(codes_record(codes, path, system))
            seconds, counts = records[-1]["duration_seconds"], records[-1]["num_codes"]
            listed = ", ".join(f"{count:,} at level {level}" for level, count in counts.items())
            which = f"{file.name}: " if len(audio) > 1 else ""
            note(f"{which}{seconds:.2f} seconds of audio became codes: {listed}.", quiet=quiet)
    record = records[0] if len(audio) == 1 else {"files": records, "failed": failed}
    lines = "\n".join(str(one["codes"]) for one in records)
    if records or as_json:
        print_result(lines, record, as_json=as_json)
    for one in failed:
        note(f"Error: {one['reason']}")
    if failed:
        raise click.exceptions.Exit(1)


class InputFile(NamedTuple):
    """An audio file, and what it is called."""

    name: Path
    path: Path


@contextlib.contextmanager
def on_disk(audio: Sequence[Path]) -> Iterator[list[InputFile]]:
    """The files that are named; what comes on standard input lies in a temporary one meanwhile."""
    with contextlib.ExitStack() as stack:
        files = []
        for path in audio:
            if str(path) != STANDARD_STREAM:
                files.append(InputFile(path, path))
                continue
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            with (folder / STANDARD_INPUT).open("wb") as file:
                shutil.copyfileobj(sys.stdin.buffer, file)
            files.append(InputFile(Path(STANDARD_INPUT), folder / STANDARD_INPUT))
        yield files


class Encoder:
    """A model's codec, which is loaded when the first file has turned out to be audio.

    Args:
        system: the model.
        levels: to encode; None: all.
        start, end: seconds of the part of every file.
        device, dtype: of the codec.
    """

    def __init__(
        self,
        system: System,
        levels: tuple[int, ...] | None,
        start: float,
        end: float | None,
        device: device,
        dtype: str,
    ) -> None:
        self.system = system
        self.config = system.vqvae_config()
        self.levels = levels or tuple(range(self.config.num_levels))
        self.start, self.end = start, end
        self.placement: dict[str, Any] = {"device": device, "dtype": dtype}
        self.codec: Any = None

    def encode(self, file: InputFile, *, quiet: bool) -> Codes:
        """The codes of the part; `OSError` or `ValueError` for a file without it."""
        try:
            return self._encode(file, quiet=quiet)
        except (OSError, ValueError) as error:
            if file.name == file.path:
                raise
            raise ValueError(one_line(error).replace(str(file.path), str(file.name))) from error

    def _encode(self, file: InputFile, *, quiet: bool) -> Codes:
        from tqdm import tqdm

        from jukebox_hf.audio import AudioReader
        from jukebox_hf.data import check_part, encode_audio

        with AudioReader(file.path, self.config.sampling_rate) as reader:
            first, stop = reader.part(self.start, self.end)
            check_part(self.config, self.levels, first, stop)
            self.codec = self.codec or self.system.load_vqvae_network(**self.placement)
            with tqdm(
                desc="Encoding",
                total=stop - first,
                unit=" samples",
                unit_scale=True,
                file=sys.stderr,
                disable=True if quiet else None,  # None: off unless on a terminal
            ) as bar:
                return encode_audio(
                    self.codec,
                    reader,
                    self.levels,
                    start=first,
                    stop=stop,
                    origin={"source": file.name.name, "model": self.system.title},
                    on_progress=lambda done: bar.update(done - bar.n),
                )


def codes_record(codes: Codes, path: Path, system: System) -> dict[str, Any]:
    """What `--json` says of a file of codes."""
    return {
        "codes": path,
        "model": system.source,
        "num_codes": {level: tensor.shape[1] for level, tensor in codes.levels.items()},
        "hop_lengths": codes.hop_lengths,
        "sampling_rate": codes.sampling_rate,
        "duration_seconds": max(map(codes.duration_seconds, codes.levels)),
        "fingerprint": codes.fingerprint,
    }


def output_paths(audio: Sequence[Path], output: Path | None) -> list[Path]:
    """Where the codes of each file go.

    >>> [path.name for path in output_paths([Path("a/song.flac")], None)]
    ['song.codes.safetensors']
    >>> [path.as_posix() for path in output_paths([Path("a.wav"), Path("b.wav")], Path("codes"))]
    ['codes/a.codes.safetensors', 'codes/b.codes.safetensors']
    """
    piped = [path for path in audio if str(path) == STANDARD_STREAM]
    if len(piped) > 1:
        raise click.UsageError("standard input can be read once; give - once")
    if len(audio) == 1 and output is not None:
        return [output]
    if piped:
        raise click.UsageError(
            "audio on standard input has no name and goes alone; say -o FILE for its codes"
        )
    outputs = [(output or Path()) / f"{path.stem}{CODES_SUFFIX}" for path in audio]
    for path, one in zip(audio, outputs, strict=True):
        first = audio[outputs.index(one)]
        if first is not path:
            raise click.UsageError(f"the codes of {first} and {path} would both be {one}")
    if len(audio) > 1 and output is not None and output.is_file():
        raise click.UsageError(f"{output} is a file; of several files the codes go into a folder")
    return outputs
