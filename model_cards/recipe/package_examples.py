"""Sound and pictures for the card of the model that comes with the package.

    python -m model_cards.recipe.package_examples

makes `examples/GENRE.ogg` and `.png` in `jukebox_hf/demo` (`--model DIR`: in another folder), with
the model's own settings, and `examples.json` with the settings, seeds and times; then writes the
card anew. `--example GENRE=SEED` (repeatable) instead of the usual three: the card then says that
they were chosen.
"""

import argparse
import os
import platform
import shlex
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from jukebox_hf import JukeboxPipeline
from jukebox_hf.audio import save_audio
from jukebox_hf.files import safe_file_name, write_atomically
from jukebox_hf.hub.folders import new_model_folder, write_json
from jukebox_hf.records import to_json
from model_cards.recipe.package_card import EXAMPLES, EXAMPLES_FILE, OUTPUT, digests, write_card
from model_cards.recipe.packages import note
from model_cards.recipe.scripts import script, script_parser

USUAL = (("strings", 1), ("electronic", 2), ("rock", 3))
SECONDS = 10.0
STFT_SIZE, STFT_HOP = 1024, 128
WIDTH, HEIGHT = 640, 160  # of a picture, in pixels
LOWEST_HERTZ = 60.0
MARGINS = (56, 22)  # left and below, for the axes
HERTZ_MARKS = {100: "100 Hz", 300: "300 Hz", 1000: "1 kHz", 3000: "3 kHz", 10000: "10 kHz"}
RANGE_DB = 70.0  # below the loudest cell, where colours end
COLOURS = np.array(
    [(0, 0, 4), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191)], np.float64
)


def make_examples(
    folder: Path, examples: Sequence[tuple[str, int]], *, seconds: float, command: str
) -> None:
    """Make the music and the pictures, and write the card; what was there is replaced at the end.

    Raises `ValueError` for a genre that the model does not know.
    """
    pipeline = JukeboxPipeline.from_pretrained(folder, device="cpu")
    genres = pipeline.system.processor(max(pipeline.system.prior_levels)).genres
    unknown = [genre for genre, _ in examples if genre not in genres]
    if unknown:
        raise ValueError(
            f"{', '.join(unknown)}: no genre of this model; it has {', '.join(genres)}"
        )
    cores = f"{torch.get_num_threads()} of {os.cpu_count()} cores"
    record: dict[str, Any] = {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": f"cpu ({platform.machine()}, {cores})",
        "chosen": tuple(examples) != USUAL,
        "model": digests(folder),
        "examples": [],
    }
    # Beside its place, because `new_folder` replaces models only.
    target = folder / EXAMPLES
    with new_model_folder(folder / f"{EXAMPLES}.new") as made:
        for genre, seed in examples:
            record["examples"].append(make_example(pipeline, made, genre, seed, seconds))
            note(f"{genre}: {record['examples'][-1]['wall_seconds']:.1f} s")
        write_json(made / EXAMPLES_FILE, record)
    fresh = folder / f"{EXAMPLES}.new"
    if target.exists():
        for path in target.iterdir():
            path.unlink()
        target.rmdir()
    fresh.rename(target)
    write_card(folder)


def make_example(
    pipeline: JukeboxPipeline, folder: Path, genre: str, seed: int, seconds: float
) -> dict[str, Any]:
    """One piece and its picture; returns its record."""
    begun = time.monotonic()
    run = pipeline.start(genre=genre, seed=seed, seconds=seconds)
    for _ in run:
        pass
    music = run.music()
    wall_seconds = time.monotonic() - begun
    name = safe_file_name(genre)
    (take,) = music.takes
    assert take.audio is not None
    report = save_audio(folder / f"{name}.ogg", take.audio, music.sampling_rate, tags=take.tags)
    draw_spectrogram(folder / f"{name}.png", take.audio[0], music.sampling_rate)
    return {
        "audio": f"{name}.ogg",
        "picture": f"{name}.png",
        "genre": genre,
        "seed": seed,
        "seconds": round(take.audio.shape[1] / music.sampling_rate, 3),
        "wall_seconds": round(wall_seconds, 1),
        "peak": round(report.peak, 3),
        "settings": to_json(run.plan.settings),
        "notes": list(music.notes),
    }


def spectrogram(audio: Tensor, sampling_rate: int) -> npt.NDArray[np.float64]:
    """Loudness from 0 to 1 of audio (samples,), the highest pitch first: (HEIGHT, WIDTH)."""
    window = torch.hann_window(STFT_SIZE)
    spectrum = torch.stft(audio, STFT_SIZE, STFT_HOP, window=window, return_complex=True).abs()
    hertz = np.geomspace(sampling_rate / 2, LOWEST_HERTZ, HEIGHT)
    rows = np.clip(np.round(hertz / sampling_rate * STFT_SIZE).astype(int), 0, STFT_SIZE // 2)
    columns = np.linspace(0, spectrum.shape[1] - 1, WIDTH).round().astype(int)
    cells = spectrum.numpy().astype(np.float64)[rows][:, columns]
    decibels = 20 * np.log10(np.maximum(cells, 1e-10) / max(cells.max(), 1e-10))
    scaled: npt.NDArray[np.float64] = np.clip(1 + decibels / RANGE_DB, 0, 1)
    return scaled


def draw_spectrogram(path: Path, audio: Tensor, sampling_rate: int) -> None:
    """Write a picture of audio (samples,): seconds to the right, hertz upwards, loud is bright."""
    from PIL import Image, ImageDraw, ImageFont

    loudness = spectrogram(audio, sampling_rate) * (len(COLOURS) - 1)
    below = np.minimum(loudness.astype(int), len(COLOURS) - 2)
    part = (loudness - below)[..., None]
    pixels = COLOURS[below] * (1 - part) + COLOURS[below + 1] * part
    left, bottom = MARGINS
    picture = Image.new("RGB", (left + WIDTH, HEIGHT + bottom), "white")
    picture.paste(Image.fromarray(pixels.round().astype(np.uint8)), (left, 0))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(12)
    highest, seconds = sampling_rate / 2, len(audio) / sampling_rate
    for hertz, text in HERTZ_MARKS.items():
        y = HEIGHT * (1 - np.log(hertz / LOWEST_HERTZ) / np.log(highest / LOWEST_HERTZ))
        if 8 < y < HEIGHT:  # where a mark has room for its text
            draw.line((left - 4, y, left - 1, y), fill="black")
            draw.text((left - 6, y), text, fill="black", font=font, anchor="rm")
    for second in np.arange(0, seconds, max(1, round(seconds / 10))):
        x = left + second / seconds * WIDTH
        draw.line((x, HEIGHT, x, HEIGHT + 3), fill="black")
        draw.text((x + 2, HEIGHT + 5), f"{second:g} s", fill="black", font=font)
    # A palette of 64 colours makes it a third of the size.
    picture = picture.quantize(64)

    def write(temporary: Path) -> None:
        picture.save(temporary, format="PNG", optimize=True)

    write_atomically(path, write)


def _example(text: str) -> tuple[str, int]:
    genre, _, seed = text.rpartition("=")
    if not genre or not (seed.isascii() and seed.isdigit()):
        raise argparse.ArgumentTypeError(f"expected GENRE=SEED, got {text}")
    return genre, int(seed)


@script
def main(arguments: list[str]) -> None:
    import transformers.utils.logging as transformers_logging

    parser = script_parser("package_examples", __doc__)
    parser.add_argument("--model", type=Path, default=OUTPUT, metavar="DIR")
    parser.add_argument("--example", action="append", type=_example, metavar="GENRE=SEED")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="%(default)s")
    given = parser.parse_args(arguments)
    examples = tuple(given.example or USUAL)
    words = [f"--example={genre}={seed}" for genre, seed in examples if examples != USUAL]
    words += [f"--seconds={given.seconds:g}"] if given.seconds != SECONDS else []
    command = shlex.join(["python", "-m", "model_cards.recipe.package_examples", *words])
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    make_examples(given.model, examples, seconds=given.seconds, command=command)
    print(given.model / EXAMPLES)


if __name__ == "__main__":
    sys.exit(main())
