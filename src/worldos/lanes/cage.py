"""Cages: the limits of a lease, held for all its processes together and whatever they start.

Three mechanisms behind one small interface, tried in this order; ``describe`` says which is in force:
- *cgroup v2*, where the memory and pids controllers can be had (systemd delegates them to users);
- *cgroup v1*, where its folders are writable;
- *watch*: rlimits for each process, CPU affinity, and a look every 50 ms at what the processes of a lease take together.

Where cages lie, and how what a killed host left is found again, is in cage_roots.py.
Memory in bytes, CPU in thousandths of a core. Source: Linux Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
"""

from __future__ import annotations

import contextlib
import functools
import os
import resource
import signal
from pathlib import Path
from typing import Final, Protocol

import msgspec

from worldos.lanes import sweep
from worldos.lanes.cage_roots import (
    GENTLE,
    ROOT_PREFIX,
    clear_root,
    read_pids,
    remove_folder,
    signal_all,
    v1_roots,
    v2_roots,
    write_file,
)
from worldos.lanes.nursery import descendants, kill

PIDS_MAX: Final = 512
CPU_PERIOD_US: Final = 100_000
PERMILLE_ALL: Final = 1000
WATCH_SLACK_BYTES: Final = (
    1 << 30
)  # what one process may reserve above the lease before it gets MemoryError (no cgroup)


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What a lease may take. Zero: not limited here."""

    milli_cpu: int = 0
    memory_bytes: int = 0
    pids: int = PIDS_MAX
    file_bytes: int = 0
    gentle: bool = False  # it runs on what others leave


class Cage(Protocol):
    """The limits of one lease in force."""

    bounds: Bounds
    watched: bool  # whether ``enforce`` must be called every 50 ms

    def enforce(self, workers: list[int]) -> None:
        """Stop what takes too much, where the kernel does not."""

    def entrances(self) -> list[str]:
        """Return the files to which a process writes "0" to come under the limits."""

    def rlimits(self) -> dict[int, int]:
        """Return what each process sets for itself."""

    def pids(self, workers: list[int]) -> list[int]:
        """Return all processes inside. ``workers``: those the host knows."""

    def memory_bytes(self, pids: list[int]) -> int:
        """Return the memory in use."""

    def cpu_ns(self, pids: list[int]) -> int:
        """Return the processor time used so far."""

    def stopped_for_memory(self) -> int:
        """Return how many processes were stopped for memory so far."""

    def freeze(self, workers: list[int]) -> None:
        """Stop all processes."""

    def thaw(self, workers: list[int]) -> None:
        """Let them go on."""

    def throttle(self, permille: int) -> bool:
        """Let it have so much of its processors; return False where this mechanism cannot."""

    def kill(self, workers: list[int]) -> None:
        """Kill all processes; some may need a moment to go."""

    def remove(self) -> bool:
        """Remove the cage; return False while something is still inside."""


def _read_int(path: Path) -> int:
    try:
        text = path.read_text("ascii").split()
        return int(text[0])
    except (OSError, ValueError, IndexError):
        return 0


def _counter(path: Path, name: str) -> int:
    with contextlib.suppress(OSError):
        for line in path.read_text("ascii").splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0


def _runs(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0] not in "ZX"
    except (OSError, IndexError):
        return False


def _cpu_ns_of(pids: list[int]) -> int:
    ticks = 0
    for pid in pids:
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
    return ticks * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))


def _memory_of(pids: list[int]) -> int:
    total = 0
    page = os.sysconf("SC_PAGE_SIZE")
    for pid in pids:
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = Path(f"/proc/{pid}/statm").read_text("ascii").split()
            total += (int(fields[1]) - int(fields[2])) * page
    return total


def _taken(pids: list[int]) -> int:
    """Return the memory in use, with that of files in memory: it is no process's own, and stays when it is not mapped."""
    return _memory_of(pids) + sweep.held(pids, _memory_device()).size_bytes


@functools.cache
def _memory_device() -> int:
    """Return where files in memory lie that have no name (memfd_create)."""
    fd = os.memfd_create("worldos", os.MFD_CLOEXEC)
    try:
        return os.fstat(fd).st_dev
    finally:
        os.close(fd)


class _V1Cage:
    """A lease in cgroup v1: one folder in each controller. ``beside``: a cpu group that is not idle, to end in."""

    watched = False

    def __init__(self, folders: dict[str, Path], bounds: Bounds, beside: Path | None = None) -> None:
        self.bounds = bounds
        self._at = folders
        self._beside = beside
        for folder in folders.values():
            folder.mkdir(exist_ok=True)
        if bounds.memory_bytes:
            limit = folders["memory"] / "memory.limit_in_bytes"
            write_file(limit, str(bounds.memory_bytes))
            with contextlib.suppress(OSError):  # without swap accounting the file is not there
                write_file(folders["memory"] / "memory.memsw.limit_in_bytes", str(bounds.memory_bytes))
        write_file(folders["pids"] / "pids.max", str(bounds.pids))
        if "cpu" in folders:
            write_file(folders["cpu"] / "cpu.cfs_period_us", str(CPU_PERIOD_US))
            self.throttle(PERMILLE_ALL)

    def entrances(self) -> list[str]:
        return [str(folder / "cgroup.procs") for folder in self._at.values()]

    def enforce(self, workers: list[int]) -> None:
        pass

    def rlimits(self) -> dict[int, int]:
        return _rlimits(self.bounds)

    def pids(self, workers: list[int]) -> list[int]:
        return read_pids(self._at["pids"] / "cgroup.procs")

    def memory_bytes(self, pids: list[int]) -> int:
        return _read_int(self._at["memory"] / "memory.usage_in_bytes")

    def cpu_ns(self, pids: list[int]) -> int:
        return _cpu_ns_of(pids)

    def stopped_for_memory(self) -> int:
        return _counter(self._at["memory"] / "memory.oom_control", "oom_kill")

    def freeze(self, workers: list[int]) -> None:
        if "freezer" in self._at:
            write_file(self._at["freezer"] / "freezer.state", "FROZEN")
        else:
            signal_all(self.pids(workers), signal.SIGSTOP)

    def thaw(self, workers: list[int]) -> None:
        if "freezer" in self._at:
            write_file(self._at["freezer"] / "freezer.state", "THAWED")
        else:
            signal_all(self.pids(workers), signal.SIGCONT)

    def throttle(self, permille: int) -> bool:
        if "cpu" in self._at:
            write_file(self._at["cpu"] / "cpu.cfs_quota_us", _quota_us(self.bounds, permille) or "-1")
        return "cpu" in self._at

    def kill(self, workers: list[int]) -> None:
        inside = self.pids(workers)
        if self._beside is not None:  # to end takes processor time too
            for pid in inside:
                with contextlib.suppress(OSError):
                    write_file(self._beside / "cgroup.procs", str(pid))
        signal_all([*inside, *workers], signal.SIGKILL)
        with contextlib.suppress(OSError):  # removed already
            self.thaw(workers)

    def remove(self) -> bool:
        return not [folder for folder in self._at.values() if not remove_folder(folder)]


class _V2Cage:
    """A lease in cgroup v2: one folder."""

    watched = False

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        self.bounds = bounds
        self._at = folder
        folder.mkdir(exist_ok=True)
        if bounds.memory_bytes:
            write_file(folder / "memory.max", str(bounds.memory_bytes))
            with contextlib.suppress(OSError):
                write_file(folder / "memory.swap.max", "0")
        write_file(folder / "pids.max", str(bounds.pids))
        if bounds.milli_cpu:
            self.throttle(PERMILLE_ALL)
        if bounds.gentle:
            with contextlib.suppress(OSError):  # the controller may not be delegated, or the kernel older than 5.15
                write_file(folder / "cpu.idle", "1")

    def entrances(self) -> list[str]:
        return [str(self._at / "cgroup.procs")]

    def enforce(self, workers: list[int]) -> None:
        pass

    def rlimits(self) -> dict[int, int]:
        return _rlimits(self.bounds)

    def pids(self, workers: list[int]) -> list[int]:
        return read_pids(self._at / "cgroup.procs")

    def memory_bytes(self, pids: list[int]) -> int:
        return _read_int(self._at / "memory.current")

    def cpu_ns(self, pids: list[int]) -> int:
        return _counter(self._at / "cpu.stat", "usage_usec") * 1000

    def stopped_for_memory(self) -> int:
        return _counter(self._at / "memory.events", "oom_kill")

    def freeze(self, workers: list[int]) -> None:
        write_file(self._at / "cgroup.freeze", "1")

    def thaw(self, workers: list[int]) -> None:
        write_file(self._at / "cgroup.freeze", "0")

    def throttle(self, permille: int) -> bool:
        try:
            write_file(self._at / "cpu.max", f"{_quota_us(self.bounds, permille) or 'max'} {CPU_PERIOD_US}")
        except OSError:  # the cpu controller may not be delegated
            return False
        return True

    def kill(self, workers: list[int]) -> None:
        if self.bounds.gentle:
            with contextlib.suppress(OSError):
                write_file(self._at / "cpu.idle", "0")  # to end takes processor time too
        try:
            write_file(self._at / "cgroup.kill", "1")
        except OSError:  # before Linux 5.14
            signal_all(self.pids(workers), signal.SIGKILL)

    def remove(self) -> bool:
        return remove_folder(self._at)


class _WatchCage:
    """A lease without cgroups: its processes are found by their parents, and looked at every now and then.

    Whoever has seen a process once knows it until it is gone, so one that leaves its parents is still stopped.
    """

    watched = True

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._seen: set[int] = set()
        self._stopped = 0

    def entrances(self) -> list[str]:
        return []

    def rlimits(self) -> dict[int, int]:
        limits = _rlimits(self.bounds)
        if self.bounds.memory_bytes:
            limits[int(resource.RLIMIT_DATA)] = self.bounds.memory_bytes + WATCH_SLACK_BYTES
        return limits

    def pids(self, workers: list[int]) -> list[int]:
        found = set(workers)
        for worker in workers:
            found.update(descendants(worker))
        self._seen = {pid for pid in self._seen | found if _runs(pid)}
        return sorted(self._seen)

    def memory_bytes(self, pids: list[int]) -> int:
        return _taken(pids)

    def cpu_ns(self, pids: list[int]) -> int:
        return _cpu_ns_of(pids)

    def stopped_for_memory(self) -> int:
        return self._stopped

    def enforce(self, workers: list[int]) -> None:
        """Stop the largest process for memory, all for number."""
        inside = self.pids(workers)
        if self.bounds.memory_bytes and _taken(inside) > self.bounds.memory_bytes:
            self._stopped += 1
            kill(max(inside, key=lambda pid: _taken([pid])))
        if len(inside) > self.bounds.pids:
            signal_all(inside, signal.SIGKILL)

    def freeze(self, workers: list[int]) -> None:
        signal_all(self.pids(workers), signal.SIGSTOP)

    def thaw(self, workers: list[int]) -> None:
        signal_all(self.pids(workers), signal.SIGCONT)

    def throttle(self, permille: int) -> bool:
        return False

    def kill(self, workers: list[int]) -> None:
        signal_all(self.pids(workers), signal.SIGKILL)

    def remove(self) -> bool:
        return not any(_runs(pid) for pid in self._seen)


def _quota_us(bounds: Bounds, permille: int) -> str:
    """Return how much of a period a lease may run; empty for as much as there is."""
    if not bounds.milli_cpu and permille >= PERMILLE_ALL:
        return ""
    milli_cpu = bounds.milli_cpu or 1000 * len(os.sched_getaffinity(0))
    return str(max(1000, milli_cpu * permille // PERMILLE_ALL * CPU_PERIOD_US // 1000))


def _rlimits(bounds: Bounds) -> dict[int, int]:
    limits = {int(resource.RLIMIT_CORE): 0}
    if bounds.file_bytes:
        limits[int(resource.RLIMIT_FSIZE)] = bounds.file_bytes
    return limits


class Cages:
    """The cages of one agent, under one name. ``kind``: "cgroup v2", "cgroup v1" or "watch"."""

    def __init__(self, name: str, *, kind: str | None = None) -> None:
        self.name = ROOT_PREFIX + name
        self._roots: dict[str, Path] = {}
        self._locks: list[int] = []
        self.kind = "watch"
        for candidate, prepare in (("cgroup v2", v2_roots), ("cgroup v1", v1_roots)):
            if kind in {None, candidate}:
                roots = prepare(self.name, self._locks)
                if roots:
                    self._roots, self.kind = roots, candidate
                    break

    @property
    def folders(self) -> list[str]:
        """Where the cages are, to be removed if this process is killed."""
        return [str(root) for root in self._roots.values()]

    def describe(self) -> str:
        """Say which mechanism holds the limits."""
        if self.kind == "watch":
            return "limits by rlimits and a memory watch every 50 ms (no writable cgroup)"
        return f"limits by {self.kind} ({', '.join(sorted(set(self._roots) - {GENTLE}))})"

    def open(self, lease: str, bounds: Bounds) -> Cage:
        """Make the cage of a lease."""
        if self.kind == "cgroup v2":
            return _V2Cage(self._roots["all"] / lease, bounds)
        if self.kind == "cgroup v1":
            folders = {c: root / lease for c, root in self._roots.items() if c != GENTLE}
            if not (bounds.gentle and GENTLE in self._roots):
                return _V1Cage(folders, bounds)
            folders["cpu"] = self._roots[GENTLE] / lease
            return _V1Cage(folders, bounds, beside=self._roots["cpu"])
        return _WatchCage(bounds)

    def close(self) -> None:
        """Kill what is left in any cage, and remove them all."""
        for root in self._roots.values():
            clear_root(root)
        while self._locks:
            os.close(self._locks.pop())
