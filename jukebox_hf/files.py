"""Files and folders that are whole or not there, and names that every system accepts.

A path and what fills it go in; afterwards the path holds either all of the new content or what it
held before. What the content is, is the caller's business.
"""

import contextlib
import os
import platform
import re
import secrets
import shutil
import stat
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

# Ends the name of what is still being written; some may be left behind by a killed process.
PARTIAL_SUFFIX = ".partial"
# Ends the name of a folder that waits until another one has taken its place.
REPLACED_SUFFIX = f"{PARTIAL_SUFFIX}.replaced"
# Names that Windows gives to devices, whatever their extension (docs: "Naming Files, Paths, and
# Namespaces"); the superscript digits count as digits there.
WINDOWS_DEVICES = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    | {f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789¹²³"}
)
REPLACE_ATTEMPTS = 10
REPLACE_PAUSE_SECONDS = 0.05


def write_atomically(
    path: str | os.PathLike[str],
    write: Callable[[Path], None],
    *,
    sweep: bool = False,
    apart: bool = False,
) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in the place of `path` at once.

    `write` gets the temporary path, whose name does not end like `path`: a writer that goes by the
    extension must be told the format. When it returns, the content is on disk before the name
    changes, so that neither `kill -9` nor a power cut leaves half a file under `path`. When it
    raises, the temporary file is removed and `path` keeps what it held. A symbolic link stays a
    link; the file that it points to is replaced. The folder must exist. With `sweep` what killed
    processes have left of the same file goes first, for which the folder is listed. With `apart`
    the temporary file lies in a temporary folder: for writers that make files of their own beside
    it, as safetensors does, which `kill -9` would leave there under names that nobody knows.

    Raises `FileNotFoundError` when the folder is missing, other `OSError`s for what cannot be
    replaced by a file (a folder, a device), and whatever `write` raises.
    """
    target = check_writable_target(path)
    if sweep:
        sweep_leftovers(target.parent, target.name)
    temporary = target.with_name(f".{_shorten(target.name, 100)}.{_maker()}{PARTIAL_SUFFIX}")
    file = temporary / "file" if apart else temporary
    try:
        if apart:
            temporary.mkdir()
        write(file)
        give_usual_permissions(file)
        flush(file)
        _replace(file, target)
        if apart:
            temporary.rmdir()
    except BaseException as error:  # also Ctrl-C
        with contextlib.suppress(OSError):  # Windows keeps a file that is still open
            shutil.rmtree(temporary) if apart else temporary.unlink(missing_ok=True)
        _name_the_file(error, target)
        raise
    flush(target.parent)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write text in UTF-8, with plain line feeds, as `write_atomically` does."""
    write_atomically(path, lambda temporary: _write_bytes(temporary, text.encode()))


def _write_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def find_here(name: str | Path) -> Path | None:
    """The file or folder of this machine that a name means; None where it means none.

    So it is for ids on the Hub, and for whatever else stands in a stranger's file as a place: text
    that no path can be, because it is too long or holds a zero byte, is no error.
    """
    path = Path(os.path.expanduser(name))
    return path if os.path.exists(path) else None


@contextlib.contextmanager
def new_folder(target: str | os.PathLike[str], *, usual_permissions: bool = True) -> Iterator[Path]:
    """A temporary folder beside `target`, to be filled; afterwards it takes its place at once.

    What is in it is on disk before the name changes. A folder that is at `target` is replaced:
    whether it may be is for the caller to check. If the block raises, `target` is what it was. What
    killed processes of this machine have left here is swept first (`sweep_leftovers`). All in it
    gets the usual permissions (`give_usual_permissions`), unless these are left to who fills it.
    """
    folder = Path(os.path.abspath(target))
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep_leftovers(folder.parent, folder.name)
    temporary = folder.with_name(f".{_shorten(folder.name, 100)}.{_maker()}{PARTIAL_SUFFIX}")
    replaced = temporary.with_name(temporary.name.removesuffix(PARTIAL_SUFFIX) + REPLACED_SUFFIX)
    try:
        temporary.mkdir()
        yield temporary
        if usual_permissions:
            give_usual_permissions(temporary)
        _flush_tree(temporary)
        if os.path.lexists(folder):
            os.rename(folder, replaced)
        os.rename(temporary, folder)
        flush(folder.parent)
    except BaseException as error:  # also Ctrl-C
        if replaced.exists() and not os.path.lexists(folder):
            os.rename(replaced, folder)
        _raise_as_os_error(error, folder)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if os.path.lexists(folder):
            shutil.rmtree(replaced, ignore_errors=True)


def sweep_leftovers(folder: Path, name: str | None = None, *, everybody: bool = False) -> None:
    """Remove what killed processes left half written in a folder, files and folders.

    A folder that such a process had set aside is put back if nothing has taken its place.

    Args:
        folder: to sweep, but not the folders in it.
        name: of the file or folder that they were writing; None: any.
        everybody: also what processes of other machines write, for callers who know that none does.
    """
    start = "." if name is None else f".{_shorten(name, 100)}."
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        found = _LEFTOVER.fullmatch(path.name)
        if not found or not path.name.startswith(start):
            continue
        if name is not None and found["name"] != _shorten(name, 100):
            continue
        if not everybody and not _is_abandoned(found):
            continue
        target = folder / (found["name"] if name is None else name)
        if path.is_dir() and not path.is_symlink():
            if found["replaced"] and not os.path.lexists(target):
                os.rename(path, target)
            else:
                shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


# The maker is missing in names of files that earlier versions wrote.
_LEFTOVER = re.compile(
    r"\.(?P<name>.+?)\.((?P<machine>[^.]*)-(?P<process>\d+)-)?(?P<random>[0-9a-f]{8})"
    r"\.partial(?P<replaced>\.replaced|\.old)?"
)


def _is_abandoned(found: re.Match[str]) -> bool:
    """Whether the process that wrote it has ended; unknown for those of other machines."""
    if found["process"] is None:
        return False
    return found["machine"] == _machine() and not psutil.pid_exists(int(found["process"]))


def _machine() -> str:
    return safe_file_name(platform.node(), max_bytes=40).replace(".", "_")


def _maker() -> str:
    """Marks what this process writes: machine, process, and a random number."""
    return f"{_machine()}-{os.getpid()}-{secrets.token_hex(4)}"


def _name_the_file(error: BaseException, target: Path) -> None:
    """Say which file could not be written, where the system did not (as for a full disk)."""
    if isinstance(error, OSError) and error.errno is not None and error.filename is None:
        error.filename = str(target)
    _raise_as_os_error(error, target)


def _raise_as_os_error(error: BaseException, target: Path) -> None:
    """Raise what safetensors has an error of its own for: what the system says to its writing."""
    if type(error).__name__ == "SafetensorError" and "os error" in str(error):
        raise OSError(f"{target} cannot be written: {error}") from error


def give_usual_permissions(path: Path) -> None:
    """Let everybody read a file, or all below a folder, whom this folder's usual files allow to.

    safetensors writes files that nobody but their owner may read. What is usual is found by making
    a file: the process's mask can only be read by changing it, which other threads would notice. A
    file with several names is left alone, since it is somebody else's too.
    """
    usual = _usual_mode(path if path.is_dir() else path.parent)
    for file in (path, *path.rglob("*")) if path.is_dir() else (path,):
        if file.is_file() and not file.is_symlink() and file.stat().st_nlink == 1:
            file.chmod(stat.S_IMODE(file.stat().st_mode) | usual)


def _usual_mode(folder: Path) -> int:
    """The permissions that a new file gets in a folder."""
    probe = folder / f".mode.{_maker()}{PARTIAL_SUFFIX}"
    descriptor = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)
        probe.unlink()


def check_writable_target(path: str | os.PathLike[str]) -> Path:
    """Return where a file written to `path` really goes, or say why that is impossible.

    Meant to be called before hours of work, too. Raises `FileNotFoundError`, `IsADirectoryError` or
    `OSError`, each with one sentence.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: the folder {target.parent} does not exist")
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return target
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"cannot write {path}: it is a folder, expected a file name")
    if not stat.S_ISREG(mode):
        raise OSError(f"cannot write {path}: it is a device or a pipe, expected a plain file")
    return target


def _replace(temporary: Path, target: Path) -> None:
    """Rename over `target`; on Windows a virus scanner may hold either file for a moment."""
    for attempt in range(1, REPLACE_ATTEMPTS + 1):
        try:
            os.replace(temporary, target)
            return
        except PermissionError:
            if os.name != "nt" or attempt == REPLACE_ATTEMPTS:
                raise
            time.sleep(REPLACE_PAUSE_SECONDS)


def flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to disk; Windows has no such thing for folders."""
    is_folder = path.is_dir()
    if is_folder and os.name == "nt":
        return
    try:  # Windows flushes only what is open for writing
        descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    except OSError:
        if is_folder:
            return  # one that may be written but not read
        raise
    try:
        if is_folder:
            with contextlib.suppress(OSError):  # some network file systems cannot
                os.fsync(descriptor)
        else:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if not path.is_symlink():
            flush(path)
    flush(folder)


def safe_file_name(text: str, *, fallback: str = "untitled", max_bytes: int = 120) -> str:
    """Turn any text into one file name that Linux, macOS and Windows accept.

    Letters of every script stay; blanks and everything with a meaning to a file system or a shell
    become single underscores, control and formatting characters vanish. The result has at most
    `max_bytes` bytes in UTF-8 (file systems allow 255; this leaves room for numbers and
    extensions), is never empty and never a device name of Windows. It holds no path separators, but
    may contain dots: add the extension afterwards.

    >>> safe_file_name("AC/DC: Back in Black?")
    'AC_DC_Back_in_Black'
    >>> safe_file_name("../../etc/passwd")
    'etc_passwd'
    >>> safe_file_name("con.txt")
    'con.txt_'
    """
    kept: list[str] = []
    for character in unicodedata.normalize("NFC", text):
        category = unicodedata.category(character)
        if character.isalnum() or category[0] == "M" or character in "-.'(),+&":
            kept.append(character)
        elif category not in ("Cc", "Cf", "Cs", "Cn") or character in "\t\n\r":
            kept.append(" ")
    name = "_".join("".join(kept).split())
    name = _shorten(name.lstrip("._-"), max_bytes).rstrip("._ ")
    if not any(character.isalnum() for character in name):
        name = fallback
    if name.split(".")[0].upper() in WINDOWS_DEVICES:
        name += "_"
    return name


def _shorten(name: str, max_bytes: int) -> str:
    """Cut `name` to at most `max_bytes` of UTF-8 without cutting a character."""
    return os.fsencode(name)[:max_bytes].decode("utf-8", errors="ignore")
