"""Files that are whole or not there: atomic writing, and names that every system accepts.

A path and a function that writes go in; afterwards the path holds either all of the new content or
what it held before. What the content is, is the caller's business.
"""

import contextlib
import os
import secrets
import stat
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

# Ends the name of a file that is still being written; one may be left behind by a killed process.
PARTIAL_SUFFIX = ".partial"
# Names that Windows gives to devices, whatever their extension (docs: "Naming Files, Paths, and
# Namespaces"); the superscript digits count as digits there.
WINDOWS_DEVICES = frozenset(
    {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"}
    | {f"{port}{digit}" for port in ("COM", "LPT") for digit in "0123456789¹²³"}
)
UMASK = os.umask(0)  # it can only be read by setting it
os.umask(UMASK)
REPLACE_ATTEMPTS = 10
REPLACE_PAUSE_SECONDS = 0.05


def write_atomically(path: str | os.PathLike[str], write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in the place of `path` at once.

    `write` gets the temporary path, whose name does not end like `path`: a writer that goes by the
    extension must be told the format. When it returns, the content is on disk before the name
    changes, so that neither `kill -9` nor a power cut leaves half a file under `path`. When it
    raises, the temporary file is removed and `path` keeps what it held. A symbolic link stays a
    link; the file that it points to is replaced. The folder must exist.

    Raises `FileNotFoundError` when the folder is missing, other `OSError`s for what cannot be
    replaced by a file (a folder, a device), and whatever `write` raises.
    """
    target = check_writable_target(path)
    temporary = target.with_name(
        f".{_shorten(target.name, 100)}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}"
    )
    try:
        write(temporary)
        give_usual_permissions(temporary)
        _flush_to_disk(temporary)
        _replace(temporary, target)
    except BaseException:  # also Ctrl-C
        with contextlib.suppress(OSError):  # Windows keeps a file that is still open
            temporary.unlink(missing_ok=True)
        raise
    _flush_folder(target.parent)


def give_usual_permissions(path: Path) -> None:
    """Let everybody read a file, or all below a folder, whom the umask allows to.

    safetensors writes files that nobody but their owner may read.
    """
    for file in (path, *path.rglob("*")) if path.is_dir() else (path,):
        if file.is_file() and not file.is_symlink():
            file.chmod(stat.S_IMODE(file.stat().st_mode) | (0o666 & ~UMASK))


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


def _flush_to_disk(path: Path) -> None:
    with path.open("rb+") as file:  # Windows flushes only what is open for writing
        os.fsync(file.fileno())


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


def _flush_folder(folder: Path) -> None:
    """Make the renaming itself durable where folders can be flushed (not on Windows)."""
    if os.name == "nt":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return  # a folder that may be written but not read
    try:
        with contextlib.suppress(OSError):  # some network file systems cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
