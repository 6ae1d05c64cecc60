import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from jukebox_cli.main import main
from jukebox_hf import Session
from model_cards.recipe.take_making import GenerationError, make_takes, read_takes
from tests.tiny import SAMPLING_RATE, tiny_system

PROMPTS = [{"genre": "rock", "seconds": 0.6}, {"genre": "jazz", "seconds": 0.6}]


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """`jukebox generate` in this process; it is called as often as there are entries."""
    calls: list[list[str]] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        calls.append(command[3:])
        result = CliRunner().invoke(main, command[3:])
        return subprocess.CompletedProcess(command, result.exit_code)

    monkeypatch.setattr(subprocess, "run", run)
    return calls


def test_takes_are_made_once_and_read_again(tmp_path: Path, in_process: list[list[str]]) -> None:
    model = str(tiny_system(tmp_path / "model"))
    made = make_takes(tmp_path / "work", model, PROMPTS, seed=3)
    assert [take.prompt.genre for take in made] == ["rock", "jazz"]
    for take in made:
        assert take.sampling_rate == SAMPLING_RATE
        assert len(take.audio) == pytest.approx(0.6 * SAMPLING_RATE, abs=128)
        assert sorted(take.codes) == [0, 1, 2]
        assert len(take.codes[2]) * 128 == len(take.audio)
    again = make_takes(tmp_path / "work", model, PROMPTS, seed=3)
    assert [call[0] for call in in_process] == ["generate", "generate"]
    for one, other in zip(made, again, strict=True):
        assert torch.equal(one.audio, other.audio)
    with pytest.raises(GenerationError, match="ended with exit code 1; see what it said above"):
        make_takes(tmp_path / "work", model, PROMPTS[:1], seed=3)  # not what the folder holds


def test_takes_that_are_not_finished_are_refused(
    tmp_path: Path, in_process: list[list[str]]
) -> None:
    model = str(tiny_system(tmp_path / "model"))
    make_takes(tmp_path / "work", model, PROMPTS, seed=3)
    session = Session.open(tmp_path / "work" / "session")
    session.audio_paths[0].unlink()
    with pytest.raises(ValueError, match="is not complete; go on with: jukebox resume session"):
        read_takes(tmp_path / "work" / "session")
