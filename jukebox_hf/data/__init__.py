"""From music to training examples.

A folder or dataset of songs goes in (`open_songs`). Clips for the codec (`ClipDataset`), codes on
disk (`encode_dataset`, `open_codes`) and windows of codes for priors (`CodeDataset`,
`AudioPriorDataset`) come out. `datasets` is imported only when a table is read or written.
"""

from jukebox_hf.data.bandwidth import Bandwidth, measure_bandwidth
from jukebox_hf.data.candidates import SkippedSong
from jukebox_hf.data.clips import Clip, ClipDataset
from jukebox_hf.data.code_files import CodesInfo
from jukebox_hf.data.code_songs import CodeSong, CodeSongs, holds_codes, open_codes
from jukebox_hf.data.encoding import EncodingProgress, EncodingReport, encode_dataset
from jukebox_hf.data.file_codes import check_part, encode_audio
from jukebox_hf.data.finding import holds_tables
from jukebox_hf.data.prior_items import AudioExample, AudioPriorDataset, CodeDataset, PriorExample
from jukebox_hf.data.reporting import SongLabels, describe_skipped, describe_songs, group_notes
from jukebox_hf.data.songs import Song, Songs, open_songs, split_songs, stream_songs

__all__ = [
    "AudioExample",
    "AudioPriorDataset",
    "Bandwidth",
    "Clip",
    "ClipDataset",
    "CodeDataset",
    "CodeSong",
    "CodeSongs",
    "CodesInfo",
    "EncodingProgress",
    "EncodingReport",
    "PriorExample",
    "SkippedSong",
    "Song",
    "SongLabels",
    "Songs",
    "check_part",
    "describe_skipped",
    "describe_songs",
    "encode_audio",
    "encode_dataset",
    "group_notes",
    "holds_codes",
    "holds_tables",
    "measure_bandwidth",
    "open_codes",
    "open_songs",
    "split_songs",
    "stream_songs",
]
