import numpy as np
import numpy.typing as npt
import pytest

from jukebox_hf.listening.copies import CodeArray, cut_windows, longest_run, nearest_window


def random_codes(seed: int, length: int, size: int) -> CodeArray:
    return np.random.default_rng(seed).integers(size, size=length)


def test_a_copied_window_is_found_where_it_is() -> None:
    songs = [random_codes(seed, 300, 64) for seed in range(3)]
    window = songs[1][120:160].copy()
    assert nearest_window(window, songs) == (1, 120, 1.0, 40)
    window[10] += 1
    quote = nearest_window(window, songs)
    assert (quote.song, quote.start, quote.longest_run) == (1, 120, 29)
    assert quote.equal_share == pytest.approx(39 / 40)


def test_unrelated_windows_share_little() -> None:
    songs = [random_codes(1, 2000, 512)]
    assert nearest_window(random_codes(2, 50, 512), songs).equal_share < 0.1
    with pytest.raises(ValueError, match="no song is as long as a window of 50 codes"):
        nearest_window(random_codes(2, 50, 512), [songs[0][:49]])


@pytest.mark.parametrize(
    ("flags", "run"), [([], 0), ([0, 0], 0), ([1, 1, 0, 1], 2), ([1, 1, 1], 3), ([0, 1], 1)]
)
def test_longest_run(flags: list[int], run: int) -> None:
    array: npt.NDArray[np.bool_] = np.array(flags, dtype=bool)
    assert longest_run(array) == run


def test_windows_do_not_overlap_and_spread_evenly() -> None:
    songs = [np.arange(10), np.arange(3), np.arange(100, 112)]
    assert [window.tolist() for window in cut_windows(songs, 5, 99)] == [
        [0, 1, 2, 3, 4],
        [5, 6, 7, 8, 9],
        [100, 101, 102, 103, 104],
        [105, 106, 107, 108, 109],
    ]
    assert [window[0] for window in cut_windows(songs, 5, 2)] == [0, 105]
    assert cut_windows(songs, 50, 4) == []
