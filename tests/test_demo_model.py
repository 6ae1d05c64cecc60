"""The model that comes with the package: there, small, legal, trained, and making music."""

import math
from pathlib import Path

import pytest
import soundfile
import torch
from click.testing import CliRunner

from jukebox_cli.main import main
from jukebox_hf.hub import System, load_training_facts
from jukebox_hf.hub.built_in import built_in_model

COMPONENTS = ("vqvae", "prior_0", "prior_1", "prior_2")


@pytest.fixture(scope="module")
def system() -> System:
    return System.open(built_in_model())


@pytest.fixture(scope="module")
def audio() -> torch.Tensor:
    """Six seconds of a chord whose notes begin one after the other, (1, 1, samples)."""
    seconds = torch.arange(131072) / 22050
    notes = [
        torch.sin(2 * math.pi * pitch * seconds) * (seconds > start)
        for pitch, start in ((220.0, 0), (277.2, 0.7), (329.6, 1.4), (440.0, 2.1))
    ]
    return (0.1 * torch.stack(notes).sum(0))[None, None]


def test_it_is_small_and_holds_nothing_that_runs(system: System) -> None:
    files = [path for path in Path(system.source).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 45_000_000
    assert max(path.stat().st_size for path in files) <= 15_000_000
    assert {path.suffix for path in files} <= {
        "", ".json", ".md", ".safetensors", ".ogg", ".png",
    }  # fmt: skip


def test_it_says_what_it_is_and_how_it_was_made(system: System) -> None:
    folder = Path(system.source)
    assert system.manifest.licence == "CC-BY-SA-4.0"
    assert (folder / "LICENSE").is_file()
    assert "CC-BY-SA-3.0" in (folder / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for name in COMPONENTS:
        facts = load_training_facts(system.settings_path(name))
        assert facts is not None
        assert "jukebox train " in (facts.command or "")
        assert facts.figures
        assert all(figure.command for figure in facts.figures)


@pytest.mark.parametrize(("level", "decibels"), [(0, -12.0), (1, -8.0), (2, -4.0)])
def test_its_codec_has_learnt(
    system: System, audio: torch.Tensor, level: int, decibels: float
) -> None:
    codec = system.load_vqvae(dtype="float32")
    with torch.no_grad():
        heard = codec.decode(*codec.encode(audio, [level]), level)
    window = torch.hann_window(2048)
    real, rebuilt = (
        torch.stft(each[0, 0], 2048, 512, window=window, return_complex=True).abs()
        for each in (audio, heard)
    )
    convergence = (rebuilt - real).norm() / real.norm()
    assert 20 * math.log10(convergence.item()) < decibels


@pytest.mark.parametrize("level", [0, 1, 2])
def test_its_priors_have_learnt(system: System, audio: torch.Tensor, level: int) -> None:
    prior, codec = system.load_prior(level, dtype="float32"), system.load_vqvae(dtype="float32")
    length, ratio = prior.config.context_length, prior.config.upper_ratio
    with torch.no_grad():
        codes = codec.encode(audio)
    window = codes[level][:, :length]
    upper = None if level == 2 else codes[level + 1][:, : length // ratio]
    given = system.processor(level)(genre="electronic", total_seconds=60)
    order = torch.randperm(length, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        bits, shuffled_bits = (
            prior(each, upper_codes=upper, **given).music_loss.item()
            for each in (window, window[:, order])
        )
    assert bits < shuffled_bits - 0.5
    assert bits < math.log2(prior.config.codebook_size)


def test_it_makes_a_second_of_music(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["generate", "--genre", "techno", "--seconds", "1", "--seed", "1", "-o", "song"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "electronic" in result.stderr  # a word of its own for techno
    (song,) = (tmp_path / "song").glob("*.flac")
    music, rate = soundfile.read(song)
    assert rate == 22050
    assert len(music) == pytest.approx(22050, abs=128)
    assert 0.005 < (music**2).mean() ** 0.5 < 0.5
    assert abs(music).max() < 1
