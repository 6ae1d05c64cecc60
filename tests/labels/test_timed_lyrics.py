"""Timed lyrics are read from `.lrc` files, and tell which character is sung when."""

import math
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jukebox_hf.labels import (
    LYRIC_CHARACTERS,
    LyricAlphabet,
    TimedLyrics,
    TimedSegment,
    decode_lyrics,
    parse_lrc,
    read_lyrics,
)
from jukebox_hf.labels.timed_lyrics import USUAL_SECONDS_PER_CHARACTER, character_at

V3 = LyricAlphabet(LYRIC_CHARACTERS["v3"])


def test_lines_carry_their_times() -> None:
    lyrics = parse_lrc("[ar: Someone]\n[ti:A: B]\n\n[00:01.50]one\n[1:02]two\n# a remark\n")
    assert lyrics.text == "one\ntwo"
    assert lyrics.segments == (TimedSegment(1.5, "one\n"), TimedSegment(62.0, "two"))
    assert lyrics.tags == (("ar", "Someone"), ("ti", "A: B"))


def test_a_line_with_several_stamps_is_sung_several_times() -> None:
    lyrics = parse_lrc("[00:10.00][00:30.00] la la\n[00:20.00]verse")
    assert lyrics.text == "la la\nverse\nla la"
    assert [segment.start_seconds for segment in lyrics.segments] == [10.0, 20.0, 30.0]


def test_words_may_have_times_of_their_own() -> None:
    lyrics = parse_lrc(
        "[00:10.00]<00:10.00> Some <00:10.50>  words <00:11.00>syl<00:11.20>lables <00:12.00>\n"
        "[00:20.00] next"
    )
    assert lyrics.text == "Some words syllables\nnext"
    times = {s.text: s.start_seconds for s in lyrics.segments if s.text.strip()}
    assert times == {"Some ": 10.0, "words ": 10.5, "syl": 11.0, "lables": 11.2, "next": 20.0}
    cleaned, seconds = lyrics.clean(V3)
    assert seconds[cleaned.index("\n")] == 12.0  # the last stamp of a line ends its words


def test_repeated_lines_repeat_the_times_of_their_words() -> None:
    lyrics = parse_lrc("[00:10][00:40]<00:10>a <00:12>b")
    assert [s.start_seconds for s in lyrics.segments if s.text] == [10.0, 12.0, 40.0, 42.0]


def test_words_timed_past_the_next_line_end_there() -> None:
    lyrics = parse_lrc("[00:10]<00:10>a <00:16>b\n[00:15]c")
    assert [s.start_seconds for s in lyrics.segments if s.text] == [10.0, 15.0, 15.0]
    lyrics = parse_lrc("[00:10]<00:10>a <00:16>b\n[00:15]")
    assert lyrics.segments[-1].start_seconds == lyrics.end_seconds == 15.0


def test_a_stamp_without_words_ends_the_line_before() -> None:
    lyrics = parse_lrc("[00:05]\n[00:10]ab\n[00:12]\n[00:20]cd\n[00:22]")
    assert lyrics.text == "ab\n\ncd"
    assert lyrics.end_seconds == 22.0
    _, seconds = lyrics.clean(V3)
    assert seconds == pytest.approx((10, 10 + 2 / 3, 10 + 4 / 3, 12, 20, 21))


def test_the_offset_tag_moves_everything() -> None:
    assert parse_lrc("[offset:+500]\n[00:01]a").segments[0].start_seconds == 0.5
    assert parse_lrc("[offset: -500]\n[00:01]a").segments[0].start_seconds == 1.5
    assert parse_lrc("[00:01]a\n[offset:5000]").segments[0].start_seconds == 0.0


def test_windows_files_and_byte_order_marks_are_read() -> None:
    assert parse_lrc("\ufeff[00:01]a\r\n[00:02]b\r[00:03]c").text == "a\nb\nc"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[00:01]a\nplain words", r"line 2: expected \[mm:ss.xx\] before the words, got 'plain w"),
        ("[Chorus]\n[00:01]a", "line 1: expected .mm:ss.xx. before the words"),
        ("[00:1x]a", "line 1: expected .mm:ss.xx. before the words"),
        ("[00:01", "line 1: expected .mm:ss.xx. before the words"),
        ("[00:01][00:2]a\n[00:01][00:2x]a", "line 2: expected"),
        ("[00:01:50]a", "line 1: expected"),
        ("[-1:00]a", "line 1: expected"),
        ("\n\n[00:60.00]a", r"line 3: seconds go up to 59.99, got \[00:60.00\]"),
        ("[00:05]a <00:04>b", "line 1: times must not go backwards inside a line, got 4.00 s"),
        ("[offset:soon]\n[00:01]a", r"line 1: \[offset:...\] takes milliseconds, got 'soon'"),
        ("", "got no timed words at all"),
        ("[ar:x]\n[00:01]\n", "got no timed words at all"),
    ],
)
def test_what_is_no_lrc_is_refused_with_the_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_lrc(text)


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


def test_lyrics_files_are_read_by_their_extension(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r")
    (tmp_path / "a.LRC").write_bytes("[00:01]eins\r\n[00:02]zwei".encode("utf-16"))
    assert read_lyrics(tmp_path / "a.txt") == "one\ntwo\n"
    timed = read_lyrics(tmp_path / "a.LRC")
    assert isinstance(timed, TimedLyrics)
    assert timed.text == "eins\nzwei"


def test_errors_in_lyrics_files_name_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.lrc").write_text("words")
    (tmp_path / "b.txt").write_bytes("Café".encode("latin-1"))
    with pytest.raises(ValueError, match=r"a\.lrc: line 1: expected"):
        read_lyrics(tmp_path / "a.lrc")
    with pytest.raises(
        ValueError, match=r"b\.txt: expected text in UTF-8, got byte 0xe9 at place 3"
    ):
        read_lyrics(tmp_path / "b.txt")
    with pytest.raises(FileNotFoundError):
        read_lyrics(tmp_path / "none.txt")


def test_bytes_from_elsewhere_are_lyrics_too() -> None:
    assert decode_lyrics(b"\x00la\n") == "\x00la\n"
    with pytest.raises(ValueError, match="standard input: "):
        decode_lyrics(b"\xff", source="standard input")
