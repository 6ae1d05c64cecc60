"""Folders that appear whole or not at all, and the JSON files in them."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jukebox_hf import files
from jukebox_hf.words import format_bytes


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
            f"{folder}: needs {format_bytes(num_bytes)}, but its disk has {format_bytes(free)} left"
        )


@contextlib.contextmanager
def new_model_folder(folder: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder beside `folder`, to be filled; on success it takes its place at once.

    If the block raises, the temporary folder is removed and `folder` is as it was.

    Raises:
        FileExistsError: see `check_new_folder`.
    """
    folder = Path(os.path.abspath(folder))
    files.sweep_leftovers(folder.parent, folder.name)  # may put back what was there
    check_new_folder(folder, overwrite=overwrite)
    with files.new_folder(folder) as temporary:
        yield temporary
        check_new_folder(folder, overwrite=overwrite)
