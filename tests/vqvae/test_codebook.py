"""The codebook against brute force, and what may and may not change it."""

import copy
import hashlib
import math

import pytest
import torch
from torch import Tensor

from jukebox_hf.vqvae import codebook as codebook_module
from jukebox_hf.vqvae.codebook import Codebook, codebook_fingerprint

SIZE, DIM = 8, 3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def new_codebook(*, restored: bool = True, threshold: float = 1.0) -> Codebook:
    torch.manual_seed(0)
    codebook = Codebook(SIZE, DIM, decay=0.9, revival_threshold=threshold)
    if restored:
        codebook.restore(40)
    return codebook


def latents_of(batch: int, time: int, seed: int = 1) -> Tensor:
    return torch.randn(batch, time, DIM, generator=generator(seed))


def state(codebook: Codebook) -> dict[str, Tensor]:
    return copy.deepcopy(codebook.state_dict())


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def brute_force_step(codebook: Codebook, rows: Tensor, restarts: Tensor) -> dict[str, Tensor]:
    """One training step, latent by latent."""
    vectors, sums, counts = (
        tensor.clone() for tensor in (codebook.vectors, codebook.sums, codebook.counts)
    )
    batch_sums, batch_counts = torch.zeros_like(sums), torch.zeros_like(counts)
    for row in rows:
        distances = [float((row - vector).square().sum()) for vector in vectors]
        nearest = distances.index(min(distances))
        batch_sums[nearest] += row
        batch_counts[nearest] += 1
    for code in range(SIZE):
        sums[code] = 0.9 * sums[code] + 0.1 * batch_sums[code]
        counts[code] = 0.9 * counts[code] + 0.1 * batch_counts[code]
        is_alive = counts[code] >= codebook.revival_threshold
        vectors[code] = sums[code] / counts[code] if is_alive else restarts[code]
    return {"vectors": vectors, "sums": sums, "counts": counts, "batch_counts": batch_counts}


@pytest.mark.parametrize("max_distances", [1, SIZE, 5 * SIZE, 10**6])
def test_the_nearest_code_is_found_however_the_rows_are_cut(
    max_distances: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(codebook_module, "MAX_DISTANCES", max_distances)
    codebook, latents = new_codebook(), latents_of(2, 13)
    expected = torch.cdist(latents, codebook.vectors[None]).argmin(dim=-1)
    quantized = codebook(latents)
    assert torch.equal(quantized.codes, expected)
    assert torch.equal(quantized.vectors, codebook.vectors[expected])
    assert quantized.metrics is None


def test_of_equally_near_codes_the_first_is_taken():
    codebook = new_codebook()
    codebook.vectors[5] = codebook.vectors[2]
    codebook.vectors[7] = codebook.vectors[2]
    assert codebook(codebook.vectors[None]).codes.tolist() == [[0, 1, 2, 3, 4, 2, 6, 2]]


def test_codes_are_looked_up():
    codebook = new_codebook()
    codes = torch.tensor([[0, 7, 7], [1, 2, 3]])
    assert torch.equal(codebook(codes).vectors, codebook.vectors[codes])


@pytest.mark.parametrize("max_distances", [SIZE, 10**6])
def test_training_steps_are_brute_force(max_distances: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(codebook_module, "MAX_DISTANCES", max_distances)
    codebook = new_codebook(threshold=2.0)
    codebook.vectors[3] += 100  # far from everything: it will die
    codebook.restore(40)
    revived = False
    for step in range(12):
        latents = latents_of(4, 10, seed=step)
        rows = latents.reshape(-1, DIM)
        restarts = codebook.restart_candidates(rows, generator(step))
        before = codebook.vectors.clone()
        expected = brute_force_step(codebook, rows, restarts)
        metrics = codebook(latents, learn=True, generator=generator(step)).metrics
        for name in ("vectors", "sums", "counts"):
            torch.testing.assert_close(
                getattr(codebook, name), expected[name], rtol=1e-5, atol=1e-6
            )
        revived |= torch.equal(codebook.vectors[3], restarts[3])

        shares = [float(count) / 40 for count in expected["batch_counts"]]
        entropy = -sum(share * math.log(share + 1e-8) for share in shares)
        assert metrics.entropy.item() == pytest.approx(entropy, rel=1e-5)
        assert metrics.used_codes == (expected["batch_counts"] >= 2).sum()
        assert metrics.alive_codes == (expected["counts"] >= 2).sum()
        change = (expected["vectors"] - before).square().mean().sqrt()
        assert metrics.change.item() == pytest.approx(change.item(), rel=1e-4)
        distances = torch.cdist(rows, before).square().min(dim=-1).values
        assert metrics.fit.item() == pytest.approx(distances.mean().item(), rel=1e-4)
        assert metrics.prenorm.item() == pytest.approx(rows.std(correction=0).item(), rel=1e-5)
    assert revived


def test_a_step_returns_the_codes_and_vectors_before_it():
    codebook, latents = new_codebook(), latents_of(2, 20)
    before = codebook(latents)
    stepped = codebook(latents, learn=True)
    assert torch.equal(stepped.codes, before.codes)
    assert torch.equal(stepped.vectors, before.vectors)
    assert not torch.equal(codebook.vectors[before.codes], before.vectors)


def test_without_learning_nothing_changes():
    codebook = new_codebook().train()
    before = state(codebook)
    codebook(latents_of(2, 20))
    codebook(torch.zeros(1, 4, dtype=torch.long))
    assert_same(state(codebook), before)


def test_the_first_batch_becomes_the_codebook():
    codebook, latents = new_codebook(restored=False), latents_of(2, 20)
    codebook.revival_threshold = 0.1  # every code's count starts at 1, and is at least 0.9
    assert not codebook.initialized
    rows = latents.reshape(-1, DIM)
    first = codebook.restart_candidates(rows, generator(5))
    assert all((rows == vector).all(dim=-1).any() for vector in first)
    assert len(first.unique(dim=0)) == SIZE
    quantized = codebook(latents, learn=True, generator=generator(5))
    assert codebook.initialized
    assert torch.equal(quantized.vectors, first[quantized.codes])
    nearest = torch.cdist(rows, first).argmin(dim=-1)
    assert torch.equal(quantized.codes.flatten(), nearest)
    before = codebook.vectors.clone()
    codebook(100 + latents, learn=True)  # a second batch only moves it
    assert (codebook.vectors - before).abs().max() < 100


def test_latents_fewer_than_codes_are_repeated_with_a_little_noise():
    codebook = new_codebook()
    rows = 100 * latents_of(1, 3)[0]
    candidates = codebook.restart_candidates(rows, generator())
    assert candidates.shape == (SIZE, DIM)
    distances, sources = torch.cdist(candidates, rows).min(dim=-1)
    assert distances.min() > 0
    assert distances.max() < 0.1
    assert sources.bincount(minlength=3).tolist() in ([2, 3, 3], [3, 2, 3], [3, 3, 2])
    assert len(candidates.unique(dim=0)) == SIZE


def test_restarts_follow_the_generator():
    codebook, rows = new_codebook(), latents_of(1, 20)[0]
    one = codebook.restart_candidates(rows, generator(3))
    assert torch.equal(one, codebook.restart_candidates(rows, generator(3)))
    assert not torch.equal(one, codebook.restart_candidates(rows, generator(4)))


def test_restoring_assumes_even_use():
    codebook = new_codebook(restored=False)
    codebook.restore(4 * SIZE)
    assert torch.equal(codebook.counts, torch.full((SIZE,), 4.0))
    assert torch.equal(codebook.sums, 4 * codebook.vectors)
    codebook.restore()
    assert torch.equal(codebook.counts, torch.ones(SIZE))
    assert torch.equal(codebook.sums, codebook.vectors)
    assert codebook.sums.data_ptr() != codebook.vectors.data_ptr()


def test_resumed_training_goes_on_as_if_never_stopped():
    codebook = new_codebook(restored=False)
    codebook(latents_of(2, 20), learn=True, generator=generator(0))
    resumed = new_codebook(restored=False)
    resumed.load_state_dict(codebook.state_dict())
    for each in (codebook, resumed):
        each(latents_of(2, 20, seed=2), learn=True, generator=generator(1))
    assert_same(state(codebook), state(resumed))


@pytest.mark.parametrize("names", [["vectors"], ["vectors", "sums", "counts", "initialized"]])
def test_training_never_wipes_a_loaded_codebook(names: list[str]):
    source = new_codebook()
    codebook = new_codebook(restored=False)
    codebook.load_state_dict({name: getattr(source, name) for name in names}, strict=False)
    assert codebook.initialized
    latents = latents_of(2, 20)
    quantized = codebook(latents, learn=True)
    assert torch.equal(quantized.vectors, source.vectors[quantized.codes])
    # With counts of 40 / 8 (given, or assumed from this batch) no code dies at once.
    assert (codebook.counts >= 0.9 * 5).all()


def test_loading_after_training_began_is_noticed():
    codebook = new_codebook(restored=False)
    codebook(latents_of(2, 20), learn=True)
    codebook.load_state_dict({"vectors": new_codebook().vectors}, strict=False)
    codebook(latents_of(2, 20), learn=True)
    assert (codebook.counts >= 0.9 * 5).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("restored", [True, False])
def test_latents_that_overflowed_change_nothing(bad: float, restored: bool):
    codebook, latents = new_codebook(restored=restored), latents_of(2, 20)
    latents[1, 3, 0] = bad
    codebook(latents, learn=True)
    before = state(new_codebook(restored=restored))
    if restored:
        assert_same(state(codebook), before)
    else:
        assert torch.equal(codebook.vectors, before["vectors"])
        assert not codebook.initialized
        codebook(latents_of(2, 20), learn=True)
        assert codebook.initialized


def test_codes_are_found_in_float32_also_under_autocast_and_for_16_bit_latents():
    torch.manual_seed(0)
    codebook = Codebook(256, DIM, decay=0.9, revival_threshold=1.0).bfloat16()
    assert codebook.vectors.dtype == codebook.sums.dtype == torch.float32
    latents = latents_of(2, 50).bfloat16()
    expected = codebook(latents.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        quantized = codebook(latents)
    assert torch.equal(quantized.codes, expected.codes)
    assert quantized.vectors.dtype == torch.float32


def test_the_fingerprint_is_the_hash_of_the_bytes():
    tables = [torch.tensor([[1.0, -2.5]]), torch.tensor([[0.1]])]
    data = b"".join(table.numpy().astype("<f4").tobytes() for table in tables)
    assert codebook_fingerprint(tables) == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert codebook_fingerprint(reversed(tables)) != codebook_fingerprint(tables)
    tables[1] = tables[1].nextafter(torch.tensor(1.0))
    assert codebook_fingerprint(tables) != f"sha256:{hashlib.sha256(data).hexdigest()}"
