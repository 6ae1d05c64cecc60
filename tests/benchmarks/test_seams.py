"""The arithmetic behind what is said about seams, on data whose answer is known."""

import argparse
from pathlib import Path

import pytest
import torch

from jukebox_hf import JukeboxPipeline
from jukebox_hf.codes import Codes, save_codes
from tests.benchmarks.seams import (
    bits_after_seams,
    flux_at_seams,
    measure,
    prompts_for,
    spectral_flux,
)
from tests.benchmarks.window_inputs import PieceInputs, bits_of_piece
from tests.tiny import tiny_system


def bits_with(excess: float, codes: int, seams: list[int], length: int = 4000) -> torch.Tensor:
    """Bits around 5, and `excess` more in the first `codes` after every seam."""
    bits = 5 + 0.1 * torch.randn(length, generator=torch.Generator().manual_seed(len(seams)))
    for seam in seams:
        bits[seam : seam + codes] += excess
    return bits


def test_excess_is_found_where_it_is_and_ends_where_it_ends() -> None:
    pieces = [(bits_with(1.0, 96, seams), seams) for seams in ([1000, 2000], [900, 1800, 2700])]
    found = bits_after_seams(pieces, bin_codes=32, measured=512)
    assert found.elsewhere == pytest.approx(5.0, abs=0.02)
    torch.testing.assert_close(found.mean[:3], torch.ones(3), rtol=0, atol=0.05)
    torch.testing.assert_close(found.mean[3:], torch.zeros(13), rtol=0, atol=0.06)
    assert found.normal_after == 96
    assert found.error.max() < 0.05


def test_without_excess_it_is_normal_at_once_and_with_more_never() -> None:
    seams = [1000, 2000, 3000]
    assert bits_after_seams([(bits_with(-1.0, 64, seams), seams)], measured=256).normal_after == 0
    found = bits_after_seams([(bits_with(1.0, 256, seams), seams)], measured=256)
    assert found.normal_after is None


def test_a_seam_counts_up_to_the_next_one_or_the_end() -> None:
    bits = torch.zeros(400)
    bits[110:] = 7.0  # belongs to the second seam and must not be counted for the first
    found = bits_after_seams([(bits, [100, 110])], bin_codes=10, measured=100)
    assert found.mean[0] == pytest.approx((0 + 7) / 2 - float(found.elsewhere))
    assert found.mean[1] == pytest.approx(7 - float(found.elsewhere))


def test_nothing_to_compare_is_said() -> None:
    with pytest.raises(ValueError, match="need seams"):
        bits_after_seams([(torch.zeros(100), [])], measured=32)
    with pytest.raises(ValueError, match="take longer pieces"):
        bits_after_seams([(torch.zeros(100), [0])], measured=128)


def test_flux_of_a_steady_tone_is_nothing_and_a_click_is_a_peak() -> None:
    tone = torch.sin(torch.arange(32000) * 0.3)
    assert spectral_flux(tone).max() < 0.02
    tone[16000] += 20
    flux = spectral_flux(tone)
    found = flux_at_seams(flux, [16000], 500, window=1024)
    assert found.rank == 1.0
    assert found.ratio > 5
    assert flux_at_seams(flux, [5000], 500, window=1024).rank < 0.9


def test_seams_like_all_else_rank_in_the_middle() -> None:
    noise = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    found = flux_at_seams(spectral_flux(noise), list(range(9000, 190_000, 9000)), 500, window=1024)
    assert found.rank == pytest.approx(0.5, abs=0.2)
    assert found.ratio == pytest.approx(1.0, abs=0.05)


def test_flux_needs_seams() -> None:
    with pytest.raises(ValueError, match="need seams"):
        flux_at_seams(torch.rand(50), [], 500)


def test_bits_of_a_piece_are_those_of_its_windows(tmp_path: object) -> None:
    from pathlib import Path

    from jukebox_hf.hub import System

    system = System.open(tiny_system(Path(str(tmp_path)) / "model"))
    generator = torch.Generator().manual_seed(0)
    piece = {
        level: torch.randint(0, 16, (time,), generator=generator)
        for level, time in ((0, 96), (1, 24))
    }
    prior, inputs = system.load_prior(0), PieceInputs(system, 0, piece, artist=None, genre=None)
    assert inputs.starts(3) == [0, 32, 64]
    bits = bits_of_piece(prior, inputs)
    assert bits.shape == (96,)
    with torch.inference_mode():
        first, second = prior(**inputs.at(0)), prior(**inputs.at(16))
    assert float(bits[:32].mean()) == pytest.approx(float(first.music_loss), rel=1e-5)
    logits = second.logits[0, 16:].log_softmax(dim=-1)
    expected = -logits.gather(1, piece[0][32:48, None]).squeeze(1) / torch.log(torch.tensor(2.0))
    torch.testing.assert_close(bits[32:48], expected, rtol=1e-4, atol=1e-5)


def test_codes_of_a_file_are_cut_to_what_a_piece_can_be_made_of(tmp_path: Path) -> None:
    pipeline = JukeboxPipeline.from_pretrained(tiny_system(tmp_path / "model"))
    config = pipeline.system.vqvae_config()
    hops, top = config.hop_lengths, 20
    counts = {1: top * hops[2] // hops[1] + 1, 2: top}  # one code of level 1 too many
    levels = {level: torch.zeros(1, count, dtype=torch.int64) for level, count in counts.items()}
    path = tmp_path / "song.safetensors"
    fingerprint = config.codebook_fingerprint
    save_codes(path, Codes(levels, hops, config.sampling_rate, fingerprint, {}))
    given = argparse.Namespace(level=0, codes=path, takes=2)
    prompts = prompts_for(pipeline, given, {"artist": None, "genre": None})
    assert len(prompts) == 2
    primer = prompts[0].primer
    assert isinstance(primer, Codes)
    assert primer.levels[1].shape[1] == counts[1] - 1
    assert prompts[0].seconds == top * hops[2] / config.sampling_rate


@pytest.mark.parametrize("chain_starts", ["primed", "cold"])
def test_measurement_says_what_it_measured(chain_starts: str, tmp_path: Path) -> None:
    given = argparse.Namespace(
        model=str(tiny_system(tmp_path / "model")),
        level=1,
        codes=None,
        seconds=2.4,
        chains=3,
        chain_starts=chain_starts,
        takes=1,
        artist=None,
        genre="rock",
        precision="float32",
        seed=1,
    )
    found = measure(given)
    assert found["seams"] == 2
    assert found["chain_starts"] == chain_starts
    assert len(found["onset_strength"]) == 5
    assert min(found["onset_strength"]) > 0
