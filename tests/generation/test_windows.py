"""Windows cover every code once, in order, and stay where they were: over all small sizes."""

import itertools

import pytest

from jukebox_hf.generation.windows import (
    Run,
    Window,
    chain_runs,
    extension_window,
    level_windows,
    run_windows,
    upper_span,
    window_starts,
    window_stride,
)
from tests.golden_data import golden_stems, load_json

SIZES = [
    (total, context, stride)
    for total in range(1, 15)
    for context in range(1, 9)
    for stride in range(1, context + 1)
]


def test_window_starts_equal_those_of_the_original() -> None:
    for case in load_json("misc/window_starts.json"):
        starts = window_starts(case["total_length"], case["n_ctx"], case["hop_length"])
        assert starts == case["starts"]


@pytest.mark.parametrize(("total", "window", "stride"), [(3, 4, 1), (8, 4, 5), (8, 4, 0)])
def test_window_starts_refuse_what_does_not_fit(total: int, window: int, stride: int) -> None:
    with pytest.raises(ValueError, match="stride <= window <= total"):
        window_starts(total, window, stride)


def test_every_code_is_sampled_exactly_once_and_in_order() -> None:
    for total, context, stride in SIZES:
        for existing in range(total + 2):
            covered = existing
            for window in level_windows(total, context, stride, existing):
                assert window.start >= 0
                assert window.new > 0
                assert window.given >= 0
                assert window.given + window.new <= context
                assert window.start + window.given == covered
                covered = window.end
            assert covered == max(total, existing)


def test_an_interrupted_level_goes_on_with_the_same_windows() -> None:
    for total, context, stride in SIZES:
        for existing in range(total):
            windows = level_windows(total, context, stride, existing)
            for done, window in enumerate(windows, start=1):
                assert level_windows(total, context, stride, window.end) == windows[done:]


def test_windows_without_existing_codes_stand_at_the_starts() -> None:
    for total, context, stride in SIZES:
        if total >= context:
            starts = [window.start for window in level_windows(total, context, stride)]
            assert starts == window_starts(total, context, stride)


def test_short_piece_is_one_window_that_adds_what_is_missing() -> None:
    """The original asked for `total` new codes here, and made pieces that were too long."""
    assert level_windows(total=6890, context=8192, stride=1024, existing=4134) == [
        Window(start=0, given=4134, new=2756)
    ]


def test_extension_window_sees_as_much_as_fits() -> None:
    for existing, context in itertools.product(range(12), range(1, 8)):
        for new in range(1, context + 1):
            window = extension_window(existing, new, context)
            assert window.end == existing + new
            assert window.start + window.given == existing
            assert window.given + window.new == min(context, existing + new)


@pytest.mark.parametrize("new", [0, 9])
def test_extension_window_refuses_more_than_a_context(new: int) -> None:
    with pytest.raises(ValueError, match="one window adds 1 to 8 codes"):
        extension_window(existing=3, new=new, context=8)


@pytest.mark.parametrize("stem", golden_stems("sampling/*"))
def test_windows_equal_those_of_the_original_runs(stem: str) -> None:
    meta = load_json(f"{stem}.json")
    if meta["mode"] == "partial":
        existing = 0
        top = max(window["level"] for window in meta["windows"])
        first = meta["windows"][0]
        assert [window["level"] for window in meta["windows"]] == [top] * len(meta["steps"])
        assert (first["conditioned_on"], first["new"]) == (0, meta["steps"][0])
        context = max(w["conditioned_on"] + w["new"] for w in meta["windows"])
        for expected, new in zip(meta["windows"], meta["steps"], strict=True):
            window = extension_window(existing, new, context)
            assert window == (expected["start"], expected["conditioned_on"], expected["new"])
            existing += new
        return
    for level in {window["level"] for window in meta["windows"]}:
        expected = [w for w in meta["windows"] if w["level"] == level]
        context = max(w["conditioned_on"] + w["new"] for w in expected)
        total = max(w["start"] for w in expected) + context
        stride = window_stride(context, meta["hop_fraction_by_level"][level])
        existing = next(w["start"] + w["conditioned_on"] for w in expected if w["new"])
        assert level_windows(total, context, stride, existing) == [
            (w["start"], w["conditioned_on"], w["new"]) for w in expected if w["new"]
        ]


def test_released_sizes() -> None:
    starts = [w.start for w in level_windows(total=27560, context=8192, stride=4096)]
    assert starts == [0, 4096, 8192, 12288, 16384, 19368]
    windows = level_windows(total=110240, context=8192, stride=4096)
    assert len(windows) == 26
    assert [w.start for w in windows[-2:]] == [98304, 102048]


def test_codes_that_are_read_again_at_released_sizes() -> None:
    """For 20 s: windows, codes sampled, and codes given to windows, level by level."""
    found = []
    for total, context, stride in ((6890, 6144, 768), (27560, 8192, 4096), (110240, 8192, 4096)):
        windows = level_windows(total, context, stride)
        found.append((len(windows), sum(w.new for w in windows), sum(w.given for w in windows)))
    assert found == [(2, 6890, 5398), (6, 27560, 21592), (26, 110240, 102752)]


def test_stride_is_a_positive_multiple_of_the_unit() -> None:
    assert window_stride(8192, 0.5, unit=4) == 4096
    assert window_stride(6144, 0.125) == 768
    assert window_stride(64, 0.01, unit=4) == 4
    for context, unit in itertools.product(range(4, 40, 4), (1, 2, 4)):
        for percent in range(1, 101):
            stride = window_stride(context, percent / 100, unit)
            assert 0 < stride <= context
            assert stride % unit == 0


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.5])
def test_stride_refuses_other_fractions(fraction: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        window_stride(64, fraction)


def test_upper_span_covers_the_same_time_and_ends_with_the_piece() -> None:
    for ratio in (2, 4, 8):
        for start in range(0, 6 * ratio, ratio):
            for upper_context, upper_total in itertools.product(range(1, 5), range(1, 12)):
                first, last = upper_span(start, upper_context * ratio, ratio, upper_total)
                assert first * ratio == start
                assert last == min(first + upper_context, upper_total)


def test_upper_span_refuses_windows_between_upper_codes() -> None:
    with pytest.raises(ValueError, match="begin and end with an upper code"):
        upper_span(start=3, context=64, ratio=4, upper_total=100)


def test_chains_cover_the_level_overlap_enough_and_have_one_length() -> None:
    cases = 0
    for context, unit, chains in itertools.product((4, 8, 16), (1, 2, 4), range(1, 6)):
        for stride in range(unit, context + 1, unit):
            for overlap in {0, unit, min(3, stride), stride}:
                for total in range(unit, 90, unit):
                    for existing in {0, unit, total // 2, total - 1, total}:
                        past = total % 2 * (context // 4 // unit * unit)
                        runs = chain_runs(
                            total,
                            chains,
                            context=context,
                            stride=stride,
                            overlap=overlap,
                            unit=unit,
                            existing=existing,
                            past=past,
                        )
                        check_runs(runs, total, chains, context, overlap, unit, existing, past)
                        check_windows(runs, context, stride)
                        cases += len(runs) > 1
    assert cases > 1000  # not everything was one run


def check_runs(
    runs: list[Run],
    total: int,
    chains: int,
    context: int,
    overlap: int,
    unit: int,
    existing: int,
    past: int,
) -> None:
    assert 1 <= len(runs) <= chains
    assert runs[-1].end == total
    assert runs[0].begin + runs[0].existing == existing
    assert all(run.begin % unit == 0 for run in runs)
    assert len({run.length - run.opening for run in runs}) == 1
    assert runs[0].past == 0
    assert runs[0].opening == (past if len(runs) > 1 and not runs[0].existing else 0)
    for left, right in itertools.pairwise(runs):
        assert left.end - right.begin >= overlap
        assert right.begin > left.begin
        assert right.end > left.end
        assert right.begin >= existing
        assert right.existing == right.opening == 0
        assert right.past == past <= right.begin
        assert right.length + past >= context
    if len(runs) == 1:
        assert runs[0].begin == 0


def check_windows(runs: list[Run], context: int, stride: int) -> None:
    """Every code once, in order, behind what is given; after an opening all have one shape."""
    shapes = []
    for run in runs:
        windows = run_windows(run, context, stride)
        at = run.begin + run.existing
        for window in windows:
            assert window.start + window.given == at
            assert window.given + window.new <= context
            assert window.start >= run.begin - run.past
            at = window.end
        assert at == run.end
        shapes.append([window[1:] for window in windows[run.opening > 0 :]])
    if runs[0].existing == 0:
        assert all(shape == shapes[0] for shape in shapes)


def test_windows_of_a_run_are_those_of_a_piece_that_begins_there() -> None:
    for begin, total, existing in itertools.product(range(0, 12, 4), range(1, 14), range(4)):
        run = Run(begin, begin + total, existing)
        expected = level_windows(total, 6, 2, existing)
        assert run_windows(run, 6, 2) == [w._replace(start=w.start + begin) for w in expected]


def test_chains_refuse_impossible_requests() -> None:
    with pytest.raises(ValueError, match="at least 1 chain"):
        chain_runs(100, 0, context=16, stride=8, overlap=4)
    with pytest.raises(ValueError, match="overlap <= stride"):
        chain_runs(100, 2, context=16, stride=8, overlap=9)
    with pytest.raises(ValueError, match="a past is shorter than a context, in whole upper codes"):
        chain_runs(96, 2, context=16, stride=8, overlap=4, unit=4, past=6)
    with pytest.raises(ValueError, match="does not end with an upper code"):
        chain_runs(99, 2, context=16, stride=8, overlap=4, unit=4)
