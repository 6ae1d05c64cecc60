"""Reading a folder of sessions for the page: whatever is in it, the rest is shown."""

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import soundfile
from click.testing import CliRunner

from jukebox_cli.main import main
from jukebox_cli.studio.pieces import (
    Pieces,
    Sound,
    SoundCut,
    find_parents,
    find_sound,
    plain_file,
    read_piece,
)


def test_pieces_are_read_with_their_tree(folder: Path) -> None:
    pieces = Pieces(folder).scan()
    assert list(pieces) == ["one", "two"]
    assert find_parents(pieces) == {"two": "one"}
    one = pieces["one"]
    assert one.complete
    assert [take["number"] for take in one.takes] == [1, 2]
    assert one.takes[0]["genre"] == "rock"
    assert [level["share"] for level in one.takes[0]["levels"]] == [1.0, 1.0, 1.0]
    assert pieces["two"].takes[0]["cut_seconds"] == pytest.approx(0.2, abs=0.016)
    sound = find_sound(one, 1)
    assert sound is not None
    assert sound.finished
    assert sound.path.suffix == ".flac"
    assert find_sound(one, 3) is None


def test_a_part_of_a_sound_is_what_is_there_of_it(folder: Path) -> None:
    sound = find_sound(Pieces(folder).scan()["one"], 1)
    assert sound is not None
    whole, rate = soundfile.read(sound.path, dtype="int16")

    def part(begin: float, seconds: float) -> list[int]:
        cut = SoundCut(sound, begin, seconds)
        blocks = list(cut.blocks())
        assert sum(map(len, blocks)) == cut.num_bytes
        assert max(map(len, blocks)) <= 2 * rate  # a second
        samples, found_rate = soundfile.read(io.BytesIO(b"".join(blocks)), dtype="int16")
        assert found_rate == rate
        return list(samples)

    assert part(0.1, 0.1) == list(whole[round(0.1 * rate) : round(0.2 * rate)])
    assert part(0, 60) == list(whole)
    assert part(0.2, 60) == list(whole[round(0.2 * rate) :])
    assert part(99, 1) == []
    sound.path.write_bytes(b"no sound")
    with pytest.raises(ValueError, match=r"flac cannot be read as sound"):
        SoundCut(sound, 0, 1)


def test_a_snapshot_that_becomes_shorter_ends_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "01.wav"
    soundfile.write(path, [0.5] * 24_000, 8000, subtype="PCM_16")
    cut = SoundCut(Sound(path, "audio/wav", False, ""), 0, 3)
    blocks = cut.blocks()
    found = next(blocks) + next(blocks)
    with path.open("r+b") as file:
        file.truncate(44 + 2 * 12_000)
    samples, _ = soundfile.read(io.BytesIO(found + b"".join(blocks)))
    assert len(samples) == 24_000
    assert set(samples[:8000]) == {0.5}
    assert set(samples[12_000:]) == {0.0}


def test_a_folder_that_was_moved_keeps_its_tree(folder: Path, tmp_path: Path) -> None:
    moved = folder.rename(tmp_path / "elsewhere")
    assert find_parents(Pieces(moved).scan()) == {"two": "one"}


def test_a_renamed_parent_is_found_by_its_number_and_a_copy_is_not_taken_for_it(
    folder: Path,
) -> None:
    shutil.copytree(folder / "one", folder / "zero")
    assert find_parents(Pieces(folder).scan()) == {"two": "one"}
    shutil.rmtree(folder / "zero")
    (folder / "one").rename(folder / "first")
    assert find_parents(Pieces(folder).scan()) == {"two": "first"}


def test_a_record_is_read_again_only_when_it_changed(folder: Path) -> None:
    pieces = Pieces(folder)
    first = pieces.scan()["one"]
    assert pieces.scan()["one"] is first
    assert CliRunner().invoke(main, ["sessions", "keep", str(folder / "one"), "2"]).exit_code == 0
    again = pieces.scan()["one"]
    assert [take["kept"] for take in again.takes] == [False, True]


def test_records_that_name_each_other_make_no_circle(folder: Path) -> None:
    record = json.loads((folder / "one" / "session.json").read_text(encoding="utf-8"))
    record["parent"] = {"source": str(folder / "two"), "action": "continue", "takes": [1]}
    (folder / "one" / "session.json").write_text(json.dumps(record), encoding="utf-8")
    parents = find_parents(Pieces(folder).scan())
    assert len(parents) <= 1


def spoil(value: Any, path: tuple[Any, ...], wrong: Any) -> Any:
    """A copy of plain values with one of them replaced."""
    if not path:
        return wrong
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = spoil(copy[path[0]], path[1:], wrong)
    return copy


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if not isinstance(value, (dict, list)):
        return [path]
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    return [path, *(one for key, below in inner for one in paths_in(below, (*path, key)))]


@pytest.mark.parametrize("wrong", [None, "x", -1, 1e300, [], {}, True, [["a"]]])
def test_whatever_a_record_holds_the_piece_is_shown_or_said_to_be_damaged(
    wrong: Any, folder: Path
) -> None:
    record = json.loads((folder / "two" / "session.json").read_text(encoding="utf-8"))
    record["windows"] = record["windows"][:1]
    places = paths_in(record)
    assert len(places) > 100
    for place in places:
        text = json.dumps(spoil(record, place, wrong))
        (folder / "two" / "session.json").write_text(text, encoding="utf-8")
        piece = read_piece("two", folder / "two")
        json.dumps(piece.facts, allow_nan=False)
        if piece.error is None:
            for take in piece.takes:
                find_sound(piece, take["number"])
            find_parents({"two": piece})
        else:
            assert "\n" not in piece.error


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"format_version": 99}', "[" * 100_000, '{"format_version": NaN}']
)
def test_a_damaged_record_hides_no_other_piece(text: str, folder: Path) -> None:
    (folder / "one" / "session.json").write_text(text, encoding="utf-8")
    pieces = Pieces(folder).scan()
    assert pieces["one"].error
    assert pieces["two"].error is None


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_are_not_followed(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "one", tmp_path / "outside")
    (folder / "three").symlink_to(tmp_path / "outside")
    (folder / "four").mkdir()
    (folder / "four" / "session.json").symlink_to(tmp_path / "outside" / "session.json")
    assert set(Pieces(folder).scan()) == {"one", "two"}
    piece = read_piece("one", folder / "one")
    audio = folder / "one" / piece.takes[0]["audio"]
    audio.unlink()
    audio.symlink_to("/etc/hostname")
    assert find_sound(piece, 1) is None


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "..\\x", "C:x", "a\0b"])
def test_names_that_lead_elsewhere_are_no_files(name: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("", encoding="utf-8")
    assert plain_file(tmp_path, name) is None
    assert plain_file(tmp_path, "a", "b") is not None
