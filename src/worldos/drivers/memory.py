"""Memory: one resource, in bytes, honouring the control group's limit.

Free is what the kernel says can be had without swapping (``MemAvailable``), less a reserve that keeps the owner's
machine alive. A lease of memory alone is a place for bytes in a process of its own (memory_lane.py).
"""

from __future__ import annotations

from worldos.drivers import cgroup
from worldos.drivers.driver import LaneNeeds, Leased, Sample
from worldos.drivers.machine import Machine
from worldos.model.resource import Kind, Scanned

LOCAL = "0"
RESERVE_PART = 20  # a twentieth is never offered ...
RESERVE_BYTES_MAX = 512 * 1024 * 1024  # ... but no more than this

_KEY_GROUP = "memory.group"


class MemoryDriver:
    """All memory of a machine as one resource."""

    kind: str = Kind.MEMORY

    def scan(self, machine: Machine) -> list[Scanned]:
        """Describe the memory."""
        machine.remembered[_KEY_GROUP] = cgroup.find(machine, "memory")
        total, free = memory_bytes(machine)
        if total == 0:
            return []
        return [Scanned(kind=self.kind, local=LOCAL, name="memory", unit="B", capacity=total, free=free)]

    def sample(self, machine: Machine) -> Sample:
        """Say what is free."""
        _, free = memory_bytes(machine)
        return Sample(free={LOCAL: free}, node={"memory_free": free})

    def lane(self, machine: Machine, leased: Leased) -> LaneNeeds:
        """Staff one process that keeps bytes."""
        return LaneNeeds(driver="worldos.drivers.memory_lane:MemoryLane", arguments={"limit_bytes": leased.need.amount})


def memory_bytes(machine: Machine) -> tuple[int, int]:
    """Return the total and the free memory that this process may use."""
    fields = _meminfo(machine.text("/proc/meminfo", 4096))
    total = fields.get("MemTotal", 0)
    available = fields.get("MemAvailable", fields.get("MemFree", 0))
    group = machine.remembered.get(_KEY_GROUP)
    if isinstance(group, cgroup.Cgroup):
        limit = cgroup.memory_limit(machine, group)
        if limit:
            total, available = min(total, limit[0]), min(available, limit[1])
    reserve = min(total // RESERVE_PART, RESERVE_BYTES_MAX)
    return (total, max(0, min(available, total) - reserve))


def _meminfo(text: str) -> dict[str, int]:
    fields = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        number = rest.split()[:1]
        if number and number[0].isdecimal():
            fields[name] = int(number[0]) * 1024
    return fields


driver = MemoryDriver()
