"""Folders that hold sessions: finding, naming, renaming and removing them.

A removed session waits in the folder `.trash` beside it, until that is emptied.
"""

import os
import shutil
from datetime import datetime
from pathlib import Path

from jukebox_hf.files import safe_file_name
from jukebox_hf.generation.session_overview import SessionOverview
from jukebox_hf.generation.session_record import RECORD_NAME
from jukebox_hf.locks import locked

TRASH = ".trash"


def session_folders(folder: Path) -> list[Path]:
    """The sessions directly in a folder, or the folder itself if it is one; oldest first."""
    if SessionOverview.is_at(folder):
        return [folder]
    found = [path.parent for path in folder.glob(f"*/{RECORD_NAME}")]
    return sorted(found, key=lambda path: (path / RECORD_NAME).stat().st_mtime)


def default_folder(seed: int, parent: Path) -> Path:
    """A new folder's name, from the time and the seed; a number is added where it exists."""
    stem = f"jukebox_{datetime.now():%Y%m%d_%H%M%S}_seed_{seed}"
    candidate = parent / stem
    number = 2
    while candidate.exists():
        candidate = parent / f"{stem}_{number}"
        number += 1
    return candidate


def rename_session(folder: Path, name: str) -> Path:
    """Give a session's folder another name; returns its new path.

    Raises `FileNotFoundError` if there is no session, `ValueError` for what is not the plain name
    of a folder, `FileExistsError` if it is taken, `FolderInUseError` while somebody works on it.
    """
    if name != safe_file_name(name) or name.startswith("."):
        raise ValueError(
            f"{name!r:.80} cannot be the name of a folder everywhere; try {safe_file_name(name)!r}"
        )
    target = folder.parent / name
    if os.path.lexists(target):
        raise FileExistsError(f"{target} exists; choose another name")
    _check_idle(folder)
    os.rename(folder, target)
    return target


def remove_session(folder: Path) -> Path:
    """Move a session into `.trash` beside it; returns where it is now. Errors as of renaming."""
    _check_idle(folder)
    trash = folder.parent / TRASH
    if trash.is_symlink():
        raise OSError(f"{trash} is a link, expected a folder; remove the link")
    trash.mkdir(exist_ok=True)
    target = trash / folder.name
    number = 2
    while os.path.lexists(target):
        target = trash / f"{folder.name}_{number}"
        number += 1
    os.rename(folder, target)
    return target


def restore_session(folder: Path) -> Path:
    """Put a session that is in a `.trash` back beside that; returns where it is now."""
    if folder.parent.name != TRASH:
        raise ValueError(f"{folder} is not in a folder {TRASH}")
    target = folder.parent.parent / folder.name
    if os.path.lexists(target):
        raise FileExistsError(f"{target} exists; rename it first")
    os.rename(folder, target)
    return target


def empty_trash(folder: Path) -> list[Path]:
    """Delete the removed sessions of a folder for good, and nothing else; returns which."""
    removed = []
    trash = folder / TRASH
    for path in sorted(trash.iterdir()) if trash.is_dir() and not trash.is_symlink() else ():
        if not path.is_symlink() and SessionOverview.is_at(path):
            shutil.rmtree(path)
            removed.append(path)
    if trash.is_dir() and not any(trash.iterdir()):
        trash.rmdir()
    return removed


def _check_idle(folder: Path) -> None:
    if not SessionOverview.is_at(folder):
        raise FileNotFoundError(f"{folder} is not a session: it has no {RECORD_NAME}")
    with locked(folder):
        pass  # nobody works on it
