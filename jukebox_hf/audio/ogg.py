"""Ogg files (Vorbis, Opus, FLAC): their streams one after the other, from position 0.

An Ogg file is made of pages with checksums, each of which says how many samples have gone by. A
file may hold several streams, one after the other (recorded stations, files that were joined) or
at the same time (a video). The decoders in libsndfile take the positions as they are: of a joined
file they believe a length of millions of years, and in one that was cut without encoding it again,
whose positions begin somewhere, they lose their way. Here every stream becomes a file of its own
whose positions begin at 0. Sources: RFC 3533 (pages), RFC 7845 and 6716 (Opus), the Vorbis I
specification.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

import soundfile

from jukebox_hf.audio.splicing import (
    AudioPart,
    Content,
    Extent,
    FrameLayout,
    Kept,
    Piece,
    Spliced,
    not_whole,
    silenced,
)

MARK = b"OggS"
HEADER_BYTES = 27
FAR = 1 << 40  # a position that no trimming at the end can touch
CODECS = {b"\x01vorbis": "vorbis", b"OpusHead": "opus", b"\x7fFLAC": "flac"}
HEADER_PACKETS = {"vorbis": 3, "opus": 2}
OPUS_RATE = 48000
NOTED_BYTES = 4096  # at the end of a file, of what does not begin like a page
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class Page(NamedTuple):
    """A page of the file."""

    start: int
    stop: int
    flags: int  # 1 = goes on with a packet, 2 = first of its stream, 4 = last
    position: int  # samples at its end, or -1
    serial: int
    number: int

    @property
    def begins_stream(self) -> bool:
        return bool(self.flags & 2)


@dataclass
class _Stream:
    codec: str
    serial: int
    rate: int
    pre_skip: int
    header: list[Page] = field(default_factory=list)
    rows: list[list[Page]] = field(default_factory=lambda: [[]])  # without a gap


def survey(file: BinaryIO) -> FrameLayout | None:
    """How to read an Ogg file; None if it can be read as it is, or holds no sound that we know."""
    content = Content(file)
    pages, unread = _find_pages(content)
    streams = _find_streams(content, pages)
    if not streams:
        return None
    is_one = len(streams) == 1 and len({page.serial for page in pages}) == 1
    parts: list[AudioPart] = []
    notes: list[str] = []
    seconds = 0.0
    moved = False
    for stream in streams:
        before = len(parts)
        if stream.codec == "flac":
            pieces = [Extent(p.start, p.stop) for row in (stream.header, *stream.rows) for p in row]
            parts.append(AudioPart(tuple(pieces), None, False))
            moved = moved or len(stream.rows) > 1
            continue
        end: int | None = None
        for row in stream.rows:
            begin = _begin(file, content, stream, row)
            if begin is None:
                continue
            last = next((p.position for p in reversed(row) if p.position >= 0), begin)
            if end is not None and begin > end:
                notes.append(silenced((begin - end) / stream.rate, seconds))
                # What comes next is opened like a stream, of which decoders drop the beginning.
                parts.append(AudioPart((), begin - end + stream.pre_skip))
                seconds += (begin - end + stream.pre_skip) / stream.rate
            moved = moved or begin != 0 or end is not None
            parts.append(_part(content, stream, row, begin, is_first=end is None))
            skipped = stream.pre_skip
            seconds += max(0, last - begin - skipped) / stream.rate
            end = last
        moved = moved or len(parts) - before > 1
    lost_bytes = sum(stop - start for start, stop in unread)
    at_end = [(start, stop) for start, stop in unread if stop == content.size]
    if at_end and _is_sound(content, *at_end[0]) and seconds:
        per_second = max(1.0, (content.size - lost_bytes) / seconds)
        size = at_end[0][1] - at_end[0][0]
        notes.append(not_whole(size, size / per_second))
    if is_one and not moved:
        return FrameLayout((), tuple(notes)) if notes else None
    return FrameLayout(tuple(parts), tuple(notes))


def _is_sound(content: Content, start: int, stop: int) -> bool:
    """Whether what is no whole page at the end is sound rather than a tag or padding."""
    return stop - start >= NOTED_BYTES or content.at(start, 5) == MARK + b"\0"


def _find_pages(content: Content) -> tuple[list[Page], list[tuple[int, int]]]:
    """All pages whose checksums are right, and the bytes between them."""
    pages: list[Page] = []
    unread: list[tuple[int, int]] = []
    position = 0
    while position < content.size:
        page = _read_page(content, position)
        if page is not None:
            pages.append(page)
            position = page.stop
            continue
        following = content.find(MARK, position + 1)
        following = content.size if following < 0 else following
        if unread and unread[-1][1] == position:
            unread[-1] = (unread[-1][0], following)
        else:
            unread.append((position, following))
        position = following
    return pages, unread


def _read_page(content: Content, start: int) -> Page | None:
    head = content.at(start, HEADER_BYTES)
    if head[:5] != MARK + b"\0" or len(head) < HEADER_BYTES:
        return None
    flags, position, serial, number, checksum, segments = struct.unpack("<BqIIIB", head[5:])
    table = content.at(start + HEADER_BYTES, segments)
    size = HEADER_BYTES + segments + sum(table)
    data = content.at(start, size)
    if len(data) < size or _checksum(data[:22] + bytes(4) + data[26:]) != checksum:
        return None
    return Page(start, start + size, flags, position, serial, number)


def _find_streams(content: Content, pages: Sequence[Page]) -> list[_Stream]:
    """The sound in the file: of streams at the same time the first."""
    streams: list[_Stream] = []
    current: _Stream | None = None
    rest = 0  # header packets still to come
    for page in pages:
        if page.begins_stream:
            if current is None or current.rows[0]:
                opened = _open_stream(content, page)
                if opened is not None:
                    current = opened
                    streams.append(current)
                    rest = HEADER_PACKETS.get(current.codec, 1)
            if current is None or page.serial != current.serial:
                continue
        if current is None or page.serial != current.serial:
            continue
        if rest > 0:
            current.header.append(page)
            rest -= _finished_packets(content, page)
            continue
        row = current.rows[-1]
        before = row[-1] if row else current.header[-1]
        if page.number != before.number + 1 and row:
            current.rows.append([])
        current.rows[-1].append(page)
    return [stream for stream in streams if any(stream.rows)]


def _open_stream(content: Content, page: Page) -> _Stream | None:
    data = _body(content, page)
    codec = next((name for mark, name in CODECS.items() if data.startswith(mark)), None)
    if codec is None or len(data) < 18:
        return None
    rate, pre_skip = OPUS_RATE, 0
    if codec == "opus":
        pre_skip = struct.unpack("<H", data[10:12])[0]
    elif codec == "vorbis":
        rate = struct.unpack("<I", data[12:16])[0]
    return _Stream(codec, page.serial, max(rate, 1), pre_skip)


def _begin(file: BinaryIO, content: Content, stream: _Stream, row: Sequence[Page]) -> int | None:
    """The position before the first sample of a row of pages; None if it has none."""
    first = next((index for index, page in enumerate(row) if page.position >= 0), None)
    if first is None:
        return None
    pages = row[: first + 1]
    if stream.codec == "opus":
        count = sum(_opus_samples(content, page) for page in pages)
    else:
        count = _vorbis_samples(file, content, stream, pages)
    begin = row[first].position - count
    is_last = len(row) == first + 1
    # Less than 0: the encoder wants the first samples left out, or the last of a short file.
    return max(0, begin) if not is_last or begin > 0 else 0


def _opus_samples(content: Content, page: Page) -> int:
    """How long the packets are that end on a page, by their first bytes."""
    total = 0
    table = content.at(page.start + HEADER_BYTES, content.at(page.start, HEADER_BYTES)[26])
    position, packet_start = page.start + HEADER_BYTES + len(table), None
    goes_on = bool(page.flags & 1)
    for segment in table:
        if packet_start is None:
            packet_start = position
        position += segment
        if segment < 255:
            if not goes_on:
                total += _opus_packet_samples(content.at(packet_start, 2))
            goes_on, packet_start = False, None
    return total


def _opus_packet_samples(data: bytes) -> int:
    if not data:
        return 0
    config, code = data[0] >> 3, data[0] & 3
    if config < 12:
        frame = (480, 960, 1920, 2880)[config & 3]
    elif config < 16:
        frame = (480, 960)[config & 1]
    else:
        frame = (120, 240, 480, 960)[config & 3]
    count = (1, 2, 2)[code] if code < 3 else (data[1] & 63 if len(data) > 1 else 0)
    return frame * count


def _vorbis_samples(
    file: BinaryIO, content: Content, stream: _Stream, pages: Sequence[Page]
) -> int:
    """How many samples come out of the first pages: the decoder is asked."""
    pieces: list[Piece] = [Extent(page.start, page.stop) for page in stream.header]
    number = stream.header[-1].number
    for index, page in enumerate(pages):
        at_end = index == len(pages) - 1
        pieces.append(_changed(content, page, FAR if at_end else page.position, number + 1 + index))
    try:
        with soundfile.SoundFile(Spliced(Kept(file), pieces)) as opened:  # type: ignore[arg-type]
            return len(opened.read(1 << 18, dtype="float32", always_2d=True))
    except (soundfile.LibsndfileError, OverflowError):
        return 0


def _part(
    content: Content, stream: _Stream, row: Sequence[Page], begin: int, *, is_first: bool
) -> AudioPart:
    pieces: list[Piece] = [Extent(page.start, page.stop) for page in stream.header]
    if begin == 0 and is_first:
        pieces += [Extent(page.start, page.stop) for page in row]
        return AudioPart(tuple(pieces))
    for index, page in enumerate(row):
        position = page.position if page.position < 0 else max(0, page.position - begin)
        number = stream.header[-1].number + 1 + index
        changed = _changed(content, page, position, number)
        body = page.start + HEADER_BYTES + changed[26]
        pieces += [changed[: HEADER_BYTES + changed[26]], Extent(body, page.stop)]
    return AudioPart(tuple(pieces))


def _changed(content: Content, page: Page, position: int, number: int) -> bytes:
    """The page with another position and number."""
    data = bytearray(content.at(page.start, page.stop - page.start))
    data[6:14] = struct.pack("<q", position)
    data[18:26] = struct.pack("<II", number, 0)
    data[22:26] = struct.pack("<I", _checksum(bytes(data)))
    return bytes(data)


def _finished_packets(content: Content, page: Page) -> int:
    segments = content.at(page.start, HEADER_BYTES)[26]
    return sum(size < 255 for size in content.at(page.start + HEADER_BYTES, segments))


def _body(content: Content, page: Page) -> bytes:
    segments = content.at(page.start, HEADER_BYTES)[26]
    start = page.start + HEADER_BYTES + segments
    return content.at(start, page.stop - start)


def _checksum(data: bytes) -> int:
    """Ogg's checksum is zlib's with the bits of every byte the other way round."""
    reflected = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reflected.to_bytes(4, "big").translate(_REVERSED)[::-1], "big")
