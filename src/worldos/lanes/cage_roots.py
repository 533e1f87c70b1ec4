"""Roots of cages: the folders of control groups that one host has, where it may make them, and what a killed host left of them.

Each root is locked (flock) while its host lives, so that the next start finds and removes what a killed one left, and nothing
else: a lock says who lives in whatever namespace of processes. In version 1 the cpu controller gets a second root for gentle
leases: weights count among groups that lie beside each other, so one of the least weight must lie beside the owner's programs.
Source: Linux Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import signal
import time
from pathlib import Path
from typing import Final

from worldos.lanes.nursery import descendants

SHARES_LEAST: Final = 2  # beside a group with the usual 1024 it gets what that leaves
GENTLE: Final = "gentle"
KILL_SECONDS: Final = 5.0
LOCK_TRIES: Final = 50
V1_CONTROLLERS: Final = ("memory", "pids", "cpu", "freezer")
ROOT_PREFIX: Final = "worldos-"


def write_file(path: Path, text: str) -> None:
    """Write a control file."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def read_pids(path: Path) -> list[int]:
    """Return the processes that a control file lists; none where it is gone."""
    try:
        return [int(word) for word in path.read_text("ascii").split()]
    except OSError:
        return []


def remove_folder(folder: Path) -> bool:
    """Remove a folder; return False while something is in it."""
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def signal_all(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to those that are there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def v1_roots(name: str, locks: list[int]) -> dict[str, Path]:
    """Make and lock the roots of version 1, by controller; nothing where they cannot be made."""
    roots: dict[str, Path] = {}
    for controller, parent in _v1_parents().items():
        lock = _locked(parent / name)
        if lock is not None:
            locks.append(lock)
            with contextlib.suppress(OSError):
                write_file(parent / name / "cgroup.clone_children", "0")
                roots[controller] = parent / name
    if {"memory", "pids"} <= roots.keys():
        if "cpu" in roots:
            _add_gentle(roots, locks)
        return roots
    for root in roots.values():
        remove_folder(root)
    return {}


def v2_roots(name: str, locks: list[int]) -> dict[str, Path]:
    """Make and lock the root of version 2; nothing where it cannot be made."""
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
        elif os.getpid() in read_pids(parent / "cgroup.procs"):
            # Version 2 forbids processes beside child groups with limits: we move into a child of our own first.
            ours = {os.getpid(), *descendants(os.getpid())}
            if not ours.issuperset(read_pids(parent / "cgroup.procs")):
                return {}  # not ours alone: others' processes are not moved about
            (parent / "agent").mkdir(exist_ok=True)
            for pid in sorted(ours):
                with contextlib.suppress(ProcessLookupError):
                    write_file(parent / "agent" / "cgroup.procs", str(pid))
        write_file(parent / "cgroup.subtree_control", wanted)
        lock = _locked(root)
        if lock is None:
            return {}
        locks.append(lock)
        write_file(root / "cgroup.subtree_control", wanted)
    except OSError:
        return {}
    return {"all": root}


def clear_root(root: Path) -> bool:
    """Kill all processes below a folder of cgroups and remove it."""
    deadline = time.monotonic() + KILL_SECONDS
    while root.is_dir():
        for folder in [*folders_in(root), root]:
            state = folder / "freezer.state"
            if state.is_file() and folder != root:
                with contextlib.suppress(OSError):
                    write_file(state, "THAWED")
            inside = read_pids(folder / "cgroup.procs")
            signal_all(inside, signal.SIGKILL)
            if not inside:
                remove_folder(folder)
        if not root.is_dir():
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.002)
    return True


def folders_in(root: Path) -> list[Path]:
    """Return the cages below a folder: none where somebody else, the nursery of a host that was killed, removed it meanwhile."""
    try:
        return sorted(root.glob("*/"))
    except FileNotFoundError:
        return []


def name_of_host() -> str:
    """Return a name for the cages of this process."""
    return f"{os.getpid()}.{secrets.token_hex(6)}"


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
                clear_root(root)
            finally:
                os.close(lock)


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


def _add_gentle(roots: dict[str, Path], locks: list[int]) -> None:
    """Make a second root in the cpu controller: shares count among groups beside each other, so gentle ones need their own."""
    root = roots["cpu"].with_name(f"{roots['cpu'].name}.{GENTLE}")
    lock = _locked(root)
    if lock is None:
        return
    locks.append(lock)
    try:
        write_file(root / "cpu.idle", "1")  # whoever else wakes is let in at once
    except OSError:  # before Linux 5.15
        write_file(root / "cpu.shares", str(SHARES_LEAST))
    roots[GENTLE] = root


def _v2_parent() -> Path | None:
    path = _own_groups().get("")
    if path is None:
        return None
    for mount in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        if (mount / "cgroup.controllers").is_file():
            own = mount / path.lstrip("/")
            return own if own.is_dir() else None
    return None


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
