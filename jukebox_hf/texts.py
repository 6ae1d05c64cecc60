"""Text files that people wrote: in whatever encoding they come, never without end.

A path or bytes go in; text comes out, or one sentence that names the file. Devices, pipes and files
that are larger than any such text are refused before they are read.
"""

import codecs
import os
import re
import stat
import unicodedata
from pathlib import Path
from typing import NamedTuple

LARGEST_TEXT_BYTES = 256 * 2**20
SHORTEST_UTF_16 = 8  # characters, to be known without a byte order mark
# What a text in a Western language has beyond ASCII in Windows-1252: letters, usual punctuation.
WESTERN = bytes([*range(0xC0, 0xFE), *b"\x80\x82\x84\x85\x8a\x8c\x8e\x91\x92\x93\x94\x96\x97"])
WESTERN += b"\x9a\x9c\x9e\x9f\xa1\xa9\xab\xae\xb0\xb4\xb7\xbb\xbf"
WESTERN_RUN = 2  # so many of them in a row; text in other scripts has whole words of such bytes


class DecodedText(NamedTuple):
    """A text, and the encoding that it was in: "utf-8", "utf-16" or "cp1252"."""

    text: str
    encoding: str


def read_bytes(
    path: str | os.PathLike[str], *, largest: int = LARGEST_TEXT_BYTES, what: str = "text"
) -> bytes:
    """The content of a file of at most `largest` bytes.

    Raises `FileNotFoundError` for none, `OSError` for a folder, device or pipe (which may never
    end), and `ValueError` for one that is larger; `what` says what was expected.
    """
    path = Path(path)
    try:
        found = path.stat()
    except ValueError as error:  # a zero byte in the name
        raise ValueError(f"{str(path)[:200]!r} is no name of a file: {error}") from None
    if not stat.S_ISREG(found.st_mode):
        kind = "a folder" if stat.S_ISDIR(found.st_mode) else "a device or a pipe"
        raise OSError(f"{path} is {kind}; expected a file of {what}")
    with path.open("rb") as file:
        data = file.read(largest + 1)
    if len(data) > largest:
        raise ValueError(
            f"{path} is larger than {largest:,} bytes, the most that is read of a file of {what}"
        )
    return data


def read_text(
    path: str | os.PathLike[str],
    *,
    largest: int = LARGEST_TEXT_BYTES,
    what: str = "text",
    western: bool = False,
) -> DecodedText:
    """The text in a file; see `read_bytes` and `decode_text`."""
    return decode_text(read_bytes(path, largest=largest, what=what), str(path), western=western)


def decode_text(data: bytes, source: str, *, western: bool = False) -> DecodedText:
    """The text in some bytes: UTF-8, UTF-16, or with `western` what Windows writes in the West.

    A byte order mark is taken away. UTF-16 without one is known by its zero bytes, Windows-1252 by
    having few letters beyond ASCII, and no others than Western languages have.

    Raises:
        ValueError: for anything else; it begins with `source`.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    else:
        encoding = _zeros_of_utf_16(data) or "utf-8-sig"
    try:
        return DecodedText(data.decode(encoding), "utf-16" if "16" in encoding else "utf-8")
    except UnicodeDecodeError as error:
        guessed = _western(data) if western else None
        if guessed is not None:
            return DecodedText(guessed, "cp1252")
        wanted = "UTF-16" if "16" in encoding else "UTF-8"
        raise ValueError(
            f"{source}: expected text in {wanted}, got byte {data[error.start]:#04x} at place "
            f"{error.start}; save it as UTF-8"
        ) from None


def _zeros_of_utf_16(data: bytes) -> str | None:
    """The UTF-16 that bytes without a mark look like: one of every two is often zero."""
    start = data[:2000]
    half = len(start) // 2
    if half < SHORTEST_UTF_16 or len(data) % 2:
        return None
    for encoding, zeros, others in (
        ("utf-16-le", start[1::2], start[::2]),
        ("utf-16-be", start[::2], start[1::2]),
    ):
        if zeros.count(0) > 0.3 * half and not others.count(0):
            return encoding
    return None


def _western(data: bytes) -> str | None:
    """Windows-1252 text, if these bytes look like that."""
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError:
        return None
    foreign = re.findall(r"[^\x00-\x7f]+", text)
    odd = any(len(run) > WESTERN_RUN or run.strip(WESTERN.decode("cp1252")) for run in foreign)
    return None if odd or "\0" in text else text


def composed(text: str) -> str:
    """Text with letters and their accents in one (NFC), as most of the world writes it.

    macOS and some programs write them apart, which looks the same and is another text.
    """
    return unicodedata.normalize("NFC", text)
