"""A processor comes back from disk as it was, and a stranger's files can only fail cleanly."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoProcessor

import jukebox_hf
from jukebox_hf.labels import JukeboxProcessor


@pytest.fixture
def folder(v2: JukeboxProcessor, tmp_path: Path) -> Path:
    v2.add_artists(["東京 Tokyo"])
    v2.save_pretrained(tmp_path / "model" / "prior_0")
    return tmp_path / "model" / "prior_0"


def change(file: Path, **changes: Any) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**content, **changes}), encoding="utf-8")


def test_saved_and_loaded_is_the_same(
    v2: JukeboxProcessor, v3: JukeboxProcessor, tmp_path: Path
) -> None:
    v3.add_artists(["シャ\u2028ツ\n\"'\\", "ümlaut"])
    for name, processor in {"v2": v2, "v3": v3, "bare": JukeboxProcessor()}.items():
        files = processor.save_pretrained(tmp_path / name)
        assert sorted(Path(file).name for file in files) == [
            "processor_config.json",
            "vocabulary.json",
        ]
        assert JukeboxProcessor.from_pretrained(tmp_path / name) == processor
        assert JukeboxProcessor.from_pretrained(str(tmp_path), subfolder=name) == processor


def test_saving_twice_writes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    loaded = JukeboxProcessor.from_pretrained(folder)
    loaded.save_pretrained(tmp_path / "again")
    for file in folder.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()
    names = list(json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))["artists"])
    assert names == ["", "unknown", "various", "abba", "c_line_dion", "ac_dc", "odd_", "tokyo"]


def test_auto_processor_finds_it(folder: Path) -> None:
    assert jukebox_hf.JukeboxProcessor is JukeboxProcessor
    loaded = AutoProcessor.from_pretrained(folder.parent, subfolder="prior_0")
    assert isinstance(loaded, JukeboxProcessor)
    assert loaded == JukeboxProcessor.from_pretrained(folder)
    assert isinstance(AutoProcessor.from_pretrained(folder), JukeboxProcessor)


def test_it_is_found_in_the_cache_of_the_hub(folder: Path, tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "cache" / "models--someone--songs"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    shutil.copytree(folder.parent, repository / "snapshots" / commit)
    expected = JukeboxProcessor.from_pretrained(folder)
    for revision in (None, "main", commit):
        loaded = JukeboxProcessor.from_pretrained(
            "someone/songs",
            subfolder="prior_0",
            revision=revision,
            cache_dir=tmp_path / "cache",
            local_files_only=True,
        )
        assert loaded == expected
    with pytest.raises(OSError, match="someone/songs"):
        JukeboxProcessor.from_pretrained("someone/songs", cache_dir=tmp_path / "cache")
    with pytest.raises(OSError, match="nobody/songs"):
        JukeboxProcessor.from_pretrained("nobody/songs", cache_dir=tmp_path / "cache")


def test_pushing_uploads_what_saving_writes(
    v2: JukeboxProcessor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed: dict[str, Any] = {}

    def push_to_hub(self: JukeboxProcessor, repo_id: str, **kwargs: Any) -> None:
        self.save_pretrained(tmp_path / "upload", max_shard_size="5GB")  # as transformers does
        pushed.update(repo_id=repo_id, **kwargs)

    monkeypatch.setattr(JukeboxProcessor, "push_to_hub", push_to_hub)
    v2.save_pretrained(tmp_path / "songs", push_to_hub=True, repo_id="someone/songs", private=True)
    assert pushed == {"repo_id": "someone/songs", "private": True}
    assert JukeboxProcessor.from_pretrained(tmp_path / "upload") == v2


def test_a_folder_without_a_processor_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"model has no processor_config\.json; expected"):
        JukeboxProcessor.from_pretrained(folder.parent)
    (folder / "vocabulary.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"prior_0 has no vocabulary\.json"):
        JukeboxProcessor.from_pretrained(folder)
    with pytest.raises(OSError, match="nowhere"):
        JukeboxProcessor.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(TypeError, match=r"unexpected arguments \['lyric_length'\]"):
        JukeboxProcessor.from_pretrained(folder, lyric_length=4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "has format version 2, .*upgrade with"),
        ({"format_version": None}, "expected format_version 1, found None"),
        ({"lyric_lenght": 8}, "unknown setting 'lyric_lenght'. Did you mean 'lyric_length'?"),
        ({"dialect": ["v2"]}, r"the processor in .*prior_0: dialect must be one of v2, v3"),
        ({"genre_slots": "5"}, "genre_slots must be a whole number, got '5'"),
        ({"window_samples": 1e300}, "window_samples must be a whole number"),
        ({"lyric_characters": {"a": 1}}, "lyric_characters must be text"),
        ({"max_total_seconds": []}, "max_total_seconds must be a number of seconds"),
    ],
    ids=str,
)
def test_settings_of_strangers_are_checked(folder: Path, changes: Any, message: str) -> None:
    change(folder / "processor_config.json", **changes)
    with pytest.raises(ValueError, match=message):
        JukeboxProcessor.from_pretrained(folder)


def test_missing_settings_are_named(folder: Path) -> None:
    (folder / "processor_config.json").write_text('{"format_version": 1, "dialect": "v2"}')
    with pytest.raises(ValueError, match=r"genre_slots, lyric_characters, .* should stand in it"):
        JukeboxProcessor.from_pretrained(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"artists": ["abba"]}, r"artists: expected an object, found \['abba'\]"),
        ({"artists": {"abba": -1}}, "artist 'abba': expected an id from 0 to"),
        ({"artists": {"abba": 2**60}}, "artist 'abba': expected an id from 0 to"),
        ({"artists": {"abba": "1"}}, "artist 'abba': expected an id from 0 to"),
        ({"artists": {"abba": {"deep": []}}}, "artist 'abba': expected an id from 0 to"),
        ({"genres": {"rock": True}}, "genre 'rock': expected an id from 0 to"),
        ({"genres": {"\ud83d": 1}}, "genre names must be valid text"),
        ({"genres": None}, "genres: expected an object, found None"),
        ({"albums": {}}, "unknown setting 'albums'"),
    ],
    ids=str,
)
def test_vocabularies_of_strangers_are_checked(folder: Path, changes: Any, message: str) -> None:
    change(folder / "vocabulary.json", **changes)
    with pytest.raises(ValueError, match=message):
        JukeboxProcessor.from_pretrained(folder)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"expected JSON, found something else \("),
        (b"\x80\x04K\x01.", r"expected JSON, found something else \("),
        (b"[1]", "expected a JSON object, found list"),
        (
            b'{"artists": {"a": 1, "b": 2, "a": 3}, "genres": {}}',
            "expected JSON, .*'a' stands in it twice",
        ),
        (b'{"artists":' * 100_000, r"expected JSON, found something else \("),
        (b'{"artists": ' + b"9" * 10_000 + b"}", r"expected JSON, found something else \("),
        (b'{"artists": {}}', "genres is missing"),
    ],
    ids=range(7),
)
def test_files_that_are_something_else_are_refused(folder: Path, data: bytes, message: str) -> None:
    (folder / "vocabulary.json").write_bytes(data)
    with pytest.raises(ValueError, match=r"vocabulary\.json: " + message):
        JukeboxProcessor.from_pretrained(folder)


def test_absurdly_large_files_are_not_read(folder: Path) -> None:
    with (folder / "vocabulary.json").open("wb") as file:
        file.truncate(2**36)  # takes no space
    with pytest.raises(ValueError, match=r"expected a JSON file of at most [\d,]+ bytes"):
        JukeboxProcessor.from_pretrained(folder)
