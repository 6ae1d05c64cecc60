"""wav files: how much sound there is, whatever they say; AIFF, AU, CAF and W64 that end early.

A recorder writes the sizes in a wav's header when it is done. Where it was cut off they are 0, or
all ones; in files of more than 4 GB they have lost their upper bits; in a download that broke off
they promise what is not there. The sound is what stands between header and end of file. Sources:
Microsoft's and IBM's Multimedia Programming Interface (RIFF), EBU Tech 3306 (RF64).
"""

import struct
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from jukebox_hf.audio.splicing import AudioPart, Content, Extent, FrameLayout, Piece, ends_early

WHOLE = frozenset({1, 3, 6, 7})  # PCM, floats, A-law, mu-law: a sample is a number of bytes
EXTENSIBLE = 0xFFFE
UNKNOWN_SIZES = (0, 0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFFE)
LARGEST_SIZE = 0xFFFFFFFF - 4096
LARGEST_CHUNK_BEFORE_SOUND = 1 << 28


class _Form(NamedTuple):
    """One wav file, or one of several joined ones."""

    format_chunk: bytes
    other_chunks: tuple[Piece, ...]
    data_start: int
    promised: int | None  # bytes of sound; None = the header does not know
    stop: int  # of its sound
    following: int  # where something else may follow
    is_regular: bool  # the sizes are right

    @property
    def codec(self) -> int:
        codec = int(struct.unpack("<H", self.format_chunk[:2])[0])
        if codec == EXTENSIBLE and len(self.format_chunk) >= 26:
            codec = int(struct.unpack("<H", self.format_chunk[24:26])[0])
        return codec

    @property
    def bytes_per_second(self) -> int:
        return max(1, int(struct.unpack("<I", self.format_chunk[8:12])[0]))

    @property
    def block_bytes(self) -> int:
        return max(1, int(struct.unpack("<H", self.format_chunk[12:14])[0]))


def survey(file: BinaryIO) -> FrameLayout | None:
    """How to read a wav file; None if it can be read as it is."""
    content = Content(file)
    forms: list[_Form] = []
    position = 0
    while position < content.size:
        form = _read_form(content, position)
        if form is None:
            break
        forms.append(form)
        position = form.following
    if not forms:
        return None
    notes: list[str] = []
    for form in forms:
        found = form.stop - form.data_start
        if form.promised is not None and form.promised > found:
            have, want = (size / form.bytes_per_second for size in (found, form.promised))
            notes.append(ends_early(have, want))
    if len(forms) == 1 and forms[0].is_regular:
        return FrameLayout((), tuple(notes)) if notes else None
    return FrameLayout(tuple(_part(form) for form in forms), tuple(notes))


def _read_form(content: Content, start: int) -> _Form | None:
    head = content.at(start, 12)
    kind = head[:4]
    if kind not in (b"RIFF", b"RF64", b"BW64") or head[8:12] != b"WAVE":
        return None
    format_chunk = b""
    long_data_size: int | None = None
    others: list[Piece] = []
    position = start + 12
    while position + 8 <= content.size:
        name, size = struct.unpack("<4sI", content.at(position, 8))
        body = position + 8
        if name == b"data":
            if long_data_size is not None and size == 0xFFFFFFFF:
                size = long_data_size
            return _sound(content, kind, format_chunk, others, body, size) if format_chunk else None
        if size > LARGEST_CHUNK_BEFORE_SOUND:
            return None
        if name == b"fmt ":
            format_chunk = content.at(body, min(size, 1024))
            if len(format_chunk) < 14:
                return None
        elif name == b"ds64" and size >= 24:
            long_data_size = struct.unpack("<Q", content.at(body + 8, 8))[0]
        else:
            others.append(Extent(position, min(body + size + (size & 1), content.size)))
        position = body + size + (size & 1)
    return None


def _sound(
    content: Content, kind: bytes, format_chunk: bytes, others: list[Piece], start: int, size: int
) -> _Form:
    available = content.size - start
    end = start + size
    if size in UNKNOWN_SIZES or (kind != b"RIFF" and size == 0xFFFFFFFF):
        if size == 0 and _is_chunk(content, start):
            return _Form(format_chunk, tuple(others), start, 0, start, content.size, True)
        return _Form(
            format_chunk, tuple(others), start, None, content.size, content.size, available == size
        )
    if size > available:
        return _Form(format_chunk, tuple(others), start, size, content.size, content.size, False)
    following = end + (size & 1)
    if _end_of_chunks(content, following) >= content.size - 1:
        # A file of others' chunks, and nothing behind them: the usual case.
        return _Form(format_chunk, tuple(others), start, size, end, content.size, True)
    following = _end_of_chunks(content, following)
    if content.at(following, 4) in (b"RIFF", b"RF64", b"BW64"):  # files that were joined
        return _Form(format_chunk, tuple(others), start, size, end, following, False)
    if content.size - following >= 1 << 16:  # the size has lost its upper bits
        return _Form(format_chunk, tuple(others), start, None, content.size, content.size, False)
    return _Form(format_chunk, tuple(others), start, size, end, content.size, True)


def _is_chunk(content: Content, position: int) -> bool:
    head = content.at(position, 8)
    if len(head) < 8 or head[:4] in (b"RIFF", b"RF64", b"BW64"):
        return False
    size = struct.unpack("<I", head[4:])[0]
    is_name = all(32 <= byte < 127 for byte in head[:4])
    return is_name and position + 8 + size <= content.size + 1


def _end_of_chunks(content: Content, position: int) -> int:
    """Where a row of chunks (titles, pictures) that begins at `position` ends."""
    while position < content.size and _is_chunk(content, position):
        size = struct.unpack("<I", content.at(position + 4, 4))[0]
        position += 8 + size + (size & 1)
    return position


def _part(form: _Form) -> AudioPart:
    size = form.stop - form.data_start
    if form.codec in WHOLE:
        size -= size % form.block_bytes
    chunk = b"fmt " + struct.pack("<I", len(form.format_chunk)) + form.format_chunk
    chunk += b"\0" * (len(form.format_chunk) & 1)
    others = tuple(
        piece for piece in form.other_chunks if form.codec not in WHOLE and piece is not None
    )
    others_size = sum(p.stop - p.start for p in others if isinstance(p, Extent))
    whole = 4 + len(chunk) + others_size + 8 + size
    if whole <= LARGEST_SIZE:
        opening = b"RIFF" + struct.pack("<I", whole) + b"WAVE" + chunk
        data = b"data" + struct.pack("<I", size)
    else:
        blocks = size // form.block_bytes
        sizes = struct.pack("<QQQI", whole + 36, size, blocks, 0)
        opening = b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack("<I", len(sizes)) + sizes + chunk
        data = b"data\xff\xff\xff\xff"
    return AudioPart((opening, *others, data, Extent(form.data_start, form.data_start + size)))


def promise(file: BinaryIO) -> tuple[int, int] | None:
    """Bytes of sound that an AIFF, AU, CAF or W64 header promises, and bytes there are."""
    content = Content(file)
    head = content.at(0, 40)
    reader: Callable[[Content], tuple[int, int] | None] | None = None
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        reader = _aiff_promise
    elif head[:4] in (b".snd", b"dns."):
        reader = _au_promise
    elif head[:4] == b"riff" and head[24:28] == b"wave":
        reader = _w64_promise
    elif head[:4] == b"caff":
        reader = _caf_promise
    return reader(content) if reader else None


def _aiff_promise(content: Content) -> tuple[int, int] | None:
    position = 12
    while position + 8 <= content.size:
        name, size = struct.unpack(">4sI", content.at(position, 8))
        if name == b"SSND":
            return max(0, size - 8), max(0, content.size - position - 16)
        position += 8 + size + (size & 1)
    return None


def _au_promise(content: Content) -> tuple[int, int] | None:
    order = ">" if content.at(0, 4) == b".snd" else "<"
    start, size = struct.unpack(order + "II", content.at(4, 8))
    return None if size == 0xFFFFFFFF else (size, max(0, content.size - start))


def _caf_promise(content: Content) -> tuple[int, int] | None:
    position = 8
    while position + 12 <= content.size:
        name, size = struct.unpack(">4sq", content.at(position, 12))
        if name == b"data":
            return None if size < 4 else (size - 4, max(0, content.size - position - 16))
        if size < 0:
            return None
        position += 12 + size
    return None


def _w64_promise(content: Content) -> tuple[int, int] | None:
    position = 40
    while position + 24 <= content.size:
        name = content.at(position, 4)
        size = struct.unpack("<Q", content.at(position + 16, 8))[0]
        if size < 24:
            return None
        if name == b"data":
            return size - 24, max(0, content.size - position - 24)
        position += size + 7 & ~7
    return None
