"""What trackers are told of a run, and where they may print."""

import sys
from pathlib import Path
from typing import Any

import pytest

from jukebox_hf.training.reports import Trackers, run_tags
from jukebox_hf.training.settings import TrainingSettings
from jukebox_hf.training.stepping import make_accelerator


class FakeAccelerator:
    """Remembers how trackers were opened, and prints as trackio does."""

    def init_trackers(self, project: str, **options: Any) -> None:
        self.project, self.options = project, options
        print("a banner")

    def log(self, values: dict[str, float], step: int) -> None:
        print("a number")

    def end_training(self) -> None:
        print("a farewell")


def test_runs_are_named_after_their_folder_and_stdout_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "base").mkdir()
    accelerator = FakeAccelerator()
    trackers = Trackers(accelerator, ("tensorboard", "trackio", "wandb"))  # type: ignore[arg-type]
    settings = {"output": str(tmp_path / "mine"), "task": "prior", "level": 2, "steps": 3}
    settings |= {"model": {"preset": "prior_1b_lyrics"}, "start_from": str(tmp_path / "base")}
    settings |= {"tags": ("finetune", "july"), "codec": "me/codec"}
    trackers.start(settings)
    trackers.scalars({"loss": 1.0}, 1)
    trackers.close()
    assert capsys.readouterr().out == ""
    assert accelerator.project == "jukebox"
    tags = ["prior", "level 2", "finetune", "july", "prior_1b_lyrics", "base", "me/codec"]
    assert accelerator.options["init_kwargs"] == {
        "trackio": {"name": "mine"},
        "wandb": {"name": "mine", "tags": tags},
    }
    assert run_tags({"task": "vqvae", "start_from": "me/codec"}) == ["vqvae", "me/codec"]


def test_what_deepspeed_logs_goes_to_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "deepspeed.py"
    package.write_text(
        "import logging, sys\n"
        "logger = logging.getLogger('a deepspeed')\n"
        "logger.addHandler(logging.StreamHandler(stream=sys.stdout))\n"  # as 0.19.8 does
        "print('a banner')\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "deepspeed", raising=False)
    make_accelerator(TrainingSettings(task="vqvae", device="cpu"))
    sys.modules["deepspeed"].logger.warning("a warning")  # type: ignore[attr-defined]
    monkeypatch.delitem(sys.modules, "deepspeed")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "a banner" in shown.err
    assert "a warning" in shown.err
    package.write_text("raise RuntimeError('no compiler')", encoding="utf-8")
    make_accelerator(TrainingSettings(task="vqvae", device="cpu"))


def test_a_preset_tags_its_runs_unless_other_tags_are_given() -> None:
    settings = TrainingSettings.preset("toy_vqvae", dataset="songs", output="runs/x")
    assert run_tags(settings.to_dict()) == ["vqvae", "toy_vqvae"]
    other = TrainingSettings.preset("toy_vqvae", dataset="songs", output="runs/x", tags=["july"])
    assert run_tags(other.to_dict()) == ["vqvae", "july"]
