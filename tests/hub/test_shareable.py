"""What leaves this machine names none of its folders."""

import json
from pathlib import Path
from typing import Any

import pytest

from jukebox_hf.hub import (
    ComponentReference,
    Figure,
    System,
    TrainingData,
    TrainingFacts,
    save_training_facts,
)
from jukebox_hf.hub.cards.card_text import codes_text, system_text
from jukebox_hf.hub.cards.model_facts import gather_facts
from jukebox_hf.hub.cards.rendering import make_card
from jukebox_hf.hub.shareable import shared_content, without_folders
from tests.tiny import tiny_system

SECRET = "/home/somebody/private"


@pytest.mark.parametrize(
    ("text", "shared"),
    [
        ("train --dataset /home/me/songs -o runs/a", "train --dataset songs -o runs/a"),
        ("--dataset=/home/me/songs", "--dataset=songs"),
        ("C:\\Users\\me\\a.wav", "a.wav"),
        ("~/music/a.wav and ~me/b", "a.wav and b"),
        ("https://host/a/b", "https://host/a/b"),
        ("me/base, 3 / 4, bits/code", "me/base, 3 / 4, bits/code"),
    ],
)
def test_texts_keep_the_last_name_of_a_path(text: str, shared: str) -> None:
    assert without_folders(text) == shared


def content_of(path: Path, base: ComponentReference | None = None) -> dict[str, Any]:
    shared = shared_content(path, base)
    assert isinstance(shared, bytes)
    found = json.loads(shared)
    assert isinstance(found, dict)
    return found


def test_cards_and_files_name_no_folders(tmp_path: Path) -> None:
    folder = tiny_system(tmp_path / "model")
    where = f"{SECRET}/songs"
    facts = TrainingFacts(
        f"jukebox train --dataset {where}",
        where,
        (TrainingData(where, link=where),),
        settings={"report_to": where},
        figures=(Figure("bits", 1.0, f"jukebox evaluate --dataset {where}", where),),
    )
    save_training_facts(folder / "prior_2", facts)
    card = make_card(system_text(gather_facts(System.open(folder)), "me/model"))
    assert SECRET not in card.content
    assert "jukebox train --dataset songs" in card.content
    assert SECRET not in json.dumps(content_of(folder / "prior_2" / "training.json"))
    codes = {"model": where, "levels": [0], "hop_lengths": [8], "sampling_rate": 8000}
    (tmp_path / "jukebox_codes.json").write_text(json.dumps(codes))
    assert content_of(tmp_path / "jukebox_codes.json")["model"] == "songs"
    assert SECRET not in make_card(codes_text(codes, "me/codes")).content


def test_the_base_of_an_adapter_is_a_repository_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "adapter_config.json"
    for stated in (SECRET, str(tmp_path), 3):
        path.write_text(json.dumps({"base_model_name_or_path": stated}))
        assert content_of(path) == {"base_model_name_or_path": None, "revision": None}
    path.write_text(json.dumps({"base_model_name_or_path": "me/base"}))
    assert content_of(path) == {"base_model_name_or_path": "me/base"}
    shared = content_of(path, ComponentReference("prior_2", "me/other", "abc"))
    assert shared == {"base_model_name_or_path": "me/other", "revision": "abc"}
    (tmp_path / "config.json").write_text("{}")
    assert shared_content(tmp_path / "config.json") == tmp_path / "config.json"
