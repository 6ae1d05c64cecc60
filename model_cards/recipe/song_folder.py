"""A folder of songs that a program makes up, with a table of what is known of them.

Songs are made one after the other, and those that are there are not made again: the same command
goes on where it was stopped.
"""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from jukebox_hf.audio import AudioTags, audio_info
from jukebox_hf.files import write_text
from jukebox_hf.labels import UNKNOWN
from model_cards.recipe.packages import note

COLUMNS = ("file_name", "artist", "genre", "title", "licence", "credit", "source", "seconds")


def metadata_table(rows: Iterable[dict[str, str]], columns: Sequence[str]) -> str:
    """`metadata.csv`, as `audiofolder` of the `datasets` library has it."""
    text = io.StringIO()
    table = csv.DictWriter(text, columns, lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return text.getvalue()


def song_row(path: Path, tags: AudioTags, source: str) -> dict[str, str]:
    """The row of a song that is there, with `COLUMNS`; `source` says what made it."""
    return {
        "file_name": path.name,
        "artist": tags.artist or UNKNOWN,
        "genre": tags.genre or UNKNOWN,
        "title": tags.title or "",
        "licence": tags.licence or "",
        "credit": tags.comment or "",
        "source": source,
        "seconds": f"{audio_info(path).duration_seconds:.2f}",
    }


def fill_folder(
    output: Path,
    make: Callable[[int], dict[str, str]],
    *,
    seconds: float,
    columns: Sequence[str] = COLUMNS,
    noun: str,
) -> int:
    """Make songs until there are so many seconds of them; returns how many there are then.

    `make` writes the song of a number into the folder, unless it is there, and returns its row.
    """
    output.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []
    total = 0.0
    while total < seconds:
        rows.append(make(len(rows)))
        total += float(rows[-1]["seconds"])
        if len(rows) % 10 == 0 or total >= seconds:
            write_text(output / "metadata.csv", metadata_table(rows, columns))
            note(f"{len(rows)} {noun}, {total / 60:.1f} of {seconds / 60:.1f} minutes")
    return len(rows)
