"""How much memory the container of this process has left: Docker, Kubernetes, SLURM limit it.

The system's files go in (`/proc/self/cgroup`, `/sys/fs/cgroup`), bytes come out. Control groups of
both versions are understood; every group above counts, too.
"""

from pathlib import Path

ROOT = Path("/")
NO_LIMIT = 2**60  # version 1 says a number near 2**63 where there is no limit


def free_memory(root: Path = ROOT) -> int | None:
    """Bytes that may still be used; None where nothing limits them, or no Linux is."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    mounted = root / "sys/fs/cgroup"
    found: list[int] = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, place = rest.partition(":")
        if not controllers:
            found += _free(mounted, place, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            found += _free(mounted / "memory", place, *names)
    return min(found, default=None)


def _free(top: Path, place: str, limit: str, usage: str, cached: str) -> list[int]:
    """What each group from `place` up to the top has left; those without a limit are left out."""
    # Inside a container the path may be that of the host, and the group's files lie at the top.
    folder = top / place.strip("/")
    groups = [folder, *folder.parents] if folder.is_dir() else [top]
    found = []
    for group in groups:
        most, used = _number(group / limit), _number(group / usage)
        if most is not None and used is not None and most < NO_LIMIT:
            found.append(max(most - used + _cached(group / "memory.stat", cached), 0))
        if group == top:
            break
    return found


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if text.isascii() and text.isdigit() else None  # "max" is none


def _cached(path: Path, name: str) -> int:
    """Bytes of files that are only kept in case they are read again: they make room if needed."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    values = dict(line.split(maxsplit=1) for line in lines if " " in line)
    text = values.get(name, "0")
    return int(text) if text.isdigit() else 0
