"""Studios that stories are played in."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from jukebox_cli.main import main
from tests.cli.studio.studio_process import StudioProcess, checksums

Start = Callable[..., StudioProcess]
REQUEST = {"genre": "jazz", "seconds": "2", "seed": "11"}  # long enough to be met in the middle


@pytest.fixture
def start(tmp_path: Path, lyric_model: Path) -> Iterator[Start]:
    """Starts studios in a folder of this test, with a tiny model unless told otherwise."""
    started: list[StudioProcess] = []

    def begin(*arguments: str | Path, folder: str = "pieces", **options: Any) -> StudioProcess:
        models = () if "--model" in arguments else ("--model", lyric_model)
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        one = StudioProcess(place, *models, *arguments, **options)
        started.append(one)
        return one

    yield begin
    for one in started:
        one.stop()


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, lyric_model: Path) -> Iterator[StudioProcess]:
    """A studio that nothing bad happens to, for all tests of a module."""
    folder = tmp_path_factory.mktemp("calm") / "pieces"
    folder.mkdir()
    studio = StudioProcess(folder, "--model", lyric_model)
    studio.wait(lambda state: state["ready"])
    yield studio
    assert studio.stop() in (0, 130)


def generate(model: Path, folder: Path, *arguments: str) -> None:
    """`jukebox generate`, in this process."""
    command = ["generate", "--model", str(model), "-q", "-o", str(folder), *arguments]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="session")
def requested(
    lyric_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[int, dict[str, Any]]:
    """Checksums of the codes that the command line makes of `REQUEST`."""
    place = tmp_path_factory.mktemp("command-line") / "piece"
    options = [text for name, value in REQUEST.items() for text in (f"--{name}", value)]
    generate(lyric_model, place, *options)
    return checksums(place)


@pytest.fixture(scope="session")
def made(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a piece, and one that goes on from it."""
    folder = tmp_path_factory.mktemp("pieces")
    common = ["--seconds", "0.3", "-q"]
    for arguments in (
        ["generate", "--model", str(tiny_model), "--genre", "rock", "--takes", "2", *common],
        ["continue", str(folder / "one"), "--take", "2", "--from", "0.2", *common],
    ):
        name = "one" if arguments[0] == "generate" else "two"
        result = CliRunner().invoke(main, [*arguments, "-o", str(folder / name)])
        assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of `made` to change."""
    return shutil.copytree(made, tmp_path / "pieces")
