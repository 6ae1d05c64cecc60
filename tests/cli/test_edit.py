"""`jukebox edit` as a user meets it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from jukebox_cli.edit import parse_part
from jukebox_cli.main import main
from jukebox_hf.codes import load_codes, save_codes
from jukebox_hf.generation import Part, Session


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def done(*arguments: str | Path) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def sketch(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of two takes of the top level."""
    folder = tmp_path_factory.mktemp("edits") / "sketch"
    wanted = ["--seconds", "0.6", "--takes", "2", "--seed", "4", "--to-level", "2"]
    done("generate", "--model", tiny_model, *wanted, "-o", folder)
    return folder


def test_parts_become_a_session_that_the_same_command_finds_again(
    sketch: Path, tmp_path: Path
) -> None:
    command: list[str | Path] = [
        "edit",
        f"{sketch}:1@0.2-0.4",
        f"{sketch}:2@0:00.1-",
        "-o",
        tmp_path / "mix",
    ]
    plan = done(*command, "--dry-run")
    assert not (tmp_path / "mix").exists()
    assert [part["take"] for part in plan["parts"]] == [1, 2]
    assert plan["levels"] == [2]
    assert plan["joins"][0]["seconds"] == pytest.approx(0.2, abs=0.01)
    record = done(*command)
    session = Session.open(tmp_path / "mix")
    assert session.complete
    assert record["audio"] == [str(path) for path in session.audio_paths]
    assert record["seams"] == 1
    assert done(*command) == record
    assert session.record.parent is not None
    assert session.record.parent.action == "edit"
    shown = run("sessions", "show", tmp_path / "mix").output
    assert "from      sketch, take 1 (edit)" in shown
    assert "seam      take 1, level 2 at 0.2" in shown


def test_codes_files_are_edited_with_the_model_that_is_named(
    sketch: Path, tiny_model: Path, tmp_path: Path
) -> None:
    done("sessions", "export", sketch, "--codes", "--takes", "1", "-o", tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    done("edit", f"{path}@0.1-0.3", path, "--model", tiny_model, "-o", tmp_path / "mix")
    codes = Session.open(tmp_path / "mix").codes(1)
    assert codes is not None
    old = load_codes(path).levels[2]
    assert torch.equal(codes.levels[2], torch.cat([old[:, 6:19], old], dim=1))


def test_a_name_that_is_not_there_is_told_with_where_names_are(
    sketch: Path, tmp_path: Path
) -> None:
    result = run("edit", f"{sketch}:1@0-0.2", "bridge:2@3-9", "-o", tmp_path / "mix")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: there is no session or codes file 'bridge'; `jukebox sessions list` shows the "
        "sessions of a folder\n"
    )
    assert not (tmp_path / "mix").exists()


def test_another_codec_is_refused_before_any_work(sketch: Path, tmp_path: Path) -> None:
    codes = Session.open(sketch).codes(1)
    assert codes is not None
    object.__setattr__(codes, "fingerprint", "sha256:other")
    save_codes(tmp_path / "other.safetensors", codes)
    result = run("edit", f"{sketch}:1", tmp_path / "other.safetensors", "-o", tmp_path / "mix")
    assert result.exit_code == 1
    assert "was made with another codec than" in result.output
    assert result.output.count("\n") == 1
    assert not (tmp_path / "mix").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("song", Part(Path("song"))),
        ("song:2", Part(Path("song"), 2)),
        ("song@1-2.5", Part(Path("song"), None, 1, 2.5)),
        ("a/song:12@0:05-1:00.5", Part(Path("a/song"), 12, 5, 60.5)),
        ("song:1@-3", Part(Path("song"), 1, None, 3)),
        ("song:1@3-", Part(Path("song"), 1, 3)),
        ("C:\\songs\\song:1@3-", Part(Path("C:\\songs\\song"), 1, 3)),
        ("song@home", Part(Path("song@home"))),
    ],
)
def test_parts_are_read(text: str, expected: Part) -> None:
    assert parse_part(text) == expected


def test_a_name_that_looks_like_a_part_is_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mix@1-2").mkdir()
    assert parse_part("mix@1-2") == Part(Path("mix@1-2"))
    with pytest.raises(ValueError, match=r"'song@1:99-2': '1:99' is not a time"):
        parse_part("song@1:99-2")
