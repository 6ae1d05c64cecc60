"""Single files out of Debian packages, without installing any.

The name of a package and paths of installed files go in, the files come out; `archive.zip!member`
reads a file inside an archive inside the package. Which files are wanted, and what they may be used
for, is decided elsewhere.
"""

import gzip
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from model_cards.recipe.manifest import ARCHIVE_MARK

DOCUMENTS = "/usr/share/doc/"


class PackageError(Exception):
    """A package that cannot be had or read; the message is one sentence."""


class Extracted(NamedTuple):
    """What came out of a package.

    Attributes:
        version: of the package.
        files: where each path now lies, those that were found.
        copyright: the text of its copyright file and of its read-me files, which sometimes tell
            more about single files; empty if there are none.
        documents_in: the package that has these texts instead, if this one only links to them.
    """

    version: str
    files: dict[str, Path]
    copyright: str
    documents_in: str | None


class Fetcher:
    """Gets packages from the sources that apt knows, once each.

    Args:
        cache: a folder that keeps them; packages that already lie there are not fetched again.
    """

    def __init__(self, cache: Path) -> None:
        self.cache = cache
        self.updated = False

    def fetch(self, package: str) -> Path:
        """The `.deb` file of a package; raises `PackageError` if there is none to be had."""
        kept = sorted(self.cache.glob(f"{package}_*.deb"), key=lambda path: path.stat().st_mtime)
        if kept:
            return kept[-1]
        if shutil.which("apt-get") is None:
            raise PackageError(
                f"there is no apt-get here and no {package}_*.deb in {self.cache}; fetch it on a "
                "Debian machine and put it there"
            )
        self.cache.mkdir(parents=True, exist_ok=True)
        # A killed download stays in a folder of its own and is never taken for a package.
        with tempfile.TemporaryDirectory(prefix="fetching-", dir=self.cache) as folder:
            try:
                _run("apt-get", "download", package, cwd=folder)
            except PackageError:
                self._update()
                _run("apt-get", "download", package, cwd=folder)
            (downloaded,) = Path(folder).glob("*.deb")
            return Path(shutil.move(downloaded, self.cache / downloaded.name))

    def _update(self) -> None:
        """Refresh the lists of packages, once; without the right to do so they stay as they are."""
        if not self.updated:
            self.updated = True
            subprocess.run(["apt-get", "update", "-qq"], capture_output=True, check=False)


@contextmanager
def extracted(
    deb: Path, package: str, paths: Collection[str], *, work: Path | None = None
) -> Iterator[Extracted]:
    """The wanted files of a package, in a temporary folder as long as the context lasts.

    The folder is made in `work`, or where the system keeps temporary files. Paths that the package
    does not hold are missing from the result. Raises `PackageError` for a file that is no package.
    """
    version = _run("dpkg-deb", "--field", str(deb), "Version").strip()
    with tempfile.TemporaryDirectory(prefix=f"{package}-", dir=work) as name:
        folder = Path(name)
        outer = {path.partition(ARCHIVE_MARK)[0] for path in paths}
        documents = re.compile(re.escape(f"{DOCUMENTS}{package}/") + r"(copyright|README[^/]*)")
        content = _unpack(deb, outer, documents, folder)
        texts = [path for path in sorted(content.files) if documents.fullmatch(path)]
        text = "\n\n".join(_read_text(content.files.pop(path)) for path in texts)
        files: dict[str, Path] = {}
        for archive in outer & content.files.keys():
            members = {path for path in paths if path.startswith(archive + ARCHIVE_MARK)}
            if members:
                files |= _unzip(content.files[archive], members, folder)
            else:
                files[archive] = content.files[archive]
        link = content.links.get(f"{DOCUMENTS}{package}")
        yield Extracted(version, files, text, link.rpartition("/")[2] if link else None)


class _Content(NamedTuple):
    """What was unpacked: files, and where links point to."""

    files: dict[str, Path]
    links: dict[str, str]


def _unpack(deb: Path, wanted: Collection[str], also: re.Pattern[str], folder: Path) -> _Content:
    """Copy wanted files out of a package, under names of our own: nothing can leave the folder."""
    content = _Content({}, {})
    command = ["dpkg-deb", "--fsys-tarfile", str(deb)]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process,
    ):
        assert process.stdout is not None
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                for member in tar:
                    path = "/" + member.name.removeprefix("./").lstrip("/")
                    if member.issym():
                        content.links[path] = member.linkname
                    elif member.isfile() and (path in wanted or also.fullmatch(path)):
                        source = tar.extractfile(member)
                        assert source is not None
                        content.files[path] = folder / f"{len(content.files)}{_suffix(path)}"
                        with content.files[path].open("wb") as target:
                            shutil.copyfileobj(source, target, 1 << 20)
            while process.stdout.read(1 << 20):  # what comes after the end mark
                pass
        except tarfile.TarError as error:
            process.kill()
            raise PackageError(f"{deb.name} is damaged: {error}") from None
        if process.wait():
            errors.seek(0)
            reason = errors.read().decode(errors="replace").strip().splitlines()
            raise PackageError(f"{deb.name} is damaged: {reason[-1] if reason else 'unreadable'}")
    return content


def _read_text(path: Path) -> str:
    data = path.read_bytes()
    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)
    return data.decode("utf-8", errors="replace")


def _unzip(archive: Path, paths: Collection[str], folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    try:
        with zipfile.ZipFile(archive) as opened:
            members = set(opened.namelist())
            for path in sorted(paths):
                member = path.partition(ARCHIVE_MARK)[2]
                if member in members:
                    found[path] = folder / f"{archive.stem}-{len(found)}{_suffix(path)}"
                    with opened.open(member) as source, found[path].open("wb") as target:
                        shutil.copyfileobj(source, target, 1 << 20)
    except (zipfile.BadZipFile, EOFError) as error:
        raise PackageError(f"an archive in the package is damaged: {error}") from None
    return found


def _suffix(path: str) -> str:
    """The extension, as long as it is a harmless one: readers of audio go by it."""
    suffix = os.path.splitext(path)[1].lower()
    return suffix if re.fullmatch(r"\.[a-z0-9]{1,5}", suffix) else ""


def _run(*command: str, cwd: str | None = None) -> str:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise PackageError(f"{command[0]} is not installed; this needs a Debian system") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith(("E:", "dpkg"))]
        lines = lines or done.stderr.splitlines() or [f"exit code {done.returncode}"]
        raise PackageError(f"{' '.join(command[:2])}: {lines[-1].removeprefix('E: ')}")
    return done.stdout


def note(text: str) -> None:
    """One line of progress, to stderr."""
    print(text, file=sys.stderr, flush=True)
