"""Words that people use for genres lead to the genres that a model has."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from jukebox_hf.labels import JukeboxProcessor

GENRES = {"unknown": 0, "rock": 1, "electronic": 2, "folk": 3, "ambient": 4}
ALIASES = {
    "same": {"electronic": ["techno", "drum and bass"], "rock": ["rock'n'roll"]},
    "nearest": {"folk": ["country"], "rock": ["r&b", "pop"]},
}


def processor(**changes: Any) -> JukeboxProcessor:
    settings = {"artists": {"unknown": 0}, "genres": GENRES, "genre_aliases": ALIASES, **changes}
    return JukeboxProcessor(**settings)


@pytest.mark.parametrize(
    ("given", "genre", "note"),
    [
        ("rock", "rock", None),
        ("ROCK", "rock", None),
        ("", "unknown", None),
        ("Techno", "electronic", "genre 'Techno' is 'electronic' to this model"),
        ("Rock'n'Roll", "rock", "is 'rock' to this model"),
        ("rock n roll", "rock", "is 'rock' to this model"),
        ("R & B", "rock", "'R & B' is not a genre of this model; using 'rock', the nearest"),
        ("alt country", "folk", "'alt country' is not a genre of this model; using 'folk'"),
        ("indie folk", "folk", "'indie folk' is not a genre of this model; using 'folk'"),
        ("Drum & Bass", "electronic", "genre 'Drum & Bass' is 'electronic' to this model"),
        ("liquid drum and bass", "electronic", "using 'electronic'"),
        ("zydeco", "unknown", "is not known to this prior"),
        ("!?", "unknown", "is not known to this prior"),
    ],
)
@pytest.mark.parametrize("dialect", ["v2", "v3"])
def test_genres_are_found(given: str, genre: str, note: str | None, dialect: str) -> None:
    own = processor(dialect=dialect)
    resolved = own.resolve(genre=given)
    assert resolved.genre_name == genre
    assert resolved.genre_ids == (GENRES[genre],)
    if note is None:
        assert resolved.notes == ()
    else:
        (found,) = resolved.notes
        assert note in found


def test_the_last_of_two_words_counts() -> None:
    own = processor()
    assert own.resolve(genre="folk rock").genre_name == "rock"
    assert own.resolve(genre="rock folk").genre_name == "folk"
    assert own.resolve(genre="unknown pleasures").genre_name == "unknown"


def test_without_aliases_nothing_changes() -> None:
    bare = processor(genre_aliases=None)
    assert bare.resolve(genre="indie folk").genre_name == "unknown"
    assert len(bare.genre_aliases) == 0


def test_aliases_are_saved_and_loaded(tmp_path: Path) -> None:
    own = processor()
    own.save_pretrained(tmp_path / "with")
    assert JukeboxProcessor.from_pretrained(tmp_path / "with") == own
    assert own != processor(genre_aliases=None)
    processor(genre_aliases=None).save_pretrained(tmp_path / "without")
    assert "aliases" not in (tmp_path / "without" / "vocabulary.json").read_text()


def test_a_genre_that_is_learnt_is_no_alias_any_more() -> None:
    own = processor()
    (ids,) = own.add_genres(["techno"])
    assert own.resolve(genre="techno").genre_ids == ids
    assert own.resolve(genre="minimal techno").genre_ids == ids
    assert "techno" not in own.genre_aliases.names
    assert "techno" not in json.dumps(own.genre_aliases.to_dict())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "genre_aliases: expected names by genre, got []"),
        ({"alike": {}}, "expected same and nearest, got 'alike'"),
        ({"same": {"jazz": ["swing"]}}, "'jazz' is not a genre of this vocabulary"),
        ({"same": {"rock": "pop"}}, "expected a list for 'rock', got 'pop'"),
        ({"same": {"rock": [3]}}, "expected names of at most 200 characters for 'rock', got 3"),
        ({"same": {"rock": [" "]}}, "expected names of at most 200 characters"),
        ({"same": {"rock": ["x" * 201]}}, "expected names of at most 200 characters"),
        ({"same": {"rock": ["pop"], "folk": ["Pop!"]}}, "'Pop!' stands there for two genres"),
        ({"same": {"rock": ["pop"]}, "nearest": {"folk": ["pop"]}}, "stands there for two genres"),
    ],
)
def test_wrong_aliases_are_refused(content: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        processor(genre_aliases=content)
    if not isinstance(content, dict):
        message = "genre_aliases: expected an object, found []"  # said before a processor is made
    processor().save_pretrained(tmp_path)
    path = tmp_path / "vocabulary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "genre_aliases": content}))
    with pytest.raises(ValueError, match=re.escape(message)):
        JukeboxProcessor.from_pretrained(tmp_path)
