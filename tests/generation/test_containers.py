"""Memory limits of containers are seen: control groups of both versions, nested or not."""

from pathlib import Path

import pytest

from jukebox_hf.generation.containers import free_memory


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n", encoding="utf-8")


TWO = "sys/fs/cgroup/{}memory.{}"
ONE = "sys/fs/cgroup/memory/{}memory.{}"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/"}, None),
        (
            {
                "proc/self/cgroup": "0::/",
                TWO.format("", "max"): "900000000",
                TWO.format("", "current"): "100000000",
            },
            800000000,
        ),
        (  # a group without a limit in one with a limit; files that were read make room
            {
                "proc/self/cgroup": "0::/slurm/job_7",
                TWO.format("slurm/job_7/", "max"): "max",
                TWO.format("slurm/job_7/", "current"): "5",
                TWO.format("slurm/", "max"): "1000",
                TWO.format("slurm/", "current"): "700",
                TWO.format("slurm/", "stat"): "anon 1\ninactive_file 200",
            },
            500,
        ),
        (  # the path is the host's, the files are the container's
            {
                "proc/self/cgroup": "12:cpu,cpuacct:/docker/a\n11:memory:/docker/abc",
                ONE.format("", "limit_in_bytes"): "1000",
                ONE.format("", "usage_in_bytes"): "900",
                ONE.format("", "stat"): "total_inactive_file 50",
            },
            150,
        ),
        (
            {
                "proc/self/cgroup": "11:memory:/",
                ONE.format("", "limit_in_bytes"): "9223372036854771712",
                ONE.format("", "usage_in_bytes"): "900",
            },
            None,
        ),
        (
            {
                "proc/self/cgroup": "0::/",
                TWO.format("", "max"): "100",
                TWO.format("", "current"): "200",
            },
            0,
        ),
        ({"proc/self/cgroup": "rubbish\n\n:::", TWO.format("", "max"): "x"}, None),
    ],
)
def test_what_a_container_has_left(
    files: dict[str, str], expected: int | None, tmp_path: Path
) -> None:
    write(tmp_path, files)
    assert free_memory(tmp_path) == expected
