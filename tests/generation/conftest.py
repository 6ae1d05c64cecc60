"""Tiny models that generation is tested on; made once per run of the tests."""

from pathlib import Path

import pytest

from jukebox_hf.hub import System
from tests.tiny import tiny_system


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without lyrics, on disk."""
    return tiny_system(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def lyric_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with lyrics in the sequence of its top prior, on disk."""
    return tiny_system(tmp_path_factory.mktemp("tiny_lyrics") / "model", "sequence")


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> System:
    """A model without lyrics."""
    return System.open(tiny_folder)


@pytest.fixture(scope="session")
def lyrical(lyric_folder: Path) -> System:
    """A model with lyrics in the sequence of its top prior."""
    return System.open(lyric_folder)
