from itertools import combinations

import pytest

from model_cards.recipe.word_recall import measure_recall, ordered_recall, recall

ASKED = ["let", "the", "sun", "shine", "down", "on", "me", "the", "river"]


def longest(asked: list[str], heard: list[str]) -> int:
    """Length of the longest common subsequence, by trying all."""
    for length in range(len(asked), 0, -1):
        for places in combinations(range(len(asked)), length):
            rest = iter(heard)
            if all(asked[place] in rest for place in places):
                return length
    return 0


@pytest.mark.parametrize(
    "heard",
    [
        "",
        "let the sun",
        "river the me on down",
        "the the the the",
        "a sun shines on the river",
        "the",
    ],
)
def test_ordered_recall_equals_trying_all_subsequences(heard: str) -> None:
    words = heard.split()
    assert ordered_recall(ASKED, words) == longest(ASKED, words) / 9
    assert recall(ASKED, words) >= ordered_recall(ASKED, words)


def test_a_word_counts_as_often_as_it_was_heard() -> None:
    assert recall(ASKED, ["the"] * 9) == 2 / 9
    assert recall(ASKED, ASKED[::-1]) == 1
    for measure in (recall, ordered_recall):
        with pytest.raises(ValueError, match="no words to be heard"):
            measure([], ["a"])


def test_the_control_is_the_recall_of_other_lyrics() -> None:
    asked = [["sun", "and", "moon"], ["and", "rain"], ["stone", "and", "wind", "and"]]
    heard = [["sun", "and"], ["and"], ["nothing"]]
    found = measure_recall(asked, heard)
    assert found["recall"] == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert found["control"] == pytest.approx((1 / 2 + 1 / 4 + 1 / 3 + 1 / 4 + 0 + 0) / 6)
    assert (found["words_asked"], found["words_heard"]) == (9, 4)


def test_only_the_right_order_of_lyrics_is_no_chance() -> None:
    asked = [[f"word{piece}{place}" for place in range(5)] + ["the"] for piece in range(8)]
    assert measure_recall(asked, asked)["chance"] < 0.001
    common = measure_recall(asked, [["the"]] * 8)
    assert common["chance"] == 1
    assert common["recall"] == common["control"] > 0


def test_one_piece_has_no_control() -> None:
    with pytest.raises(ValueError, match="two pieces or more with lyrics are needed, got 1"):
        measure_recall([["a"]], [["a"]])
