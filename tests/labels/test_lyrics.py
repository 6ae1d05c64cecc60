"""Any text becomes symbols that a prior can sing, and it is said what could not be."""

# ruff: noqa: RUF001  # characters that look like others are what this is about

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jukebox_hf.labels import LYRIC_CHARACTERS, LyricAlphabet

V2 = LyricAlphabet(LYRIC_CHARACTERS["v2"])
V3 = LyricAlphabet(LYRIC_CHARACTERS["v3"])


def test_released_alphabets_have_the_released_sizes() -> None:
    assert (V2.vocabulary_size, V3.vocabulary_size) == (80, 79)
    assert set(V2.characters) - set(V3.characters) == {"+"}


def test_ids_count_from_one() -> None:
    ids = (41, 38, 30, 76, 46, 41, 49, 40, 76, 44, 41, 27, 30)
    assert V3.encode("old town road") == ids
    assert V3.decode((0, 0, *ids)) == "old town road"
    with pytest.raises(ValueError, match="lyric ids go from 0 to 78, got 79"):
        V3.decode([79])
    with pytest.raises(ValueError, match="'é' is no symbol of this alphabet; clean the text first"):
        V3.encode("é")


def test_notes_say_what_is_sung_instead_and_what_is_left_out() -> None:
    text, notes = V3.explain("“Hi” — ‘you’ 😀😀 E=mc\\+")
    assert text == "\"Hi\" -- 'you'  Emc\n"
    assert notes == (
        "lyrics: “ ” sung as \"; — sung as --; ‘ ’ sung as '; \\ sung as newline",
        "lyrics: left out 4 characters that cannot be sung: 😀 = +",
    )


def test_characters_that_cannot_be_seen_are_named() -> None:
    _, notes = V3.explain("a\xa0b\x00e\u0301\ud83d")
    assert notes == (
        "lyrics: U+00A0 sung as blank",
        "lyrics: left out 3 characters that cannot be sung: U+0000 ◌\u0301 U+D83D",
    )


def test_long_lists_in_notes_are_cut() -> None:
    notes = V3.explain("a" + "".join(map(chr, range(0x1F600, 0x1F640))))[1]
    assert len(notes) == 1
    assert notes[0].startswith("lyrics: left out 64 characters")
    assert notes[0].endswith("and 52 more")


def test_line_ends_of_windows_and_a_byte_order_mark_go_without_a_note() -> None:
    assert V3.explain("\ufeffone\r\ntwo\r\n") == ("one\ntwo\n", ())


def test_old_line_ends_are_left_out_with_a_note() -> None:
    text, notes = V3.explain("one\rtwo")
    assert text == "onetwo"
    assert notes == ("lyrics: left out 1 character that cannot be sung: U+000D",)


def test_lyrics_of_which_nothing_is_left_say_so() -> None:
    assert V3.explain("😀\n")[1][-1] == "lyrics: nothing that can be sung is left of them"
    assert V3.explain("") == ("", ())
    assert V3.explain("\n \t") == ("\n \t", ())


def test_an_alphabet_of_ones_own_is_not_transliterated() -> None:
    russian = LyricAlphabet("абвгд \n")
    assert russian.clean("баба\\да é") == "баба\nда "
    assert russian.vocabulary_size == 8


def test_an_alphabet_has_every_symbol_once() -> None:
    with pytest.raises(ValueError, match="must be different, got \\['a'\\] more than once"):
        LyricAlphabet("abca")


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=200))
def test_cleaning_is_per_character_and_leaves_only_symbols(text: str) -> None:
    cleaned = V2.clean(text)
    assert cleaned == "".join(V2.clean(char) for char in text)
    assert V2.clean(cleaned) == cleaned
    assert V2.decode(V2.encode(cleaned)) == cleaned
