"""Features to the Hub: `jukebox embed --push-to-hub`, as a dataset with a card."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from huggingface_hub import DatasetCard

from jukebox_hf.hub.shareable import features_files, kind_of
from tests.hub.hub_client import HubServer
from tests.tiny import SAMPLING_RATE, tiny_system


def test_features_are_pushed_as_a_dataset_with_a_card(
    hub_server: HubServer, tmp_path: Path
) -> None:
    (tmp_path / "songs").mkdir()
    for number in range(2):
        noise = np.random.default_rng(number).normal(0, 0.1, 4000)
        soundfile.write(tmp_path / "songs" / f"{number}.wav", noise, SAMPLING_RATE)
    words = [
        *("embed", "--dataset", str(tmp_path / "songs"), "--pool", "mean", "--layers", "2,3"),
        *("--model", str(tiny_system(tmp_path / "model")), "-o", str(tmp_path / "out")),
        *("--format", "dataset", "--push-to-hub", "ada/features", "--json"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "jukebox_hf", *words],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "HF_ENDPOINT": hub_server.url,
            "HF_TOKEN": "hf_ada",
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(tmp_path / "home"),
        },
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pushed"].endswith("datasets/ada/features")
    card = DatasetCard(hub_server.read("datasets/ada/features", "README.md") or "")
    assert card.data.to_dict()["configs"][0]["data_files"][0]["path"] == "data/*.parquet"
    assert "| `layer_3` | states after layer 3 |" in card.text
    assert "pool: mean" in card.text
    settings = json.loads(hub_server.read("datasets/ada/features", "embed.json") or "{}")
    assert settings["settings"]["layers"] == [2, 3]


def test_features_in_other_files_are_not_pushed(tmp_path: Path) -> None:
    (tmp_path / "embed.json").write_text("{}")
    assert kind_of(tmp_path) == "features"
    with pytest.raises(ValueError, match="no table of them"):
        features_files(tmp_path)
