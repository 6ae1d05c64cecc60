"""A window sees the right part of the lyrics, for all lengths and places."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jukebox_hf.labels import LyricWindow, linear_centre, lyric_window
from tests.golden_data import load_json


def window_of(
    num_symbols: int,
    lyric_length: int,
    total: int,
    offset: int,
    window: int,
    *,
    match_2020_rounding: bool,
) -> LyricWindow:
    centre = linear_centre(
        num_symbols,
        total_samples=total,
        offset_samples=offset,
        window_samples=window,
        match_2020_rounding=match_2020_rounding,
    )
    return lyric_window(num_symbols, centre, lyric_length)


@pytest.mark.parametrize(("rounding", "suffix"), [(False, ""), (True, "_float32")])
def test_windows_equal_those_of_the_original(rounding: bool, suffix: str) -> None:
    cases = load_json("text/lyric_windows.json")["cases"]
    assert cases
    for case in cases:
        got = window_of(
            case["n_full"],
            case["n_tokens"],
            case["total_length"],
            case["offset"],
            case["duration"],
            match_2020_rounding=rounding,
        )
        first = got.first if not got.padding else -1
        last = got.stop - 1 if got.stop else -1
        expected = (case["pad"], case[f"first_index{suffix}"], case[f"last_index{suffix}"])
        assert (got.padding, first, last) == expected, case


sizes = st.tuples(
    st.integers(0, 5000),  # symbols
    st.integers(1, 300).map(lambda half: 2 * half),  # lyric_length
    st.integers(1, 2**26),  # total
    st.integers(1, 2**21),  # window
)


@settings(max_examples=100, deadline=None)
@given(sizes, st.floats(0, 1, exclude_max=True), st.booleans())
def test_a_window_lies_inside_the_lyrics_and_is_full(
    size: tuple[int, int, int, int], where: float, rounding: bool
) -> None:
    symbols, length, total, window = size
    offset = int(where * total)
    got = window_of(symbols, length, total, offset, window, match_2020_rounding=rounding)
    assert got.padding + (got.stop - got.first) == length
    assert 0 <= got.first <= got.stop <= symbols
    assert (got.padding == 0) == (symbols >= length)


@settings(max_examples=100, deadline=None)
@given(sizes, st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True), st.booleans())
def test_later_windows_never_see_earlier_lyrics(
    size: tuple[int, int, int, int], one: float, other: float, rounding: bool
) -> None:
    symbols, length, total, window = size
    earlier, later = (
        window_of(symbols, length, total, int(w * total), window, match_2020_rounding=rounding)
        for w in sorted((one, other))
    )
    assert earlier.first <= later.first


def test_the_two_arithmetics_differ_next_to_whole_numbers() -> None:
    case = {"total_samples": 13471103, "offset_samples": 6758155, "window_samples": 1048576}
    assert linear_centre(2377, **case) == linear_centre(2377, **case, match_2020_rounding=False) + 1


@pytest.mark.parametrize("offset", [-1, 100, 101])
def test_a_window_outside_the_piece_is_refused(offset: int) -> None:
    with pytest.raises(ValueError, match=f"inside the piece of 100 samples, got {offset}"):
        linear_centre(10, total_samples=100, offset_samples=offset, window_samples=10)


def test_spans_leave_padding_out() -> None:
    assert lyric_window(3, 0, 8).span == (0, 2)
    assert lyric_window(9, 9, 8).span == (1, 8)
    assert lyric_window(0, 0, 8).span is None
