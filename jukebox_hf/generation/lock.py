"""One process at a time: a lock on a folder that the system gives back when its holder dies."""

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

logger = logging.getLogger(__name__)

LOCK_NAME = "session.lock"
# Windows locks ranges of bytes and then hides them from readers: lock one far behind the text.
WINDOWS_LOCKED_BYTE = 2**30
NOT_SUPPORTED = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


class FolderInUseError(OSError):
    """Another process works in a folder."""


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of `folder`; it goes with the process, also one that is killed.

    Raises `FolderInUseError` if another process holds it, `OSError` for a folder that cannot be
    written. A file system without locks gives a warning instead.
    """
    with (folder / LOCK_NAME).open("a+", encoding="utf-8") as file:
        try:
            _lock(file)
        except OSError as error:
            if error.errno not in NOT_SUPPORTED:
                raise FolderInUseError(
                    f"{folder} is being worked on by {_holder(folder)}; wait for it to end, or "
                    "choose another folder"
                ) from None
            logger.warning("%s cannot be locked: its file system has no locks", folder)
            yield
            return
        try:
            file.seek(0)
            file.truncate()
            file.write(str(os.getpid()))
            file.flush()
            yield
        finally:
            with contextlib.suppress(OSError):
                file.seek(0)
                file.truncate()
            _unlock(file)


def _holder(folder: Path) -> str:
    try:
        text = (folder / LOCK_NAME).read_text(encoding="utf-8").strip()
    except OSError:
        text = ""
    return f"another process ({text})" if text.isdigit() else "another process"


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[str]) -> None:
        file.seek(WINDOWS_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

    def _unlock(file: IO[str]) -> None:
        file.seek(WINDOWS_LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(file: IO[str]) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)
