"""Levels beside each other: a window begins as soon as its own row and the codes above it allow.

A `Generation` goes in that is about to begin or to go on, and reports of its batches come out, as
it would make them alone: the same batches, so the same codes, in another order. The batches are
sampled by processes; here it is decided which is next, and what they make is put together.

It is processes and not threads since a step of a small prior is a few hundred short operations,
between which Python's lock would change hands.
"""

import contextlib
import ctypes
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import torch
from torch import Tensor

from jukebox_hf.generation import containers, memory
from jukebox_hf.generation.alignment import LyricAlignment
from jukebox_hf.generation.chains import Chain, past_span
from jukebox_hf.generation.devices import ONE_THREAD_WIDTH
from jukebox_hf.generation.level_sampler import Row, RowWindow, given_codes, next_batch
from jukebox_hf.generation.making import Generation, WindowRecord, WindowReport
from jukebox_hf.generation.plan import LevelPlan, Plan
from jukebox_hf.generation.shelf import PriorShelf
from jukebox_hf.generation.windows import Run, Window, settled_spans, upper_span

logger = logging.getLogger(__name__)

# Of memory that a process has for itself beside priors; measured: 90 to 140 MB.
PROCESS_BYTES = 200 * 10**6
SECONDS_TO_END = 5.0
PR_SET_PDEATHSIG = 1  # of Linux's <sys/prctl.h>
Span = tuple[int, int]


# --- whether, and how many ------------------------------------------------------------------------


def processes_beside(plan: Plan, device: torch.device) -> int:
    """How many processes sample a plan's levels beside each other; 1: one level after the other.

    As many as there are cores and levels. One, where a single device would be shared or a prior
    uses several threads by itself; where there is no room for every level in every process; and
    where the system cannot begin a process with what this one has loaded (Linux can).
    """
    if device.type != "cpu" or sys.platform != "linux" or plan.settings.backend != "eager":
        return 1
    if any(take.hole is not None for take in plan.takes):
        return 1  # which candidates fill it is decided level by level
    levels = [
        level for level in plan.levels if any(level.runs(t) for t in plan.takes_at(level.level))
    ]
    number = min(usable_cores(), len(levels))
    if number < 2:
        return 1
    needed = 0
    for level in levels:
        config = plan.system.prior_config(level.level)
        if config.width >= ONE_THREAD_WIDTH:
            return 1
        takes = plan.takes_at(level.level)
        rows = sum(len(level.runs(take)) for take in takes)
        own = memory.prior_memory(config, plan.settings.precision, device)
        own = own.with_rows(level.sampling(takes).rows_per_window)
        needed += own.total(share_rows(rows, number))
    room = memory.available_memory(device) * memory.USED_SHARE
    return number if number * (needed + PROCESS_BYTES) <= room else 1


def usable_cores() -> int:
    """Cores that this process may use: by the system, its container, and its number of threads."""
    allowed = len(os.sched_getaffinity(0)) if sys.platform == "linux" else (os.cpu_count() or 1)
    quota = containers.cores()
    if quota is not None:
        allowed = min(allowed, max(int(quota), 1))
    return min(allowed, torch.get_num_threads())


def share_rows(rows: int, processes: int) -> int:
    """Windows at once, so that a level gives every process something to do."""
    return -(-rows // processes)


# --- what there is to do --------------------------------------------------------------------------


class Batch(NamedTuple):
    """Windows that are sampled together: which rows of the level, and their windows."""

    rows: tuple[int, ...]
    windows: tuple[Window, ...]


def plan_batches(rows: Sequence[Row], context: int, stride: int, size: int) -> list[Batch]:
    """The batches that a level consists of from here on, in the order of one after the other."""
    later = [replace(row) for row in rows]
    found = []
    while batch := next_batch(later, context, stride, size):
        numbers = tuple(next(i for i, row in enumerate(later) if row is one) for one, _ in batch)
        found.append(Batch(numbers, tuple(window for _, window in batch)))
        for row, window in batch:
            row.done += window.new
    return found


@dataclass
class _Level:
    """A level under way.

    Attributes:
        plan: of the level.
        rows: of all its takes.
        batches: that have not begun.
        held: completed, but made from codes above that are not kept yet.
        total: codes of each take.
        codes: by take, (total,) codes; those hold that are settled.
        kept: codes of every row that were reported.
        running: of batches under way, their codes so far by row.
    """

    plan: LevelPlan
    rows: list[Row]
    batches: list[Batch]
    total: dict[int, int]
    codes: dict[int, Tensor]
    kept: list[int] = field(default_factory=list)
    held: list["_Made"] = field(default_factory=list)
    running: dict[int, int] = field(default_factory=dict)

    def rows_of(self, take: int) -> list[int]:
        return [index for index, row in enumerate(self.rows) if row.take == take]

    def settled(self, take: int, *, kept: bool = False) -> list[Span]:
        """Which codes of a take will not change any more, or those of them that are on record."""
        numbers = self.rows_of(take)
        if not numbers:
            return [(0, self.total[take])]
        done = [
            self.kept[n] if kept else self.rows[n].done + self.running.get(n, 0) for n in numbers
        ]
        return settled_spans([self.rows[n].run for n in numbers], done)

    @property
    def complete(self) -> bool:
        return all(row.done == row.run.length for row in self.rows)


class _Made(NamedTuple):
    batch: Batch
    spans: list[Span | None]
    seconds: float


def _covers(spans: Sequence[Span], wanted: Span) -> bool:
    return any(first <= wanted[0] and wanted[1] <= end for first, end in spans)


# --- the one who decides --------------------------------------------------------------------------


class LevelsBeside:
    """Iterate over it to make a generation's music with several processes."""

    def __init__(self, generation: Generation, devices: Sequence[torch.device]) -> None:
        """`devices`: of each process."""
        self.generation = generation
        self.devices = devices
        self.levels: dict[int, _Level] = {}
        self._helpers: list[_Helper] = []
        self._alignments: list[int] = []  # levels whose words wait for a process

    def __iter__(self) -> Iterator[WindowReport]:
        generation = self.generation
        generation.prepare()
        for plan in generation.plan.levels:
            self._begin_level(plan)
        yield from self._finished_before()
        self._helpers = [_Helper(generation, device) for device in self.devices]
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(1)  # for what is decoded meanwhile: the cores are busy
            while self._hand_out():
                yield from self._hear()
        except _NoRoomError as error:
            self._end()
            torch.set_num_threads(threads)
            logger.warning("no room for levels beside each other, they follow: %s", error)
            for plan in generation.plan.levels:
                yield from generation.make_level(plan)
        finally:
            self._end()
            torch.set_num_threads(threads)

    def _begin_level(self, plan: LevelPlan) -> None:
        generation, level = self.generation, plan.level
        takes = generation.plan.takes_at(level)
        rows = [row for take in takes for row in generation.rows(plan, take)]
        size = generation.batch_sizes.get(level)
        if rows:
            size = size or min(
                generation.fitting_batch(plan), share_rows(len(rows), len(self.devices))
            )
            generation.batch_sizes[level] = min(size, len(rows))
        total, codes = {}, {}
        for take in generation.plan.takes:
            total[take.number] = take.num_samples // plan.hop_length
            made = generation.codes[take.number][level]
            codes[take.number] = torch.zeros(total[take.number], dtype=torch.int64)
            codes[take.number][: len(made)] = made
        found = _Level(plan, rows, [], total, codes, [row.done for row in rows])
        self.levels[level] = found
        if rows:
            found.batches = plan_batches(
                rows, plan.context, plan.stride, generation.batch_sizes[level]
            )
        for number in range(len(rows)):
            self._publish(found, number, 0, rows[number].done)

    def _finished_before(self) -> Iterator[WindowReport]:
        """Join levels whose rows an earlier run had completed."""
        for level in self.levels.values():
            if level.rows and level.complete and self.generation.finish_level(level.plan):
                yield self.generation.report(level.plan, level.rows, level.kept, (), 0.0)

    # --- what is known ---

    def _publish(self, level: _Level, number: int, first: int, end: int) -> None:
        """The codes `[first, end)` of a row are there: others may read them."""
        row = level.rows[number]
        begin, codes = row.run.begin, level.codes[row.take]
        numbers = level.rows_of(row.take)
        place = numbers.index(number)
        from_here = level.rows[numbers[place - 1]].run.end if place else begin
        to_there = (
            level.rows[numbers[place + 1]].run.begin if place + 1 < len(numbers) else row.run.end
        )
        low, high = max(begin + first, from_here), min(begin + end, to_there)
        if low < high:
            codes[low:high] = row.codes[low - begin : high - begin]
        if end < row.run.length:
            return
        for left, right in ((place - 1, place), (place, place + 1)):
            if left >= 0 and right < len(numbers):
                self._join(level, level.rows[numbers[left]], level.rows[numbers[right]], left)

    def _join(self, level: _Level, left: Row, right: Row, index: int) -> None:
        """Where both of two neighbouring chains are complete, settle what lies between them."""
        if left.done < left.run.length or right.done < right.run.length:
            return
        chains = Chain(left.run, left.codes), Chain(right.run, right.codes)
        seam = self.generation.seam(left.take, level.plan.level, index, *chains)
        codes = level.codes[left.take]
        codes[right.run.begin : seam.code] = left.codes[right.run.begin - left.run.begin :][
            : seam.code - right.run.begin
        ]
        codes[seam.code : left.run.end] = right.codes[seam.code - right.run.begin :][
            : left.run.end - seam.code
        ]

    def _needs(self, level: _Level, number: int, window: Window) -> list[Span]:
        """The codes of the level above that a window is made from."""
        row, plan = level.rows[number], level.plan
        config = self.generation.system.prior_config(plan.level)
        if not config.is_upsampler:
            return []
        upper_total = len(self._upper(level, row.take))
        needed = [upper_span(window.start, config.context_length, config.upper_ratio, upper_total)]
        if window.start < row.run.begin:
            needed.append(past_span(self.generation.codec, plan.level, row.run, upper_total))
        return needed

    def _upper(self, level: _Level, take: int) -> Tensor:
        above = self.levels.get(level.plan.level + 1)
        if above is not None:
            return above.codes[take]
        return self.generation.codes[take][level.plan.level + 1]

    def _is_there(self, level: _Level, batch: Batch, *, kept: bool = False) -> bool:
        """Whether everything above a batch is known, or on record."""
        above = self.levels.get(level.plan.level + 1)
        if above is None:
            return True
        settled = {
            take: above.settled(take, kept=kept)
            for take in {level.rows[number].take for number in batch.rows}
        }
        return all(
            _covers(settled[level.rows[number].take], span)
            for number, window in zip(batch.rows, batch.windows, strict=True)
            for span in self._needs(level, number, window)
        )

    def _can_begin(self, level: _Level, batch: Batch) -> bool:
        rows = [level.rows[number] for number in batch.rows]
        return all(
            row.run.begin + row.done == window.start + window.given and number not in level.running
            for number, row, window in zip(batch.rows, rows, batch.windows, strict=True)
        ) and self._is_there(level, batch)

    # --- work for the others ---

    def _hand_out(self) -> bool:
        """Give idle processes what can be done now; whether any of them has something to do."""
        for helper in self._helpers:
            if helper.task is None and (found := self._next()) is not None:
                self._send(helper, *found)
            elif helper.task is None and self._alignments:
                self._send_alignment(helper, self._alignments.pop(0))
        return any(helper.task is not None for helper in self._helpers)

    def _next(self) -> tuple[_Level, Batch] | None:
        """The next batch that can begin; coarse levels first, since the others wait for them."""
        for level in sorted(self.levels.values(), key=lambda one: -one.plan.level):
            for batch in level.batches:
                if self._can_begin(level, batch):
                    return level, batch
        return None

    def _send(self, helper: "_Helper", level: _Level, batch: Batch) -> None:
        plan, generation = level.plan, self.generation
        config = generation.system.prior_config(plan.level)
        windows = []
        for number, window in zip(batch.rows, batch.windows, strict=True):
            row, upper = level.rows[number], None
            if config.is_upsampler:
                codes = self._upper(level, row.take)
                if window.start < row.run.begin and row.past is None:
                    row.past = generation.past(plan, row.run, codes)
                first, end = upper_span(
                    window.start, config.context_length, config.upper_ratio, len(codes)
                )
                upper = (first, len(codes), codes[first:end].numpy())
            windows.append((row.take, window, given_codes(row, window).numpy(), upper))
        level.batches.remove(batch)
        level.running |= dict.fromkeys(batch.rows, 0)
        size = generation.batch_sizes[plan.level]
        helper.begin(_Task(level, batch), ("sample", plan.level, size, windows))

    def _send_alignment(self, helper: "_Helper", level: int) -> None:
        takes = [take.number for take in self.generation.plan.takes_at(level)]
        codes = {number: self.generation.codes[number][level].numpy() for number in takes}
        helper.begin(_Task(self.levels[level], None), ("align", level, codes))

    # --- what comes back ---

    def _hear(self) -> Iterator[WindowReport]:
        """Wait for any of the processes, and take over what they have."""
        busy = {helper.connection: helper for helper in self._helpers if helper.task is not None}
        for ready in multiprocessing.connection.wait(list(busy)):
            helper = busy[ready]  # type: ignore[index]
            kind, *content = helper.hear()
            task = helper.task
            assert task is not None, "only busy processes are listened to"
            if kind == "codes":
                self._take_over_some(task, *content)
                self._hand_out()
                self._tell(task.level)
            elif kind == "made":
                helper.task = None
                seconds = time.perf_counter() - helper.begun
                codes, spans = content
                yield from self._take_over(task, codes, spans, seconds)
            else:
                helper.task = None
                for number, parts in content[0].items():
                    weights, lyrics, code_seconds = parts
                    alignment = LyricAlignment(torch.from_numpy(weights), lyrics, code_seconds)
                    self.generation.alignments[number] = alignment

    def _take_over_some(self, task: "_Task", codes: Any) -> None:
        """Codes (rows, n) that a batch under way has more."""
        level, batch = task.level, task.batch
        assert batch is not None, "words have no codes"
        for number, more in zip(batch.rows, torch.from_numpy(codes), strict=True):
            row, had = level.rows[number], level.running[number]
            first = row.done + had
            row.codes[first : first + len(more)] = more
            level.running[number] = had + len(more)
            self._publish(level, number, first, first + len(more))
            if len(level.rows_of(row.take)) == 1:
                key = (row.take, level.plan.level)
                self.generation.fresh[key] = row.codes[: first + len(more)]

    def _take_over(
        self, task: "_Task", codes: Any, spans: list[Span | None], seconds: float
    ) -> Iterator[WindowReport]:
        """All codes of a batch; reports of it, and of what waited for it."""
        level, batch = task.level, task.batch
        assert batch is not None, "words have no codes"
        for number, window, made in zip(
            batch.rows, batch.windows, torch.from_numpy(codes), strict=True
        ):
            row = level.rows[number]
            first, end = row.done, row.done + window.new
            row.codes[first:end] = made
            row.done = end
            del level.running[number]
            self._publish(level, number, first, end)
        level.held.append(_Made(batch, spans, seconds))
        self._hand_out()
        yield from self._report_kept()

    def _report_kept(self) -> Iterator[WindowReport]:
        """Report batches in the order of their completion, none before those it was made from."""
        for level in sorted(self.levels.values(), key=lambda one: -one.plan.level):
            while level.held and self._is_there(level, level.held[0].batch, kept=True):
                yield self._keep(level, level.held.pop(0))

    def _keep(self, level: _Level, made: _Made) -> WindowReport:
        generation, plan = self.generation, level.plan
        rows = [level.rows[number] for number in made.batch.rows]
        for number, row, window in zip(made.batch.rows, rows, made.batch.windows, strict=True):
            level.kept[number] = window.start + window.given + window.new - row.run.begin
            if len(level.rows_of(row.take)) == 1:
                generation.codes[row.take][plan.level] = row.codes[: level.kept[number]]
                generation.fresh.pop((row.take, plan.level), None)
        if level.complete and not level.held:
            generation.finish_level(plan)
            if any(generation.can_align(plan, take) for take in generation.plan.takes):
                self._alignments.append(plan.level)
                self._hand_out()
        records = tuple(
            WindowRecord(row.take, level.rows_of(row.take).index(number), *window, span)
            for number, row, window, span in zip(
                made.batch.rows, rows, made.batch.windows, made.spans, strict=True
            )
        )
        return generation.report(plan, level.rows, level.kept, records, made.seconds)

    def _tell(self, level: _Level) -> None:
        if self.generation.on_codes is not None:
            done = sum(row.done for row in level.rows) + sum(level.running.values())
            total = sum(row.run.length for row in level.rows)
            self.generation.on_codes(level.plan.level, done, total)

    def _end(self) -> None:
        for helper in self._helpers:
            helper.end()
        self._helpers = []
        self.generation.fresh.clear()


class _Task(NamedTuple):
    level: _Level
    batch: Batch | None  # None: align its words


class _NoRoomError(Exception):
    """A process had no room for what it was to do."""


class _Helper:
    """A process that samples batches, as this one sees it."""

    def __init__(self, generation: Generation, device: torch.device) -> None:
        # With what is loaded already, where that is possible.
        method = "fork" if device.type == "cpu" and sys.platform == "linux" else "spawn"
        context: Any = multiprocessing.get_context(method)
        self.connection: Connection
        self.connection, other = context.Pipe()
        self.task: _Task | None = None
        self.begun = 0.0
        self.process: BaseProcess = context.Process(
            target=_work,
            args=(
                generation.plan,
                device,
                {
                    "float32": generation.float32,
                    "float32_between": generation.float32_between,
                },
                other,
                os.getpid(),
            ),
            daemon=True,
        )
        with _undisturbed(), warnings.catch_warnings():
            # Python warns where there are threads. None of ours, nor of torch's with one thread
            # a process, holds a lock that is needed: torch's own data loaders begin like this.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.process.start()
        other.close()

    def begin(self, task: _Task, message: tuple[Any, ...]) -> None:
        self.task = task
        self.begun = time.perf_counter()
        try:
            self.connection.send(message)
        except OSError:
            raise self._lost() from None

    def hear(self) -> tuple[Any, ...]:
        try:
            message: tuple[Any, ...] = self.connection.recv()
        except (EOFError, OSError):
            raise self._lost() from None
        if message[0] == "failed":
            _, no_room, kind, text = message
            if no_room:
                raise _NoRoomError(text)
            raise {"ValueError": ValueError, "OSError": OSError}.get(kind, RuntimeError)(text)
        return message

    def _lost(self) -> OSError:
        self.process.join(SECONDS_TO_END)
        how = self.process.exitcode
        why = " (out of memory?)" if how == -getattr(signal, "SIGKILL", 9) else ""
        return OSError(
            f"a process that sampled beside this one has ended{why}; what is done so far is kept: "
            "`jukebox resume` goes on with a session, and with OMP_NUM_THREADS=1 without others"
        )

    def end(self) -> None:
        self.connection.close()
        self.process.terminate()
        self.process.join(SECONDS_TO_END)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Inside, signals wait: a new process must not meet them before it has its own handlers."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# --- in the processes -----------------------------------------------------------------------------


def _work(
    plan: Plan,
    device: torch.device,
    products: Mapping[str, Any],
    connection: Connection,
    parent: int,
) -> None:
    """Do what is asked for until there is nobody left who asks.

    `products`: which ones the generation samples with, as `Generation` takes them.
    """
    _follow(parent)
    torch.set_num_threads(1)
    generation = Generation(plan, device=device, shelf=PriorShelf(), **products)
    worker = _Worker(generation, connection, parent)
    with contextlib.suppress(EOFError, OSError):
        while True:
            kind, *content = connection.recv()
            try:
                answer = worker.sample(*content) if kind == "sample" else worker.align(*content)
            except _NobodyAsksError:
                return
            except Exception as error:  # whatever it is, the other one says it
                worker.samplers.clear()
                kinds = (ValueError, OSError)
                name = next((one.__name__ for one in kinds if isinstance(error, one)), "")
                answer = ("failed", memory.is_out_of_memory(error), name, str(error))
            connection.send(answer)


def _follow(parent: int) -> None:
    """Ctrl-C is for the one who decides; this process ends when that one says so, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if sys.platform == "linux":
        # At once, also when that one is killed: this process holds its lock of the folder, too.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})


class _NobodyAsksError(Exception):
    """The process that asked for something is gone."""


class _Worker:
    """What one process keeps from task to task: priors, and buffers to sample with."""

    def __init__(self, generation: Generation, connection: Connection, parent: int) -> None:
        self.generation = generation
        self.connection = connection
        self.parent = parent
        self.samplers: dict[int, Any] = {}
        plan = generation.plan
        for take in plan.takes:
            generation.codes[take.number] = {
                level: torch.zeros(take.num_samples // hop, dtype=torch.int64)
                for level, hop in enumerate(plan.hop_lengths)
            }

    def sample(
        self, level: int, size: int, windows: Sequence[tuple[int, Window, Any, Any]]
    ) -> tuple[Any, ...]:
        """Sample a batch; each window with its take, given codes, and codes above."""
        generation = self.generation
        plan = next(one for one in generation.plan.levels if one.level == level)
        generation.batch_sizes[level] = size
        batch = []
        for take, window, given, upper in windows:
            if upper is not None:
                first, total, codes = upper
                assert total == len(generation.codes[take][level + 1]), "both know the same plan"
                generation.codes[take][level + 1][first : first + len(codes)] = torch.from_numpy(
                    codes
                )
            window = Window(*window)
            made = torch.zeros(window.given + window.new, dtype=torch.int64)
            made[: window.given] = torch.from_numpy(given)
            row = Row(take, Run(window.start, window.end), made, window.given)
            batch.append(RowWindow(row, window))
        if level not in self.samplers:
            self.samplers[level] = generation.sampler(plan)
        sampler = self.samplers[level]
        sent = 0

        def tell(count: int) -> None:
            nonlocal sent
            if os.getppid() != self.parent:
                raise _NobodyAsksError
            codes = sampler.sampler.codes_so_far(len(batch), batch[0].window.given, count)
            self.connection.send(("codes", codes[:, sent:].cpu().numpy()))
            sent = count

        spans = sampler.sample(batch, tell)
        codes = torch.stack([row.codes[window.given :] for row, window in batch])
        return "made", codes.numpy(), spans

    def align(self, level: int, codes: Mapping[int, Any]) -> tuple[Any, ...]:
        """Say when the words of takes are sung, from all codes of their level."""
        generation = self.generation
        for take, made in codes.items():
            generation.codes[take][level] = torch.from_numpy(made)
        found = {take: generation.align(take) for take in codes}
        return "aligned", {
            take: (one.weights.numpy(), one.lyrics, one.code_seconds)
            for take, one in found.items()
            if one is not None
        }
