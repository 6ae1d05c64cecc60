"""How codebooks start, when codes count as dead, and what collapse looks like."""

import math

import pytest
import torch

from jukebox_hf.training.codebooks import (
    codebooks,
    draw_rows,
    entropy_nats,
    set_revival_thresholds,
    start_codebooks,
    steps_for_kmeans,
)
from tests.vqvae.codecs import noise, tiny_codec


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_rows_are_drawn_once_each_and_repeated_only_if_there_are_too_few() -> None:
    rows = torch.arange(20.0)[:, None].expand(20, 3)
    drawn = draw_rows(rows, 16, generator())
    assert len(drawn[:, 0].unique()) == 16
    few = draw_rows(rows[:5], 16, generator())
    assert few.shape == (16, 3)
    assert set(few[:, 0].round().tolist()) == {0.0, 1.0, 2.0, 3.0, 4.0}
    assert len(few[:, 0].unique()) == 16  # repeated with a little noise


def test_random_starts_are_latents_and_count_once_like_the_originals() -> None:
    codec = tiny_codec()
    latents = [noise(40, 4, seed=level) for level in range(3)]
    start_codebooks(codec, latents, kmeans_steps=0, samples_per_step=256, generator=generator())
    for codebook, rows in zip(codebooks(codec), latents, strict=True):
        assert bool(codebook.initialized)
        assert torch.equal(codebook.counts, torch.ones(16))
        assert torch.equal(codebook.sums, codebook.vectors)
        assert all((rows == vector).all(dim=1).any() for vector in codebook.vectors)


def test_kmeans_finds_clusters_that_random_rows_miss() -> None:
    centres = 10 * torch.randn(16, 4, generator=generator(1))
    rows = (centres[:, None] + 0.01 * torch.randn(16, 20, 4, generator=generator(2))).flatten(0, 1)
    found = {}
    for steps in (0, 30):
        codec = tiny_codec()
        start_codebooks(
            codec, [rows] * 3, kmeans_steps=steps, samples_per_step=640, generator=generator()
        )
        codebook = codebooks(codec)[0]
        _, distances = codebook.nearest(rows)
        found[steps] = distances.mean().item()
        assert found[steps] >= 0
    assert found[30] < 0.5 * found[0]
    assert torch.allclose(codebook.counts, torch.full((16,), 640 / 2 / 16))


def test_kmeans_rounds_are_lloyds() -> None:
    """Against brute force, where every code has rows."""
    codec = tiny_codec(codebook_size=3)
    rows = noise(30, 4, seed=3)
    start_codebooks(codec, [rows] * 3, kmeans_steps=1, samples_per_step=64, generator=generator())
    start = draw_rows(rows, 3, generator())
    nearest = torch.cdist(rows, start).argmin(dim=1)
    expected = torch.stack([rows[nearest == code].mean(dim=0) for code in range(3)])
    torch.testing.assert_close(codebooks(codec)[0].vectors, expected)


def test_dead_codes_are_those_used_much_less_than_others() -> None:
    codec = tiny_codec()  # hops 2, 8, 16, and 16 codes
    set_revival_thresholds(codec, 64, None)
    thresholds = [codebook.revival_threshold for codebook in codebooks(codec)]
    assert thresholds == pytest.approx([0.15 * 32 / 16, 0.15 * 8 / 16, 0.15 * 4 / 16])
    set_revival_thresholds(codec, 10**6, None)
    assert [codebook.revival_threshold for codebook in codebooks(codec)] == [1.0, 1.0, 1.0]
    set_revival_thresholds(codec, 64, 0.0)
    assert [codebook.revival_threshold for codebook in codebooks(codec)] == [0.0, 0.0, 0.0]


def test_kmeans_sees_several_latents_per_code_but_not_without_end() -> None:
    codec = tiny_codec()
    assert steps_for_kmeans(codec, 16 * 16 * 16) == 1
    assert steps_for_kmeans(codec, 16 * 16) == 16
    assert steps_for_kmeans(codec, 1) == 64


def test_a_codec_without_codebooks_says_so() -> None:
    with pytest.raises(ValueError, match="it has no codebooks"):
        codebooks(tiny_codec(use_codebook=False))


def test_entropy() -> None:
    assert entropy_nats(torch.tensor([5, 5, 5, 5])) == pytest.approx(math.log(4))
    assert str(entropy_nats(torch.tensor([7, 0, 0]))) == "0.0"  # and not -0.0
    assert entropy_nats(torch.zeros(3)) == 0
