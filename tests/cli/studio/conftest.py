"""Studios that stories are played in."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.studio.studio_process import StudioProcess

Start = Callable[..., StudioProcess]


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
        if one.process.poll() is None:
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
