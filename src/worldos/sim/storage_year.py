"""A year of laptops: the rooms of ``store/`` that decide what is lost and what is repaired, under people's days.

Each device is on for some eight hours and off for some sixteen, now and then for a weekend; one in five dies in the year, with
its disk, and another comes after some days; some, if asked for, are away for a month and come back. Each device watches the
others with its own ``Presence`` while it is on, hears of those that it never meets from those that do (beats), remembers what
each depot answered, and when it is its turn carries out what ``health.plan`` says. Nobody sees more than a real keeper would.

The checkers know everything. No object may ever have fewer than k shares in existence. A repair is *false* if the device that
holds the share is alive, and not away for a month; *blind* if that device was even there. Four of five repairs are done within
a day of the moment at which they could be: the loss is declared, and a device that holds nothing of the object is on. The rest
waits until devices that are never on together were met one after the other; one device that is always on ends that.

Source: issue 4 ("<= 0.05 false repairs per object and year, no loss"); research of the project, ``churn.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Final

import msgspec

from worldos.store.erasure import Code
from worldos.store.health import Health, Repair, is_turn, lazy_at, plan_one
from worldos.store.limits import DAY_NS, HOUR_NS, SECOND_NS
from worldos.store.presence import Presence, Status

STEP_NS: Final = 280 * SECOND_NS  # between two looks: less than what counts as own sleep
CARE_STEPS: Final = 13  # about an hour between two rounds of care
BEGIN_NS: Final = 20_000 * DAY_NS
FALSE_REPAIRS_MAX: Final = 0.05  # per object and year
REPAIR_NS_MAX: Final = 24 * HOUR_NS

Share = tuple[int, int]  # object, index
Inventory = frozenset[Share]
Note = tuple[str, Share]


class YearSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What kind of year."""

    code: Code = Code(3, 6)
    devices: int = 9
    objects: int = 40
    days: int = 365
    deaths_per_year: float = 0.2  # of each device
    long_absences_per_year: float = 0.0  # of each device: a month away


class YearFigures(msgspec.Struct, kw_only=True):
    """What the year was like."""

    object_years: float
    deaths: int = 0
    shares_lost: int = 0  # on the disks that died
    repaired: int = 0
    false: int = 0
    early: int = 0  # of devices that were away for a month, and came back
    blind: int = 0
    objects_lost: int = 0
    returned: int = 0  # devices that were declared lost and came back
    waits_ns: list[int] = msgspec.field(
        default_factory=list
    )  # from the moment at which a repair could be to the repair

    @property
    def false_per_object_year(self) -> float:
        """The figure of the issue."""
        return self.false / self.object_years

    @property
    def late_ns(self) -> int:
        """How long four of five repairs took at most, from the moment at which they could be."""
        waits_ns = sorted(self.waits_ns)
        return waits_ns[(len(waits_ns) - 1) * 4 // 5] if waits_ns else 0

    def complaints(self) -> list[str]:
        """Say what must not be."""
        said = []
        if self.objects_lost:
            said.append(f"{self.objects_lost} objects were lost")
        if self.false_per_object_year > FALSE_REPAIRS_MAX:
            said.append(f"{self.false_per_object_year:.3f} false repairs for each object and year")
        if self.blind:
            said.append(f"{self.blind} shares were made again though who has them was there")
        if self.late_ns > REPAIR_NS_MAX:
            said.append(f"one loss in five was repaired {self.late_ns / HOUR_NS:.1f} h after it could be, or later")
        return said


class Laptop:
    """One device: its days, its disk, and what its keeper knows."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.on = False
        self.alive = True
        self.until_ns = 0  # of this stretch of being on or off
        self.disk: Inventory = frozenset()
        self.away = False  # for a month
        self.had: Inventory = frozenset()  # on the disk that died
        self.presence = Presence()
        self.remembered: dict[str, Inventory] = {}  # what each depot answered last
        self.gathered: set[Share] = set()  # shares fetched for a repair that has not enough of them yet
        self.ill_ns: dict[int, int] = {}  # since when it finds an object not whole
        self.notes: dict[int, Note] = {}  # what carers put where


Judge = Callable[[Presence, str, int], Status]


class Year:
    """One simulated year, of one seed."""

    def __init__(self, seed: int, settings: YearSettings, *, judge: Judge = Presence.status) -> None:
        """``judge`` is how a keeper tells the lost: another one than presence.py's own shows that the checkers see."""
        self.settings = settings
        self._dice = Random(seed)
        self._judge = judge
        self.now_ns = BEGIN_NS
        self.laptops: dict[str, Laptop] = {}
        self._group: set[str] = set()  # those that are on, all linked
        self._beats: dict[str, int] = {}  # what the group knows of everybody
        self._own_beats: dict[str, dict[str, int]] = {}
        self._arrivals: list[int] = []
        self._waiting: dict[int, dict[int, int]] = {}  # what is declared and truly lost; since when it is due
        self.declared: set[str] = set()  # everyone who ever was called lost
        self._counted_lost: set[str] = set()  # and has not come back
        self._told = 0  # notes of carers, counted
        self.figures = YearFigures(object_years=settings.objects * settings.days / 365)
        for _ in range(settings.devices):
            self._arrive()
        names = sorted(self.laptops)
        for number in range(settings.objects):
            for index, name in enumerate(self._dice.sample(names, settings.code.n)):
                self.laptops[name].disk |= {(number, index)}

    def run(self) -> YearFigures:
        """Live through it."""
        end_ns = BEGIN_NS + self.settings.days * DAY_NS
        step = 0
        while self.now_ns < end_ns:
            self.now_ns += STEP_NS
            step += 1
            self._turn_days()
            self._hear(step)
            if step % CARE_STEPS == 0:
                self._care()
        return self.figures

    # -- the days -------------------------------------------------------------------------------------------------------------

    def _arrive(self) -> None:
        laptop = Laptop(f"laptop{len(self.laptops):03}")
        laptop.until_ns = self.now_ns + int(self._dice.uniform(0, 16) * HOUR_NS)
        self.laptops[laptop.name] = laptop
        self._own_beats[laptop.name] = {}

    def _turn_days(self) -> None:
        while self._arrivals and self._arrivals[0] <= self.now_ns:
            heappop(self._arrivals)
            self._arrive()
        chance = self.settings.deaths_per_year * STEP_NS / (365 * DAY_NS)
        for laptop in self.laptops.values():
            if not laptop.alive:
                continue
            if self._dice.random() < chance:
                self._die(laptop)
            elif self.now_ns >= laptop.until_ns:
                self._turn(laptop)

    def _turn(self, laptop: Laptop) -> None:
        """Switch it on or off."""
        hours = self._dice.uniform(4, 12)
        if laptop.on:
            self._group.discard(laptop.name)
            self._own_beats[laptop.name] = dict(self._beats)
            hours = self._dice.uniform(8, 24) + (self._dice.uniform(12, 48) if self._dice.random() < 1 / 7 else 0)
            laptop.away = self._dice.random() < self.settings.long_absences_per_year / 365
            hours += 30 * 24 if laptop.away else 0
        else:
            laptop.away = False
            self._group.add(laptop.name)
            if laptop.name in self._counted_lost:
                self._counted_lost.discard(laptop.name)
                self.figures.returned += 1
            laptop.presence.watch(self.now_ns)
            self._exchange(laptop)
        laptop.on = not laptop.on
        laptop.until_ns = self.now_ns + int(hours * HOUR_NS)

    def _die(self, laptop: Laptop) -> None:
        laptop.alive = laptop.on = False
        self._group.discard(laptop.name)
        self.figures.deaths += 1
        self.figures.shares_lost += len(laptop.disk)
        laptop.had, laptop.disk = laptop.disk, frozenset()
        heappush(self._arrivals, self.now_ns + int(self._dice.uniform(1, 14) * DAY_NS))
        for number in range(self.settings.objects):
            if len(self._existing(number)) < self.settings.code.k:
                self.figures.objects_lost += 1

    def _existing(self, number: int) -> set[int]:
        return {index for laptop in self.laptops.values() for at, index in laptop.disk if at == number}

    # -- who hears whom -----------------------------------------------------------------------------------------------------

    def _exchange(self, laptop: Laptop) -> None:
        """Let one that wakes and those that are on tell each other how far everybody's beat is."""
        told = self._own_beats[laptop.name]
        for node, beat in sorted(told.items()):
            if beat > self._beats.get(node, 0):
                self._beats[node] = beat
                for other in sorted(self._group - {laptop.name, node}):
                    self.laptops[other].presence.seen(node, self.now_ns)
        for other in sorted(self._group - {laptop.name}):
            for number, note in sorted(laptop.notes.items() - self.laptops[other].notes.items()):
                self._take_note(self.laptops[other], number, note)
        friend = min(self._group - {laptop.name}, default=laptop.name)
        for number, note in sorted(self.laptops[friend].notes.items() - laptop.notes.items()):
            self._take_note(laptop, number, note)
        for node, beat in sorted(self._beats.items()):
            if beat > told.get(node, 0) and node != laptop.name:
                laptop.presence.seen(node, self.now_ns)

    def _take_note(self, laptop: Laptop, number: int, note: Note) -> None:
        """Believe another carer that it put a share somewhere, until that depot itself answers."""
        laptop.notes[number] = note
        node, share = note
        laptop.remembered[node] = laptop.remembered.get(node, frozenset()) | {share}

    def _hear(self, step: int) -> None:
        group = sorted(self._group)
        for name in group:
            self._beats[name] = step
            presence = self.laptops[name].presence
            presence.watch(self.now_ns)
            for other in group:
                if other != name:
                    presence.seen(other, self.now_ns)

    # -- care -----------------------------------------------------------------------------------------------------------------

    def _care(self) -> None:
        """Let each device that is on look at what the others have, and the one whose turn it is repair."""
        group = sorted(self._group)
        for name in group:
            carer = self.laptops[name]
            for other in group:
                self._ask(carer, self.laptops[other])
            self._tend(carer)
        self._begin_waits()

    def _ask(self, carer: Laptop, other: Laptop) -> None:
        """Let a carer remember what a depot that is there answers."""
        carer.remembered[other.name] = other.disk

    def _turn_of(self, carer: Laptop, number: int) -> bool:
        """Tell whether it may care for an object, which it found ill some time ago."""
        since_ns = carer.ill_ns.setdefault(number, self.now_ns)
        return is_turn(_segment(number), carer.name, self._group, waiting_ns=self.now_ns - since_ns)

    def _tend(self, carer: Laptop) -> None:
        away = [name for name in carer.presence.nodes() if name not in self._group]
        lost = frozenset(name for name in away if self._judge(carer.presence, name, self.now_ns) is Status.LOST)
        asleep = frozenset(away) - lost
        self._note_lost(lost)
        for name in sorted(lost):
            for other in sorted(self._group - {carer.name}):
                self.laptops[other].presence.doubt(name)
        if not lost:
            return
        have: dict[int, dict[int, list[str]]] = {}
        for name, disk in sorted(carer.remembered.items()):
            for number, index in disk:
                have.setdefault(number, {}).setdefault(index, []).append(name)
        unknown = sum(name not in carer.remembered for name in asleep)
        for number, holders in have.items():
            whole = len(holders) == self.settings.code.n
            if whole and not any(lost.issuperset(names) for names in holders.values()):
                carer.ill_ns.pop(number, None)
                continue
            if not self._turn_of(carer, number):
                continue
            health = Health(
                segment=_segment(number),
                code=self.settings.code,
                have={index: tuple(nodes) for index, nodes in holders.items()},
                asleep=asleep,
                lost=lost,
                gathered=frozenset(index for at, index in carer.gathered if at == number),
                unknown=unknown,
            )
            repair = plan_one(health, self._group)
            if repair is None:
                continue
            self._repair(carer, number, repair)
            if repair.indices:
                carer.gathered = {share for share in carer.gathered if share[0] != number}
            else:
                carer.gathered |= {(number, index) for index, _ in repair.sources}

    def _repair(self, carer: Laptop, number: int, repair: Repair) -> None:
        for index, target in zip(repair.indices, repair.targets, strict=False):
            share = (number, index)
            holders = [laptop for laptop in self.laptops.values() if share in laptop.disk]
            self.figures.repaired += 1
            self.figures.false += any(not laptop.away for laptop in holders)
            self.figures.early += bool(holders) and all(laptop.away for laptop in holders)
            self.figures.blind += any(laptop.on for laptop in holders)
            since_ns = self._waiting.get(number, {}).pop(index, -1)
            if since_ns >= 0:
                self.figures.waits_ns.append(self.now_ns - (since_ns or self.now_ns))
            self.laptops[target].disk |= {share}
            carer.remembered[target] = self.laptops[target].disk
            self._told += 1
            carer.notes[self._told] = (target, share)
            for other in self._group - {carer.name}:
                self._take_note(self.laptops[other], self._told, carer.notes[self._told])

    def _note_lost(self, lost: frozenset[str]) -> None:
        """Take note of what was declared lost, and truly is."""
        for name in sorted(lost - self._counted_lost):
            self._counted_lost.add(name)
            self.declared.add(name)
            for number, index in sorted(self.laptops[name].had):
                if index not in self._existing(number):
                    self._waiting.setdefault(number, {})[index] = 0

    def _begin_waits(self) -> None:
        """Let the wait for a repair begin: so much is declared that it is due, and there is a device to take a share."""
        enough = self.settings.code.n - lazy_at(self.settings.code)
        for number, waiting in self._waiting.items():
            if len(waiting) < enough or all(waiting.values()):
                continue
            if any(all(at != number for at, _ in self.laptops[name].disk) for name in self._group):
                self._waiting[number] = {index: since_ns or self.now_ns for index, since_ns in waiting.items()}


def _segment(number: int) -> bytes:
    return number.to_bytes(4, "big")


def run_year(seed: int, settings: YearSettings) -> YearFigures:
    """Live through the year of one seed."""
    return Year(seed, settings).run()
