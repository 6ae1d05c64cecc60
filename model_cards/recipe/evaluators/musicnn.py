"""What music sounds like, by a network that has heard the tags of a million songs (musicnn).

Audio at 16 kHz goes in; tags and embeddings of patches of 3 s come out. The network is that of Pons
and Serra (2019, arXiv:1909.06654), written for torch here; its weights are those of the package
`musicnn` 0.1.0 (ISC licence), trained on the Million Song Dataset (MSD) or MagnaTagATune (MTT).

Against the package under TensorFlow 2.15 on the same spectrograms: tags and embeddings of both
networks equal within 1e-5. Unlike the package this keeps spectrograms in float32: in its float16
they overflow where music is loud. A patch takes 0.12 s of one CPU core.
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, linear, pad

from jukebox_hf.listening.listener_weights import weight_file
from model_cards.recipe.evaluators import INSTALL
from model_cards.recipe.evaluators.tensorflow_checkpoint import read_checkpoint

SAMPLING_RATE = 16_000
STFT_SIZE, STFT_HOP, MEL_BANDS = 512, 256, 96
PATCH_FRAMES = 187  # 3 s: what it was trained on
PATCH_SECONDS = 3.0
EMBEDDING_SIZE = 200
BATCH_NORM_EPSILON = 1e-3  # TensorFlow's default, with which it was trained

Kind = Literal["MSD", "MTT"]
FILES: dict[Kind, dict[str, str]] = {
    "MSD": {
        "MSD_musicnn/.index": "87f3e0f3550c8d3bafc840374003e5c8af5eeb5ecf6add61af09a7822d3282c8",
        "MSD_musicnn/.data-00000-of-00001": (
            "8579734ee6388f799ed0def4bbd0d1fdcbeaf213ef2a9dc860917bd76a303de6"
        ),
    },
    "MTT": {
        "MTT_musicnn/.index": "da2d7bb670b2b31e9bc441bb1bd75eca31b5b061f963cc1f9630c1aff3238f57",
        "MTT_musicnn/.data-00000-of-00001": (
            "041f3935e981a65cea739842d30c188d3a7d2adf4410955c8668eb3de4a5acab"
        ),
    },
}


class Heard(NamedTuple):
    """What the network makes of patches."""

    tags: Tensor  # (patches, 50) probabilities
    embeddings: Tensor  # (patches, 200)


class Musicnn:
    """The network, in evaluation mode.

    Args:
        tensors: by TensorFlow's names, in its layouts, as `read_checkpoint` gives them.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]):
        self._tensors = {name: torch.tensor(values) for name, values in tensors.items()}

    @classmethod
    def load(cls, kind: Kind = "MSD") -> "Musicnn":
        """The trained network, out of the installed package; errors as `weight_file`."""
        index, data = (
            weight_file("musicnn", *item, install=INSTALL) for item in FILES[kind].items()
        )
        return cls(read_checkpoint(index, data))

    def hear(self, audio: Tensor, *, hop_seconds: float | None = None) -> Heard:
        """Listen to audio (samples,) at 16 kHz, in patches of 3 s that begin `hop_seconds` apart.

        None: one after another. Raises `ValueError` for audio shorter than a patch.
        """
        hop = PATCH_FRAMES
        if hop_seconds is not None:
            hop = round(hop_seconds * SAMPLING_RATE / STFT_HOP)
        return self(patches(log_mel(audio), hop))

    @torch.no_grad()
    def __call__(self, spectrograms: Tensor) -> Heard:
        """Patches (patches, 187, 96) of `log_mel`."""
        image = self._norm(spectrograms[:, None], 0)  # (patches, 1, time, bands)
        padded = pad(image, (0, 0, 3, 3))
        timbral = [self._bands_to_one(padded, number) for number in (0, 1)]
        # "Same" padding in time, as TensorFlow does it: the odd sample at the end.
        temporal = [
            self._bands_to_one(pad(image, (0, 0, (length - 1) // 2, length // 2)), number)
            for number, length in ((2, 128), (3, 64), (4, 32))
        ]
        front = torch.cat([*timbral, *temporal], dim=1)  # (patches, 561, time)
        first = self._over_time(front, 5)  # (patches, 64, time)
        second = self._over_time(first, 6) + first
        third = self._over_time(second, 7) + second
        features = torch.cat([front, first, second, third], dim=1)  # (patches, 753, time)
        pooled = torch.stack([features.amax(dim=2), features.mean(dim=2)], dim=2).flatten(1)
        hidden = torch.relu(self._dense(self._norm(pooled, 9), "dense"))
        embeddings = self._norm(hidden, 10)
        return Heard(torch.sigmoid(self._dense(embeddings, "dense_1")), embeddings)

    def _bands_to_one(self, image: Tensor, number: int) -> Tensor:
        """Convolution over time and bands, then the strongest band: (patches, filters, time)."""
        return self._norm(self._convolve(image, number), number + 1).amax(dim=3)

    def _over_time(self, features: Tensor, number: int) -> Tensor:
        """Convolution over 7 frames of (patches, features, time), as many frames as before."""
        image = pad(features.transpose(1, 2)[:, None], (0, 0, 3, 3))
        return self._norm(self._convolve(image, number), number + 1)[..., 0]

    def _convolve(self, image: Tensor, number: int) -> Tensor:
        name = f"conv2d_{number}" if number else "conv2d"
        kernel = self._tensors[f"{name}/kernel"].permute(3, 2, 0, 1)  # (out, in, time, bands)
        return torch.relu(conv2d(image, kernel, self._tensors[f"{name}/bias"]))

    def _dense(self, rows: Tensor, name: str) -> Tensor:
        return linear(rows, self._tensors[f"{name}/kernel"].t(), self._tensors[f"{name}/bias"])

    def _norm(self, values: Tensor, number: int) -> Tensor:
        name = f"batch_normalization_{number}" if number else "batch_normalization"
        mean, variance, weight, bias = (
            self._tensors[f"{name}/{part}"]
            for part in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return batch_norm(values, mean, variance, weight, bias, eps=BATCH_NORM_EPSILON)


def log_mel(audio: Tensor) -> Tensor:
    """Mel power of audio (samples,) at 16 kHz as log10(1 + 10000 power): (frames, 96)."""
    spectrum = torch.stft(
        audio.float(),
        STFT_SIZE,
        STFT_HOP,
        window=torch.hann_window(STFT_SIZE),
        pad_mode="constant",
        return_complex=True,
    )
    power = spectrum.abs().square()  # (bins, frames)
    return torch.log10(1 + 10_000 * (mel_filters() @ power)).t()


def patches(spectrogram: Tensor, hop: int) -> Tensor:
    """All whole patches of a spectrogram (frames, 96), `hop` frames apart: (patches, 187, 96)."""
    if len(spectrogram) < PATCH_FRAMES:
        raise ValueError(
            f"musicnn listens to {PATCH_SECONDS:g} seconds at a time, got "
            f"{max(len(spectrogram) - 1, 0) * STFT_HOP / SAMPLING_RATE:.2f}"
        )
    return spectrogram.unfold(0, PATCH_FRAMES, hop).transpose(1, 2)


@cache
def mel_filters() -> Tensor:
    """Slaney's mel bands (Auditory Toolbox 1998), each of area 1 over its hertz: (96, 257).

    Linear up to 1 kHz, logarithmic above: what librosa makes by default, which trained it.
    """
    edges = _mel_to_hertz(np.linspace(0, _hertz_to_mel(SAMPLING_RATE / 2), MEL_BANDS + 2))
    hertz = np.linspace(0, SAMPLING_RATE / 2, STFT_SIZE // 2 + 1)
    rising = (hertz[None] - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - hertz[None]) / (edges[2:] - edges[1:-1])[:, None]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return torch.from_numpy(triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).float()


KNEE_HERTZ, HERTZ_PER_MEL = 1000.0, 200 / 3
KNEE_MEL = KNEE_HERTZ / HERTZ_PER_MEL
LOG_STEP = math.log(6.4) / 27


def _hertz_to_mel(hertz: float) -> float:
    if hertz < KNEE_HERTZ:
        return hertz / HERTZ_PER_MEL
    return KNEE_MEL + math.log(hertz / KNEE_HERTZ) / LOG_STEP


def _mel_to_hertz(
    mels: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    above = KNEE_HERTZ * np.exp(LOG_STEP * (mels - KNEE_MEL))
    return np.where(mels < KNEE_MEL, mels * HERTZ_PER_MEL, above)
