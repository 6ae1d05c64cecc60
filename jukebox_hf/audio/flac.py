"""FLAC files: the frames that are there, wherever their numbers begin.

Every frame of a FLAC file is complete in itself and says which samples it holds, so that a frame
can be entered, and one that is damaged be left out, without touching the others. The decoder in
libsndfile believes the opening instead: it cannot find its way in a file that was cut without
encoding it again (the numbers go on from where they were), stops at the first damage, and does not
see what was joined on. Source: RFC 9639.
"""

import io
import re
import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import BinaryIO, NamedTuple

import numpy as np
import soundfile

from jukebox_hf.audio.mp3 import after_tag
from jukebox_hf.audio.splicing import (
    AudioPart,
    Content,
    Extent,
    FrameLayout,
    Piece,
    ends_early,
    not_whole,
    silenced,
)

MARK = b"fLaC"
INFO_BYTES = 34
SAMPLING_RATES = (0, 88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
SAMPLE_BITS = (0, 8, 12, 0, 16, 20, 24, 32)
LONGEST_HEADER = 16
ENTRY_FRAMES = 16  # a decoder starts at most so many frames early
CHECKED_TOGETHER = 256  # frames, for their checksums
LONGEST_SEARCH = 1 << 18  # bytes in which the end of a frame is looked for


class StreamInfo(NamedTuple):
    """What the opening says."""

    content: bytes  # of the block, without its header
    block_samples: int  # of every frame but the last, where they are numbered
    largest_frame: int
    sampling_rate: int
    channels: int
    bits: int
    num_samples: int  # 0 = unknown


class Frame(NamedTuple):
    """Where a frame begins, and which samples it says that it holds."""

    start: int
    first_sample: int
    num_samples: int


class _Stream(NamedTuple):
    info: StreamInfo
    start: int  # of its first frame
    stop: int


def survey(file: BinaryIO, *, thorough: bool = False) -> FrameLayout | None:
    """How to read a FLAC file; None if it can be read as it is.

    A few frames are looked at; all of them where these do not fit the opening, or if `thorough`.
    """
    content = Content(file)
    start = 0
    while (behind := after_tag(content, start)) > start:
        start = behind
    opening = _read_opening(content, start)
    if opening is None:
        return None
    if not thorough and _fits(content, *opening):
        return None
    parts: list[AudioPart] = []
    notes: list[str] = []
    seconds = 0.0
    streams = list(_streams(content, *opening))
    for stream in streams:
        found, said, length = _read_stream(content, stream, seconds)
        parts += found
        notes += said
        seconds += length
    return FrameLayout(tuple(parts), tuple(notes)) if parts else None


def _read_opening(content: Content, start: int) -> tuple[StreamInfo, int] | None:
    """The stream's properties, and where its first frame begins."""
    head = content.at(start, 8)
    if head[:4] != MARK or len(head) < 8 or head[4] & 0x7F or head[5:8] != b"\0\0\x22":
        return None
    data = content.at(start + 8, INFO_BYTES)
    if len(data) < INFO_BYTES:
        return None
    shortest, longest = struct.unpack(">HH", data[:4])
    packed = int.from_bytes(data[10:18], "big")
    info = StreamInfo(
        content=data,
        block_samples=shortest if shortest == longest else 0,
        largest_frame=int.from_bytes(data[7:10], "big"),
        sampling_rate=packed >> 44,
        channels=(packed >> 41 & 7) + 1,
        bits=(packed >> 36 & 31) + 1,
        num_samples=packed & (1 << 36) - 1,
    )
    position, is_last = start + 8 + INFO_BYTES, bool(head[4] & 0x80)
    while not is_last:
        block = content.at(position, 4)
        if len(block) < 4:
            return None
        is_last = bool(block[0] & 0x80)
        position += 4 + int.from_bytes(block[1:4], "big")
    return info, position


def _parse_frame(content: Content, start: int, info: StreamInfo) -> Frame | None:
    head = content.at(start, LONGEST_HEADER)
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    size_code, rate_code = head[2] >> 4, head[2] & 15
    channel_code, bits = head[3] >> 4, SAMPLE_BITS[head[3] >> 1 & 7]
    channels = 2 if channel_code in (8, 9, 10) else channel_code + 1
    if size_code == 0 or rate_code == 15 or channels != info.channels:
        return None
    if bits not in (0, info.bits):
        return None
    number_bytes = 1 if head[4] < 0x80 else 8 - (0xFF ^ head[4]).bit_length()
    if (number_bytes == 1 and head[4] >= 0x80) or number_bytes > 7:
        return None
    number = head[4] if number_bytes == 1 else head[4] & (0x7F >> number_bytes)
    for byte in head[5 : 4 + number_bytes]:
        if byte & 0xC0 != 0x80:
            return None
        number = number << 6 | byte & 0x3F
    at = 4 + number_bytes
    if size_code in (6, 7):
        length = size_code - 5
        num_samples = int.from_bytes(head[at : at + length], "big") + 1
        at += length
    elif size_code == 1:
        num_samples = 192
    else:
        num_samples = 576 << size_code - 2 if size_code < 6 else 256 << size_code - 8
    rate = SAMPLING_RATES[rate_code] if rate_code < 12 else 0
    if rate not in (0, info.sampling_rate):
        return None
    at += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if at >= len(head) or _checksum_8(head[:at]) != head[at]:
        return None
    is_variable = head[1] & 1
    first = number if is_variable else number * (info.block_samples or num_samples)
    return Frame(start, first, num_samples)


def _fits(content: Content, info: StreamInfo, start: int) -> bool:
    """Whether first, last and some other frames are where the opening lets one expect them."""
    first = _parse_frame(content, start, info)
    if info.num_samples == 0 or first is None or first.first_sample != 0:
        return False
    last = first
    window = max(info.largest_frame + LONGEST_HEADER, 1 << 14) if info.largest_frame else 1 << 18
    places = [start + (content.size - start) * eighth // 8 for eighth in range(1, 8)]
    for place in places:
        frame = next(_frames(content, place, min(place + 2 * window, content.size), info), None)
        if frame is None:
            break  # a short file, or long frames
        if frame.start > last.start and frame.first_sample <= last.first_sample:
            return False
        last = frame
    for frame in _frames(content, max(start, content.size - 2 * window), content.size, info):
        if frame.first_sample >= last.first_sample:
            last = frame
    end = last.first_sample + last.num_samples
    return end == info.num_samples and content.size - last.start <= 2 * window


def _frames(content: Content, start: int, stop: int, info: StreamInfo) -> Iterator[Frame]:
    """Whatever looks like a frame in [start, stop), in order."""
    step = 1 << 17
    for position in range(start, stop, step):
        block = content.at(position, min(step + 1, stop - position))
        for found in re.finditer(b"\xff[\xf8\xf9]", block):
            frame = _parse_frame(content, position + found.start(), info)
            if frame is not None:
                yield frame


def _streams(content: Content, info: StreamInfo, start: int) -> Iterator[_Stream]:
    """The files of which this one is made: usually one."""
    while True:
        position, following = start, None
        while following is None:
            position = content.find(MARK, position + 1)
            if position < 0:
                yield _Stream(info, start, content.size)
                return
            following = _read_opening(content, position)
        yield _Stream(info, start, position)
        info, start = following


def _read_stream(
    content: Content, stream: _Stream, begins: float
) -> tuple[list[AudioPart], list[str], float]:
    """Parts of one stream, what to say of it, and its length in seconds."""
    info = stream.info
    frames = _in_order(list(_frames(content, stream.start, stream.stop, info)))
    good = _without_damage(content, info, frames, stream.stop)
    parts: list[AudioPart] = []
    notes: list[str] = []
    row: list[tuple[Frame, int]] = []
    rate = info.sampling_rate
    first = frames[0].first_sample if frames else 0
    expected = first

    def finish() -> None:
        if row:
            parts.append(_part(info, row))
            row.clear()

    for frame, stop in good:
        lost = frame.first_sample - expected
        if lost > 0:
            finish()
            parts.append(AudioPart((), lost))
            notes.append(silenced(lost / rate, begins + (expected - first) / rate))
        row.append((frame, stop))
        expected = frame.first_sample + frame.num_samples
    finish()
    length = (expected - first) / rate
    promised = info.num_samples / rate
    # A cut without encoding keeps the numbers, and often the length of what it was cut from.
    if first == 0 and promised > length + 0.005:
        notes.append(ends_early(begins + length, begins + promised))
    elif frames and not (good and good[-1][0] == frames[-1]):
        lost = frames[-1].first_sample + frames[-1].num_samples - expected
        notes.append(not_whole(stream.stop - frames[-1].start, lost / rate))
    return parts, notes, length


def _in_order(frames: Sequence[Frame]) -> list[Frame]:
    """The frames whose numbers rise; what only looks like a frame rarely fits in."""
    result: list[Frame] = []
    for index, frame in enumerate(frames):
        if result:
            expected = result[-1].first_sample + result[-1].num_samples
            if frame.first_sample < expected:
                continue
            if frame.first_sample > expected:  # after damage: the next one has to agree
                end = frame.first_sample + frame.num_samples
                following = [later.first_sample for later in frames[index + 1 : index + 4]]
                if following and end not in following:
                    continue
        result.append(frame)
    return result


def _without_damage(
    content: Content, info: StreamInfo, frames: Sequence[Frame], stop: int
) -> list[tuple[Frame, int]]:
    """The frames whose checksums are right, each with where it ends."""
    ends = [following.start for _, following in pairwise(frames)] + [stop]
    result: list[tuple[Frame, int]] = []
    for at in range(0, len(frames), CHECKED_TOGETHER):
        group = list(zip(frames[at : at + CHECKED_TOGETHER], ends[at:], strict=False))
        data = [content.at(frame.start, min(end - frame.start, 1 << 22)) for frame, end in group]
        for entry, checksum in zip(group, _checksums_16(data), strict=True):
            if checksum == 0:  # it is part of the frame
                result.append(entry)
    if frames and not (result and result[-1][0] == frames[-1]):
        end = _end_before_a_tag(content, info, frames[-1], stop)
        result += [] if end is None else [(frames[-1], end)]
    return result


def _end_before_a_tag(content: Content, info: StreamInfo, frame: Frame, stop: int) -> int | None:
    """Where a frame ends behind which something else stands, such as a tag; None if it is damaged.

    The checksum is right there, and at one place in 65,536 by chance: the decoder is asked.
    """
    data = content.at(frame.start, min(stop - frame.start, LONGEST_SEARCH))
    crc = 0
    for size, byte in enumerate(data, start=1):
        crc = crc << 8 & 0xFFFF ^ _CHECKSUMS_16[crc >> 8 ^ byte]
        if crc == 0 and _can_be_decoded(info, frame, data[:size]):
            return frame.start + size
    return None


def _can_be_decoded(info: StreamInfo, frame: Frame, data: bytes) -> bool:
    file = io.BytesIO(_opening_of(info, frame.num_samples) + data)
    try:
        with soundfile.SoundFile(file) as opened:
            return len(opened.read(frame.num_samples)) == frame.num_samples
    except soundfile.LibsndfileError:
        return False


def _opening_of(info: StreamInfo, num_samples: int) -> bytes:
    packed = int.from_bytes(info.content[10:18], "big") >> 36 << 36 | num_samples
    return MARK + b"\x80\0\0\x22" + info.content[:10] + packed.to_bytes(8, "big") + bytes(16)


def _part(info: StreamInfo, row: Sequence[tuple[Frame, int]]) -> AudioPart:
    total = sum(frame.num_samples for frame, _ in row)
    pieces: list[Piece] = [_opening_of(info, total)]
    entries = []
    position = 0
    for at in range(0, len(row), ENTRY_FRAMES):
        group = row[at : at + ENTRY_FRAMES]
        entries.append((position, len(pieces)))
        pieces.append(Extent(group[0][0].start, group[-1][1]))
        position += sum(frame.num_samples for frame, _ in group)
    return AudioPart(tuple(pieces), total, False, tuple(entries), 1)


def _checksum_8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = _TABLE_8[crc ^ byte]
    return crc


def _checksums_16(frames: Sequence[bytes]) -> list[int]:
    """The checksums of several frames at once. Zeros in front of a frame change nothing."""
    longest = max(map(len, frames), default=0)
    block = np.zeros((longest, len(frames)), dtype=np.uint16)
    for column, data in enumerate(frames):
        block[longest - len(data) :, column] = np.frombuffer(data, dtype=np.uint8)
    crc = np.zeros(len(frames), dtype=np.uint16)
    for row in block:
        crc = (crc << 8) ^ _TABLE_16[(crc >> 8) ^ row]
    return [int(value) for value in crc]


def _table(polynomial: int, bits: int) -> list[int]:
    table = []
    for byte in range(256):
        crc = byte << bits - 8
        for _ in range(8):
            crc = (crc << 1 ^ polynomial) if crc >> bits - 1 else crc << 1
            crc &= (1 << bits) - 1
        table.append(crc)
    return table


_TABLE_8 = _table(0x07, 8)
_CHECKSUMS_16 = _table(0x8005, 16)
_TABLE_16 = np.array(_CHECKSUMS_16, dtype=np.uint16)
