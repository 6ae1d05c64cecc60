"""The codec: audio (batch, 1, samples) to codes (batch, time) of any level, and back.

`network` encodes and decodes, `losses` has what training minimizes; this module makes a model of
transformers of the network, which is read, saved and trained as such, and adds the losses up.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel
from transformers import initialization as init
from transformers.utils.generic import ModelOutput

from jukebox_hf.layers import hollow
from jukebox_hf.pretrained import JukeboxPreTrainedModel, init_convolutions
from jukebox_hf.vqvae.codebook import Codebook, CodebookMetrics, codebook_fingerprint
from jukebox_hf.vqvae.configuration_vqvae import JukeboxVQVAEConfig
from jukebox_hf.vqvae.feature_extraction import JukeboxFeatureExtractor
from jukebox_hf.vqvae.losses import reconstruction_losses
from jukebox_hf.vqvae.network import VQVAENetwork


class JukeboxVQVAELosses(NamedTuple):
    """The unweighted parts of the loss, each (num_levels,) float32.

    Spectral parts with weight 0 have no gradient; `log_spectral` is then 0 in training.
    """

    waveform: Tensor
    spectral: Tensor
    multispectral: Tensor
    log_spectral: Tensor
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


class JukeboxVQVAE(VQVAENetwork, JukeboxPreTrainedModel):
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
        JukeboxPreTrainedModel.__init__(self, config)
        self._build()
        self.post_init()  # type: ignore[no-untyped-call]

    @classmethod
    def of(cls, network: VQVAENetwork) -> Self:
        """The model of transformers that has the parts of a network, which the two then share."""
        with hollow():
            model = cls(JukeboxVQVAEConfig.of(network.config))
        model.levels = network.levels
        model.train(network.training)
        return model

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
            log_spectral=_stack(level.log_spectral for level in compared),
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
    def restore_codebooks(self, samples_per_step: int | None = None) -> None:
        """Start all codebooks' averages anew from their vectors (`Codebook.restore`).

        `samples_per_step` is the audio that one training step sees, over items and processes.
        """
        for level in range(self.config.num_levels):
            hop_length = self._level(level).hop_length
            self._codebook(level).restore(samples_per_step and samples_per_step // hop_length)

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
            (self.config.log_spectral_weight, losses.log_spectral),
            (self.config.commitment_weight, losses.commitment),
        ):
            if weight:
                loss = loss + weight * part.sum()
        return loss


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
