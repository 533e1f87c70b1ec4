"""Storage: each real local file system, in bytes; leasable where one of the node's own folders lies on it.

A lease is a folder of its own, under ``leases/`` in the node's folder on that file system, with an exact quota
(storage_lane.py); it goes with the lease. A twentieth of each file system (at most 10 GB) is never offered: a full
disk hurts its owner more than a refusal hurts the asker. Speed is measured on request (``measure``).
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass

from worldos.drivers.driver import LaneNeeds, Leased, Sample
from worldos.drivers.machine import Machine, local_name, printable
from worldos.drivers.measure import measure_disk
from worldos.errors import BadRequest
from worldos.model.resource import Fact, Kind, Scanned

REAL = re.compile(
    "apfs|bcachefs|btrfs|exfat|ext[234]|f2fs|fuseblk|hfsplus|jfs|nilfs2|ntfs3?|overlay|reiserfs|ubifs|vfat|xfs|zfs"
)
SYSTEM_FOLDERS = ("/boot", "/efi", "/snap", "/var/lib/docker", "/var/lib/containers", "/run", "/proc", "/sys", "/dev")
RESERVE_PART = 20
RESERVE_BYTES_MAX = 10 * 1000**3
LEASES_FOLDER = "leases"

_KEY_MOUNTS = "storage.mounts"
_KEY_SPEEDS = "storage.speeds"


@dataclass(frozen=True)
class Mount:
    """One file system: its device, where it is mounted, its type, and our own folder on it (or nothing)."""

    local: str
    device: str
    folder: str
    type: str
    ours: str


class StorageDriver:
    """Every real local file system as a resource."""

    kind: str = Kind.STORAGE

    def scan(self, machine: Machine) -> list[Scanned]:
        """Describe the file systems."""
        mounts = find(machine)
        machine.remembered[_KEY_MOUNTS] = mounts
        return [scanned for mount in mounts if (scanned := _describe(machine, mount)).capacity > 0]

    def sample(self, machine: Machine) -> Sample:
        """Say what is free on each."""
        mounts = machine.remembered.get(_KEY_MOUNTS)
        if not isinstance(mounts, list):
            return Sample()
        speeds = machine.remembered.get(_KEY_SPEEDS)
        return Sample(
            free={mount.local: offered(*machine.space(mount.folder)) for mount in mounts},
            facts=speeds if isinstance(speeds, dict) else {},
        )

    def lane(self, machine: Machine, leased: Leased) -> LaneNeeds:
        """Staff one process that owns a fresh folder with a quota."""
        for mount in find(machine):
            if mount.local == leased.local and mount.ours:
                folder = os.path.join(mount.ours, LEASES_FOLDER, leased.lease)
                return LaneNeeds(
                    driver="worldos.drivers.storage_lane:StorageLane",
                    arguments={"folder": folder, "quota_bytes": leased.need.amount},
                    folder=folder,
                )
        raise BadRequest(f"{leased.local!r} is not a disk on which this node keeps files")


def find(machine: Machine) -> list[Mount]:
    """Return the file systems worth showing, each once, by local name."""
    entries = _entries(machine.text("/proc/self/mounts"))
    ours = {_holder(folder, entries): folder for folder in reversed(machine.folders)}
    chosen: dict[str, Mount] = {}
    for device, folder, kind, options in entries:
        own = ours.get(folder, "")
        if not own and not _is_shown(folder, kind, options):
            continue
        local = _local_name(device, folder)
        if local not in chosen or (own and not chosen[local].ours):
            chosen[local] = Mount(local=local, device=device, folder=folder, type=kind, ours=own)
    return [chosen[local] for local in sorted(chosen)]


def measure(machine: Machine) -> None:
    """Measure the disks that hold our folders (measure.py); what comes out is among the facts of the next samples."""
    speeds = {}
    for mount in find(machine):
        try:
            speed = measure_disk(mount.ours) if mount.ours else None
        except OSError:  # it is full, read-only or gone: a disk without a speed is still a disk
            speed = None
        if speed is not None:
            speeds[mount.local] = {"write_bytes_s": speed.write_bytes_s, "sync_us": speed.sync_us}
    machine.remembered[_KEY_SPEEDS] = speeds


def speed_of(machine: Machine, folder: str) -> dict[str, Fact]:
    """Return how fast the disk under one of our folders was when it was measured; nothing before."""
    mounts, speeds = machine.remembered.get(_KEY_MOUNTS), machine.remembered.get(_KEY_SPEEDS)
    if not isinstance(mounts, list) or not isinstance(speeds, dict):
        return {}
    local = next((mount.local for mount in mounts if mount.ours and _is_within(folder, mount.ours)), "")
    return dict(speeds.get(local, {}))


def clear(machine: Machine) -> int:
    """Remove what leases of an earlier life left behind; return how many. Only before any lease is granted."""
    removed = 0
    for folder in machine.folders:
        leases = os.path.join(folder, LEASES_FOLDER)
        if not os.path.isdir(leases):
            continue
        for name in sorted(os.listdir(leases)):
            shutil.rmtree(os.path.join(leases, name), ignore_errors=True)
            removed += 1
    return removed


def offered(total: int, free: int) -> int:
    """Return how much of a file system may be leased."""
    return max(0, free - min(total // RESERVE_PART, RESERVE_BYTES_MAX))


def _describe(machine: Machine, mount: Mount) -> Scanned:
    total, free = machine.space(mount.folder)
    facts: dict[str, Fact] = {"filesystem": mount.type, "mount": printable(mount.folder)}
    rotational = _rotational(machine, mount.device)
    if rotational is not None:
        facts["rotational"] = rotational
    return Scanned(
        kind=Kind.STORAGE,
        local=mount.local,
        name=printable(f"{mount.local} at {mount.folder}"),
        unit="B",
        capacity=total,
        free=offered(total, free),
        leasable=bool(mount.ours),
        tags=() if rotational is None else ("disk",) if rotational else ("ssd",),
        facts=facts,
    )


def _entries(text: str) -> list[tuple[str, str, str, list[str]]]:
    """Return device, folder, type and options of each mount; a later mount hides an earlier one at the same folder."""
    entries: dict[str, tuple[str, str, str, list[str]]] = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 4:
            folder = _unescaped(fields[1])
            entries[folder] = (_unescaped(fields[0]), folder, fields[2], fields[3].split(","))
    return [entries[folder] for folder in sorted(entries)]


def _unescaped(text: str) -> str:
    """Undo the octal escapes of fstab(5) for blanks in names."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def _holder(folder: str, entries: list[tuple[str, str, str, list[str]]]) -> str:
    """Return the mount point that holds ``folder``: the longest one above it."""
    above = [mounted for _, mounted, _, _ in entries if _is_within(folder, mounted)]
    return max(above, key=len, default="")


def _is_within(folder: str, outer: str) -> bool:
    return folder == outer or folder.startswith(outer.rstrip("/") + "/")


def _is_shown(folder: str, kind: str, options: list[str]) -> bool:
    if not REAL.fullmatch(kind) or "ro" in options:
        return False
    if kind == "overlay" and folder != "/":
        return False
    return not any(_is_within(folder, system) for system in SYSTEM_FOLDERS)


def _local_name(device: str, folder: str) -> str:
    if device.startswith("/dev/"):
        return local_name(device.removeprefix("/dev/").removeprefix("mapper/"))
    if folder == "/":
        return "root"
    return local_name((device if "/" in device else folder).strip("/"))


def _rotational(machine: Machine, device: str) -> bool | None:
    """Say whether the disk spins; a partition asks the disk that it is part of."""
    name = os.path.basename(device)
    if device.startswith("/dev/mapper/"):
        name = os.path.basename(os.path.realpath(machine.path(device))) or name
    base = f"/sys/class/block/{name}"
    for place in (f"{base}/queue/rotational", f"{base}/../queue/rotational"):
        value = machine.number(place)
        if value is not None:
            return value == 1
    return None


driver = StorageDriver()
