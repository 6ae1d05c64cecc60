"""Folders of songs, laid out as audio folders: what is found in them, and under which labels."""

import json
from pathlib import Path

import pytest

from jukebox_hf.data import Song, open_songs
from jukebox_hf.labels import TimedLyrics
from tests.data.song_files import RATE, write_song, write_songs

METADATA = """file_name,artist,genre,lyrics
song_0.wav,"Crosby, Stills & Nash","folk, rock","la, la
la"
song_1.wav,Sigur Rós,постпанк,
sub/song_2.wav, , ,nothing "quoted"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_songs(tmp_path, [0.5, 0.5])
    write_song(tmp_path / "sub" / "song_2.wav", 0.5)
    return tmp_path


def by_name(folder: Path, **options: str) -> dict[str, Song]:
    return {song.name: song for song in open_songs(folder, **options).songs}


def test_plain_folder_has_every_song_in_any_depth_and_no_labels(folder: Path) -> None:
    write_song(folder / ".hidden" / "no.wav", 0.5)
    write_song(folder / "__MACOSX" / "no.wav", 0.5)
    (folder / "notes.txt").write_text("not audio")
    (folder / "sub" / "loop").symlink_to(folder)
    found = open_songs(folder)
    assert [song.name for song in found.songs] == ["song_0.wav", "song_1.wav", "sub/song_2.wav"]
    assert {(song.artist, song.genre, song.lyrics) for song in found.songs} == {
        ("unknown", "unknown", None)
    }
    assert found.skipped == found.notes == ()
    assert found.songs[2].path == folder / "sub" / "song_2.wav"
    assert found.songs[0].duration_seconds == 0.5


def test_labels_with_commas_newlines_and_unicode_come_from_metadata(folder: Path) -> None:
    (folder / "metadata.csv").write_text(METADATA, encoding="utf-8-sig")
    songs = by_name(folder)
    assert songs["song_0.wav"].artist == "Crosby, Stills & Nash"
    assert songs["song_0.wav"].genre == "folk, rock"
    assert songs["song_0.wav"].lyrics == "la, la\nla"
    assert songs["song_1.wav"].artist == "Sigur Rós"
    assert songs["song_1.wav"].genre == "постпанк"
    assert songs["song_1.wav"].lyrics is None
    assert songs["sub/song_2.wav"].artist == songs["sub/song_2.wav"].genre == "unknown"
    assert songs["sub/song_2.wav"].lyrics == 'nothing "quoted"'


def test_columns_can_have_any_name(folder: Path) -> None:
    rows = [
        {"audio_file_name": "song_0.wav", "who": "A", "tags": ["rock", "loud"], "words": "la"},
        {"audio_file_name": "song_1.wav", "who": None, "tags": [], "words": None},
    ]
    text = "\n\n".join(json.dumps(row) for row in rows)
    (folder / "metadata.jsonl").write_text(text, encoding="utf-8")
    found = open_songs(folder, artist_column="who", genre_column="tags", lyrics_column="words")
    first, second = found.songs
    assert (first.artist, first.genre, first.lyrics) == ("A", "rock, loud", "la")
    assert (second.artist, second.genre, second.lyrics) == ("unknown", "unknown", None)
    (unlisted,) = found.skipped
    assert unlisted.name == "sub/song_2.wav"
    assert "not listed in" in unlisted.reason


@pytest.mark.parametrize("label", ["artist", "genre", "lyrics"])
def test_missing_column_is_named_with_those_that_exist(folder: Path, label: str) -> None:
    (folder / "metadata.csv").write_text(METADATA, encoding="utf-8")
    match = f"no column 'x' for the {label}; its columns are: file_name, artist, genre, lyrics$"
    with pytest.raises(ValueError, match=match):
        open_songs(folder, **{f"{label}_column": "x"})
    (folder / "metadata.csv").unlink()
    with pytest.raises(ValueError, match=r"its columns are: file_name, label$"):
        open_songs(folder, **{f"{label}_column": "x"})


def test_metadata_without_a_column_of_files_is_refused(folder: Path) -> None:
    (folder / "metadata.csv").write_text("what,artist\ngone.wav,A\n", encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"'file_name' for the audio; its columns are: what, artis"
    ):
        open_songs(folder)
    (folder / "metadata.csv").write_text("what,artist\nsong_0.wav,A\n", encoding="utf-8")
    for options in ({}, {"audio_column": "what"}):  # of its cells it can be seen, too
        assert by_name(folder, **options)["song_0.wav"].artist == "A"


def test_several_metadata_files_each_speak_for_their_own_folder(folder: Path) -> None:
    (folder / "sub" / "metadata.csv").write_text("file_name,artist\nsong_2.wav,B\n", "utf-8")
    songs = by_name(folder)
    assert songs["sub/song_2.wav"].artist == "B"
    assert songs["song_0.wav"].artist == "unknown"
    (folder / "metadata.csv").write_text("file_name,genre\nsong_0.wav,rock\n", "utf-8")
    songs = by_name(folder)
    assert songs["song_0.wav"].genre == "rock"
    assert songs["sub/song_2.wav"].artist == "B"


def test_rows_that_cannot_be_used_are_listed_with_the_reason(folder: Path) -> None:
    rows = ["song_0.wav", "song_0.wav", "gone.wav", "../out.wav", "/etc/passwd", "", "notes.txt"]
    (folder / "notes.txt").write_text("not audio")
    (folder / "metadata.csv").write_text("\n".join(["file_name,x", *(r + "," for r in rows)]))
    skipped = dict(open_songs(folder).skipped)
    assert "more than once" in skipped["song_0.wav"]
    assert "no such file" in skipped["gone.wav"]
    assert "outside of its folder" in skipped["../out.wav"]
    assert "outside of its folder" in skipped["/etc/passwd"]
    assert "no file_name" in skipped["metadata.csv row 6"]
    assert "not that of an audio file" in skipped["notes.txt"]
    assert "not listed" in skipped["song_1.wav"]


def test_folders_can_be_the_labels(tmp_path: Path) -> None:
    for genre in ("jazz", "rock"):
        write_song(tmp_path / genre / "a.wav", 0.5)
    songs = by_name(tmp_path, genre_column="label")
    assert {name: song.genre for name, song in songs.items()} == {
        "jazz/a.wav": "jazz",
        "rock/a.wav": "rock",
    }


def test_lrc_files_beside_songs_are_timed_lyrics(folder: Path) -> None:
    (folder / "metadata.csv").write_text(METADATA, encoding="utf-8")
    (folder / "song_0.lrc").write_text("[00:00.10]one <00:00.20>two\n[00:00.30]three", "utf-8")
    (folder / "song_1.lrc").write_text("no times at all", "utf-8")
    found = open_songs(folder)
    first, second, _ = found.songs
    assert second.artist == "Sigur Rós"
    assert isinstance(first.lyric_times, TimedLyrics)
    assert first.lyrics == first.lyric_times.text == "one two\nthree"
    assert [segment.start_seconds for segment in first.lyric_times.segments] == (
        pytest.approx([0.1, 0.2, 0.3])
    )
    assert first.artist == "Crosby, Stills & Nash"
    assert second.lyrics is None
    (note,) = found.notes
    assert note.startswith("song_1.wav: taken without its lyrics: ")


def test_lyrics_column_may_be_timed(folder: Path) -> None:
    rows = [
        {"file_name": "song_0.wav", "lyrics": "[00:01.00]one\n[00:02.50]two"},
        {
            "file_name": "song_1.wav",
            "lyrics": [{"start": 1, "word": "a"}, {"start": 2, "word": "b"}],
        },
        {"file_name": "sub/song_2.wav", "lyrics": "[Chorus: all]\nla"},
    ]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    songs = by_name(folder)
    assert songs["song_0.wav"].lyric_times is not None
    assert songs["song_0.wav"].lyrics == "one\ntwo"
    assert songs["song_1.wav"].lyric_times is not None
    assert songs["song_1.wav"].lyrics == "a b "
    assert songs["sub/song_2.wav"].lyric_times is None
    assert songs["sub/song_2.wav"].lyrics == "[Chorus: all]\nla"


def test_split_is_a_folder(tmp_path: Path) -> None:
    write_song(tmp_path / "train" / "a.wav", 0.5)
    write_song(tmp_path / "test" / "b.wav", 0.5)
    assert list(by_name(tmp_path)) == ["train/a.wav"]
    assert list(by_name(tmp_path, split="test")) == ["test/b.wav"]
    with pytest.raises(
        ValueError, match=r"no split 'dev': .* found test, train; leave the split out"
    ):
        open_songs(tmp_path, split="dev")


def test_folder_called_train_alone_is_just_a_folder(tmp_path: Path) -> None:
    write_song(tmp_path / "train" / "a.wav", 0.5)
    write_song(tmp_path / "boat" / "b.wav", 0.5)
    assert list(by_name(tmp_path)) == ["boat/b.wav", "train/a.wav"]


def test_metadata_file_may_list_songs_anywhere(tmp_path: Path) -> None:
    song = write_song(tmp_path / "elsewhere" / "a.wav", 0.5)
    manifest = tmp_path / "lists" / "mine.csv"
    manifest.parent.mkdir()
    manifest.write_text(f"file_name,artist\n{song},A\n../elsewhere/a.wav,B\ngone.wav,C\n", "utf-8")
    found = open_songs(manifest)
    assert {song.name: song.artist for song in found.songs} == {
        "a.wav": "A",
        "a.wav#1": "B",
    }
    assert found.skipped[0].name == "gone.wav"


def test_names_of_songs_tell_no_folders_outside_of_the_dataset(tmp_path: Path) -> None:
    outside = write_song(tmp_path / "someone" / "private" / "a.wav", 0.5)
    inside = write_song(tmp_path / "music" / "sub" / "b.wav", 0.5)
    manifest = tmp_path / "music" / "list.csv"
    gone = ["C:\\Users\\me\\c.wav", "/home/me/d.wav", "../../me/e.wav", "~/f.wav", "sub/g.wav"]
    cells = [outside, inside, inside.as_uri(), *gone]
    manifest.write_text("\n".join(["file_name", *map(str, cells)]), encoding="utf-8")
    found = open_songs(manifest)
    assert [song.name for song in found.songs] == ["a.wav", "sub/b.wav", "sub/b.wav#2"]
    names = [song.name for song in found.skipped]
    assert names == ["c.wav", "d.wav", "e.wav", "f.wav", "sub/g.wav"]
    assert "as '/home/me/d.wav', but there is no such file" in found.skipped[1].reason


def test_songs_of_a_relative_folder_have_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_song(tmp_path / "-i.wav", 0.5)
    monkeypatch.chdir(tmp_path)
    (song,) = open_songs(".").songs
    assert (song.name, song.path) == ("-i.wav", tmp_path / "-i.wav")
    monkeypatch.chdir(tmp_path.parent)
    with song.open(RATE) as reader:
        assert reader.read(0, 100).missing_samples == 0


def test_parquet_metadata_is_read(folder: Path) -> None:
    from datasets import Dataset

    rows = {"file_name": ["song_0.wav", "song_1.wav"], "artist": ["A", None]}
    Dataset.from_dict(rows).to_parquet(folder / "metadata.parquet")
    songs = by_name(folder)
    assert {name: song.artist for name, song in songs.items()} == {
        "song_0.wav": "A",
        "song_1.wav": "unknown",
    }


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("metadata.csv", b"file_name,a\nsong_0.wav,\xff\xfe\n", "expected text in UTF-8"),
        ("metadata.csv", b"file_name,a\nsong_0.wav,x,y\n", 'row 1 has more cells .* "quotes"'),
        ("metadata.csv", b'file_name,a\nsong_0.wav,"x\n', "line 2: unexpected end of data"),
        ("metadata.csv", b"", "no column 'file_name' for the audio; its columns are: none"),
        ("metadata.jsonl", b'{"file_name": "song_0.wav"}\n{', "line 2 is not JSON"),
        ("metadata.jsonl", b"[1]\n", "line 1: expected an object"),
        ("metadata.parquet", b"PAR1nonsense", "cannot be read"),
    ],
)
def test_damaged_metadata_is_refused(folder: Path, name: str, content: bytes, match: str) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=match) as error:
        open_songs(folder)
    assert name in str(error.value)


def test_file_and_missing_folder_are_refused(tmp_path: Path) -> None:
    song = write_song(tmp_path / "a.wav", 0.5)
    with pytest.raises(ValueError, match="is a file, expected a folder"):
        open_songs(song)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        open_songs(tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no songs; expected audio files"):
        open_songs(tmp_path / "empty")
