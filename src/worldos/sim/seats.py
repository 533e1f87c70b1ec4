"""The council seats of a machine on its disk (disk.py), and when what is written there is safe.

One disk serves all seats of a machine: a flush takes a while, what is written meanwhile goes with the next one. A process that
is killed loses nothing that it wrote; when the power goes, of what was not flushed a prefix survives, torn at its end. What was
safe may rot, or an old backup come back: then the seat is *damaged* and says so. ``Seat.vote`` and ``Seat.last`` are what is safe
now, for the checkers. Times in ns of true time.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Final

from worldos.kernel.effects import Persist
from worldos.kernel.events import Persisted
from worldos.kernel.stored import Recovered
from worldos.model.limits import MS
from worldos.model.raft import Vote
from worldos.model.realm import RealmId
from worldos.sim.disk import Kept, MemoryDisk

if TYPE_CHECKING:
    from worldos.sim.machine import Machine
    from worldos.sim.world import World

FLUSH_MIN_NS: Final = 100_000
FLUSH_MAX_NS: Final = 5 * MS
STALL_NS: Final = 200 * MS  # a disk that is busy with something else
STALL_SHARE: Final = 0.002


class Seat:
    """One seat: its disk, what waits for the next flush, and what is safe."""

    __slots__ = ("backup", "disk", "last", "vote", "waiting")

    def __init__(self) -> None:
        self.disk = MemoryDisk(_nobody)
        self.disk.recover()
        self.waiting: list[Persist] = []
        self.vote = Vote(term=0)
        self.last = 0  # index of the last entry, or of the snapshot
        self.backup: list[Kept] = []

    def note(self, effect: Persist) -> None:
        """Know that this is safe now."""
        if effect.vote is not None:
            self.vote = effect.vote
        if effect.snapshot is not None:
            self.last = max(self.last, effect.snapshot.index)
        if effect.entries:
            self.last = effect.entries[-1].index


class Seats:
    """All seats of one machine."""

    __slots__ = ("_dice", "_flushing", "_machine", "_world", "ever", "flush_max_ns", "seats")

    def __init__(self, world: World, machine: Machine) -> None:
        self._world = world
        self._machine = machine
        self._dice: Random = world.disk_dice
        self._flushing: list[tuple[Seat, list[Persist]]] = []
        self.seats: dict[RealmId, Seat] = {}
        self.ever: set[RealmId] = set()  # of which realms anything was safe here once
        self.flush_max_ns = FLUSH_MAX_NS

    def persist(self, effect: Persist) -> None:
        """Begin to write."""
        seat = self.seats.get(effect.realm)
        if seat is None:
            seat = self.seats[effect.realm] = Seat()
            seat.disk.done = self._done_of(effect.realm, seat)
        seat.waiting.append(effect)
        if not self._flushing:
            self._flush()

    def drop(self, realm: RealmId) -> None:
        """Forget a seat."""
        self.seats.pop(realm, None)

    def mend(self, realm: RealmId) -> None:
        """Note that a damaged seat has caught up."""
        self.seats[realm].disk.mended()

    def recover(self) -> dict[RealmId, Recovered]:
        """Begin a life with what is on the disk."""
        found = {realm: seat.disk.recover() for realm, seat in sorted(self.seats.items())}
        for realm, recovered in found.items():
            seat = self.seats[realm]
            seat.vote = recovered.vote or Vote(term=0)
            seat.last = recovered.snapshot.index if recovered.snapshot is not None else 0
            seat.last = recovered.entries[-1].index if recovered.entries else seat.last
        return found

    def stop(self, *, power: bool) -> None:
        """End this life. ``power``: it went away, and with it what was not flushed yet, but for a prefix."""
        for seat in self.seats.values():
            _append(seat, seat.waiting)
            seat.waiting = []
            seat.disk.done = _nobody
            if power:
                seat.disk.crash(self._dice.getrandbits(30))
            else:
                seat.disk.sync()
        self.ever.update(self.seats)
        self._flushing = []
        for realm, seat in self.seats.items():
            seat.disk.done = self._done_of(realm, seat)

    def rot(self, realm: RealmId) -> None:
        """Let a bit flip on the disk of a seat, between two lives."""
        self._world.note(f"a bit flips on the disk of {self._machine.name}")
        self.seats[realm].disk.flip(self._dice.getrandbits(40))

    def save(self) -> None:
        """Make a backup of all seats."""
        for seat in self.seats.values():
            seat.backup = seat.disk.backup()

    def go_back(self) -> None:
        """Bring the backup back, between two lives."""
        self._world.note(f"an old backup comes back on {self._machine.name}")
        for seat in self.seats.values():
            if seat.backup:
                seat.disk.go_back(seat.backup)

    # -- inside ---------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        world = self._world
        self._flushing = [(seat, seat.waiting) for _, seat in sorted(self.seats.items()) if seat.waiting]
        if not self._flushing:
            return
        for seat, effects in self._flushing:
            _append(seat, effects)
            seat.waiting = []
        share = self._dice.random()
        took_ns = STALL_NS if share < STALL_SHARE else FLUSH_MIN_NS + int(share**4 * (self.flush_max_ns - FLUSH_MIN_NS))
        world.later(took_ns, self._flushed, self._flushing)

    def _flushed(self, flushing: list[tuple[Seat, list[Persist]]]) -> None:
        if self._flushing is not flushing:
            return  # of another life
        for seat, effects in flushing:
            self.ever.update(effect.realm for effect in effects)
            for effect in effects:
                seat.note(effect)
            seat.disk.sync()
        self._flush()

    def _done_of(self, realm: RealmId, seat: Seat) -> Callable[[int], None]:
        return lambda number: self._world.on(self._machine, self._tell, realm, seat, number, self._machine.boot)

    def _tell(self, realm: RealmId, seat: Seat, number: int, boot: int) -> None:
        machine = self._machine
        if machine.boot != boot or self.seats.get(realm) is not seat:
            return
        if machine.work is not None and realm == machine.work.realm:
            machine.work.persisted(number)
        else:
            self._world.feed(machine, Persisted(now_ns=self._world.clock_of(machine), realm=realm, number=number))


def _append(seat: Seat, effects: list[Persist]) -> None:
    for effect in effects:
        seat.disk.append(effect.number, effect.vote, effect.entries, effect.snapshot)


def _nobody(_: int) -> None:
    """Tell nobody that it is done: the process is gone."""
