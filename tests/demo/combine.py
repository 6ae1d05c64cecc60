"""Several folders of songs as one, for training on all of them.

    python -m tests.demo.combine music singing --output songs --minutes-per-genre 100

OUTPUT has a folder for each, with its songs (hard links where the file system has them, else
copies) and `.lrc` files, and one `metadata.csv` with the columns that any of them has.
`--minutes-per-genre` takes whole songs of a genre in random order (always the same for the same
songs) until there is so much, so that no genre drowns the others. An output that exists is refused.
The exit code is 2 for wrong usage, such as a folder without `metadata.csv`.
"""

import argparse
import csv
import os
import random
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from jukebox_hf.hub.folders import new_folder

METADATA = "metadata.csv"


def combine(
    folders: Sequence[Path], output: Path, *, minutes_per_genre: float | None = None
) -> int:
    """Write `output`, whole or not at all; how many songs it has."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise ValueError(f"expected folders of different names, got {', '.join(names)}")
    rows: list[dict[str, str]] = []
    with new_folder(output) as partial:
        for folder, name in zip(folders, names, strict=True):
            for row in chosen(_read_metadata(folder), minutes_per_genre):
                song = Path(row["file_name"])
                for file in (song, song.with_suffix(".lrc")):
                    if file == song or (folder / file).is_file():
                        _link(folder / file, partial / name / file)
                rows.append({**row, "file_name": (Path(name) / song).as_posix()})
        columns = list(dict.fromkeys(column for row in rows for column in row))
        with (partial / METADATA).open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, restval="")
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


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:  # another disk, or no hard links there
        shutil.copyfile(source, target)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--minutes-per-genre", type=float, metavar="N")
    given = parser.parse_args(arguments)
    try:
        songs = combine(given.folders, given.output, minutes_per_genre=given.minutes_per_genre)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{given.output}: {songs} songs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
