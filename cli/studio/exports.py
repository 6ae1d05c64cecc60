"""Files that somebody asked for: each export in a folder of its own, with a name nobody can guess.

What was written goes in; its place, `FOLDER/FILE`, comes out, by which the page fetches it.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

KEPT_SECONDS = 3600.0
PLACE = re.compile(r"[0-9a-f]{32}")


class Exports:
    """The exports in a folder, which need not be there yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def new(self) -> Path:
        """A folder for one export; those that somebody asked for long ago are deleted."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for place in self.folder.iterdir():
            if time.time() - place.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(place, ignore_errors=True)
        place = self.folder / secrets.token_hex(16)
        place.mkdir()
        return place

    async def pack(self, place: Path, name: str, files: Sequence[Path], root: Path) -> str:
        """Put files, by their paths below `root`, into one archive; returns its place."""
        await asyncio.to_thread(_pack, place / f"{name}.zip", files, root)
        return f"{place.name}/{name}.zip"

    def find(self, place: str, name: str) -> Path | None:
        """A file of an export."""
        folder = self.folder / place
        if not PLACE.fullmatch(place) or not folder.is_dir():
            return None
        for path in folder.iterdir():
            if path.name == name and path.is_file() and not path.is_symlink():
                return path
        return None


def _pack(archive: Path, files: Sequence[Path], root: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for path in files:
            packed.write(path, path.relative_to(root))
