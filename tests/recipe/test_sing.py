import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from jukebox_hf.data import open_songs
from jukebox_hf.labels import parse_lrc
from model_cards.recipe import sing
from model_cards.recipe.singing import (
    HIGHEST_NOTE,
    LOWEST_NOTE,
    SENTENCES,
    WORDS,
    pitch_curve,
    render_backing,
    stretched_frames,
    to_lrc,
    vocabulary,
    write_song,
)

RATE = 2000


class FakeSinger:
    """Sings tones instead of words."""

    sampling_rate = RATE

    def __init__(self) -> None:
        self.sung: list[str] = []

    def sing_word(self, word: str, pitch: int, seconds: float) -> npt.NDArray[np.float64]:
        self.sung.append(word)
        time = np.arange(round(seconds * RATE)) / RATE
        return 0.1 * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time)


@pytest.fixture
def singer(monkeypatch: pytest.MonkeyPatch) -> FakeSinger:
    fake = FakeSinger()
    monkeypatch.setattr(sing, "Singer", lambda: fake)
    return fake


def test_songs_are_the_same_for_the_same_seed_only() -> None:
    assert write_song(7) == write_song(7)
    assert write_song(7) != write_song(8)


@pytest.mark.parametrize("seed", range(20))
def test_notes_follow_each_other_within_the_song_and_the_voice(seed: int) -> None:
    song = write_song(seed, seconds=20)
    notes = [note for line in song.lines for note in line]
    assert all(one.end_seconds <= next_.start_seconds for one, next_ in pairwise(notes))
    assert all(LOWEST_NOTE <= note.pitch <= HIGHEST_NOTE for note in notes)
    assert notes[-1].end_seconds <= song.seconds
    assert song.seconds >= 20
    assert song.chords[0].start_seconds == 0
    assert song.chords[-1].start_seconds < song.seconds
    assert {note.word for note in notes} <= set(vocabulary())


def test_sentences_use_known_places_and_singable_letters() -> None:
    places = {word.strip("{}") for line in SENTENCES for word in line.split() if "{" in word}
    assert places == set(WORDS)
    assert 200 <= len(vocabulary()) <= 300
    assert all(word.isascii() and word.isalpha() and word.islower() for word in vocabulary())


@pytest.mark.parametrize("seed", range(5))
def test_every_word_has_its_time_in_the_timed_lyrics(seed: int) -> None:
    song = write_song(seed)
    timed = parse_lrc(to_lrc(song, title="a"))
    assert timed.text.split() == song.lyrics.split()
    starts = [segment.start_seconds for segment in timed.segments if segment.text.strip()]
    sung = [note.start_seconds for line in song.lines for note in line]
    assert starts == pytest.approx(sung, abs=0.006)


def test_stretched_words_keep_their_ends_and_their_order() -> None:
    for spoken in range(1, 40):
        for sung in range(1, 120):
            frames = stretched_frames(spoken, sung)
            assert len(frames) == sung
            assert (np.diff(frames) >= 0).all()
            assert frames[0] == 0
            assert frames[-1] < spoken
            if sung >= spoken:
                assert set(frames) == set(range(spoken))
    natural = stretched_frames(100, 400)
    assert natural[:35].tolist() == list(range(35))
    assert natural[-25:].tolist() == list(range(75, 100))
    with pytest.raises(ValueError, match="at least one frame, got 0 spoken"):
        stretched_frames(0, 3)


def test_pitch_is_the_notes_and_zero_without_voice() -> None:
    voiced = np.array([True] * 200 + [False] * 10)
    curve = pitch_curve(69, voiced, frame_seconds=0.005)
    assert curve[:50] == pytest.approx(np.full(50, 440.0))  # vibrato comes later
    assert (curve[200:] == 0).all()
    assert curve.max() < 440 * 2 ** (0.31 / 12)
    assert curve[100:200].min() < 440 < curve[100:200].max()


def test_backing_is_as_long_as_the_song_and_never_louder_than_one() -> None:
    song = write_song(1, seconds=5)
    backing = render_backing(song, RATE)
    assert len(backing) == round(song.seconds * RATE)
    assert np.abs(backing).max() == pytest.approx(1)


def test_words_are_heard_exactly_at_their_times(singer: FakeSinger) -> None:
    song = write_song(2, seconds=5)
    audio = sing.render_song(song, singer.sing_word, RATE, backing=False)
    for line in song.lines:
        for note in line:
            begin, end = (round(time * RATE) for time in (note.start_seconds, note.end_seconds))
            assert np.abs(audio[begin + 1 : end - 1]).max() > 0.09
            assert np.abs(audio[end + 1 : end + 5]).max() == 0
    louder = sing.render_song(song, singer.sing_word, RATE, backing=True)
    added = 20 * math.log10(np.std(louder - audio) / np.std(audio))
    assert added == pytest.approx(sing.BACKING_DB, abs=0.1)


def test_a_word_is_cut_out_of_the_silence_around_it() -> None:
    audio = np.concatenate([np.zeros(3000), np.ones(500), np.zeros(2000)])
    assert 500 <= len(sing.cut_word(audio, RATE)) <= 520 + RATE // 50
    assert len(sing.cut_word(np.zeros(10), RATE)) == 10


def test_singing_becomes_a_labelled_folder_and_goes_on(tmp_path: Path, singer: FakeSinger) -> None:
    assert sing.sing(tmp_path, seconds=60) == 2
    first = (tmp_path / "song-00000.flac").read_bytes()
    singer.sung.clear()
    (tmp_path / "song-00001.flac").unlink()
    assert sing.sing(tmp_path, seconds=120) == 3
    assert (tmp_path / "song-00000.flac").read_bytes() == first
    songs = open_songs(tmp_path).songs
    lyrics = " ".join(song.lyrics or "" for song in songs[1:])
    assert singer.sung == lyrics.split()  # the first song is not sung again
    song = songs[0]
    assert (song.artist, song.genre) == ("joe", "vocal")
    assert song.lyrics is not None
    assert song.lyric_times is not None


def test_a_missing_voice_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(sing, "import_module", missing)
    assert sing.main(["--output", str(tmp_path / "songs"), "--seconds", "1"]) == 1
    told = capsys.readouterr().err
    assert "the voice is not installed (No module named" in told
    assert "requirements-singing.txt" in told
    assert not (tmp_path / "songs").exists()


def test_no_singing_at_all_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        sing.main(["--output", "x", "--seconds", "0"])
    assert "--seconds must be more than 0, got 0" in capsys.readouterr().err
