import json
from pathlib import Path

import pytest

from jukebox_hf.hub.training_facts import TrainingFacts, load_training_facts, save_training_facts
from model_cards.recipe.figures import Report, load_figures, markdown_table, shared_command


def report(folder: Path) -> Report:
    words = ["--model", str(folder / "model"), "--takes", "4"]
    report = Report("model_cards.recipe.evaluate_something", words, "4 songs")
    report.figure("SI-SDR, level 0 (dB)", 12.3456789)
    report.figure("songs", 4, dataset="others")
    report.figure("nothing", float("nan"))
    report.table(("level", "dB"), [(0, "12.35")])
    report.remark("Well.")
    return report


def test_figures_are_what_training_facts_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report(tmp_path).finish(tmp_path / "out" / "figures.json", as_json=False)
    printed = capsys.readouterr().out
    assert printed.startswith(
        "`python -m model_cards.recipe.evaluate_something --model model --takes 4`\n"
    )
    assert printed.endswith("| level |    dB |\n| ----- | ----: |\n| 0     | 12.35 |\n\nWell.\n")
    figures = load_figures(tmp_path / "out" / "figures.json")
    assert [(one.name, one.value, one.dataset) for one in figures] == [
        ("SI-SDR, level 0 (dB)", 12.3457, "4 songs"),
        ("songs", 4, "others"),
    ]
    save_training_facts(tmp_path, TrainingFacts(figures=tuple(figures)))
    facts = load_training_facts(tmp_path)
    assert facts is not None
    assert facts.figures == tuple(figures)


def test_json_is_the_same_as_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report(tmp_path).finish(tmp_path / "figures.json", as_json=True)
    content = json.loads(capsys.readouterr().out)
    assert content == json.loads((tmp_path / "figures.json").read_text())
    assert {"command", "dataset", "date", "hardware", "versions", "records"} <= set(content)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"format_version": 2}')
    with pytest.raises(ValueError, match="holds no figures of format 1"):
        load_figures(tmp_path / "other.json")


def test_commands_name_no_folder_of_this_machine() -> None:
    words = ["--codes", "/home/me/codes", "--run", "runs/top", "--level", "2", "--name", "a b"]
    command = shared_command("model_cards.recipe.x", words)
    assert (
        command == "python -m model_cards.recipe.x --codes codes --run top --level 2 --name 'a b'"
    )


def test_tables_are_aligned() -> None:
    lines = markdown_table(("name", "n"), [("a", 1), ("longer", 22)]).splitlines()
    assert lines[1] == "| ------ | -: |"
    assert lines[2] == "| a      |  1 |"
