"""Sound files as they should have been: parts of a file, and bytes of our own, as one stream.

`mp3`, `ogg`, `flac` and `wav` look through a file and say how it is to be read where a decoder
would be misled: a `FrameLayout` of `AudioPart`s that are decoded one after the other. Nothing is
copied: what a decoder reads comes from the file at that moment.
"""

import io
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, BinaryIO, NamedTuple

BLOCK_BYTES = 1 << 18

# Opens the content of an audio file from its beginning, for reading and seeking; may be called
# again while another is open.
OpenContent = Callable[[], BinaryIO]


class Extent(NamedTuple):
    """Some bytes of the file."""

    start: int
    stop: int


Piece = bytes | Extent


class AudioPart(NamedTuple):
    """What is decoded as one file.

    Args:
        pieces: what the decoder reads; empty for silence.
        num_samples: how many samples come out, where that is known; of silence, how many.
        can_seek: whether the decoder finds its way by itself; else it decodes from the start, or
            from one of the `entries`.
        entries: samples, and the first piece of what begins there; a decoder gets `opening_pieces`
            and then the pieces from there on.
        opening_pieces: how many pieces stand before the sound.
    """

    pieces: tuple[Piece, ...]
    num_samples: int | None = None
    can_seek: bool = True
    entries: tuple[tuple[int, int], ...] = ()
    opening_pieces: int = 0


class FrameLayout(NamedTuple):
    """How a file is to be read."""

    parts: tuple[AudioPart, ...]
    notes: tuple[str, ...] = ()  # what is wrong with it, each the end of a sentence
    share: float = 1.0  # that is there, of the sound that the header promises


class Kept:
    """A file that stays open when its reader is closed."""

    def __init__(self, file: BinaryIO) -> None:
        self.seek, self.read = file.seek, file.read

    def close(self) -> None:
        pass


class Spliced(io.RawIOBase):
    """A stream that reads as its pieces one after the other."""

    def __init__(self, file: BinaryIO, pieces: Sequence[Piece]) -> None:
        super().__init__()
        self._file = file
        self._pieces = pieces
        lengths = (len(p) if isinstance(p, bytes) else p.stop - p.start for p in pieces)
        self._ends = list(accumulate(lengths))
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and self._position < self._length:
            index = bisect_right(self._ends, self._position)
            piece = self._pieces[index]
            inside = self._position - (self._ends[index - 1] if index else 0)
            wanted = min(len(view) - done, self._ends[index] - self._position)
            if isinstance(piece, bytes):
                found = piece[inside : inside + wanted]
            else:
                self._file.seek(piece.start + inside)
                found = self._file.read(wanted)
            if not found:
                break  # the file has become shorter
            view[done : done + len(found)] = found
            done += len(found)
            self._position += len(found)
        return done

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()

    @property
    def _length(self) -> int:
        return self._ends[-1] if self._ends else 0


class Content:
    """The bytes of a file at any place, read in blocks."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._start = 0
        self._block = b""
        self.size = file.seek(0, io.SEEK_END)

    def at(self, position: int, num_bytes: int) -> bytes:
        """Bytes [position, position + num_bytes), fewer at the end."""
        inside = position - self._start
        if inside < 0 or inside + num_bytes > len(self._block):
            self._file.seek(position)
            self._start, inside = position, 0
            self._block = self._file.read(max(num_bytes, BLOCK_BYTES))
        return self._block[inside : inside + num_bytes]

    def find(self, wanted: bytes, start: int, stop: int | None = None) -> int:
        """Where `wanted` stands first in [start, stop), or -1."""
        stop = self.size if stop is None else min(stop, self.size)
        step = BLOCK_BYTES - len(wanted)
        for position in range(start, stop, step):
            found = self.at(position, min(BLOCK_BYTES, stop - position)).find(wanted)
            if found >= 0:
                return position + found
        return -1


def ends_early(found: float, promised: float) -> str:
    """The note on a file that is shorter than it says, in seconds."""
    return (
        f"it ends after {found:.2f} seconds, although its header promises {promised:.2f}: "
        f"{promised - found:.2f} seconds are missing"
    )


def not_whole(num_bytes: int, seconds: float) -> str:
    """The note on a last piece of sound that was cut off."""
    return (
        f"its last {num_bytes:,} bytes are not whole and were left out, about {seconds:.2f} seconds"
    )


def silenced(seconds: float, place: float) -> str:
    """The note on damage where the length of what is lost is known."""
    return (
        f"{seconds:.2f} seconds after {place:.2f} seconds are damaged; silence stands in their "
        "place"
    )
