"""Several folders of songs as one, for training on all of them.

    python -m tests.demo.combine music singing --output songs

OUTPUT has a folder for each, with its songs (hard links where the file system has them, else
copies) and `.lrc` files, and one `metadata.csv` with the columns that any of them has. An output
that exists is refused. The exit code is 2 for wrong usage, such as a folder without `metadata.csv`.
"""

import argparse
import csv
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from jukebox_hf.hub.folders import new_folder

METADATA = "metadata.csv"


def combine(folders: Sequence[Path], output: Path) -> int:
    """Write `output`, whole or not at all; how many songs it has."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise ValueError(f"expected folders of different names, got {', '.join(names)}")
    rows: list[dict[str, str]] = []
    with new_folder(output) as partial:
        for folder, name in zip(folders, names, strict=True):
            for row in _read_metadata(folder):
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


def _read_metadata(folder: Path) -> list[dict[str, str]]:
    path = folder / METADATA
    if not path.is_file():
        raise ValueError(f"expected {METADATA} in {folder}, as fetch_music and sing write it")
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
    given = parser.parse_args(arguments)
    try:
        songs = combine(given.folders, given.output)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{given.output}: {songs} songs")
    return 0


if __name__ == "__main__":
    sys.exit(main())
