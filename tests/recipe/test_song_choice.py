import argparse
from itertools import pairwise
from pathlib import Path

import pytest

from jukebox_hf import TrainingSettings
from jukebox_hf.data import Song
from jukebox_hf.data.song_sources import FileSource
from jukebox_hf.listening.excerpts import spread_clips
from model_cards.recipe.song_choice import Split, add_split_options, split_of


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_split_options(parser)
    return parser.parse_args(words)


def test_the_split_is_that_of_the_run_or_of_the_options(tmp_path: Path) -> None:
    assert split_of(options()) == Split(0.05, 0)
    assert split_of(options("--validation-fraction", "0.2", "--split-seed", "3")) == Split(0.2, 3)
    assert split_of(options("--validation-fraction", "0")) == Split(0.0, 0)
    assert TrainingSettings(task="prior", level=0).validation_fraction == 0.05
    settings = TrainingSettings(task="vqvae", dataset="music", validation_fraction=0.1, seed=7)
    settings.save(tmp_path / "settings.yaml")
    assert split_of(options("--run", str(tmp_path))) == Split(0.1, 7)
    with pytest.raises(ValueError, match=r"held songs out with the fraction 0\.1, not 0\.2"):
        split_of(options("--run", str(tmp_path), "--validation-fraction", "0.2"))
    TrainingSettings(task="vqvae", dataset="a", validation_dataset="b").save(
        tmp_path / "settings.yaml"
    )
    with pytest.raises(ValueError, match="was evaluated on a dataset of its own"):
        split_of(options("--run", str(tmp_path)))
    with pytest.raises(FileNotFoundError):
        split_of(options("--run", str(tmp_path / "none")))


def song(name: str, seconds: float) -> Song:
    return Song(name, FileSource(Path(name)), round(seconds * 100), 100)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 12])
def test_clips_are_spread_over_songs_and_in_them(count: int) -> None:
    songs = [song("a", 100), song("b", 9), song("c", 50), song("d", 25), song("e", 10)]
    places = spread_clips(songs, count, 10.0)
    names = [place.song.name for place in places]
    assert "b" not in names  # too short for a clip
    per_song = {name: names.count(name) for name in names}
    assert per_song.get("e", 0) <= 1
    assert per_song.get("d", 0) <= 2
    assert len(places) == count or count > 4
    assert len(per_song) == min(count, 4)
    if count <= 4:
        assert set(per_song.values()) == {1}
    for place in places:
        assert 0 <= place.start_seconds <= place.song.duration_seconds - 10
    for name in per_song:
        starts = [place.start_seconds for place in places if place.song.name == name]
        assert all(later - earlier >= 9.99 for earlier, later in pairwise(starts))


def test_a_single_clip_is_the_middle_and_no_songs_give_none() -> None:
    (place,) = spread_clips([song("a", 30)], 1, 10.0)
    assert place.start_seconds == 10
    assert spread_clips([song("b", 9)], 3, 10.0) == []
