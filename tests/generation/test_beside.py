"""Levels beside each other: the same codes, whatever is done when, and whenever it is stopped."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from jukebox_hf.generation import beside, making, memory
from jukebox_hf.generation.beside import LevelsBeside, plan_batches, processes_beside, share_rows
from jukebox_hf.generation.level_sampler import Row
from jukebox_hf.generation.making import Generation, WindowReport
from jukebox_hf.generation.session import Session
from jukebox_hf.generation.windows import Run, chain_runs, run_windows, settled_spans
from jukebox_hf.hub import System
from jukebox_hf.prior import kernels
from tests.generation.making import assert_same_codes, plan_of

linux = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="processes begin with what is loaded on Linux only"
)
CHAINS = {1: 2, 0: 4}


def by_two(generation: Generation) -> Iterator[WindowReport]:
    """Its reports, made by two processes."""
    return iter(LevelsBeside(generation, [generation.device] * 2))


def shared(plan: Any, processes: int = 2) -> dict[int, int]:
    """The batch sizes that so many processes begin with."""
    return {
        level.level: share_rows(
            sum(len(level.runs(take)) for take in plan.takes_at(level.level)), processes
        )
        for level in plan.levels
    }


@linux
@pytest.mark.parametrize(("takes", "chains"), [(1, CHAINS), (3, {})])
def test_levels_beside_each_other_equal_one_after_another(
    tiny: System, takes: int, chains: dict[int, int]
) -> None:
    plan = plan_of(tiny, takes, seconds=0.9, chains=chains)
    alone = Generation(plan, batch_sizes=shared(plan))
    expected = list(alone)
    both = Generation(plan)
    found = list(by_two(both))
    assert_same_codes(both.codes, alone.codes)
    assert both.seams == alone.seams
    assert both.batch_sizes == alone.batch_sizes
    assert {window for report in found for window in report.windows} == {
        window for report in expected for window in report.windows
    }
    for level in plan.levels:
        own = [report for report in found if report.level == level.level]
        assert [report.level_done for report in own] == [False] * (len(own) - 1) + [True]
        assert own[-1].codes_done == own[-1].codes_total


@linux
def test_stopped_after_every_batch_it_goes_on_to_the_same_codes(tiny: System) -> None:
    """Reported codes are never made from others that were not reported before."""
    plan = plan_of(tiny, 1, seconds=0.9, chains=CHAINS)
    alone = Generation(plan, batch_sizes=shared(plan))
    for _ in alone:
        pass
    for stop in (1, 3, 5):
        part = Generation(plan)
        for number, _ in enumerate(by_two(part), start=1):
            if number == stop:
                break
        state: dict[str, Any] = {
            "codes": part.codes,
            "chains": {
                key: [row.codes[: row.done] for row in rows] for key, rows in part.chains.items()
            },
            "seams": part.seams,
            "batch_sizes": part.batch_sizes,
        }
        for how in (iter, by_two):
            rest = Generation(plan, **state)
            for _ in how(rest):
                pass
            assert_same_codes(rest.codes, alone.codes)
            assert rest.seams == alone.seams


@linux
def test_sessions_hold_the_same_codes_and_previews_grow(
    tiny: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(tiny, 2, seconds=0.9, chains=CHAINS)
    told: dict[int, list[int]] = {}

    def tell(level: int, codes: int, total: int) -> None:
        assert codes <= total
        told.setdefault(level, []).append(codes)

    for name, cores in (("alone", 1), ("beside", 2)):
        monkeypatch.setattr(beside, "usable_cores", lambda cores=cores: cores)
        told.clear()
        session = Session.create(tmp_path / name, plan, device="cpu")
        for _ in session.run(device="cpu", preview_seconds=0, on_codes=tell, beside=True):
            pass
        assert session.complete
        assert all(counts == sorted(counts) for counts in told.values())
    files = sorted((tmp_path / "alone").rglob("*.safetensors"))
    assert len(files) > len(plan.takes)
    for file in files:
        other = tmp_path / "beside" / file.relative_to(tmp_path / "alone")
        assert file.read_bytes() == other.read_bytes(), file.name
    records = [
        json.loads((tmp_path / name / "session.json").read_text()) for name in ("alone", "beside")
    ]
    batches, audio = ([record["chains"] for record in records], [r["takes"] for r in records])
    assert batches[0] == batches[1]
    assert [take["codes"] for take in audio[0]] == [take["codes"] for take in audio[1]]


def test_a_session_goes_on_with_the_products_that_it_began_with(
    tiny: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where weights are laid out otherwise, sums are in another order."""
    plan = plan_of(tiny, 1, seconds=0.6, to_level=2)
    asked: list[str] = []
    whole = making.load_for_sampling

    def load(*given: Any, **named: Any) -> Any:
        asked.append(named["float32"])
        return whole(*given, **named)

    monkeypatch.setattr(making, "load_for_sampling", load)
    for maker, others, expected in (
        ("AuthenticAMD", "GenuineIntel", "halved"),
        ("GenuineIntel", "AuthenticAMD", "plain"),
    ):
        monkeypatch.setattr(kernels, "processor_maker", lambda maker=maker: maker)
        Session.create(tmp_path / maker, plan, device="cpu")
        monkeypatch.setattr(kernels, "processor_maker", lambda others=others: others)
        for _ in Session.open(tmp_path / maker).run(tiny, device="cpu"):
            pass
        assert set(asked) == {expected}
        asked.clear()


@linux
def test_a_process_that_ends_is_one_sentence(tiny: System, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(beside._Worker, "sample", end)
    generation = Generation(plan_of(tiny, 1, seconds=0.6))
    with pytest.raises(OSError, match=r"beside this one has ended \(out of memory\?\); what is"):
        list(by_two(generation))


@linux
def test_without_room_levels_follow_each_other(
    tiny: System, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(beside._Worker, "sample", fail)
    plan = plan_of(tiny, 1, seconds=0.6)
    generation, alone = Generation(plan), Generation(plan)
    assert len(list(by_two(generation))) == len(list(alone))
    assert_same_codes(generation.codes, alone.codes)
    assert "they follow: no room" in caplog.text


@linux
def test_errors_are_those_of_one_after_another(
    tiny: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("logits are not numbers")

    monkeypatch.setattr(beside._Worker, "sample", fail)
    with pytest.raises(ValueError, match=r"^logits are not numbers$"):
        list(by_two(Generation(plan_of(tiny, 1, seconds=0.6))))


@linux
def test_it_begins_where_cores_and_memory_are_there(
    tiny: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, cpu = plan_of(tiny, 1), torch.device("cpu")
    monkeypatch.setattr(beside, "usable_cores", lambda: 8)
    assert processes_beside(plan, cpu) == 3, "one a level"
    assert processes_beside(plan_of(tiny, 1, to_level=1), cpu) == 2
    assert processes_beside(plan_of(tiny, 1, to_level=2), cpu) == 1
    assert processes_beside(plan_of(tiny, 1, backend="compiled"), cpu) == 1
    assert processes_beside(plan, torch.device("cuda")) == 1, "all would share one GPU"
    monkeypatch.setattr(beside, "usable_cores", lambda: 2)
    assert processes_beside(plan, cpu) == 2
    monkeypatch.setattr(memory, "available_memory", lambda _: 3 * 10**8)
    assert processes_beside(plan, cpu) == 1
    monkeypatch.undo()
    monkeypatch.setattr(beside, "usable_cores", lambda: 1)
    assert processes_beside(plan, cpu) == 1


@linux
def test_cores_are_what_system_container_and_threads_allow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(beside.containers, "cores", lambda: None)
    assert beside.usable_cores() == 4
    for quota, expected in ((3.5, 3), (0.5, 1)):
        monkeypatch.setattr(beside.containers, "cores", lambda quota=quota: quota)
        assert beside.usable_cores() == expected


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_what_is_left_is_the_same_batches_whichever_were_done_first(size: int) -> None:
    """A level that was stopped goes on with the batches that it would have had."""
    runs = chain_runs(120, 5, context=16, stride=8, overlap=4, unit=4, past=4)

    def rows(done: list[int]) -> list[Row]:
        return [
            Row(1, run, torch.zeros(run.length, dtype=torch.int64), count)
            for run, count in zip(runs, done, strict=True)
        ]

    whole = plan_batches(rows([0] * len(runs)), 16, 8, size)
    for skipped in range(len(whole)):
        done = [0] * len(runs)
        left = []
        for number, batch in enumerate(whole):
            ready = all(
                runs[row].begin + done[row] == window.start + window.given
                for row, window in zip(batch.rows, batch.windows, strict=True)
            )
            if number == skipped or not ready or number > skipped + 3:
                left.append(batch)
                continue
            for row, window in zip(batch.rows, batch.windows, strict=True):
                done[row] += window.new
        assert set(plan_batches(rows(done), 16, 8, size)) == set(left)


def test_settled_codes_are_those_that_no_seam_can_move() -> None:
    runs = [Run(2, 10), Run(7, 15), Run(13, 20)]
    for left in range(9):
        for middle in range(9):
            for right in range(8):
                done = [left, middle, right]
                found = {
                    code for first, end in settled_spans(runs, done) for code in range(first, end)
                }
                expected = {0, 1}
                for code in range(2, 20):
                    own = [i for i, run in enumerate(runs) if run.begin <= code < run.end]
                    alone = len(own) == 1 and code < runs[own[0]].begin + done[own[0]]
                    both = len(own) == 2 and all(done[i] == runs[i].length for i in own)
                    if alone or both:
                        expected.add(code)
                assert found == expected


def test_every_window_has_a_batch(tiny: System) -> None:
    plan = plan_of(tiny, 2, seconds=0.9, chains=CHAINS)
    for level in plan.levels:
        runs = [run for take in plan.takes for run in level.runs(take)]
        rows = [Row(1, run, torch.zeros(run.length, dtype=torch.int64), 0) for run in runs]
        batches = plan_batches(rows, level.context, level.stride, 2)
        windows = [window for batch in batches for window in batch.windows]
        expected = [w for run in runs for w in run_windows(run, level.context, level.stride)]
        assert sorted(windows) == sorted(expected)
