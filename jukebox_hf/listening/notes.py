"""Which notes sound, by Spotify's basic-pitch (Bittner et al. 2022, arXiv:2203.09893).

Audio at 22.05 kHz goes in; for every frame and every key of a piano the probability that it sounds
comes out. The network is the file `nmp.onnx` of the package `basic-pitch` 0.4.0 (Apache-2.0), run
by onnxruntime. 10 s take 0.3 s of one CPU core.
"""

from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from jukebox_hf.listening.listener_weights import MissingEvaluatorError, weight_file
from jukebox_hf.listening.sound import frame_levels

# Without --no-deps the package asks for TensorFlow, which is not needed.
INSTALL = "onnxruntime && pip install --no-deps basic-pitch==0.4.0"
SAMPLING_RATE = 22_050
FRAME_HOP = 256
WINDOW_SAMPLES = 2 * SAMPLING_RATE - FRAME_HOP
WINDOW_FRAMES = 172  # of which half of OVERLAP_FRAMES are thrown away at each end
OVERLAP_FRAMES = 30
# Whole frames, so that frame i is always at sample i * FRAME_HOP. The package moves windows by 0.7
# frames less than it keeps of each: there the last 0.7 % of a file are never heard.
WINDOW_HOP = (WINDOW_FRAMES - OVERLAP_FRAMES) * FRAME_HOP
NOTE_THRESHOLD = 0.3  # the package's own, above which a frame belongs to a note
# The network makes everything equally loud and hears notes in hiss: what is quieter holds none.
QUIETEST_DB = -50.0  # root mean square of a frame, relative to full scale
MODEL = "saved_models/icassp_2022/nmp.onnx"
MODEL_SHA256 = "2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec"
INPUT, NOTES = "serving_default_input_2:0", "StatefulPartitionedCall:1"

Frames = npt.NDArray[np.float32]


class NoteListener:
    """The network.

    Raises `MissingEvaluatorError` without the packages, `ValueError` for another network's file.
    """

    def __init__(self) -> None:
        path = weight_file("basic_pitch", MODEL, MODEL_SHA256, install=INSTALL)
        try:
            onnxruntime: Any = import_module("onnxruntime")
        except ImportError:
            raise MissingEvaluatorError("notes need onnxruntime; pip install onnxruntime") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )

    def notes(self, audio: Frames) -> Frames:
        """Probabilities (samples // 256, 88) of audio (samples,) at 22.05 kHz."""
        windows = cut_frames(audio)
        found = np.concatenate(
            [self._session.run([NOTES], {INPUT: window[None, :, None]})[0] for window in windows]
        )
        return join_windows(found, len(audio))


def cut_frames(audio: Frames) -> Frames:
    """Overlapping windows (windows, samples) of audio, with silence before and after it."""
    lead = OVERLAP_FRAMES * FRAME_HOP // 2
    padded = np.concatenate([np.zeros(lead, np.float32), np.asarray(audio, np.float32)])
    starts = range(0, max(len(audio), 1), WINDOW_HOP)
    padded = np.pad(padded, (0, max(starts[-1] + WINDOW_SAMPLES - len(padded), 0)))
    return np.stack([padded[start : start + WINDOW_SAMPLES] for start in starts])


def join_windows(found: Frames, num_samples: int) -> Frames:
    """Frames (frames, keys) of windows (windows, frames, keys), without what overlaps."""
    middle = found[:, OVERLAP_FRAMES // 2 : -(OVERLAP_FRAMES // 2)]
    return middle.reshape(-1, found.shape[-1])[: num_samples // FRAME_HOP]


def note_shares(probabilities: Frames, audio: Frames) -> tuple[float, float]:
    """Share of the frames in which any note sounds, and how many sound at once on average.

    Args:
        probabilities: (frames, keys) from `NoteListener.notes`.
        audio: (samples,) that they were heard in; frames quieter than -50 dB of full scale hold no
            note.
    """
    levels = frame_levels(torch.from_numpy(np.asarray(audio)), FRAME_HOP).numpy()
    loud = levels[: len(probabilities)] >= 10 ** (QUIETEST_DB / 20)
    active = (probabilities >= NOTE_THRESHOLD) & loud[:, None]
    return float(active.any(axis=1).mean()), float(active.sum(axis=1).mean())
