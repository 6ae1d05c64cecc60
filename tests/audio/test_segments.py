"""Tensors to pydub and back."""

import pytest
import torch

from jukebox_hf.audio import from_segment, to_segment

from .sounds import noisy_sweep


@pytest.mark.parametrize("channels", [1, 2])
def test_a_segment_keeps_all_that_24_bits_hold(channels: int) -> None:
    audio = noisy_sweep(3000, channels=channels)
    segment = to_segment(audio, 44100)
    assert (segment.channels, segment.frame_rate, len(segment)) == (channels, 44100, 68)
    found, rate = from_segment(segment)
    assert rate == 44100
    torch.testing.assert_close(found, audio, atol=2**-24, rtol=0)


def test_segments_of_16_bits_and_pieces_of_them_come_back() -> None:
    segment = to_segment(torch.tensor([0.5, -0.25, 1.5, -1.5]), 1000).set_sample_width(2)
    found, _ = from_segment(segment[1:4])
    torch.testing.assert_close(found, torch.tensor([[-0.25, 1.0, -1.0]]), atol=1e-4, rtol=0)


def test_what_is_no_audio_is_refused() -> None:
    with pytest.raises(ValueError, match=r"got shape \(1, 2, 3\)"):
        to_segment(torch.zeros(1, 2, 3), 44100)
