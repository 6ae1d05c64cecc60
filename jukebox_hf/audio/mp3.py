"""What MP3 files need beside libsndfile: their real length, and tags in every script.

Most MP3 files open with a frame (`Xing`, `Info` or `VBRI`) that counts the others. Without it the
decoder in libsndfile guesses the length from the first frame's bit rate: a file with a variable bit
rate can lose its second half without a word. Here the frames are counted, and a frame that says
so is put in front. Sources: ISO/IEC 11172-3 and 13818-3 (frame headers), and id3.org's ID3v2.3.0.
"""

import struct
from collections.abc import Callable, Mapping
from typing import BinaryIO, NamedTuple

# kbit/s by the header's bit-rate index, layer III of MPEG-1 and of MPEG-2/2.5; 0 = not usable here
BITRATES = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}
SAMPLING_RATES = (44100, 48000, 32000)  # MPEG-1; halved in MPEG-2, quartered in MPEG-2.5
ID3_HEADER_BYTES = 10
ID3_FRAMES = {
    "title": b"TIT2",
    "artist": b"TPE1",
    "genre": b"TCON",
    "album": b"TALB",
    "comment": b"COMM",
    "software": b"TSSE",
}


class FrameHeader(NamedTuple):
    """What is needed of the four bytes that open a frame."""

    version: int  # 1, or 2 for MPEG-2 and MPEG-2.5
    num_bytes: int  # of the whole frame
    side_bytes: int  # of the side information after the header
    stream: bytes  # the bits that stay the same from frame to frame


def with_counted_frames(open_content: Callable[[], BinaryIO]) -> bytes | None:
    """The file's content with a frame in front that counts its frames, to be read in its stead.

    None when the file can be read as it is: it already counts them, or is not plain layer III.
    """
    with open_content() as file:
        start = _audio_start(file.read(ID3_HEADER_BYTES))
        file.seek(start)
        opening = file.read(4096)
        first = _parse_header(opening[:4])
        if first is None or _counts_its_frames(opening, first):
            return None
        file.seek(start)
        content = file.read()
    count = _count_frames(content, first)
    return _counting_frame(content[:4], first, count) + content


def _audio_start(opening: bytes) -> int:
    """Skip an ID3v2 tag, whose size is written in seven bits per byte."""
    if opening[:3] != b"ID3" or len(opening) < ID3_HEADER_BYTES:
        return 0
    size = 0
    for byte in opening[6:10]:
        size = size << 7 | byte & 0x7F
    has_footer = bool(opening[5] & 0x10)
    return ID3_HEADER_BYTES * (2 if has_footer else 1) + size


def _parse_header(header: bytes) -> FrameHeader | None:
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version_bits, layer_bits = header[1] >> 3 & 3, header[1] >> 1 & 3
    rate_index, bitrate_index = header[2] >> 2 & 3, header[2] >> 4
    if version_bits == 1 or layer_bits != 1 or rate_index == 3:
        return None
    version = 1 if version_bits == 3 else 2
    bitrate = BITRATES[version][bitrate_index]
    if bitrate == 0:
        return None
    rate = SAMPLING_RATES[rate_index] >> {3: 0, 2: 1, 0: 2}[version_bits]
    padding = header[2] >> 1 & 1
    num_bytes = (144 if version == 1 else 72) * bitrate * 1000 // rate + padding
    mono = header[3] >> 6 == 3
    side_bytes = (17 if mono else 32) if version == 1 else (9 if mono else 17)
    stream = bytes([header[1] & 0xFE, header[2] & 0x0C, 0xC0 if mono else 0])
    return FrameHeader(version, num_bytes, side_bytes, stream)


def _counts_its_frames(opening: bytes, first: FrameHeader) -> bool:
    position = 4 + first.side_bytes
    return opening[position : position + 4] in (b"Xing", b"Info") or opening[36:40] == b"VBRI"


def _count_frames(content: bytes, first: FrameHeader) -> int:
    count, position, last = 0, 0, len(content) - 4
    while position <= last:
        header = _parse_header(content[position : position + 4])
        if header is not None and header.stream == first.stream:
            if position + header.num_bytes > len(content):
                break  # cut off
            count += 1
            position += header.num_bytes
        else:  # damage, or a tag at the end: go to what may be the next frame
            position = content.find(b"\xff", position + 1)
            if position < 0:
                break
    return count


def _counting_frame(header: bytes, first: FrameHeader, count: int) -> bytes:
    """A silent frame of the same stream with `Xing`, flags (1 = a count follows) and the count."""
    roomy = bytes([header[0], header[1] | 1, header[2] & 0x0C | 0xE0, header[3]])
    parsed = _parse_header(roomy)
    assert parsed is not None
    body = bytes(first.side_bytes) + b"Xing" + struct.pack(">II", 1, count)
    return (roomy + body).ljust(parsed.num_bytes, b"\0")


def id3_tag(fields: Mapping[str, str]) -> bytes:
    """An ID3v2.3 tag, to stand before the first frame, with the text in UTF-16.

    libsndfile 1.2.2 writes tags itself, but marks UTF-8 as Latin-1 as soon as one is longer than 30
    bytes, so that players show the wrong letters.
    """
    frames = b""
    for name, value in fields.items():
        text = value.encode("utf-16")  # with a byte order mark, as encoding 1 asks
        if name == "comment":  # language, then an empty description
            body = b"\x01eng" + "".encode("utf-16") + b"\0\0" + text
        else:
            body = b"\x01" + text
        frames += ID3_FRAMES[name] + struct.pack(">IH", len(body), 0) + body
    size = len(frames)
    seven_bits = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + seven_bits + frames
