"""wav files: how much sound there is, whatever they say; AIFF, AU, CAF and W64 that end early.

A recorder writes the sizes in a wav's header when it is done. Where it was cut off they are 0, or
all ones; in files of more than 4 GB they have lost their upper bits; in a download that broke off
they promise what is not there. The sound is what stands between header and end of file. Sources:
Microsoft's and IBM's Multimedia Programming Interface (RIFF), EBU Tech 3306 (RF64).
"""

import struct
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

from jukebox_hf.audio import mp3
from jukebox_hf.audio.splicing import (
    AudioPart,
    Content,
    Extent,
    FrameLayout,
    Kept,
    Piece,
    Spliced,
)

WHOLE = frozenset({1, 3, 6, 7})  # PCM, floats, A-law, mu-law: a sample is a number of bytes
MPEG_LAYER_3 = 0x55
EXTENSIBLE = 0xFFFE
# What programs write that do not know the size yet, besides 0 and all ones: 2 or 4 GB, less a
# little for the header.
PLACEHOLDERS = (range(0x7FFF0000, 0x80000001), range(0xFFFF0000, 0xFFFFFFFF))
# A chunk of odd size is followed by a byte that fills up; some programs forget it. Then one of
# these stands where that byte should be.
CHUNK_NAMES = (b"data", b"fmt ", b"fact", b"LIST", b"bext", b"PEAK", b"cue ", b"smpl", b"iXML")
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
    def block_bytes(self) -> int:
        return max(1, int(struct.unpack("<H", self.format_chunk[12:14])[0]))


def survey(file: BinaryIO) -> FrameLayout | None:
    """How to read a wav file; None if it can be read as it is."""
    content = Content(file)
    forms: list[_Form] = []
    position = 0
    while position < content.size:
        form = _read_form(content, position, forms[-1] if forms else None)
        if form is None:
            break
        forms.append(form)
        position = form.following
    if not forms:
        return None
    found = sum(form.stop - form.data_start for form in forms)
    promised = sum(form.promised or form.stop - form.data_start for form in forms)
    share = found / promised if promised > found > 0 else 1.0
    if len(forms) == 1 and forms[0].codec == MPEG_LAYER_3:
        return _mp3_inside(file, forms[0])
    if len(forms) == 1 and forms[0].is_regular:
        return FrameLayout((), share=share) if share < 1 else None
    return FrameLayout(tuple(_part(form) for form in forms), share=share)


def _mp3_inside(file: BinaryIO, form: _Form) -> FrameLayout:
    """An mp3 in a wav, read as the mp3 that it is: the decoder would guess its length."""
    inside: Any = Spliced(Kept(file), [Extent(form.data_start, form.stop)])  # type: ignore[arg-type]
    layout = mp3.survey(inside) or FrameLayout(())

    def moved(piece: Piece) -> Piece:
        if isinstance(piece, bytes):
            return piece
        return Extent(piece.start + form.data_start, piece.stop + form.data_start)

    parts = [part._replace(pieces=tuple(map(moved, part.pieces))) for part in layout.parts]
    whole = AudioPart((Extent(form.data_start, form.stop),))
    return layout._replace(parts=tuple(parts) or (whole,))


def _read_form(content: Content, start: int, previous: _Form | None) -> _Form | None:
    head = content.at(start, 12)
    kind = head[:4]
    if kind == b"data" and previous is not None:  # more sound in the same file
        size = struct.unpack("<I", head[4:8])[0]
        same = previous.format_chunk, list(previous.other_chunks)
        return _sound(content, *same, start + 8, size)._replace(is_regular=False)
    if kind not in (b"RIFF", b"RF64", b"BW64") or head[8:12] != b"WAVE":
        return None
    format_chunk = b""
    long_data_size: int | None = None
    others: list[Piece] = []
    position, is_padded = start + 12, True
    while position + 8 <= content.size:
        name, size = struct.unpack("<4sI", content.at(position, 8))
        body = position + 8
        if name == b"data":
            if long_data_size is not None and size == 0xFFFFFFFF:
                size = long_data_size
            if not format_chunk:
                return None
            form = _sound(content, format_chunk, others, body, size)
            return form if is_padded else form._replace(is_regular=False)
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
        is_known = content.at(position, 4) in CHUNK_NAMES
        if size & 1 and not is_known and content.at(position - 1, 4) in CHUNK_NAMES:
            position, is_padded = position - 1, False
    return None


def _sound(
    content: Content, format_chunk: bytes, others: list[Piece], start: int, size: int
) -> _Form:
    available = content.size - start
    end = start + size
    is_placeholder = size > available and any(size in sizes for sizes in PLACEHOLDERS)
    if size in (0, 0xFFFFFFFF) or is_placeholder:
        if size == 0 and _is_chunk(content, start):
            return _Form(format_chunk, tuple(others), start, 0, start, content.size, True)
        return _Form(
            format_chunk, tuple(others), start, None, content.size, content.size, available == size
        )
    if size > available:
        return _Form(format_chunk, tuple(others), start, size, content.size, content.size, False)
    following = end + (size & 1)
    more = _find_sound(content, following)
    if more is not None:
        return _Form(format_chunk, tuple(others), start, size, end, more, False)
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


def _find_sound(content: Content, position: int) -> int | None:
    """Where in a row of chunks another one of sound begins."""
    while position < content.size and content.at(position, 4) != b"data":
        following = _end_of_chunk(content, position)
        if following is None:
            return None
        position = following
    return position if position < content.size else None


def _end_of_chunk(content: Content, position: int) -> int | None:
    if not _is_chunk(content, position):
        return None
    size: int = struct.unpack("<I", content.at(position + 4, 4))[0]
    return position + 8 + size + (size & 1)


def _end_of_chunks(content: Content, position: int) -> int:
    """Where a row of chunks (titles, pictures) that begins at `position` ends."""
    while position < content.size:
        following = _end_of_chunk(content, position)
        if following is None:
            break
        position = following
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
