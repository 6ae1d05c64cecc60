"""The arithmetic of windows: which codes a prior sees at once, and which of them it adds.

Lengths in codes go in; windows, spans and runs in codes come out. No tensors here, so that every
small case can be tested. Filling the windows with codes is `sampling`'s work.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Window(NamedTuple):
    """One pass of a prior: `given` codes from `start` on are known, the next `new` are sampled."""

    start: int
    given: int
    new: int

    @property
    def end(self) -> int:
        """The code after the last one that this window leaves behind."""
        return self.start + self.given + self.new


class Run(NamedTuple):
    """A stretch `[begin, end)` of one level's codes that is sampled on its own: a chain, or all.

    Its first `existing` codes are known already. Neighbouring chains overlap. Its windows also see
    `past` codes before `begin`, which come from elsewhere and are no part of it. Where there are
    none, its first `opening` codes are a window of their own: after them its windows have the shape
    of those of its neighbours, and can be sampled together with them.
    """

    begin: int
    end: int
    existing: int = 0
    past: int = 0
    opening: int = 0

    @property
    def length(self) -> int:
        return self.end - self.begin


def window_starts(total: int, window: int, stride: int) -> list[int]:
    """First code of each window; together they cover `total` codes, the last ending there.

    >>> window_starts(total=11, window=4, stride=3)
    [0, 3, 6, 7]
    """
    if not 0 < stride <= window <= total:
        raise ValueError(f"need 0 < stride <= window <= total, got {stride=}, {window=}, {total=}")
    last = total - window
    return [*range(0, last, stride), last]


def window_stride(context: int, fraction: float, unit: int = 1) -> int:
    """How far windows move: `fraction` of the context, rounded down to a multiple of `unit`.

    `unit` is the number of codes per upper code, so that windows start where an upper code does.

    >>> window_stride(context=96, fraction=0.125), window_stride(context=64, fraction=0.4, unit=4)
    (12, 24)
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"the hop fraction must be above 0 and at most 1, got {fraction}")
    return max(int(fraction * context) // unit, 1) * unit


def extension_window(existing: int, new: int, context: int) -> Window:
    """The one window that adds `new` codes after `existing` ones and sees as far back as it can.

    >>> extension_window(existing=0, new=20, context=96)
    Window(start=0, given=0, new=20)
    >>> extension_window(existing=33, new=70, context=96)
    Window(start=7, given=26, new=70)
    """
    if not 0 < new <= context:
        raise ValueError(f"one window adds 1 to {context} codes, got {new}")
    start = max(existing + new - context, 0)
    return Window(start=start, given=existing - start, new=new)


def level_windows(total: int, context: int, stride: int, existing: int = 0) -> list[Window]:
    """The windows that are still to be sampled so that a level has `total` codes.

    Windows lie where they would without the `existing` codes, and those that add nothing are left
    out; so an interrupted level goes on with the very windows it would have had. Fewer codes than
    one context are one shorter window from the beginning.

    >>> level_windows(total=11, context=4, stride=3, existing=5)  # doctest: +ELLIPSIS
    [Window(start=3, given=2, new=2), Window(start=6, given=1, new=3), ...]
    >>> level_windows(total=10, context=16, stride=2, existing=4)
    [Window(start=0, given=4, new=6)]
    """
    if existing >= total:
        return []
    if total < context:
        return [extension_window(existing, total - existing, context)]
    windows = []
    for start in window_starts(total, context, stride):
        new = start + context - existing
        if new > 0:
            windows.append(Window(start, existing - start, new))
            existing += new
    return windows


def run_windows(run: Run, context: int, stride: int, done: int | None = None) -> list[Window]:
    """The windows of one run, in codes of the piece, after its first `done` codes.

    They are those of a piece of its own that begins where the run, or its past, begins.

    >>> run_windows(Run(begin=8, end=19), context=4, stride=3, done=5)[0]
    Window(start=11, given=2, new=2)
    >>> run_windows(Run(begin=8, end=19, past=2), context=4, stride=3)[0]
    Window(start=6, given=2, new=2)
    >>> run_windows(Run(begin=0, end=11, opening=2), context=4, stride=3)[:2]
    [Window(start=0, given=0, new=2), Window(start=0, given=2, new=2)]
    """
    existing = run.past + (run.existing if done is None else done)
    first, alone = run.begin - run.past, run.opening - existing
    windows = level_windows(run.end - first, context, stride, max(existing, run.opening))
    if alone > 0:
        windows.insert(0, Window(0, existing, alone))
    return [window._replace(start=first + window.start) for window in windows]


def upper_span(start: int, context: int, ratio: int, upper_total: int) -> tuple[int, int]:
    """The codes `[first, last)` of the level above that condition a window of `context` codes.

    A window that reaches past the end of the piece gets the upper codes that are there.

    >>> upper_span(start=32, context=64, ratio=4, upper_total=100)
    (8, 24)
    >>> upper_span(start=32, context=64, ratio=4, upper_total=20)
    (8, 20)
    """
    if start % ratio or context % ratio:
        raise ValueError(
            f"a window must begin and end with an upper code, which lasts {ratio} codes; "
            f"got a window of {context} codes from {start} on"
        )
    return start // ratio, min((start + context) // ratio, upper_total)


def chain_runs(
    total: int,
    chains: int,
    *,
    context: int,
    stride: int,
    overlap: int,
    unit: int = 1,
    existing: int = 0,
    past: int = 0,
) -> list[Run]:
    """Cut a level into up to `chains` runs of equal length that can be sampled side by side.

    Neighbours share at least `overlap` codes, in which one is spliced to the next. Runs begin at
    multiples of `unit` (codes per upper code), and each is, with its past, at least one context
    long: a short level gets fewer chains than asked for. With `existing` codes the first run begins
    far enough before their end to see them, and the runs divide what is missing. With a `past` all
    runs but the first have one, and the first begins with as long an opening.

    >>> [(run.begin, run.end) for run in chain_runs(100, 3, context=16, stride=8, overlap=4)]
    [(0, 36), (32, 68), (64, 100)]
    >>> [(run.begin, run.end) for run in chain_runs(20, 3, context=16, stride=8, overlap=4)]
    [(0, 20)]
    """
    if chains < 1:
        raise ValueError(f"a level needs at least 1 chain, got {chains}")
    if total % unit:
        raise ValueError(
            f"a level of {total} codes does not end with an upper code of {unit} codes"
        )
    if not 0 <= overlap <= stride <= context:
        raise ValueError(
            f"need 0 <= overlap <= stride <= context, got {overlap=}, {stride=}, {context=}"
        )
    if not 0 <= past < context or past % unit:
        raise ValueError(
            f"a past is shorter than a context, in whole upper codes of {unit}; got {past=}, "
            f"{context=}"
        )
    first = max(existing - (context - stride), 0) // unit * unit
    opening = past if existing == first else 0  # else it has a past of its own
    overlap = _round_up(overlap, unit)
    # More runs than these would be shorter than a context; a stranger may ask for millions.
    most = (total - first) // max(context - overlap, 1) + 1
    for count in range(min(chains, most), 1, -1):
        shared = first + opening  # from here on the runs are equally long
        length = _round_up(-(-(total - shared + (count - 1) * overlap) // count), unit)
        last = total - length
        begins = [shared + (last - shared) * i // (count - 1) // unit * unit for i in range(count)]
        meets_only_neighbours = all(
            left + length <= after_next
            for left, after_next in zip(begins, begins[2:], strict=False)
        )
        if (
            length + past >= context
            and begins[1] > shared
            and begins[1] >= max(existing, past)
            and meets_only_neighbours
        ):
            return [
                Run(first, begins[0] + length, existing - first, opening=opening),
                *(Run(begin, begin + length, past=past) for begin in begins[1:]),
            ]
    return [Run(0, total, min(existing, total))]


def settled_spans(runs: Sequence[Run], done: Sequence[int]) -> list[tuple[int, int]]:
    """The spans `[first, end)` of a level that are final once its runs have so many codes each.

    Where two runs overlap, both must be complete: only then is it known where one follows the
    other. What lies before the first run was there from the beginning.

    >>> runs = [Run(4, 12), Run(10, 18)]
    >>> settled_spans(runs, [3, 5]), settled_spans(runs, [8, 7]), settled_spans(runs, [8, 8])
    ([(0, 7), (12, 15)], [(0, 10), (12, 17)], [(0, 18)])
    """
    pieces = [(0, runs[0].begin)]
    for index, (run, count) in enumerate(zip(runs, done, strict=True)):
        first = runs[index - 1].end if index else run.begin
        last = runs[index + 1].begin if index + 1 < len(runs) else run.end
        if index and done[index - 1] == runs[index - 1].length and count == run.length:
            pieces.append((run.begin, first))
        pieces.append((first, min(run.begin + count, last)))
    found: list[tuple[int, int]] = []
    for first, end in pieces:
        if first >= end:
            continue
        if found and found[-1][1] == first:
            found[-1] = (found[-1][0], end)
        else:
            found.append((first, end))
    return found


def _round_up(number: int, unit: int) -> int:
    return -(-number // unit) * unit
