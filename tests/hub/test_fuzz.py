"""A stranger's model: whatever its JSON files hold, the answer is a result or one sentence.

Values of good files are replaced, removed, nested and blown up, seeded; bytes are damaged, too.
What may come out is a `ValueError` or an `OSError`, soon, with a message that fits a screen.
"""

import copy
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jukebox_hf.hub import AdapterReference, System, load_manifest, save_manifest
from jukebox_hf.hub.cards.card_text import system_text
from jukebox_hf.hub.cards.model_facts import gather_facts
from jukebox_hf.hub.cards.rendering import make_card
from jukebox_hf.hub.cards.summary import info_lines, info_record
from jukebox_hf.hub.shareable import adapter_files, component_files
from tests.hub.hub_scenarios import make_adapter
from tests.tiny import tiny_system

LONGEST_MESSAGE = 2_000
FILES = (
    "jukebox.json",
    "vqvae/config.json",
    "prior_0/config.json",
    "prior_2/config.json",
    "prior_2/processor_config.json",
    "prior_2/vocabulary.json",
    "prior_2/training.json",
    "adapter/adapter_config.json",
    "adapter/config.json",
)
ODD = (
    None, True, "", "x", "unknown", "load", "../..", "\x1b[2J", "x" * 5000, [], {}, [[]], {"a": {}},
    -1, 0, 1, 0.5, 1e308, -1e308, 2**40, 10**18, 10**400, [1] * 5000, float("nan"), float("inf"),
)  # fmt: skip
TRAINING = {
    "format_version": 1,
    "command": "jukebox train",
    "data": [{"name": "songs", "songs": 3, "hours": 1.5, "licence": "CC0-1.0"}],
    "steps": 5,
    "settings": {"a": 1},
    "figures": [{"name": "bits", "value": 1.5, "command": "jukebox evaluate"}],
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with every kind of file."""
    folder = tiny_system(tmp_path_factory.mktemp("good") / "model", "encoder", name="tiny")
    (folder / "prior_2" / "training.json").write_text(json.dumps(TRAINING))
    make_adapter(folder / "adapter")
    manifest = load_manifest(folder)
    manifest.adapters.append(AdapterReference(component="prior_2", subfolder="adapter"))
    save_manifest(folder, manifest)
    read_all(folder)
    return folder


def read_all(folder: Path) -> None:
    """What `info`, `generate` and `push` read before they do anything."""
    system = System.open(folder)
    facts = gather_facts(system)
    info_lines(facts)
    info_record(facts)
    make_card(system_text(facts, "me/tiny")).merged_with(None)
    for level in system.prior_levels:
        system.prior_config(level)
        system.processor(level)
    component_files(folder / "vqvae")
    component_files(folder / "prior_2")
    adapter_files(folder / "adapter")


def places(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with each of its keys."""
    for key in content if isinstance(content, dict) else range(len(content)):
        yield content, key
        if isinstance(content[key], dict | list):
            yield from places(content[key])


def damaged(text: str, choice: random.Random) -> str:
    """Another file, a little or quite different."""
    if choice.random() < 0.2:
        start = choice.randrange(len(text))
        return text[:start] + chr(choice.randrange(1, 300)) + text[start + choice.randrange(9) :]
    content = copy.deepcopy(json.loads(text))
    for _ in range(choice.choice((1, 1, 1, 2, 5))):
        found = list(places(content))
        if not found:
            break
        container, key = choice.choice(found)
        if choice.random() < 0.2:
            del container[key]
        elif isinstance(container, dict) and choice.random() < 0.1:
            container[choice.choice(("dtype", "extra", "quantization_config", "r"))] = "x"
        else:
            container[key] = copy.deepcopy(choice.choice(ODD))
    return json.dumps(content)


def refusal(folder: Path) -> str:
    """The sentence that a model is refused with; nothing if it is read."""
    try:
        read_all(folder)
    except (ValueError, OSError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("rounds", [12, pytest.param(2_000, marks=pytest.mark.slow)])
def test_a_damaged_file_is_read_or_refused_in_a_sentence(
    tmp_path: Path, good: Path, file: str, rounds: int
) -> None:
    model = tmp_path / "model"
    shutil.copytree(good, model)
    text = (good / file).read_text(encoding="utf-8")
    choice = random.Random(f"{file} {rounds}")
    refused = 0
    for number in range(rounds):
        changed = damaged(text, choice)
        (model / file).write_text(changed, encoding="utf-8")
        try:
            message = refusal(model)
        except Exception as error:
            raise AssertionError(f"round {number}: {changed[:3000]}") from error
        refused += bool(message)
        assert len(message) < LONGEST_MESSAGE, f"round {number}: {changed[:500]}"
    assert refused > rounds / 4
