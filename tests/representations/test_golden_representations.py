"""Numbers of jukemirlib, the jukemir paper code, EDGE and Sheet Sage, from converted checkpoints.

Everything is read from the metadata: other golden sets have other files, sizes and layers.
"""

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from jukebox_hf import JukeboxEmbedder, load_audio
from jukebox_hf.hub import convert
from jukebox_hf.hub.system import System
from jukebox_hf.prior.conditioning import TimingEmbedding
from jukebox_hf.prior.configuration_prior import JukeboxPriorConfig
from jukebox_hf.representations.embedding_windows import Timing, fixed_timing
from jukebox_hf.representations.frames import num_frames, resample_states
from jukebox_hf.representations.inputs import ArrayInput, AudioInput
from jukebox_hf.representations.passes import unknown_labels
from tests.golden_data import golden, golden_stems, load_golden, load_json

CASES = [
    stem
    for stem in golden_stems("representations/*")
    if "samples_after_loading" in load_json(f"{stem}.json")
]
STATES, POOLED, FLOAT16 = 4e-5, 1e-5, 4e-2  # absolute
Loaded = tuple[dict[str, Tensor], dict[str, Any]]


@functools.cache
def system() -> System:
    """The tiny models that made these numbers, converted."""
    folder = Path(tempfile.mkdtemp(prefix="jukebox-golden-"))
    priors = golden("openai/5b/prior_level_2.pth.tar")
    convert((golden("openai/5b/vqvae.pth.tar"), priors), folder / "system")
    return System.open(folder / "system")


@functools.cache
def embedder(
    precision: str = "float32", like: str = "jukemirlib", **settings: Any
) -> JukeboxEmbedder:
    """All layers of them."""
    depth = system().prior_config(2).depth
    return JukeboxEmbedder.from_pretrained(
        system(),
        layers=range(1, depth + 1),
        like=like,
        precision=precision,
        device="cpu",
        **settings,
    )


def close(ours: NDArray[Any] | Tensor, theirs: Tensor, tolerance: float) -> None:
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(np.asarray(ours), theirs.numpy(), rtol=0, atol=tolerance)


def load(stem: str) -> tuple[dict[str, Tensor], dict[str, Any], Path, dict[str, float]]:
    tensors, meta = load_golden(stem)
    part = {}
    if "load_offset" in meta:
        start = meta["load_offset"]
        part = {"start_seconds": start, "end_seconds": start + meta["load_duration"]}
    return tensors, meta, golden(f"representations/{meta['file']}"), part


@pytest.mark.parametrize("stem", CASES)
def test_codes_states_means_and_frames_of_a_file(stem: str) -> None:
    tensors, meta, path, part = load(stem)
    found = embedder()(path, **part)
    assert np.array_equal(found.codes, tensors["codes"])
    for layer in meta["layers"]:
        close(found[layer], tensors[f"layer_{layer}"], STATES)
    several = meta["several"]
    pooled = embedder()(path, pool="mean", **part)
    close(pooled.stacked(), tensors["pooled"], POOLED)
    for rate in meta["rates"]:
        frames = embedder()(path, layers=several, rate=rate, **part)
        assert frames[several[0]].shape[0] == meta["frames"][str(rate)]
        for layer in several:
            close(frames[layer], tensors[f"rate_{rate}_layer_{layer}"], STATES)
        means = np.stack([frames[layer].mean(axis=0) for layer in several])
        close(means, tensors[f"rate_{rate}_pooled"], POOLED)
    for layer in several:
        if f"paper_pooled_layer_{layer}" in tensors:
            close(pooled[layer], tensors[f"paper_pooled_layer_{layer}"], POOLED)


@pytest.mark.parametrize("stem", CASES)
def test_audio_that_was_loaded_before_is_taken_as_it_is(stem: str) -> None:
    tensors, _, _, _ = load(stem)
    found = embedder()(tensors["audio"].numpy(), layers=[1])
    assert np.array_equal(found.codes, tensors["codes"])
    close(found[1], tensors["layer_1"], STATES)


@pytest.mark.parametrize("stem", CASES)
def test_half_precision(stem: str) -> None:
    tensors, meta, path, part = load(stem)
    found = embedder("float16")(path, **part)
    pooled = embedder("float16")(path, pool="mean", layers=meta["several"], **part)
    for index, layer in enumerate(meta["several"]):
        close(found[layer], tensors[f"float16_layer_{layer}"].float(), FLOAT16)
        close(pooled[layer], tensors["float16_pooled"][index], FLOAT16)
        name = f"float16_rate_30_layer_{layer}"
        if name in tensors:
            frames = embedder("float16")(path, layers=[layer], rate=30, **part)
            close(frames[layer], tensors[name].float(), FLOAT16)


def test_a_batch_and_what_it_is_told() -> None:
    tensors, meta = load_golden("representations/batch")
    audio = [ArrayInput(str(row), one) for row, one in enumerate(tensors["audio"].numpy())]
    found = embedder()(audio, layers=meta["several"])
    frames = embedder()(audio, layers=meta["several"], rate=30)
    for layer in meta["several"]:
        close(found[layer], tensors[f"layer_{layer}"], STATES)
        close(frames[layer], tensors[f"rate_30_layer_{layer}"], STATES)
    means = embedder()(audio, layers=meta["several"], pool="mean")
    for layer in meta["several"]:
        close(means[layer], tensors[f"layer_{layer}"].mean(dim=1), POOLED)


def test_labels_and_what_becomes_of_them() -> None:
    tensors, meta = load_golden("representations/conditioning")
    prior = embedder().prior
    config = prior.config
    timing = fixed_timing(
        config.min_total_seconds, config.sampling_rate, config.hop_length, config.window_samples
    )
    assert timing == (meta["total_samples"], 0)
    row = tensors["label_row"][0]
    labels = unknown_labels(config, [timing])
    assert [labels.total_samples[0], labels.offset_samples[0]] == row[:2].tolist()
    assert labels.artist[0] == row[3]
    assert labels.genres[0].tolist() == row[4:].tolist()
    with torch.no_grad():
        given = prior.condition(labels=labels)
    close(given.start, tensors["start_vector"], 1e-6)
    close(given.positions, tensors["position_conditioning"], 1e-6)


def test_dance_features() -> None:
    """Slices cut from the file, and slices that were written as 16-bit audio first."""
    tensors, meta = load_golden("representations/dance")
    path = golden(f"representations/{meta['file']}")
    settings = {
        "layers": [meta["layer"]],
        "rate": meta["rate"],
        "window_seconds": meta["length_seconds"],
        "stride_seconds": meta["stride_seconds"],
        "normalize": "window",
    }
    for kind, through_16_bit in (("slice", True), ("cut", False)):
        found = embedder()(path, **settings, round_to_16_bit=through_16_bit)
        assert np.array_equal(found.codes, tensors[f"{kind}_codes"])
        close(found[meta["layer"]], tensors[f"{kind}_frames"], STATES)
        assert found[meta["layer"]].shape[0] == meta["slices"]
        starts = np.arange(meta["slices"]) * meta["stride_seconds"]
        np.testing.assert_allclose(found.times[:, 0], starts, atol=1e-9)
    lengths = {name: settings[name] for name in ("window_seconds", "stride_seconds")}
    found = embedder(like="edge", **lengths)(path, layers=[meta["layer"]])
    close(found[meta["layer"]], tensors["slice_frames"], STATES)


@pytest.mark.parametrize("name", ["whole", "part"])
def test_adjacent_windows_with_true_timing(name: str) -> None:
    tensors, meta = load_golden("representations/chunked")
    run = meta["runs"][name]
    path = golden(f"representations/{run['file']}")
    part = {}
    if "offset" in run:
        part = {
            "start_seconds": run["offset"],
            "end_seconds": run["offset"] + run["duration"],
        }
    sheetsage = embedder(like="sheetsage")
    settings = sheetsage.with_changes({"layers": [meta["layer"]], **part})
    prepared = sheetsage.preparation(settings)(AudioInput.of_file(path))
    (piece,) = prepared.pieces
    assert torch.equal(piece.codes, tensors[f"{name}.codes"])
    assert len(piece.windows) == run["windows"]
    rows = tensors[f"{name}.label_rows"]
    assert [list(timing) for timing in piece.timings] == rows[:, :2].tolist()
    (found,) = sheetsage.embed([prepared], settings)
    assert len(found[meta["layer"]]) == run["codes_kept"]
    close(found[meta["layer"]], tensors[f"{name}.layer_{meta['layer']}"], STATES)


def resampling_cases() -> list[dict[str, Any]]:
    if not golden_stems("representations/resampling"):
        return []
    cases: list[dict[str, Any]] = load_json("representations/resampling.json")["cases"]
    return cases


@pytest.mark.parametrize("case", resampling_cases(), ids=lambda case: case["output"])
def test_fourier_resampling(case: dict[str, Any]) -> None:
    tensors, meta = load_golden("representations/resampling")
    states = tensors[case["input"]]
    frames = num_frames(len(states), case["rate"], meta["code_rate"])
    assert frames == case["frames"]
    found = resample_states(states, frames)
    bound = 5e-4 if states.dtype == torch.float16 else 2e-6
    assert found.dtype == states.dtype
    close(found.float(), tensors[case["output"]].float(), bound * float(states.abs().max()))


def test_labels_bins_and_frames_at_released_sizes() -> None:
    tensors, meta = load_golden("representations/released")
    config = JukeboxPriorConfig.preset("5b")
    timing = fixed_timing(
        config.min_total_seconds, config.sampling_rate, config.hop_length, config.window_samples
    )
    theirs = meta["jukemirlib"]
    assert timing == (theirs["total_samples"], theirs["offset_samples"])
    with torch.device("meta"):
        tables = TimingEmbedding(config)
    cases = {"jukemirlib": timing}
    cases["song"] = Timing(meta["song"]["total_samples"], meta["song"]["offset_samples"])
    for name, told in cases.items():
        labels = unknown_labels(config, [told])
        assert labels.genres[0].tolist() == theirs["genre_ids"]
        bins = tables.bin_indices(labels)
        for kind, found in zip(("total", "absolute", "relative"), bins, strict=True):
            assert torch.equal(found[0], tensors[f"{name}_{kind}_bin"])
    for length in meta["lengths"]:
        codes = min(length["samples"] // config.hop_length, config.context_length)
        assert codes == length["codes"]
        for rate, frames in length["frames"].items():
            assert num_frames(codes, float(rate), meta["code_rate"]) == frames


def test_the_older_resampler_gives_its_own_codes() -> None:
    """As the paper's code reads files: fewer equal codes is what the golden data counts."""
    for stem in CASES:
        tensors, meta, path, part = load(stem)
        if "codes_that_differ_with_kaiser_best" not in meta:
            continue
        found = embedder(like="jukemir")(path, pool="none", layers=[1], **part)
        differing = int((torch.from_numpy(found.codes) != tensors["codes"]).sum())
        assert differing == meta["codes_that_differ_with_kaiser_best"]
        assert load_audio(path, 44100).ndim == 2
