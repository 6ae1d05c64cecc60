"""Which examples each step of a run sees, on each process, and how they are loaded.

The order is a pure function of seed and step: every epoch is a permutation of its own, the examples
of a step are the next `batch_size` of this endless sequence, and each process takes its share. So a
run goes on exactly where it was, also in the middle of an epoch, with other numbers of workers and
processes, and accumulating or not changes nothing about what a step sees.
"""

import hashlib
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch.utils.data import DataLoader, Dataset, Sampler


class Examples(Protocol):
    """A data set of examples, each a pure function of epoch and index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...

    def set_epoch(self, epoch: int, /) -> None:
        """Examples are cut and mixed anew in every epoch."""


class Share(NamedTuple):
    """What one process does of every step.

    Attributes:
        batch_size: examples of a step, over all processes.
        parts: into how many batches each process cuts its own.
        process, processes: number of this process, and how many there are.
    """

    batch_size: int
    parts: int = 1
    process: int = 0
    processes: int = 1

    @property
    def part_size(self) -> int:
        """Examples in one batch of one process."""
        return self.batch_size // (self.processes * self.parts)

    def check(self) -> "Share":
        """Return it. `ValueError` if the examples cannot be shared out evenly."""
        if self.batch_size % (self.processes * self.parts):
            raise ValueError(
                f"batch_size must be a multiple of {self.processes * self.parts} ({self.processes} "
                f"processes, each accumulating {self.parts}), got {self.batch_size}"
            )
        return self

    def positions(self, step: int, part: int) -> range:
        """Places in the endless sequence of examples that this process sees in a part of a step.

        Steps count from 0. A process's parts follow each other, and so do the processes, so that
        latents gathered from all of them are always in the order of the sequence.

        >>> [list(Share(8, 2, process, 2).positions(1, 0)) for process in (0, 1)]
        [[8, 9], [12, 13]]
        """
        size = self.part_size
        first = step * self.batch_size + (self.process * self.parts + part) * size
        return range(first, first + size)


class StepSampler(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) pairs: the parts of the steps `start` up to `stop`, in order."""

    def __init__(self, num_examples: int, share: Share, seed: int, start: int, stop: int) -> None:
        self.num_examples = num_examples
        self.share = share.check()
        self.seed = seed
        self.start = start
        self.stop = stop
        self._epoch = -1
        self._order: list[int] = []

    def __len__(self) -> int:
        return (self.stop - self.start) * self.share.parts

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in range(self.start, self.stop):
            for part in range(self.share.parts):
                yield [self._example(place) for place in self.share.positions(step, part)]

    def _example(self, place: int) -> tuple[int, int]:
        epoch, rank = divmod(place, self.num_examples)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(derived_seed(self.seed, "order", epoch))
            self._order = torch.randperm(self.num_examples, generator=generator).tolist()
            self._epoch = epoch
        return epoch, self._order[rank]


class EpochExamples(Dataset[Any]):
    """`examples` indexed by (epoch, index), so that workers need not be told of a new epoch."""

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def __getitem__(self, place: tuple[int, int]) -> Any:
        epoch, index = place
        self.examples.set_epoch(epoch)  # every time: another loader may have moved it on
        return self.examples[index]


def load_steps(
    examples: Examples,
    collate: Callable[[Sequence[Any]], Any],
    share: Share,
    *,
    seed: int,
    start: int,
    stop: int,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> Iterator[list[Any]]:
    """The batches of the steps `start` up to `stop`, `share.parts` of them per step."""
    sampler = StepSampler(len(examples), share, seed, start, stop)
    loader: DataLoader[Any] = DataLoader(
        EpochExamples(examples),
        batch_sampler=sampler,
        collate_fn=collate,
        num_workers=num_workers,
        worker_init_fn=ignore_interrupts,
        pin_memory=pin_memory,
        generator=torch.Generator().manual_seed(0),  # else torch's global one would be drawn from
    )
    batches = iter(loader)
    for _ in range(start, stop):
        yield [next(batches) for _ in range(share.parts)]


def load_once(
    examples: Examples,
    collate: Callable[[Sequence[Any]], Any],
    *,
    num_examples: int,
    batch_size: int,
    process: int = 0,
    processes: int = 1,
    num_workers: int = 0,
) -> Iterator[Any]:
    """Batches for evaluation: `num_examples` spread evenly over the data set, always the same.

    Each process gets every `processes`-th of them. Each batch, too, is spread over the data set, so
    that it holds different songs; some may be one smaller.
    """
    chosen = [(0, index) for index in spread(len(examples), num_examples)][process::processes]
    count = -(-len(chosen) // batch_size)
    batches = [chosen[number::count] for number in range(count)]
    loader: DataLoader[Any] = DataLoader(
        EpochExamples(examples),
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=num_workers,
        worker_init_fn=ignore_interrupts,
        generator=torch.Generator().manual_seed(0),
    )
    yield from loader


def ignore_interrupts(worker: int) -> None:
    """Ctrl-C reaches workers too; they are to go on until the step that asked for them is done."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def spread(total: int, wanted: int) -> list[int]:
    """At most `wanted` of `total` indices, evenly spread, in order.

    >>> spread(10, 4), spread(3, 8)
    ([0, 2, 5, 7], [0, 1, 2])
    """
    wanted = min(total, wanted)
    return [place * total // wanted for place in range(wanted)]


def derived_seed(seed: int, *purpose: object) -> int:
    """A seed of 63 bits for one purpose, which has nothing to do with those for others."""
    text = ":".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
