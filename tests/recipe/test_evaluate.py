import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from jukebox_hf import JukeboxVQVAE, TrainingSettings, save_codes
from jukebox_hf.audio import save_audio
from jukebox_hf.codes import Codes
from jukebox_hf.data import encode_dataset, open_codes, open_songs
from jukebox_hf.training.song_split import open_split
from model_cards.recipe import evaluate_codec, evaluate_codes
from model_cards.recipe.evaluate_codec import log_mel_distance, si_sdr
from model_cards.recipe.figures import load_figures
from tests.tiny import SAMPLING_RATE, tiny_vqvae

SECONDS = 3


@pytest.fixture(scope="module")
def codec() -> JukeboxVQVAE:
    """A codec that uses all its codes: their vectors are latents of noise."""
    codec = tiny_vqvae()
    generator = torch.Generator().manual_seed(9)
    noise = 0.1 * torch.randn(1, 1, SECONDS * SAMPLING_RATE, generator=generator)
    with torch.no_grad():
        for level in range(codec.config.num_levels):
            latents = codec.encode_latents(noise, level)[0]
            vectors = codec.get_buffer(f"levels.{level}.codebook.vectors")
            vectors.copy_(latents[5 : 5 + codec.config.codebook_size])
    codec.restore_codebooks()
    return codec


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("music")
    for number in range(4):
        generator = torch.Generator().manual_seed(number)
        noise = 0.1 * torch.randn(1, SECONDS * SAMPLING_RATE, generator=generator)
        save_audio(folder / f"{number}.wav", noise, SAMPLING_RATE)
    return folder


@pytest.fixture(scope="module")
def codes(codec: JukeboxVQVAE, music: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("codes") / "codes"
    encode_dataset(open_songs(music).songs, codec, folder)
    return folder


def test_si_sdr_ignores_scale_and_measures_noise() -> None:
    generator = torch.Generator().manual_seed(1)
    signal = torch.randn(20_000, generator=generator)
    noise = torch.randn(20_000, generator=generator)
    assert si_sdr(signal, signal + 0.1 * noise) == pytest.approx(20, abs=0.3)
    assert si_sdr(signal, 7 * (signal + 0.1 * noise)) == pytest.approx(20, abs=0.3)
    assert si_sdr(signal, noise) < -20
    assert si_sdr(signal, torch.zeros(20_000)) == -math.inf


def test_log_mel_distance_is_the_difference_in_decibels() -> None:
    generator = torch.Generator().manual_seed(1)
    signal = torch.randn(20_000, generator=generator)
    assert log_mel_distance(signal, signal, 22_050) == 0
    assert log_mel_distance(signal, signal / 10, 22_050) == pytest.approx(20, abs=1e-3)
    # Silence is as far away as the floor allows.
    silence = log_mel_distance(signal, torch.zeros(20_000), 22_050)
    assert 60 < silence <= evaluate_codec.FLOOR_DB


def test_codec_metrics_of_every_level(
    codec: JukeboxVQVAE, music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codec.save_pretrained(tmp_path / "codec")
    arguments = ["--model", str(tmp_path / "codec"), "--dataset", str(music), "--seconds", "2"]
    assert evaluate_codec.main([*arguments, "--validation-fraction", "0", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    records = report["records"]["levels"]
    assert [record["hop_length"] for record in records] == [8, 32, 128]
    for record in records:
        assert len(record["clips"]) == 4
        assert record["si_sdr_db"] < 10  # random weights rebuild nothing
        assert 2 < record["perplexity"] <= codec.config.codebook_size
    figures = tmp_path / "out" / "codec.json"
    arguments += ["--validation-fraction", "0.25", "--figures", str(figures)]
    assert evaluate_codec.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "| 128 |" in printed
    assert "-8.3" in printed
    found = load_figures(figures)
    assert [figure.name for figure in found][:2] == [
        "Spectral convergence, level 0 (dB)",
        "SI-SDR, level 0 (dB)",
    ]
    assert found[0].dataset == "1 held-out songs, 2 s from the middle of each"
    assert str(tmp_path) not in found[0].command


def test_the_songs_held_out_are_those_of_the_run(
    codec: JukeboxVQVAE, music: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codec.save_pretrained(tmp_path / "codec")
    settings = TrainingSettings(task="vqvae", dataset=str(music), validation_fraction=0.5, seed=3)
    (tmp_path / "run").mkdir()
    settings.save(tmp_path / "run" / "settings.yaml")
    arguments = ["--model", str(tmp_path / "codec"), "--dataset", str(music), "--json"]
    arguments += ["--run", str(tmp_path / "run"), "--seconds", "1"]
    assert evaluate_codec.main(arguments) == 0
    levels = json.loads(capsys.readouterr().out)["records"]["levels"]
    split = open_split(settings, min_seconds=0, allow_codes=False)
    assert split.validation is not None
    assert [clip["song"] for clip in levels[0]["clips"]] == [song.name for song in split.validation]
    assert evaluate_codec.main([*arguments, "--split-seed", "4"]) == 1
    assert "held songs out with the seed 3, not 4" in capsys.readouterr().err


def test_a_folder_without_a_codec_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate_codec.main(["--model", str(tmp_path), "--dataset", "music"]) == 1
    assert "is not the folder of a codec: it has no config.json" in capsys.readouterr().err


def test_entropy_of_every_level(codes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["entropy", "--codes", str(codes), "--validation-fraction", "0.25"]
    assert evaluate_codes.main([*arguments, "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["level"] for record in records] == [0, 1, 2]
    assert all(record["unigram"] <= record["uniform"] + 0.2 for record in records)
    assert evaluate_codes.main([*arguments, "--level", "2"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_take_copied_from_training_is_found(
    codes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, _ = open_codes(codes).split(0.25, 0)
    copied = train.codes(1, 2)[20:100]
    take = tmp_path / "take.safetensors"
    info = train.info
    save_codes(
        take,
        Codes({2: copied[None]}, info.hop_lengths, info.sampling_rate, info.fingerprint, {}),
    )
    arguments = ["similarity", "--codes", str(codes), "--validation-fraction", "0.25"]
    arguments += ["--takes", str(take), "--window-seconds", "0.64"]
    assert evaluate_codes.main([*arguments, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["takes"]["windows"] == 2
    assert record["takes"]["mean_equal_share"] == 1
    assert record["takes"]["longest_run_codes"] == 40
    assert record["takes"]["nearest_song"] == train.songs[1].name
    assert record["takes"]["nearest_second"] == pytest.approx(20 * 128 / SAMPLING_RATE)
    assert record["held_out"]["max_equal_share"] < 1
    assert evaluate_codes.main(arguments) == 0
    assert "longest run 40" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["similarity"], "similarity needs --takes"),
        (["entropy", "--level", "7"], "holds codes of the levels 0, 1, 2"),
        (["entropy", "--validation-fraction", "0"], "no song is held out"),
        (["entropy", "--validation-fraction", "2"], "validation_fraction must be"),
    ],
)
def test_wrong_requests_are_explained_in_one_line(
    codes: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate_codes.main([*arguments, "--codes", str(codes)]) == 1
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_codes_of_another_codec_are_refused(
    codes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    take = tmp_path / "take.safetensors"
    zeros = torch.from_numpy(np.zeros((1, 50), dtype=np.int64))
    save_codes(take, Codes({2: zeros}, (8, 32, 128), SAMPLING_RATE, "sha256:other", {}))
    arguments = ["similarity", "--codes", str(codes), "--takes", str(take)]
    assert evaluate_codes.main(arguments) == 1
    assert "was made with another codec" in capsys.readouterr().err
