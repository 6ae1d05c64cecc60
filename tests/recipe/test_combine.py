"""Folders of songs joined into one."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jukebox_hf.audio import load_audio
from model_cards.recipe.combine import chosen, combine, faster_lrc, main


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
    assert main([str(music), str(tmp_path / "empty"), "--output", str(output)]) == 1
    assert "expected metadata.csv" in capsys.readouterr().err
    (music / "x.flac").unlink()  # listed, but not there
    assert main([str(music), "--output", str(output)]) == 1
    assert not output.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"music", "empty"}


def test_faster_songs_are_higher_and_keep_their_names(tmp_path: Path) -> None:
    music = folder(tmp_path / "music", ["file_name", "seconds"], [["x.flac", "2"]])
    tone = np.sin(2 * np.pi * 440 * np.arange(44_100) / 22_050) / 2
    soundfile.write(music / "x.flac", tone, 22_050)
    (music / "x.lrc").write_text("[ti:x]\n[00:01.00]la", encoding="utf-8")
    arguments = [str(music), "--output", str(tmp_path / "songs"), "--speed", "1.25"]
    assert main(arguments) == 0
    with (tmp_path / "songs" / "metadata.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == [{"file_name": "music/x.flac", "seconds": "1.60"}]
    assert (tmp_path / "songs" / "music" / "x.lrc").read_text() == "[ti:x]\n[00:00.80]la"
    heard = load_audio(tmp_path / "songs" / "music" / "x.flac", sampling_rate=22_050).mean(0)
    spectrum = np.abs(np.fft.rfft(heard.numpy()[:22_050]))  # of one second: a bin is 1 Hz
    assert abs(len(heard) - 35_280) <= 1  # rates are whole numbers
    assert spectrum.argmax() == 550


def test_every_time_of_timed_lyrics_is_divided() -> None:
    text = "[ar:joe]\n[01:02.50]<01:02.50>when <02:00>it"
    assert faster_lrc(text, 2) == "[ar:joe]\n[00:31.25]<00:31.25>when <01:00.00>it"
    assert faster_lrc(text, 1.25) == "[ar:joe]\n[00:50.00]<00:50.00>when <01:36.00>it"


def test_a_large_genre_is_cut_and_a_small_one_kept() -> None:
    rows = [{"file_name": f"{n}.flac", "genre": "rock", "seconds": "60"} for n in range(9)]
    rows.append({"file_name": "a.flac", "genre": "folk", "seconds": "30"})
    some = chosen(rows, 2.5)
    assert [row["genre"] for row in some] == ["rock"] * 3 + ["folk"]
    assert some == [row for row in rows if row in some]  # in their order
    assert chosen(list(reversed(rows)), 2.5) == list(reversed(some))  # the same songs
    assert chosen(rows, None) == rows
