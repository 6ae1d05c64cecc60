"""VQVAENetwork: the codec as torch alone has it, audio (batch, 1, samples) to codes and back.

`auto_encoder` has the auto-encoder of each level; this module checks what it is given and cuts long
audio into chunks. `JukeboxVQVAE` makes a model of transformers of it, which takes seconds to
import; the names of all tensors are the same.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from jukebox_hf.audio import AudioArray, as_mono
from jukebox_hf.precision import exact_float32
from jukebox_hf.vqvae.auto_encoder import JukeboxVQVAELevel
from jukebox_hf.vqvae.chunks import chunks
from jukebox_hf.vqvae.codebook import Codebook, codebook_fingerprint
from jukebox_hf.vqvae.vqvae_config import VQVAEConfig

CHECKED_SAMPLES = 2**20  # checked at a time for NaNs, so that the check takes no room
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


class VQVAENetwork(nn.Module):
    """Audio to codes at several resolutions, and codes of any one level back to audio.

    Audio is (batch, 1, samples), floating point, nominally in [-1, 1], at `config.sampling_rate`.
    Codes are (batch, time) int64, one per `config.hop_lengths[level]` samples; level 0 is the
    finest. Weights may be float16 or bfloat16; codebooks and decoded audio are float32.
    """

    config: VQVAEConfig

    def __init__(self, config: VQVAEConfig) -> None:
        super().__init__()
        self.config = config
        self._build()

    def _build(self) -> None:
        self.levels = nn.ModuleList(
            JukeboxVQVAELevel(self.config, level) for level in range(self.config.num_levels)
        )

    def tie(self) -> None:
        """Nothing: no weights are shared."""

    @property
    def tied_weights(self) -> dict[str, str]:
        """Names of tensors that are others by another name: none."""
        return {}

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights of the convolutions; codebooks are float32."""
        return self._level(0).dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._level(0).device

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
        codes = self._checked_codes(codes, level)
        batch, time = codes.shape
        num_samples = time * self._level(level).hop_length
        audio = torch.empty(batch, 1, num_samples, dtype=torch.float32, device=codes.device)
        written = 0
        for part in self.decode_parts(codes, level, chunk_seconds=chunk_seconds):
            audio[..., written : written + part.shape[-1]] = part
            written += part.shape[-1]
        return audio

    @torch.no_grad()
    def decode_parts(
        self,
        codes: Tensor | NDArray[np.integer[Any]],
        level: int,
        *,
        chunk_seconds: float | None,
    ) -> Iterator[Tensor]:
        """As `decode`, in parts of `chunk_seconds` each (batch, 1, samples), made as asked for."""
        codes = self._checked_codes(codes, level)
        halo, hop_length = self.decoding_halo(level), self._level(level).hop_length
        for chunk in chunks(codes.shape[1], self._chunk_codes(level, chunk_seconds), halo):
            part = codes[:, chunk.read_start : chunk.read_stop]
            with exact_float32(self._level(level).device):
                decoded = self.decode_latents(self._embed(part, level), level)
            first = (chunk.start - chunk.read_start) * hop_length
            num_samples = (chunk.stop - chunk.start) * hop_length
            yield decoded[..., first : first + num_samples].to(codes.device, torch.float32)

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
        codes = self._checked_codes(codes, level)
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

    def fingerprint(self) -> str | None:
        """Hash of all codebooks: codes of codecs with the same one mean the same.

        "sha256:..." over the float32 little-endian bytes in level order; `None` without codebooks.
        """
        if not self.config.use_codebook:
            return None
        levels = range(self.config.num_levels)
        return codebook_fingerprint(self._codebook(level).vectors for level in levels)

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

    def _checked_codes(self, codes: Tensor | NDArray[np.integer[Any]], level: int) -> Tensor:
        if isinstance(codes, np.ndarray):
            codes = torch.from_numpy(codes.astype(np.int64) if codes.dtype.kind in "iu" else codes)
        size = self._codebook(level).codebook_size
        if codes.dtype not in INTEGERS:
            raise ValueError(f"codes should be integers, got {codes.dtype}")
        if codes.ndim != 2 or not codes.numel():
            raise ValueError(
                f"codes should be (batch, time) with at least one code, got {tuple(codes.shape)}"
            )
        if codes.is_meta:
            return codes
        lowest, highest = (int(value) for value in codes.aminmax())
        if lowest < 0 or highest >= size:
            raise ValueError(
                f"codes should be from 0 to {size - 1}, but these reach from {lowest} to {highest}"
            )
        return codes
