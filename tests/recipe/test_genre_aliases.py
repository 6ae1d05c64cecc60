"""`genre_aliases.json`: `same` names one of the demo's genres in other words; `nearest` is a genre
that the demo does not know, with the closest one that it does: who uses it has to say so."""

import json
from collections import Counter

import pytest

from model_cards.recipe.composing import GENRES
from model_cards.recipe.manifest import read_manifest
from model_cards.recipe.package_model import ALIASES as ALIASES_FILE

ALIASES = json.loads(ALIASES_FILE.read_text(encoding="utf-8"))


def test_labels_are_those_of_recorded_and_rendered_music_and_of_singing() -> None:
    recorded = {row.genre for row in read_manifest()} - {"unknown"}
    assert set(ALIASES["labels"]) == recorded | set(GENRES) | {"vocal"}


@pytest.mark.parametrize("kind", ["same", "nearest"])
def test_aliases_lead_to_labels(kind: str) -> None:
    assert set(ALIASES[kind]) <= set(ALIASES["labels"])


def test_every_alias_is_written_one_way_and_leads_to_one_label() -> None:
    names = [
        name for kind in ("same", "nearest") for part in ALIASES[kind].values() for name in part
    ]
    assert [name for name, count in Counter(names).items() if count > 1] == []
    assert all(name == " ".join(name.lower().split()) for name in names)
    assert not set(names) & set(ALIASES["labels"])


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("rock'n'roll", "rock"),
        ("techno", "electronic"),
        ("classical", "orchestral"),
        ("death metal", "metal"),
    ],
)
def test_other_words_for_a_genre_are_known(name: str, label: str) -> None:
    assert name in ALIASES["same"][label]


@pytest.mark.parametrize("name", ["hip hop", "jazz", "country", "pop", "reggae"])
def test_what_the_music_lacks_is_only_near(name: str) -> None:
    assert name not in {word for part in ALIASES["same"].values() for word in part}
    assert name in {word for part in ALIASES["nearest"].values() for word in part}
