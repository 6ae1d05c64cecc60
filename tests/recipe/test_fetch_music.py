import csv
import io
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch

from jukebox_hf.audio import save_audio
from jukebox_hf.data import open_songs
from model_cards.recipe import fetch_music
from model_cards.recipe.fetch_music import (
    METADATA_COLUMNS,
    Done,
    Progress,
    Settings,
    attribution,
    totals,
)
from model_cards.recipe.manifest import Row
from model_cards.recipe.packages import Fetcher, PackageError, extracted
from model_cards.recipe.song_folder import metadata_table
from tests.recipe.test_music_manifest import make_row

needs_dpkg = pytest.mark.skipif(
    shutil.which("dpkg-deb") is None, reason="dpkg-deb is not installed"
)
GAME = "/usr/share/games/game"


def make_package(folder: Path, *, copyright_text: str = "License: CC-BY-3.0") -> Path:
    """A Debian package with two songs, one of them in an archive, and two stems."""
    root = folder / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(
        "Package: game-data\nVersion: 1.0-1\nArchitecture: all\nMaintainer: Ada <a@b.c>\n"
        "Description: music\n"
    )
    documents = root / "usr/share/doc/game-data"
    documents.mkdir(parents=True)
    (documents / "copyright").write_text(copyright_text)
    game = root / GAME.lstrip("/")
    (game / "songs/one").mkdir(parents=True)
    noise = 0.1 * torch.randn(1, 8000, generator=torch.Generator().manual_seed(1))
    for name in ("a.flac", "b.flac", "songs/one/song.flac", "songs/one/guitar.flac"):
        save_audio(game / name, noise, 8000)
    with zipfile.ZipFile(game / "data.pk3", "w") as archive:
        archive.write(game / "b.flac", "music/b.flac")
    (game / "b.flac").unlink()
    deb = folder / "cache" / "game-data_1.0-1_all.deb"
    deb.parent.mkdir()
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Znone", "--build", root, deb],
        check=True,
        capture_output=True,
    )
    return deb


def make_rows() -> list[Row]:
    return [
        make_row(path=f"{GAME}/a.flac", seconds=1.0),
        make_row(path=f"{GAME}/data.pk3!music/b.flac", seconds=1.0, genre="folk"),
        make_row(path=f"{GAME}/songs/one/song.flac", kind="stem", seconds=1.0),
        make_row(path=f"{GAME}/songs/one/guitar.flac", kind="stem", seconds=1.0),
        make_row(path=f"{GAME}/gone.flac", seconds=1.0),
        make_row(path=f"{GAME}/a.flac", seconds=1.0, licence="GPL-2+"),
    ]


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, rows: list[Row]) -> list[dict[str, str]]:
    monkeypatch.setattr(fetch_music, "read_manifest", lambda: rows)
    return fetch_music.fetch_music(
        folder / "music",
        packages=None,
        cache=folder / "cache",
        settings=Settings(sampling_rate=8000),
    )


@needs_dpkg
def test_music_of_a_package_becomes_a_labelled_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_package(tmp_path)
    rows = run(tmp_path, monkeypatch, make_rows())
    assert [row["file_name"] for row in rows] == [
        "game-data/a.flac",
        "game-data/b.flac",
        "game-data/one.flac",
    ]
    told = capsys.readouterr().err
    assert "refused: game-data: a.flac: licence GPL-2+" in told
    assert "left out: game-data: gone: the package does not hold" in told
    songs = open_songs(tmp_path / "music")
    assert [(song.artist, song.genre) for song in songs.songs] == [
        ("Ada", "rock"),
        ("Ada", "folk"),
        ("Ada", "rock"),
    ]
    assert "Ada Bo" in (tmp_path / "music/ATTRIBUTION.md").read_text()
    assert "CC-BY-3.0" in (tmp_path / "music/copyright/game-data.txt").read_text()


@needs_dpkg
def test_a_second_run_converts_only_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_package(tmp_path)
    rows = make_rows()[:4]
    first = run(tmp_path, monkeypatch, rows)
    (tmp_path / "music/game-data/b.flac").unlink()
    # A kill may cut the last line short.
    progress = tmp_path / "music/progress.jsonl"
    progress.write_text(progress.read_text() + '{"key": "abc", "ro')
    half = tmp_path / "music/game-data/.b.flac.0123abcd.partial"
    half.write_text("half a file")
    (tmp_path / "music/.unpacked").mkdir()
    (tmp_path / "music/.unpacked/left").write_text("by the kill")
    capsys.readouterr()
    assert run(tmp_path, monkeypatch, rows) == first
    assert "3 pieces, 1 to do" in capsys.readouterr().err
    assert not half.exists()
    assert not (tmp_path / "music/.unpacked").exists()
    run(tmp_path, monkeypatch, rows)
    assert "3 pieces, 0 to do" in capsys.readouterr().err


@needs_dpkg
def test_changed_files_and_licences_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_package(tmp_path, copyright_text="License: GPL-3")
    assert not run(tmp_path, monkeypatch, make_rows()[:1])
    assert "copyright file does not name CC-BY-3.0" in capsys.readouterr().err
    rows = [make_row(path=f"{GAME}/a.flac", seconds=9.0)]
    assert not run(tmp_path, monkeypatch, rows)
    shutil.rmtree(tmp_path / "root")
    shutil.rmtree(tmp_path / "cache")
    make_package(tmp_path)
    capsys.readouterr()
    assert not run(tmp_path, monkeypatch, rows)
    assert "lasts 1.0 seconds, listed with 9.0: it has changed" in capsys.readouterr().err


@needs_dpkg
def test_damaged_packages_are_reported_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deb = make_package(tmp_path)
    deb.write_bytes(deb.read_bytes()[:20_000])
    assert not run(tmp_path, monkeypatch, make_rows()[:1])
    assert "left out: game-data: game-data_1.0-1_all.deb is damaged" in capsys.readouterr().err
    deb.write_text("no package")
    with (
        pytest.raises(PackageError, match="dpkg-deb --field: "),
        extracted(deb, "game-data", ()),
    ):
        pass


def test_a_missing_apt_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(PackageError, match=r"no apt-get here and no game_\*\.deb in"):
        Fetcher(tmp_path).fetch("game")


def test_unknown_packages_are_refused_before_anything_is_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--output", str(tmp_path / "music"), "--packages", "wesnoth-1.16-music"]
    assert fetch_music.main(arguments) == 1
    assert "lists no usable music of wesnoth-1.16-music" in capsys.readouterr().err
    assert not (tmp_path / "music").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sampling-rate", "-5"], "from 8000 to 192000 Hz, got -5"),
        (["--loudness", "3"], "from -60 to 0 LUFS, got 3"),
        (["--loudness", "nan"], "from -60 to 0 LUFS, got nan"),
        (["--format", "mp3"], "invalid choice: 'mp3'"),
    ],
)
def test_wrong_settings_are_usage_errors(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        fetch_music.main(["--output", "x", *arguments])
    assert message in capsys.readouterr().err


def test_tables_survive_awkward_titles() -> None:
    row = dict.fromkeys(fetch_music.METADATA_COLUMNS, "x")
    row |= {"title": 'a | "b", <c>', "licence": "CC0-1.0", "seconds": "90"}
    assert list(csv.DictReader(io.StringIO(metadata_table([row], METADATA_COLUMNS)))) == [row]
    table = attribution([row], Settings()).splitlines()
    assert r"a \| " in table[-1]
    assert "<c" not in table[-1].replace("\\<", "")
    assert "1.5" in totals([row])


def test_progress_survives_unreadable_lines(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    progress = Progress(path)
    progress.add(Done("k", {"file_name": "ä"}, 1.0, False))
    path.write_text(path.read_text() + "[1]\n{}\nnull\n{")
    assert Progress(path).done == progress.done
