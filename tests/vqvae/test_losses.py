"""Losses against their formulas written out, on awkward audio."""

import math

import pytest
import torch
from torch import Tensor

from jukebox_hf.vqvae.losses import (
    LOG_FLOOR,
    SILENCE_NORM,
    STFT,
    commitment_loss,
    linf_loss,
    magnitudes,
    reconstruction_losses,
    spectral_convergence,
    spectral_distance,
)
from tests.vqvae.codecs import noise, tiny_config

SAMPLES = 203  # a multiple of no hop


def impulse(position: int) -> Tensor:
    audio = torch.zeros(2, 1, SAMPLES)
    audio[1, 0, position] = 1.0
    return audio


AUDIO = {
    "noise": noise(2, 1, SAMPLES),
    "silence": torch.zeros(2, 1, SAMPLES),
    "impulse": impulse(100),
    "impulse at the end": impulse(SAMPLES - 1),
    "constant": torch.full((2, 1, SAMPLES), 0.25),
    "loud": 1e4 * noise(2, 1, SAMPLES, seed=5),
}
STFTS = [STFT(32, 8, 24), STFT(16, 5, 11), STFT(31, 7, 31), STFT(64, 3, 10)]


def brute_force_magnitudes(audio: Tensor, stft: STFT) -> Tensor:
    """Frame by frame and bin by bin, in float64: (bins, frames) of one item (samples,)."""
    samples = audio.double().tolist()
    half = stft.size // 2
    padded = samples[half:0:-1] + samples + samples[-2 : -half - 2 : -1]
    window = [
        0.5 - 0.5 * math.cos(2 * math.pi * n / stft.window_length)
        for n in range(stft.window_length)
    ]
    left = (stft.size - stft.window_length) // 2
    window = [0.0] * left + window + [0.0] * (stft.size - stft.window_length - left)
    frames = range(0, len(padded) - stft.size + 1, stft.hop_length)
    return torch.tensor(
        [
            [
                abs(
                    sum(
                        window[n] * padded[start + n] * complex(math.cos(angle), -math.sin(angle))
                        for n in range(stft.size)
                        for angle in [2 * math.pi * k * n / stft.size]
                    )
                )
                for start in frames
            ]
            for k in range(stft.size // 2 + 1)
        ],
        dtype=torch.float64,
    )


@pytest.mark.parametrize("stft", STFTS[:2])
@pytest.mark.parametrize("name", ["noise", "silence", "impulse at the end"])
def test_magnitudes_are_those_of_a_slow_fourier_transform(name: str, stft: STFT):
    audio = AUDIO[name]
    ours = magnitudes(audio, stft)
    expected = brute_force_magnitudes(audio[1, 0], stft)
    assert ours.shape[1:] == expected.shape
    torch.testing.assert_close(ours[1].double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stft", STFTS)
def test_magnitudes_of_channels_are_those_of_their_mean(stft: STFT):
    stereo = noise(2, 2, SAMPLES)
    torch.testing.assert_close(
        magnitudes(stereo, stft), magnitudes(stereo.mean(dim=1, keepdim=True), stft)
    )


@pytest.mark.parametrize("target", AUDIO)
@pytest.mark.parametrize("waveform_loss", ["l1", "l2", "linf", "lmix"])
def test_all_losses_are_their_formulas(target: str, waveform_loss: str):
    config = tiny_config(
        waveform_loss=waveform_loss,
        lmix_l1=0.5,
        lmix_l2=2.0,
        lmix_linf=0.25,
        linf_samples=7,
        bandwidth_l1=0.2,
        bandwidth_l2=0.05,
        bandwidth_spectral=3.0,
        spectral_weight=1.0,
        log_spectral_weight=1.0,
    )
    audio, reconstruction = AUDIO[target], noise(2, 1, SAMPLES, seed=9)
    (losses,) = reconstruction_losses(audio, [reconstruction], config)

    errors = (reconstruction - audio).double()
    l1 = errors.abs().mean() / 0.2
    l2 = errors.square().mean() / 0.05
    largest = [sorted(item.square().flatten().tolist())[-7:] for item in errors]
    linf = torch.tensor(largest, dtype=torch.float64).mean() / 0.05
    lmix = 0.5 * l1 + 2.0 * l2 + 0.25 * linf
    expected = {"l1": l1, "l2": l2, "linf": linf, "lmix": lmix}
    assert losses.waveform.item() == pytest.approx(expected[waveform_loss].item(), rel=1e-5)
    for name in ("l1", "l2", "linf"):
        assert getattr(losses, name).item() == pytest.approx(expected[name].item(), rel=1e-5)

    def distance(stft: STFT) -> list[float]:
        difference = magnitudes(audio, stft).double() - magnitudes(reconstruction, stft).double()
        return [math.sqrt(item.square().sum()) for item in difference]

    single = distance(STFT(32, 8, 24))
    assert losses.spectral.item() == pytest.approx(sum(single) / 2 / 3.0, rel=1e-5)
    multiple = [*distance(STFT(32, 8, 20)), *distance(STFT(16, 5, 10))]
    assert losses.multispectral.item() == pytest.approx(sum(multiple) / 4 / 3.0, rel=1e-5)
    nepers = [
        ((magnitudes(audio, stft) + LOG_FLOOR) / (magnitudes(reconstruction, stft) + LOG_FLOOR))
        .double()
        .log()
        .abs()
        .mean()
        .item()
        for stft in (STFT(32, 8, 20), STFT(16, 5, 10))
    ]
    assert losses.log_spectral.item() == pytest.approx(sum(nepers) / 2, rel=1e-4)
    norms = [math.sqrt(item.double().square().sum()) for item in magnitudes(audio, STFT(32, 8, 24))]
    ratios = [
        one / norm if norm > SILENCE_NORM else 0 for one, norm in zip(single, norms, strict=True)
    ]
    assert losses.spectral_convergence.item() == pytest.approx(sum(ratios) / 2, rel=1e-5)


def test_spectral_convergence_can_be_the_spectral_loss():
    config = tiny_config(relative_spectral_loss=True, spectral_weight=1.0)
    (losses,) = reconstruction_losses(AUDIO["noise"], [noise(2, 1, SAMPLES, seed=9)], config)
    assert losses.spectral == losses.spectral_convergence > 0


@pytest.mark.parametrize("relative_spectral_loss", [False, True])
@pytest.mark.parametrize("target", AUDIO)
@pytest.mark.parametrize("perfect", [True, False])
def test_gradients_are_finite(target: str, perfect: bool, relative_spectral_loss: bool):
    """Also where magnitudes, or their differences, are 0."""
    config = tiny_config(
        lmix_l1=1.0,
        spectral_weight=1.0,
        log_spectral_weight=1.0,
        relative_spectral_loss=relative_spectral_loss,
    )
    audio = AUDIO[target]
    reconstruction = (audio.clone() if perfect else torch.zeros_like(audio)).requires_grad_()
    (losses,) = reconstruction_losses(audio, [reconstruction], config)
    (losses.waveform + losses.spectral + losses.multispectral + losses.log_spectral).backward()
    assert reconstruction.grad.isfinite().all()
    assert not perfect or losses.waveform == 0


def test_parts_without_weight_are_measured_without_gradient():
    config = tiny_config(spectral_weight=0.0, multispectral_weight=0.0)
    reconstruction = noise(2, 1, SAMPLES, seed=9).requires_grad_()
    (losses,) = reconstruction_losses(AUDIO["noise"], [reconstruction], config)
    assert losses.waveform.requires_grad
    assert losses.spectral > 0
    assert losses.multispectral > 0
    assert not losses.spectral.requires_grad
    assert not losses.multispectral.requires_grad
    assert not losses.l2.requires_grad


@pytest.mark.parametrize("others", [0.0, 1.0])
def test_logarithms_count_quiet_bands_like_loud_ones(others: float):
    """Halving a band's magnitudes costs as much, however quiet the band is."""
    config = tiny_config(log_spectral_weight=1.0, multispectral_weight=others)
    time = torch.arange(4096) / 4096
    low, high = (torch.sin(2 * math.pi * pitch * time)[None, None] for pitch in (256, 1280))
    quiet = 0.02 * high
    found = []
    for heard in (0.5 * low + quiet, low + 0.5 * quiet):
        heard.requires_grad_()
        (losses,) = reconstruction_losses(low + quiet, [heard], config)
        losses.log_spectral.backward()
        assert heard.grad.abs().sum() > 0
        found.append((losses.log_spectral.item(), losses.multispectral.item()))
    (loud_log, loud), (quiet_log, quiet_plain) = found
    assert quiet_log > 0.2 * loud_log
    assert quiet_plain < 0.03 * loud


def test_without_their_weight_logarithms_are_measured_in_evaluation_only():
    config = tiny_config()
    reconstruction = noise(2, 1, SAMPLES, seed=9).requires_grad_()
    (training,) = reconstruction_losses(AUDIO["noise"], [reconstruction], config)
    with torch.no_grad():
        (evaluation,) = reconstruction_losses(AUDIO["noise"], [reconstruction], config)
    assert training.log_spectral == 0 < evaluation.log_spectral


def test_linf_of_short_audio_is_the_mean_of_all_squared_errors():
    audio = noise(3, 1, 10)
    zeros = torch.zeros_like(audio)
    assert linf_loss(audio, zeros, 2048).item() == pytest.approx(audio.square().mean().item())
    assert linf_loss(audio, zeros, 1).item() == pytest.approx(
        audio.square().amax(dim=-1).mean().item()
    )


def test_shorter_reconstructions_are_compared_with_the_beginning():
    config, audio = tiny_config(), AUDIO["noise"]
    short, longer = noise(2, 1, 96, seed=2), noise(2, 1, 200, seed=3)
    together = reconstruction_losses(audio, [longer, short], config)
    alone = reconstruction_losses(audio[..., :96], [short], config)
    for one, other in zip(together[1], alone[0], strict=True):
        assert one == other


def test_audio_shorter_than_half_an_stft_is_refused():
    audio = noise(1, 1, 16)
    with pytest.raises(ValueError, match=r"at least 17 samples .* got 16"):
        reconstruction_losses(audio, [audio], tiny_config())
    reconstruction_losses(noise(1, 1, 17), [noise(1, 1, 17)], tiny_config())


def test_distances_are_per_item():
    target, reconstructed = noise(3, 4, 5), noise(3, 4, 5, seed=2)
    target[0] = 0
    distance = spectral_distance(target, reconstructed)
    assert distance.shape == (3,)
    convergence = spectral_convergence(target, reconstructed)
    assert convergence[0] == 0
    assert convergence[1].item() == pytest.approx((distance[1] / target[1].norm()).item())


def test_commitment_pulls_latents_only():
    latents, vectors = noise(2, 5, 3).requires_grad_(), noise(2, 5, 3, seed=2).requires_grad_()
    loss = commitment_loss(latents, vectors)
    assert loss.item() == pytest.approx(((latents - vectors) ** 2).mean().item())
    loss.backward()
    assert vectors.grad is None
    torch.testing.assert_close(latents.grad, 2 * (latents - vectors).detach() / latents.numel())
