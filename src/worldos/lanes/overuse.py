"""What the kernel says of memory in the cgroup that this process is in: how often it stopped something that took too much.

Where limits are held without cgroups nothing is counted, and nothing is claimed.
"""

from __future__ import annotations

import functools
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def can_count() -> bool:
    """Tell whether the kernel's counts are seen from here; in a sandbox they are not."""
    return CGROUPS.is_dir()


def stopped_for_memory() -> int:
    """Return how many processes the kernel has stopped for memory here so far; 0 where it does not count."""
    file = _counter(CGROUPS)
    return _counted(file) if file is not None else 0


@functools.cache
def _counter(cgroups: Path) -> Path | None:
    """Return the file in which the kernel counts: a process that is lent stays in its cgroup."""
    try:
        lines = Path("/proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            return cgroups / "memory" / path.lstrip("/") / "memory.oom_control"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            return cgroups / path.lstrip("/") / "memory.events"
    return None


def _counted(file: Path) -> int:
    try:
        for line in file.read_text("ascii").splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
    except (OSError, ValueError):
        return 0
    return 0
