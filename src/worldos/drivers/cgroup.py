"""What the control group of this process allows: the tightest limit on the way from it up to the root.

Reads version 2 (``cpu.max``, ``memory.max``) and version 1 (``cpu.cfs_quota_us``, ``memory.limit_in_bytes``). In a
container without a cgroup namespace the path in /proc/self/cgroup is the host's and not visible; its ancestors are,
so we walk up. Source: Linux Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldos.drivers.machine import Machine

UNLIMITED_BYTES = 1 << 60  # version 1 writes "no limit" as the largest page-aligned number


@dataclass(frozen=True)
class Cgroup:
    """Where the control files of this process are, nearest first; ``version`` 1 or 2."""

    version: int
    folders: tuple[str, ...]


def find(machine: Machine, controller: str) -> Cgroup | None:
    """Return the group in which ``controller`` (``cpu``, ``memory``) rules this process; ``None`` where none does."""
    paths = _own_paths(machine.text("/proc/self/cgroup"))
    for line in machine.text("/proc/self/mounts").splitlines():
        fields = line.split()
        if len(fields) < 4 or not fields[2].startswith("cgroup"):
            continue
        if fields[2] == "cgroup" and controller in fields[3].split(",") and controller in paths:
            return Cgroup(1, _upwards(fields[1], paths[controller]))
        if fields[2] == "cgroup2" and "" in paths and _controls(machine, fields[1], controller):
            return Cgroup(2, _upwards(fields[1], paths[""]))
    return None


def cpu_limit_milli(machine: Machine, group: Cgroup | None) -> int | None:
    """Return how many thousandths of a processor the group may use; ``None`` for no limit."""
    limits = []
    for folder in group.folders if group else ():
        if group and group.version == 2:
            quota, _, period = machine.text(f"{folder}/cpu.max", 64).partition(" ")
        else:
            quota = machine.text(f"{folder}/cpu.cfs_quota_us", 64)
            period = machine.text(f"{folder}/cpu.cfs_period_us", 64)
        if quota.strip().isdecimal() and period.strip().isdecimal() and int(period):
            limits.append(int(quota) * 1000 // int(period))
    return min(limits, default=None)


def memory_limit(machine: Machine, group: Cgroup | None) -> tuple[int, int] | None:
    """Return the limit and the free bytes of the tightest group above us; ``None`` for no limit.

    File pages that the kernel would drop (``inactive_file``) count as free, as ``MemAvailable`` counts them.
    """
    if group is None:
        return None
    limit_name, usage_name = ("memory.max", "memory.current")
    if group.version == 1:
        limit_name, usage_name = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    bounds = []
    for folder in group.folders:
        limit = machine.number(f"{folder}/{limit_name}")
        if limit is None or limit >= UNLIMITED_BYTES:
            continue
        used = machine.number(f"{folder}/{usage_name}") or 0
        used = max(0, used - _inactive_file_bytes(machine, folder))
        bounds.append((limit, max(0, limit - used)))
    if not bounds:
        return None
    return (min(limit for limit, _ in bounds), min(free for _, free in bounds))


def _inactive_file_bytes(machine: Machine, folder: str) -> int:
    for line in machine.text(f"{folder}/memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name in {"inactive_file", "total_inactive_file"} and value.isdecimal():
            return int(value)
    return 0


def _own_paths(text: str) -> dict[str, str]:
    """Return our path by controller; version 2 has the controller ``""``. Lines are ``id:controllers:path``."""
    paths = {}
    for line in text.splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            paths[controller] = path
    return paths


def _controls(machine: Machine, mount: str, controller: str) -> bool:
    return controller in machine.text(f"{mount}/cgroup.controllers", 4096).split()


def _upwards(mount: str, path: str) -> tuple[str, ...]:
    parts = [part for part in path.split("/") if part and part != ".."]
    return tuple("/".join([mount, *parts[:depth]]) for depth in range(len(parts), -1, -1))
