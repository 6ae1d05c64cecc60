"""`jukebox labels` lists and searches what a model knows, without reading weights."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jukebox_cli.labels import parse_search
from jukebox_cli.main import main
from jukebox_hf.labels import JukeboxProcessor
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.words import printable


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A top prior's folder, without weights."""
    config = JukeboxPriorConfig(level=2, artist_count=6, genre_count=3, genre_slots=1)
    processor = JukeboxProcessor.for_prior(
        config,
        artists={"unknown": 0, "céline dion": 1, "abba": 2, "ab\x1b[2mba": 3},
        genres={"unknown": 0, "blues rock": 1, "pop": 2},
    )
    config.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["labels", *map(str, arguments)], prog_name="jukebox")


def test_everything_is_listed(model: Path) -> None:
    result = run("--model", model)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "genre\tblues rock",
        "genre\tpop",
        "genre\tunknown",
        "artist\tab\\x1b[2mba",  # a name must not clear the screen
        "artist\tabba",
        "artist\tcéline dion",
        "artist\tunknown",
    ]
    assert result.stderr == f"prior_2 of {model} knows 3 genres and 4 artists (dialect v3).\n"


def test_a_search_finds_names_whatever_their_accents(model: Path) -> None:
    result = run("search", "Celine", "--model", model, "--level", 2)
    assert result.stdout == "artist\tcéline dion\n"
    assert "0 of its genres and 1 of its artists contain 'Celine'." in result.stderr
    assert run("--model", model, "search", "blues", "ROCK").stdout == "genre\tblues rock\n"


def test_a_search_offers_what_looks_alike(model: Path) -> None:
    result = run("search", "abbaa", "--model", model)
    assert result.stdout.splitlines()[0] == "artist\tabba"
    assert "knows no name that contains 'abbaa'; these look like it:" in result.stderr
    nothing = run("search", "zzz", "--model", model)
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "knows no name that contains 'zzz' or looks like it." in nothing.stderr


def test_json_has_the_ids(model: Path) -> None:
    record = json.loads(run("search", "abba", "--model", model, "--json", "-q").stdout)
    assert record == {
        "model": str(model),
        "level": 2,
        "dialect": "v3",
        "search": "abba",
        "alike": False,
        "genres": [],
        "artists": [{"name": "abba", "id": 2}],
        "aliases": [],
    }


def test_a_model_without_labels_says_so(tmp_path: Path) -> None:
    config = JukeboxPriorConfig()
    config.save_pretrained(tmp_path)
    JukeboxProcessor.for_prior(config).save_pretrained(tmp_path)
    result = run("--model", tmp_path)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "prior_0 of" in result.stderr
    assert "was trained without artists and genres." in result.stderr


@pytest.mark.parametrize("arguments", [["abba"], ["search"], ["search", " "]])
def test_what_is_no_search_is_a_usage_error(arguments: list[str], tmp_path: Path) -> None:
    result = run(*arguments, "--model", tmp_path)
    assert result.exit_code == 2
    assert "expected nothing or `search TEXT`" in result.stderr


def test_a_wrong_model_or_level_is_one_line(model: Path, tmp_path: Path) -> None:
    for arguments in (["--model", tmp_path / "none"], ["--model", model, "--level", 0]):
        result = run(*arguments)
        assert result.exit_code == 1
        assert result.stderr.count("\n") == 1
        assert result.stderr.startswith("Error: ")


def test_words_after_search_are_one_text() -> None:
    assert parse_search(()) == ""
    assert parse_search(("search", "the", "beatles")) == "the beatles"
    assert printable("a\tb\u202ec é") == "a\\tb\\u202ec é"
