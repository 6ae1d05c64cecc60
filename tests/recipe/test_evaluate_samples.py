import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from jukebox_hf.audio import save_audio
from jukebox_hf.data import encode_dataset, open_songs
from jukebox_hf.hub import System
from model_cards.recipe import evaluate_samples, listening
from model_cards.recipe.listening import Heard, remember
from tests.tiny import SAMPLING_RATE, tiny_system

SECONDS = 7
GENRES = {"rock": 300.0, "jazz": 700.0, "folk": 1500.0}


class Ears:
    """Hears the pitch of a tone, and nothing else."""

    heard = 0

    def listen(self, audio: Tensor, sampling_rate: int) -> Heard:
        Ears.heard += 1
        spectrum = torch.fft.rfft(audio[:SAMPLING_RATE]).abs()
        pitch = float(spectrum.argmax())
        patches = np.full((3, 2), pitch, np.float32) + np.arange(6).reshape(3, 2)
        return Heard(patches.astype(np.float32), -patches.astype(np.float32))


@pytest.fixture
def ears(monkeypatch: pytest.MonkeyPatch) -> type[Ears]:
    monkeypatch.setattr(evaluate_samples, "Listener", Ears)
    monkeypatch.setattr(Ears, "heard", 0)
    return Ears


def write_music(folder: Path, songs: int, *, seed: int = 0) -> Path:
    folder.mkdir()
    lines = ["file_name,artist,genre"]
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(SECONDS * SAMPLING_RATE) / SAMPLING_RATE
    for genre, hertz in {**GENRES, "polka": 2500.0, "vocal": 100.0}.items():
        for number in range(songs):
            pitch = hertz + 20 * float(torch.rand((), generator=generator))
            pulse = 0.6 + 0.4 * torch.sin(2 * torch.pi * (1 + number) * time + pitch)
            noise = 0.01 * torch.randn(len(time), generator=generator)
            tone = 0.3 * pulse * torch.sin(2 * torch.pi * pitch * time) + noise
            save_audio(folder / f"{genre}{number}.wav", tone[None], SAMPLING_RATE)
            lines.append(f"{genre}{number}.wav,ada,{genre}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_music(tmp_path_factory.mktemp("songs") / "music", 5)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_system(tmp_path_factory.mktemp("model") / "model")


def test_music_measured_as_samples_is_found_to_be_music(
    music: Path,
    model: Path,
    tmp_path: Path,
    ears: type[Ears],
    capsys: pytest.CaptureFixture[str],
) -> None:
    codes = tmp_path / "codes"
    encode_dataset(open_songs(music).songs, System.open(model).load_vqvae(), codes)
    samples = write_music(tmp_path / "samples", 2, seed=1)
    # A sample that is a training song.
    (samples / "folk0.wav").write_bytes((music / "folk3.wav").read_bytes())
    command = ["--model", str(model), "--samples", str(samples), "--dataset", str(music)]
    command += ["--codes", str(codes), "--work", str(tmp_path / "work"), "--clips-per-genre", "4"]
    command += ["--seconds", "6.5", "--takes-per-genre", "2", "--validation-fraction", "0.15"]
    assert evaluate_samples.main([*command, "--json"]) == 0
    records = json.loads(capsys.readouterr().out)["records"]
    # Polka is no genre of the model, and singing is not music here.
    assert [record["genre"] for record in records["samples"]] == ["folk"] * 2 + ["jazz"] * 2 + [
        "rock"
    ] * 2
    recorded = [hit for hit in records["hits"] if hit["centroids"] == "recorded"]
    assert {hit["network"] for hit in recorded} == {"msd", "mtt"}
    for hit in recorded:
        assert hit["hits"] == hit["clips"]
    for one in records["distances"]["recorded"].values():
        assert one["found"] < min(one["other"].values())
    measures = records["music"]["measures"]
    assert measures["silent_share"]["samples"]["mean"] == 0
    assert abs(measures["rms_db"]["difference"]["mean"]) < 0.5
    assert records["music"]["distance"]["rows"] > 0
    likeness = {record["sample"]: record for record in records["mel_likeness"]["samples"]}
    split = [record["song"] for record in records["mel_likeness"]["held_out"]]
    assert split
    if likeness["folk0.wav"]["song"] == "folk3.wav":  # unless that song is held out
        assert likeness["folk0.wav"]["correlation"] == pytest.approx(1, abs=0.01)
        assert records["music"]["copies"]["most"] > 0.9
    heard = ears.heard
    assert evaluate_samples.main(command) == 0
    assert ears.heard == heard + 6  # only the samples are heard again
    printed = capsys.readouterr().out
    assert "| samples " in printed
    assert "rebuilt, folk" in printed
    assert "nearest 3 s of training music, mel" in printed
    assert "| loudness (dB of full scale)" in printed
    assert "Note: the folder is no session" in printed


def test_preparing_hears_clips_and_makes_nothing(
    music: Path, tmp_path: Path, ears: type[Ears], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--dataset", str(music), "--work", str(tmp_path), "--prepare"]
    command += [
        "--seconds",
        "6.5",
        "--sampling-rate",
        str(SAMPLING_RATE),
        "--genres",
        "rock",
        "jazz",
    ]
    assert evaluate_samples.main([*command, "--clips-per-genre", "3"]) == 0
    assert capsys.readouterr().out == ""
    assert len(list((tmp_path / "heard").iterdir())) == ears.heard >= 6


def test_prompts_are_as_many_of_each_genre(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        evaluate_samples, "make_takes", lambda folder, model, prompts, seed: asked.extend(prompts)
    )
    monkeypatch.setattr(evaluate_samples, "session_samples", lambda folder: [])
    words = ["--model", "m", "--dataset", "d", "--work", str(tmp_path), "--takes-per-genre", "2"]
    given = evaluate_samples.parse_arguments(words)
    assert evaluate_samples.make_samples(given, ["folk", "rock"]) == []
    assert [prompt["genre"] for prompt in asked] == ["folk", "folk", "rock", "rock"]
    assert {prompt["seconds"] for prompt in asked} == {10.0}


def test_what_was_heard_is_kept(tmp_path: Path) -> None:
    audio = 0.1 * torch.randn(SAMPLING_RATE, generator=torch.Generator().manual_seed(1))
    first = remember(tmp_path, "a clip", lambda: Ears().listen(audio, SAMPLING_RATE))

    def fail() -> Heard:
        raise AssertionError("heard again")

    second = remember(tmp_path, "a clip", fail)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    with pytest.raises(AssertionError, match="heard again"):
        remember(tmp_path, "another clip", fail)
    assert listening.pieces([first, second], "msd").shape == (2, 2)
    assert listening.rows([first, second], "mtt").shape == (6, 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give --model, or --samples, or --prepare"),
        (["--samples", "s", "--seconds", "3"], "--seconds must be at least 6, got 3"),
        (["--samples", "s", "--takes-per-genre", "0"], "must be at least 1"),
    ],
)
def test_wrong_options_are_explained(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        evaluate_samples.main(["--dataset", "d", "--work", "w", *words])
    assert message in capsys.readouterr().err


def test_missing_music_is_explained(
    tmp_path: Path, ears: type[Ears], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--samples", "s", "--dataset", str(tmp_path / "none"), "--work", str(tmp_path)]
    assert evaluate_samples.main(command) == 1
    assert capsys.readouterr().err.startswith("error: ")
