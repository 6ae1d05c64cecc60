"""Loading as music research loads: cut at the file's rate, resampled, rounded up, normalised."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from jukebox_hf.audio import AudioReader, load_audio, peak_normalize, resample
from tests.golden_data import golden, golden_stems, load_golden, load_json

EXACT: dict[str, Any] = {"cut": "file", "round_up": True, "normalize": True}
CASES = [
    stem
    for stem in golden_stems("representations/*")
    if "samples_after_loading" in load_json(f"{stem}.json")
]


def part_of(meta: dict[str, Any]) -> dict[str, float]:
    """The part that a case was read from, as times."""
    if "load_offset" not in meta:
        return {}
    return {
        "start_seconds": meta["load_offset"],
        "end_seconds": meta["load_offset"] + meta["load_duration"],
    }


@pytest.mark.parametrize("stem", CASES)
def test_audio_equals_that_of_the_reference_library(stem: str) -> None:
    """Bit for bit where it was measured; other builds of soxr may round otherwise."""
    tensors, meta = load_golden(stem)
    path = golden(f"representations/{meta['file']}")
    audio = load_audio(path, 44100, **EXACT, quality="HQ", **part_of(meta))
    torch.testing.assert_close(audio[0], tensors["audio"], rtol=0, atol=1e-6)
    if "native_start_sample" in meta:
        with AudioReader(path, 44100) as reader:
            first, last = reader.native_part(**part_of(meta))
        assert (first, last - first) == (meta["native_start_sample"], meta["native_samples"])


@pytest.mark.parametrize("stem", CASES)
def test_audio_equals_that_of_the_older_resampler(stem: str) -> None:
    tensors, meta = load_golden(stem)
    if "audio_kaiser_best" not in tensors:
        return  # the file has the wanted rate already
    path = golden(f"representations/{meta['file']}")
    audio = load_audio(path, 44100, **EXACT, quality="kaiser_best", **part_of(meta))
    torch.testing.assert_close(audio[0], tensors["audio_kaiser_best"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("quality", ["HQ", "VHQ", "kaiser_best"])
@pytest.mark.parametrize(("from_rate", "to_rate"), [(48000, 44100), (22050, 44100), (44100, 8000)])
def test_a_tone_keeps_its_pitch_and_level_in_every_quality(
    quality: Any, from_rate: int, to_rate: int
) -> None:
    def tone(rate: int) -> torch.Tensor:
        time = torch.arange(rate, dtype=torch.float64) / rate
        wave = torch.sin(2 * torch.pi * 440 * time) * torch.sin(torch.pi * time) ** 2
        return wave.float()

    found = resample(tone(from_rate), from_rate, to_rate, quality=quality)
    torch.testing.assert_close(found, tone(to_rate), rtol=0, atol=1e-4)


@pytest.mark.parametrize("quality", ["HQ", "VHQ", "kaiser_best"])
@pytest.mark.parametrize("num_samples", [1, 2, 160, 1001])
def test_a_length_is_rounded_up_with_zeros(quality: Any, num_samples: int) -> None:
    audio = torch.linspace(0.1, 1, num_samples)[None]
    nearest = resample(audio, 48000, 44100, quality=quality)
    longest = resample(audio, 48000, 44100, quality=quality, round_up=True)
    assert longest.shape[1] == -(-num_samples * 44100 // 48000)
    assert torch.equal(longest[:, : nearest.shape[1]], nearest)
    assert not longest[:, nearest.shape[1] :].any()


def test_a_part_cut_at_the_files_rate_is_resampled_by_itself(tmp_path: Path) -> None:
    """And a part cut afterwards is that part of the whole file, in every quality."""
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (9600, 2))
    path = tmp_path / "noise.wav"
    soundfile.write(path, noise, 48000, subtype="FLOAT")
    mixed = torch.from_numpy(noise.astype(np.float32)).mean(1)[None]
    part = load_audio(path, 44100, start_seconds=0.1, end_seconds=0.15001, cut="file", quality="HQ")
    assert torch.equal(part, resample(mixed[:, 4800:7200], 48000, 44100, quality="HQ"))
    for quality in ("HQ", "VHQ", "kaiser_best"):
        whole = load_audio(path, 44100, quality=quality)
        cut = load_audio(path, 44100, start_seconds=0.1, end_seconds=0.15, quality=quality)
        assert torch.equal(cut, whole[:, 4410:6615])


def test_silence_is_not_divided_by_its_peak() -> None:
    assert torch.equal(peak_normalize(torch.zeros(1, 5)), torch.zeros(1, 5))
    assert torch.equal(peak_normalize(torch.tensor([[0.1, -0.5]])), torch.tensor([[0.2, -1.0]]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cut": "middle"}, "cut must be 'resampled' or 'file', got 'middle'"),
        ({"round_up": True}, "round_up goes with cut='file'"),
        ({"quality": "best"}, "quality must be one of VHQ, HQ, kaiser_best, got 'best'"),
        ({"cut": "file", "start_seconds": 3}, "lasts 0.20 seconds, but its part from 3"),
    ],
)
def test_wrong_options_are_refused(options: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, np.full(1600, 0.1), 8000)
    with pytest.raises(ValueError, match=message):
        load_audio(path, 44100, **options)
