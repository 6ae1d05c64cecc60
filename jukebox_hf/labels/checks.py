"""Whether a processor's settings make sense, and whether they are those of a given prior."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

# Of counts, rates and lengths in samples: 13 hours of audio at 44.1 kHz.
LARGEST_SETTING = 2**31 - 1
# Of what a prior reads at once; the released ones take 512 lyric symbols and 5 genre words.
LARGEST_TEXT = 2**16


class PriorSettings(Protocol):
    """What a processor must agree on with its prior; `JukeboxPriorConfig` has all of it."""

    artist_count: int
    genre_count: int
    genre_slots: int
    lyric_length: int
    lyric_vocab_size: int
    sampling_rate: int
    min_total_seconds: float | int
    max_total_seconds: float | int

    @property
    def has_timing(self) -> bool: ...

    @property
    def window_samples(self) -> int: ...


def require_text(name: str, value: object) -> None:
    """Raise `ValueError` unless `value` is text or `None`; lyrics may hold what cannot be sung."""
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} must be text, got {value!r:.80}")
    if name != "lyrics" and any("\ud800" <= char <= "\udfff" for char in value or ""):
        raise ValueError(f"{name} must be text in UTF-8, got the bytes of another encoding")


def require_count(
    name: str, value: Any, *, smallest: int = 1, largest: int = LARGEST_SETTING
) -> None:
    """Raise `ValueError` unless `value` is a whole number in that range."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name} must be a whole number, got {value!r:.80}")
    if not smallest <= value <= largest:
        shown = value if value.bit_length() < 64 else "a far larger number"
        raise ValueError(f"{name} must be from {smallest} to {largest}, got {shown}")


def require_limits(min_total_seconds: Any, max_total_seconds: Any) -> None:
    """Raise `ValueError` unless these are a range of lengths; the maximum may be `None`."""
    limits = {"min_total_seconds": min_total_seconds}
    if max_total_seconds is not None:
        limits["max_total_seconds"] = max_total_seconds
    for name, value in limits.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value <= LARGEST_SETTING or not math.isfinite(value):
            raise ValueError(f"{name} must be a number of seconds, got {value!r:.80}")
    if max_total_seconds is not None and not min_total_seconds < max_total_seconds:
        raise ValueError(
            "min_total_seconds must be below max_total_seconds, got "
            f"{min_total_seconds} and {max_total_seconds}"
        )


def require_lyrics(lyric_characters: Any, lyric_length: Any) -> None:
    """Raise `ValueError` unless both say that there are lyrics, or both that there are none."""
    if not isinstance(lyric_characters, str):
        raise ValueError(f"lyric_characters must be text, got {lyric_characters!r:.80}")
    require_count("lyric_length", lyric_length, smallest=0, largest=LARGEST_TEXT)
    if bool(lyric_characters) != bool(lyric_length) or lyric_length % 2:
        raise ValueError(
            "lyric_length must be even, and 0 exactly if there are no lyric_characters; got "
            f"{lyric_length} for {len(lyric_characters)} characters"
        )


def require_total(
    total_samples: int,
    *,
    sampling_rate: int,
    min_total_seconds: float,
    max_total_seconds: float | None,
) -> None:
    """Raise `ValueError` unless a piece may last so long.

    Lengths are compared as the prior sees them, in float32: one that rounds up to the maximum is
    refused (26 459 999 samples for a maximum of 600 seconds at 44.1 kHz).
    """
    seconds = f"got {total_samples / sampling_rate:.2f} ({total_samples} samples)"
    if not 0 < total_samples <= LARGEST_SETTING:
        raise ValueError(
            f"a piece must last longer than 0 seconds and less than 13 hours, {seconds}"
        )
    total = np.float32(total_samples)
    if total < np.float32(min_total_seconds * sampling_rate):
        raise ValueError(
            f"this prior is for pieces of at least {min_total_seconds:g} seconds, {seconds}; "
            "ask for a longer one"
        )
    if max_total_seconds is not None and total >= np.float32(max_total_seconds * sampling_rate):
        raise ValueError(
            f"this prior is for pieces of less than {max_total_seconds:g} seconds, {seconds}; "
            "ask for a shorter one"
        )


def require_offset(offset_samples: int, total_samples: int, *, sampling_rate: int) -> None:
    """Raise `ValueError` unless a window at that offset starts inside the piece."""
    if not 0 <= offset_samples < total_samples:
        raise ValueError(
            f"a window must start inside the piece of {total_samples / sampling_rate:.2f} seconds "
            f"({total_samples} samples), got {offset_samples / sampling_rate:.2f} "
            f"({offset_samples} samples)"
        )


def prior_problems(
    settings: Mapping[str, Any], config: PriorSettings, *, artist_rows: int, genre_rows: int
) -> list[str]:
    """Why a processor with these settings and tables is not that of a prior; empty if it is."""
    names = ["lyric_length", "sampling_rate", "window_samples"]
    names += ["genre_slots"] * (config.artist_count > 0)
    names += ["min_total_seconds", "max_total_seconds"] * config.has_timing
    compared = {name: (settings[name], getattr(config, name)) for name in names}
    if settings["lyric_length"]:
        symbols = len(settings["lyric_characters"]) + 1
        compared["lyric_vocab_size"] = (symbols, config.lyric_vocab_size)
    return [
        *_row_problems("artist", artist_rows, config.artist_count),
        *_row_problems("genre", genre_rows, config.genre_count),
        *(
            f"{name} is {mine} here and {theirs} in the prior"
            for name, (mine, theirs) in compared.items()
            if mine != theirs
        ),
    ]


def _row_problems(kind: str, needed: int, table_rows: int) -> list[str]:
    if needed > table_rows:
        return [f"{kind} ids go up to {needed - 1}, but the prior's table has {table_rows} rows"]
    if table_rows and not needed:
        return [f"it has no {kind}s, but the prior has a table of {table_rows}"]
    return []
