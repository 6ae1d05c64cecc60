"""Two processes with half the batch each give what one gives with all of it (gloo, on CPUs)."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from jukebox_hf.training.checkpoints import find_checkpoints
from jukebox_hf.training.reports import read_log
from tests.training import in_two_processes, in_two_shards
from tests.training.tiny_runs import assert_same_bits

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def run_in_two_processes(module: str, *arguments: str) -> None:
    """Run a module twice, as a launcher would; its output is shown if it fails."""
    environment = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": "2",
        "ACCELERATE_USE_CPU": "1",
        "OMP_NUM_THREADS": "1",
    }
    running = [
        subprocess.Popen(
            [sys.executable, "-m", module, *(text.format(rank=rank) for text in arguments)],
            cwd=ROOT,
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for rank in range(2)
    ]
    for process in running:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output.decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes leave behind."""
    folder = tmp_path_factory.mktemp("two")
    run_in_two_processes(in_two_processes.__name__, str(folder), "{rank}", "2")
    return folder


@pytest.mark.parametrize("name", ["codec", "prior"])
def test_all_processes_have_the_same_model(folder: Path, name: str) -> None:
    """Codebooks and their averages too, to the last bit."""
    first, second = (load_file(folder / f"{name}_{rank}.safetensors") for rank in range(2))
    assert_same_bits(first, second)


def test_two_processes_with_half_the_batch_equal_one(folder: Path, tmp_path: Path) -> None:
    in_two_processes.main(tmp_path, 0, 1)
    for name in ("codec", "prior"):
        together = load_file(folder / f"{name}_0.safetensors")
        alone = load_file(tmp_path / f"{name}_0.safetensors")
        assert set(together) == set(alone)
        for key, value in alone.items():
            torch.testing.assert_close(together[key], value, rtol=1e-3, atol=1e-5, msg=key)
        ours, theirs = (read_log(where / name, "train") for where in (folder, tmp_path))
        assert [event["step"] for event in ours] == [1, 2, 3, 4]
        for mine, other in zip(ours, theirs, strict=True):
            assert mine["loss"] == pytest.approx(other["loss"], rel=1e-4)
            assert mine["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-3)


def test_one_process_writes(folder: Path) -> None:
    assert [path.name for path in find_checkpoints(folder / "codec" / "checkpoints")] == [
        "step_00000002",
        "step_00000004",
    ]
    assert len(read_log(folder / "codec", "end")) == 1


@pytest.mark.slow
def test_divided_parameters_train_save_and_resume_like_whole_ones(tmp_path: Path) -> None:
    """What FSDP does to parameters; Accelerate's own FSDP runs on GPUs only."""
    run_in_two_processes(in_two_shards.__name__, str(tmp_path))
    alone = in_two_shards.Run(sharded=False)
    for _ in range(3):
        alone.step()
    together = load_file(tmp_path / "sharded.safetensors")
    expected = alone.weights()
    assert set(together) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(together[name], value, rtol=1e-4, atol=1e-6, msg=name)
    resumed = in_two_shards.Run(sharded=False)
    resumed.load(tmp_path / "step_00000002")  # also on one process
    resumed.step()
    for name, value in resumed.weights().items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6, msg=name)
