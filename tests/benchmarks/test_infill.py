"""Groups of candidates: the best of each by what is scored in use, averaged."""

import pytest

from tests.benchmarks.infill import SPANS, Hole, table


def hole(*bits: float, original: float = 1.0) -> Hole:
    """Candidates whose first codes cost so many bits, and later ones ten times that."""
    made = [dict(zip(SPANS, (one, one, 10 * one), strict=True)) for one in bits]
    return Hole(dict.fromkeys(SPANS, original), made)


def test_the_best_of_each_group_is_averaged() -> None:
    found = hole(4, 3, 2, 6, 5, 7, 9, 8)
    assert found.best_of(1, "first 64") == pytest.approx(5.5)
    assert found.best_of(4, "first 64") == pytest.approx((2 + 5) / 2)
    assert found.best_of(8, "129 to 512") == pytest.approx(20)


def test_the_share_is_of_what_the_seam_costs() -> None:
    lines = table([hole(4, 3, 2, 5), hole(5, 4, 3, 6)], 4).splitlines()
    cells = {line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in lines}
    assert cells["original"][0] == "1.000 ± 0.000"
    assert cells["a candidate"][0].startswith("4.000 ±")
    assert cells["taken away by the best of 4"][0] == "50%"  # (4 - 2.5) / (4 - 1)
    same = table([hole(1, 1, 1, 1), hole(1, 1, 1, 1)], 4).splitlines()[-1]
    assert same.count("no cost") == 2  # later codes cost ten times what the original does
