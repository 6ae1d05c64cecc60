"""Metrics on held-out examples against brute force."""

import math
from collections import Counter

import pytest
import torch

from jukebox_hf.training.evaluation import PriorBatch, evaluate_codec, evaluate_prior
from tests.prior.tiny_priors import inputs, tiny_prior
from tests.vqvae.codecs import noise, tiny_codec


def test_codec_losses_are_means_over_clips_however_they_are_batched() -> None:
    codec = tiny_codec()
    clips = noise(7, 1, 64)
    whole = evaluate_codec(codec, [clips])
    parts = evaluate_codec(codec, [clips[:4], clips[4:]])
    single = evaluate_codec(codec, [clip[None] for clip in clips])
    for name, value in whole.scalars().items():
        assert parts.scalars()[name] == pytest.approx(value, rel=1e-4), name
        assert single.scalars()[name] == pytest.approx(value, rel=1e-4), name


def test_codec_metrics_against_brute_force() -> None:
    codec = tiny_codec()
    clips = noise(5, 1, 64)
    found = evaluate_codec(codec, [clips[:2], clips[2:]])
    with torch.no_grad():
        outputs = [codec(clip[None]) for clip in clips]
    assert found.loss == pytest.approx(sum(o.loss.item() for o in outputs) / 5, rel=1e-5)
    assert found.seconds == pytest.approx(5 * 64 / 100)
    for level, measured in enumerate(found.levels):
        ratios = [o.metrics.spectral_convergence[level].item() for o in outputs]
        expected = 20 * math.log10(sum(ratios) / 5)
        assert measured.spectral_convergence_db == pytest.approx(expected, rel=1e-4)
        codes = Counter(code for o in outputs for code in o.codes[level].flatten().tolist())
        total = sum(codes.values())
        entropy = -sum(n / total * math.log2(n / total) for n in codes.values())
        assert measured.entropy_bits == pytest.approx(entropy, abs=1e-6)
        assert measured.perplexity == pytest.approx(2**entropy)
        assert measured.used_share == pytest.approx(len(codes) / 16)
        assert found.code_counts[level].sum() == total


def test_evaluating_leaves_the_mode_and_the_codebooks_alone() -> None:
    codec = tiny_codec().train()
    before = {name: value.clone() for name, value in codec.state_dict().items()}
    evaluate_codec(codec, [noise(2, 1, 64)])
    assert codec.training
    assert all(torch.equal(before[name], value) for name, value in codec.state_dict().items())


def test_an_unquantized_codec_uses_no_codes() -> None:
    found = evaluate_codec(tiny_codec(), [noise(2, 1, 64)], quantize=False)
    assert found.levels[0].perplexity == 0
    assert found.levels[0].used_share == 0


@pytest.mark.parametrize(
    "architecture", ["plain", "upsampler", "lyrics_encoder", "lyrics_sequence"]
)
def test_prior_metrics_against_brute_force(architecture: str) -> None:
    prior = tiny_prior(architecture)
    batches = []
    for seed, size in ((1, 3), (2, 2)):
        codes, given = inputs(prior, size, seed=seed)
        batches.append(PriorBatch(codes, **given))
    found = evaluate_prior(prior, batches)
    with torch.no_grad():
        outputs = [prior(batch.codes, **{k: v for k, v in batch.conditioning().items()
                                         if v is not None}) for batch in batches]  # fmt: skip
    weights = (3 / 5, 2 / 5)
    music = sum(w * o.music_loss.item() for w, o in zip(weights, outputs, strict=True))
    assert found.bits_per_code == pytest.approx(music, rel=1e-5)
    config = prior.config
    expected = music * config.sampling_rate / config.hop_length
    assert found.bits_per_second == pytest.approx(expected, rel=1e-5)
    assert found.windows == 5
    assert (found.lyric_bits is None) == (config.lyrics == "none")
    if found.lyric_bits is not None:
        lyrics = sum(w * o.lyric_loss.item() for w, o in zip(weights, outputs, strict=True))
        assert found.lyric_bits == pytest.approx(lyrics, rel=1e-5)
    counts = Counter(torch.cat([batch.codes for batch in batches]).flatten().tolist())
    total = sum(counts.values())
    unigram = -sum(n / total * math.log2(n / total) for n in counts.values())
    assert found.unigram_bits == pytest.approx(unigram, rel=1e-6)


def test_wrong_labels_are_those_of_the_next_window_that_has_others() -> None:
    prior = tiny_prior("top")
    codes, given = inputs(prior, 4)
    labels = given["labels"]._replace(
        artist=torch.tensor([1, 1, 2, 1]), genres=torch.tensor([[0, -1]] * 4)
    )
    found = evaluate_prior(prior, [PriorBatch(codes, labels)], compare_labels=True)
    swapped = labels._replace(artist=torch.tensor([2, 2, 1, 2]))
    with torch.no_grad():
        expected = prior(codes, labels=swapped).music_loss.item()
    assert found.wrong_label_bits == pytest.approx(expected, rel=1e-5)


def test_windows_that_cannot_be_compared_are_on_neither_side_of_the_comparison() -> None:
    prior = tiny_prior("top")
    codes, given = inputs(prior, 4)
    labels = given["labels"]._replace(
        artist=torch.tensor([1, 2, 1, 1]), genres=torch.tensor([[0, -1]] * 4)
    )
    parts = [PriorBatch(codes[rows], labels.select(rows)) for rows in (slice(2), slice(2, 4))]
    found = evaluate_prior(prior, parts, compare_labels=True)
    assert found.wrong_label_bits is not None
    swapped = labels._replace(artist=torch.tensor([2, 1, 1, 1]))
    with torch.no_grad():
        right, wrong = (
            prior(codes[:2], labels=each.select(slice(2))).music_loss.item()
            for each in (labels, swapped)
        )
    assert found.wrong_label_bits - found.bits_per_code == pytest.approx(wrong - right, abs=1e-5)


def test_windows_that_all_have_the_same_labels_cannot_be_compared() -> None:
    prior = tiny_prior("top")
    codes, given = inputs(prior, 3)
    same = given["labels"]._replace(
        artist=torch.tensor([1, 1, 1]), genres=torch.tensor([[0, -1]] * 3)
    )
    batch = PriorBatch(codes, same)
    assert evaluate_prior(prior, [batch], compare_labels=True).wrong_label_bits is None


def test_nothing_to_evaluate_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing to evaluate on"):
        evaluate_codec(tiny_codec(), [])
    with pytest.raises(ValueError, match="nothing to evaluate on"):
        evaluate_prior(tiny_prior("plain"), [])
