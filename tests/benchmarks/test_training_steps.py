"""Steps of training are taken in turns by processes of their own."""

import sys

from tests.benchmarks.bench import table
from tests.benchmarks.training_steps import steps_in_turns


def test_a_build_is_compared_with_another_step_by_step() -> None:
    (row,) = steps_in_turns(sys.executable, rounds=2, tiny=True, cases=[("prior", "float32")])
    assert row["what"] == "whole step of the prior, float32"
    assert 0 < row["cpu_from"] <= row["cpu_ratio"] <= row["cpu_to"]


def test_a_table_has_the_columns_that_its_rows_fill() -> None:
    rows = [{"section": "machine", "what": "copy", "GB/s": 9.5}, {"what": "step", "ms": 1.25}]
    lines = table(rows).splitlines()
    assert lines[0].split() == ["section", "what", "GB/s", "ms"]
    assert [line.split() for line in lines[1:]] == [["machine", "copy", "9.5"], ["step", "1.25"]]
