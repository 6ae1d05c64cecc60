"""`jukebox sessions`: what is damaged hides nothing else; names of strangers steer no terminal."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jukebox_cli.main import main

SESSIONS = Path(__file__).parent.parent / "generation" / "sessions"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["sessions", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("complete", "chains", "begun"):
        shutil.copytree(SESSIONS / name, tmp_path / name)
    return tmp_path


def test_one_damaged_session_hides_no_other(folder: Path) -> None:
    (folder / "chains" / "session.json").write_text("{")
    result = run("list", folder)
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 2
    assert "Left out: " in result.stderr
    assert str(folder / "chains") in result.stderr
    assert len(json.loads(run("list", folder, "--json").stdout)["sessions"]) == 2


@pytest.mark.parametrize("command", ["show", "list"])
def test_names_of_strangers_steer_no_terminal(command: str, folder: Path) -> None:
    path = folder / "complete" / "session.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    record["model"]["name"] = "\x1b]0;owned\x07"
    record["notes"] = ["\x1b[2J\rgone"]
    record["takes"][0]["prompt"]["artist"] = "\x9b31mred"
    path.write_text(json.dumps(record), encoding="utf-8")
    result = run(command, folder / "complete")
    assert result.exit_code == 0, result.output
    assert not {"\x1b", "\x07", "\x9b", "\r"} & set(result.output)


def test_long_values_make_no_long_messages(folder: Path) -> None:
    for arguments in (
        ("keep", folder / "complete", "x" * 10**5),
        ("show", folder / ("x" * 10**5)),
        ("export", folder / "complete", "-o", "out", "--format", "x" * 10**5),
    ):
        result = run(*arguments)
        assert result.exit_code == 2
        assert len(result.stderr) < 3000


def test_sessions_are_renamed_and_removed(folder: Path) -> None:
    result = run("rename", folder / "complete", "song")
    assert result.stdout.strip() == str(folder / "song")
    result = run("remove", folder / "song", folder / "chains")
    assert result.exit_code == 0, result.output
    assert len(run("list", folder).stdout.splitlines()) == 1
    assert (folder / ".trash" / "song" / "session.json").is_file()
    removed = json.loads(run("remove", folder / "begun", "--yes", "--json").stdout)
    assert len(removed["gone"]) == 3
    assert not (folder / ".trash").exists()
    assert run("remove").exit_code == 2
    assert "There are no sessions" in run("list", folder).stderr
