"""The surroundings of the network, whose weights are not installed where tests run."""

import numpy as np
import pytest

from jukebox_hf.listening import notes


@pytest.mark.parametrize("seconds", [0.01, 1.0, 5.0, 61.3])
def test_frames_of_joined_windows_are_where_they_say(seconds: float) -> None:
    samples = round(seconds * notes.SAMPLING_RATE)
    windows = notes.cut_frames(np.arange(samples, dtype=np.float32))
    assert windows.shape[1] == notes.WINDOW_SAMPLES
    # What a frame of a window stands for: where it begins in the audio, plus the silence before.
    starts = np.arange(172)[None] * notes.FRAME_HOP
    frames = np.take_along_axis(windows, np.minimum(starts, windows.shape[1] - 1), axis=1)
    joined = notes.join_windows(frames[:, :, None].astype(np.float32), samples)
    # To the end of the file: every whole frame is there, and at its place.
    expected = np.arange(samples // notes.FRAME_HOP) * notes.FRAME_HOP
    np.testing.assert_array_equal(joined[:, 0], expected)


def test_note_shares_count_frames_and_notes_that_are_loud_enough() -> None:
    probabilities = np.zeros((4, 88), np.float32)
    probabilities[1, 3:5] = 0.9
    probabilities[2, 7] = 0.31
    probabilities[3, 7] = 0.29
    audio = np.full(4 * notes.FRAME_HOP, 0.1, np.float32)
    assert notes.note_shares(probabilities, audio) == (0.5, 0.75)
    audio[notes.FRAME_HOP : 2 * notes.FRAME_HOP] = 0.003  # -50.5 dB
    assert notes.note_shares(probabilities, audio) == (0.25, 0.25)
