"""Openly licensed music, labelled, out of Debian packages.

    python -m model_cards.recipe.fetch_music --output music --packages miceamaze zaz-data

Fetches packages by name, takes the music that `music_manifest.csv` lists under a licence that lets
trained weights be shipped (CC0, public domain, MIT, CC-BY, CC-BY-SA, or a choice that contains one
of these), adds up stems, cuts digital silence off the ends, makes everything equally loud
(`loudness.py`), and writes

    OUTPUT/PACKAGE/NAME.flac     the music
    OUTPUT/metadata.csv          file_name, artist, genre, title, licence, credit, package, source
    OUTPUT/ATTRIBUTION.md        who made what, under which licence, and what was changed
    OUTPUT/copyright/PACKAGE.txt the packages' own copyright files
    OUTPUT/progress.jsonl        what is done, so that the same command goes on where it was stopped

which `jukebox train` and `jukebox encode` take as they are. Nothing is installed. A package that
cannot be had, a file that is missing or has another length than the listed one, a copyright file
that does not name the licence: each is reported and left out, the rest goes on. The exit code is 0
if there is any music, 1 if there is none, 2 for wrong usage. One run at a time writes to a folder.

All packages: 5.2 GB to fetch, 14.8 hours of music. A package lies in the cache for the next run; a
folder of `PACKAGE_*.deb` files as `--cache` works without a network.
"""

import argparse
import hashlib
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from jukebox_hf.audio import AudioTags, audio_info, load_audio, save_audio
from jukebox_hf.files import PARTIAL_SUFFIX, write_text
from model_cards.recipe import loudness
from model_cards.recipe.manifest import (
    MANIFEST,
    Piece,
    licence_url,
    mentions_licence,
    read_manifest,
    select,
)
from model_cards.recipe.packages import Extracted, Fetcher, PackageError, extracted, note
from model_cards.recipe.scripts import script, script_parser
from model_cards.recipe.song_folder import metadata_table

FORMATS = ("flac", "ogg", "opus", "wav")
# Unpacked files, in the output folder: the largest archive, 1.3 GB, may be too much for /tmp.
WORK_FOLDER = ".unpacked"
# Lengths were listed to a tenth of a second, some from headers.
LENGTH_TOLERANCE_SECONDS = 0.5
METADATA_COLUMNS = (
    "file_name",
    "artist",
    "genre",
    "title",
    "licence",
    "credit",
    "package",
    "version",
    "source",
    "seconds",
)
CHANGES = "digital silence cut off both ends, loudness set to {target:g} LUFS"


@dataclass(frozen=True)
class Settings:
    """How music is written; another setting means converting again."""

    format: str = "flac"
    sampling_rate: int = 44_100
    stereo: bool = False
    loudness: float = loudness.TARGET_LOUDNESS


class Done(NamedTuple):
    """A piece on disk: its row of `metadata.csv`, and what was measured."""

    key: str
    row: dict[str, str]
    gain_db: float
    peak_limited: bool


class Progress:
    """What is done, one line of JSON each; lines that cannot be read are skipped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: dict[str, Done] = {}
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for line in text.splitlines():
            try:
                done = Done(**json.loads(line))
            except (ValueError, TypeError):
                continue
            self.done[done.key] = done

    def add(self, done: Done) -> None:
        self.done[done.key] = done
        lines = [json.dumps(entry._asdict(), ensure_ascii=False) for entry in self.done.values()]
        write_text(self.path, "".join(f"{line}\n" for line in lines))


def piece_key(piece: Piece, settings: Settings) -> str:
    """Changes with everything that decides how a piece is written and labelled."""
    facts = json.dumps([piece._asdict(), asdict(settings)], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def load_piece(piece: Piece, files: dict[str, Path], settings: Settings) -> Tensor:
    """Read a piece, its stems added up: (channels, samples).

    Raises `ValueError` or `OSError` with the reason why it cannot be used.
    """
    missing = [path for path in piece.paths if path not in files]
    if missing:
        raise ValueError(f"the package does not hold {missing[0]} (any more)")
    stems = []
    for path in piece.paths:
        channels = audio_info(files[path]).channels
        stem = load_audio(files[path], settings.sampling_rate, mono=not settings.stereo)
        if settings.stereo and channels == 1:
            stem = stem.expand(2, -1)
        stems.append(stem)
    audio = loudness.add_up(stems)
    seconds = audio.shape[1] / settings.sampling_rate
    if abs(seconds - piece.seconds) > LENGTH_TOLERANCE_SECONDS:
        raise ValueError(
            f"lasts {seconds:.1f} seconds, listed with {piece.seconds:.1f}: it has changed since "
            "its licence was looked up"
        )
    return audio


def convert_piece(piece: Piece, package: Extracted, folder: Path, settings: Settings) -> Done:
    """Write one piece; raises `ValueError` or `OSError` with the reason why not."""
    audio = loudness.trim_silence(load_piece(piece, package.files, settings))
    if not audio.shape[1]:
        raise ValueError("silent")
    normalised = loudness.normalise(audio, settings.sampling_rate, target=settings.loudness)
    name = f"{piece.package}/{piece.name}.{settings.format}"
    (folder / piece.package).mkdir(parents=True, exist_ok=True)
    tags = AudioTags(
        title=piece.title, artist=piece.credit, genre=piece.genre, licence=piece.licence
    )
    report = save_audio(
        folder / name, normalised.audio, settings.sampling_rate, tags=tags, overwrite=True
    )
    row = {
        "file_name": name,
        "artist": piece.artist,
        "genre": piece.genre,
        "title": piece.title,
        "licence": piece.licence,
        "credit": piece.credit,
        "package": piece.package,
        "version": package.version,
        "source": " + ".join(piece.paths),
        "seconds": f"{report.num_samples / report.sampling_rate:.2f}",
    }
    return Done(piece_key(piece, settings), row, normalised.gain_db, normalised.peak_limited)


def convert_package(
    package: str,
    pieces: Sequence[Piece],
    fetcher: Fetcher,
    folder: Path,
    settings: Settings,
    progress: Progress,
) -> list[str]:
    """Fetch one package and write its pieces; returns what went wrong, one line each."""
    problems: list[str] = []
    try:
        paths = [path for piece in pieces for path in piece.paths]
        deb = fetcher.fetch(package)
        with extracted(deb, package, paths, work=folder / WORK_FOLDER) as content:
            copyright_text = content.copyright or linked_copyright(content, fetcher)
            (folder / "copyright").mkdir(parents=True, exist_ok=True)
            write_text(folder / "copyright" / f"{package}.txt", copyright_text)
            for piece in pieces:
                try:
                    if not mentions_licence(copyright_text, piece.licence):
                        raise ValueError(
                            f"the package's copyright file does not name {piece.licence}"
                        )
                    progress.add(convert_piece(piece, content, folder, settings))
                except (ValueError, OSError) as error:
                    problems.append(f"{package}: {piece.name}: {error}")
    except (PackageError, OSError) as error:
        problems.append(f"{package}: {error}")
    return problems


def linked_copyright(content: Extracted, fetcher: Fetcher) -> str:
    """The copyright file of the package that a package without one of its own points to."""
    if content.documents_in is None:
        return ""
    with extracted(fetcher.fetch(content.documents_in), content.documents_in, ()) as other:
        return other.copyright


def attribution(rows: Iterable[dict[str, str]], settings: Settings) -> str:
    """Who made what: the table that CC-BY and CC-BY-SA ask for, in Markdown."""
    lines = [
        "# Attribution",
        "",
        f"Music from Debian packages; changed: {CHANGES.format(target=settings.loudness)}, "
        f"{'stereo' if settings.stereo else 'mixed down to mono'}; stems of one song are added up.",
        "",
        "| title | by | licence | Debian package | file |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        url = licence_url(row["licence"])
        licence = f"[{row['licence']}]({url})" if url else row["licence"]
        cells = [
            _cell(row["title"]),
            _cell(row["credit"]),
            licence,
            f"{row['package']} {row['version']}",
            _cell(row["source"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text that cannot end a cell of a Markdown table or become a tag."""
    for character in "\\|<>*_`[]":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def totals(rows: Sequence[dict[str, str]]) -> str:
    """Minutes and pieces, for every genre and every licence."""
    lines = []
    for column in ("genre", "licence"):
        minutes: dict[str, float] = {}
        pieces = Counter(row[column] for row in rows)
        for row in rows:
            name = row[column]
            minutes[name] = minutes.get(name, 0.0) + float(row["seconds"]) / 60
        lines.append(f"{column:20} {'minutes':>8} {'pieces':>7}")
        lines += [
            f"{name:20} {minutes[name]:8.1f} {pieces[name]:7}"
            for name in sorted(minutes, key=lambda name: -minutes[name])
        ]
        lines.append(f"{'all':20} {sum(minutes.values()):8.1f} {len(rows):7}")
    return "\n".join(lines)


def fetch_music(
    output: Path, *, packages: Sequence[str] | None, cache: Path, settings: Settings
) -> list[dict[str, str]]:
    """Do all of the above; returns the rows of `metadata.csv`.

    Raises `ValueError` for packages that the manifest has no usable music of.
    """
    selection = select(read_manifest())
    by_package: dict[str, list[Piece]] = {}
    for piece in selection.pieces:
        by_package.setdefault(piece.package, []).append(piece)
    chosen = list(by_package) if packages is None else list(dict.fromkeys(packages))
    unknown = [package for package in chosen if package not in by_package]
    if unknown:
        raise ValueError(
            f"{MANIFEST.name} lists no usable music of {', '.join(unknown)}; expected some of "
            f"{', '.join(by_package)}"
        )
    output.mkdir(parents=True, exist_ok=True)
    clean_up(output)
    progress = Progress(output / "progress.jsonl")
    fetcher = Fetcher(cache)
    refused = [item for item in selection.refused if item.package in chosen]
    for item in refused:
        note(f"refused: {item.package}: {item.path.rpartition('/')[2]}: {item.reason}")
    problems: list[str] = []
    for number, package in enumerate(chosen, start=1):
        open_pieces = [
            piece
            for piece in by_package[package]
            if not _is_done(progress.done.get(piece_key(piece, settings)), output)
        ]
        note(
            f"[{number}/{len(chosen)}] {package}: {len(by_package[package])} pieces, "
            f"{len(open_pieces)} to do"
        )
        if open_pieces:
            found = convert_package(package, open_pieces, fetcher, output, settings, progress)
            problems += found
            for problem in found:
                note(f"left out: {problem}")
        write_tables(output, selection.pieces, progress, settings)
    shutil.rmtree(output / WORK_FOLDER, ignore_errors=True)
    rows = write_tables(output, selection.pieces, progress, settings)
    limited = sum(done.peak_limited for done in progress.done.values() if _is_done(done, output))
    note(f"{len(refused)} files refused, {len(problems)} left out, {limited} held back by peaks")
    return rows


def clean_up(output: Path) -> None:
    """Remove what a killed run may have left, and make the folder for unpacked files."""
    for left in output.rglob(f".*{PARTIAL_SUFFIX}"):
        left.unlink()
    shutil.rmtree(output / WORK_FOLDER, ignore_errors=True)
    (output / WORK_FOLDER).mkdir()


def write_tables(
    output: Path, pieces: Iterable[Piece], progress: Progress, settings: Settings
) -> list[dict[str, str]]:
    """Write `metadata.csv` and `ATTRIBUTION.md` of all that is done under these settings."""
    finished = [progress.done.get(piece_key(piece, settings)) for piece in pieces]
    rows = [done.row for done in finished if done is not None and _is_done(done, output)]
    write_text(output / "metadata.csv", metadata_table(rows, METADATA_COLUMNS))
    write_text(output / "ATTRIBUTION.md", attribution(rows, settings))
    return rows


def _is_done(done: Done | None, output: Path) -> bool:
    return done is not None and (output / done.row["file_name"]).is_file()


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = script_parser("fetch_music", __doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for the music")
    parser.add_argument("--packages", nargs="+", metavar="NAME", help="only these packages")
    parser.add_argument(
        "--cache", type=Path, help="folder of .deb files (default: a folder beside the output)"
    )
    parser.add_argument("--format", choices=FORMATS, default=Settings.format)
    parser.add_argument(
        "--sampling-rate",
        type=int,
        default=Settings.sampling_rate,
        metavar="HZ",
        help="%(default)s",
    )
    parser.add_argument("--stereo", action="store_true", help="keep two channels")
    parser.add_argument(
        "--loudness", type=float, default=Settings.loudness, metavar="LUFS", help="%(default)s"
    )
    given = parser.parse_args(arguments)
    if not 8000 <= given.sampling_rate <= 192_000:
        parser.error(f"--sampling-rate is from 8000 to 192000 Hz, got {given.sampling_rate}")
    if not -60 <= given.loudness <= 0:
        parser.error(f"--loudness is from -60 to 0 LUFS, got {given.loudness:g}")
    return given


@script
def main(arguments: list[str]) -> int:
    given: Any = parse_arguments(arguments)
    torch.set_num_threads(1)
    settings = Settings(given.format, given.sampling_rate, given.stereo, given.loudness)
    cache = given.cache or given.output.with_name(given.output.name + "-packages")
    rows = fetch_music(given.output, packages=given.packages, cache=cache, settings=settings)
    print(totals(rows))
    return 0 if rows else 1


if __name__ == "__main__":
    sys.exit(main())
