"""Audio of takes that are still under way: wav files that grow, and get finer from the left.

Codes go in, also those of a window that is being sampled; only what they add is decoded, with as
much around it as its sound depends on.
"""

import logging
import time
from pathlib import Path

import soundfile
from torch import Tensor

from jukebox_hf.generation.chains import decode_part
from jukebox_hf.generation.choices import DECODED_SECONDS
from jukebox_hf.generation.making import Generation
from jukebox_hf.generation.session_files import PREVIEW_FOLDER, preview_path

logger = logging.getLogger(__name__)

FIRST_SECONDS = 0.5  # after which there may be something to hear
INTERVAL_SECONDS = 5.0  # between later updates
LARGEST_SHARE = 0.05  # of the time that all else takes


class Previews:
    """Keeps `preview/NN.wav` of every take up to date, now and then.

    Where a level is complete up to some moment, the file has it up to there and the level above it
    after that. A level that is cut into chains is heard when they are joined.
    """

    def __init__(
        self, folder: Path, generation: Generation, *, interval: float = INTERVAL_SECONDS
    ) -> None:
        """`folder`: of the session; `interval`: seconds between updates, at least."""
        self.folder = folder
        self.interval = interval
        self.generation = generation
        self._heard: dict[tuple[int, int], int] = {}  # codes by take and level
        self._next = time.monotonic() + FIRST_SECONDS
        self._broken = False

    def update(self, *, now: bool = False) -> None:
        """Bring the files up to date if it is time, or `now`. What goes wrong is only logged."""
        started = time.monotonic()
        if self._broken or (started < self._next and not now):
            return
        try:
            (self.folder / PREVIEW_FOLDER).mkdir(exist_ok=True)
            for take in self.generation.plan.takes:
                self._update_take(take.number)
        except (OSError, soundfile.SoundFileError) as error:  # such as a full disk
            logger.warning("no previews from here on: %s", error)
            self._broken = True
        spent = time.monotonic() - started
        self._next = time.monotonic() + max(self.interval, spent / LARGEST_SHARE)

    def _update_take(self, number: int) -> None:
        """From coarse to fine, so that the finest has the last word."""
        for level in reversed(range(self.generation.plan.num_levels)):
            codes = self.generation.codes_so_far(number, level)
            heard = self._heard.get((number, level), 0)
            if len(codes) > heard:
                if not any(key[0] == number for key in self._heard):
                    preview_path(self.folder, number).unlink(
                        missing_ok=True
                    )  # of an earlier process
                self._write(number, level, codes, heard)
                self._heard[number, level] = len(codes)

    def _write(self, number: int, level: int, codes: Tensor, heard: int) -> None:
        codec = self.generation.codec
        hop = codec.config.hop_lengths[level]
        # What was heard last had no codes after it: it sounds a little different now.
        first = max(heard - codec.decoding_halo(level), 0) * hop
        audio = decode_part(
            codec, level, codes, first, len(codes) * hop, chunk_seconds=DECODED_SECONDS
        )
        path = preview_path(self.folder, number)
        if not path.exists():
            soundfile.write(path, [], codec.config.sampling_rate, subtype="PCM_16")
        with soundfile.SoundFile(path, "r+") as file:
            file.seek(min(first, file.frames))
            file.write(audio.clamp(-1, 1).numpy())
