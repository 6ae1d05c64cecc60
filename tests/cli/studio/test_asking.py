"""What the page may ask for: kinds and sizes, each refusal one sentence."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jukebox_cli.studio.asking import (
    KNOWN,
    Limits,
    check_request,
    check_seconds,
    check_stereo,
    parse_body,
    sources_of,
)

LIMITS = Limits(seconds=60, takes=8, upload_bytes=10**6, waiting=10, edited_seconds=60)
MODELS = ["", "other"]
PART = {"piece": "a", "take": 1}


def check(**changes: Any) -> dict[str, Any]:
    return check_request({"verb": "make", **changes}, LIMITS, MODELS)


def test_a_request_gets_a_seed_and_what_was_left_out_is_none() -> None:
    found = check(genre="rock", seconds="1:00", levels={"temperature": {"2": "0.9", "0": ""}})
    assert found["seconds"] == 60.0
    assert 0 <= found["seed"] < 2**32
    assert found["artist"] is None
    assert found["levels"] == {"temperature": {"2": 0.9}}
    assert check(seed=str(2**64 - 1))["seed"] == 2**64 - 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"verb": "rm"}, "expected make, continue, upsample, edit or infill, got 'rm'"),
        ({"colour": "red"}, "unknown field 'colour'"),
        ({"model": 2}, "there is no model 2"),
        ({"model": "/etc"}, "there is no model '/etc'"),
        ({"seconds": "soon"}, "seconds: 'soon' is not a duration; give seconds, as in 90"),
        ({"seconds": 61}, "makes up to 60 seconds in one go, got 61"),
        ({"seconds": float("inf")}, "is not a duration"),
        ({"takes": 9}, "takes must be a whole number from 1 to 8, got 9"),
        ({"takes": True}, "takes must be a whole number"),
        ({"seed": -1}, "seed must be a whole number from 0"),
        ({"seed": "1e9"}, "seed must be a whole number from 0"),
        ({"genre": ["rock"]}, "genre must be text"),
        ({"genre": "x" * 201}, "genre may have 200 characters, got 201"),
        ({"lyrics": "\ud800"}, "lyrics holds half of a character"),
        ({"name": "../up"}, "a name has letters, digits"),
        ({"name": "x" * 82}, "at most 81 characters"),
        ({"name": "con"}, "'con' cannot be the name of a folder everywhere; try 'con_'"),
        ({"primer": {"file": "../../etc/passwd"}}, "choose it again"),
        ({"levels": {"tempo": {"0": 1}}}, "there is no setting 'tempo'"),
        ({"levels": {"temperature": {"-1": 1}}}, "'-1' is not a level"),
        ({"levels": {"temperature": {"0": "hot"}}}, "temperature must be a number, got 'hot'"),
        ({"verb": "continue", "source": "a"}, "say how many seconds of new music"),
        ({"verb": "continue", "seconds": 1}, "source must be text, got None"),
        ({"verb": "infill", "source": "a", "numbers": [1, 2]}, "say of which take"),
        ({"verb": "edit", "source": "a"}, "expected a list of parts, got None"),
        ({"verb": "edit", "parts": []}, "nothing is left; a piece has at least one part"),
        ({"verb": "edit", "parts": [PART] * 101}, "a piece has up to 100 parts, got 101"),
        ({"verb": "edit", "parts": [PART, "b"]}, "part 2: expected piece, take, from and to"),
        (
            {"verb": "edit", "parts": [{**PART, "path": "/etc"}]},
            "part 1: expected piece, take, from",
        ),
        ({"verb": "edit", "parts": [{**PART, "piece": 5}]}, "part 1: piece must be text, got 5"),
        (
            {"verb": "edit", "parts": [{**PART, "take": None}]},
            "part 1: take must be a whole number",
        ),
        (
            {"verb": "edit", "parts": [{**PART, "to": "soon"}]},
            "part 1: to: 'soon' is not a duration",
        ),
        (
            {"verb": "edit", "parts": [PART], "snap_seconds": "x"},
            "“Move by up to”: 'x' is not a duration",
        ),
        (
            {"verb": "edit", "parts": [PART], "timing": "old"},
            "timing must be keep or new, got 'old'",
        ),
        (
            {"verb": "infill", "source": "a", "numbers": [1], "candidates": 65},
            "tries must be a whole number from 1 to 64, got 65",
        ),
        (
            {"verb": "infill", "source": "a", "numbers": [1], "insert_seconds": 61},
            "makes up to 60 seconds in one go, got 61",
        ),
        ({"verb": "upsample", "source": "a", "numbers": [0]}, "a take must be a whole number"),
        (
            {"verb": "upsample", "source": "a", "renders": 9},
            "ways to finish must be a whole number",
        ),
        ({"verb": "upsample", "source": "a", "renders": 2}, "say which takes to finish"),
        (
            {"verb": "upsample", "source": "a", "numbers": [1, 2, 3], "renders": 3},
            "makes up to 8 takes in one go, got 3 in 3 ways",
        ),
        ({"names": {"lyrics": {"0": "x"}}}, "expected genre or artist by level"),
        ({"names": {"genre": "rock"}}, "expected a genre by level, got 'rock'"),
        ({"names": {"genre": {"x": "rock"}}}, "'x' is not a level"),
        ({"names": {"genre": {"1": 5}}}, "1 must be text, got 5"),
    ],
)
def test_wrong_requests_are_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        check(**changes)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_edit_names_its_pieces_once_and_its_bounds_in_seconds() -> None:
    parts = [{**PART, "from": "0:01", "to": 2.5}, {"piece": "b", "take": 3}, PART]
    found = check(verb="edit", parts=parts, snap_seconds="0.1", fade_seconds="", timing="")
    assert found["parts"][:2] == [
        {"piece": "a", "take": 1, "from": 1.0, "to": 2.5},
        {"piece": "b", "take": 3, "from": None, "to": None},
    ]
    assert (found["snap_seconds"], found["fade_seconds"], found["timing"]) == (0.1, None, None)
    assert found["seed"] is None
    assert sources_of(found) == ["a", "b"]
    assert sources_of(check(verb="upsample", source="c")) == ["c"]
    assert sources_of(check()) == []


def test_names_are_by_level_and_empty_ones_are_left_out() -> None:
    found = check(names={"genre": {"1": "rock", "0": ""}, "artist": {"all": "ada"}})
    assert found["names"] == {"genre": {"1": "rock"}, "artist": {"all": "ada"}}


@pytest.mark.parametrize(
    ("stereo", "sentence"),
    [
        ([1, 2, 3], "expected takes and delays for stereo"),
        ({"takes": [1, 2]}, "stereo takes three takes, left, centre and right"),
        ({"takes": [1, 2, 3], "delays": [0.1]}, "and three delays"),
        ({"takes": [1, 2, 3], "delays": [0, 0, "late"]}, "'late' is not a duration"),
        ({"takes": [1, 2, 3], "path": "/etc"}, "expected takes and delays for stereo"),
    ],
)
def test_wrong_stereo_is_one_sentence(stereo: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        check_stereo(stereo)
    assert sentence in str(caught.value)
    assert check_stereo(None) is None
    assert check_stereo({"takes": [3, 2, 3], "delays": ["0.02", 0, 0.04]}) == (
        [3, 2, 3],
        [0.02, 0, 0.04],
    )


@pytest.mark.parametrize("text", [None, "", "soon", "-1", "nan", "inf", "61"])
def test_seconds_of_an_address_are_a_number_in_reach(text: str | None) -> None:
    with pytest.raises(ValueError, match="from must be seconds from 0 to 60, got"):
        check_seconds(text, "from", 60)
    assert check_seconds("1.5", "from", 60) == 1.5


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(sorted(KNOWN))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["make", "continue", "upsample", "edit", "infill"]),
    st.dictionaries(FIELDS, JSON),
)
def test_whatever_comes_is_taken_or_refused_with_a_sentence(
    verb: str, given_fields: dict[str, Any]
) -> None:
    said = "taken"
    try:
        check_request({"verb": verb, **given_fields}, LIMITS, MODELS)
    except ValueError as error:
        said = str(error)
    assert 0 < len(said) < 400


@pytest.mark.parametrize("body", [b"[]", b"{", b"\xff", b"1", b'{"a": NaN}', b"[" * 100_000])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="expected an object in JSON"):
        parse_body(body)
