"""Folders that appear whole or not at all, and the JSON files in them."""

import contextlib
import json
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from jukebox_hf.files import PARTIAL_SUFFIX, give_usual_permissions, safe_file_name

MAX_JSON_BYTES = 200_000_000  # an index of a million tensors is smaller


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        ValueError: if it is not JSON, or not an object.
    """
    if path.stat().st_size > MAX_JSON_BYTES:
        raise ValueError(f"{path}: expected a JSON file of at most {MAX_JSON_BYTES:,} bytes")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON, found something else ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an indented JSON file in UTF-8."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def check_new_folder(folder: Path, *, overwrite: bool) -> None:
    """Raise `FileExistsError` if `folder` exists, unless it is empty or may be replaced.

    Even `overwrite` replaces nothing but a folder that this project wrote (it has a `jukebox.json`
    or a `config.json`).
    """
    if not os.path.lexists(folder):
        return
    if not folder.is_dir() or folder.is_symlink():
        raise FileExistsError(f"{folder} exists and is not a folder; choose another output")
    if not any(folder.iterdir()):
        return
    if not overwrite:
        raise FileExistsError(f"{folder} exists; choose another output or pass --overwrite")
    if not any((folder / name).is_file() for name in ("jukebox.json", "config.json")):
        raise FileExistsError(
            f"{folder} exists and holds something other than a model; it is not replaced even "
            "with --overwrite. Choose another output"
        )


def check_free_space(folder: Path, num_bytes: int) -> None:
    """Raise `OSError` if the disk that `folder` will be on has less room than that."""
    existing = Path(os.path.abspath(folder)).parent
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < num_bytes:
        raise OSError(
            f"{folder}: needs {num_bytes / 1e9:.1f} GB, but its disk has {free / 1e9:.1f} GB left"
        )


@contextlib.contextmanager
def new_folder(folder: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder beside `folder`, to be filled; on success it takes its place at once.

    If the block raises, the temporary folder is removed and `folder` is as it was.

    Raises:
        FileExistsError: see `check_new_folder`.
    """
    folder = Path(os.path.abspath(folder))
    check_new_folder(folder, overwrite=overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(folder)
    temporary = folder.with_name(
        f".{folder.name[:100]}.{_maker()}{os.getpid()}-{secrets.token_hex(4)}{PARTIAL_SUFFIX}"
    )
    temporary.mkdir()
    try:
        yield temporary
        give_usual_permissions(temporary)
        check_new_folder(folder, overwrite=overwrite)
        _move_into_place(temporary, folder)
    except BaseException:  # also Ctrl-C
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _maker() -> str:
    """Marks the temporary folders of this machine."""
    return safe_file_name(platform.node(), max_bytes=40) + "-"


def _remove_abandoned(folder: Path) -> None:
    """Remove what processes left here that were killed while they made this folder."""
    start = f".{folder.name[:100]}.{_maker()}"
    for path in folder.parent.iterdir():
        found = re.match(r"(\d+)-[0-9a-f]{8}\.partial", path.name.removeprefix(start))
        if path.name.startswith(start) and found and not psutil.pid_exists(int(found.group(1))):
            shutil.rmtree(path, ignore_errors=True)


def _move_into_place(temporary: Path, folder: Path) -> None:
    if not folder.exists():
        os.rename(temporary, folder)
        return
    replaced = temporary.with_name(temporary.name + ".replaced")
    os.rename(folder, replaced)
    try:
        os.rename(temporary, folder)
    except BaseException:
        os.rename(replaced, folder)
        raise
    shutil.rmtree(replaced, ignore_errors=True)
