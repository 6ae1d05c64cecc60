"""What the benchmarks measure in a process of its own runs, and is that process's."""

import sys
from pathlib import Path

import pytest
import torch

from tests.benchmarks.sections import Scope, load

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_loading_is_measured_and_its_peak_is_not_this_process_s(tmp_path: Path) -> None:
    large = torch.ones(2**28)  # 1 GB, which a child must not be charged with
    scope = Scope(torch.device("cpu"), full=False, tiny=True, rounds=1, folder=tmp_path)
    row = next(load(scope))
    del large
    assert row["what"] == "float32"
    assert 0 < row["stored_bytes"] < row["peak_bytes"] < 2**30
    assert row["load_s"] > 0
