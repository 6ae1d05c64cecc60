"""Two processes with half the batch each train the codebooks that one process trains."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.vqvae.training_process import BATCH_SIZE, SHARES, train, train_together

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What this process and another one found."""
    folder = tmp_path_factory.mktemp("processes")
    command = [sys.executable, "-m", "tests.vqvae.training_process", "1", "2", str(folder)]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as other:
        try:
            ours = train_together(0, 2, folder)
            output, _ = other.communicate(timeout=60)
        finally:
            other.kill()
    assert other.returncode == 0, output
    return [ours, torch.load(folder / "1.pt", weights_only=True)]


@pytest.mark.parametrize("split", SHARES)
def test_two_processes_are_one(two_processes: list[dict[str, Any]], split: str):
    alone = train(0, shares=[BATCH_SIZE])
    first, second = (results[split] for results in two_processes)
    for one, other in zip(first["codebooks"], second["codebooks"], strict=True):
        for name in one:
            assert torch.equal(one[name], other[name]), name  # to the last bit
    for ours, theirs in zip(first["codebooks"], alone["codebooks"], strict=True):
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(first["entropies"], alone["entropies"])
    assert torch.equal(first["entropies"], second["entropies"])
    shares = SHARES[split]
    mean = (shares[0] * first["losses"] + shares[1] * second["losses"]) / BATCH_SIZE
    torch.testing.assert_close(mean, alone["losses"], rtol=1e-5, atol=1e-6)
