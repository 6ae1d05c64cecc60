"""What networks that were trained on other music say about a clip.

Audio goes in, one `Heard` comes out; what was heard once can be kept in a folder, so that a
measurement goes on where it was stopped.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from jukebox_hf.audio import resample
from jukebox_hf.files import write_atomically
from model_cards.recipe.evaluators import musicnn

VERSION = 3  # of what is kept
EMBEDDINGS = ("msd", "mtt")


class Heard(NamedTuple):
    """One clip.

    Attributes:
        msd, mtt: embeddings (patches, 200) by the two networks of musicnn.
    """

    msd: npt.NDArray[np.float32]
    mtt: npt.NDArray[np.float32]


class Listener:
    """Both networks. Errors as `weight_file`."""

    def __init__(self) -> None:
        self._msd, self._mtt = musicnn.Musicnn.load("MSD"), musicnn.Musicnn.load("MTT")

    def listen(self, audio: Tensor, sampling_rate: int) -> Heard:
        """Listen to audio (samples,) of 3 s or more."""
        for_tags = resample(audio, sampling_rate, musicnn.SAMPLING_RATE)
        return Heard(
            self._msd.hear(for_tags).embeddings.numpy(),
            self._mtt.hear(for_tags).embeddings.numpy(),
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
        return Heard(*(kept[name] for name in Heard._fields))


def _save(path: Path, heard: Heard) -> None:
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **heard._asdict())


def pieces(heard: Sequence[Heard], kind: str) -> npt.NDArray[np.float64]:
    """One embedding per clip, the mean of its patches: (clips, 200)."""
    return np.stack([getattr(clip, kind).mean(axis=0) for clip in heard]).astype(np.float64)


def rows(heard: Sequence[Heard], kind: str) -> npt.NDArray[np.float64]:
    """The embeddings of all patches of all clips: (patches, 200)."""
    return np.concatenate([getattr(clip, kind) for clip in heard]).astype(np.float64)
