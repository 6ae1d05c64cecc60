"""Folders of songs joined into one."""

import csv
from pathlib import Path

import pytest

from tests.demo.combine import chosen, combine, main


def folder(path: Path, columns: list[str], rows: list[list[str]]) -> Path:
    for row in rows:
        song = path / row[0]
        song.parent.mkdir(parents=True, exist_ok=True)
        song.write_bytes(row[0].encode())
    with (path / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def test_songs_words_and_labels_of_all_folders_are_there(tmp_path: Path) -> None:
    music = folder(tmp_path / "music", ["file_name", "genre"], [["a/x.flac", "rock"]])
    sung = folder(tmp_path / "sung", ["file_name", "artist"], [["x.flac", "joe"]])
    (sung / "x.lrc").write_text("[00:01.00]la")
    assert combine([music, sung], tmp_path / "songs") == 2
    with (tmp_path / "songs" / "metadata.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == [
            {"file_name": "music/a/x.flac", "genre": "rock", "artist": ""},
            {"file_name": "sung/x.flac", "genre": "", "artist": "joe"},
        ]
    assert (tmp_path / "songs" / "music" / "a" / "x.flac").read_bytes() == b"a/x.flac"
    assert (tmp_path / "songs" / "sung" / "x.lrc").read_text() == "[00:01.00]la"


def test_refusals_leave_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    music = folder(tmp_path / "music", ["file_name"], [["x.flac"]])
    (tmp_path / "empty").mkdir()
    output = tmp_path / "songs"
    assert main([str(music), str(tmp_path / "empty"), "--output", str(output)]) == 2
    assert "expected metadata.csv" in capsys.readouterr().err
    (music / "x.flac").unlink()  # listed, but not there
    assert main([str(music), "--output", str(output)]) == 2
    assert not output.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"music", "empty"}


def test_a_large_genre_is_cut_and_a_small_one_kept() -> None:
    rows = [{"file_name": f"{n}.flac", "genre": "rock", "seconds": "60"} for n in range(9)]
    rows.append({"file_name": "a.flac", "genre": "folk", "seconds": "30"})
    some = chosen(rows, 2.5)
    assert [row["genre"] for row in some] == ["rock"] * 3 + ["folk"]
    assert some == [row for row in rows if row in some]  # in their order
    assert chosen(list(reversed(rows)), 2.5) == list(reversed(some))  # the same songs
    assert chosen(rows, None) == rows
