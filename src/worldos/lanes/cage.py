"""Cages: the limits of a lease, held for all its processes together and whatever they start.

Three mechanisms behind one small interface, tried in this order; ``describe`` says which is in force:
- *cgroup v2*, where the memory and pids controllers can be had (systemd delegates them to users);
- *cgroup v1*, where its folders are writable;
- *watch*: rlimits for each process, CPU affinity, and a look every 50 ms at what the processes of a lease take together.

The folder of a host's cages is locked (flock) while the host lives, so that the next start finds and removes what a killed
one left (``clear_leftovers``), and nothing else: a lock says who lives in whatever namespace of processes.
Memory in bytes, CPU in thousandths of a core. Source: Linux Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import secrets
import signal
import time
from pathlib import Path
from typing import Final, Protocol

import msgspec

from worldos.lanes.nursery import descendants, kill

PIDS_MAX: Final = 512
CPU_PERIOD_US: Final = 100_000
KILL_SECONDS: Final = 5.0
LOCK_TRIES: Final = 20
WATCH_SLACK_BYTES: Final = (
    1 << 30
)  # what one process may reserve above the lease before it gets MemoryError (no cgroup)
V1_CONTROLLERS: Final = ("memory", "pids", "cpu", "freezer")
ROOT_PREFIX: Final = "worldos-"


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What a lease may take. Zero: not limited here."""

    milli_cpu: int = 0
    memory_bytes: int = 0
    pids: int = PIDS_MAX
    file_bytes: int = 0


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

    def kill(self, workers: list[int]) -> None:
        """Kill all processes; some may need a moment to go."""

    def remove(self) -> bool:
        """Remove the cage; return False while something is still inside."""


def _write(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def _read_int(path: Path) -> int:
    try:
        text = path.read_text("ascii").split()
        return int(text[0])
    except (OSError, ValueError, IndexError):
        return 0


def _read_pids(path: Path) -> list[int]:
    try:
        return [int(word) for word in path.read_text("ascii").split()]
    except OSError:
        return []


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


def _remove(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


class _V1Cage:
    """A lease in cgroup v1: one folder in each controller."""

    watched = False

    def __init__(self, folders: dict[str, Path], bounds: Bounds) -> None:
        self.bounds = bounds
        self._at = folders
        for folder in folders.values():
            folder.mkdir(exist_ok=True)
        if bounds.memory_bytes:
            limit = folders["memory"] / "memory.limit_in_bytes"
            _write(limit, str(bounds.memory_bytes))
            with contextlib.suppress(OSError):  # without swap accounting the file is not there
                _write(folders["memory"] / "memory.memsw.limit_in_bytes", str(bounds.memory_bytes))
        _write(folders["pids"] / "pids.max", str(bounds.pids))
        if bounds.milli_cpu and "cpu" in folders:
            _write(folders["cpu"] / "cpu.cfs_period_us", str(CPU_PERIOD_US))
            _write(folders["cpu"] / "cpu.cfs_quota_us", str(max(1000, bounds.milli_cpu * CPU_PERIOD_US // 1000)))

    def entrances(self) -> list[str]:
        return [str(folder / "cgroup.procs") for folder in self._at.values()]

    def enforce(self, workers: list[int]) -> None:
        pass

    def rlimits(self) -> dict[int, int]:
        return _rlimits(self.bounds)

    def pids(self, workers: list[int]) -> list[int]:
        return _read_pids(self._at["pids"] / "cgroup.procs")

    def memory_bytes(self, pids: list[int]) -> int:
        return _read_int(self._at["memory"] / "memory.usage_in_bytes")

    def cpu_ns(self, pids: list[int]) -> int:
        return _cpu_ns_of(pids)

    def stopped_for_memory(self) -> int:
        return _counter(self._at["memory"] / "memory.oom_control", "oom_kill")

    def freeze(self, workers: list[int]) -> None:
        if "freezer" in self._at:
            _write(self._at["freezer"] / "freezer.state", "FROZEN")
        else:
            _signal(self.pids(workers), signal.SIGSTOP)

    def thaw(self, workers: list[int]) -> None:
        if "freezer" in self._at:
            _write(self._at["freezer"] / "freezer.state", "THAWED")
        else:
            _signal(self.pids(workers), signal.SIGCONT)

    def kill(self, workers: list[int]) -> None:
        _signal([*self.pids(workers), *workers], signal.SIGKILL)
        with contextlib.suppress(OSError):  # removed already
            self.thaw(workers)

    def remove(self) -> bool:
        return not [folder for folder in self._at.values() if not _remove(folder)]


class _V2Cage:
    """A lease in cgroup v2: one folder."""

    watched = False

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        self.bounds = bounds
        self._at = folder
        folder.mkdir(exist_ok=True)
        if bounds.memory_bytes:
            _write(folder / "memory.max", str(bounds.memory_bytes))
            with contextlib.suppress(OSError):
                _write(folder / "memory.swap.max", "0")
        _write(folder / "pids.max", str(bounds.pids))
        if bounds.milli_cpu:
            with contextlib.suppress(OSError):  # the cpu controller may not be delegated
                quota = max(1000, bounds.milli_cpu * CPU_PERIOD_US // 1000)
                _write(folder / "cpu.max", f"{quota} {CPU_PERIOD_US}")

    def entrances(self) -> list[str]:
        return [str(self._at / "cgroup.procs")]

    def enforce(self, workers: list[int]) -> None:
        pass

    def rlimits(self) -> dict[int, int]:
        return _rlimits(self.bounds)

    def pids(self, workers: list[int]) -> list[int]:
        return _read_pids(self._at / "cgroup.procs")

    def memory_bytes(self, pids: list[int]) -> int:
        return _read_int(self._at / "memory.current")

    def cpu_ns(self, pids: list[int]) -> int:
        return _counter(self._at / "cpu.stat", "usage_usec") * 1000

    def stopped_for_memory(self) -> int:
        return _counter(self._at / "memory.events", "oom_kill")

    def freeze(self, workers: list[int]) -> None:
        _write(self._at / "cgroup.freeze", "1")

    def thaw(self, workers: list[int]) -> None:
        _write(self._at / "cgroup.freeze", "0")

    def kill(self, workers: list[int]) -> None:
        try:
            _write(self._at / "cgroup.kill", "1")
        except OSError:  # before Linux 5.14
            _signal(self.pids(workers), signal.SIGKILL)

    def remove(self) -> bool:
        return _remove(self._at)


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
        return _memory_of(pids)

    def cpu_ns(self, pids: list[int]) -> int:
        return _cpu_ns_of(pids)

    def stopped_for_memory(self) -> int:
        return self._stopped

    def enforce(self, workers: list[int]) -> None:
        """Stop the largest process for memory, all for number."""
        inside = self.pids(workers)
        if self.bounds.memory_bytes and _memory_of(inside) > self.bounds.memory_bytes:
            self._stopped += 1
            kill(max(inside, key=lambda pid: _memory_of([pid])))
        if len(inside) > self.bounds.pids:
            _signal(inside, signal.SIGKILL)

    def freeze(self, workers: list[int]) -> None:
        _signal(self.pids(workers), signal.SIGSTOP)

    def thaw(self, workers: list[int]) -> None:
        _signal(self.pids(workers), signal.SIGCONT)

    def kill(self, workers: list[int]) -> None:
        _signal(self.pids(workers), signal.SIGKILL)

    def remove(self) -> bool:
        return not any(_runs(pid) for pid in self._seen)


def _rlimits(bounds: Bounds) -> dict[int, int]:
    limits = {int(resource.RLIMIT_CORE): 0}
    if bounds.file_bytes:
        limits[int(resource.RLIMIT_FSIZE)] = bounds.file_bytes
    return limits


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


class Cages:
    """The cages of one agent, under one name. ``kind``: "cgroup v2", "cgroup v1" or "watch"."""

    def __init__(self, name: str, *, kind: str | None = None) -> None:
        self.name = ROOT_PREFIX + name
        self._roots: dict[str, Path] = {}
        self._locks: list[int] = []
        self.kind = "watch"
        for candidate, prepare in (("cgroup v2", _v2_roots), ("cgroup v1", _v1_roots)):
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
        return f"limits by {self.kind} ({', '.join(sorted(self._roots))})"

    def open(self, lease: str, bounds: Bounds) -> Cage:
        """Make the cage of a lease."""
        if self.kind == "cgroup v2":
            return _V2Cage(self._roots["all"] / lease, bounds)
        if self.kind == "cgroup v1":
            return _V1Cage({c: root / lease for c, root in self._roots.items()}, bounds)
        return _WatchCage(bounds)

    def close(self) -> None:
        """Kill what is left in any cage, and remove them all."""
        for root in self._roots.values():
            _clear(root)
        while self._locks:
            os.close(self._locks.pop())


def _own_groups() -> dict[str, str]:
    """Return this process's cgroup path per controller; "" is version 2."""
    groups: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text("utf-8").splitlines():
            _number, controllers, path = line.split(":", 2)
            for controller in controllers.split(","):
                groups[controller] = path
    return groups


def _v1_parents() -> dict[str, Path]:
    groups = _own_groups()
    parents: dict[str, Path] = {}
    for controller in V1_CONTROLLERS:
        mount = Path("/sys/fs/cgroup") / controller
        if controller in groups and mount.is_dir():
            own = mount / groups[controller].lstrip("/")
            parents[controller] = own if own.is_dir() else mount
    return parents


def _v1_roots(name: str, locks: list[int]) -> dict[str, Path]:
    roots: dict[str, Path] = {}
    for controller, parent in _v1_parents().items():
        lock = _locked(parent / name)
        if lock is not None:
            locks.append(lock)
            with contextlib.suppress(OSError):
                _write(parent / name / "cgroup.clone_children", "0")
                roots[controller] = parent / name
    if {"memory", "pids"} <= roots.keys():
        return roots
    for root in roots.values():
        _remove(root)
    return {}


def _v2_parent() -> Path | None:
    path = _own_groups().get("")
    if path is None:
        return None
    for mount in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        if (mount / "cgroup.controllers").is_file():
            own = mount / path.lstrip("/")
            return own if own.is_dir() else None
    return None


def _v2_roots(name: str, locks: list[int]) -> dict[str, Path]:
    parent = _v2_parent()
    if parent is None:
        return {}
    try:
        has = set((parent / "cgroup.controllers").read_text("ascii").split())
        if not {"memory", "pids"} <= has:
            return {}
        wanted = " ".join(f"+{c}" for c in ("memory", "pids", "cpu") if c in has)
        root = parent / name
        if parent.name == "agent" and parent.parent.is_dir():
            parent = parent.parent  # we moved there at an earlier start
            root = parent / name
        elif os.getpid() in _read_pids(parent / "cgroup.procs"):
            # Version 2 forbids processes beside child groups with limits: we move into a child of our own first.
            ours = {os.getpid(), *descendants(os.getpid())}
            if not ours.issuperset(_read_pids(parent / "cgroup.procs")):
                return {}  # not ours alone: others' processes are not moved about
            (parent / "agent").mkdir(exist_ok=True)
            for pid in sorted(ours):
                with contextlib.suppress(ProcessLookupError):
                    _write(parent / "agent" / "cgroup.procs", str(pid))
        _write(parent / "cgroup.subtree_control", wanted)
        lock = _locked(root)
        if lock is None:
            return {}
        locks.append(lock)
        _write(root / "cgroup.subtree_control", wanted)
    except OSError:
        return {}
    return {"all": root}


def _clear(root: Path) -> bool:
    """Kill all processes below a folder of cgroups and remove it."""
    deadline = time.monotonic() + KILL_SECONDS
    while root.is_dir():
        for folder in [*root.glob("*/"), root]:
            state = folder / "freezer.state"
            if state.is_file() and folder != root:
                with contextlib.suppress(OSError):
                    _write(state, "THAWED")
            inside = _read_pids(folder / "cgroup.procs")
            _signal(inside, signal.SIGKILL)
            if not inside:
                _remove(folder)
        if not root.is_dir():
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def name_of_host() -> str:
    """Return a name for the cages of this process."""
    return f"{os.getpid()}.{secrets.token_hex(6)}"


def _locked(folder: Path) -> int | None:
    """Make a folder and lock it; return the descriptor that holds the lock, None if it cannot be made."""
    for _ in range(LOCK_TRIES):
        try:
            folder.mkdir(exist_ok=True)
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:  # another host, at its start, took it for a leftover before it was locked
            continue
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            time.sleep(0.001)
            continue
        if folder.is_dir() and os.fstat(lock).st_ino == folder.stat().st_ino:
            return lock
        os.close(lock)
    return None


def clear_leftovers() -> None:
    """Remove the cages of hosts that are no more, and kill what runs in them."""
    parents = [*_v1_parents().values()]
    v2 = _v2_parent()
    if v2 is not None:
        parents.extend([v2, v2.parent] if v2.name == "agent" else [v2])
    for parent in parents:
        for root in parent.glob(ROOT_PREFIX + "*"):
            try:
                lock = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # its host lives
                continue
            else:
                _clear(root)
            finally:
                os.close(lock)
