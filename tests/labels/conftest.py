"""Small processors of both dialects, as small priors would have them."""

import pytest

from jukebox_hf.labels import LYRIC_CHARACTERS, JukeboxProcessor

V2_ARTISTS = {"": 0, "unknown": 0, "various": 0, "abba": 1, "c_line_dion": 2, "ac_dc": 3, "odd_": 4}
V2_GENRES = {"unknown": 0, "rock": 1, "blues": 2, "pop": 3, "hip": 4, "hop": 5}
V3_ARTISTS = {"unknown": 0, "abba": 1, "céline dion": 2, "ac/dc": 4, "gabriel faur ": 5}
V3_GENRES = {"unknown": 0, "blues rock": 1, "pop": 2}


@pytest.fixture
def v2() -> JukeboxProcessor:
    """An encoder-style lyrics prior: bag of genre words, 80 lyric symbols."""
    return JukeboxProcessor(
        artists=V2_ARTISTS,
        genres=V2_GENRES,
        dialect="v2",
        genre_slots=3,
        lyric_characters=LYRIC_CHARACTERS["v2"],
        lyric_length=8,
        sampling_rate=100,
        window_samples=1000,
        min_total_seconds=5.0,
        max_total_seconds=600.0,
    )


@pytest.fixture
def v3() -> JukeboxProcessor:
    """A sequence-style lyrics prior: one genre phrase, 79 lyric symbols."""
    return JukeboxProcessor(
        artists=V3_ARTISTS,
        genres=V3_GENRES,
        dialect="v3",
        lyric_characters=LYRIC_CHARACTERS["v3"],
        lyric_length=8,
        sampling_rate=100,
        window_samples=1000,
        min_total_seconds=5.0,
        max_total_seconds=600.0,
    )


@pytest.fixture
def upsampler() -> JukeboxProcessor:
    """An upsampler: labels, but neither timing nor lyrics."""
    return JukeboxProcessor(
        artists=V2_ARTISTS, genres=V2_GENRES, dialect="v2", genre_slots=3, window_samples=64
    )
