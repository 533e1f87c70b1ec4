"""Foresight: what a node can tell of its own end, before it comes: battery, heat, disk, memory, links.

A node that will go says so in its offer (the facts ``going_s`` and ``going_why``): the score counts it as a risk, batch work that
can stop is asked to (kernel/line), guests are sent away, and nothing new is begun there when little is left. Each cause is judged
by itself, in integers, from a few figures a machine has of itself (``Reading``), and the one that comes first is told.

A trend is a straight line from the highest to the newest of the last TREND_S. It counts only once it lasted TREND_LEAST_S and
goes on in its second half, so that one program that takes much memory at once is no trend. What is told is rounded down in steps,
so that offers do not change with every second. Times in seconds of one clock that never goes back. Source: DESIGN.md section 7;
Pinheiro, Weber, Barroso, "Failure Trends in a Large Disk Drive Population", FAST 2007 (disks that found an error die far sooner;
many give no sign at all).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from worldos.kernel.effects import Effect, Notice
from worldos.model.resource import Fact

TREND_S: Final = 900
TREND_LEAST_S: Final = 60
STILL_PART: Final = 4  # a quarter of the way at least must lie in the second half
READ_EVERY_S: Final = 10
READINGS_MAX: Final = TREND_S // READ_EVERY_S + 1
HORIZON_S: Final = 3600  # what comes later is not told, but for what a disk says of itself
BATTERY_LEAST_PERCENT: Final = 5  # where systems go to sleep by themselves
BATTERY_LOW_PERCENT: Final = 15
BATTERY_FULL_S: Final = 3 * 3600  # of a battery that has not shown yet how fast it goes
CRITICAL_ABOVE_MILLI_C: Final = 15_000  # so far above its cap a machine switches itself off
MEMORY_LEAST_PERMILLE: Final = 20
DISK_LEAST_PERMILLE: Final = 10
SCARCE_PART: Final = 8  # while more than this part is free, what fills up is only at work
FLAPS_MANY: Final = 4
DISK_FAILS_S: Final = 24 * 3600
WORN_PERCENT: Final = 100
GOING_MANY_S: Final = 86_400

GOING_S: Final = "going_s"
GOING_WHY: Final = "going_why"


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """A machine's figures of itself at one moment. What it cannot tell is as in the defaults, and means nothing.

    ``flaps``: how often a link of its own was lost or came, since it started. ``disk_why``: what a disk says against itself.
    ``wear_percent``: of the writes that its flash memory is made for.
    """

    at_s: int
    battery_percent: int = -1
    on_battery: bool = False
    milli_c: int = 0
    cap_milli_c: int = 0
    memory_free: int = 0
    memory_bytes: int = 0
    disk_free: int = 0
    disk_bytes: int = 0
    flaps: int = 0
    disk_why: str = ""
    wear_percent: int = 0


class Foreseen(NamedTuple):
    """What will make this node go, in how many seconds, and why in a sentence."""

    in_s: int
    what: str
    why: str


class Foresight:
    """The readings of the last TREND_S. ``read`` takes in one, at most each READ_EVERY_S."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []

    def read(self, reading: Reading) -> None:
        """Take in what the machine says now; one that comes too soon takes the place of the last one."""
        if len(self.readings) > 1 and reading.at_s - self.readings[-2].at_s < READ_EVERY_S:
            self.readings.pop()
        self.readings.append(reading)
        oldest_s = reading.at_s - TREND_S
        self.readings = [each for each in self.readings if oldest_s <= each.at_s <= reading.at_s][-READINGS_MAX:]

    def foreseen(self) -> tuple[Foreseen, ...]:
        """Return what is seen to come, the soonest first."""
        if not self.readings:
            return ()
        causes = (_battery, _heat, _memory, _disk_full, _disk_fails, _links)
        found = (cause(self.readings) for cause in causes)
        return tuple(sorted(each for each in found if each is not None))

    def facts(self) -> dict[str, Fact]:
        """Return what the offer says of it; nothing where nothing is seen to come."""
        first = next(iter(self.foreseen()), None)
        return {} if first is None else {GOING_S: in_steps(first.in_s), GOING_WHY: first.why}


def in_steps(in_s: int) -> int:
    """Round down, so that what is told changes seldom: to 10 s, to a minute, to 10 minutes."""
    step = 10 if in_s < 120 else 60 if in_s < 1200 else 600
    return max(0, in_s // step * step)


def _battery(readings: list[Reading]) -> Foreseen | None:
    now = readings[-1]
    if not now.on_battery or now.battery_percent < 0:
        return None
    left = now.battery_percent - BATTERY_LEAST_PERCENT
    since = [each for each in readings if each.battery_percent >= 0]
    while since and not all(each.on_battery for each in since):
        since = since[1:]
    taken_s = _until(left, [(each.at_s, each.battery_percent) for each in since])
    if taken_s is None:
        taken_s = left * BATTERY_FULL_S // 100
        if now.battery_percent > BATTERY_LOW_PERCENT:
            return None  # it has just begun: nobody knows yet
    return _soon(taken_s, "battery", f"its battery is at {now.battery_percent} %")


def _heat(readings: list[Reading]) -> Foreseen | None:
    now = readings[-1]
    if now.milli_c <= 0 or now.cap_milli_c <= 0:
        return None
    critical = now.cap_milli_c + CRITICAL_ABOVE_MILLI_C
    left_s = _until(critical - now.milli_c, [(each.at_s, -each.milli_c) for each in readings])
    if left_s is None or now.milli_c < now.cap_milli_c - CRITICAL_ABOVE_MILLI_C:
        return None  # a machine that was idle gets warmer with its first work
    return _soon(left_s, "heat", f"it gets warmer: {now.milli_c // 1000} C, and goes at {critical // 1000} C")


def _memory(readings: list[Reading]) -> Foreseen | None:
    now = readings[-1]
    if now.memory_bytes <= 0 or now.memory_free > now.memory_bytes // SCARCE_PART:
        return None
    free = [(each.at_s, each.memory_free) for each in readings if each.memory_bytes]
    left_s = _until(now.memory_free - now.memory_bytes * MEMORY_LEAST_PERMILLE // 1000, free)
    return None if left_s is None else _soon(left_s, "memory", "its memory fills up")


def _disk_full(readings: list[Reading]) -> Foreseen | None:
    now = readings[-1]
    if now.disk_bytes <= 0 or now.disk_free > now.disk_bytes // SCARCE_PART:
        return None
    free = [(each.at_s, each.disk_free) for each in readings if each.disk_bytes]
    left_s = _until(now.disk_free - now.disk_bytes * DISK_LEAST_PERMILLE // 1000, free)
    return None if left_s is None else _soon(left_s, "disk", "its disk fills up")


def _disk_fails(readings: list[Reading]) -> Foreseen | None:
    now = readings[-1]
    if now.disk_why:
        return Foreseen(DISK_FAILS_S, "disk", now.disk_why)
    if now.wear_percent >= WORN_PERCENT:
        return Foreseen(DISK_FAILS_S, "disk", f"its disk has written {now.wear_percent} % of what it is made for")
    return None


def _links(readings: list[Reading]) -> Foreseen | None:
    first, now = readings[0], readings[-1]
    flaps, taken_s = now.flaps - first.flaps, now.at_s - first.at_s
    if flaps < FLAPS_MANY or taken_s <= 0:
        return None
    return _soon(taken_s // flaps, "links", f"its link came and went {flaps} times in {max(1, taken_s // 60)} minutes")


def _until(left: int, line: list[tuple[int, int]]) -> int | None:
    """Return when what falls along a line will have fallen by ``left``; None where it does not fall, or not for long."""
    if len(line) < 2:
        return None
    top = max(range(len(line)), key=lambda at: (line[at][1], at))
    (since_s, most), (now_s, now) = line[top], line[-1]
    middle = next(value for at_s, value in reversed(line) if at_s <= (since_s + now_s) // 2)
    if now_s - since_s < TREND_LEAST_S or most <= now or (middle - now) * STILL_PART < most - now:
        return None
    return max(0, left) * (now_s - since_s) // (most - now)


def _soon(in_s: int, what: str, why: str) -> Foreseen | None:
    return Foreseen(max(0, in_s), what, why) if in_s <= HORIZON_S else None


def going_s(facts: Mapping[str, Fact]) -> int | None:
    """Return in how many seconds a node will go, as its facts say; None where they say nothing that can be."""
    said = facts.get(GOING_S)
    return said if isinstance(said, int) and not isinstance(said, bool) and 0 <= said <= GOING_MANY_S else None


def news(old: dict[str, Fact], new: dict[str, Fact]) -> list[Effect]:
    """Say so when this node begins to foresee its end, or does no more."""
    was, why = going_s(old), str(new.get(GOING_WHY, ""))
    left_s = going_s(new)
    if left_s is None:
        return [] if was is None else [Notice(name="foreseen no more", fields={"why": str(old.get(GOING_WHY, ""))})]
    return [Notice(name="foreseen", fields={"in_s": left_s, "why": why})] if was is None else []
