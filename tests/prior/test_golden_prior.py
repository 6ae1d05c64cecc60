"""Numbers of the original priors, from their converted checkpoints."""

import functools
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from jukebox_hf.hub import convert
from jukebox_hf.hub.conversion.tensor_names import openai_targets
from jukebox_hf.labels import JukeboxLabels
from jukebox_hf.prior.conditioning import TimingEmbedding
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.prior.modeling_prior import JukeboxPrior
from tests.golden_data import golden, golden_stems, load_golden

FORWARD = golden_stems("priors/*_forward") + golden_stems("small/*_prior_forward")
FORWARD += golden_stems("small/*_upsampler_forward")
TRAIN = golden_stems("priors/*_train") + golden_stems("small/small_*_train")
LOGITS_TOLERANCE = (
    4e-5  # absolute, float32; the original's own chunked and whole runs differ by 1e-5
)
KINDS = {0: "dense", 1: "row", 2: "column", 3: "previous_row", 6: "cross", 7: "prime"}


def checkpoint_of(stem: str) -> tuple[Path, Path]:
    """The checkpoints of the codec and of the prior that made these numbers."""
    family, name = stem.split("/")
    name = name.removesuffix("_forward").removesuffix("_train")
    if family == "small":
        return golden("openai/small/vqvae.pth.tar"), golden(f"openai/small/{name}.pth.tar")
    file = f"5b/{name}" if name.startswith("prior_level") else f"{name}/prior_level_2"
    return golden("openai/5b/vqvae.pth.tar"), golden(f"openai/{file}.pth.tar")


@functools.cache
def prior_of(stem: str) -> JukeboxPrior:
    """The prior behind these numbers, converted and loaded."""
    with tempfile.TemporaryDirectory() as folder:
        convert(checkpoint_of(stem), Path(folder) / "system")
        (component,) = (Path(folder) / "system").glob("prior_*")
        return JukeboxPrior.from_pretrained(component, dtype=torch.float32).eval()


def load(stem: str) -> tuple[JukeboxPrior, dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    """Prior, tensors, metadata, and what conditions the window."""
    tensors, meta = load_golden(stem)
    prior = prior_of(stem.replace("_train", "_forward"))
    config, given = prior.config, {}
    if config.has_labels:
        row = tensors["y"]
        given["labels"] = JukeboxLabels(
            artist=row[:, 3],
            genres=row[:, 4 : 4 + config.genre_slots],
            total_samples=row[:, 0],
            offset_samples=row[:, 1],
        )
    if config.lyrics != "none":
        given["lyric_tokens"] = tensors["y"][:, 4 + config.genre_slots :]
    if config.is_upsampler:
        given["upper_codes"] = tensors["z_cond"]
    return prior, tensors, meta, given


def close(ours: Tensor, theirs: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize("stem", FORWARD)
@torch.inference_mode()
def test_logits_losses_and_conditioning(stem: str) -> None:
    prior, tensors, meta, given = load(stem)
    out = prior(tensors["z"], **given)
    logits = out.logits
    if prior.config.lyrics == "sequence":
        logits = torch.cat([out.lyric_logits, logits], dim=1)
    close(logits, tensors["logits"], LOGITS_TOLERANCE)
    assert out.loss.item() == pytest.approx(meta["loss"], rel=1e-5)
    assert out.music_loss.item() == pytest.approx(meta["bpd"], rel=1e-5)
    if out.lyric_loss is not None:
        assert out.lyric_loss.item() == pytest.approx(meta["prime_loss"], rel=1e-5)
    assert [KINDS[kind] for kind in meta["attn_funcs"]] == list(prior.config.layer_kinds)

    conditioning = prior.condition(**given)
    if conditioning.start is not None:
        close(conditioning.start, tensors["y_cond"], 1e-6)
    if conditioning.positions is not None:
        close(conditioning.positions, tensors["x_cond"], 1e-5)
    if conditioning.encoder_states is not None:
        close(conditioning.encoder_states, tensors["encoder_kv"], 1e-5)
        close(out.lyric_logits, tensors["lyric_logits"], LOGITS_TOLERANCE)


@pytest.mark.parametrize("stem", FORWARD)
@torch.inference_mode()
def test_hidden_states_and_alignment(stem: str) -> None:
    prior, tensors, _, given = load(stem)
    stored = {
        int(name.rpartition("_")[2]) + 1: expected  # the original counts from 0
        for name, expected in tensors.items()
        if name.startswith("hidden_after_layer_")
    }
    if stored:
        found = prior(tensors["z"], **given, hidden_layers=list(stored)).hidden_states
        for hidden, expected in zip(found, stored.values(), strict=True):
            close(hidden, expected, LOGITS_TOLERANCE)
    if "alignment_layer_attn" in tensors:
        alignment = prior(tensors["z"], **given, alignment=True).alignment
        close(alignment, tensors["alignment_layer_attn"], 1e-5)


@pytest.mark.parametrize("stem", FORWARD)
@torch.inference_mode()
def test_greedy_sampling_with_a_cache(stem: str) -> None:
    prior, tensors, meta, given = load(stem)
    conditioning = prior.condition(**given)
    cache = prior.new_cache(len(tensors["z"]))
    for run in ("greedy", "greedy_primed", "greedy_partial"):
        if f"{run}_codes" not in tensors:
            continue
        primer = meta[run]["prefix_codes"]
        end = meta[run]["sample_tokens"] or prior.config.context_length
        tokens = prior.to_tokens(tensors["z"][:, :primer])
        logits = [prior.prefill(tokens, conditioning, cache)]
        for position in range(primer, end):
            chosen = logits[-1].argmax(-1)
            tokens = torch.cat([tokens, chosen.unsqueeze(1)], dim=1)
            if position + 1 < end:
                at = torch.tensor([position + 1])
                logits.append(prior.step(chosen, at, conditioning, cache))
        assert torch.equal(prior.to_codes(tokens), tensors[f"{run}_codes"])
        if f"{run}_logits" in tensors:
            expected = tensors[f"{run}_logits"][:, primer:]
            close(torch.stack(logits, dim=1), expected, LOGITS_TOLERANCE)


@pytest.mark.parametrize("stem", TRAIN)
def test_gradients(stem: str) -> None:
    tensors, meta = load_golden(stem)
    prior, inputs, _, given = load(stem.replace("_train", "_forward"))
    prior.zero_grad()
    out = prior(inputs["z"], **given)
    assert out.loss.item() == pytest.approx(meta["loss"], rel=1e-5)
    out.loss.backward()
    ours = dict(prior.named_parameters())
    targets = openai_targets(meta["grad_norms"])
    total = sum(parameter.grad.square().sum() for parameter in ours.values())
    assert total.sqrt().item() == pytest.approx(meta["grad_norm"], rel=1e-4)
    for name, norm in meta["grad_norms"].items():
        target = targets[name].name
        if target in ours:  # a tied output layer goes by its embedding's name
            assert ours[target].grad.norm().item() == pytest.approx(norm, rel=1e-4, abs=1e-6), name
    for name, expected in tensors.items():
        if name.startswith("grad."):
            target = openai_targets([name.removeprefix("grad.")]).popitem()[1]
            if target.name in ours:
                gradient = ours[target.name].grad
                close(gradient.T if target.transposed else gradient, expected, 1e-4)


def test_timing_bins() -> None:
    tensors, cases = load_golden("text/timing_bins")
    for case in cases:
        config = JukeboxPriorConfig(
            level=2,
            hop_length=case["length"] // case["n_time"],
            sampling_rate=case["sr"],
            context_length=case["n_time"],
            num_rows=1,
            artist_count=1,
            genre_count=1,
            genre_slots=1,
            timing_bins=case["t_bins"],
            min_total_seconds=case["min_duration"],
            max_total_seconds=case["max_duration"],
        )
        labels = JukeboxLabels(
            artist=torch.tensor([0]),
            genres=torch.tensor([[0]]),
            total_samples=torch.tensor([case["total_length"]]),
            offset_samples=torch.tensor([case["offset"]]),
        )
        bins = TimingEmbedding(config).bin_indices(labels)
        for name, ours in zip(("total", "absolute", "relative"), bins, strict=True):
            (expected,) = (
                value
                for key, value in tensors.items()
                if key.startswith(f"{case['key']}.") and name in key
            )
            assert torch.equal(ours[0], expected.long().flatten()), (case["key"], name)
