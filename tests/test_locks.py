"""A lock on a folder: one holder at a time, and nothing of anybody else's is touched."""

import contextlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jukebox_hf.locks import RUN_LOCK, SESSION_LOCK, FolderInUseError, holder, locked

HOLD = """
import sys, time
from pathlib import Path
from jukebox_hf.locks import locked
with locked(Path(sys.argv[1])):
    if "fork" in sys.argv:
        import os
        ready, tell = os.pipe()
        if os.fork() == 0:
            os.close(1)
            os.write(tell, b"!")  # it has let go of what it got of the lock
            time.sleep(60)
            os._exit(0)
        os.read(ready, 1)
    print("held", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def held_by_another(folder: Path, *arguments: str) -> Iterator[int]:
    """Another process holds the lock of a folder, and is killed in the end; gives its number."""
    command = [sys.executable, "-c", HOLD, str(folder), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process.pid
        finally:
            process.kill()


def test_one_holder_at_a_time_and_who_it_is(tmp_path: Path) -> None:
    with (
        locked(tmp_path),
        pytest.raises(FolderInUseError, match=rf"another process \({os.getpid()} on .+\); wait"),
        locked(tmp_path),
    ):
        pass
    with locked(tmp_path), locked(tmp_path, RUN_LOCK):
        pass


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
@pytest.mark.parametrize("arguments", [(), ("fork",)])
def test_a_killed_holder_gives_the_lock_back_also_if_its_children_live(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    with held_by_another(tmp_path, *arguments) as pid:  # noqa: SIM117
        with pytest.raises(FolderInUseError, match=f"{pid} on"), locked(tmp_path):
            pass
    with locked(tmp_path):
        pass


@pytest.mark.skipif(os.name == "nt", reason="Windows lets nobody else read a locked file")
def test_who_holds_a_lock_is_known_without_trying_it(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    with held_by_another(tmp_path) as pid:
        assert (holder(tmp_path) or "").startswith(f"{pid} on ")
    assert holder(tmp_path) is None  # it was killed
    with locked(tmp_path):
        assert (holder(tmp_path) or "").startswith(f"{os.getpid()} on ")
    assert holder(tmp_path) is None
    (tmp_path / SESSION_LOCK).write_text(f"{os.getpid()} on another.machine")
    assert holder(tmp_path) == f"{os.getpid()} on another.machine"


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
@pytest.mark.parametrize("exists", [True, False])
def test_a_link_in_the_place_of_the_lock_is_refused_and_not_followed(
    tmp_path: Path, exists: bool
) -> None:
    folder, notes = tmp_path / "folder", tmp_path / "notes.txt"
    folder.mkdir()
    if exists:
        notes.write_text("dear diary")
    (folder / SESSION_LOCK).symlink_to(notes)
    with pytest.raises(OSError, match="is a link, expected the lock of this folder; remove it"):  # noqa: SIM117
        with locked(folder):
            pass
    assert notes.exists() == exists
    assert not exists or notes.read_text() == "dear diary"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes with names in folders")
def test_a_pipe_in_the_place_of_the_lock_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / SESSION_LOCK)
    with pytest.raises(OSError, match="is no plain file"), locked(tmp_path):
        pass


@pytest.mark.parametrize("text", ["dear diary", "1234 on my mind, and more", "12" * 60])
def test_a_file_of_somebody_else_under_that_name_keeps_what_it_holds(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / SESSION_LOCK).write_text(text)
    with locked(tmp_path):  # noqa: SIM117
        with pytest.raises(FolderInUseError, match="by another process; wait"), locked(tmp_path):
            pass
    assert (tmp_path / SESSION_LOCK).read_text() == text


def test_a_file_with_another_name_elsewhere_keeps_what_it_holds(tmp_path: Path) -> None:
    folder, notes = tmp_path / "folder", tmp_path / "notes.txt"
    folder.mkdir()
    notes.write_text("1984")
    os.link(notes, folder / SESSION_LOCK)
    with locked(folder):
        pass
    assert notes.read_text() == "1984"


def test_what_a_dead_holder_wrote_is_no_hindrance(tmp_path: Path) -> None:
    for text in ("999999", "999999 on elsewhere"):
        (tmp_path / SESSION_LOCK).write_text(text)
        with locked(tmp_path):
            pass


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="gone cannot be locked: "), locked(tmp_path / "gone"):
        pass


@pytest.mark.skipif(os.name == "nt", reason="Windows knows no read-only folders")
def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        place = Path("/sys")  # read-only for everybody
        if not place.is_dir():
            pytest.skip("root may write everywhere here")
    else:
        place = tmp_path
        place.chmod(0o555)
    with pytest.raises(OSError, match="cannot be locked: "), locked(place):
        pass


def test_a_file_system_without_locks_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import errno

    from jukebox_hf import locks

    for number in (errno.ENOSYS, errno.ENOLCK):

        class Without:
            def __init__(self, *arguments: object, **options: object) -> None:
                pass

            def acquire(self, number: int = number) -> None:
                raise OSError(number, os.strerror(number))

        monkeypatch.setattr(locks, "FileLock", Without)
        with locked(tmp_path):
            pass
        assert caplog.messages.pop() == f"{tmp_path} cannot be locked: its file system has no locks"


def test_a_process_that_got_the_number_of_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    lock = tmp_path / SESSION_LOCK
    lock.write_text(f"{os.getpid()} on {platform.node()}", encoding="utf-8")
    os.utime(lock, (1_000_000, 1_000_000))  # long before this process began
    assert holder(tmp_path) is None
