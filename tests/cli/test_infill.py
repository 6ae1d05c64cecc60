"""`jukebox infill` as a user meets it."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from jukebox_cli.main import main
from jukebox_hf.generation import Session
from jukebox_hf.generation.session_work import SessionWork


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def done(*arguments: str | Path) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def sketch(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of two takes of the top level."""
    folder = tmp_path_factory.mktemp("infills") / "sketch"
    wanted = ["--seconds", "0.6", "--takes", "2", "--seed", "4", "--to-level", "2"]
    done("generate", "--model", tiny_model, *wanted, "-o", folder)
    return folder


@pytest.fixture(scope="module")
def song(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A session of one take, finished."""
    folder = tmp_path_factory.mktemp("infills") / "song"
    done("generate", "--model", tiny_model, "--seconds", "0.6", "--seed", "4", "-o", folder)
    return folder


def test_a_stretch_is_planned_made_again_and_found_again(sketch: Path, tmp_path: Path) -> None:
    stretch = ["--take", "2", "--from", "0:00.2", "--to", "0.3"]
    wanted = [*stretch, "--candidates", "4", "--takes", "2", "--seed", "3"]
    command: list[str | Path] = ["infill", sketch, *wanted, "-o", tmp_path / "s"]
    plan = done(*command, "--dry-run")
    assert not (tmp_path / "s").exists()
    assert plan["takes"] == 2
    assert [(one["level"], one["windows"]) for one in plan["levels"]] == [(2, 4)]
    assert "in 4 candidates" in run(*command, "--dry-run").output
    record = done(*command)
    assert (record["complete"], record["takes"]) == (True, [1, 2])
    assert done(*command) == record
    session = Session.open(tmp_path / "s")
    chosen = [take.candidate.number for take in session.takes if take.candidate is not None]
    assert len(set(chosen)) == 2
    shown = run("sessions", "show", tmp_path / "s").output
    assert "from      sketch, take 2 at 0.192 s (infill)" in shown
    assert f"candidate {chosen[0]}" in shown


def test_new_music_is_put_in_before_the_beginning(sketch: Path, tmp_path: Path) -> None:
    wanted = ["--take", "1", "--from", "0", "--insert", "0.16", "--candidates", "2"]
    done("infill", sketch, *wanted, "-o", tmp_path / "s")
    old, new = Session.open(sketch).codes(1), Session.open(tmp_path / "s").codes(1)
    assert old is not None
    assert new is not None
    assert new.levels[2][0, 10:].tolist() == old.levels[2][0].tolist()


@pytest.mark.parametrize("saved", [1, 4])
def test_an_interruption_is_clean_and_the_rest_comes_out_the_same(
    saved: int, song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C among the candidates, and in the finer levels."""
    wanted = ["--from", "0.2", "--to", "0.4", "--candidates", "2", "--seed", "3"]
    folder, whole = tmp_path / "s", song.parent / "whole"
    done("infill", song, *wanted, "-o", whole)  # once: it is found again
    save, calls = SessionWork._save, 0

    def interrupted(self: SessionWork, *rest: Any) -> None:
        nonlocal calls
        save(self, *rest)
        calls += 1
        if calls == saved:
            raise KeyboardInterrupt

    monkeypatch.setattr(SessionWork, "_save", interrupted)
    result = run("infill", song, *wanted, "-o", folder)
    assert result.exit_code == 130, result.output
    assert result.stdout == ""
    assert result.stderr.endswith(f"Interrupted. Go on with: jukebox resume {folder}\n")
    monkeypatch.undo()
    assert not Session.open(folder).complete
    again = ["resume", folder] if saved % 2 else ["infill", song, *wanted, "-o", folder]
    done(*again)
    for take in Session.open(whole).takes:
        assert take.codes == Session.open(folder).take(take.number).codes
    (sound,) = whole.glob("*.flac")
    assert (folder / sound.name).read_bytes() == sound.read_bytes()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--to", "0.4"], "sketch has takes 1, 2; say which"),
        (["--take", "1"], "give either where the stretch ends (to), or how much to put in"),
        (["--take", "1", "--to", "0.6"], "nothing follows the stretch in take 1"),
        (["--take", "1", "--to", "9"], "the stretch ends at 9 s, but take 1 lasts 0.59 s"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(
    sketch: Path, tmp_path: Path, options: list[str], expected: str
) -> None:
    result = run("infill", sketch, "--from", "0.2", *options, "-o", tmp_path / "s")
    assert result.exit_code == 1
    assert expected in result.output
    assert result.output.count("\n") == 1
    assert not (tmp_path / "s").exists()
