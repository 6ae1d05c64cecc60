"""`--num-processes` and `accelerate launch`: real processes share one session."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from jukebox_cli.main import main
from jukebox_hf.generation.session import Session

pytestmark = pytest.mark.slow
REQUEST = ("--seconds", "0.3", "--takes", "3", "--seed", "2", "--chains", "1=2", "--to-level", "1")


def run_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


@pytest.fixture(scope="module")
def alone(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The session that one process makes."""
    folder = tmp_path_factory.mktemp("alone") / "s"
    arguments = ["generate", "--model", str(tiny_model), *REQUEST, "-o", str(folder), "-q"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    return folder


def check_same(folder: Path, alone: Path) -> None:
    assert Session.open(folder).complete
    for path in (alone / "codes").iterdir():
        assert (folder / "codes" / path.name).read_bytes() == path.read_bytes()
    for path in alone.glob("*.flac"):
        assert (folder / path.name).read_bytes() == path.read_bytes()


def test_two_processes_equal_one(alone: Path, tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    done = run_python(
        "jukebox_hf",
        "generate",
        "--model",
        str(tiny_model),
        "--device",
        "cpu",
        *REQUEST,
        "-o",
        str(folder),
        "--num-processes",
        "2",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(p) for p in sorted(folder.glob("*.flac"))]
    assert done.stderr.count("Session: ") == 1
    check_same(folder, alone)


def test_accelerate_launch_equals_one(alone: Path, tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "s"
    done = run_python(
        "accelerate.commands.launch",
        "--multi_gpu",
        "--num_processes",
        "2",
        "--num_machines",
        "1",
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
        "--main_process_port",
        "0",
        "-m",
        "jukebox_hf",
        "generate",
        "--model",
        str(tiny_model),
        "--device",
        "cpu",
        *REQUEST,
        "-o",
        str(folder),
        ACCELERATE_USE_CPU="1",
    )
    assert done.returncode == 0, done.stderr
    check_same(folder, alone)


def test_mistakes_of_shared_commands_are_said_once(tiny_model: Path, tmp_path: Path) -> None:
    done = run_python(
        "jukebox_hf",
        "generate",
        "--model",
        str(tiny_model),
        "--temperature",
        "0",
        "-o",
        str(tmp_path / "s"),
        "--num-processes",
        "2",
    )
    assert done.returncode == 1
    assert done.stderr.count("temperature must be above 0") == 1
    assert "Traceback" not in done.stderr
