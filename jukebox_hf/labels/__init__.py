"""From what a piece is, in words, to what a prior reads: artist, genre, timing and lyrics.

Names and text go in; `JukeboxLabels` and lyric tokens come out, by way of one `JukeboxProcessor`
per prior. What a prior makes of them is `prior`'s business.
"""

from jukebox_hf.labels.lyric_formats import (
    LARGEST_LYRICS_BYTES,
    LYRICS_SUFFIXES,
    TIMED_SUFFIXES,
    FoundLyrics,
    VerbatimLyrics,
    decode_lyrics,
    find_lyrics,
    looks_like_file_name,
    parse_lrc,
    read_lyrics,
    read_lyrics_file,
    timed_segments,
)
from jukebox_hf.labels.lyric_windows import LyricWindow, linear_centre, lyric_window
from jukebox_hf.labels.lyrics import LYRIC_CHARACTERS, LyricAlphabet
from jukebox_hf.labels.processor import JukeboxProcessor
from jukebox_hf.labels.tensors import JukeboxLabels, PriorInputs, ResolvedLabels, WindowLabels
from jukebox_hf.labels.timed_lyrics import TimedLyrics, TimedSegment
from jukebox_hf.labels.vocabularies import (
    UNKNOWN,
    UNKNOWN_ID,
    Dialect,
    FoundNames,
    Vocabulary,
    genre_keys,
    normalise_name,
    read_ids,
)

__all__ = [
    "LARGEST_LYRICS_BYTES",
    "LYRICS_SUFFIXES",
    "LYRIC_CHARACTERS",
    "TIMED_SUFFIXES",
    "UNKNOWN",
    "UNKNOWN_ID",
    "Dialect",
    "FoundLyrics",
    "FoundNames",
    "JukeboxLabels",
    "JukeboxProcessor",
    "LyricAlphabet",
    "LyricWindow",
    "PriorInputs",
    "ResolvedLabels",
    "TimedLyrics",
    "TimedSegment",
    "VerbatimLyrics",
    "Vocabulary",
    "WindowLabels",
    "decode_lyrics",
    "find_lyrics",
    "genre_keys",
    "linear_centre",
    "looks_like_file_name",
    "lyric_window",
    "normalise_name",
    "parse_lrc",
    "read_ids",
    "read_lyrics",
    "read_lyrics_file",
    "timed_segments",
]
