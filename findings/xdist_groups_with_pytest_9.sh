#!/bin/bash
# pytest-xdist 3.8.0 with pytest 9.2.0, 2026-11-30.
#
# `-n 2 --dist loadgroup` spreads tests that have one `xdist_group` over both processes, without a word:
# xdist writes the group's name behind the private `_nodeid` of each test and groups by it, and pytest 9.2
# makes ids of another attribute, so the name is never seen. With pytest 8.4.2 the same tests stay together.
#
# A guess misses it: mode and marker are accepted, `--strict-markers` included, both packages are the newest
# and install together, and all tests pass as long as nothing depends on the process. It hurts whoever groups
# tests that share a costly model, a port or a device: each process makes the fixture again, or they collide.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/tests"
cat >"$folder/tests/test_group.py" <<'PYTHON'
import os
import time

import pytest


@pytest.mark.xdist_group("together")
@pytest.mark.parametrize("number", range(8))
def test_in_one_process(number):
    time.sleep(0.2)
    with open(os.environ["SEEN"], "a") as file:
        file.write(os.environ["PYTEST_XDIST_WORKER"] + "\n")
PYTHON

processes() { # how many processes ran the tests of one group, with a version of pytest
    python3 -m venv "$folder/$1"
    "$folder/$1/bin/pip" install --quiet "pytest==$1" pytest-xdist==3.8.0
    SEEN="$folder/seen-$1" "$folder/$1/bin/python" -m pytest -q -n 2 --dist loadgroup \
        -p no:cacheprovider "$folder/tests" >"$folder/said-$1"
    sort -u "$folder/seen-$1" | wc -l | tr -d ' '
}

before=$(processes 8.4.2)
now=$(processes 9.2.0)
echo "processes that ran one group of 8 tests: pytest 8.4.2: $before, pytest 9.2.0: $now"
[[ "$before" == 1 && "$now" == 2 ]]
