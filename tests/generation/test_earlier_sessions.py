"""Sessions of an earlier version open, go on, and end with the codes that it would have made."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jukebox_hf.generation.session import Session
from jukebox_hf.generation.session_record import PartRecord, SessionRecord
from jukebox_hf.records import from_json, to_json

SESSIONS = Path(__file__).parent / "sessions"
NAMES = sorted(path.parent.name for path in SESSIONS.glob("*/session.json"))
EXPECTED = json.loads((SESSIONS / "expected.json").read_text(encoding="utf-8"))


def test_there_are_sessions() -> None:
    assert set(NAMES) == set(EXPECTED)
    assert len(NAMES) == 12


@pytest.mark.parametrize("name", NAMES)
def test_a_session_ends_with_the_codes_that_it_would_have_had(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    shutil.copytree(SESSIONS / name, folder)
    session = Session.open(folder)
    system = session.open_system(SESSIONS / "model")
    if not session.complete:
        for _ in session.run(system, device="cpu", previews=False):
            pass
    session = Session.open(folder)
    assert session.complete
    for take in session.takes:
        assert take.codes is not None
        assert session.codes(take.number) is not None  # checks the files against the record
        found = {str(level): vars(stored) for level, stored in take.codes.items()}
        assert found == EXPECTED[name][str(take.number)]


@pytest.mark.parametrize("name", NAMES)
def test_a_record_is_written_as_it_was_read(name: str, tmp_path: Path) -> None:
    text = (SESSIONS / name / "session.json").read_text(encoding="utf-8")
    SessionRecord.load(SESSIONS / name).save(tmp_path)
    found = (tmp_path / "session.json").read_text(encoding="utf-8")
    if name == "upsampled":  # where a session was cut is said of upsampled ones now, too
        text = text.replace(
            '      2\n    ]\n  },\n  "takes"',
            '      2\n    ],\n    "from_seconds": null\n  },\n  "takes"',
        )
    assert found == text


def test_a_part_of_another_process_is_written_as_it_was_read(tmp_path: Path) -> None:
    path = SESSIONS / "shared" / "parts" / "process_01.json"
    PartRecord.load(path).save(tmp_path / "part.json")
    assert (tmp_path / "part.json").read_bytes() == path.read_bytes()


# --- damage -------------------------------------------------------------------------------------


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, by keys and numbers; of lists the first and the last entry."""
    if path:
        yield path
    if isinstance(content, dict):
        for name, value in content.items():
            yield from places(value, (*path, name))
    elif isinstance(content, list):
        for number in sorted({0, len(content) - 1} & set(range(len(content)))):
            yield from places(content[number], (*path, number))


def changed(content: Any, path: tuple[Any, ...], change: Any) -> Any:
    """A copy with another value at a place, or without it (`...`)."""
    copy = json.loads(json.dumps(content))
    inner = copy
    for step in path[:-1]:
        inner = inner[step]
    if change is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = change
    return copy


# Keys of a session's record, or of what is in it, that may not be missing.
NEEDED = """
created complete model source revision name licence components digest codebook_fingerprint settings
seed to_level levels precision device versions sampling_rate hop_lengths notes parent takes number
prompt artist genre lyrics seconds total_seconds offset_seconds primer primer_start_seconds
primer_end_seconds num_samples total_samples offset_samples existing labels artist_id genre_ids
artist_name genre_name lyric_text lyric_seconds codes count crc32 audio alignment kept batch_sizes
chains take level runs windows given new rows chain start lyric_span
"""
WRONG = (
    ...,
    None,
    [],
    {},
    "x",
    -1,
    1.5,
    True,
    [None],
    {"x": 1},
    10**30,
    [[[[]]]],
    "../../x",
    "x" * 9999,
)


@pytest.mark.parametrize("name", ["shared", "complete", "continued", "infilled"])
def test_whatever_is_wrong_with_a_record_is_one_sentence_with_its_file(
    name: str, tmp_path: Path
) -> None:
    """Every key missing, and something else in every place: it opens, or is refused by name."""
    path = tmp_path / "session.json"
    content = json.loads((SESSIONS / name / "session.json").read_text(encoding="utf-8"))
    refused = 0
    for place in places(content):
        if name == "infilled" and place[0] not in ("chains", "hole", "filled", "given", "parent"):
            continue  # the rest is as in the others
        for wrong in WRONG:
            path.write_text(json.dumps(changed(content, place, wrong)), encoding="utf-8")
            try:
                record = Session.open(tmp_path).record
            except ValueError as error:
                refused += 1
                text = str(error)
                assert text.startswith(str(path)), text
                assert "\n" not in text, text
                assert len(text) < 600, text
            else:
                from_json(SessionRecord, record.to_json(), "again", version=1)
    assert refused > 500


def test_a_record_is_refused_without_exactly_the_keys_that_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "session.json"
    content = json.loads((SESSIONS / "shared" / "session.json").read_text(encoding="utf-8"))
    missed = set()
    for place in places(content):
        path.write_text(json.dumps(changed(content, place, ...)), encoding="utf-8")
        try:
            SessionRecord.load(tmp_path)
        except ValueError as error:
            if str(error).endswith(f": {place[-1]} is missing"):
                missed.add(place[-1])
    assert missed == set(NEEDED.split())


def test_whatever_is_wrong_with_a_part_is_one_sentence_with_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    shutil.copytree(SESSIONS / "shared", folder)
    path = folder / "parts" / "process_01.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    refused = 0
    for place in places(content):
        for wrong in WRONG:
            path.write_text(json.dumps(changed(content, place, wrong)), encoding="utf-8")
            record = SessionRecord.load(folder)
            try:
                record.merge(PartRecord.load(path), str(path))
            except ValueError as error:
                refused += 1
                text = str(error)
                assert text.startswith(str(path)), text
            else:
                from_json(SessionRecord, to_json(record, version=1), "again", version=1)
    assert refused > 100
