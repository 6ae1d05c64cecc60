"""The codec: audio (batch, 1, samples) to codes (batch, time) of any level, and back.

`auto_encoder` has the auto-encoder of each level, `losses` what training minimizes; this module
checks what it is given, cuts long audio into chunks, and adds the losses up.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel
from transformers import initialization as init
from transformers.utils.generic import ModelOutput

from jukebox_hf.audio import AudioArray, as_mono
from jukebox_hf.convnet import init_convolutions
from jukebox_hf.precision import exact_float32
from jukebox_hf.pretrained import JukeboxPreTrainedModel
from jukebox_hf.vqvae.auto_encoder import JukeboxVQVAELevel
from jukebox_hf.vqvae.chunks import chunks
from jukebox_hf.vqvae.codebook import Codebook, CodebookMetrics, codebook_fingerprint
from jukebox_hf.vqvae.configuration_vqvae import JukeboxVQVAEConfig
from jukebox_hf.vqvae.feature_extraction import JukeboxFeatureExtractor
from jukebox_hf.vqvae.losses import reconstruction_losses

CHECKED_SAMPLES = 2**20  # checked at a time for NaNs, so that the check takes no room
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


class JukeboxVQVAELosses(NamedTuple):
    """The unweighted parts of the loss, each (num_levels,) float32.

    Spectral parts with weight 0 have no gradient.
    """

    waveform: Tensor
    spectral: Tensor
    multispectral: Tensor
    commitment: Tensor


class JukeboxVQVAEMetrics(NamedTuple):
    """Numbers to watch, each (num_levels,), without gradient.

    Those from `entropy` on are of the codebooks (`codebook.CodebookMetrics`), only in training.

    `l1`, `l2` and `linf` are divided by the bandwidth, as the losses are. The original release
    reported the first four of level 0, and the mean over levels of the others.
    """

    l1: Tensor
    l2: Tensor
    linf: Tensor
    spectral_convergence: Tensor  # distance over norm of STFT magnitudes, a plain ratio
    entropy: Tensor | None = None
    used_codes: Tensor | None = None
    alive_codes: Tensor | None = None
    fit: Tensor | None = None
    prenorm: Tensor | None = None
    change: Tensor | None = None


@dataclass
class JukeboxVQVAEOutput(ModelOutput):
    """What `JukeboxVQVAE.forward` returns. Tuples have one entry per level, the finest first.

    Args:
        loss: The weighted sum of `losses` over parts and levels, a float32 scalar.
        losses: Its parts.
        reconstructions: (batch, 1, samples) float32 from the codes of each level alone; `samples`
            is that of the audio, rounded down to whole codes of the level.
        codes: (batch, time) int64; `None` if nothing was quantized.
        latents: (batch, time, codebook_dim) float32 before quantization, without gradient.
        metrics: Numbers to watch.
    """

    loss: Tensor | None = None
    losses: JukeboxVQVAELosses | None = None
    reconstructions: tuple[Tensor, ...] | None = None
    codes: tuple[Tensor, ...] | None = None
    latents: tuple[Tensor, ...] | None = None
    metrics: JukeboxVQVAEMetrics | None = None


class JukeboxVQVAE(JukeboxPreTrainedModel):
    """Audio to codes at several resolutions, and codes of any one level back to audio.

    Audio is (batch, 1, samples), floating point, nominally in [-1, 1], at `config.sampling_rate`.
    Codes are (batch, time) int64, one per `config.hop_lengths[level]` samples; level 0 is the
    finest. Weights may be float16 or bfloat16; codebooks, losses and decoded audio are float32.

    >>> codec = JukeboxVQVAE.from_pretrained("some/repository", subfolder="vqvae")  # doctest: +SKIP
    >>> (top,) = codec.encode(audio, levels=[2])  # doctest: +SKIP
    >>> reconstruction = codec.decode(top, level=2)  # doctest: +SKIP
    """

    config: JukeboxVQVAEConfig
    config_class = JukeboxVQVAEConfig
    main_input_name = "audio"
    supports_gradient_checkpointing = True
    # Not all of "codebook": loading in 16 bits would then make a float of the bool in it.
    _keep_in_fp32_modules_strict = ["codebook.vectors", "codebook.sums", "codebook.counts"]  # noqa: RUF012
    _no_split_modules = ["JukeboxVQVAELevel"]  # noqa: RUF012

    def __init__(self, config: JukeboxVQVAEConfig) -> None:
        super().__init__(config)
        self.levels = nn.ModuleList(
            JukeboxVQVAELevel(config, level) for level in range(config.num_levels)
        )
        self.post_init()  # type: ignore[no-untyped-call]

    def _init_weights(self, module: nn.Module) -> None:
        init_convolutions(module)
        if isinstance(module, Codebook):
            loaded = getattr(module.vectors, "_is_hf_initialized", False)
            init.normal_(module.vectors)
            init.zeros_(module.sums)
            init.zeros_(module.counts)
            init.constant_(module.initialized, float(loaded))

    def forward(
        self,
        audio: Tensor,
        *,
        generator: torch.Generator | None = None,
        learn: bool | None = None,
        quantize: bool = True,
    ) -> JukeboxVQVAEOutput:
        """Reconstruct audio (batch, 1, samples) through every level, and compare.

        With `learn` (`None`: in training mode) the latents also move the codebooks; in distributed
        training all processes must then take part in each call. `generator` draws the restarts of
        dead codes. Without `quantize` the latents go to the decoders as they are. Samples beyond a
        level's last whole code are not compared. `ValueError` for audio that is not as described,
        not finite, or too short for one code or one STFT.
        """
        self._check_audio(audio, range(self.config.num_levels))
        audio = audio.float()
        learn = self.training if learn is None else learn
        results = [level(audio, generator, learn=learn, quantize=quantize) for level in self.levels]
        reconstructions = tuple(result.audio.to(audio.device) for result in results)
        compared = reconstruction_losses(audio, reconstructions, self.config)
        losses = JukeboxVQVAELosses(
            waveform=_stack(level.waveform for level in compared),
            spectral=_stack(level.spectral for level in compared),
            multispectral=_stack(level.multispectral for level in compared),
            commitment=_stack(result.commitment.to(audio.device) for result in results),
        )
        metrics = JukeboxVQVAEMetrics(
            l1=_stack(level.l1 for level in compared),
            l2=_stack(level.l2 for level in compared),
            linf=_stack(level.linf for level in compared),
            spectral_convergence=_stack(level.spectral_convergence for level in compared),
            **_stack_codebook_metrics([result.codebook_metrics for result in results]),
        )
        quantized = self.config.use_codebook and quantize
        return JukeboxVQVAEOutput(
            loss=self._weighted_sum(losses),
            losses=losses,
            reconstructions=reconstructions,
            codes=tuple(result.codes for result in results) if quantized else None,
            latents=tuple(result.latents.to(audio.device) for result in results),
            metrics=metrics,
        )

    @torch.no_grad()
    def encode(
        self,
        audio: AudioArray,
        levels: Sequence[int] | None = None,
        *,
        chunk_seconds: float | None = None,
        sampling_rate: int | None = None,
    ) -> tuple[Tensor, ...]:
        """Audio (batch, 1, samples) -> codes (batch, samples // hop_length) int64, one per level.

        With its `sampling_rate`, audio may be an array of numpy or torch, (samples,) or (channels,
        samples), which is mixed down and resampled to that of the codec, for codes (1, time).

        Only the `levels` asked for are computed, in their order; `None` means all, finest first.
        With `chunk_seconds` so much audio is encoded at a time, with as much around it as the
        codes depend on: the same codes, in memory that does not grow with the length. Codes come
        back on the device of `audio`, which need not be that of the model. Autocast and TF32 are
        off, because codes depend on every bit; only 16-bit weights make it less than float32.

        `ValueError` for audio that is not as described, not finite or shorter than one code, for a
        level that the codec lacks, and for a codec without codebooks.
        """
        if sampling_rate is not None or not isinstance(audio, Tensor):
            audio = as_mono(audio, sampling_rate, self.config.sampling_rate)[None]
        if isinstance(levels, int):
            raise ValueError(f"levels should be a list such as [{levels}], got {levels}")
        chosen = range(self.config.num_levels) if levels is None else levels
        self._check_audio(audio, chosen)
        return tuple(self._encode_level(audio, level, chunk_seconds) for level in chosen)

    @torch.no_grad()
    def decode(
        self,
        codes: Tensor | NDArray[np.integer[Any]],
        level: int,
        *,
        chunk_seconds: float | None = None,
    ) -> Tensor:
        """Codes of `level` (batch, time) -> audio (batch, 1, time * hop_length) float32.

        Values may exceed [-1, 1] a little. With `chunk_seconds` so much audio is decoded at a time,
        with as many codes around it as it depends on: the same audio, in memory that does not grow
        with the length. Audio comes back on the device of `codes`.

        `ValueError` for codes that are not integers or out of range, for a level that the codec
        lacks, and for a codec without codebooks.
        """
        if isinstance(codes, np.ndarray):
            codes = torch.from_numpy(codes.astype(np.int64) if codes.dtype.kind in "iu" else codes)
        self._check_codes(codes, level)
        halo, time = self.decoding_halo(level), codes.shape[1]
        hop_length = self._level(level).hop_length
        audio = torch.empty(
            codes.shape[0], 1, time * hop_length, dtype=torch.float32, device=codes.device
        )
        for chunk in chunks(time, self._chunk_codes(level, chunk_seconds), halo):
            part = codes[:, chunk.read_start : chunk.read_stop]
            with exact_float32(self._level(level).device):
                decoded = self.decode_latents(self._embed(part, level), level)
            first = (chunk.start - chunk.read_start) * hop_length
            num_samples = (chunk.stop - chunk.start) * hop_length
            audio[..., chunk.start * hop_length : chunk.stop * hop_length] = decoded[
                ..., first : first + num_samples
            ]
        return audio

    def encode_latents(self, audio: Tensor, level: int) -> Tensor:
        """Audio (batch, 1, samples) -> what `level` quantizes: (batch, time, codebook_dim) float32.

        With gradients. Errors are those of `encode`.
        """
        self._check_audio(audio, [level])
        return self._level(level).encode(audio)

    def quantize(self, latents: Tensor, level: int) -> Tensor:
        """Latents (batch, time, codebook_dim) -> their nearest codes (batch, time) int64.

        `ValueError` for other shapes, a level that the codec lacks, a codec without codebooks.
        """
        codebook = self._codebook(level)
        self._check_latents(latents)
        return codebook(latents).codes  # type: ignore[no-any-return]

    def embed_codes(self, codes: Tensor, level: int) -> Tensor:
        """Codes (batch, time) -> the latents they stand for: (batch, time, codebook_dim) float32.

        Errors are those of `decode`.
        """
        self._check_codes(codes, level)
        return self._embed(codes, level)

    def decode_latents(self, latents: Tensor, level: int) -> Tensor:
        """Latents (batch, time, codebook_dim), quantized or not -> audio (batch, 1, samples).

        With gradients; float32. `ValueError` for other shapes and a level that the codec lacks.
        """
        self._check_latents(latents)
        return self._level(level).decode(latents)

    def encoding_halo(self, level: int) -> int:
        """Codes on each side of a cut in the audio that the cut may change."""
        return max(self._level(level).encoder.edges())

    def decoding_halo(self, level: int) -> int:
        """Codes needed on each side of a span to decode it as if all codes had been there."""
        return -(-max(self._level(level).decoder.edges()) // self._level(level).hop_length)

    @torch.no_grad()
    def restore_codebooks(self, samples_per_step: int | None = None) -> None:
        """Start all codebooks' averages anew from their vectors (`Codebook.restore`).

        `samples_per_step` is the audio that one training step sees, over items and processes.
        """
        for level in range(self.config.num_levels):
            hop_length = self._level(level).hop_length
            self._codebook(level).restore(samples_per_step and samples_per_step // hop_length)

    def fingerprint(self) -> str | None:
        """Hash of all codebooks: codes of codecs with the same one mean the same.

        "sha256:..." over the float32 little-endian bytes in level order; `None` without codebooks.
        """
        if not self.config.use_codebook:
            return None
        levels = range(self.config.num_levels)
        return codebook_fingerprint(self._codebook(level).vectors for level in levels)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike[str],
        is_main_process: bool = True,
        state_dict: dict[str, Tensor] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """As in transformers; also writes the codebooks' fingerprint into the config, and what
        `AutoFeatureExtractor` reads.
        """
        if self.config.use_codebook:
            saved = self.state_dict() if state_dict is None else state_dict
            levels = range(self.config.num_levels)
            self.config.codebook_fingerprint = codebook_fingerprint(
                saved[f"levels.{level}.codebook.vectors"] for level in levels
            )
        super().save_pretrained(save_directory, is_main_process, state_dict, *args, **kwargs)
        if is_main_process:
            extractor = JukeboxFeatureExtractor.for_codec(self.config)
            extractor.save_pretrained(save_directory)

    def _weighted_sum(self, losses: JukeboxVQVAELosses) -> Tensor:
        loss = losses.waveform.sum()
        for weight, part in (
            (self.config.spectral_weight, losses.spectral),
            (self.config.multispectral_weight, losses.multispectral),
            (self.config.commitment_weight, losses.commitment),
        ):
            if weight:
                loss = loss + weight * part.sum()
        return loss

    def _encode_level(self, audio: Tensor, level: int, chunk_seconds: float | None) -> Tensor:
        hop_length, num_samples = self._level(level).hop_length, audio.shape[-1]
        self._codebook(level)
        time = num_samples // hop_length
        codes = torch.empty(audio.shape[0], time, dtype=torch.int64, device=audio.device)
        chunk_codes = self._chunk_codes(level, chunk_seconds)
        for chunk in chunks(time, chunk_codes, self.encoding_halo(level)):
            # The last chunk also sees the samples that do not fill a code.
            stop = num_samples if chunk.read_stop == time else chunk.read_stop * hop_length
            part = audio[..., chunk.read_start * hop_length : stop]
            with exact_float32(self._level(level).device):
                latents = self._level(level).encode(part)
            first = chunk.start - chunk.read_start
            latents = latents[:, first : first + chunk.stop - chunk.start]
            codes[:, chunk.start : chunk.stop] = self._codebook(level)(latents).codes
        return codes

    def _embed(self, codes: Tensor, level: int) -> Tensor:
        codebook = self._codebook(level)
        device = codebook.vectors.device
        if device.type == "meta":
            device = codes.device
        return codebook(codes.to(device, torch.int64)).vectors  # type: ignore[no-any-return]

    def _chunk_codes(self, level: int, chunk_seconds: float | None) -> int | None:
        """How many codes of `level` to work on at a time; `None` means all."""
        if chunk_seconds is None:
            return None
        if not chunk_seconds > 0:
            raise ValueError(f"chunk_seconds must be positive or None, got {chunk_seconds}")
        samples = chunk_seconds * self.config.sampling_rate
        return max(1, int(samples / self._level(level).hop_length))

    def _level(self, level: int) -> JukeboxVQVAELevel:
        last = self.config.num_levels - 1
        if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level <= last:
            raise ValueError(f"level must be an integer from 0 (finest) to {last}, got {level!r}")
        chosen = self.levels[level]
        assert isinstance(chosen, JukeboxVQVAELevel)
        return chosen

    def _codebook(self, level: int) -> Codebook:
        codebook = self._level(level).codebook
        if codebook is None:
            raise ValueError(
                "this codec was built with use_codebook=False, so it has no codes; "
                "use encode_latents and decode_latents"
            )
        return codebook

    def _check_audio(self, audio: Tensor, levels: Iterable[int]) -> None:
        if audio.ndim != 3 or audio.shape[1] != 1 or audio.shape[0] < 1:
            raise ValueError(
                f"audio should be mono, (batch, 1, samples), got shape {tuple(audio.shape)}; "
                "mix channels down to one first"
            )
        if not audio.is_floating_point():
            raise ValueError(f"audio should be floating point in [-1, 1], got {audio.dtype}")
        for level in levels:
            hop_length = self._level(level).hop_length
            if audio.shape[-1] < hop_length:
                raise ValueError(
                    f"one code of level {level} takes {hop_length} samples, but the audio has only "
                    f"{audio.shape[-1]}"
                )
        parts = torch.split(audio, CHECKED_SAMPLES, dim=-1)
        if not (audio.is_meta or torch.stack([part.isfinite().all() for part in parts]).all()):
            raise ValueError("audio should be finite numbers, but some are NaN or infinite")

    def _check_latents(self, latents: Tensor) -> None:
        dim = self.config.codebook_dim
        if latents.ndim != 3 or latents.shape[2] != dim:
            raise ValueError(
                f"latents should be (batch, time, {dim}), got shape {tuple(latents.shape)}"
            )

    def _check_codes(self, codes: Tensor, level: int) -> None:
        size = self._codebook(level).codebook_size
        if codes.dtype not in INTEGERS:
            raise ValueError(f"codes should be integers, got {codes.dtype}")
        if codes.ndim != 2 or not codes.numel():
            raise ValueError(
                f"codes should be (batch, time) with at least one code, got {tuple(codes.shape)}"
            )
        if codes.is_meta:
            return
        lowest, highest = (int(value) for value in codes.aminmax())
        if lowest < 0 or highest >= size:
            raise ValueError(
                f"codes should be from 0 to {size - 1}, but these reach from {lowest} to {highest}"
            )


def _stack(scalars: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(scalars))


def _stack_codebook_metrics(levels: Sequence[CodebookMetrics | None]) -> dict[str, Tensor]:
    """Each metric of all levels (num_levels,), by its name; empty outside training."""
    measured = [level for level in levels if level is not None]
    if not measured:
        return {}
    device = measured[0].fit.device
    return {
        name: _stack(getattr(level, name).to(device, torch.float32) for level in measured)
        for name in CodebookMetrics._fields
    }


AutoConfig.register(JukeboxVQVAEConfig.model_type, JukeboxVQVAEConfig, exist_ok=True)
AutoModel.register(JukeboxVQVAEConfig, JukeboxVQVAE, exist_ok=True)
