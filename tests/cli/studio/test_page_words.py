"""No sentence of the library reaches the page with words that only the command line has."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import jukebox_hf
from jukebox_cli.studio.page_words import (
    COMMAND,
    LABELS,
    OPTION,
    PHRASES,
    for_the_page,
    in_words_of_the_page,
    label,
)

LIBRARY = Path(jukebox_hf.__file__).parent
# What the studio's worker uses of it.
PARTS = ("generation", "labels", "audio", "vqvae", "prior", "hub/system.py", "hub/built_in.py")
PARTS += ("codes.py", "sampling_settings.py")
PAGE = "".join(
    path.read_text(encoding="utf-8")
    for path in (Path(__file__).parents[3] / "cli/studio/page").glob("*.js")
)
# Said with these words on the page, too, since they are what they are called.
PLAIN = {"precision", "device", "guidance", "to-level"}
# To whoever makes models, or overwrites files, which nobody does on the page.
NEVER_THERE = {"overwrite", "ids-dir", "level", "adapter", "component"}


def sentences(path: Path) -> Iterator[str]:
    """The texts of a module that are no docstrings, with `{}` where values go."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    inner: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inner |= set(node.values)
            yield "".join(
                str(one.value) if isinstance(one, ast.Constant) else "{}" for one in node.values
            )
        elif isinstance(node, ast.Constant) and node not in docstrings | inner:
            yield str(node.value)


@pytest.fixture(scope="module")
def library() -> list[str]:
    files = [
        path
        for part in PARTS
        for path in ([LIBRARY / part] if part.endswith(".py") else (LIBRARY / part).rglob("*.py"))
    ]
    assert len(files) > 60
    return [text for path in files for text in sentences(path)]


def test_options_of_the_library_are_said_in_words_of_the_page(library: list[str]) -> None:
    named = {
        found[1]
        for sentence in library
        for text in COMMAND.split(_with_phrases(sentence))
        for found in OPTION.finditer(text)
    }
    assert named <= PLAIN | NEVER_THERE, "say them in `PHRASES` of page_words"
    assert named >= PLAIN, "nobody says these any more"
    for sentence in library:
        told = COMMAND.sub("", in_words_of_the_page(sentence))
        assert not re.search(r"(?<![\w'\"-])--[a-z]", told), told


def _with_phrases(sentence: str) -> str:
    for phrase, words in PHRASES.items():
        sentence = sentence.replace(phrase, words)
    return sentence


def test_every_phrase_is_still_one_of_the_library(library: list[str]) -> None:
    assert [phrase for phrase in PHRASES if not any(phrase in text for text in library)] == []


def test_what_the_page_is_told_to_offer_is_there() -> None:
    quoted = set(re.findall("“([^”]+)”", " ".join([*PHRASES.values(), *map(label, LABELS)])))
    missing = [name for name in quoted if f'"{name}' not in PAGE and f"`{name} " not in PAGE]
    assert missing == []


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        (
            "the primer lasts 9.00 seconds, longer than the piece of 4.00 seconds that is to begin "
            "with it; ask for more seconds, or cut the primer with --primer-end",
            "the primer lasts 9.00 seconds, longer than the piece of 4.00 seconds that is to begin "
            "with it; ask for more seconds, or cut it with “To” of the sound file",
        ),
        (
            "leave it out there, as in --guidance 1=1",
            "leave it out there, as in guidance 1 at level 1",
        ),
        (
            "one-2:1@0.5-7 ends at 7 s, but that take lasts 1.00 s",
            "take 1 of one-2 from 0.5 to 7 ends at 7 s, but that take lasts 1.00 s",
        ),
        (
            "nothing is left of tune:3@-0.1: a part",
            "nothing is left of take 3 of tune to 0.1: a part",
        ),
        ("total_seconds must be above 0", "“Length of the whole song” must be above 0"),
        ("convert it with `jukebox convert me/x --output DIR`",) * 2,  # to be typed as it is
        ("'--genre' is taken for rock at 0:10, take 1: fine, http://127.0.0.1:80/a:1",) * 2,
    ],
)
def test_a_sentence_says_the_same_in_other_words(sentence: str, told: str) -> None:
    assert in_words_of_the_page(sentence) == told
    assert in_words_of_the_page(told) == told


def test_only_sentences_change() -> None:
    given: dict[str, Any] = {
        "piece": {"name": "tune:1", "notes": ["as in tune:1@0-1"], "lyrics": "--precision"},
        "queue": [{"message": "use --precision float32", "log": ["--precision"], "share": 0.5}],
        "error": "another --device",
    }
    assert for_the_page(given) == {
        "piece": {
            "name": "tune:1",
            "notes": ["as in take 1 of tune from 0 to 1"],
            "lyrics": "--precision",
        },
        "queue": [{"message": "use precision float32", "log": ["--precision"], "share": 0.5}],
        "error": "another device",
    }
