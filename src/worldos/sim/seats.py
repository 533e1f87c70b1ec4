"""The council seats on a machine's disk: what was written, what is safe, and what is left of it after a crash.

Writes of all seats go to one disk and become safe in order, after a while; then the node is told. A process that is killed
loses nothing that it wrote. When the power goes, of what was not safe yet a prefix survives: a torn write is cut off, as
the real log does. Rarely a bit flips in what was safe: then only what stands before it is left, and the seat is *damaged*.
All times in ns of true time.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import TYPE_CHECKING, Final

import msgspec

from worldos.kernel.effects import Persist
from worldos.kernel.events import Persisted
from worldos.model.limits import MS
from worldos.model.raft import Entry, Snapshot, Vote
from worldos.model.realm import RealmId

if TYPE_CHECKING:
    from worldos.sim.machine import Machine
    from worldos.sim.world import World

WRITE_MIN_NS: Final = 100_000
WRITE_MAX_NS: Final = 5 * MS
STALL_NS: Final = 200 * MS  # a disk that is busy with something else
STALL_SHARE: Final = 0.002
PAST_MAX: Final = 64  # so many writes back a bit may flip


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What a disk holds of one seat. ``damaged``: empty, or what is wrong with it: such a member must not vote."""

    vote: Vote | None = None
    snapshot: Snapshot | None = None
    entries: tuple[Entry, ...] = ()
    damaged: str = ""


class Seat:
    """One seat: what is safe, what is under way, and how it looked some writes ago."""

    __slots__ = ("past", "stored", "under_way")

    def __init__(self) -> None:
        self.stored = Stored()
        self.under_way: deque[Persist] = deque()
        self.past: deque[Stored] = deque(maxlen=PAST_MAX)


class Seats:
    """All seats of one machine. ``flip_share``: how many of its power cuts leave a flipped bit."""

    __slots__ = ("_dice", "_free_ns", "_machine", "_world", "flip_share", "seats", "write_max_ns")

    def __init__(self, world: World, machine: Machine) -> None:
        self._world = world
        self._machine = machine
        self._dice: Random = world.disk_dice
        self._free_ns = 0  # when the disk has done what it was given
        self.seats: dict[RealmId, Seat] = {}
        self.flip_share = 0.0
        self.write_max_ns = WRITE_MAX_NS

    def persist(self, effect: Persist) -> None:
        """Begin to write."""
        world = self._world
        seat = self.seats.setdefault(effect.realm, Seat())
        seat.under_way.append(effect)
        share = self._dice.random()
        took_ns = STALL_NS if share < STALL_SHARE else WRITE_MIN_NS + int(share**4 * (self.write_max_ns - WRITE_MIN_NS))
        self._free_ns = max(self._free_ns, world.now_ns + took_ns)
        world.call_at(self._free_ns, self._synced, seat, effect, self._machine.boot)

    def drop(self, realm: RealmId) -> None:
        """Forget a seat."""
        self.seats.pop(realm, None)

    def recovered(self) -> dict[RealmId, Stored]:
        """Return what the next life finds."""
        return {realm: seat.stored for realm, seat in sorted(self.seats.items())}

    def stop(self, *, power: bool) -> None:
        """End this life. ``power``: it went away, and with it what was not safe yet, but for a prefix."""
        for seat in self.seats.values():
            kept = len(seat.under_way)
            if power:
                kept = int(self._dice.random() * (kept + 1))
            for effect in list(seat.under_way)[:kept]:
                self._write(seat, effect)
            seat.under_way.clear()
            if power and seat.past and self._dice.random() < self.flip_share:
                self._flip(seat)
        self._free_ns = 0

    def _synced(self, seat: Seat, effect: Persist, boot: int) -> None:
        machine = self._machine
        if machine.boot != boot or not machine.up or not seat.under_way or seat.under_way[0] is not effect:
            return
        seat.under_way.popleft()
        self._write(seat, effect)
        self._world.on(machine, self._tell, effect, boot)

    def _tell(self, effect: Persist, boot: int) -> None:
        machine = self._machine
        if machine.boot == boot and effect.realm in self.seats:
            event = Persisted(now_ns=self._world.clock_of(machine), realm=effect.realm, number=effect.number)
            self._world.feed(machine, event)

    def _write(self, seat: Seat, effect: Persist) -> None:
        seat.past.append(seat.stored)
        seat.stored = written(seat.stored, effect)

    def _flip(self, seat: Seat) -> None:
        back = int(self._dice.random() * len(seat.past))
        before = seat.past[back]
        self._world.note(f"a bit flips on the disk of {self._machine.name}")
        seat.stored = msgspec.structs.replace(before, damaged="a record that was whole is not any more")
        seat.past.clear()


def written(stored: Stored, effect: Persist) -> Stored:
    """Return what a disk holds after one more write."""
    vote = effect.vote if effect.vote is not None else stored.vote
    snapshot, entries = stored.snapshot, stored.entries
    if effect.snapshot is not None:
        snapshot = effect.snapshot
        entries = tuple(entry for entry in entries if entry.index > snapshot.index)
    if effect.entries:
        first = effect.entries[0].index
        entries = (*(entry for entry in entries if entry.index < first), *effect.entries)
    return Stored(vote=vote, snapshot=snapshot, entries=entries, damaged=stored.damaged)
