"""Arrays of sound: what is taken, what comes out, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jukebox_hf.audio import as_audio, as_mono, load_audio, resample, save_audio


def test_arrays_and_tensors_come_out_alike_and_are_not_touched() -> None:
    samples = np.linspace(-1, 1, 24, dtype=np.float64).reshape(2, 12)
    samples.flags.writeable = False
    expected = torch.from_numpy(samples.astype(np.float32))
    assert torch.equal(as_audio(samples), expected)
    assert torch.equal(as_audio(samples[:, ::-1]), expected.flip(1))
    assert torch.equal(as_audio(expected.double().requires_grad_()), expected)
    assert torch.equal(as_audio(samples[0]), expected[:1])
    assert torch.equal(as_mono(samples, 8000, 8000), expected.mean(dim=0, keepdim=True))
    assert torch.equal(as_mono(samples[0], 8000, 4000), resample(expected[:1], 8000, 4000))


@pytest.mark.parametrize(
    ("samples", "rate", "message"),
    [
        ([0.0, 1.0], 8000, "must be an array of floating-point numbers, got list"),
        (None, 8000, "an array of floating-point numbers, got NoneType"),
        (np.zeros(9, np.int16), 8000, "got torch.int16; divide integers by the largest"),
        (np.zeros(9, "U3"), 8000, "must be floating-point numbers, got <U3"),
        (np.zeros((3, 1, 9)), 8000, r"got shape \(3, 1, 9\)"),
        (np.zeros(0), 8000, "with at least one sample"),
        (np.zeros((900, 2)), 8000, r"is \(900, 2\); transpose it"),
        (np.full(9, np.inf), 8000, "not finite numbers"),
        (np.zeros(9), None, "say sampling_rate=..., such as 22050, which this model reads"),
        (np.zeros(9), 44.1, "a sampling rate must be a positive integer, got 44.1"),
    ],
)
def test_what_is_no_sound_is_refused(samples: Any, rate: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        as_mono(samples, rate, 22050)


def test_arrays_are_written(tmp_path: Path) -> None:
    samples = np.float64([[0.5, -0.25, 0.125]])
    save_audio(tmp_path / "x.wav", samples, 8000)
    assert load_audio(tmp_path / "x.wav").tolist() == samples.tolist()
