"""Encoding datasets: interrupted, shared among processes, repeated; always the same codes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from jukebox_hf.data import (
    CodeSongs,
    EncodingProgress,
    SkippedSong,
    Song,
    Songs,
    encode_dataset,
    encoding,
    open_codes,
    open_songs,
)
from jukebox_hf.labels import TimedLyrics
from jukebox_hf.vqvae import JukeboxVQVAE
from tests.data.song_files import RATE, damage, make_sound, tiny_codec, write_song, write_songs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def codec() -> JukeboxVQVAE:
    return tiny_codec()


@pytest.fixture
def songs(tmp_path: Path) -> Songs:
    folder = write_songs(tmp_path / "music", [2.0, 1.0, 3.3, 0.7, 1.5])
    (folder / "metadata.csv").write_text(
        "file_name,artist,genre,lyrics\n"
        'song_0.wav,"A, É",rock,la la\nsong_1.wav,,,\n'
        "song_2.wav,B,jazz,\nsong_3.wav,,,\nsong_4.wav,,,\n",
        encoding="utf-8",
    )
    (folder / "song_2.lrc").write_text("[00:01.00]one\n[00:02.00]two\n[00:03.00]\n", "utf-8")
    return open_songs(folder)


def all_codes(codes: CodeSongs) -> dict[str, list[torch.Tensor]]:
    return {
        song.name: [codes.codes(number, level) for level in codes.info.levels]
        for number, song in enumerate(codes.songs)
    }


def same(one: dict[str, list[torch.Tensor]], other: dict[str, list[torch.Tensor]]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(mine, theirs)
        for name in one
        for mine, theirs in zip(one[name], other[name], strict=True)
    )


def test_codes_are_those_of_whole_songs_with_everything_known_about_them(
    songs: Songs, codec: JukeboxVQVAE, tmp_path: Path
) -> None:
    report = encode_dataset(songs.songs, codec, tmp_path / "codes", model="some/codec")
    assert report.complete
    assert (report.encoded, report.present, report.skipped) == (5, 5, ())
    codes = open_codes(tmp_path / "codes")
    assert codes.info.hop_lengths == codec.config.hop_lengths == (4, 8, 16)
    assert codes.info.fingerprint == codec.fingerprint()
    assert codes.info.sampling_rate == RATE
    assert codes.info.model == "some/codec"
    for number, song in enumerate(songs.songs):
        with song.open(RATE) as reader:
            total = song.num_samples(RATE)
            audio = reader.read(0, total // 16 * 16).audio
        for level, expected in enumerate(codec.encode(audio[None])):
            found = codes.codes(number, level)
            assert found.dtype == torch.int64
            assert torch.equal(found, expected[0])
            assert codes.num_codes(number, level) == len(found)
        stored = codes.songs[number]
        for name in ("name", "artist", "genre", "lyrics", "lyric_times"):
            assert getattr(stored, name) == getattr(song, name)
        assert stored.total_samples == total
    assert isinstance(codes.songs[2].lyric_times, TimedLyrics)
    assert codes.songs[2].lyric_times.end_seconds == 3.0
    assert len({int(code) for levels in all_codes(codes).values() for code in levels[2]}) > 8


def test_datasets_reads_the_folder_by_itself(
    songs: Songs, codec: JukeboxVQVAE, tmp_path: Path
) -> None:
    from datasets import List, Value, load_from_disk

    encode_dataset(songs.songs, codec, tmp_path / "codes", levels=[2, 1])
    table = load_from_disk(tmp_path / "codes")
    assert table.features["codes_2"] == List(Value("int16"))
    assert "codes_0" not in table.features
    assert set(table["artist"]) == {"A, É", "unknown", "B"}
    assert len(table.filter(lambda row: row["genre"] == "rock")[0]["codes_1"]) == 1000


def test_sections_change_nothing(
    songs: Songs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jukebox_hf.data import regions

    exact = tiny_codec().double()
    encode_dataset(songs.songs, exact, tmp_path / "whole")
    monkeypatch.setattr(regions, "SECTION_SECONDS", 0.2)
    encode_dataset(songs.songs, exact, tmp_path / "sections")
    assert same(
        all_codes(open_codes(tmp_path / "whole")), all_codes(open_codes(tmp_path / "sections"))
    )


class InterruptError(BaseException):
    """Something that nobody expects."""


def test_interrupted_encoding_goes_on_where_it_was(
    songs: Songs, codec: JukeboxVQVAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode_dataset(songs.songs, codec, tmp_path / "whole")
    seen: list[str] = []

    def interrupt(progress: EncodingProgress) -> None:
        seen.append(progress.song)
        if progress.songs_done == 2:
            raise InterruptError

    with pytest.raises(InterruptError):
        encode_dataset(songs.songs, codec, tmp_path / "codes", progress=interrupt)
    with pytest.raises(
        ValueError, match="is not complete; run the same `jukebox encode --dataset`"
    ):
        open_codes(tmp_path / "codes")
    monkeypatch.setattr(encoding, "PART_SECONDS", 0.0)
    again: list[EncodingProgress] = []
    report = encode_dataset(songs.songs, codec, tmp_path / "codes", progress=again.append)
    assert (report.encoded, report.present, report.complete) == (3, 5, True)
    assert {progress.song for progress in again} == {"song_2.wav", "song_3.wav", "song_4.wav"}
    assert again[-1].songs == 3
    assert again[-1].seconds_done == pytest.approx(again[-1].seconds, abs=0.01)
    assert same(
        all_codes(open_codes(tmp_path / "whole")), all_codes(open_codes(tmp_path / "codes"))
    )
    assert encode_dataset(songs.songs, codec, tmp_path / "codes").encoded == 0


KILLED = """
import os, signal, sys, time
from jukebox_hf.data import encode_dataset, open_songs
sys.path.insert(0, sys.argv[3])
from tests.data.song_files import tiny_codec
module = sys.modules["jukebox_hf.data.encoding"]
module.PART_SECONDS = 0.0
sections = 0
def die(progress):
    global sections
    sections += 1
    if sections == int(sys.argv[4]):
        os.kill(os.getpid(), signal.SIGKILL)
encode_dataset(open_songs(sys.argv[1]).songs, tiny_codec(), sys.argv[2], progress=die)
"""


@pytest.mark.slow
def test_killed_encoding_loses_only_the_song_at_hand(
    songs: Songs, codec: JukeboxVQVAE, tmp_path: Path
) -> None:
    encode_dataset(songs.songs, codec, tmp_path / "whole")
    (tmp_path / "codes").mkdir()
    for sections in (1, 4):
        arguments = [str(tmp_path / "music"), str(tmp_path / "codes"), str(ROOT), str(sections)]
        killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], check=False)
        assert killed.returncode == -signal.SIGKILL
    report = encode_dataset(songs.songs, codec, tmp_path / "codes")
    assert (report.encoded, report.present) == (2, 5)
    assert not list((tmp_path / "codes").glob(".*"))
    assert same(
        all_codes(open_codes(tmp_path / "whole")), all_codes(open_codes(tmp_path / "codes"))
    )


def test_shards_are_disjoint_and_together_everything(
    songs: Songs, codec: JukeboxVQVAE, tmp_path: Path
) -> None:
    encode_dataset(songs.songs, codec, tmp_path / "whole")
    for shard in (2, 0):
        report = encode_dataset(songs.songs, codec, tmp_path / "codes", shard=shard, num_shards=3)
        assert not report.complete
    with pytest.raises(ValueError, match="not complete"):
        open_codes(tmp_path / "codes")
    report = encode_dataset(songs.songs, codec, tmp_path / "codes", shard=1, num_shards=3)
    assert report.complete
    assert (report.encoded, report.present) == (2, 5)
    assert not list((tmp_path / "codes").glob(".*"))
    assert same(
        all_codes(open_codes(tmp_path / "whole")), all_codes(open_codes(tmp_path / "codes"))
    )


def test_number_of_shards_may_change_between_runs(
    songs: Songs, codec: JukeboxVQVAE, tmp_path: Path
) -> None:
    encode_dataset(songs.songs, codec, tmp_path / "codes", shard=0, num_shards=2)
    report = encode_dataset(songs.songs, codec, tmp_path / "codes")
    assert (report.encoded, report.present, report.complete) == (2, 5, True)


def test_songs_that_two_processes_encoded_at_once_are_there_once(
    songs: Songs, codec: JukeboxVQVAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jukebox_hf.data.code_folder import CodeFolder

    encode_dataset(songs.songs[:3], codec, tmp_path / "codes")
    with monkeypatch.context() as blind:
        blind.setattr(CodeFolder, "lengths", lambda self: {"song_0.wav": 2 * RATE})
        encode_dataset(songs.songs, codec, tmp_path / "codes", shard=1, num_shards=2)
    report = encode_dataset(songs.songs, codec, tmp_path / "codes")
    assert report.complete
    codes = open_codes(tmp_path / "codes")
    assert [song.name for song in codes.songs] == [song.name for song in songs.songs]


def test_new_songs_are_added_to_a_complete_dataset(
    songs: Songs, codec: JukeboxVQVAE, tmp_path: Path
) -> None:
    encode_dataset(songs.songs[:2], codec, tmp_path / "codes")
    assert len(open_codes(tmp_path / "codes")) == 2
    report = encode_dataset(songs.songs, codec, tmp_path / "codes")
    assert (report.encoded, report.present) == (3, 5)
    assert len(open_codes(tmp_path / "codes")) == 5


def test_corrected_labels_and_lyrics_are_taken_and_codes_stay(
    songs: Songs, codec: JukeboxVQVAE, tmp_path: Path
) -> None:
    from datasets import load_from_disk

    folder = tmp_path / "codes"
    encode_dataset(songs.songs, codec, folder)
    before = all_codes(open_codes(folder))
    fingerprint = load_from_disk(folder)._fingerprint
    (tmp_path / "music" / "metadata.csv").write_text(
        'file_name,artist,genre,lyrics\nsong_0.wav,"A, É",rock,la la\nsong_1.wav,New,,oh\n'
        "song_2.wav,B,jazz,\nsong_3.wav,,,\nsong_4.wav,,,\n",
        encoding="utf-8",
    )
    (tmp_path / "music" / "song_2.lrc").write_text("[00:02.00]other\n", "utf-8")
    corrected = open_songs(tmp_path / "music").songs
    report = encode_dataset(corrected, codec, folder)
    assert (report.encoded, report.present) == (0, 5)
    assert report.relabelled == ("song_1.wav", "song_2.wav")
    codes = open_codes(folder)
    for stored, song in zip(codes.songs, corrected, strict=True):
        assert stored[:5] == (song.name, song.artist, song.genre, song.lyrics, song.lyric_times)
    assert same(all_codes(codes), before)
    assert load_from_disk(folder)._fingerprint != fingerprint  # what datasets keeps is stale
    assert encode_dataset(corrected, codec, folder).relabelled == ()


def test_songs_whose_files_have_changed_are_encoded_again(
    songs: Songs, codec: JukeboxVQVAE, tmp_path: Path
) -> None:
    folder = tmp_path / "codes"
    encode_dataset(songs.songs, codec, folder)
    write_song(tmp_path / "music" / "song_1.wav", 1.0, seed=9)  # as long as before
    write_song(tmp_path / "music" / "song_3.wav", 0.9, seed=3)
    os.utime(tmp_path / "music" / "song_0.wav", (1, 1))  # copied, but the same
    changed = open_songs(tmp_path / "music").songs
    report = encode_dataset(changed, codec, folder)
    assert report.changed == ("song_1.wav", "song_3.wav")
    assert (report.encoded, report.present, report.complete) == (2, 5, True)
    encode_dataset(changed, codec, tmp_path / "new")
    assert same(all_codes(open_codes(folder)), all_codes(open_codes(tmp_path / "new")))
    assert encode_dataset(changed, codec, folder).changed == ()


def test_songs_that_went_are_named_and_dropped_if_wanted(
    songs: Songs, codec: JukeboxVQVAE, tmp_path: Path
) -> None:
    folder = tmp_path / "codes"
    encode_dataset(songs.songs, codec, folder)
    report = encode_dataset(songs.songs[1:4], codec, folder)
    assert (report.gone, report.present) == (("song_0.wav", "song_4.wav"), 5)
    report = encode_dataset(songs.songs[1:4], codec, folder, drop_missing=True)
    assert (report.gone, report.present) == (("song_0.wav", "song_4.wav"), 3)
    assert [song.name for song in open_codes(folder).songs] == [s.name for s in songs.songs[1:4]]
    encode_dataset(songs.songs[1:4], codec, tmp_path / "new")
    assert same(all_codes(open_codes(folder)), all_codes(open_codes(tmp_path / "new")))


TWICE = """
import sys
sys.path.insert(0, sys.argv[3])
from jukebox_hf.data import encode_dataset, encoding, open_songs
from tests.data.song_files import tiny_codec
encoding.PART_SECONDS = 0.0
sys.modules["jukebox_hf.data.encoding"].PART_SECONDS = 0.0
assert encode_dataset(open_songs(sys.argv[1]).songs, tiny_codec(), sys.argv[2]).complete
"""


def test_two_processes_on_one_folder_both_succeed(
    songs: Songs, codec: JukeboxVQVAE, tmp_path: Path
) -> None:
    arguments = [str(tmp_path / "music"), str(tmp_path / "codes"), str(ROOT)]
    started = [
        subprocess.Popen([sys.executable, "-c", TWICE, *arguments], stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    for process in started:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said.decode()
    encode_dataset(songs.songs, codec, tmp_path / "whole")
    codes = open_codes(tmp_path / "codes")
    assert [song.name for song in codes.songs] == [song.name for song in songs.songs]
    assert same(all_codes(open_codes(tmp_path / "whole")), all_codes(codes))


def test_the_folder_of_the_model_is_nobodys_business(
    songs: Songs, codec: JukeboxVQVAE, tmp_path: Path
) -> None:
    folder = tmp_path / "codes"
    encode_dataset(songs.songs, codec, folder, model=str(tmp_path / "my model"))
    assert open_codes(folder).info.model == "my model"
    path = folder / "jukebox_codes.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    for place in (str(tmp_path / "my model"), "C:\\Users\\me\\my model"):
        path.write_text(json.dumps({**record, "model": place}), encoding="utf-8")
        encode_dataset(songs.songs, codec, folder)
        assert str(place) not in path.read_text(encoding="utf-8")
    for file in folder.iterdir():
        if file.suffix == ".json":
            assert str(tmp_path) not in file.read_text(encoding="utf-8")


def test_codes_of_another_kind_and_other_folders_are_left_alone(
    songs: Songs, codec: JukeboxVQVAE, tmp_path: Path
) -> None:
    encode_dataset(songs.songs[:1], codec, tmp_path / "codes")
    with pytest.raises(ValueError, match="their fingerprint is sha256:"):
        encode_dataset(songs.songs, tiny_codec(seed=1), tmp_path / "codes")
    with pytest.raises(ValueError, match=r"their levels is \(0, 1, 2\), wanted is \(2,\)"):
        encode_dataset(songs.songs, codec, tmp_path / "codes", levels=[2])
    with pytest.raises(ValueError, match="is not empty and holds no dataset of codes"):
        encode_dataset(songs.songs, codec, tmp_path / "music")
    write_song(tmp_path / "music" / "song_0.wav", 1.0, seed=9)
    changed = open_songs(tmp_path / "music")
    with pytest.raises(
        ValueError, match=r"song_0.wav has changed since .* had 8000 samples, now 40"
    ):
        encode_dataset(changed.songs, codec, tmp_path / "codes")


def test_what_cannot_be_asked_for_is_refused(
    songs: Songs, codec: JukeboxVQVAE, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"levels must be from 0 \(finest\) to 2, got \[3\]"):
        encode_dataset(songs.songs, codec, tmp_path / "codes", levels=[3])
    with pytest.raises(ValueError, match="shard must be from 0 to 1, got 2"):
        encode_dataset(songs.songs, codec, tmp_path / "codes", shard=2, num_shards=2)
    with pytest.raises(ValueError, match="has no codebooks"):
        encode_dataset(songs.songs, tiny_codec(use_codebook=False), tmp_path / "codes")
    assert not (tmp_path / "codes").exists()


def test_damaged_and_tiny_songs_are_skipped_and_listed(
    songs: Songs, codec: JukeboxVQVAE, tmp_path: Path
) -> None:
    write_song(tmp_path / "music" / "song_1.wav", 0.2)
    write_song(tmp_path / "more" / "tiny.wav", 15 / RATE)
    (tiny,) = open_songs(tmp_path / "more").songs
    report = encode_dataset([*songs.songs, tiny], codec, tmp_path / "codes")
    assert report.complete
    assert (report.encoded, report.present) == (4, 4)
    reasons = dict(report.skipped)
    assert reasons["song_1.wav"] == "damaged: it ends after 0.20 seconds, before its length"
    assert reasons["tiny.wav"] == "too short: one code takes 16 samples, it has 15"
    with pytest.raises(ValueError, match=r"no song could be encoded: tiny.wav \(too short"):
        encode_dataset([tiny], codec, tmp_path / "nothing")


def test_damage_that_shows_while_a_song_is_encoded_is_told(
    codec: JukeboxVQVAE, tmp_path: Path
) -> None:
    damage(write_song(tmp_path / "torn.flac", 20.0), 0.5)
    write_song(tmp_path / "units.wav", sound=make_sound(2.0) * 32767, subtype="FLOAT")
    found = open_songs(tmp_path)
    (known,) = found.notes
    assert known.startswith("units.wav: its samples are floats")
    report = encode_dataset(found.songs, codec, tmp_path / "codes")
    (note,) = report.notes
    assert note.startswith("torn.flac: ")
    assert "seconds" in note
    assert str(tmp_path) not in note
    streamed = encode_dataset(iter(found.songs), codec, tmp_path / "streamed")
    assert sorted(streamed.notes) == sorted([known, note])
    assert not encode_dataset(found.songs, codec, tmp_path / "codes").notes


def test_stream_of_songs_is_encoded_too(songs: Songs, codec: JukeboxVQVAE, tmp_path: Path) -> None:
    def stream() -> Iterator[Song | SkippedSong]:
        yield SkippedSong("x", "damaged")
        yield from songs.songs

    first = encode_dataset(stream(), codec, tmp_path / "codes", shard=0, num_shards=2)
    assert first.skipped == (("x", "damaged"),)
    assert not first.complete
    second = encode_dataset(stream(), codec, tmp_path / "codes", shard=1, num_shards=2)
    assert second.complete
    assert second.present == 5


def test_full_disk_loses_nothing_that_was_written(
    songs: Songs, codec: JukeboxVQVAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jukebox_hf.data import code_files

    monkeypatch.setattr(encoding, "PART_SECONDS", 0.0)
    write = code_files.write_atomically
    written: list[Any] = []

    def fill_up(path: Path, content: Any) -> None:
        if len(written) == 3:
            raise OSError(28, "No space left on device", str(path))
        written.append(path)
        write(path, content)

    monkeypatch.setattr(code_files, "write_atomically", fill_up)
    with pytest.raises(OSError, match="No space left"):
        encode_dataset(songs.songs, codec, tmp_path / "codes")
    monkeypatch.setattr(code_files, "write_atomically", write)
    report = encode_dataset(songs.songs, codec, tmp_path / "codes")
    assert (report.encoded, report.present) == (3, 5)
    assert not list((tmp_path / "codes").glob(".*"))


def test_damaged_files_of_codes_are_named(
    songs: Songs, codec: JukeboxVQVAE, tmp_path: Path
) -> None:
    folder = tmp_path / "codes"
    encode_dataset(songs.songs, codec, folder)
    description = folder / "jukebox_codes.json"
    text = description.read_text(encoding="utf-8")
    for content, match in [
        ("{", "does not describe a dataset of codes"),
        ("[]", "does not describe a dataset of codes"),
        (json.dumps({**json.loads(text), "format_version": 2}), "format version 2"),
        (json.dumps({**json.loads(text), "levels": [0, 3]}), "levels must be of 3 levels"),
        (json.dumps({**json.loads(text), "hop_lengths": [4, 8]}), "levels must be of 2 levels"),
        (
            json.dumps({**json.loads(text), "sampling_rate": "fast"}),
            "sampling_rate: expected a who",
        ),
    ]:
        description.write_text(content, encoding="utf-8")
        with pytest.raises(ValueError, match=match):
            open_codes(folder)
    description.write_text(text, encoding="utf-8")
    (part,) = folder.glob("*.arrow")
    part.write_bytes(b"nonsense")
    with pytest.raises(ValueError, match=rf"{part.name} is damaged .* delete it and encode again"):
        encode_dataset(songs.songs, codec, folder)
    part.unlink()
    assert encode_dataset(songs.songs, codec, folder).encoded == 5
    with pytest.raises(ValueError, match="holds no codes"):
        open_codes(tmp_path / "music")
    assert os.listdir(tmp_path / "music")
