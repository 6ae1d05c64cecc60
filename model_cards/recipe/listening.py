"""What all listeners say about a clip: embeddings, notes, onsets, loudness.

Audio goes in, one `Heard` comes out; what was heard once can be kept in a folder, so that a
measurement goes on where it was stopped.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from jukebox_hf.audio import resample
from jukebox_hf.files import write_atomically
from jukebox_hf.listening import notes
from jukebox_hf.listening.sound import measure_levels, measure_liveliness
from model_cards.recipe.evaluators import musicnn

VERSION = 2  # of what is kept
EMBEDDINGS = ("msd", "mtt")
# What of a piece should lie in the range of real music, and in which words.
RANGES = {
    "note_share": "frames with a note (share)",
    "notes_at_once": "notes at once",
    "onset_strength": "onset strength (dB a frame)",
    "pulse": "pulse (autocorrelation)",
    "rms_db": "loudness (dB of full scale)",
    "peak_db": "peak (dB of full scale)",
    "silent_share": "silent frames (share)",
    "clipped_share": "clipped samples (share)",
}


class Heard(NamedTuple):
    """One clip.

    Attributes:
        msd, mtt: embeddings (patches, 200) by the two networks of musicnn.
        note_share, notes_at_once: see `notes.note_shares`.
        onset_strength, pulse: see `Liveliness`.
        silent_share, clipped_share, peak_db, rms_db: see `Levels`.
    """

    msd: npt.NDArray[np.float32]
    mtt: npt.NDArray[np.float32]
    note_share: float
    notes_at_once: float
    onset_strength: float
    pulse: float
    silent_share: float
    clipped_share: float
    peak_db: float
    rms_db: float


class Listener:
    """All networks. Errors as `weight_file`."""

    def __init__(self) -> None:
        self._msd, self._mtt = musicnn.Musicnn.load("MSD"), musicnn.Musicnn.load("MTT")
        self._notes = notes.NoteListener()

    def listen(self, audio: Tensor, sampling_rate: int, seams: Sequence[int] = ()) -> Heard:
        """Listen to audio (samples,) of 3 s or more, with chains joined at `seams` (samples)."""
        for_tags = resample(audio, sampling_rate, musicnn.SAMPLING_RATE)
        for_notes = resample(audio, sampling_rate, notes.SAMPLING_RATE).numpy()
        return Heard(
            self._msd.hear(for_tags).embeddings.numpy(),
            self._mtt.hear(for_tags).embeddings.numpy(),
            *notes.note_shares(self._notes.notes(for_notes), for_notes),
            *measure_liveliness(audio, sampling_rate, seams),
            *measure_levels(audio, sampling_rate),
        )


def remember(folder: Path, key: str, make: Callable[[], Heard]) -> Heard:
    """What `make` gives; in a folder, by a key that says all that it depends on."""
    digest = hashlib.sha256(f"{VERSION}:{key}".encode(errors="surrogatepass")).hexdigest()
    path = folder / f"{digest[:32]}.npz"
    if not path.is_file():
        heard = make()
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, lambda file: _save(file, heard))
    with np.load(path, allow_pickle=False) as kept:
        arrays = {name: kept[name] for name in Heard._fields}
    values: dict[str, Any] = {
        name: value if value.ndim else float(value) for name, value in arrays.items()
    }
    return Heard(**values)


def _save(path: Path, heard: Heard) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **heard._asdict())


def pieces(heard: Sequence[Heard], kind: str) -> npt.NDArray[np.float64]:
    """One embedding per clip, the mean of its patches: (clips, 200)."""
    return np.stack([getattr(clip, kind).mean(axis=0) for clip in heard]).astype(np.float64)


def rows(heard: Sequence[Heard], kind: str) -> npt.NDArray[np.float64]:
    """The embeddings of all patches of all clips: (patches, 200)."""
    return np.concatenate([getattr(clip, kind) for clip in heard]).astype(np.float64)
