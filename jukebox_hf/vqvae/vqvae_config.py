"""What defines a codec: its levels, its codebooks, and the losses it is trained with.

Models of transformers have it as a `JukeboxVQVAEConfig`.
"""

import math
import re
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Literal, Self

from jukebox_hf.plain_config import PlainConfig
from jukebox_hf.strictness import plain_config
from jukebox_hf.words import refuse_unknown, shorten

# Codes are stored as 16-bit integers.
MAX_CODEBOOK_SIZE = 2**15
FINGERPRINT = re.compile(r"sha256:[0-9a-f]{64}")

# Far above any codec, and low enough that one can be built, or refused, at once.
MAX_REPEATS, MAX_DILATION, MAX_HOP_LENGTH = 1000, 2**20, 2**24

# What the presets change in the defaults, which are the released codec ("vqvae").
PRESETS: dict[str, dict[str, Any]] = {
    "vqvae": {},
    "small_vqvae": {
        "sampling_rate": 22050,
        "downsamplings": (5, 3),
        "strides": (2, 2),
        "widths": (32, 32),
        "depths": (4, 4),
        "codebook_size": 1024,
        "waveform_loss": "l2",
    },
}


@plain_config
class VQVAEConfig(PlainConfig):
    """The codec of Dhariwal et al. 2020 (arXiv:2005.00341), three hierarchical levels by default.

    Defaults are those of the released `vqvae`; `VQVAEConfig.preset(name)` gives it and
    `small_vqvae` by name. Contradictions raise `ValueError`. Sequences have one entry per level,
    the finest first; a saved config holds them as JSON lists and they come back as tuples.

    Args:
        sampling_rate: Samples per second of the audio (Hz).
        downsamplings: Strided convolutions that each level adds to those of the level below.
        strides: Factor by which each of these divides time; even.
        widths: Channels inside the encoder and decoder of each level.
        depths: Residual blocks after (in decoders: before) each strided convolution.
        codebook_size: Codes per level.
        codebook_dim: Width of a code's vector, and of what passes between the blocks of a level.
        dilation_growth: Residual block d dilates its convolution by `dilation_growth ** d`.
        dilation_cycle: Restart d after so many blocks; `None` never does.
        reverse_decoder_dilation: Decoders begin with the largest dilation, as the released do.
        conv_multiplier: Width inside a residual block, as a multiple of its level's width.
        scale_residual: Multiply what residual blocks add by `1 / sqrt(depth)`.
        zero_init: Residual blocks of a new model add nothing at first.
        use_codebook: Quantize. `False` makes a plain auto-encoder without codes, for ablations.
        codebook_decay: Of the moving averages behind the code vectors, per training step.
        revival_threshold: A code whose average use (latents per step, over all processes) is below
            this is replaced by a latent of the batch.
        waveform_loss: "l1", "l2", "linf" (mean of the largest squared errors) or "lmix", the sum of
            all three with the weights below.
        lmix_l1: Weight of l1 in "lmix".
        lmix_l2: Weight of l2 in "lmix".
        lmix_linf: Weight of linf in "lmix".
        linf_samples: How many of the largest squared errors of an item linf averages.
        commitment_weight: Weight of the distance between latents and their codes' vectors.
        spectral_weight: Weight of the spectral loss; 0 computes it only as a metric.
        multispectral_weight: Weight of the multi-resolution spectral loss; 0 likewise.
        log_spectral_weight: Weight of the distance between logarithms of the same magnitudes, which
            counts quiet bands like loud ones: with it the highs get their level back (Yamamoto et
            al. 2020, arXiv:1910.11480). Not in the original.
        relative_spectral_loss: Use spectral convergence (distance over norm) as spectral loss.
        stft_size: FFT size of the spectral loss (samples).
        stft_hop_length: Its step (samples).
        stft_window_length: Its Hann window (samples), at most `stft_size`.
        multispectral_stft_sizes: FFT sizes of the multi-resolution spectral loss (samples).
        multispectral_stft_hop_lengths: Its steps (samples), one per size.
        multispectral_stft_window_lengths: Its Hann windows (samples), one per size.
        bandwidth_l1: Mean absolute value of the training audio; divides l1.
        bandwidth_l2: Variance of the training audio; divides l2 and linf.
        bandwidth_spectral: Mean norm of the STFT magnitudes of a training clip; divides spectral
            losses. It grows with the length of the clips.
        codebook_fingerprint: Hash of the codebooks, `JukeboxVQVAE.fingerprint()`; written when the
            model is saved, compared with what priors were trained on.
    """

    model_type = "jukebox_hf_vqvae"

    sampling_rate: int = 44100
    downsamplings: list[int] | tuple[int, ...] = (3, 2, 2)
    strides: list[int] | tuple[int, ...] = (2, 2, 2)
    widths: list[int] | tuple[int, ...] = (64, 32, 32)
    depths: list[int] | tuple[int, ...] = (8, 4, 4)
    codebook_size: int = 2048
    codebook_dim: int = 64
    dilation_growth: int = 3
    dilation_cycle: int | None = None
    reverse_decoder_dilation: bool = True
    conv_multiplier: float | int = 1.0
    scale_residual: bool = False
    zero_init: bool = False
    use_codebook: bool = True
    codebook_decay: float | int = 0.99
    revival_threshold: float | int = 1.0
    waveform_loss: Literal["l1", "l2", "linf", "lmix"] = "lmix"
    lmix_l1: float | int = 0.0
    lmix_l2: float | int = 1.0
    lmix_linf: float | int = 0.02
    linf_samples: int = 2048
    commitment_weight: float | int = 0.02
    spectral_weight: float | int = 0.0
    multispectral_weight: float | int = 1.0
    log_spectral_weight: float | int = 0.0
    relative_spectral_loss: bool = False
    stft_size: int = 2048
    stft_hop_length: int = 256
    stft_window_length: int = 1536
    multispectral_stft_sizes: list[int] | tuple[int, ...] = (2048, 1024, 512)
    multispectral_stft_hop_lengths: list[int] | tuple[int, ...] = (240, 120, 50)
    multispectral_stft_window_lengths: list[int] | tuple[int, ...] = (1200, 600, 240)
    bandwidth_l1: float | int = 1.0
    bandwidth_l2: float | int = 1.0
    bandwidth_spectral: float | int = 1.0
    codebook_fingerprint: str | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        for name in (*PER_LEVEL, *PER_RESOLUTION):
            value = getattr(self, name)
            if isinstance(value, list):  # JSON has no tuples; stay equal after loading
                setattr(self, name, tuple(value))
        super().__post_init__(**kwargs)

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Self:
        """The config called "vqvae" or "small_vqvae", with `changes` to its fields.

        Both are those of the 2020 release; `ValueError` for other names.
        """
        refuse_unknown([name], PRESETS, "codec presets")
        return cls(**{**PRESETS[name], **changes})

    @property
    def num_levels(self) -> int:
        """How many levels the codec has; level 0 is the finest."""
        return len(self.downsamplings)

    @property
    def hop_lengths(self) -> tuple[int, ...]:
        """Audio samples per code of each level, finest first.

        >>> VQVAEConfig().hop_lengths
        (8, 32, 128)
        """
        factors = (s**d for s, d in zip(self.strides, self.downsamplings, strict=True))
        return tuple(accumulate(factors, lambda hop_length, factor: hop_length * factor))

    def validate_architecture(self) -> None:
        """Raise `ValueError` for the first contradiction between the fields."""
        self._check_sequences(PER_LEVEL, "level")
        self._check_sequences(PER_RESOLUTION, "resolution")
        self._check_extent()
        for stride in self.strides:
            if stride % 2:
                raise ValueError(f"strides must be even, got {tuple(self.strides)}")
        for name in POSITIVE:
            self._check(name, lambda value: value > 0, "positive")
        for name in NOT_NEGATIVE:
            self._check(name, lambda value: value >= 0, "at least 0")
        self._check("codebook_decay", lambda value: 0 <= value < 1, "at least 0 and below 1")
        self._check(
            "codebook_size",
            lambda value: value <= MAX_CODEBOOK_SIZE,
            f"at most {MAX_CODEBOOK_SIZE}",
        )
        if self.waveform_loss == "lmix" and not self.lmix_l1 + self.lmix_l2 + self.lmix_linf:
            raise ValueError("waveform_loss 'lmix' needs a positive lmix_l1, lmix_l2 or lmix_linf")
        if self.dilation_cycle is not None:
            self._check("dilation_cycle", lambda value: value > 0, "positive, or None")
        for width in self.widths:
            if int(self.conv_multiplier * width) < 1:
                raise ValueError(
                    f"conv_multiplier {self.conv_multiplier} leaves no channels of width {width}"
                )
        windows = [
            (self.stft_size, self.stft_window_length),
            *zip(
                self.multispectral_stft_sizes, self.multispectral_stft_window_lengths, strict=True
            ),
        ]
        for size, window_length in windows:
            if window_length > size:
                raise ValueError(
                    f"an STFT window must not be longer than its FFT, got a window of "
                    f"{window_length} samples for an FFT of {size}"
                )
        fingerprint = self.codebook_fingerprint
        if fingerprint is not None and not FINGERPRINT.fullmatch(fingerprint):
            raise ValueError(
                "codebook_fingerprint should be 'sha256:' and 64 hexadecimal digits, "
                f"got {fingerprint!r}"
            )

    def _check_extent(self) -> None:
        """Raise `ValueError` for repetitions that no codec has: the models are built of them."""
        for name in ("downsamplings", "depths"):
            if max(getattr(self, name)) > MAX_REPEATS:
                raise ValueError(
                    f"entries of {name} must be at most {MAX_REPEATS}, got {getattr(self, name)}"
                )
        powers = [s**d for s, d in zip(self.strides, self.downsamplings, strict=True) if s < 2**20]
        if len(powers) < self.num_levels or math.prod(powers) > MAX_HOP_LENGTH:
            raise ValueError(
                f"strides {self.strides} and downsamplings {self.downsamplings} make codes of more "
                f"than {MAX_HOP_LENGTH} samples"
            )
        repeats = max(self.depths) if self.dilation_cycle is None else self.dilation_cycle
        if abs(self.dilation_growth) > 1 and (repeats - 1) * math.log2(
            min(abs(self.dilation_growth), MAX_DILATION * 2)
        ) > math.log2(MAX_DILATION):
            raise ValueError(
                f"dilation_growth {shorten(self.dilation_growth)} over {repeats} layers dilates by "
                f"more than {MAX_DILATION}; lower it, or set dilation_cycle"
            )

    def _check(self, name: str, holds: Any, expectation: str) -> None:
        value = getattr(self, name)
        if not (abs(value) < 2**63 and math.isfinite(value) and holds(value)):
            raise ValueError(f"{name} must be {expectation}, got {shorten(value)}")

    def _check_sequences(self, names: Sequence[str], entry: str) -> None:
        """Each sequence of positive numbers has as many entries as the first, and at least one."""
        first = names[0]
        expected = len(getattr(self, first))
        for name in names:
            values = tuple(getattr(self, name))
            if not values or len(values) != expected:
                raise ValueError(
                    f"{name} needs one entry per {entry}, as many as {first} and at least one: "
                    f"got {len(values)} {values}, and {expected} in {first}"
                )
            if min(values) < 1:
                raise ValueError(f"all entries of {name} must be positive, got {values}")


PER_LEVEL = ("downsamplings", "strides", "widths", "depths")
PER_RESOLUTION = (
    "multispectral_stft_sizes",
    "multispectral_stft_hop_lengths",
    "multispectral_stft_window_lengths",
)
POSITIVE = (
    "sampling_rate",
    "codebook_size",
    "codebook_dim",
    "dilation_growth",
    "conv_multiplier",
    "linf_samples",
    "stft_size",
    "stft_hop_length",
    "stft_window_length",
    "bandwidth_l1",
    "bandwidth_l2",
    "bandwidth_spectral",
)
NOT_NEGATIVE = (
    "revival_threshold",
    "lmix_l1",
    "lmix_l2",
    "lmix_linf",
    "commitment_weight",
    "spectral_weight",
    "multispectral_weight",
    "log_spectral_weight",
)
