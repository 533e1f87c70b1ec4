"""What must hold after every step, whatever happened: checked from outside, from the tables of all nodes at once.

- Capacity: what a node has lent of a resource is the sum of its leases, counted anew, and never above what there is.
- Belief: a lease that a holder believes in, by its own clock, is a lease at the node that granted it in the same life, unless
  that node ended it by its own will (its word is on the way then) or lives no more. So a holder always stops before the
  capacity is given to another, and what all holders together believe to have fits in the capacity.
- Calls: each has at most one outcome and the right one; with ``retries=0`` it never begins twice.
- Offers never go back in time.
- A use that was granted has all its leases.
- Replay: a snapshot of a node and the events since then give the same effects again.

``Violation`` is the one error; the tests of this file plant bugs to see that each is caught.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worldos.kernel.effects import CloseLane, Effect, OpenLane, Send, Tell
from worldos.kernel.events import ClockTicked, Event, PathMeasured, PeerSaid
from worldos.model.ids import LeaseId, NodeId, ResourceId
from worldos.model.limits import SECOND
from worldos.model.local import LeaseLost, UseGranted
from worldos.model.swim import Ack, Nack, Ping, PingRequest
from worldos.model.wire import OfferTold
from worldos.sim.journal import MemoryJournal
from worldos.sim.machine import Machine
from worldos.sim.programs import Program

if TYPE_CHECKING:
    from worldos.sim.world import World

OVERDUE: Final = frozenset({"released", "expired"})  # why a node ends a lease that nobody may believe in any more
ALL_EVERY_NS: Final = 2 * SECOND
REPLAY_EVENTS: Final = 400
QUIET: Final = frozenset({Ping, Ack, PingRequest, Nack, ClockTicked, PathMeasured})  # alone, they change no lease


class Violation(AssertionError):
    """Something that must always hold did not."""


class Safety:
    """The checks of capacity, belief and offers, at the machine that took a step; now and then at all of them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.withdrawn: set[LeaseId] = set()  # ended by the will of the granting node
        self.offers: dict[tuple[int, int, NodeId], tuple[int, int]] = {}
        self.programs: list[Program] = []  # those whose calls are still looked at
        self.all_ns = 0
        self.all_every_ns = ALL_EVERY_NS
        self.checks = 0

    def stepped(self, machine: Machine, event: Event, effects: list[Effect]) -> None:
        """Look at the machine that took in an event."""
        kind = type(event.message) if type(event) is PeerSaid else type(event)
        if kind is OfferTold:
            self._offers(machine)
        if kind not in QUIET or not _are_pings(effects):
            self._look(machine, effects)
        if self.world.now_ns >= self.all_ns:
            self.all_ns = self.world.now_ns + self.all_every_ns
            self.look_at_all()

    def look_at_all(self) -> None:
        """Look at every machine."""
        for machine in self.world.machines:
            if machine.up:
                self._capacity(machine)
                self._belief(machine)
                self._offers(machine)
        self._sum_of_beliefs()
        check_calls(self.world, self.programs)
        self.programs = [program for program in self.programs if not program.over]

    def _look(self, machine: Machine, effects: list[Effect]) -> None:
        self.checks += 1
        self._capacity(machine)
        self._belief(machine)
        for effect in effects:
            if type(effect) is CloseLane:
                if effect.why in OVERDUE:
                    self._nobody_believes(effect.lease, effect.why)
                else:
                    self.withdrawn.add(effect.lease)
            elif type(effect) is OpenLane:
                self._lease_is_there(machine, effect.terms.lease)
            elif type(effect) is Tell and type(effect.message) is UseGranted:
                self._has_all(machine, effect.message)
            elif type(effect) is Tell and type(effect.message) is LeaseLost:
                self._is_lost(machine, effect.message.lease)

    # -- capacity -----------------------------------------------------------------------------------------------------------

    def _capacity(self, machine: Machine) -> None:
        assert machine.node is not None
        table = machine.node.leases
        lent: dict[ResourceId, int] = {}
        for lease in table.leases.values():
            for resource, amount in lease.takes.items():
                lent[resource] = lent.get(resource, 0) + amount
            if sum(a for r, a in lease.takes.items() if r in lease.terms.resources) < lease.terms.need.amount:
                raise Violation(f"{machine.name} counts less for {lease.terms.lease} than it grants")
        if lent != {resource: amount for resource, amount in table.lent.items() if amount}:
            raise Violation(f"{machine.name} counts {table.lent} as lent, and its leases take {lent}")
        for resource, amount in lent.items():
            if amount > table.capacity[resource]:
                raise Violation(f"{machine.name} lent {amount} of {resource}, and has {table.capacity[resource]}")

    def _sum_of_beliefs(self) -> None:
        world = self.world
        believed: dict[ResourceId, int] = {}
        for holder in world.machines:
            for name in self._believed(holder):
                assert holder.node is not None
                terms = holder.node.uses.held.leases[name].terms
                granter = world.by_id[terms.node]
                if granter.up and granter.boot == terms.boot and name not in self.withdrawn:
                    for resource in terms.resources:
                        share = terms.need.amount // len(terms.resources)
                        believed[resource] = believed.get(resource, 0) + share
        for machine in world.machines:
            for resource, capacity in machine.node.leases.capacity.items() if machine.node else ():
                if believed.get(resource, 0) > capacity:
                    raise Violation(f"holders believe to have {believed[resource]} of {capacity} of {resource}")

    # -- belief -------------------------------------------------------------------------------------------------------------

    def _believed(self, holder: Machine) -> list[LeaseId]:
        if not holder.up or holder.node is None:
            return []
        now_ns = self.world.clock_of(holder)
        return [name for name, held in holder.node.uses.held.leases.items() if held.good_until_ns > now_ns]

    def _belief(self, holder: Machine) -> None:
        assert holder.node is not None
        for name in self._believed(holder):
            terms = holder.node.uses.held.leases[name].terms
            granter = self.world.by_id[terms.node]
            if granter.boot != terms.boot or not granter.up or granter.lost or name in self.withdrawn:
                continue
            assert granter.node is not None
            lease = granter.node.leases.leases.get(name)
            if lease is None or lease.holder != holder.id:
                raise Violation(f"{holder.name} believes in {name}, and {granter.name} does not know it")
            if lease.held:
                raise Violation(f"{holder.name} believes in {name}, and {granter.name} only holds it for a gang")

    def _nobody_believes(self, name: LeaseId, why: str) -> None:
        for holder in self.world.machines:
            if name in self._believed(holder):
                raise Violation(f"{holder.name} believes in {name}, and its node ended it: {why}")

    def _lease_is_there(self, machine: Machine, name: LeaseId) -> None:
        assert machine.node is not None
        lease = machine.node.leases.leases.get(name)
        if lease is not None and lease.expires_ns <= self.world.clock_of(machine):
            raise Violation(f"{machine.name} opens a lane for {name}, which has ended already")
        if lease is not None and not any(entry[1] == name for entry in machine.node.leases.expiries):
            raise Violation(f"{machine.name} granted {name} without an end")

    def _is_lost(self, machine: Machine, name: LeaseId) -> None:
        assert machine.node is not None
        if machine.node.uses.held.is_held(name):
            raise Violation(f"{machine.name} told a program that {name} is lost, and goes on renewing it")

    # -- uses and offers ----------------------------------------------------------------------------------------------------

    def _has_all(self, machine: Machine, granted: UseGranted) -> None:
        assert machine.node is not None
        client = next((c for _, c in self.world.clients.values() if getattr(c, "use", None) == granted.use), None)
        held = machine.node.uses.held.leases
        if any(terms.lease not in held for terms in granted.leases):
            raise Violation(f"{machine.name} told {granted.use} of leases that it does not keep")
        if isinstance(client, Program):
            asked = sum(need.amount for need in client.plan.needs)
            got = sum(terms.need.amount for terms in granted.leases)
            if got != asked:
                raise Violation(f"{client} asked for {asked} and got {got}")

    def _offers(self, machine: Machine) -> None:
        assert machine.node is not None
        for node, offer in machine.node.registry.offers.items():
            if node == machine.id:
                continue
            key, number = (machine.number, machine.boot, node), (offer.boot, offer.number)
            if number < self.offers.get(key, number):
                raise Violation(f"{machine.name} took an older offer of {self.world.by_id[node].name}")
            self.offers[key] = number


class Replay:
    """The journal of one node's life, from now on."""

    def __init__(self, machine: Machine) -> None:
        assert machine.node is not None
        self.machine = machine
        self.boot = machine.boot
        self.journal = MemoryJournal(machine.node, REPLAY_EVENTS)

    def stepped(self, machine: Machine, event: Event, effects: list[Effect]) -> None:
        """Write the step down."""
        if machine is self.machine and machine.boot == self.boot:
            self.journal.append(event, effects)

    def check(self) -> None:
        """Run the journal again."""
        for number, (event, _, same) in enumerate(self.journal.replay()):
            if not same:
                raise Violation(f"{self.machine.name} replays event {number} ({type(event).__name__}) differently")


def check_calls(world: World, programs: list[Program]) -> None:
    """Look at the calls of all programs so far: outcomes, and how often they began."""
    for program in programs:
        if program.wrong:
            raise Violation(f"{program}: {program.wrong[0]}")
        calls = [each.call for each in program.ended]
        if len(calls) != len(set(calls)):
            twice = next(call for call in calls if calls.count(call) > 1)
            raise Violation(f"{program} got two outcomes for call {twice}")
        for call, retries in program.submitted.items():
            started = world.lanes.started[f"{program.client}/{call}"]
            if retries == 0 and started > 1:
                raise Violation(f"call {call} of {program} has no retries and began {started} times")
            if call in calls and not started and not next(e for e in program.ended if e.call == call).failure:
                raise Violation(f"call {call} of {program} has a result and never ran")


def check_answers(programs: list[Program]) -> None:
    """At the end: every program that lived has an outcome for each call, or was refused with a reason."""
    for program in programs:
        if program.killed_early:
            continue
        if not program.over:
            state = f"{len(program.ended)} of {len(program.submitted)} calls ended"
            raise Violation(f"{program} waits for ever ({state})")
        missing = program.submitted.keys() - {each.call for each in program.ended}
        if missing and not program.plan.dies_after_ns:
            raise Violation(f"{program} never heard of calls {sorted(missing)}")


def check_well(world: World) -> None:
    """After healing: everybody sees everybody of its site alive, with the latest offers."""
    for machine in world.machines:
        if not machine.up:
            continue
        alive = [mate for mate in machine.site.machines if mate.up]
        node = machine.node
        assert node is not None
        others = {other.id for other in alive if other is not machine}
        seen = set(node.membership.alive())
        if not others <= seen:
            names = [world.by_id[n].name for n in others - seen]
            raise Violation(f"{machine.name} does not see {names} after healing")
        if seen - others:
            raise Violation(f"{machine.name} sees {[world.by_id[n].name for n in seen - others]}, who are gone")
        if {peer for peer in node.paths if peer not in machine.welcomed} != others:
            raise Violation(f"{machine.name} has no path to somebody after healing")
        for other in alive:
            assert other.node is not None
            if other is not machine and node.registry.offers.get(other.id) != other.node.registry.told:
                raise Violation(f"{machine.name} does not have the offer of {other.name} after healing")


def check_empty(world: World) -> None:
    """After the last program: all that was lent has come back."""
    for machine in world.machines:
        node = machine.node
        if not machine.up or node is None:
            continue
        left = {
            "leases": list(node.leases.leases),
            "lent": {r: amount for r, amount in node.leases.lent.items() if amount},
            "asked before": list(node.leases.answered),
            "pending uses": list(node.uses.pending),
            "asks": list(node.uses.asks),
            "confirms": list(node.uses.confirms),
            "held": list(node.uses.held.leases),
        }
        for what, items in left.items():
            if items:
                raise Violation(f"{machine.name} still has {what} when nobody uses anything: {items}")
        if [lane for lane in world.lanes.lanes.values() if lane.machine is machine]:
            raise Violation(f"{machine.name} still has a lane when nobody uses anything")


def _are_pings(effects: list[Effect]) -> bool:
    return all(type(effect) is Send and type(effect.message) in QUIET for effect in effects)
