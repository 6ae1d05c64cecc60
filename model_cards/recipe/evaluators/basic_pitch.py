"""Which notes sound, by Spotify's basic-pitch (Bittner et al. 2022, arXiv:2203.09893).

Audio at 22.05 kHz goes in; for every frame and every key of a piano the probability that it sounds
comes out. The network is the file `nmp.onnx` of the package `basic-pitch` 0.4.0 (Apache-2.0), run
by onnxruntime; windows and overlaps are those of the package. 10 s take 0.3 s of one CPU core.
"""

from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from model_cards.recipe.evaluators.weights import MissingEvaluatorError, weight_file

SAMPLING_RATE = 22_050
KEYS = 88  # A0 to C8
FRAME_HOP = 256
WINDOW_SAMPLES = 2 * SAMPLING_RATE - FRAME_HOP
OVERLAP_FRAMES = 30  # half of them are thrown away at each end of a window
FRAMES_PER_SECOND = SAMPLING_RATE // FRAME_HOP
NOTE_THRESHOLD = 0.3  # the package's own, above which a frame belongs to a note
MODEL = "saved_models/icassp_2022/nmp.onnx"
MODEL_SHA256 = "2c3c1d144bfa61ad236e92e169c13535c880469a12a047d4e73451f2c059a0ec"
INPUT, NOTES = "serving_default_input_2:0", "StatefulPartitionedCall:1"

Frames = npt.NDArray[np.float32]


class BasicPitch:
    """The network. Errors as `weight_file`."""

    def __init__(self) -> None:
        path = weight_file("basic_pitch", MODEL, MODEL_SHA256)
        try:
            onnxruntime: Any = import_module("onnxruntime")
        except ImportError:
            raise MissingEvaluatorError("basic-pitch needs onnxruntime; install it") from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session: Any = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )

    def notes(self, audio: Frames) -> Frames:
        """Probabilities (frames, 88) of audio (samples,) at 22.05 kHz, 86 frames a second."""
        windows = cut_windows(audio)
        found = np.concatenate(
            [self._session.run([NOTES], {INPUT: window[None, :, None]})[0] for window in windows]
        )
        return join_windows(found, len(audio))


def cut_windows(audio: Frames) -> Frames:
    """Overlapping windows (windows, samples) of audio, with silence before and after it."""
    lead = OVERLAP_FRAMES * FRAME_HOP // 2
    hop = WINDOW_SAMPLES - OVERLAP_FRAMES * FRAME_HOP
    padded = np.concatenate([np.zeros(lead, np.float32), np.asarray(audio, np.float32)])
    starts = range(0, len(padded), hop)
    padded = np.pad(padded, (0, starts[-1] + WINDOW_SAMPLES - len(padded)))
    return np.stack([padded[start : start + WINDOW_SAMPLES] for start in starts])


def join_windows(found: Frames, num_samples: int) -> Frames:
    """Frames (frames, keys) of windows (windows, frames, keys), without what overlaps."""
    middle = found[:, OVERLAP_FRAMES // 2 : -(OVERLAP_FRAMES // 2)]
    frames = num_samples * FRAMES_PER_SECOND // SAMPLING_RATE
    return middle.reshape(-1, found.shape[-1])[:frames]


def note_shares(probabilities: Frames) -> tuple[float, float]:
    """Share of the frames in which any note sounds, and how many sound at once on average."""
    active = probabilities >= NOTE_THRESHOLD
    return float(active.any(axis=1).mean()), float(active.sum(axis=1).mean())
