"""From what a piece is, in words, to what a prior reads: artist, genre, timing and lyrics.

Names and text go in; `JukeboxLabels` and lyric tokens come out, by way of one `PriorProcessor`
per prior. What a prior makes of them is `prior`'s business.
"""

from typing import TYPE_CHECKING

from jukebox_hf.fronts import lazy_names

if TYPE_CHECKING:
    from jukebox_hf.labels.lyric_formats import LARGEST_LYRICS_BYTES as LARGEST_LYRICS_BYTES
    from jukebox_hf.labels.lyric_formats import LYRICS_SUFFIXES as LYRICS_SUFFIXES
    from jukebox_hf.labels.lyric_formats import TIMED_SUFFIXES as TIMED_SUFFIXES
    from jukebox_hf.labels.lyric_formats import FoundLyrics as FoundLyrics
    from jukebox_hf.labels.lyric_formats import VerbatimLyrics as VerbatimLyrics
    from jukebox_hf.labels.lyric_formats import decode_lyrics as decode_lyrics
    from jukebox_hf.labels.lyric_formats import find_lyrics as find_lyrics
    from jukebox_hf.labels.lyric_formats import looks_like_file_name as looks_like_file_name
    from jukebox_hf.labels.lyric_formats import parse_lrc as parse_lrc
    from jukebox_hf.labels.lyric_formats import read_lyrics as read_lyrics
    from jukebox_hf.labels.lyric_formats import read_lyrics_file as read_lyrics_file
    from jukebox_hf.labels.lyric_formats import timed_segments as timed_segments
    from jukebox_hf.labels.lyric_windows import LyricWindow as LyricWindow
    from jukebox_hf.labels.lyric_windows import linear_centre as linear_centre
    from jukebox_hf.labels.lyric_windows import lyric_window as lyric_window
    from jukebox_hf.labels.lyrics import LYRIC_CHARACTERS as LYRIC_CHARACTERS
    from jukebox_hf.labels.lyrics import LyricAlphabet as LyricAlphabet
    from jukebox_hf.labels.prior_processor import PriorProcessor as PriorProcessor
    from jukebox_hf.labels.processor import JukeboxProcessor as JukeboxProcessor
    from jukebox_hf.labels.tensors import JukeboxLabels as JukeboxLabels
    from jukebox_hf.labels.tensors import PriorInputs as PriorInputs
    from jukebox_hf.labels.tensors import ResolvedLabels as ResolvedLabels
    from jukebox_hf.labels.tensors import WindowLabels as WindowLabels
    from jukebox_hf.labels.timed_lyrics import TimedLyrics as TimedLyrics
    from jukebox_hf.labels.timed_lyrics import TimedSegment as TimedSegment
    from jukebox_hf.labels.vocabularies import UNKNOWN as UNKNOWN
    from jukebox_hf.labels.vocabularies import UNKNOWN_ID as UNKNOWN_ID
    from jukebox_hf.labels.vocabularies import Dialect as Dialect
    from jukebox_hf.labels.vocabularies import FoundNames as FoundNames
    from jukebox_hf.labels.vocabularies import Vocabulary as Vocabulary
    from jukebox_hf.labels.vocabularies import genre_keys as genre_keys
    from jukebox_hf.labels.vocabularies import normalise_name as normalise_name
    from jukebox_hf.labels.vocabularies import read_ids as read_ids


__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "lyric_formats": (
            "LARGEST_LYRICS_BYTES",
            "LYRICS_SUFFIXES",
            "TIMED_SUFFIXES",
            "FoundLyrics",
            "VerbatimLyrics",
            "decode_lyrics",
            "find_lyrics",
            "looks_like_file_name",
            "parse_lrc",
            "read_lyrics",
            "read_lyrics_file",
            "timed_segments",
        ),
        "lyric_windows": (
            "LyricWindow",
            "linear_centre",
            "lyric_window",
        ),
        "lyrics": (
            "LYRIC_CHARACTERS",
            "LyricAlphabet",
        ),
        "prior_processor": ("PriorProcessor",),
        "processor": ("JukeboxProcessor",),
        "tensors": (
            "JukeboxLabels",
            "PriorInputs",
            "ResolvedLabels",
            "WindowLabels",
        ),
        "timed_lyrics": (
            "TimedLyrics",
            "TimedSegment",
        ),
        "vocabularies": (
            "UNKNOWN",
            "UNKNOWN_ID",
            "Dialect",
            "FoundNames",
            "Vocabulary",
            "genre_keys",
            "normalise_name",
            "read_ids",
        ),
    },
)
