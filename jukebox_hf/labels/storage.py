"""A processor on disk: `processor_config.json` (settings) and `vocabulary.json` (names and ids).

Both are plain JSON, so that reading a stranger's files can at worst fail: with a `ValueError`, and
before anything large is allocated.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers.utils.hub import cached_file, extract_commit_hash

from jukebox_hf.files import write_atomically
from jukebox_hf.records import check_version
from jukebox_hf.words import refuse_unknown

CONFIG_FILE = "processor_config.json"
VOCABULARY_FILE = "vocabulary.json"
ALIASES = "genre_aliases"  # in it, if there are any
FORMAT_VERSION = 1
LARGEST_FILE_BYTES = 64 * 2**20  # the released names take 0.3 MB


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
    commit = extract_commit_hash(str(config_path), None)
    if commit is not None:
        hub = {**hub, "revision": commit}  # both files from one state of the repository
    vocabulary_path = _find_file(source, VOCABULARY_FILE, hub)

    settings = _read_json_object(config_path)
    check_version(settings, FORMAT_VERSION, str(config_path))
    del settings["format_version"]
    settings.pop("processor_class", None)
    _require_keys(settings, setting_names, config_path)
    vocabulary = _read_json_object(vocabulary_path)
    _require_keys({ALIASES: {}, **vocabulary}, ("artists", "genres", ALIASES), vocabulary_path)
    for kind in ("artists", "genres"):
        ids = vocabulary[kind]
        if not isinstance(ids, dict):
            raise ValueError(f"{vocabulary_path}: {kind} must map names to ids, got {ids!r:.80}")
    return settings, vocabulary


def _find_file(source: str | os.PathLike[str], name: str, hub: Mapping[str, Any]) -> Path:
    if os.path.isdir(source):
        path = Path(source, hub.get("subfolder") or "", name)
        if not path.is_file():
            raise FileNotFoundError(
                f"{path.parent} has no {name}; expected the folder of a prior with its processor"
            )
        return path
    try:
        found = cached_file(os.fspath(source), name, **hub)
    except OSError as error:
        raise OSError(f"{source}: cannot get {name} of its processor: {error}") from error
    assert found is not None  # it raises instead
    return Path(found)


def _read_json_object(path: Path) -> dict[str, Any]:
    size = path.stat().st_size
    if size > LARGEST_FILE_BYTES:
        raise ValueError(f"{path}: expected at most {LARGEST_FILE_BYTES} bytes, got {size}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_no_repetition)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected valid JSON, got an error: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def _no_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"{name[:80]!r} stands in it twice")
            seen.add(name)
    return content


def _require_keys(content: Mapping[str, Any], names: Iterable[str], path: Path) -> None:
    names = list(names)
    refuse_unknown(content, names, str(path))
    missing = [name for name in names if name not in content]
    if missing:
        raise ValueError(f"{path}: {', '.join(missing)} should stand in it")
