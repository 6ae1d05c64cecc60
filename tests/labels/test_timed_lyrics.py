"""Timed lyrics tell which character is sung when."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jukebox_hf.labels import (
    LYRIC_CHARACTERS,
    LyricAlphabet,
    TimedLyrics,
    TimedSegment,
    parse_lrc,
)
from jukebox_hf.labels.timed_lyrics import USUAL_SECONDS_PER_CHARACTER, character_at

V3 = LyricAlphabet(LYRIC_CHARACTERS["v3"])


def test_the_last_line_is_sung_as_fast_as_the_others_mostly() -> None:
    lyrics = parse_lrc("[00:00]abcd\n[00:10]abcd\n[01:00]abcd\n[01:10]abcd")
    _, seconds = lyrics.clean(V3)
    assert seconds[-4:] == pytest.approx((70, 72, 74, 76))
    _, alone = parse_lrc("[00:10]ab").clean(V3)
    assert alone == pytest.approx((10, 10 + USUAL_SECONDS_PER_CHARACTER))


def test_times_must_make_sense() -> None:
    with pytest.raises(ValueError, match=r"must not go backwards, got 2\.0 before 1\.0"):
        TimedLyrics((TimedSegment(2.0, "a"), TimedSegment(1.0, "b")))
    with pytest.raises(ValueError, match="must not go backwards"):
        TimedLyrics((TimedSegment(2.0, "a"),), end_seconds=1.0)
    for time in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="must be seconds from 0 on"):
            TimedLyrics((TimedSegment(time, "a"),))


def test_words_of_a_data_set_are_timed_lyrics_too() -> None:
    words = [[0.5, "Hello "], [1.5, "world"]]
    lyrics = TimedLyrics(words)  # type: ignore[arg-type]
    assert lyrics == TimedLyrics((TimedSegment(0.5, "Hello "), TimedSegment(1.5, "world")))
    assert lyrics.text == "Hello world"


def test_timed_lyrics_may_be_empty() -> None:
    assert TimedLyrics(()).clean(V3) == ("", ())
    assert character_at((), 3.0) == 0


def test_every_sung_symbol_gets_a_time() -> None:
    lyrics = TimedLyrics((TimedSegment(1, "“é”😀\n"), TimedSegment(5, "😀"), TimedSegment(9, "ß")))
    text, seconds = lyrics.clean(V3)
    assert text == '"e"\nss'
    assert seconds == pytest.approx((1, 2, 3, 4, 9, 10))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 600), st.text("ab 😀é\n", max_size=9)), max_size=8),
    st.floats(0, 700),
)
def test_times_never_go_backwards_and_every_time_has_its_character(
    pieces: list[tuple[float, str]], time: float
) -> None:
    pieces.sort(key=lambda piece: piece[0])
    lyrics = TimedLyrics(tuple(TimedSegment(*piece) for piece in pieces))
    text, seconds = lyrics.clean(V3)
    assert text == V3.clean(lyrics.text)
    assert len(seconds) == len(text)
    assert all(a <= b + 1e-9 for a, b in pairwise(seconds))
    place = character_at(seconds, time)
    assert place == 0 or seconds[place] <= time
    assert place + 1 >= len(text) or time < seconds[place + 1]
