"""Store: room for shares of files that outlive their lease, in bytes; one resource a node, if it lends any.

The shares lie in the node's depot, which a process of its own serves (files/keeper.py): a lease of a Store is the right to put
more there, and its door is that process's socket. How much is lent is a choice of the owner (``Lent``, from the settings); what
is kept already, the keeper writes into a file beside it. Never more is offered than the file system can spare (storage.py).
"""

from __future__ import annotations

import os
from typing import Final

import msgspec

from worldos.drivers import storage
from worldos.drivers.driver import LaneNeeds, Leased, Sample
from worldos.drivers.machine import Machine
from worldos.errors import BadRequest
from worldos.model.resource import Fact, Kind, Scanned

LOCAL: Final = "depot"
LENT_KEY: Final = "store.lent"  # where the agent leaves what is lent (Machine.remembered)
USAGE_FILE: Final = "usage"
SPARE: Final = -1  # lend what the disk can spare: half of it, and no more than this
SPARE_BYTES_MAX: Final = 1000**4
STEP_PART: Final = 16  # so coarse is a size that follows the disk: others are told of every change


class Lent(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner lends: where it lies, its door, how much at most (SPARE: what there is), and for whom."""

    folder: str
    door: str
    size_bytes: int
    whom: str


class Usage(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a keeper says of its depot."""

    used_bytes: int


class StoreDriver:
    """The room for files of others, and of this account."""

    kind: str = Kind.STORE

    def scan(self, machine: Machine) -> list[Scanned]:
        """Describe what is lent."""
        lent = _lent(machine)
        if lent is None:
            return []
        used = usage(lent.folder).used_bytes
        total, free = _space(machine, lent.folder)
        capacity = lent_bytes(lent.size_bytes, used, free)
        if capacity <= 0:
            return []
        facts: dict[str, Fact] = {"for": lent.whom}
        return [
            Scanned(
                kind=Kind.STORE,
                local=LOCAL,
                name="room for files",
                unit="B",
                capacity=capacity,
                free=_free(capacity, used, total, free),
                facts=facts,
            )
        ]

    def sample(self, machine: Machine) -> Sample:
        """Say how much of it is left."""
        lent = _lent(machine)
        if lent is None:
            return Sample()
        used = usage(lent.folder).used_bytes
        total, free = _space(machine, lent.folder)
        left = _free(lent_bytes(lent.size_bytes, used, free), used, total, free)
        return Sample(free={LOCAL: left}, facts={LOCAL: storage.speed_of(machine, lent.folder)})

    def lane(self, machine: Machine, leased: Leased) -> LaneNeeds:
        """Name the door of the depot: it stands already."""
        lent = _lent(machine)
        if lent is None or leased.local != LOCAL:
            raise BadRequest("this node keeps no files of others")
        return LaneNeeds(door=lent.door, workers=0)


def lent_bytes(chosen_bytes: int, used_bytes: int, free_bytes: int) -> int:
    """Return the size of a depot: what its owner chose, or half of what the disk has left beside it, in coarse steps."""
    if chosen_bytes != SPARE:
        return chosen_bytes
    spare = min((used_bytes + free_bytes) // 2, SPARE_BYTES_MAX)
    if spare < STEP_PART:
        return 0
    step = 1 << ((spare // STEP_PART).bit_length() - 1)
    return spare // step * step


def usage(folder: str) -> Usage:
    """Return what the keeper wrote last; nothing where none ran yet."""
    try:
        with open(os.path.join(folder, USAGE_FILE), "rb") as file:
            return msgspec.msgpack.decode(file.read(), type=Usage)
    except (OSError, msgspec.DecodeError):
        return Usage(used_bytes=0)


def write_usage(folder: str, now: Usage) -> None:
    """Leave the usage for the driver; it is worth no sync, for the keeper counts anew when it starts."""
    file = os.path.join(folder, USAGE_FILE)
    with open(f"{file}.new", "wb") as out:
        out.write(msgspec.msgpack.encode(now))
    os.replace(f"{file}.new", file)


def _lent(machine: Machine) -> Lent | None:
    lent = machine.remembered.get(LENT_KEY)
    return lent if isinstance(lent, Lent) and lent.size_bytes else None


def _space(machine: Machine, folder: str) -> tuple[int, int]:
    """Return the total and the free bytes where the depot lies, or will."""
    return machine.space(folder if os.path.isdir(folder) else os.path.dirname(folder))


def _free(capacity: int, used: int, total: int, free: int) -> int:
    return max(0, min(capacity - used, storage.offered(total, free)))


driver = StoreDriver()
