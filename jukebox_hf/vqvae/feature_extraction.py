"""JukeboxFeatureExtractor: recordings as people have them to what the codec reads.

Arrays of any length, number of channels and rate go in; one tensor (batch, 1, samples) at the
codec's rate comes out. `AutoFeatureExtractor` finds it in the folder of a codec.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoFeatureExtractor, BatchFeature, SequenceFeatureExtractor

from jukebox_hf.audio import AudioArray, as_mono
from jukebox_hf.vqvae.configuration_vqvae import JukeboxVQVAEConfig
from jukebox_hf.vqvae.vqvae_config import VQVAEConfig
from jukebox_hf.words import shorten


class JukeboxFeatureExtractor(SequenceFeatureExtractor):
    """Audio to the codec's input: mixed down, resampled, padded to whole codes of the top level.

    Args:
        sampling_rate: that the codec reads, in Hz.
        pad_to_multiple_of: samples; the longest hop length of the codec.
        kwargs: what transformers saves beside it.

    >>> extractor = AutoFeatureExtractor.from_pretrained(model, subfolder="vqvae")  # doctest: +SKIP
    >>> codes = codec.encode(**extractor(array, sampling_rate=48_000))  # doctest: +SKIP
    """

    model_input_names = ["audio"]  # noqa: RUF012

    def __init__(
        self, sampling_rate: int = 44_100, pad_to_multiple_of: int = 1, **kwargs: Any
    ) -> None:
        base = {"feature_size": 1, "padding_value": 0.0, "return_attention_mask": False, **kwargs}
        super().__init__(sampling_rate=sampling_rate, **base)
        self.pad_to_multiple_of = pad_to_multiple_of

    @classmethod
    def for_codec(cls, config: VQVAEConfig) -> "JukeboxFeatureExtractor":
        """The one that goes with a codec."""
        return cls(config.sampling_rate, config.hop_lengths[-1])

    def __call__(
        self,
        audio: AudioArray | Sequence[AudioArray],
        *,
        sampling_rate: int | None = None,
        padding: bool = True,
        return_attention_mask: bool = False,
        return_tensors: str = "pt",
    ) -> BatchFeature:
        """The input of a codec.

        Args:
            audio: (samples,) or (channels, samples), floats in [-1, 1], or a list of these.
            sampling_rate: of all of them, in Hz; they are resampled where the codec's is another.
            padding: with zeros to the longest, and to whole codes; else all must be equally long.
            return_attention_mask: also return which samples are not padding.
            return_tensors: "pt" or "np".

        Returns:
            `audio` (batch, 1, samples) float32, and `attention_mask` (batch, samples) if asked for.

        Raises:
            ValueError: for what is no audio, unequal lengths without padding, a missing rate.
        """
        if return_tensors not in ("pt", "np"):
            raise ValueError(f"return_tensors must be pt or np, got {shorten(return_tensors)}")
        given = list(audio) if isinstance(audio, (list, tuple)) else [audio]
        names = ["audio"] if len(given) == 1 else [f"audio {n}" for n in range(len(given))]
        parts = [
            as_mono(samples, sampling_rate, self.sampling_rate, name)
            for samples, name in zip(given, names, strict=True)
        ]
        lengths = [part.shape[1] for part in parts]
        if not parts or not (padding or len(set(lengths)) == 1):
            raise ValueError(f"expected recordings of one length, or padding=True, got {lengths}")
        unit = self.pad_to_multiple_of if padding else 1
        length = -(-max(lengths) // unit) * unit
        batch = torch.stack([_padded(part, length) for part in parts])
        found = {"audio": batch}
        if return_attention_mask:
            here = torch.arange(length) < torch.tensor(lengths)[:, None]
            found["attention_mask"] = here.to(torch.int64)
        arrays = {name: np.asarray(one) for name, one in found.items()}
        return BatchFeature(arrays if return_tensors == "np" else found)


def _padded(part: Tensor, length: int) -> Tensor:
    return torch.nn.functional.pad(part, (0, length - part.shape[1]))


AutoFeatureExtractor.register(  # type: ignore[no-untyped-call]
    JukeboxVQVAEConfig, JukeboxFeatureExtractor, exist_ok=True
)
