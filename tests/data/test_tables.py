"""Songs inside tables: saved datasets, parquet files, streams; none of it decoded by `datasets`."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from jukebox_hf.data import SkippedSong, Song, open_songs, stream_songs
from tests.data.song_files import RATE, make_sound, write_song


def song_bytes(seed: int, seconds: float = 1.0, format: str = "FLAC") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, make_sound(seconds, seed=seed), RATE, format=format)
    return file.getvalue()


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    """A folder as `push_to_hub` uploads it: audio as content, a class, a list, and odd cells."""
    from datasets import Audio, ClassLabel, Features, List, Value
    from pyarrow import parquet

    features = Features(
        {
            "audio": Audio(),
            "artist": Value("string"),
            "genre": ClassLabel(names=["rock", "jazz"]),
            "lyrics": List({"start": Value("float32"), "word": Value("string")}),
            "words": Value("string"),
        }
    )
    audio = [
        {"bytes": song_bytes(0), "path": "a.flac"},
        {"bytes": song_bytes(1, format="OGG"), "path": "a.flac"},
        {"bytes": song_bytes(2), "path": None},
        {"bytes": None, "path": "gone.wav"},
        {"bytes": b"nonsense\x00\xff", "path": "bad.wav"},
        None,
    ]
    columns = {
        "audio": pa.array(audio, type=Audio.pa_type),
        "artist": ["A, B", None, "É", "d", "e", "f"],
        "genre": [0, 1, None, -1, 0, 0],
        "lyrics": [[{"start": 1.0, "word": "la"}, {"start": 2.0, "word": "li"}], *[None] * 5],
        "words": ["la la", "[00:01.00]la", "", None, None, None],
    }
    table = pa.table(columns).cast(features.arrow_schema)
    (tmp_path / "table" / "data").mkdir(parents=True)
    parquet.write_table(table, tmp_path / "table" / "data" / "train-00000-of-00001.parquet")
    return tmp_path / "table"


def test_songs_are_read_out_of_a_table(parquet: Path) -> None:
    found = open_songs(parquet)
    songs = {song.name: song for song in found.songs}
    assert list(songs) == ["a.flac", "a.flac#1", "row 0000002"]
    assert [song.artist for song in found.songs] == ["A, B", "unknown", "É"]
    assert [song.genre for song in found.songs] == ["rock", "jazz", "unknown"]
    assert songs["a.flac"].lyrics == "la li "
    assert songs["a.flac"].lyric_times is not None
    assert songs["a.flac"].path is None
    for seed, song in enumerate(found.songs):
        with song.open(RATE) as reader:
            audio = reader.read(0, RATE).audio
        expected = make_sound(1.0, seed=seed).T
        assert np.abs(audio.numpy() - expected).max() < (0.2 if seed == 1 else 1e-4)
    reasons = dict(found.skipped)
    assert reasons["gone.wav"] == "there is no file gone.wav on this machine"
    assert reasons["row 0000005"] == "its cell is empty"
    assert reasons["bad.wav"].startswith("audio.wav cannot be read as audio")


def test_songs_of_a_table_are_not_copied_to_be_read(
    parquet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    songs = open_songs(parquet).songs

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("a temporary folder was made")

    monkeypatch.setattr("tempfile.mkdtemp", fail)
    for song in songs:
        with song.open(RATE // 2) as reader:
            assert reader.read(10, 100).missing_samples == 0


def test_songs_of_a_table_go_to_other_processes(parquet: Path) -> None:
    song = open_songs(parquet).songs[1]
    copy = pickle.loads(pickle.dumps(song))
    with song.open(RATE) as mine, copy.open(RATE) as theirs:
        assert mine.read(100, 50).audio.equal(theirs.read(100, 50).audio)


def test_stream_gives_the_same_songs_one_by_one(parquet: Path) -> None:
    streamed = list(stream_songs(parquet, lyrics_column="words"))
    found = open_songs(parquet, lyrics_column="words")
    assert [song for song in streamed if isinstance(song, Song)] == list(found.songs)
    skipped = {song for song in streamed if isinstance(song, SkippedSong)}
    assert {song.name for song in skipped} == {song.name for song in found.skipped}
    assert found.songs[1].lyric_times is not None


@pytest.mark.parametrize("save", ["dataset", "dict"])
def test_saved_datasets_are_read_whatever_their_rows(
    parquet: Path, tmp_path: Path, save: str
) -> None:
    from datasets import Audio, DatasetDict, load_dataset

    table = load_dataset(str(parquet), split="train").cast_column("audio", Audio(decode=False))
    chosen = table.select([2, 0])
    folder = tmp_path / "saved"
    if save == "dict":
        DatasetDict({"train": chosen, "test": table.select([1])}).save_to_disk(folder)
        (song,) = open_songs(folder, split="test").songs
        assert song.genre == "jazz"
        with pytest.raises(ValueError, match=r"no split 'dev'; its splits are: train, test"):
            open_songs(folder, split="dev")
    else:
        chosen.save_to_disk(folder)
        with pytest.raises(ValueError, match="is a single split, train; leave 'dev' out"):
            open_songs(folder, split="dev")
    assert [song.name for song in open_songs(folder).songs] == ["a.flac", "row 0000000"]


def test_tables_of_paths_are_relative_to_their_folder(tmp_path: Path) -> None:
    from datasets import Dataset

    write_song(tmp_path / "music" / "a.wav", 0.5)
    rows = {"file": ["music/a.wav", str(tmp_path / "music" / "a.wav"), "b.wav"]}
    Dataset.from_dict(rows).save_to_disk(tmp_path / "table")
    (tmp_path / "music").rename(tmp_path / "table" / "music")
    found = open_songs(tmp_path / "table", audio_column="file")
    assert [song.name for song in found.songs] == ["music/a.wav"]
    assert len(found.skipped) == 2


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            {"audio_column": "x"},
            r"no column 'x' for the audio; its columns are: audio, artist, gen",
        ),
        ({"artist_column": "x"}, r"no column 'x' for the artist; its columns are: audio, artist"),
        (
            {"audio_column": "genre"},
            r"'genre' of .* holds no audio .* columns of audio are: audio$",
        ),
        ({"split": "test"}, "test"),
        ({"subset": "x"}, "x"),
    ],
)
def test_what_a_table_lacks_is_named(parquet: Path, options: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        open_songs(parquet, **options)
    with pytest.raises(ValueError, match=match):
        list(stream_songs(parquet, **options))


def test_folder_without_audio_or_tables_holds_no_songs(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing here")
    with pytest.raises(ValueError, match="holds no songs"):
        open_songs(tmp_path)


def test_damaged_table_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "train.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(ValueError, match=r"Parquet|parquet"):
        open_songs(tmp_path)


def test_a_table_that_names_songs_by_absolute_paths_keeps_folders_to_itself(tmp_path: Path) -> None:
    from datasets import Dataset

    inside = write_song(tmp_path / "table" / "music" / "a.wav", 0.5)
    outside = write_song(tmp_path / "someone" / "b.wav", 0.5)
    content = {"bytes": song_bytes(0), "path": str(tmp_path / "someone" / "c.flac")}
    rows = [{"bytes": None, "path": str(path)} for path in (inside, outside)]
    Dataset.from_dict({"audio": [*rows, content]}).save_to_disk(tmp_path / "table")
    names = [song.name for song in open_songs(tmp_path / "table").songs]
    assert names == ["b.wav", "c.flac", "music/a.wav"]
