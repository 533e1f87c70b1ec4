"""Comfort: a lent machine stays its owner's. Guests rest while somebody uses it, on battery, and where it gets too warm.

While guests are here their host is looked at every 20 ms (``Presence``); what is found freezes them at once, in the same step
of the loop, and they go on after some quiet. ``Comfort`` decides, by times and figures alone; ``Watch`` looks and acts.

Guests run on what is left over anyway (lanes/gentle.py), so work without anybody there who waits for it stops no guest; a key
does, and so does work that begins while somebody is here. Guests go on after QUIET_NS; those of a rule that lends only while
nobody uses the machine rest while it is busy, and until AWAY_NS after the last key. Warmth takes processor time away by halves
before it stops guests, so that a machine in the sun slows down and does not flutter. What makes guests rest is told to the node
as ``Felt``.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple

from worldos.agent import clock
from worldos.agent.lanes import Lanes
from worldos.agent.scanner import Scanner
from worldos.drivers.health import Heat
from worldos.drivers.presence import Presence
from worldos.kernel import lend_rules
from worldos.kernel.effects import Notice
from worldos.kernel.events import ResourcesScanned
from worldos.kernel.leases import Lease
from worldos.model.ids import LeaseId, NodeId
from worldos.model.lend import Felt
from worldos.model.limits import MS, SECOND
from worldos.model.resource import Fact, Scanned
from worldos.node import Node

PLAIN_GUESTS: Final = "WORLDOS_PLAIN_GUESTS"  # set on a server at which nobody sits: guests run like everybody
LOOK_S: Final = 0.02
IDLE_LOOK_S: Final = 5.0  # while no guest is here
QUIET_NS: Final = 10 * SECOND  # longer than the 8 s in which a terminal tells nothing new
AWAY_NS: Final = 300 * SECOND
LOAD_WINDOW_NS: Final = 60 * MS
LOAD_QUIET_NS: Final = 5 * SECOND
LOAD_LEAST_MILLI: Final = 500  # half a processor of somebody else's work; of large machines an eighth of them
LOAD_PART: Final = 8
HEAT_STEP_NS: Final = 5 * SECOND
HEAT_SHARE_LEAST: Final = 125
HEAT_BACK_MILLI_C: Final = 5_000  # so much cooler than the cap it must be before guests get more again
SHARE_ALL: Final = 1000

BUSY: Final = "this machine is busy with its owner's work"
ON_BATTERY: Final = "it runs on its battery"
TOO_WARM: Final = "it is too warm"


class Signs(NamedTuple):
    """What was seen at one look. ``input``: what somebody did since the last one."""

    input: str = ""
    load_milli: int = 0
    on_battery: bool = False
    heat: Heat = Heat()


class Wish(NamedTuple):
    """What guests are to do: rest for this reason (empty: go on), those of idle rules too, and how much of their share."""

    rests: str
    rests_idle: str
    share_permille: int
    owner_here: bool


class Comfort:
    """Decides from signs, in order. ``cores``: processors here. Times in ns."""

    def __init__(self, cores: int) -> None:
        self._load_most = max(LOAD_LEAST_MILLI, cores * 1000 // LOAD_PART)
        self._input = ""
        self._input_ns = -AWAY_NS
        self._busy_ns = -LOAD_QUIET_NS
        self._share = SHARE_ALL
        self._share_ns = 0
        self._is_hot = False

    def look(self, now_ns: int, signs: Signs) -> Wish:
        """Take in what was seen; return what guests are to do now."""
        if signs.input:
            self._input, self._input_ns = signs.input, now_ns
        if signs.load_milli >= self._load_most:
            self._busy_ns = now_ns
        self._warm(now_ns, signs.heat)
        here = now_ns - self._input_ns < AWAY_NS
        busy = BUSY if now_ns - self._busy_ns < LOAD_QUIET_NS else ""
        rests = self._why(now_ns, signs, busy if here else "")
        return Wish(rests, rests or (self._input if here else busy), self._share, here or bool(busy))

    def _why(self, now_ns: int, signs: Signs, busy: str) -> str:
        if signs.on_battery:
            return ON_BATTERY
        if now_ns - self._input_ns < QUIET_NS:
            return self._input
        return busy or (TOO_WARM if self._is_hot else "")

    def _warm(self, now_ns: int, heat: Heat) -> None:
        """Halve what guests get while it is warmer than the cap, and give back an eighth at a time when it is cooler."""
        if now_ns - self._share_ns < HEAT_STEP_NS and self._share_ns:
            return
        self._share_ns = now_ns
        if heat.milli_c >= heat.cap_milli_c:
            self._is_hot = self._share <= HEAT_SHARE_LEAST
            self._share = max(HEAT_SHARE_LEAST, self._share // 2)
        elif heat.milli_c < heat.cap_milli_c - HEAT_BACK_MILLI_C:
            self._share = min(SHARE_ALL, self._share if self._is_hot else self._share + HEAT_SHARE_LEAST)
            self._is_hot = False


class Watch:
    """Looks at the machine for its guests, and lets them rest or go on."""

    def __init__(self, node: Node, lanes: Lanes, scanner: Scanner, note: Callable[[Notice], None]) -> None:
        self._node = node
        self._lanes = lanes
        self._scanner = scanner
        self._note = note
        self._comfort = Comfort(scanner.machine.cpus())
        self._resting: set[LeaseId] = set()
        self._shares: dict[LeaseId, int] = {}
        self._news = asyncio.Event()
        self._load = (0, 0)
        self.felt = Felt(zone_s=time.localtime().tm_gmtoff)

    def is_gentle(self, holder: NodeId) -> bool:
        """Tell whether what this node holds here runs on what is left over: a guest's, unless nobody sits at this machine."""
        return lend_rules.is_guest(self._node, holder) and not os.environ.get(PLAIN_GUESTS)

    def scanned(
        self, resources: tuple[Scanned, ...], facts: dict[str, Fact], addresses: tuple[str, ...]
    ) -> ResourcesScanned:
        """Return what the drivers saw, with what the machine feels, for the node."""
        return ResourcesScanned(
            now_ns=clock.now_ns(),
            wall_ns=time.time_ns(),
            resources=resources,
            facts=facts,
            addresses=addresses,
            felt=self.felt,
        )

    def look_soon(self) -> None:
        """Somebody has got a lease here: it may be a guest's."""
        self._news.set()

    async def look_forever(self) -> None:
        """Look for as long as the agent lives."""
        presence = Presence(self._scanner.machine)
        try:
            while True:
                guests = self._guests()
                self._look(presence, guests)
                if guests:
                    await asyncio.sleep(LOOK_S)
                    continue
                self._news.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_LOOK_S):
                        await self._news.wait()
        finally:
            presence.close()

    def _look(self, presence: Presence, guests: list[Lease]) -> None:
        now_ns = clock.now_ns()
        if now_ns - self._load[0] >= LOAD_WINDOW_NS:
            self._load = (now_ns, presence.load_milli(now_ns))
        signs = Signs(
            input="" if os.environ.get(PLAIN_GUESTS) else presence.moved(),  # a terminal there is a program's
            load_milli=self._load[1],
            on_battery=self._on_battery(),
            heat=self._scanner.heat,
        )
        wish = self._comfort.look(now_ns, signs)
        before = self.felt
        self.felt = Felt(
            zone_s=time.localtime().tm_gmtoff, owner_here=wish.owner_here, rests=wish.rests if guests else ""
        )
        if bool(self.felt.rests) != bool(before.rests):
            name = "guests rest" if self.felt.rests else "guests go on"
            self._note(Notice(name=name, fields={"why": self.felt.rests or before.rests}))
        for lease in guests:
            self._apply(lease, wish)
        here = {lease.terms.lease for lease in guests}
        self._resting &= here
        self._shares = {name: share for name, share in self._shares.items() if name in here}

    def _apply(self, lease: Lease, wish: Wish) -> None:
        name = lease.terms.lease
        rests = bool(wish.rests_idle if self._is_idle_only(lease) else wish.rests)
        if rests != (name in self._resting) and self._lanes.rest(name, rests=rests):
            (self._resting.add if rests else self._resting.discard)(name)
        if self._shares.get(name, SHARE_ALL) != wish.share_permille and self._lanes.throttle(name, wish.share_permille):
            self._shares[name] = wish.share_permille

    def _guests(self) -> list[Lease]:
        leases = self._node.leases.leases.values()
        return [lease for lease in leases if not lease.held and lend_rules.is_guest(self._node, lease.holder)]

    def _is_idle_only(self, lease: Lease) -> bool:
        rule = lend_rules.rule_of(self._node, clock.now_ns(), lease)
        return rule is not None and rule.idle_only

    def _on_battery(self) -> bool:
        """Tell whether guests must rest for that: where a rule lets them run on battery, it does not count."""
        allowed = any(rule.on_battery for rule in self._node.lend.lend.rules)
        return self._node.registry.facts.get("battery") is True and not allowed
