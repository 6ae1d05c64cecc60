"""The files about a piece's lyrics that stand beside its audio.

An alignment and the audio file go in; data, word times, a picture and a page come out.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jukebox_hf.files import write_text
from jukebox_hf.generation.alignment import LyricAlignment, load_alignment, save_alignment
from jukebox_hf.generation.heat_map import save_heat_map
from jukebox_hf.generation.karaoke import save_karaoke_page
from jukebox_hf.generation.word_times import SungWord, to_lrc, word_times


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
                ".words.json",
                ".lrc",
                ".alignment.png",
                ".karaoke.html",
            )
        )
    )
    save_alignment(files.data, alignment)
    # Words and pictures follow from what the file holds, which is rounded.
    alignment = load_alignment(files.data)
    words = word_times(alignment)
    save_words(files.words, words)
    if timed := to_lrc(words, alignment.lyrics):  # no word of a very short piece has a time
        write_text(files.lrc, timed)
    save_heat_map(files.picture, alignment, title=title)
    save_karaoke_page(
        files.page,
        words,
        alignment.lyrics,
        audio,
        title=title,
        notes=notes,
        embed_audio=embed_audio,
    )
    return files


def save_words(path: Path, words: Sequence[SungWord]) -> None:
    """Write when words are sung as JSON, a list of objects (`SungWord.to_record`)."""
    records = [word.to_record() for word in words]
    write_text(path, json.dumps(records, ensure_ascii=False, indent=1) + "\n")
