"""Tiny models that commands are tested on; made once per run of the tests."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from jukebox_hf.hub import load_manifest, save_manifest
from tests.tiny import tiny_system


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without lyrics, on disk."""
    return tiny_system(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def built_in(
    lyric_model: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A tiny model in the place of the one that comes with the package."""
    folder = tmp_path_factory.mktemp("package") / "demo"
    shutil.copytree(lyric_model, folder)
    notes = {"lyrics": "lyrics are hummed, not sung"}
    save_manifest(folder, replace(load_manifest(folder), name="demo-22k", notes=notes))
    for level in range(3):
        vocabulary = folder / f"prior_{level}" / "vocabulary.json"
        aliases = {"same": {"rock": ["rock'n'roll"]}, "nearest": {"jazz": ["drum and bass"]}}
        content = json.loads(vocabulary.read_text(encoding="utf-8")) | {"genre_aliases": aliases}
        vocabulary.write_text(json.dumps(content), encoding="utf-8")
    monkeypatch.setattr("jukebox_hf.hub.built_in.FOLDER", folder)
    return folder


@pytest.fixture(scope="session")
def lyric_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with lyrics in the sequence of its top prior, on disk."""
    return tiny_system(tmp_path_factory.mktemp("tiny_lyrics") / "model", "sequence")
