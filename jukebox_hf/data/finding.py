"""What the name of a dataset stands for: a folder, a metadata file, a saved table, a repository.

A name goes in; `FoundSongs` comes out. Nothing is fetched that is on this machine already.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jukebox_hf.data.candidates import FoundSongs
from jukebox_hf.data.columns import ColumnNames
from jukebox_hf.data.errors import table_errors
from jukebox_hf.data.song_folders import (
    AUDIO_SUFFIXES,
    METADATA_NAMES,
    METADATA_SUFFIXES,
    find_in_folder,
    find_in_metadata_file,
    is_audio_file,
    walk_files,
)
from jukebox_hf.data.tables import find_in_stream, find_in_table
from jukebox_hf.labels import LYRICS_SUFFIXES
from jukebox_hf.refusals import asked_once, hub_refusals

TABLE_SUFFIXES = (".parquet", ".arrow")


def find_songs(
    dataset: str | os.PathLike[str],
    *,
    split: str | None,
    columns: ColumnNames,
    subset: str | None,
    revision: str | None,
) -> FoundSongs:
    """What a dataset lists; see `songs.open_songs` for the arguments and errors."""
    name, path = os.fspath(dataset), Path(dataset)
    if not name:
        _check_repository_name(name)
    if path.is_file():
        if path.suffix.lower() not in (*METADATA_SUFFIXES, ".json"):
            raise ValueError(
                f"{name} is a file, expected a folder, the name of a dataset on the Hub, or a "
                f"metadata file ({', '.join(METADATA_SUFFIXES)})"
            )
        return find_in_metadata_file(path, columns=columns)
    folder = path if path.is_dir() else None
    if folder is None:
        _check_repository_name(name)
        with hub_refusals(name, revision, kind="dataset"), asked_once(name, revision):
            folder = _fetch_audio_folder(name, revision)
            if folder is None:
                table = _load_table(
                    name, split=split, subset=subset, revision=revision, streaming=False
                )
                return find_in_table(table, columns=columns, source=name, folder=None)
    elif (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        return find_in_table(
            _saved_table(folder, split), columns=columns, source=name, folder=folder
        )
    if not _has_tables(folder):
        return find_in_folder(folder, split=split, columns=columns, source=name)
    table = _load_table(name, split=split, subset=subset, revision=revision, streaming=False)
    return find_in_table(table, columns=columns, source=name, folder=folder)


def stream_found(
    dataset: str | os.PathLike[str],
    *,
    split: str | None,
    columns: ColumnNames,
    subset: str | None,
    revision: str | None,
) -> Iterator[FoundSongs]:
    """The same, row by row, of a table that need not fit on this machine's disk."""
    name = os.fspath(dataset)
    if not Path(dataset).exists():
        _check_repository_name(name)
        with hub_refusals(name, revision, kind="dataset"), asked_once(name, revision):
            table = _load_table(name, split=split, subset=subset, revision=revision, streaming=True)
    else:
        table = _load_table(name, split=split, subset=subset, revision=revision, streaming=True)
    return find_in_stream(table, columns=columns, source=name)


def holds_tables(dataset: str | os.PathLike[str]) -> bool:
    """Whether a folder holds tables of songs, such as parquet files, rather than audio files."""
    folder = Path(dataset)
    saved = any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))
    return folder.is_dir() and not saved and _has_tables(folder)


def _check_repository_name(name: str) -> None:
    if name.count("/") > 1 or name.startswith((".", "/", "~")) or "\\" in name or not name:
        raise FileNotFoundError(
            f"there is no folder {name!r}; expected one, or OWNER/NAME on the Hub"
        )


def _has_tables(folder: Path) -> bool:
    """Whether a folder holds tables rather than audio files."""
    files = [path for path in walk_files(folder) if path.name not in METADATA_NAMES]
    return not any(is_audio_file(path.name) for path in files) and any(
        path.suffix.lower() in (*TABLE_SUFFIXES, ".csv", ".json", ".jsonl", ".tar")
        for path in files
    )


def _fetch_audio_folder(repo_id: str, revision: str | None) -> Path | None:
    """Fetch a repository laid out as an audio folder; None for one that holds tables."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = [*METADATA_NAMES, *(f"*/{name}" for name in METADATA_NAMES)]
    for suffix in (*METADATA_SUFFIXES, *LYRICS_SUFFIXES):
        patterns += [f"*{suffix}", f"*{suffix.upper()}"]
    try:
        files = HfApi().list_repo_files(repo_id, repo_type="dataset", revision=revision)
    except HfHubHTTPError:
        raise  # the Hub has answered: there is no such repository, or it may not be read
    except Exception:  # no connection, in the words of whichever HTTP library is in use
        try:
            fetched = snapshot_download(
                repo_id, repo_type="dataset", revision=revision, local_files_only=True
            )
        except LocalEntryNotFoundError:
            return None  # perhaps datasets has it as a table
        return None if _has_tables(Path(fetched)) else Path(fetched)
    suffixes = {Path(name).suffix for name in files}
    audio = {suffix for suffix in suffixes if suffix.lower() in AUDIO_SUFFIXES}
    tables = {
        Path(name).suffix.lower() for name in files if Path(name).name not in METADATA_NAMES
    } & {*TABLE_SUFFIXES, ".tar"}
    if not audio or tables:
        return None
    return Path(
        snapshot_download(
            repo_id,
            repo_type="dataset",
            revision=revision,
            allow_patterns=[*patterns, *(f"*{suffix}" for suffix in sorted(audio))],
        )
    )


def _saved_table(folder: Path, split: str | None) -> Any:
    """A table that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote."""
    from datasets import Dataset, load_from_disk

    with table_errors(os.fspath(folder)):
        saved = load_from_disk(os.fspath(folder))
    if isinstance(saved, Dataset):
        if split not in (None, str(saved.split)):
            raise ValueError(f"{folder} is a single split, {saved.split}; leave {split!r} out")
        return saved
    wanted = split or ("train" if "train" in saved or len(saved) > 1 else next(iter(saved)))
    if wanted not in saved:
        raise ValueError(f"{folder} has no split {wanted!r}; its splits are: {', '.join(saved)}")
    return saved[wanted]


def _load_table(
    name: str, *, split: str | None, subset: str | None, revision: str | None, streaming: bool
) -> Any:
    from datasets import load_dataset

    with table_errors(name):
        return load_dataset(
            name, name=subset, split=split or "train", revision=revision, streaming=streaming
        )
