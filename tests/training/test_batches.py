"""Which examples a step sees: the same whoever asks, and however the work is divided."""

from collections import Counter

import pytest
import torch

from jukebox_hf.training.batches import (
    Share,
    StepSampler,
    derived_seed,
    load_once,
    load_steps,
    spread,
)


class Numbers:
    """Examples that say which one they are."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.epoch = -1

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[int, int]:
        return self.epoch, index

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch


def seen(share: Share, *, count: int = 7, start: int = 0, stop: int = 5, workers: int = 0):
    """Per step, the examples of one process in order."""
    steps = load_steps(
        Numbers(count), list, share, seed=3, start=start, stop=stop, num_workers=workers
    )
    return [[example for part in parts for example in part] for parts in steps]


def test_every_epoch_sees_every_example_once_in_another_order() -> None:
    flat = [example for step in seen(Share(4), count=7, stop=7) for example in step]
    assert Counter(flat) == Counter((epoch, i) for epoch in range(4) for i in range(7))
    orders = [[index for epoch, index in flat if epoch == e] for e in range(4)]
    assert len({tuple(order) for order in orders}) == 4


@pytest.mark.parametrize("parts", [1, 2, 4])
@pytest.mark.parametrize("processes", [1, 2, 4])
def test_dividing_a_step_changes_nothing_about_what_it_sees(parts: int, processes: int) -> None:
    whole = seen(Share(16))
    shares = [seen(Share(16, parts, process, processes)) for process in range(processes)]
    for step, expected in enumerate(whole):
        assert [example for share in shares for example in share[step]] == expected


@pytest.mark.parametrize("start", range(6))
def test_going_on_in_the_middle_sees_what_comes_next(start: int) -> None:
    assert seen(Share(4, 2), start=start, stop=6) == seen(Share(4, 2), stop=6)[start:]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_see_the_same(workers: int) -> None:
    assert seen(Share(4, 2), stop=4, workers=workers) == seen(Share(4, 2), stop=4)


def test_two_loaders_of_the_same_examples_do_not_disturb_each_other() -> None:
    examples = Numbers(3)
    first, second = (
        load_steps(examples, list, Share(2), seed=3, start=start, stop=6) for start in (0, 3)
    )
    mixed = [next(loader) for _ in range(3) for loader in (first, second)]
    assert [step[0] for step in mixed[0::2]] == seen(Share(2), count=3, stop=3)
    assert [step[0] for step in mixed[1::2]] == seen(Share(2), count=3, start=3, stop=6)


def test_loading_draws_nothing_from_the_global_generator() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    seen(Share(4))
    assert torch.equal(before, torch.get_rng_state())


def test_a_batch_larger_than_the_data_spans_epochs() -> None:
    (step,) = seen(Share(8), count=3, stop=1)
    assert Counter(step) == Counter([(e, i) for e in (0, 1) for i in range(3)] + step[6:])
    assert {epoch for epoch, _ in step[6:]} == {2}


def test_uneven_shares_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"multiple of 6 \(3 processes, each accumulating 2\), got 8"
    ):
        Share(8, 2, 0, 3).check()


def test_lengths_are_known() -> None:
    assert len(StepSampler(10, Share(4, 2), 0, 3, 8)) == 10


def test_evaluation_is_spread_over_the_data_and_shared_out() -> None:
    found = [
        [example for batch in load_once(
            Numbers(20), list, num_examples=7, batch_size=2, process=process, processes=2
        ) for example in batch]
        for process in range(2)
    ]  # fmt: skip
    assert len(found[0]) == 4
    assert len(found[1]) == 3
    assert sorted(index for part in found for _, index in part) == spread(20, 7)


def test_a_batch_of_evaluation_is_spread_over_the_data() -> None:
    batches = list(load_once(Numbers(12), list, num_examples=12, batch_size=4))
    assert [[index for _, index in batch] for batch in batches] == [
        [0, 3, 6, 9],
        [1, 4, 7, 10],
        [2, 5, 8, 11],
    ]


def test_seeds_of_different_purposes_differ() -> None:
    seeds = {derived_seed(seed, name, n) for seed in range(5) for name in "ab" for n in range(5)}
    assert len(seeds) == 50
    assert all(0 <= seed < 2**63 for seed in seeds)
