"""Tiny models that commands are tested on; made once per run of the tests."""

from pathlib import Path

import pytest

from tests.tiny import tiny_system


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without lyrics, on disk."""
    return tiny_system(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="session")
def lyric_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with lyrics in the sequence of its top prior, on disk."""
    return tiny_system(tmp_path_factory.mktemp("tiny_lyrics") / "model", "sequence")
