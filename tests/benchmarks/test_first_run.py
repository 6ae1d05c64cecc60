"""What a first run is measured by: stand-ins for the command, quick and with known needs."""

import json
import sys
from pathlib import Path

import pytest

from tests.benchmarks.first_run import ANSWERS, compare_answers, first_run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def command(folder: Path, script: str) -> Path:
    path = folder / "jukebox"
    path.write_text(f"#!{sys.executable}\n{script}")
    path.chmod(0o755)
    return path


def test_time_memory_and_files_are_those_of_the_command(tmp_path: Path) -> None:
    jukebox = command(
        tmp_path,
        """
import os, pathlib, sys, time
assert os.listdir(os.environ["HOME"]) == [] and os.listdir() == ["song.txt"]
assert "generate" in sys.argv and os.environ["OMP_NUM_THREADS"] == "1"
time.sleep(0.3)
preview = pathlib.Path("made", "preview", "01.wav")
preview.parent.mkdir(parents=True)
preview.touch()
much = bytearray(b"x" * 2**27)
time.sleep(0.5)
preview.unlink()
pathlib.Path("made", "song.flac").touch()
""",
    )
    row = first_run(jukebox, threads=1)
    assert 0.3 <= row["listen_seconds"] < row["seconds"]
    assert row["seconds"] >= 0.8
    assert 2**27 < row["peak_bytes"] < 2**28 + 2**26
    assert row["files"] == ["made/song.flac", "song.txt"]


def test_what_a_failing_command_says_is_told(tmp_path: Path) -> None:
    jukebox = command(tmp_path, "raise SystemExit('no such genre')")
    with pytest.raises(RuntimeError, match="no such genre"):
        first_run(jukebox)


def test_answers_of_two_commands_are_put_beside_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "tests.benchmarks.first_run.ANSWERS", {"search": ANSWERS["describe a model"]}
    )
    commands = []
    for name, number in (("quick", 10**5), ("slow", 10**7)):
        (tmp_path / name).mkdir()
        script = f"import sys\nif 'info' in sys.argv: sum(range({number})), sys.exit(1)"
        commands.append(command(tmp_path / name, script))
    compare_answers(*commands, rounds=2)
    row = json.loads(capsys.readouterr().out)
    assert row["answer"] == "search"
    assert row["cpu_seconds_ratio"] < 1
    assert row["cpu_seconds"][0] < row["cpu_seconds"][1]
