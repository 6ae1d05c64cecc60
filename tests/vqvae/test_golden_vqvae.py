"""The codec computes what the original implementation computed."""

from typing import Any

import pytest
import torch
from torch import Tensor

from jukebox_hf.hub.conversion.tensor_names import openai_targets
from jukebox_hf.vqvae import JukeboxVQVAE, JukeboxVQVAEOutput
from jukebox_hf.vqvae.codebook import Codebook
from tests.golden_data import golden, load_golden
from tests.vqvae.codecs import original_codec

# Golden outputs, and the checkpoint that made them.
EVALUATIONS = {
    "vqvae/eval": "openai/5b/vqvae.pth.tar",
    "small/vqvae_eval": "openai/small/vqvae.pth.tar",
}
CHECKPOINT = EVALUATIONS["vqvae/eval"]
TRAININGS = ("vqvae/train_restored", "vqvae/train_fresh")


def codebooks(codec: JukeboxVQVAE) -> list[Codebook]:
    return [level.codebook for level in codec.levels]


@pytest.mark.parametrize("prefix", ["", "odd_"])
@pytest.mark.parametrize("stem", EVALUATIONS)
@torch.no_grad()
def test_codes_latents_and_audio_are_the_originals(stem: str, prefix: str):
    tensors, _ = load_golden(stem)
    codec = original_codec(golden(EVALUATIONS[stem]))
    audio = tensors[f"{prefix}x"].transpose(1, 2)
    encoded = codec.encode(audio)
    assert len(encoded) == codec.config.num_levels
    for level, codes in enumerate(encoded):
        torch.testing.assert_close(codes, tensors[f"{prefix}codes_l{level}"], rtol=0, atol=0)
        expected = tensors[f"{prefix}decoded_from_l{level}"].transpose(1, 2)
        torch.testing.assert_close(codec.decode(codes, level), expected, rtol=0, atol=1e-5)
        if prefix:
            continue
        latents = codec.encode_latents(audio, level)
        expected = tensors[f"enc_out_l{level}"].transpose(1, 2)
        torch.testing.assert_close(latents, expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(codec.quantize(latents, level), codes, rtol=0, atol=0)
        expected = tensors[f"quantised_l{level}"].transpose(1, 2)
        torch.testing.assert_close(codec.embed_codes(codes, level), expected, rtol=0, atol=0)


@pytest.mark.parametrize("prefix", ["", "odd_"])
@pytest.mark.parametrize("stem", EVALUATIONS)
def test_chunks_of_the_originals_give_the_same_codes_and_audio(stem: str, prefix: str):
    tensors, _ = load_golden(stem)
    codec = original_codec(golden(EVALUATIONS[stem]))
    audio = tensors[f"{prefix}x"].transpose(1, 2)
    seconds = audio.shape[-1] / codec.config.sampling_rate / 7
    for level, codes in enumerate(codec.encode(audio, chunk_seconds=seconds)):
        assert torch.equal(codes, tensors[f"{prefix}codes_l{level}"])
        decoded, whole = (
            codec.decode(codes, level, chunk_seconds=seconds),
            codec.decode(codes, level),
        )
        # These random weights make audio far louder than 1; float32 is as much coarser there.
        tolerance = 1e-6 * max(1.0, whole.abs().max().item())
        torch.testing.assert_close(decoded, whole, rtol=0, atol=tolerance)


class Training:
    """One training forward and backward of a golden file, its random draws replaced."""

    def __init__(self, stem: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tensors, self.meta = load_golden(stem)
        self.is_fresh = self.meta["mode"] == "fresh"
        self.codec = original_codec(golden(CHECKPOINT), **self.settings()).train()
        if self.is_fresh:
            for codebook in codebooks(self.codec):
                codebook.initialized.fill_(False)
        else:
            for codebook, latents in zip(
                codebooks(self.codec), self.meta["num_tokens"], strict=True
            ):
                codebook.restore(latents)
        draws = ["init", "update"] if self.is_fresh else ["update"]
        for level, codebook in enumerate(codebooks(self.codec)):
            vectors = iter([self.tensors[f"{draw}.restart_l{level}"] for draw in draws])
            monkeypatch.setattr(codebook, "restart_candidates", lambda *_, v=vectors: next(v))

    def settings(self) -> dict[str, Any]:
        hps, bandwidth = self.meta["hps"], self.meta["bandwidth"]
        return {
            "waveform_loss": self.meta["loss_fn"],
            "lmix_l1": hps["lmix_l1"],
            "lmix_l2": hps["lmix_l2"],
            "lmix_linf": hps["lmix_linf"],
            "linf_samples": int(hps["linf_k"]),
            "codebook_decay": hps["l_mu"],
            "commitment_weight": hps["commit"],
            "spectral_weight": hps["spectral"],
            "multispectral_weight": hps["multispectral"],
            "relative_spectral_loss": not hps["use_nonrelative_specloss"],
            "multispectral_stft_sizes": hps["multispec_loss_n_fft"],
            "multispectral_stft_hop_lengths": hps["multispec_loss_hop_length"],
            "multispectral_stft_window_lengths": hps["multispec_loss_window_size"],
            "bandwidth_l1": bandwidth["l1"],
            "bandwidth_l2": bandwidth["l2"],
            "bandwidth_spectral": bandwidth["spec"],
            "revival_threshold": self.meta.get("threshold", 1.0),
        }

    def forward(self) -> JukeboxVQVAEOutput:
        return self.codec(self.tensors["x"].transpose(1, 2))

    def gradients(self, names: list[str]) -> dict[str, Tensor]:
        """Of the parameters with these original names."""
        parameters = dict(self.codec.named_parameters())
        targets = openai_targets(names)
        return {name: parameters[targets[name].name].grad for name in names}


@pytest.fixture(params=TRAININGS)
def training(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Training:
    return Training(request.param, monkeypatch)


def test_losses_and_metrics_are_the_originals(training: Training):
    output = training.forward()
    losses, metrics = output.losses, output.metrics
    ours = {
        "recons_loss": losses.waveform.sum(),
        "spectral_loss": losses.spectral.sum(),
        "multispectral_loss": losses.multispectral.sum(),
        "commit_loss": losses.commitment.sum(),
        "spectral_convergence": metrics.spectral_convergence[0],
        "l1_loss": metrics.l1[0],
        "l2_loss": metrics.l2[0],
        "linf_loss": metrics.linf[0],
        "fit": metrics.fit.mean(),
        "pn": metrics.prenorm.mean(),
        "entropy": metrics.entropy.mean(),
        "used_curr": metrics.used_codes.mean(),
        "usage": metrics.alive_codes.mean(),
        "dk": metrics.change.mean(),
    }
    for level in range(training.codec.config.num_levels):
        ours[f"recons_loss_l{level + 1}"] = losses.waveform[level]
        ours[f"spectral_loss_l{level + 1}"] = losses.spectral[level]
        ours[f"multispectral_loss_l{level + 1}"] = losses.multispectral[level]
    assert set(ours) == set(training.meta["metrics"])
    for name, expected in training.meta["metrics"].items():
        assert ours[name].item() == pytest.approx(expected, rel=1e-5), name
    assert output.loss.item() == pytest.approx(training.meta["loss"], rel=1e-5)
    expected = training.tensors["x_out"].transpose(1, 2)
    torch.testing.assert_close(output.reconstructions[0], expected, rtol=0, atol=1e-5)


def test_codebooks_move_as_the_originals_did(training: Training):
    pairs = {"k": "vectors", "k_sum": "sums", "k_elem": "counts"}
    for level, codebook in enumerate(codebooks(training.codec)):
        for theirs, ours in pairs.items():
            before = training.tensors.get(f"before.{theirs}_l{level}")
            if before is not None:
                torch.testing.assert_close(getattr(codebook, ours), before, rtol=1e-6, atol=1e-6)
    training.forward()
    for level, codebook in enumerate(codebooks(training.codec)):
        assert codebook.initialized
        for theirs, ours in pairs.items():
            after = training.tensors[f"after.{theirs}_l{level}"]
            torch.testing.assert_close(getattr(codebook, ours), after, rtol=1e-5, atol=1e-5)


def test_gradients_are_the_originals(training: Training):
    training.forward().loss.backward()
    norms = training.meta["grad_norms"]
    gradients = training.gradients(list(norms))
    assert len(gradients) == len(list(training.codec.parameters()))
    for name, norm in norms.items():
        assert gradients[name].norm().item() == pytest.approx(norm, rel=1e-4), name
    total = torch.stack([gradient.norm() for gradient in gradients.values()]).norm().item()
    assert total == pytest.approx(training.meta["grad_norm"], rel=1e-5)
    stored = {
        name.removeprefix("grad."): tensor
        for name, tensor in training.tensors.items()
        if name.startswith("grad.")
    }
    assert training.is_fresh or set(stored) == set(gradients)
    for name, expected in stored.items():
        scale = expected.abs().max().item()
        torch.testing.assert_close(gradients[name], expected, rtol=1e-4, atol=1e-5 * scale)
