"""The ladder, with a tiny model and noise for music."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model_cards.recipe.ladder import main
from tests.tiny import SAMPLING_RATE, tiny_system


def write_songs(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        audio = 0.1 * np.random.default_rng(number).standard_normal(4 * SAMPLING_RATE)
        soundfile.write(folder / f"{number}.wav", audio.astype(np.float32), SAMPLING_RATE)
    return folder


def test_every_stage_is_a_rung_and_a_second_climb_samples_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, songs = tiny_system(tmp_path / "model"), write_songs(tmp_path / "songs", 2)
    words = ["--model", str(model), "--songs", str(songs), "--work", str(tmp_path / "work")]
    words += ["--seconds", "1", "--per-genre", "2", "--json"]
    words += ["--offset-seconds", "1", "--total-seconds", "4", "--one-chain"]
    assert main(words) == 0
    rungs = json.loads(capsys.readouterr().out)["records"]["rungs"]
    assert list(rungs) == [
        "recorded",
        *(f"codec, level {level}" for level in range(3)),
        "real level 1, finer ones sampled",
        "real level 2, finer ones sampled",
        "all sampled",
        "all sampled, level 0 again in one chain",
    ]
    assert all(len(values["rms_db"]) == 2 for values in rungs.values())
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.flac")}
    assert len(files) == 8
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["records"]["rungs"] == rungs
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_codec_rungs_need_no_sampling_and_too_few_songs_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, songs = tiny_system(tmp_path / "model"), write_songs(tmp_path / "songs", 3)
    words = ["--model", str(model), "--songs", str(songs), "--work", str(tmp_path / "work")]
    assert main([*words, "--seconds", "1", "--rungs", "codec"]) == 0
    assert "| codec, level 2 " in capsys.readouterr().out
    assert not (tmp_path / "work").exists()
    assert main([*words, "--seconds", "60"]) == 1
    assert "two excerpts are needed" in capsys.readouterr().err
