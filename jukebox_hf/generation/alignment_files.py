"""The files about a piece's lyrics that stand beside its audio.

An alignment and the audio file go in; data, word times, a picture and a page come out.
"""

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jukebox_hf.files import write_text
from jukebox_hf.generation.alignment import LyricAlignment, load_alignment, save_alignment
from jukebox_hf.generation.heat_map import save_heat_map
from jukebox_hf.generation.karaoke import save_karaoke_page
from jukebox_hf.generation.word_times import SungWord, to_lrc, word_times
from jukebox_hf.words import shorten

WORDS_SUFFIX, PAGE_SUFFIX = ".words.json", ".karaoke.html"
LARGEST_WORDS_BYTES = 16_000_000


class AlignmentFiles(NamedTuple):
    """Where everything about the lyrics of one piece was written."""

    data: Path  # .alignment.npz, see `load_alignment`
    words: Path  # .words.json
    lrc: Path  # .lrc, which players and `generate --lyrics` read
    picture: Path  # .alignment.png
    page: Path  # .karaoke.html


def save_alignment_files(
    audio: str | os.PathLike[str],
    alignment: LyricAlignment,
    *,
    title: str = "",
    notes: str = "",
    embed_audio: bool = True,
) -> AlignmentFiles:
    """Write everything beside the audio file, under its name; existing files are replaced.

    There is no `.lrc` where no word has a time.

    Args:
        audio: of the piece; it must exist, since the page plays it.
        alignment: of the piece.
        title, notes: shown in picture and page.
        embed_audio: make the page one file with the audio inside, up to 64 MB.

    Raises `ValueError` for an empty alignment, `OSError` for what cannot be read or written.
    """
    base = Path(audio).with_suffix("")
    files = AlignmentFiles(
        *(
            base.with_name(base.name + ending)
            for ending in (
                ".alignment.npz",
                WORDS_SUFFIX,
                ".lrc",
                ".alignment.png",
                PAGE_SUFFIX,
            )
        )
    )
    save_alignment(files.data, alignment)
    # Words and pictures follow from what the file holds, which is rounded.
    alignment = load_alignment(files.data)
    words = word_times(alignment)
    save_heat_map(files.picture, alignment, title=title)
    save_word_files(
        audio, words, alignment.lyrics, title=title, notes=notes, embed_audio=embed_audio
    )
    return files


def save_word_files(
    audio: str | os.PathLike[str],
    words: Sequence[SungWord],
    lyrics: str,
    *,
    title: str = "",
    notes: str = "",
    embed_audio: bool = True,
) -> list[Path]:
    """Write what follows from the words' times beside the audio file: data, `.lrc` and page.

    Arguments as of `save_alignment_files`. Returns the files that were written.
    """
    base = Path(audio).with_suffix("")
    paths = [base.with_name(base.name + ending) for ending in (WORDS_SUFFIX, ".lrc", PAGE_SUFFIX)]
    save_words(paths[0], words)
    timed = to_lrc(words, lyrics)
    if timed:  # no word of a very short piece has a time
        write_text(paths[1], timed)
    save_karaoke_page(
        paths[2], words, lyrics, audio, title=title, notes=notes, embed_audio=embed_audio
    )
    return [path for path in paths if timed or path != paths[1]]


def save_words(path: Path, words: Sequence[SungWord]) -> None:
    """Write when words are sung as JSON, a list of objects (`SungWord.to_record`)."""
    records = [word.to_record() for word in words]
    write_text(path, json.dumps(records, ensure_ascii=False, indent=1) + "\n")


def load_words(path: Path) -> list[SungWord]:
    """What `save_words` wrote; `ValueError` for anything else."""
    if path.stat().st_size > LARGEST_WORDS_BYTES:
        raise ValueError(f"{path}: expected words of at most {LARGEST_WORDS_BYTES:,} bytes")
    try:
        return [_word(record) for record in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"{path}: expected a list of words with their times ({type(error).__name__}: {error})"
        ) from None


def _word(record: dict[str, Any]) -> SungWord:
    text, first = record["text"], record["first_character"]
    times = [record[name] for name in ("start_seconds", "end_seconds", "confidence")]
    numbers = [first, *times]
    if not isinstance(text, str) or not all(type(one) in (int, float) for one in numbers):
        raise ValueError(f"got {shorten(record)}")
    if not all(math.isfinite(one) for one in numbers):
        raise ValueError(f"got {shorten(record)}")
    return SungWord(text, int(first), *(float(one) for one in times))
