"""Looking into songs: how long they are, whether they can be used, and who is held out."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from jukebox_hf.audio import AudioReader
from jukebox_hf.data import group_notes, open_songs, split_songs
from tests.data.song_files import RATE, make_sound, write_song, write_songs


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff"])
def test_length_is_what_can_be_decoded(tmp_path: Path, suffix: str) -> None:
    path = write_song(tmp_path / f"a{suffix}", 3.3, rate=24000, channels=2)
    (song,) = open_songs(tmp_path).songs
    assert song.native_samples == len(soundfile.read(path)[0])
    assert song.num_samples(16000) == AudioReader(path, 16000).num_samples
    with song.open(16000, mono=False) as reader:
        assert reader.read(0, 10).audio.shape == (2, 10)


def test_mp3_that_promises_too_much_counts_as_long_as_it_is(tmp_path: Path) -> None:
    path = write_song(tmp_path / "a.mp3", 20, rate=16000)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * 0.98)])
    (song,) = open_songs(tmp_path).songs
    assert song.native_samples == len(soundfile.read(path)[0]) < 20 * 16000


def test_unusable_songs_are_listed_and_the_others_used(tmp_path: Path) -> None:
    write_song(tmp_path / "good.wav", 2.0)
    write_song(tmp_path / "short.wav", 0.2)
    write_song(tmp_path / "long.wav", 9.0)
    write_song(tmp_path / "silent.wav", sound=np.zeros((2 * RATE, 1), np.float32))
    write_song(tmp_path / "hiss.wav", sound=make_sound(2.0) * 1e-3)
    (tmp_path / "text.mp3").write_text("this is no music")
    (tmp_path / "empty.ogg").write_bytes(b"")
    (tmp_path / "noise.flac").write_bytes(np.random.default_rng(0).bytes(5000))
    flac = write_song(tmp_path / "cut.flac", 8.0)
    flac.write_bytes(flac.read_bytes()[:4000])
    wav = write_song(tmp_path / "nan.wav", sound=np.full((2 * RATE, 1), np.nan), subtype="FLOAT")
    assert wav.is_file()
    found = open_songs(tmp_path, min_seconds=1.0, max_seconds=9.0)
    assert [song.name for song in found.songs] == ["good.wav"]
    reasons = dict(found.skipped)
    assert reasons["short.wav"] == "too short: 0.20 of at least 1 seconds"
    assert reasons["long.wav"] == "too long: 9.00 seconds, less than 9 wanted"
    assert reasons["silent.wav"] == reasons["hiss.wav"]
    assert "silent: nothing in it is louder than -60 dB" in reasons["silent.wav"]
    assert "text file" in reasons["text.mp3"]
    assert "0 bytes" in reasons["empty.ogg"]
    assert "cannot be read" in reasons["noise.flac"]
    assert "damaged" in reasons["cut.flac"]
    assert "not finite" in reasons["nan.wav"]
    assert len(reasons) == 9


def test_song_with_one_click_is_not_silent(tmp_path: Path) -> None:
    sound = np.zeros((30 * RATE, 1), np.float32)
    sound[17 * RATE + 5] = 0.5
    write_song(tmp_path / "click.wav", sound=sound)
    assert len(open_songs(tmp_path).songs) == 1


def test_dataset_without_usable_songs_is_one_clear_error(tmp_path: Path) -> None:
    write_songs(tmp_path, [0.1] * 5)
    match = r"no song of .* can be used: song_0.wav \(too short: .*\), and 4 more like it$"
    with pytest.raises(ValueError, match=match):
        open_songs(tmp_path, min_seconds=1.0)


def test_progress_counts_every_song(tmp_path: Path) -> None:
    write_songs(tmp_path, [0.5] * 4)
    seen: list[tuple[int, int]] = []
    open_songs(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


class Item(NamedTuple):
    name: str


def names(items: tuple[Item, ...]) -> set[str]:
    return {item.name for item in items}


def test_split_is_by_song_and_stays_when_songs_are_added() -> None:
    songs = [Item(f"song {number}") for number in range(1000)]
    train, held_out = split_songs(songs, 0.1, seed=0)
    assert names(train) | names(held_out) == names(tuple(songs))
    assert not names(train) & names(held_out)
    assert 70 < len(held_out) < 130
    fewer = split_songs(songs[::3], 0.1, seed=0)
    assert names(fewer[1]) <= names(held_out)
    assert names(fewer[0]) <= names(train)
    assert names(split_songs(songs[::-1], 0.1, seed=0)[1]) == names(held_out)
    assert names(split_songs(songs, 0.1, seed=1)[1]) != names(held_out)
    assert names(split_songs(songs, 0.2, seed=0)[1]) > names(held_out)


def test_split_leaves_neither_side_empty() -> None:
    songs = [Item("a"), Item("b"), Item("c")]
    for seed in range(20):
        for fraction in (1e-9, 0.999999):
            train, held_out = split_songs(songs, fraction, seed)
            assert train
            assert held_out
    assert split_songs(songs, 0.0, 0) == (tuple(songs), ())
    assert split_songs(songs[:1], 0.5, 0) == ((songs[0],), ())


@pytest.mark.parametrize("fraction", [-0.1, 1.0])
def test_split_refuses_fractions_that_make_no_sense(fraction: float) -> None:
    with pytest.raises(ValueError, match="validation_fraction must be at least 0 and below 1"):
        split_songs([Item("a")], fraction, 0)


def test_what_is_wrong_with_the_sound_of_songs_is_a_line_each(tmp_path: Path) -> None:
    write_song(tmp_path / "fine.wav", 2.0)
    units = make_sound(2.0) * 32767
    write_song(tmp_path / "units.wav", sound=units, subtype="FLOAT")
    write_song(tmp_path / "loud.wav", sound=make_sound(2.0) * 10, subtype="FLOAT")
    write_song(tmp_path / "faint.wav", sound=make_sound(2.0) * 40, subtype="FLOAT")
    write_song(tmp_path / "opposite.wav", sound=make_sound(2.0) * [[1, -1]])
    cut = write_song(tmp_path / "cut.wav", 4.0)
    cut.write_bytes(cut.read_bytes()[: 3 * RATE * 2 + 44])
    found = open_songs(tmp_path)
    assert [song.name for song in found.songs] == ["cut.wav", "fine.wav", "loud.wav", "units.wav"]
    by_name = dict(note.split(": ", 1) for note in found.notes)
    assert set(by_name) == {"cut.wav", "loud.wav", "units.wav"}
    assert "3.00 seconds" in by_name["cut.wav"]
    assert "times full scale" in by_name["loud.wav"]
    assert by_name["units.wav"].startswith("its samples are floats in the units of 16-bit integers")
    reasons = dict(found.skipped)
    assert set(reasons) == {"faint.wav", "opposite.wav"}
    assert "-60 dB; its samples are floats in the units of 16-bit" in reasons["faint.wav"]
    assert reasons["opposite.wav"].startswith("silent: its channels cancel each other out")


def test_the_same_fault_of_many_songs_is_one_line(tmp_path: Path) -> None:
    for number in range(6):
        units = make_sound(0.5, seed=number) * 32767
        write_song(tmp_path / f"{number}.wav", sound=units, subtype="FLOAT")
    (line,) = group_notes(open_songs(tmp_path).notes)
    assert line.startswith("6 songs (0.wav, 1.wav, 2.wav and 3 more): its samples are floats")
