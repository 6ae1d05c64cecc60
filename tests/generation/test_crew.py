"""Several processes that share a session make what one makes."""

import multiprocessing
import os
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from jukebox_hf.generation.alignment import load_alignment
from jukebox_hf.generation.plan import Plan
from jukebox_hf.generation.session import Session
from jukebox_hf.generation.session_work import Crew
from jukebox_hf.generation.settings import Prompt
from jukebox_hf.hub import System
from tests.generation.making import plan_of

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="processes are forked to save their imports"
)


def shared_plan(system: System, **settings: Any) -> Plan:
    primer = torch.rand(1, 1500, generator=torch.Generator().manual_seed(0)) - 0.5
    prompts = {
        1: Prompt(genre="rock", seconds=0.4),
        2: Prompt(genre="jazz", seconds=0.4, primer=primer),
        3: Prompt(seconds=0.6),
    }
    return plan_of(system, prompts, to_level=1, **settings)


def member(
    folder: Path,
    system: System,
    index: int,
    number: int,
    barrier: Any,
    made: Any,
    stop_after: int | None,
) -> None:
    """One process of a crew; with `stop_after` the last of them fails after so many batches."""
    torch.set_num_threads(1)
    crew = Crew(index, number, lambda: barrier.wait())
    try:
        run = Session.open(folder).run(system, device="cpu", previews=False, crew=crew)
        for count, _ in enumerate(run, start=1):
            made[index] = count
            if index == number - 1 and count == stop_after:
                os._exit(9)
    except BaseException:
        barrier.abort()
        raise


def work_together(
    folder: Path, system: System, number: int, stop_after: int | None = None
) -> list[int]:
    """Let `number` forked processes work on a session; returns how many batches each made."""
    context = multiprocessing.get_context("fork")
    barrier, made = context.Barrier(number), context.Array("i", number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside threads, 3.12
        processes = [
            context.Process(
                target=member, args=(folder, system, index, number, barrier, made, stop_after)
            )
            for index in range(number)
        ]
        for process in processes:
            process.start()
    processes[-1].join()
    if stop_after is not None:
        barrier.abort()
    for process in processes:
        process.join()
    codes = [process.exitcode for process in processes]
    assert codes == [0] * number if stop_after is None else codes[-1] == 9
    return list(made)


def codes_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "codes").iterdir())}


@pytest.fixture(params=[1, {1: 3}], ids=["takes", "chains"])
def plan(request: pytest.FixtureRequest, tiny: System) -> Plan:
    return shared_plan(tiny, chains=request.param)


@pytest.mark.parametrize("number", [2, 3])
def test_several_processes_equal_one(number: int, plan: Plan, tiny: System, tmp_path: Path) -> None:
    alone = Session.create(tmp_path / "alone", plan, device="cpu")
    for _ in alone.run(tiny, device="cpu", previews=False):
        pass
    Session.create(tmp_path / "shared", plan, device="cpu")
    assert all(work_together(tmp_path / "shared", tiny, number))  # everyone had something to do
    shared = Session.open(tmp_path / "shared")
    assert shared.complete
    assert codes_bytes(shared.folder) == codes_bytes(alone.folder)
    for path in alone.audio_paths:
        assert (shared.folder / path.name).read_bytes() == path.read_bytes()
    assert not (shared.folder / "parts").exists()

    def chains(session: Session) -> list[Any]:
        return sorted(session.record.chains, key=lambda one: (one.level, one.take))

    def windows(session: Session) -> list[Any]:
        return sorted(
            (entry.level, row.take, row.chain, row.start, entry.given, entry.new)
            for entry in session.record.windows
            for row in entry.rows
        )

    assert chains(shared) == chains(alone)
    assert windows(shared) == windows(alone)


@pytest.mark.parametrize("stop_after", [1, 2])
def test_what_a_killed_crew_made_is_gone_on_with(
    stop_after: int, plan: Plan, tiny: System, tmp_path: Path
) -> None:
    alone = Session.create(tmp_path / "alone", plan, device="cpu")
    for _ in alone.run(tiny, device="cpu", previews=False):
        pass
    folder = tmp_path / "shared"
    Session.create(folder, plan, device="cpu")
    work_together(folder, tiny, 2, stop_after=stop_after)
    before = len(Session.open(folder).record.windows)
    resumed = Session.open(folder)
    steps = sum(1 for _ in resumed.run(tiny, device="cpu", previews=False))
    assert before + steps >= stop_after
    assert codes_bytes(folder) == codes_bytes(alone.folder)


def test_lyrics_are_aligned_when_the_work_is_shared(lyrical: System, tmp_path: Path) -> None:
    words = {number: Prompt(lyrics="La la la la", seconds=0.3) for number in (1, 2)}
    Session.create(tmp_path / "s", plan_of(lyrical, words, to_level=2), device="cpu")
    work_together(tmp_path / "s", lyrical, 2)
    for take in Session.open(tmp_path / "s").takes:
        assert load_alignment(tmp_path / "s" / take.alignment[0]).lyrics == "La la la la"


def test_more_processes_than_takes(tiny: System, tmp_path: Path) -> None:
    plan = plan_of(tiny, {1: Prompt(seconds=0.2)}, to_level=2)
    Session.create(tmp_path / "s", plan, device="cpu")
    assert sum(work_together(tmp_path / "s", tiny, 2)) == 1
    assert Session.open(tmp_path / "s").complete


def test_others_read_the_session_once_the_main_process_has_encoded_its_primers(
    tiny: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "session"
    Session.create(folder, shared_plan(tiny), device="cpu")
    main, other = (Session.open(folder) for _ in range(2))
    main_run = main.run(tiny, device="cpu", previews=False, crew=Crew(0, 2))
    happened: list[str] = []
    restore = Session.restore_plan

    def restore_plan(self: Session, system: System) -> Any:
        happened.append("reads")
        return restore(self, system)

    def wait() -> None:
        happened.append("waits")
        if happened == ["waits"]:
            next(main_run)
            assert not list((folder / "primers").glob("*.wav"))
            happened.clear()

    monkeypatch.setattr(Session, "restore_plan", restore_plan)
    run = other.run(tiny, device="cpu", previews=False, crew=Crew(1, 2, wait))
    next(run)
    assert happened == ["reads"]
    run.close()
    main_run.close()
