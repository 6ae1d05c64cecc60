"""Names are spelt as each dialect spells them, and nothing unknown passes in silence."""

from pathlib import Path

import pytest

from jukebox_hf.labels import Vocabulary, genre_keys, normalise_name, read_ids
from jukebox_hf.labels.vocabularies import LARGEST_ID


@pytest.fixture
def artists() -> Vocabulary:
    ids = {"unknown": 0, "the beatles": 1, "beyoncé": 2, "the beatles tribute": 3, "jay-z": 5}
    return Vocabulary(ids, dialect="v3", kind="artist")


@pytest.mark.parametrize(
    ("given", "v2"),
    [
        ("Céline Dion", "c_line_dion"),
        ("AC/DC", "ac_dc"),
        ("  P!nk__", "p_nk"),
        ("東京事変", ""),
        ("!!!", ""),
        ("K2", "k2"),
        ("\N{KELVIN SIGN}2", "k2"),  # lower-cased before anything is replaced
        ("a\nb\tc", "a_b_c"),
    ],
)
def test_v2_names_keep_letters_and_digits_only(given: str, v2: str) -> None:
    assert normalise_name(given, "v2") == v2


def test_v3_names_are_lower_cased_and_nothing_else() -> None:
    assert normalise_name("  Céline  DION! ", "v3") == "  céline  dion! "


def test_genres_are_a_bag_of_words_in_v2_and_a_phrase_in_v3() -> None:
    assert genre_keys("Rock & Roll", "v2") == ("rock", "roll")
    assert genre_keys("Rock & Roll", "v3") == ("rock & roll",)
    assert genre_keys("", "v2") == genre_keys("?!", "v2") == ("",)


def test_read_ids_takes_the_later_of_two_equal_names(tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_bytes(b"\xef\xbb\xbfunknown;0\r\nSpeaker;7\r\n\r\n;0\nfaur ;5\nspeaker;9\n")
    assert read_ids(file) == {"unknown": 0, "speaker": 9, "": 0, "faur ": 5}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("unknown;0\nabba", r"line 2: expected `name;id`, got 'abba'"),
        ("a;b;1", "line 1: expected `name;id`"),
        ("abba;-1", "line 1: expected `name;id`"),
        ("abba;1.5", "line 1: expected `name;id`"),
        ("abba;" + "9" * 5000, "line 1: ids go up to"),
        ("abba;²", "line 1: expected `name;id`"),
    ],
)
def test_read_ids_names_the_line_that_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "ids.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_ids(file)


def test_read_ids_refuses_what_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="expected UTF-8 text"):
        read_ids(file)


@pytest.mark.parametrize(
    "row", [-1, LARGEST_ID + 1, pytest.param(10**5000, id="huge"), 1.0, True, None, "1", [1]]
)
def test_ids_that_are_no_rows_are_refused(row: object) -> None:
    with pytest.raises(ValueError, match=r"artist 'abba': expected an id from 0 to \d+, got"):
        Vocabulary({"abba": row}, dialect="v3", kind="artist")  # type: ignore[dict-item]


@pytest.mark.parametrize("name", [1, None, "half \ud83d"])
def test_names_that_are_no_text_are_refused(name: object) -> None:
    with pytest.raises(ValueError, match="artist names must be valid text"):
        Vocabulary({name: 1}, dialect="v3", kind="artist")  # type: ignore[dict-item]


def test_a_vocabulary_is_a_mapping_of_its_own(artists: Vocabulary) -> None:
    given = {"unknown": 0}
    vocabulary = Vocabulary(given, dialect="v3", kind="artist")
    vocabulary.add(["abba"])
    assert given == {"unknown": 0}
    assert dict(vocabulary) == {"unknown": 0, "abba": 1}
    assert artists.num_rows == 6
    assert Vocabulary({}, dialect="v2", kind="genre").num_rows == 0


def test_unknown_names_come_with_the_closest_ones(artists: Vocabulary) -> None:
    assert artists.look_up("abba", "Abba")[0] == 0
    assert artists.closest("Beyonce") == ("beyoncé",)
    assert artists.closest("Jay Z") == ("jay-z",)
    assert artists.closest("beatles") == ("the beatles", "the beatles tribute")
    assert artists.closest("xyz") == ()
    row, note = artists.look_up("beatls", "Beatls")
    assert row == 0
    assert note is not None
    assert note.startswith(
        "artist 'Beatls' is not known to this prior, which takes it for 'unknown'"
    )
    assert note.endswith("closest: 'the beatles'")


def test_nothing_given_is_unknown_without_a_note(artists: Vocabulary) -> None:
    assert artists.look_up("", "") == (0, None)


def test_a_name_of_which_nothing_is_left_gets_a_note() -> None:
    artists = Vocabulary({"": 0, "unknown": 0}, dialect="v2", kind="artist")
    row, note = artists.look_up("", "東京事変")
    assert row == 0
    assert note == (
        "artist '東京事変' is not known to this prior, which takes it for 'unknown'; closest: none"
    )


def test_search_finds_names_whatever_their_accents(artists: Vocabulary) -> None:
    assert artists.search("BEATLES") == ("the beatles", "the beatles tribute")
    assert artists.search("beyonce") == ("beyoncé",)
    assert artists.search("") == tuple(sorted(artists))
    assert artists.search("!") == ()


def test_names_that_cannot_be_asked_for_are_not_offered() -> None:
    artists = Vocabulary({"": 0, "odd_": 1, "even": 2}, dialect="v2", kind="artist")
    assert artists.search("") == ("even",)
    assert artists.closest("odd") == ()


def test_rows_with_several_names_show_them_all() -> None:
    artists = Vocabulary({"various": 0, "unknown": 0, "": 0}, dialect="v2", kind="artist")
    assert artists.name(0) == "_unknown_various"
    assert artists.name(7) == "#7"


def test_new_names_follow_the_last_row_or_the_table(artists: Vocabulary) -> None:
    assert artists.add(["abba", "the beatles", "abba", "blur"]) == [6, 1, 6, 7]
    assert artists.add(["cher"], first_id=100) == [100]
    assert artists.closest("sher") == ("cher",)
    with pytest.raises(ValueError, match="expected an id from 0 to"):
        artists.add(["dido"], first_id=LARGEST_ID + 1)
    assert "dido" not in artists


def test_composed_and_decomposed_names_are_one() -> None:
    composed, apart = "jörn", "jo\u0308rn"
    for dialect in ("v2", "v3"):
        assert normalise_name(apart, dialect) == normalise_name(composed, dialect)
    for stored in (composed, apart):  # models of before kept names as they came
        artists = Vocabulary({"unknown": 0, stored: 1}, dialect="v3", kind="artist")
        for asked in (composed, apart):
            assert artists.look_up(normalise_name(asked, "v3"), asked) == (1, None)
            assert artists.add([asked]) == [1]
        assert artists.closest("jorn") == (stored,)
    assert Vocabulary({}, dialect="v3", kind="artist").add([composed, apart]) == [0, 0]
