"""Which window of which song an item is: arithmetic, tried on everything small."""

from itertools import product

import numpy as np
import pytest

from jukebox_hf.data.items import ItemWindows, check_lengths
from jukebox_hf.data.song_windows import WindowTable, draw


def place_on_tape(lengths: list[int], size: int, number: int, moved: int) -> tuple[int, int]:
    """The rule of the release, word by word: songs laid end to end, a window moved into the song
    that holds its middle."""
    offset = number * size + moved
    middle = offset + size // 2
    start = end = song = 0
    for number, length in enumerate(lengths):
        if length >= size and end <= middle:
            song, start, end = number, end, end + length
    if offset > end - size:
        offset = max(start, offset - size // 2)
    elif offset < start:
        offset = min(end - size, offset + size // 2)
    return song, offset - start


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_windows_are_those_of_the_release_and_lie_in_one_song(size: int) -> None:
    for lengths in product(range(8), repeat=3):
        table = WindowTable(lengths, size)
        assert len(table) == sum(length for length in lengths if length >= size) // size
        for number, moved in product(range(len(table)), range(-(size // 2), size - size // 2)):
            shift = (moved + size // 2 + 0.5) / size
            window = table.window(number, shift)
            assert window == place_on_tape(list(lengths), size, number, moved)
            assert 0 <= window.offset <= lengths[window.song] - size
        for number in range(len(table)):
            assert table.window(number) == place_on_tape(list(lengths), size, number, 0)


def test_number_out_of_range_and_empty_windows_are_refused() -> None:
    with pytest.raises(IndexError, match="there are 2 windows, got number 2"):
        WindowTable([5, 5], size=4).window(2)
    with pytest.raises(ValueError, match="at least one unit"):
        WindowTable([5], size=0)
    assert len(WindowTable([1, 2], size=3)) == 0
    assert len(WindowTable([], size=3)) == 0


def test_draws_are_pure_different_and_uniform() -> None:
    assert draw(1, 2, 3) == draw(1, 2, 3)
    seen = {draw(*numbers) for numbers in product(range(3), repeat=4)}
    assert len(seen) == 3**4
    numbers = np.array([draw(7, 0, item) for item in range(2000)])
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert np.abs(numbers.mean(axis=0) - 0.5).max() < 0.02
    assert np.abs(np.corrcoef(numbers.T) - np.eye(3)).max() < 0.06


def test_draws_never_change() -> None:
    """Training goes on exactly where it was, also with a later version of this package."""
    frozen = [0.795700511181, 0.005615152766, 0.442228053415]
    assert [round(number, 12) for number in draw(2**64 - 1, 5, 6)] == frozen


def test_shifted_windows_reach_every_part_of_every_song() -> None:
    lengths, size = [50, 33, 41], 10
    items = ItemWindows(lengths, size, shift=True, seed=0)
    covered = [np.zeros(length, dtype=int) for length in lengths]
    for epoch in range(200):
        items.set_epoch(epoch)
        for item in range(len(items)):
            song, offset = items.pick(item).window
            covered[song][offset : offset + size] += 1
    assert min(song.min() for song in covered) > 0


def test_items_depend_on_epoch_and_seed_only_if_they_are_shifted() -> None:
    def picks(shift: bool, seed: int, epoch: int) -> list[object]:
        items = ItemWindows([1000], 10, shift=shift, seed=seed)
        items.set_epoch(epoch)
        return [items.pick(item).window for item in range(len(items))]

    assert picks(False, 0, 0) == picks(False, 1, 2)
    assert picks(True, 0, 1) == picks(True, 0, 1)
    assert picks(True, 0, 0) != picks(True, 0, 1) != picks(True, 1, 1)


def test_replacements_follow_the_item_and_are_always_the_same() -> None:
    items = ItemWindows([1000], 10, shift=False, seed=3)
    first, *others = [pick.window.offset for pick in items.picks(4)]
    assert first == 40
    assert len(set(others)) > 10
    assert [pick.window.offset for pick in items.picks(4)] == [first, *others]


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_that_are_no_64_bits_are_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="seed must be from 0"):
        ItemWindows([10], 1, shift=True, seed=seed)


def test_lengths_are_checked_with_one_clear_sentence() -> None:
    (short,) = check_lengths(["a", "b"], [3.0, 1.0], 2.0, "a clip")
    assert short == ("b", "too short: 1.00 seconds, a clip takes 2.00")
    with pytest.raises(
        ValueError, match=r"no song is as long as a clip of 2\.00 seconds, the longe"
    ):
        check_lengths(["a", "b"], [1.5, 1.0], 2.0, "a clip")
