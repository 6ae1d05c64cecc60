"""Datasets on the Hub: which are fetched as folders, which are read as tables."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest
from huggingface_hub.errors import (
    EntryNotFoundError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)

from jukebox_hf.data import encode_dataset, open_codes, open_songs, stream_songs
from jukebox_hf.refusals import HTTP_LIBRARIES
from tests.data.song_files import tiny_codec, write_song, write_songs


class ConnectError(Exception):
    """What the HTTP library of huggingface_hub raises without a network."""

    __module__ = HTTP_LIBRARIES[0]


class FakeHub:
    """Repositories that are folders: their files are listed, and fetched by not moving them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.online = True
        self.fetched: list[dict[str, Any]] = []

    def list_repo_files(self, repo_id: str, *, repo_type: str, revision: str | None) -> list[str]:
        assert repo_type == "dataset"
        if not self.online:
            raise OfflineModeIsEnabled("offline")
        folder = self.root / repo_id
        return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]

    def snapshot_download(self, repo_id: str, **options: Any) -> str:
        self.fetched.append(options)
        if not (self.root / repo_id).is_dir():
            raise LocalEntryNotFoundError("not in the cache")
        return str(self.root / repo_id)

    def hf_hub_download(self, repo_id: str, name: str, **options: Any) -> str:
        if "/" not in repo_id[1:] or repo_id.count("/") > 1:
            raise HFValidationError(repo_id)
        if not (self.root / repo_id / name).is_file():
            raise EntryNotFoundError(name)
        return str(self.root / repo_id / name)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    hub = FakeHub(tmp_path / "hub")
    monkeypatch.setattr(
        huggingface_hub.HfApi,
        "list_repo_files",
        lambda _, *args, **kw: hub.list_repo_files(*args, **kw),
    )
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", hub.hf_hub_download)
    return hub


def test_repository_laid_out_as_audio_folder_is_fetched_and_read_as_one(hub: FakeHub) -> None:
    folder = hub.root / "me" / "music"
    write_song(folder / "train" / "a.wav", 0.5)
    write_song(folder / "test" / "b.mp3", 0.5, rate=8000)
    (folder / "train" / "metadata.csv").write_text("file_name,artist\na.wav,A\n")
    (folder / "README.md").write_text("# Music")
    (song,) = open_songs("me/music", revision="v1").songs
    assert (song.name, song.artist) == ("train/a.wav", "A")
    (options,) = hub.fetched
    assert options["revision"] == "v1"
    assert options["repo_type"] == "dataset"
    assert {"*.wav", "*.mp3", "*.lrc", "metadata.csv", "*/metadata.csv"} <= set(
        options["allow_patterns"]
    )


def test_without_a_connection_what_was_fetched_before_is_used(hub: FakeHub) -> None:
    write_songs(hub.root / "me" / "music", [0.5])
    hub.online = False
    assert len(open_songs("me/music").songs) == 1
    assert hub.fetched == [{"repo_type": "dataset", "revision": None, "local_files_only": True}]
    with pytest.raises(OSError, match="me/other"):
        open_songs("me/other")


@pytest.mark.parametrize("name", ["./gone", "/no/where/at/all", "~/music", "a/b/c", ""])
def test_names_that_can_only_be_folders_are_not_looked_for_on_the_hub(
    hub: FakeHub, name: str
) -> None:
    with pytest.raises(FileNotFoundError, match=r"there is no folder .* or OWNER/NAME on the Hub"):
        open_songs(name)
    assert not hub.fetched


@pytest.mark.parametrize("name", ["musik", "me/musik"])
@pytest.mark.parametrize("look", [open_songs, open_codes, lambda name: next(stream_songs(name))])
def test_a_hub_that_does_not_answer_is_asked_once(
    name: str, look: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Libraries ask it again and again, for half a minute each."""
    asked = []

    def refuse(*arguments: Any, **options: Any) -> Any:
        asked.append(arguments)
        raise ConnectError("no network")

    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    sentence = f"^{name}: there is no such folder, and no such dataset in the cache; the Hub could"
    with pytest.raises(FileNotFoundError, match=sentence):
        look(name)
    assert len(asked) == 1
    assert not huggingface_hub.constants.HF_HUB_OFFLINE
    assert not datasets.config.HF_HUB_OFFLINE


@pytest.mark.parametrize("layout", ["arrow", "parquet"])
def test_codes_are_opened_from_a_repository(
    tmp_path: Path, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    """As `jukebox push` leaves them, or as `Dataset.push_to_hub` would."""
    songs = open_songs(write_songs(tmp_path / "music", [1.0, 0.5])).songs
    encode_dataset(songs, tiny_codec(), tmp_path / "codes")
    local = open_codes(tmp_path / "codes")
    repository = hub.root / "me" / "codes"
    if layout == "arrow":
        shutil.copytree(tmp_path / "codes", repository)
    else:
        (repository / "data").mkdir(parents=True)
        table = datasets.load_from_disk(tmp_path / "codes")
        table.to_parquet(repository / "data" / "train-00000-of-00001.parquet")
        shutil.copy(tmp_path / "codes" / "jukebox_codes.json", repository)
        pushed = open_codes(repository)
        assert (pushed.info, pushed.songs) == (local.info, local.songs)
        assert pushed.codes(1, 0).equal(local.codes(1, 0))
    load = datasets.load_dataset
    monkeypatch.setattr(
        datasets, "load_dataset", lambda name, **kw: load(str(hub.root / name), **kw)
    )
    remote = open_codes("me/codes", revision="v2")
    assert hub.fetched[0]["revision"] == "v2"
    assert remote.info == local.info
    assert remote.songs == local.songs
    for number, level in [(0, 0), (1, 2)]:
        assert remote.codes(number, level).equal(local.codes(number, level))
    if layout == "parquet":
        only = repository / "data" / "train-00000-of-00001.parquet"
        only.rename(only.with_name("train-00000-of-00002.parquet"))
        with pytest.raises(ValueError, match="lacks files, or holds those of two tables: 'train-0"):
            open_codes(repository)
    (repository / "jukebox_codes.json").unlink()
    with pytest.raises(
        ValueError, match=r"holds no codes \(there is no jukebox_codes.json in it\)"
    ):
        open_codes("me/codes")


def test_missing_folder_of_codes_is_one_sentence() -> None:
    with pytest.raises(ValueError, match="/no/such/folder: expected the folder of a dataset"):
        open_codes("/no/such/folder")
