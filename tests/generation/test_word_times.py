"""Word times follow the attention, once through the lyrics, and survive a trip through `.lrc`."""

import numpy as np
import pytest
import torch

from jukebox_hf.generation.alignment import LyricAlignment
from jukebox_hf.generation.word_times import best_reading, to_lrc, word_times
from jukebox_hf.labels import parse_lrc

CODE_SECONDS = 0.01
LYRICS = "one two three\nfour five  six\n\nseven eight nine ten\neleven"


def sung(lyrics: str, character_of_code: list[int | None], *, noise: float = 0.0) -> LyricAlignment:
    """An alignment whose code t attends mostly to one character, which is in the next column."""
    generator = torch.Generator().manual_seed(0)
    weights = noise * torch.rand(len(character_of_code), len(lyrics), generator=generator)
    for code, character in enumerate(character_of_code):
        if character is not None and character + 1 < len(lyrics):
            weights[code, character + 1] += 0.5
    return LyricAlignment(weights, lyrics, CODE_SECONDS)


def evenly(first: int, last: int, codes_each: int) -> list[int | None]:
    return [character for character in range(first, last) for _ in range(codes_each)]


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_words_are_found_where_the_attention_is(noise: float) -> None:
    words = word_times(sung(LYRICS, evenly(0, len(LYRICS), 8), noise=noise))
    assert [word.text for word in words] == LYRICS.split()
    for word in words:
        assert LYRICS[word.first :].startswith(word.text)
        assert word.start_seconds == pytest.approx(word.first * 0.08, abs=0.03)
        assert word.end_seconds == pytest.approx((word.first + len(word.text)) * 0.08, abs=0.09)
    assert min(word.confidence for word in words) > 0.3


def test_a_part_of_the_lyrics_gives_only_its_words() -> None:
    first, last = LYRICS.index("four"), LYRICS.index("seven")
    words = word_times(sung(LYRICS, evenly(first, last, 6)))
    assert [word.text for word in words] == ["four", "five", "six"]
    assert words[0].start_seconds == pytest.approx(0, abs=0.03)


def test_times_never_go_back_or_leave_the_piece() -> None:
    generator = torch.Generator().manual_seed(3)
    for codes in (1, 2, 7, 300):
        weights = torch.rand(codes, len(LYRICS), generator=generator) ** 4
        alignment = LyricAlignment(weights, LYRICS, CODE_SECONDS)
        words = word_times(alignment)
        times = [time for word in words for time in (word.start_seconds, word.end_seconds)]
        assert times == sorted(times)
        assert all(0 <= time <= alignment.duration_seconds + 1e-9 for time in times)
        assert all(0 <= word.confidence <= 1 for word in words)


def test_a_long_jump_leaves_words_out_and_a_short_one_does_not() -> None:
    lyrics = "a b c " + "x " * 30 + "end of it"
    end = lyrics.index("end")
    jump = word_times(sung(lyrics, [*evenly(0, 5, 10), *evenly(end, len(lyrics), 10)]))
    assert [word.text for word in jump] == ["a", "b", "c", "end", "of", "it"]
    short = [*evenly(0, 1, 10), *evenly(4, 6, 10)]  # skips " b "
    words = word_times(sung("a b c d", short))
    assert [word.text for word in words][:3] == ["a", "b", "c"]
    assert words[0].start_seconds < words[1].start_seconds < words[2].start_seconds


def test_without_attention_there_are_no_words() -> None:
    assert word_times(LyricAlignment(torch.zeros(50, 3), "abc", CODE_SECONDS)) == []
    assert word_times(LyricAlignment(torch.zeros(50, 0), "", CODE_SECONDS)) == []
    assert word_times(LyricAlignment(torch.zeros(0, 3), "abc", CODE_SECONDS)) == []
    assert word_times(LyricAlignment(torch.ones(5, 1), "a", CODE_SECONDS)) == []  # has no column
    assert to_lrc([], "abc") == ""


def test_the_best_reading_equals_the_best_of_all() -> None:
    """Against every path through small tables."""
    import itertools

    from jukebox_hf.generation.word_times import FLOOR, MOVE_COST

    generator = np.random.default_rng(0)
    for _ in range(20):
        weights = generator.random((5, 4)).astype(np.float32)
        logs = np.log(weights + FLOOR)

        def score(path: tuple[int, ...], logs: np.ndarray = logs) -> float:
            moved = path[-1] - path[0]
            return float(sum(logs[t, c] for t, c in enumerate(path))) - MOVE_COST * moved

        paths = [p for p in itertools.product(range(4), repeat=5) if list(p) == sorted(p)]
        found = best_reading(weights)
        assert score(tuple(found)) == pytest.approx(max(map(score, paths)), abs=1e-4)


def test_lrc_is_read_back() -> None:
    words = word_times(sung(LYRICS, evenly(0, len(LYRICS), 8)))
    text = to_lrc(words, LYRICS)
    assert text.startswith("[00:00.00]<00:00.00>one <00:00.3")
    timed = parse_lrc(text)
    assert timed.text.split() == LYRICS.split()
    assert [line.split() for line in timed.text.strip().split("\n")] == [
        line.split() for line in LYRICS.split("\n") if line
    ]
    starts = {segment.text.strip(): segment.start_seconds for segment in timed.segments}
    for word in words:
        assert starts[word.text] == pytest.approx(word.start_seconds, abs=0.006)


def test_records_are_plain() -> None:
    word = word_times(sung("hi you", evenly(0, 6, 10)))[0]
    assert word.to_record()["text"] == "hi"
    assert set(word.to_record()) == {
        "text",
        "first_character",
        "start_seconds",
        "end_seconds",
        "confidence",
    }
