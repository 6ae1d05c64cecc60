"""MP3 files: where their frames really are, how many, and tags in every script.

An MP3 file is nothing but frames, each of which says how long it is. Most files open with a frame
(`Xing`, `Info` or `VBRI`) that counts the others, and says how many samples the encoder put before
and after the music. The decoder in libsndfile believes that frame, or guesses the length from the
first bit rate where there is none; it gives up behind some rubbish, and where sampling rate or
channels change. Here all frames are found, and runs of equal ones that are opened by a frame which
tells the truth. Sources: ISO/IEC 11172-3 and 13818-3 (frames, side information, main data that
begins in earlier frames), the LAME project's description of its info tag, id3.org's ID3v2.3.0, and
Hydrogenaudio's of APEv2.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from jukebox_hf.audio.splicing import AudioPart, Content, Extent, FrameLayout, Piece, ends_early

# kbit/s by the header's bit-rate index, layer III of MPEG-1 and of MPEG-2/2.5; 0 = not usable here
BITRATES = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
}
SAMPLING_RATES = (44100, 48000, 32000)  # MPEG-1; halved in MPEG-2, quartered in MPEG-2.5
DECODER_DELAY = 529  # samples that a decoder of layer III is late; players leave them out
ID3_HEADER_BYTES = 10
APE_HEADER_BYTES = 32
ID3V1_BYTES = 128
SEARCHED_BYTES = 1 << 20  # for a first frame
# Rubbish shorter than a frame is nothing that one could have heard, nor is a little at the end.
NOTED_BYTES = 418
NOTED_BYTES_AT_END = 4096
# Main data begins at most 511 bytes back: in one of so many frames before.
RESERVOIR_FRAMES = 12
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
    sampling_rate: int
    num_bytes: int  # of the whole frame
    has_checksum: bool
    side_bytes: int  # of the side information after header and checksum
    stream: bytes  # the bits that stay the same from frame to frame

    @property
    def num_samples(self) -> int:
        """Samples that come out of a frame."""
        return 1152 if self.version == 1 else 576


class Opening(NamedTuple):
    """What a frame that counts the others says; None where it does not."""

    num_frames: int | None = None
    delay: int | None = None  # samples that the encoder put before the music
    padding: int | None = None  # and after it


class _Frame(NamedTuple):
    start: int
    header: FrameHeader


class _Rubbish(NamedTuple):
    start: int
    stop: int


class _Tag(NamedTuple):
    start: int
    stop: int


@dataclass
class _Run:
    """Frames of one kind that follow each other without a gap."""

    first: _Frame
    opening: Opening | None  # of a frame before `first`
    start: int  # of that frame, or of the first
    stop: int
    num_frames: int = 0
    first_frames: list[_Frame] = field(default_factory=list)
    last: _Frame | None = None

    @property
    def num_samples(self) -> int:
        return self.num_frames * self.first.header.num_samples

    @property
    def seconds(self) -> float:
        return self.num_samples / self.first.header.sampling_rate

    def add(self, frame: _Frame) -> None:
        self.num_frames += 1
        self.stop = frame.start + frame.header.num_bytes
        self.last = frame
        if len(self.first_frames) < RESERVOIR_FRAMES:
            self.first_frames.append(frame)

    def drop_last(self) -> int:
        """Leave out the last frame, into which damage behind it reaches; where it began."""
        if self.last is not None and self.num_frames > 1:
            self.num_frames -= 1
            self.stop = self.last.start
            self.first_frames = self.first_frames[: self.num_frames]
        return self.stop


def survey(file: BinaryIO) -> FrameLayout | None:
    """How to read an MP3 file; None if it can be read as it is, or holds no frames of layer III."""
    content = Content(file)
    runs, rubbish, tags = _find_runs(content)
    if not runs:
        return None
    notes = _notes(runs, rubbish, content)
    first = runs[0]
    if (
        len(runs) == 1
        and not rubbish
        and first.opening is not None
        and first.opening.num_frames == first.num_frames
        and first.opening.delay is not None
        and _delay_is_within(first)
        and not [tag for tag in tags if tag.start < first.start and tag.start > 0]
        and not [tag for tag in tags if tag.start == 0 and content.at(0, 3) != b"ID3"]
    ):
        return FrameLayout((), notes) if notes else None
    return FrameLayout(tuple(_part(run, content) for run in runs), notes)


def _delay_is_within(run: _Run) -> bool:
    assert run.opening is not None
    return (run.opening.delay or 0) + (run.opening.padding or 0) < run.num_samples


def _find_runs(content: Content) -> tuple[list[_Run], list[_Rubbish], list[_Tag]]:
    runs: list[_Run] = []
    rubbish: list[_Rubbish] = []
    tags: list[_Tag] = []
    run: _Run | None = None
    for element in _elements(content):
        if isinstance(element, _Rubbish):
            if run is not None and _is_noted(element, content):
                element = _Rubbish(run.drop_last(), element.stop)
            rubbish.append(element)
            run = None
        elif isinstance(element, _Tag):
            tags.append(element)
            run = None
        else:
            opening = _read_opening(content, element)
            if run is None or opening or element.header.stream != run.first.header.stream:
                run = _Run(element, opening, element.start, element.start)
                runs.append(run)
                if opening:
                    run.stop += element.header.num_bytes
                    continue
            elif run.num_frames == 0:
                run.first = element
            run.add(element)
    return [run for run in runs if run.num_frames], rubbish, tags


def _elements(content: Content) -> Iterator[_Frame | _Rubbish | _Tag]:
    """What the file is made of, in order."""
    position, rubbish_start, stream, any_frame = 0, -1, b"", False
    while position < content.size:
        header = _parse_header(content.at(position, 4))
        if header is not None and (
            (rubbish_start < 0 and header.stream == stream)
            or _is_followed_by_another(content, position, header)
        ):
            if position + header.num_bytes > content.size:
                header = None  # cut off
        else:
            header = None
        if header is not None:
            if rubbish_start >= 0:
                yield _Rubbish(rubbish_start, position)
            rubbish_start, stream, any_frame = -1, header.stream, True
            yield _Frame(position, header)
            position += header.num_bytes
            continue
        behind = after_tag(content, position)
        if behind > position:
            if rubbish_start >= 0:
                yield _Rubbish(rubbish_start, position)
            rubbish_start, stream = -1, b""
            yield _Tag(position, behind)
            position = behind
            continue
        if rubbish_start < 0:
            rubbish_start, stream = position, b""
        if not any_frame and position - rubbish_start > SEARCHED_BYTES:
            return
        position = _next_candidate(content, position + 1)
    if rubbish_start >= 0:
        yield _Rubbish(rubbish_start, content.size)


def _next_candidate(content: Content, start: int) -> int:
    """Where a frame or a tag may begin next."""
    stop = content.find(b"\xff", start)
    stop = content.size if stop < 0 else stop
    for mark in (b"ID3", b"TAG", b"APETAGEX"):
        found = content.find(mark, start, stop)
        stop = found if found >= 0 else stop
    return stop


def _is_followed_by_another(content: Content, position: int, header: FrameHeader) -> bool:
    """Whether two more frames of this kind follow, or the file or a tag ends the row."""
    for _ in range(2):
        position += header.num_bytes
        if position >= content.size - 4:
            return position <= content.size
        following = _parse_header(content.at(position, 4))
        if following is None:
            return after_tag(content, position) > position
        if following.stream != header.stream:
            return False
        header = following
    return True


def after_tag(content: Content, position: int) -> int:
    """Where the tag that begins at `position` ends; `position` itself if none does."""
    head = content.at(position, APE_HEADER_BYTES)
    if head[:3] == b"ID3" and len(head) >= ID3_HEADER_BYTES and max(head[6:10]) < 0x80:
        size = 0
        for byte in head[6:10]:  # seven bits each
            size = size << 7 | byte
        size += ID3_HEADER_BYTES * (2 if head[5] & 0x10 else 1)  # with a footer
        return position + size if position + size <= content.size else position
    if head[:8] == b"APETAGEX" and len(head) == APE_HEADER_BYTES:
        is_header = bool(head[23] & 0x20)  # else the footer of a tag that has no header
        size = int(struct.unpack("<I", head[12:16])[0]) if is_header else 0
        size += APE_HEADER_BYTES
        return position + size if position + size <= content.size else position
    if head[:3] == b"TAG" and position + ID3V1_BYTES <= content.size:
        return position + ID3V1_BYTES
    return position


def _parse_header(header: bytes) -> FrameHeader | None:
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    return _HEADERS.get((header[1], header[2], header[3] >> 6 == 3))


def _header(second: int, third: int, mono: bool) -> FrameHeader | None:
    version_bits, layer_bits = second >> 3 & 3, second >> 1 & 3
    rate_index, bitrate_index = third >> 2 & 3, third >> 4
    if version_bits == 1 or layer_bits != 1 or rate_index == 3:
        return None
    version = 1 if version_bits == 3 else 2
    bitrate = BITRATES[version][bitrate_index]
    if bitrate == 0:
        return None
    rate = SAMPLING_RATES[rate_index] >> {3: 0, 2: 1, 0: 2}[version_bits]
    padding = third >> 1 & 1
    num_bytes = (144 if version == 1 else 72) * bitrate * 1000 // rate + padding
    side_bytes = (17 if mono else 32) if version == 1 else (9 if mono else 17)
    stream = bytes([second & 0xFE, third & 0x0C, 0xC0 if mono else 0])
    return FrameHeader(version, rate, num_bytes, not second & 1, side_bytes, stream)


_HEADERS = {
    (second, third, mono): _header(second, third, mono)
    for second in range(0xE0, 0x100)
    for third in range(0x100)
    for mono in (False, True)
}


def _read_opening(content: Content, frame: _Frame) -> Opening | None:
    """What the frame says of the others; None for a frame of sound."""
    data = content.at(frame.start, min(frame.header.num_bytes, 256))
    if data[36:40] == b"VBRI":
        return Opening(num_frames=struct.unpack(">I", data[50:54])[0])
    at = 4 + frame.header.side_bytes
    if data[at : at + 4] not in (b"Xing", b"Info"):
        return None
    flags = data[at + 7] if len(data) > at + 7 else 0
    at += 8
    count: int | None = None
    if flags & 1 and len(data) >= at + 4:
        count = struct.unpack(">I", data[at : at + 4])[0]
    # after the optional fields: count, bytes, table of contents, quality
    at += (4 if flags & 1 else 0) + (4 if flags & 2 else 0)
    at += (100 if flags & 4 else 0) + (4 if flags & 8 else 0)
    tag = data[at : at + 24]
    if len(tag) < 24 or not tag[:4].isalnum():
        return Opening(count)
    delay = tag[21] << 4 | tag[22] >> 4
    return Opening(count, delay, (tag[22] & 15) << 8 | tag[23])


def _part(run: _Run, content: Content) -> AudioPart:
    """The run, opened by a frame that tells the truth."""
    frame_samples = run.first.header.num_samples
    opening = run.opening
    pieces: list[Piece] = []
    num_frames = run.num_frames
    if opening is not None and opening.delay is not None and _delay_is_within(run):
        delay, padding = opening.delay, opening.padding or 0
        if opening.num_frames != run.num_frames:
            padding = 0  # it stood at another end
        pieces.append(_counting_frame(run.first, content, num_frames, delay, padding))
    else:
        # Nothing is known of the encoder: as with players, all that comes out is sound. Decoders
        # that are told how many frames there are leave out the first 529 samples, so a silent
        # frame goes before.
        num_frames += 1
        delay = frame_samples - DECODER_DELAY
        pieces.append(_counting_frame(run.first, content, num_frames, delay, 0))
        pieces.append(_silent_frame(run.first, content))
    start = run.first.start
    for frame, available in _undecodable(run, content):
        pieces.append(_silenced(frame, content, available))
        start = frame.start + frame.header.num_bytes
    pieces.append(Extent(start, run.stop))
    return AudioPart(tuple(pieces))


def _undecodable(run: _Run, content: Content) -> Iterator[tuple[_Frame, int]]:
    """The first frames that need main data from before the run; how much there is for each."""
    available = 0
    for frame in run.first_frames:
        header = frame.header
        side = content.at(frame.start + 4 + (2 if header.has_checksum else 0), 2)
        needed = side[0] << 1 | side[1] >> 7 if header.version == 1 else side[0]
        if needed <= available:
            return
        yield frame, available
        available += header.num_bytes - 4 - header.side_bytes
        available -= 2 if header.has_checksum else 0


def _silenced(frame: _Frame, content: Content, available: int) -> bytes:
    """The frame, silent, with its main data in place for the frames behind it.

    Its own main data is said to begin as far back as there is any: libmpg123 hands on no more.
    """
    data = bytearray(content.at(frame.start, frame.header.num_bytes))
    data[1] |= 1  # no checksum
    data[4 : 4 + frame.header.side_bytes] = bytes(frame.header.side_bytes)
    if frame.header.version == 1:
        begin = min(available, 511)
        data[4], data[5] = begin >> 1, (begin & 1) << 7
    else:
        data[4] = min(available, 255)
    return bytes(data)


def _silent_frame(frame: _Frame, content: Content) -> bytes:
    head = content.at(frame.start, 4)
    for bitrate_index in range(1, 15):
        small = bytes([head[0], head[1] | 1, head[2] & 0x0C | bitrate_index << 4, head[3]])
        header = _parse_header(small)
        if header is not None and header.num_bytes >= 4 + header.side_bytes:
            return small.ljust(header.num_bytes, b"\0")
    raise AssertionError("every bit rate is too low for a frame")


def _counting_frame(
    frame: _Frame, content: Content, num_frames: int, delay: int, padding: int
) -> bytes:
    """A frame with `Xing`, the number of frames after it, and what to leave out at both ends."""
    head = content.at(frame.start, 4)
    roomy = bytes([head[0], head[1] | 1, head[2] & 0x0C | 0xE0, head[3]])
    header = _parse_header(roomy)
    assert header is not None
    fields = b"Xing" + struct.pack(">II", 1, num_frames)
    encoder = b"LAME3.100" + bytes(12)  # players look for this name before they read on
    gap = bytes([delay >> 4, (delay & 15) << 4 | padding >> 8, padding & 255])
    body = bytes(header.side_bytes) + fields + encoder + gap
    return (roomy + body).ljust(header.num_bytes, b"\0")


def _is_noted(rubbish: _Rubbish, content: Content) -> bool:
    least = NOTED_BYTES_AT_END if rubbish.stop == content.size else NOTED_BYTES
    return rubbish.stop - rubbish.start >= least


def _notes(runs: list[_Run], rubbish: list[_Rubbish], content: Content) -> tuple[str, ...]:
    total = sum(run.seconds for run in runs)
    rate = sum(run.stop - run.start for run in runs) / total
    notes = []
    for piece in rubbish:
        if not _is_noted(piece, content):
            continue
        start, stop = piece
        at_end = stop == content.size
        before = sum(run.seconds for run in runs if run.start < start)
        place = "at its end" if at_end else f"after {before:.2f} seconds"
        notes.append(
            f"{stop - start:,} bytes {place} are not sound and were left out, "
            f"about {(stop - start) / rate:.2f} seconds"
        )
    promised = sum(
        (run.opening.num_frames or 0)
        * run.first.header.num_samples
        / run.first.header.sampling_rate
        for run in runs[:1]
        if run.opening is not None
    )
    if promised > total + 0.1:
        notes.append(ends_early(total, promised))
    return tuple(notes)


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
