"""What a container leaves to this process: Docker, Kubernetes, SLURM limit memory and cores.

The system's files go in (`/proc/self/cgroup`, `/sys/fs/cgroup`), bytes and cores come out. Control
groups of both versions are understood; every group above counts, too.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path("/")
NO_LIMIT = 2**60  # version 1 says a number near 2**63 where there is no limit


class _Group(NamedTuple):
    folder: Path
    version: int


def free_memory(root: Path = ROOT) -> int | None:
    """Bytes that may still be used; None where nothing limits them, or no Linux is."""
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }
    found = []
    for group in _groups(root, "memory"):
        limit, usage, cached = names[group.version]
        most, used = _number(group.folder / limit), _number(group.folder / usage)
        if most is not None and used is not None and most < NO_LIMIT:
            found.append(max(most - used + _cached(group.folder / "memory.stat", cached), 0))
    return min(found, default=None)


def cores(root: Path = ROOT) -> float | None:
    """How many cores' time may be used, such as 1.5; None where nothing limits it, or no Linux."""
    found = []
    for folder, version in _groups(root, "cpu"):
        if version == 2:  # "150000 100000", or "max 100000"
            quota, _, period = _text(folder / "cpu.max").partition(" ")
        else:  # -1 is none
            quota, period = (_text(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        if quota.isdecimal() and period.isdecimal() and int(period):
            found.append(int(quota) / int(period))
    return min(found, default=None)


def _groups(root: Path, controller: str) -> Iterator[_Group]:
    """The control groups of this process, from its own to the top, that may limit something."""
    mounted = root / "sys/fs/cgroup"
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, place = rest.partition(":")
        if not controllers:
            top, version = mounted, 2
        elif controller in controllers.split(","):
            top, version = mounted / controller, 1
        else:
            continue
        # Inside a container the path may be that of the host, and the group's files are at the top.
        folder = top / place.strip("/")
        for group in [folder, *folder.parents] if folder.is_dir() else [top]:
            yield _Group(group, version)
            if group == top:
                break


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isascii() and text.isdigit() else None  # "max" is none


def _cached(path: Path, name: str) -> int:
    """Bytes of files that are only kept in case they are read again: they make room if needed."""
    values = dict(line.split(maxsplit=1) for line in _text(path).splitlines() if " " in line)
    text = values.get(name, "0")
    return int(text) if text.isdigit() else 0
