"""Which window of which song an item is in this epoch, for every dataset of windows.

An item's number goes in; its window and its random numbers come out. They follow from seed, epoch
and number alone: not from the worker or process that asks, nor from what was asked before.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jukebox_hf.data.candidates import SkippedSong
from jukebox_hf.data.song_windows import Draw, SongWindow, WindowTable, draw

# Other windows tried in place of one that cannot be read, before giving up.
REPLACEMENTS = 20
LARGEST_SEED = 2**64 - 1


class Pick(NamedTuple):
    """What an item shows."""

    window: SongWindow
    random: Draw


class ItemWindows:
    """The windows of some songs, item by item, epoch by epoch.

    Args:
        lengths: of each song, in units of the caller's.
        size: of a window, in the same units. Shorter songs take no part.
        shift: move every window by up to half its size, differently in every epoch.
        seed: of everything random, from 0 to 2**64 - 1.
    """

    def __init__(self, lengths: Sequence[int], size: int, *, shift: bool, seed: int) -> None:
        if not 0 <= seed <= LARGEST_SEED:
            raise ValueError(f"seed must be from 0 to {LARGEST_SEED}, got {seed}")
        self._table = WindowTable(lengths, size)
        self._shift = shift
        self._seed = seed
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._table)

    def set_epoch(self, epoch: int) -> None:
        """Draw other random numbers from now on."""
        if epoch < 0:
            raise ValueError(f"epochs count from 0, got {epoch}")
        self._epoch = epoch

    def pick(self, item: int) -> Pick:
        """What item number `item` shows in this epoch; `IndexError` if there is no such item."""
        return next(self.picks(item))

    def picks(self, item: int) -> Iterator[Pick]:
        """The same, followed by what may take its place if it cannot be read."""
        for attempt in range(1 + REPLACEMENTS):
            random = draw(self._seed, self._epoch, item, attempt)
            number = int(random.choice * len(self)) if attempt else item
            yield Pick(self._table.window(number, random.shift if self._shift else None), random)


def check_lengths(
    names: Sequence[str], lengths_seconds: Sequence[float], window_seconds: float, what: str
) -> tuple[SkippedSong, ...]:
    """The songs that are shorter than a window, of which `what` says what it is.

    Raises `ValueError` if all are.
    """
    longest = max(lengths_seconds, default=0.0)
    if longest < window_seconds:
        raise ValueError(
            f"no song is as long as {what} of {window_seconds:.2f} seconds, the longest of "
            f"{len(names)} lasts {longest:.2f}; give longer songs or a model with a shorter one"
        )
    return tuple(
        SkippedSong(name, f"too short: {seconds:.2f} seconds, {what} takes {window_seconds:.2f}")
        for name, seconds in zip(names, lengths_seconds, strict=True)
        if seconds < window_seconds
    )
