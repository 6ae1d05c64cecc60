"""Runs of an earlier version go on, and end with the weights that it would have had."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from jukebox_hf.training.settings import TrainingSettings
from jukebox_hf.training.trainer import JukeboxTrainer
from tests.training.song_runs import labelled_songs
from tests.training.tiny_runs import weights_of

RUNS = Path(__file__).parent / "runs"


@pytest.mark.parametrize("name", ["codec", "prior"])
def test_a_run_ends_with_the_weights_that_it_would_have_had(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the places in its settings are relative
    labelled_songs(Path("songs"))
    for run in ("codec", "prior"):
        shutil.copytree(RUNS / run, run)
    settings = TrainingSettings.load(Path(name) / "settings.yaml")
    said: list[str] = []
    trainer = JukeboxTrainer(settings.resumed_with({"steps": 4}), resume=True, say=said.append)
    trainer.train()
    assert not any("not those" in line for line in said)
    expected = load_file(RUNS / f"{name}_after_4_steps.safetensors")
    found = weights_of(trainer)
    assert set(found) == set(expected)
    before = load_file(RUNS / name / "checkpoints" / "step_00000002" / "model.safetensors")
    assert any(not torch.equal(found[key], before[key]) for key in before)
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, msg=lambda text, key=key: f"{key}: {text}")
