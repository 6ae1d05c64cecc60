"""A processor on disk: `processor_config.json` (settings) and `vocabulary.json` (names and ids).

Both are plain JSON, so that reading a stranger's files can at worst fail: with a `ValueError`, and
before anything large is allocated.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jukebox_hf.files import write_atomically
from jukebox_hf.records import OMIT, check_version, from_json, read_json, to_json
from jukebox_hf.words import refuse_unknown

CONFIG_FILE = "processor_config.json"
VOCABULARY_FILE = "vocabulary.json"
ALIASES = "genre_aliases"  # in it, if there are any
FORMAT_VERSION = 1
LARGEST_FILE_BYTES = 64 * 2**20  # the released names take 0.3 MB


@dataclass(frozen=True)
class _Vocabulary:
    """What `vocabulary.json` holds; the processor looks at ids and aliases."""

    artists: dict[str, Any]
    genres: dict[str, Any]
    genre_aliases: dict[str, Any] = field(default_factory=dict, metadata=OMIT)


def write_processor_files(
    folder: Path,
    settings: Mapping[str, Any],
    vocabulary: Mapping[str, Mapping[str, int]],
    aliases: Mapping[str, Any],
) -> list[str]:
    """Write both files into a folder, each whole or not at all; return their paths."""
    by_id: dict[str, Any] = {
        kind: dict(sorted(ids.items(), key=lambda entry: (entry[1], entry[0])))
        for kind, ids in vocabulary.items()
    }
    if aliases:
        by_id[ALIASES] = aliases
    config = {"processor_class": "JukeboxProcessor", "format_version": FORMAT_VERSION, **settings}
    for name, content in ((VOCABULARY_FILE, by_id), (CONFIG_FILE, config)):
        data = (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()
        write_atomically(folder / name, lambda path, data=data: _write(path, data))  # type: ignore[misc]
    return [str(folder / CONFIG_FILE), str(folder / VOCABULARY_FILE)]


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def read_processor_files(
    source: str | os.PathLike[str], setting_names: Iterable[str], **hub: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings and the vocabulary of a processor in a folder or a repository.

    The vocabulary has `artists` and `genres`, and maybe `genre_aliases`, which are not looked at.

    Args:
        source: a folder or a repository id.
        setting_names: what the settings must consist of; values are not looked at.
        hub: arguments of `transformers.utils.cached_file`, `subfolder` and `revision` among them.

    Raises:
        OSError: if the files are not there.
        ValueError: if they are not what `write_processor_files` writes.
    """
    config_path = _find_file(source, CONFIG_FILE, hub)
    if not os.path.isdir(source):
        from transformers.utils.hub import extract_commit_hash

        commit = extract_commit_hash(str(config_path), None)
        if commit is not None:
            hub = {**hub, "revision": commit}  # both files from one state of the repository
    vocabulary_path = _find_file(source, VOCABULARY_FILE, hub)

    settings = read_json(config_path, max_bytes=LARGEST_FILE_BYTES, unique=True)
    check_version(settings, FORMAT_VERSION, str(config_path))
    del settings["format_version"]
    settings.pop("processor_class", None)
    _require_keys(settings, setting_names, config_path)
    content = read_json(vocabulary_path, max_bytes=LARGEST_FILE_BYTES, unique=True)
    vocabulary = to_json(from_json(_Vocabulary, content, str(vocabulary_path)))
    return settings, vocabulary


def _find_file(source: str | os.PathLike[str], name: str, hub: Mapping[str, Any]) -> Path:
    if os.path.isdir(source):
        path = Path(source, hub.get("subfolder") or "", name)
        if not path.is_file():
            raise FileNotFoundError(
                f"{path.parent} has no {name}; expected the folder of a prior with its processor"
            )
        return path
    from transformers.utils.hub import cached_file

    try:
        found = cached_file(os.fspath(source), name, **hub)
    except OSError as error:
        raise OSError(f"{source}: cannot get {name} of its processor: {error}") from error
    assert found is not None  # it raises instead
    return Path(found)


def _require_keys(content: Mapping[str, Any], names: Iterable[str], path: Path) -> None:
    names = list(names)
    refuse_unknown(content, names, str(path))
    missing = [name for name in names if name not in content]
    if missing:
        raise ValueError(f"{path}: {', '.join(missing)} should stand in it")
