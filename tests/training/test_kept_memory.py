"""Memory that a training step frees is there for the next one."""

import os
import platform
from collections.abc import Callable

import pytest
import torch

from jukebox_hf.training.kept_memory import LARGE_PAGES, ask_for_large_pages, kept_memory

NUMBERS = 16 * 2**20  # 64 MB, more than glibc keeps by itself
PAGES_OF_A_BLOCK = NUMBERS * 4 // 2**21  # if the system gives large ones
CPU = torch.device("cpu")
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library's malloc")


def make_and_free() -> None:
    torch.ones(NUMBERS)


def faults_of(run: Callable[[], object]) -> int:
    """How many pages the system had to give meanwhile."""
    import resource  # not on Windows

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    run()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.fixture(autouse=True)
def undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of malloc in the environment."""
    for name in [*os.environ]:
        if name.startswith("MALLOC_") or name in ("GLIBC_TUNABLES", LARGE_PAGES):
            monkeypatch.delenv(name)


@glibc
def test_a_block_that_was_freed_is_not_asked_of_the_system_again() -> None:
    with kept_memory(CPU):
        torch.ones(2 * NUMBERS)  # room also for what glibc puts around an aligned block
        again = faults_of(make_and_free)
    assert again < PAGES_OF_A_BLOCK / 2
    make_and_free()
    assert faults_of(make_and_free) >= PAGES_OF_A_BLOCK


@glibc
@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_what_the_user_has_set_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    with kept_memory(CPU):
        make_and_free()
        assert faults_of(make_and_free) >= PAGES_OF_A_BLOCK


@glibc
def test_work_on_other_devices_leaves_the_memory_of_the_host_alone() -> None:
    with kept_memory(torch.device("cuda")):
        make_and_free()
        assert faults_of(make_and_free) >= PAGES_OF_A_BLOCK


@glibc
def test_large_pages_are_asked_for_unless_the_user_said_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LARGE_PAGES, "0")
    ask_for_large_pages()
    assert os.environ[LARGE_PAGES] == "0"
    monkeypatch.delenv(LARGE_PAGES)
    ask_for_large_pages()
    assert os.environ[LARGE_PAGES] == "1"
