"""How far a reconstruction is from the audio: waveform and (multi-resolution) spectral losses.

Audio and reconstructions are (batch, 1, samples), float32. The losses are those of Dhariwal et al.
2020 (arXiv:2005.00341), section 3; several STFT resolutions, and logarithms of their magnitudes,
after Yamamoto et al. 2020 (arXiv:1910.11480). Each but that of logarithms is divided by the
bandwidth of the training audio, so that their weights mean the same for quiet and loud music.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from jukebox_hf.vqvae.vqvae_config import VQVAEConfig

LOG_FLOOR = 1e-2  # is added to magnitudes: noise at about -67 dB
SILENCE_NORM = 2e-3  # spectral convergence counts spectra below this as silence


class STFT(NamedTuple):
    """The settings of a short-time Fourier transform, in samples."""

    size: int
    hop_length: int
    window_length: int


class ReconstructionLosses(NamedTuple):
    """Losses of one level (scalars), then metrics of it (scalars without gradient).

    `log_spectral` takes time: in training without its weight it is 0.
    """

    waveform: Tensor
    spectral: Tensor
    multispectral: Tensor
    log_spectral: Tensor
    l1: Tensor
    l2: Tensor
    linf: Tensor
    spectral_convergence: Tensor


def reconstruction_losses(
    audio: Tensor, reconstructions: Sequence[Tensor], config: VQVAEConfig
) -> list[ReconstructionLosses]:
    """The losses of each reconstruction, unweighted.

    A reconstruction may be shorter than the audio: what is missing at the end is not compared. It
    must be longer than half of each STFT (`ValueError`), which mirrors that much at the ends.
    """
    stfts = [STFT(config.stft_size, config.stft_hop_length, config.stft_window_length)]
    stfts += multispectral_stfts(config)
    shortest = min(reconstruction.shape[-1] for reconstruction in reconstructions)
    needed = max(stft.size for stft in stfts) // 2 + 1
    if shortest < needed:
        raise ValueError(
            f"the spectral losses need at least {needed} samples in whole codes of every level, "
            f"got {shortest}; give longer audio, or smaller stft sizes in the config"
        )
    targets: dict[int, list[Tensor]] = {}  # levels of the same length share the audio's spectra
    for length in {reconstruction.shape[-1] for reconstruction in reconstructions}:
        targets[length] = [magnitudes(audio[..., :length], stft) for stft in stfts]
    return [
        _losses_of_level(
            audio[..., : reconstruction.shape[-1]],
            reconstruction,
            targets[reconstruction.shape[-1]],
            stfts,
            config,
        )
        for reconstruction in reconstructions
    ]


def multispectral_stfts(config: VQVAEConfig) -> list[STFT]:
    """The resolutions of the multi-resolution spectral loss."""
    return [
        STFT(*settings)
        for settings in zip(
            config.multispectral_stft_sizes,
            config.multispectral_stft_hop_lengths,
            config.multispectral_stft_window_lengths,
            strict=True,
        )
    ]


def magnitudes(audio: Tensor, stft: STFT) -> Tensor:
    """Magnitudes of the channels' mean: (batch, channels, samples) -> (batch, bins, frames).

    Hann window, zero-padded in the middle of the FFT; frames centred on multiples of the hop, the
    ends of the audio mirrored. A 2-norm over (real, imaginary), whose gradient at 0 is 0.
    """
    spectrum = torch.stft(
        audio.mean(dim=1),
        stft.size,
        stft.hop_length,
        stft.window_length,
        window=torch.hann_window(stft.window_length, dtype=audio.dtype, device=audio.device),
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )
    return _norm(torch.view_as_real(spectrum), -1)


def spectral_distance(target: Tensor, reconstructed: Tensor) -> Tensor:
    """Norm of the difference of two magnitudes (batch, bins, frames), per item: (batch,)."""
    return _norm(target - reconstructed, (1, 2))


def spectral_convergence(target: Tensor, reconstructed: Tensor) -> Tensor:
    """The distance over the norm of the target, per item: (batch,); 0 where the target is silent.

    Arik et al. 2018 (arXiv:1808.06719). A plain ratio; decibels are `20 * log10` of it.
    """
    norm = _norm(target, (1, 2))
    ratio = spectral_distance(target, reconstructed) / norm.clamp_min(SILENCE_NORM)
    return torch.where(norm > SILENCE_NORM, ratio, 0.0)


def log_distance(target: Tensor, reconstructed: Tensor) -> Tensor:
    """Mean distance of the logarithms of two magnitudes, in nepers (8.69 dB): (batch,)."""
    difference = (target + LOG_FLOOR).log() - (reconstructed + LOG_FLOOR).log()
    return difference.abs().mean(dim=(1, 2))


def linf_loss(audio: Tensor, reconstruction: Tensor, num_samples: int) -> Tensor:
    """Mean of each item's `num_samples` largest squared errors (of all, if there are fewer)."""
    squared_errors = (reconstruction - audio).square().flatten(start_dim=1)
    largest = squared_errors.topk(min(num_samples, squared_errors.shape[1]), dim=1, sorted=False)
    return largest.values.mean()


def commitment_loss(latents: Tensor, vectors: Tensor) -> Tensor:
    """Mean squared distance of latents from their codes' vectors, which get no gradient."""
    return F.mse_loss(latents, vectors.detach())


def _norm(tensor: Tensor, dim: int | tuple[int, int]) -> Tensor:
    """2-norm, with gradient 0 where it is 0."""
    norm: Tensor = torch.linalg.vector_norm(tensor, dim=dim)
    return norm


def _losses_of_level(
    audio: Tensor,
    reconstruction: Tensor,
    targets: Sequence[Tensor],
    stfts: Sequence[STFT],
    config: VQVAEConfig,
) -> ReconstructionLosses:
    l1 = F.l1_loss(reconstruction, audio) / config.bandwidth_l1
    l2 = F.mse_loss(reconstruction, audio) / config.bandwidth_l2
    linf = linf_loss(audio, reconstruction, config.linf_samples) / config.bandwidth_l2
    lmix = config.lmix_l1 * l1 + config.lmix_l2 * l2 + config.lmix_linf * linf
    waveform = {"l1": l1, "l2": l2, "linf": linf, "lmix": lmix}[config.waveform_loss]

    with torch.set_grad_enabled(torch.is_grad_enabled() and config.spectral_weight > 0):
        spectrum = magnitudes(reconstruction, stfts[0])
        distance = spectral_distance(targets[0], spectrum).mean() / config.bandwidth_spectral
        convergence = spectral_convergence(targets[0], spectrum).mean()
    with torch.set_grad_enabled(torch.is_grad_enabled() and config.multispectral_weight > 0):
        spectra = [magnitudes(reconstruction, stft) for stft in stfts[1:]]
        distances = list(map(spectral_distance, targets[1:], spectra))
        multispectral = torch.stack(distances).mean() / config.bandwidth_spectral
    log_spectral = torch.zeros_like(multispectral)
    if config.log_spectral_weight > 0 or not torch.is_grad_enabled():
        if config.multispectral_weight == 0:  # those have no gradient
            spectra = [magnitudes(reconstruction, stft) for stft in stfts[1:]]
        log_spectral = torch.stack(list(map(log_distance, targets[1:], spectra))).mean()
    return ReconstructionLosses(
        waveform=waveform,
        spectral=convergence if config.relative_spectral_loss else distance,
        multispectral=multispectral,
        log_spectral=log_spectral,
        l1=l1.detach(),
        l2=l2.detach(),
        linf=linf.detach(),
        spectral_convergence=convergence.detach(),
    )
