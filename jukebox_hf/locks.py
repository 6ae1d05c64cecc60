"""One process at a time in a folder: a lock that the system gives back when its holder dies.

A folder goes in; inside the `with` block nobody else holds its lock. The package `filelock` does
the locking; here stand what the file is called, who is said to hold it, and what a refusal means.
"""

import contextlib
import errno
import logging
import os
import platform
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)

SESSION_LOCK, RUN_LOCK = "session.lock", "run.lock"
NOT_SUPPORTED = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}
# What a holder writes into the file; nothing else is ever replaced in it.
HOLDER = re.compile(rb"(\d{1,20}( on [\w.-]{1,64})?)?")
MAX_HOLDER_BYTES = 100
CLOCK_SECONDS = 2.0  # that the clocks of processes and files may differ by


class FolderInUseError(OSError):
    """Another process works in a folder."""


@contextlib.contextmanager
def locked(folder: Path, name: str = SESSION_LOCK) -> Iterator[None]:
    """Hold the lock of `folder`; it goes with the process, also one that is killed.

    The lock is a plain file that stays behind. A link in its place is not followed, and a file in
    its place that holds something else keeps it: folders may come from strangers. A file system
    without locks gives a warning instead.

    Raises:
        FolderInUseError: if another process holds it, of this machine or, where the file system is
            shared and passes locks on, of another.
        OSError: for a folder that cannot be written, or with something else in the lock's place.
    """
    path = folder / name
    if not folder.is_dir():  # filelock would make it
        raise FileNotFoundError(f"{folder} cannot be locked: there is no such folder")
    _check_plain(path)
    # It never falls back on a file whose mere existence locks: that would outlive a killed process.
    own: list[int] = []  # the descriptor, if the file is this project's to write into
    lock = FileLock(
        path,
        timeout=0,
        thread_local=False,
        preserve_lock_file=True,
        on_acquired=lambda descriptor: own.extend(_write_holder(descriptor)),
    )
    try:
        lock.acquire()
    except Timeout:
        raise FolderInUseError(
            f"{folder} is being worked on by {_another(path)}; wait for it to end, or choose "
            "another folder"
        ) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            _check_plain(path)  # it became a link just now
        if error.errno not in NOT_SUPPORTED:
            raise OSError(f"{folder} cannot be locked: {error}") from error
        logger.warning("%s cannot be locked: its file system has no locks", folder)
        yield
        return
    try:
        yield
    finally:
        for descriptor in own:
            os.ftruncate(descriptor, 0)
        lock.release()


def holder(folder: Path, name: str = SESSION_LOCK) -> str | None:
    """Who holds the lock of `folder`, as "NUMBER on MACHINE"; None if nobody is known to.

    The lock is not tried: what its holder wrote is read, and for one of this machine whether there
    is such a process.
    """
    text = _read_holder(folder / name)
    number, _, machine = text.partition(" on ")
    if not number or (machine in ("", _machine()) and not _is_there(int(number), folder / name)):
        return None
    return text


def _is_there(process: int, path: Path) -> bool:
    """Whether a process lives that may have written that file; numbers are given again."""
    try:
        found = psutil.Process(process)
        return bool(
            found.create_time() <= path.stat().st_mtime + CLOCK_SECONDS
            and found.status() != psutil.STATUS_ZOMBIE
        )
    except (psutil.Error, OSError, OverflowError):
        return False


def _another(path: Path) -> str:
    text = _read_holder(path)
    return f"another process ({text})" if text else "another process"


def _check_plain(path: Path) -> None:
    """Raise `OSError` for anything but a plain file, or nothing, in the lock's place."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "no plain file"
        raise OSError(f"{path} is {kind}, expected the lock of this folder; remove it")


def _write_holder(descriptor: int) -> list[int]:
    """Say who holds the lock, unless the file is somebody else's under this name."""
    is_own = os.fstat(descriptor).st_nlink == 1 and HOLDER.fullmatch(
        os.read(descriptor, MAX_HOLDER_BYTES)
    )
    if not is_own:
        return []
    with contextlib.suppress(OSError):  # a full disk
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, f"{os.getpid()} on {_machine()}".encode())
    return [descriptor]


def _read_holder(path: Path) -> str:
    """What a holder wrote; empty if nobody did, or something else stands there."""
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            return ""
        with path.open("rb") as file:
            text = file.read(MAX_HOLDER_BYTES)
    except OSError:  # Windows lets nobody else read it
        return ""
    return text.decode() if HOLDER.fullmatch(text) else ""


def _machine() -> str:
    return re.sub(r"[^\w.-]", "_", platform.node(), flags=re.ASCII)[:64] or "unknown"
