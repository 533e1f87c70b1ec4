"""Looking at the machine for the node: a whole survey at start and now and then, samples in between.

Samples are taken twice a second while something is leased here, else each second.

Runs the drivers in a thread, so that a slow disk or a stuck driver never holds up the agent's loop.
"""

from __future__ import annotations

import msgspec

from worldos.agent import clock
from worldos.drivers import storage
from worldos.drivers.driver import Driver, Report, Sample, found
from worldos.drivers.health import Heat, heat, reading
from worldos.drivers.machine import Machine
from worldos.drivers.survey import sample, survey
from worldos.kernel.foresight import Foresight
from worldos.kernel.question import ISOLATION
from worldos.lanes import net_space
from worldos.lanes.classes import Classes
from worldos.model.limits import SECOND
from worldos.model.resource import Fact, Scanned

STEP_S = 0.5
QUIET_STEPS = 2  # from one sample to the next while nothing is leased here
STEPS_PER_HEAT = 4
STEPS_PER_READING = 20  # of what tells how long this machine will last
STEPS_PER_SURVEY = 120  # a camera that was plugged in or a disk that went is seen within a minute
PRIVATE_NET = "private_net"  # the fact: whether leases here can be joined to a private network
STEPS_BEFORE_DISKS = 6  # disks are measured when a node has lived for some seconds: short programs never wait for it


class Scanner:
    """The drivers, the machine, and what they said last. ``look`` blocks: call it in a thread, one at a time."""

    def __init__(self, folders: list[str], report: Report) -> None:
        self.machine = Machine(folders=folders)
        storage.clear(self.machine)  # what leases of an earlier life left behind
        self.drivers: dict[str, Driver] = found(report)
        self.extra: dict[str, Fact] = {}
        self.classes = Classes()
        self.private_net = not net_space.why_not()
        self.heat = Heat()
        self._foresight = Foresight()
        self._report = report
        self._resources: tuple[Scanned, ...] = ()
        self._facts: dict[str, Fact] = {}
        self._steps = -1
        self._anew = False

    def look_anew(self) -> None:
        """Have the next look be a whole survey: what is offered was changed by hand."""
        self._anew = True

    def look(self, steps: int = 1) -> tuple[tuple[Scanned, ...], dict[str, Fact]]:
        """Return the resources and the node's facts as they are now, so many ``steps`` of half a second after the last look."""
        before, self._steps = self._steps, self._steps + steps
        if self._anew or self._is_due(before, STEPS_PER_SURVEY):
            self._anew = False
            whole = survey(self.machine, self.drivers, self._report)
            self._resources, self._facts = whole.resources, whole.facts
        if before < STEPS_BEFORE_DISKS <= self._steps:
            storage.measure(self.machine)
            self.classes.prove()
            for isolation, why in self.classes.missing.items():
                self._report(f"isolation {isolation}", why)
        if self._is_due(before, STEPS_PER_READING):
            self._foresight.read(reading(self.machine, clock.now_ns() // SECOND))
        if self._is_due(before, STEPS_PER_HEAT):
            self.heat = heat(self.machine)
        samples, facts = sample(self.machine, self.drivers, self._report)
        resources = tuple(_sampled(item, samples.get(item.kind)) for item in self._resources)
        going = self._foresight.facts()
        return resources, {**self._standing(), **self._facts, **facts, **going, **self.extra}

    def _is_due(self, before: int, every: int) -> bool:
        return before // every < self._steps // every

    def _standing(self) -> dict[str, Fact]:
        """Return what is so unless a driver knows better."""
        return {"battery": False, ISOLATION: self.classes.word, PRIVATE_NET: self.private_net}


def _sampled(item: Scanned, now: Sample | None) -> Scanned:
    if now is None:
        return item
    free = min(now.free.get(item.local, item.free), item.capacity)
    return msgspec.structs.replace(item, free=free, facts={**item.facts, **now.facts.get(item.local, {})})
