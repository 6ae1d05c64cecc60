"""Tables as people have them: other signs, words, places, letters; nothing is dropped silently."""

import json
from pathlib import Path

import pytest

from jukebox_hf.data import Songs, describe_skipped, describe_songs, group_notes, open_songs
from jukebox_hf.data.candidates import SkippedSong
from jukebox_hf.data.columns import WORDS, fold_name
from tests.data.song_files import make_sound, write_song

LABELS = {"a.wav": ("X", "rock"), "b.wav": ("Y", "jazz")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in LABELS:
        write_song(tmp_path / name, 0.3)
    return tmp_path


def labels(found: Songs) -> dict[str, tuple[str, str]]:
    return {song.name: (song.artist, song.genre) for song in found.songs}


@pytest.mark.parametrize(
    "text",
    [
        "file_name, artist, genre\na.wav, X, rock\nb.wav, Y, jazz\n",
        '"file_name" , "artist" , "genre"\n"a.wav" , "X" , "rock"\n"b.wav" , "Y" , "jazz"\n',
        "file_name;artist;genre\na.wav;X;rock\nb.wav;Y;jazz\n",
        "sep=;\r\nfile_name;artist;genre\r\na.wav;X;rock\r\nb.wav;Y;jazz\r\n",
        "file_name\tartist\tgenre\na.wav\tX\trock\nb.wav\tY\tjazz\n",
        "File Name|ARTIST|Genre\na.wav|X|rock\nb.wav|Y|jazz\n",
        "genre,Performer,path\nrock,X,./a.wav\njazz,Y,b\n",
        "Datei;Künstler;Stil\nA.WAV;X;rock\nb.wav;Y;jazz\n",
        "ファイル名,アーティスト,ジャンル\na.wav,X,rock\nb.wav,Y,jazz\n",
        "what,singer,style,year\nC:\\Music\\a.wav,X,rock,1990\n/home/me/b.wav,Y,jazz,\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_tables_in_every_dialect_label_the_songs(folder: Path, text: str, encoding: str) -> None:
    (folder / "metadata.csv").write_text(text, encoding=encoding, newline="")
    found = open_songs(folder)
    assert labels(found) == LABELS
    assert found.skipped == ()


def test_tables_of_western_windows_are_read_with_a_note(folder: Path) -> None:
    text = "file_name;artist;genre\na.wav;Mötley Crüe;rock\nb.wav;Céline;chanson\n"
    (folder / "metadata.csv").write_text(text, encoding="cp1252")
    found = open_songs(folder)
    assert [song.artist for song in found.songs] == ["Mötley Crüe", "Céline"]
    assert found.notes == ("metadata.csv is not UTF-8; read as Windows-1252",)
    (folder / "metadata.csv").write_text("file_name;artist\na.wav;Земфира\n", encoding="cp1251")
    with pytest.raises(ValueError, match=r"metadata.csv: expected text in UTF-8.*save it as UTF-8"):
        open_songs(folder)


def test_columns_that_are_not_used_are_named(folder: Path) -> None:
    text = "file_name,title,mood,tribe\na.wav,one,sad,X\nb.wav,two,glad,Y\n"
    (folder / "metadata.csv").write_text(text)
    (note,) = open_songs(folder).notes
    assert note == (
        "metadata.csv has no column for the artist and genre, and these are not used: 'mood', "
        "'tribe'; name them with --artist-column and --genre-column"
    )
    found = open_songs(folder, artist_column="Tribe", genre_column="mood")
    assert labels(found) == {"a.wav": ("X", "sad"), "b.wav": ("Y", "glad")}
    assert found.notes == ()


def test_other_words_for_columns_are_taken_with_a_note(folder: Path) -> None:
    (folder / "metadata.csv").write_text("file_name,performer,style\na.wav,X,rock\nb.wav,Y,jazz\n")
    found = open_songs(folder)
    assert labels(found) == LABELS
    assert found.notes == ("metadata.csv: artist is column 'performer', genre is column 'style'",)


def test_words_mean_one_thing_each() -> None:
    every = [word for words in WORDS.values() for word in words]
    assert len(every) == len(set(every))
    assert all(fold_name(word) == word for word in every)


def test_two_tables_complete_each_other_and_the_first_counts(folder: Path) -> None:
    (folder / "metadata.csv").write_text("file_name,artist,genre\na.wav,X,rock\n")
    rows = [{"file_name": "b.wav", "artist": "Y", "genre": "jazz"}]
    rows += [{"file_name": "a.wav", "artist": "Z", "lyrics": "la"}]
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = open_songs(folder)
    assert labels(found) == LABELS
    assert found.songs[0].lyrics == "la"
    assert found.notes == ("a.wav: metadata.jsonl has another artist; metadata.csv counts",)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_tables_of_other_names_beside_the_songs_are_taken(folder: Path, suffix: str) -> None:
    path = folder / f"my songs.{suffix}"
    rows = [{"file_name": n, "artist": a, "genre": g} for n, (a, g) in LABELS.items()]
    if suffix == "parquet":
        from datasets import Dataset

        Dataset.from_list(rows).to_parquet(path)
    elif suffix == "json":
        path.write_text(json.dumps(rows))
    elif suffix == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        sign = "\t" if suffix == "tsv" else ","
        path.write_text("\n".join(sign.join(row) for row in [rows[0], *(r.values() for r in rows)]))
    write_song(folder / "unlisted.wav", 0.3)
    found = open_songs(folder)
    assert labels(found) == {**LABELS, "unlisted.wav": ("unknown", "unknown")}
    assert found.notes == (f"labels are taken from {path.name}, 2 rows",)


def test_tables_that_have_nothing_to_do_with_the_songs_are_named(folder: Path) -> None:
    (folder / "prices.csv").write_text("what,price\nbread,2\n")
    (folder / "labels.xlsx").write_bytes(b"PK")
    (folder / "a.json").write_text('{"anything": 1}')
    (folder / "progress.jsonl").write_text('{"key": "x", "row": {"artist": "X"}, "gain_db": 1}\n')
    (folder / "more.jsonl").write_text('{"song": "elsewhere.wav", "artist": "X"}\n')
    found = open_songs(folder)
    assert len(found.notes) == 3
    assert any(note.startswith("more.jsonl is not used: ") for note in found.notes)
    assert "labels.xlsx is not read; save it as metadata.csv" in found.notes
    assert any(note.startswith("prices.csv is not used: ") for note in found.notes)


def test_tables_from_windows_name_files_in_folders(tmp_path: Path) -> None:
    for name in ("Sub/A.wav", "Sub/Bö.wav"):
        write_song(tmp_path / name, 0.3)
    text = "file_name,artist\nsub\\a.wav,X\n.\\Sub\\Bo\u0308.wav,Y\n..\\out.wav,Z\n"
    (tmp_path / "metadata.csv").write_text(text, encoding="utf-8")
    found = open_songs(tmp_path)
    assert [(song.name, song.artist) for song in found.songs] == [
        ("Sub/A.wav", "X"),
        ("Sub/Bö.wav", "Y"),
    ]
    ((name, reason),) = found.skipped
    assert name == "..\\out.wav"
    assert "outside of its folder" in reason


def test_one_artist_is_one_artist_however_it_is_spelt(folder: Path) -> None:
    text = "file_name,artist,genre\na.wav,Jo\u0308rn  T,rock\nb.wav,J\u00f6rn T,rock\n"
    (folder / "metadata.csv").write_text(text, encoding="utf-8")
    assert {song.artist for song in open_songs(folder).songs} == {"J\u00f6rn T"}


def test_files_of_lyrics_beside_songs_are_found(tmp_path: Path) -> None:
    for name in "abcdefg":
        write_song(tmp_path / f"{name}.wav", 0.3)
    (tmp_path / "a.LRC").write_text("[00:00.10]one\n[00:00.20]two\n")
    (tmp_path / "b.txt").write_text("one\n(ooh)\n")
    (tmp_path / "c_lyrics.txt").write_text("words of c")
    (tmp_path / "c.txt").write_text("a slow song, sad")
    (tmp_path / "d.srt").write_text("1\n00:00:00,100 --> 00:00:00,200\nwords of d\n")
    (tmp_path / "lyrics").mkdir()
    (tmp_path / "lyrics" / "e.txt").write_text("words of e")
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "f.txt").write_text("words of f")
    (tmp_path / "metadata.csv").write_text(
        "file_name,lyrics\na.wav,not these\nb.wav,\nc.wav,\nd.wav,\ne.wav,\nf.wav,words\\f.txt\n"
        "g.wav,../../secret.txt\n"
    )
    found = open_songs(tmp_path)
    assert [song.lyrics for song in found.songs] == [
        "one\ntwo", "one\n(ooh)\n", "words of c", "words of d", "words of e", "words of f", None
    ]  # fmt: skip
    assert [song.lyric_times is not None for song in found.songs] == [
        True, False, False, True, False, False, False
    ]  # fmt: skip
    assert found.notes[0].startswith("g.wav: taken without its lyrics: '../../secret.txt' looks")
    assert found.notes[1].startswith("1 file .txt beside songs of the same name")


def test_text_files_that_are_tables_label_the_songs(folder: Path) -> None:
    text = (
        "Name\tArtist\tGenre\tLocation\n"
        "One\tX\trock\tMacintosh HD:Users:me:Music:a.wav\n"
        "Two\tY\tjazz\tMacintosh HD:Users:me:Music:b.wav\n"
    )
    (folder / "Library.txt").write_text(text, encoding="utf-16")
    (folder / "readme.txt").write_text("what these songs are, by me\n")
    found = open_songs(folder)
    assert labels(found) == LABELS
    assert found.notes == ("labels are taken from Library.txt, 2 rows",)


def test_what_may_say_something_of_songs_and_is_not_read_is_named(folder: Path) -> None:
    (folder / "metadata.yaml").write_text("- file_name: a.wav\n  artist: X\n")
    assert open_songs(folder).notes == ("metadata.yaml is not read; save it as metadata.csv",)


def test_cells_that_say_nothing_are_no_names(folder: Path) -> None:
    (folder / "metadata.csv").write_text("file_name,artist,genre\na.wav,NaN,rock\nb.wav,Y,null\n")
    found = open_songs(folder)
    assert labels(found) == {"a.wav": ("unknown", "rock"), "b.wav": ("Y", "unknown")}
    assert found.notes == (
        "a.wav: artist 'NaN' is taken for nothing",
        "b.wav: genre 'null' is taken for nothing",
    )


def test_labels_inside_of_files_are_not_used_and_that_is_said(folder: Path) -> None:
    import soundfile

    assert open_songs(folder).notes == ()
    with soundfile.SoundFile(folder / "c.flac", "w", 4000, 1) as file:
        file.artist, file.genre = "X", "rock"
        file.write(make_sound(0.3))
    (note,) = open_songs(folder).notes
    assert note == (
        "songs have artist and genre in their tags, as c.flac does, which are not used; write "
        "them into metadata.csv (file_name,artist,genre)"
    )
    (folder / "metadata.csv").write_text("file_name,artist\na.wav,X\nb.wav,Y\nc.flac,X\n")
    assert open_songs(folder).notes == ()


def test_lyrics_that_belong_to_no_song_are_named(folder: Path) -> None:
    (folder / "a.wav.lrc").write_text("[00:00.10]la\n[00:00.20]li\n")
    (folder / "a.srt").write_text("1\n00:00:00,100 --> 00:00:00,200\nlu\n")
    (folder / "B side.lrc").write_text("[00:00.10]lo\n")
    found = open_songs(folder)
    assert [song.lyrics for song in found.songs] == ["lu", None]
    assert found.notes == ("1 file of lyrics not called like any song, and not used: B side.lrc",)
    (folder / "a.srt").unlink()
    assert open_songs(folder).songs[0].lyrics == "la\nli"


def test_songs_are_described_in_one_line(folder: Path) -> None:
    (folder / "metadata.csv").write_text(
        "file_name,artist,genre,lyrics\na.wav,X,rock,la\nb.wav,,,\n"
    )
    assert describe_songs(open_songs(folder).songs) == (
        "2 songs; 1 artist (of 1 unknown); 1 genre (of 1 unknown); 1 with lyrics"
    )
    assert describe_songs(()) == "0 songs; no artists known; no genres known; none with lyrics"


def test_the_same_note_on_many_songs_is_one_line() -> None:
    skipped = [
        SkippedSong(f"{n}.wav", f"too short: {n / 10} of at least 1 seconds") for n in range(9)
    ]
    assert describe_skipped([*skipped, SkippedSong("x.wav", "silent")]) == [
        "9 songs (0.wav, 1.wav, 2.wav and 6 more): too short: 0.0 of at least 1 seconds",
        "x.wav: silent",
    ]
    assert group_notes(["a table is not read", "a\x1b[31m: b"]) == [
        "a table is not read",
        "a\\x1b[31m: b",
    ]


def test_names_without_end_are_cut_in_messages(folder: Path) -> None:
    long = "x" * 9000
    (folder / "metadata.csv").write_text(f"file_name\n{long}.wav\n")
    with pytest.raises(ValueError, match="no song of") as error:
        open_songs(folder)
    assert len(str(error.value)) < 2000
    (folder / "metadata.csv").write_text(f"{long},b\n1,2\n")
    with pytest.raises(ValueError, match="has no column 'file_name'") as error:
        open_songs(folder)
    assert len(str(error.value)) < 2000
