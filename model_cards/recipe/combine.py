"""Several folders of songs as one, for training on all of them.

    python -m model_cards.recipe.combine music singing --output songs --minutes-per-genre 100

OUTPUT has a folder for each, with copies of its songs and `.lrc` files, and one `metadata.csv` with
the columns that any of them has. `--minutes-per-genre` takes whole songs of a genre in random order
(always the same for the same songs) until there is so much, so that no genre drowns the others.
`--speed 1.06` makes every song so much faster and higher (by a semitone) under the same name, as a
second set to learn from: a song that is held out of one is held out of the other. An
output that exists is refused. The exit code is 2 for wrong usage, such as a folder without
`metadata.csv`.
"""

import argparse
import csv
import random
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import soundfile

from jukebox_hf.hub.folders import new_model_folder
from model_cards.recipe.scripts import script

METADATA = "metadata.csv"


def combine(
    folders: Sequence[Path],
    output: Path,
    *,
    minutes_per_genre: float | None = None,
    speed: float = 1.0,
) -> int:
    """Write `output`, whole or not at all; how many songs it has."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise ValueError(f"expected folders of different names, got {', '.join(names)}")
    rows: list[dict[str, str]] = []
    with new_model_folder(output) as partial:
        for folder, name in zip(folders, names, strict=True):
            for row in chosen(_read_metadata(folder), minutes_per_genre):
                song = Path(row["file_name"])
                for file in (song, song.with_suffix(".lrc")):
                    if file == song or (folder / file).is_file():
                        _put(folder / file, partial / name / file, speed)
                named = {**row, "file_name": (Path(name) / song).as_posix()}
                if speed != 1 and "seconds" in row:
                    named["seconds"] = f"{float(row['seconds']) / speed:.2f}"
                rows.append(named)
        columns = list(dict.fromkeys(column for row in rows for column in row))
        with (partial / METADATA).open("w", newline="", encoding="utf-8") as table:
            writer = csv.DictWriter(table, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
    return len(rows)


def chosen(
    rows: Sequence[dict[str, str]], minutes_per_genre: float | None, seed: int = 0
) -> list[dict[str, str]]:
    """Some of the songs of a folder, in its order: per genre those that reach so many minutes."""
    if minutes_per_genre is None:
        return list(rows)
    shuffled = sorted(rows, key=lambda row: row["file_name"])
    random.Random(seed).shuffle(shuffled)
    minutes: dict[str, float] = {}
    names = set()
    for row in shuffled:
        genre = row.get("genre", "")
        if minutes.get(genre, 0.0) < minutes_per_genre:
            minutes[genre] = minutes.get(genre, 0.0) + float(row["seconds"]) / 60
            names.add(row["file_name"])
    return [row for row in rows if row["file_name"] in names]


def _read_metadata(folder: Path) -> list[dict[str, str]]:
    path = folder / METADATA
    if not path.is_file():
        raise FileNotFoundError(
            f"expected {METADATA} in {folder}, as fetch_music and sing write it"
        )
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _put(source: Path, target: Path, speed: float) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if speed == 1:
        shutil.copyfile(source, target)
    elif source.suffix == ".lrc":
        lines = source.read_text(encoding="utf-8")
        target.write_text(faster_lrc(lines, speed), encoding="utf-8")
    else:  # the same samples at another rate: whoever reads them resamples anyway
        samples, rate = soundfile.read(source, dtype="int16", always_2d=True)
        soundfile.write(target, samples, round(rate * speed), subtype="PCM_16")


def faster_lrc(text: str, speed: float) -> str:
    """Timed lyrics with every time, `[01:02.50]` or `<01:02.50>`, divided by `speed`."""

    def divided(time: re.Match[str]) -> str:
        hundredths = round((int(time[2]) * 60 + float(time[3])) * 100 / speed)
        minutes, rest = divmod(hundredths, 6000)
        return f"{time[1]}{minutes:02}:{rest / 100:05.2f}{time[4]}"

    return re.sub(r"([\[<])(\d+):(\d+(?:\.\d+)?)([\]>])", divided, text)


@script
def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--minutes-per-genre", type=float, metavar="N")
    parser.add_argument("--speed", type=float, default=1.0, metavar="FACTOR")
    given = parser.parse_args(arguments)
    if not 0.5 <= given.speed <= 2:
        parser.error(f"--speed: expected 0.5 to 2, got {given.speed}")
    songs = combine(
        given.folders,
        given.output,
        minutes_per_genre=given.minutes_per_genre,
        speed=given.speed,
    )
    print(f"{given.output}: {songs} songs")


if __name__ == "__main__":
    sys.exit(main())
