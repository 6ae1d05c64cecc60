"""`jukebox push`, `pull` and `info` where no Hub is needed: help, folders, and clear refusals."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jukebox_cli.main import main
from jukebox_hf.hub import Figure, TrainingData, TrainingFacts, save_training_facts
from tests.tiny import tiny_system


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)], prog_name="jukebox")


@pytest.mark.parametrize("command", ["push", "pull", "info"])
def test_help_says_what_happens(command: str) -> None:
    text = run(command, "--help").stdout
    expected = {"push": "hf auth login", "pull": "without a network", "info": "headers"}
    assert expected[command] in text


def test_info_of_a_folder(tmp_path: Path) -> None:
    model = tiny_system(tmp_path / "model", licence="CC0-1.0", name="tiny")
    result = run("info", model)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("tiny\n")
    assert re.search(r"\n  memory     .*float16.* \(4 GB GPU\)\n", result.stdout)
    record = json.loads(run("info", model, "--json").stdout)
    assert record["licence"] == "CC0-1.0"
    assert record["memory"][0]["gpu_gibibytes"] == 4
    assert record["available_bytes"] > 0
    bare = run("info", model / "prior_1")
    assert "upsampler of level 1" in bare.stdout


def test_info_fits_a_screen_and_all_tells_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_system(tmp_path / "model", "encoder", licence="CC0-1.0", name="tiny")
    figures = tuple(Figure(f"measure {n}", float(n), command="by hand") for n in range(40))
    facts = TrainingFacts(steps=3, data=(TrainingData("songs"),) * 9, figures=figures)
    save_training_facts(model / "prior_2", facts)
    short = run("info", model).stdout.splitlines()
    assert len(short) <= 15
    assert "  training   9 data sets, 40 figures: --all lists them" in short
    everything = run("info", model, "--all").stdout.splitlines()
    assert sum(line.startswith("  measured ") for line in everything) == 40
    assert any(line.startswith("  float16 ") for line in everything)
    monkeypatch.setattr("jukebox_hf.hub.cards.summary.SCREEN_LINES", 6)
    crowded = run("info", model).stdout.splitlines()
    assert crowded[:5] == [
        *short[:4],
        f"  ...        {len(short) - 5} more lines: --all lists them",
    ]
    assert crowded[5:] == short[-1:]
    monkeypatch.undo()
    assert len(run("info").stdout.splitlines()) <= 15  # the built-in one


def test_pull_of_a_folder_makes_a_copy(tmp_path: Path) -> None:
    model = tiny_system(tmp_path / "model", licence="CC0-1.0")
    result = run("pull", model, "-o", tmp_path / "copy", "--json")
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert record["output"] == str(tmp_path / "copy")
    assert record["parts"]["vqvae"]["repo_id"] is None
    part = run("pull", model, "--component", "prior_1", "-q")
    assert part.stdout == f"prior_1\t{model / 'prior_1'}\n"
    assert part.stderr == ""


def test_refusals_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    model = tiny_system(tmp_path / "model")
    run_folder = tmp_path / "run"
    (run_folder / "final").mkdir(parents=True)
    (run_folder / "final" / "jukebox.json").write_text("{}")
    for arguments, message in (
        (("push", model, "--repo-id", "me/x"), "log in with `hf auth login`, or set HF_TOKEN"),
        (("push", run_folder, "--repo-id", "me/x"), "is a training run; share its model, "),
        (("push", model / "vqvae", "--repo-id", "x", "--component", "a"), "is not a whole model"),
        (("pull", model, "--component", "prior_5"), "has no prior_5; it has vqvae, prior_0"),
        (("pull", tmp_path / "nothing"), "expected the folder of a model, or a repository"),
        (("pull", "me/not-cached"), "no such repository in the cache"),
        (("info", tmp_path / "nothing"), "expected the folder of a model, or a repository"),
    ):
        result = run(*arguments)
        assert result.exit_code == 1, result.output
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
    assert run("push", tmp_path / "nothing", "--repo-id", "me/x").exit_code == 2
