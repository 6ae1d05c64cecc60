"""Two processes with half the batch each train the codebooks that one process trains."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.vqvae.training_process import BATCH_SIZE, train

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of the two found."""
    folder = tmp_path_factory.mktemp("processes")
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.vqvae.training_process", str(rank), "2", str(folder)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    for process in processes:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize(("split", "shares"), [("even", [2, 2]), ("uneven", [1, 3])])
def test_two_processes_are_one(two_processes, split: str, shares: list[int]):
    alone = train(0, 1, shares=[BATCH_SIZE])
    first, second = (results[split] for results in two_processes)
    for one, other in zip(first["codebooks"], second["codebooks"], strict=True):
        for name in one:
            assert torch.equal(one[name], other[name]), name  # to the last bit
    for ours, theirs in zip(first["codebooks"], alone["codebooks"], strict=True):
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(first["entropies"], alone["entropies"])
    assert torch.equal(first["entropies"], second["entropies"])
    mean = (shares[0] * first["losses"] + shares[1] * second["losses"]) / BATCH_SIZE
    torch.testing.assert_close(mean, alone["losses"], rtol=1e-5, atol=1e-6)
