"""Planted bugs: each is a mistake that somebody could make in the kernel, and the checkers must see every one of them.

A bug is planted by replacing one method of the real node; then seeds are run until a checker objects. A checker that stops seeing
its bug fails here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from worldos.kernel import leases
from worldos.kernel.call_messages import DeliverResult
from worldos.kernel.calls import Calls
from worldos.kernel.held import HeldLeases
from worldos.kernel.leases import Leases
from worldos.kernel.registry import Registry
from worldos.kernel.uses import Uses
from worldos.model import limits
from worldos.model.limits import MS, SECOND
from worldos.model.need import Need
from worldos.model.wire import LeaseRenewed
from worldos.node import Node
from worldos.sim.checkers import Safety, Violation
from worldos.sim.clock import RATE_MAX, RATE_MIN, RATE_ONE
from worldos.sim.programs import Plan, Program
from worldos.sim.rules import PASS, Deliver
from worldos.sim.run import Settings, run_seed
from worldos.sim.world import World

GB = 1 << 30
PROBE_LONG = Plan(
    needs=(Need(kind="CPU", amount=4000),), ttl_ns=4 * SECOND, calls=99, retries=0, service_ns=1, rest_ns=SECOND
)
SEEDS = 12
CALM, HARSH = Settings(seconds=12), Settings(seconds=12, harsh=True)


def first_objection(settings: Settings, seeds: int = SEEDS) -> str:
    for seed in range(seeds):
        outcome = run_seed(seed, settings)
        if outcome.failure:
            return outcome.failure
    return ""


def changed(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, change: Callable[..., Any]) -> None:
    """Replace a method by one that gets the old one first."""
    old = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args, **kwargs: change(old, *args, **kwargs))


def test_without_a_bug_nobody_objects() -> None:
    assert first_objection(CALM, seeds=4) == ""
    assert first_objection(HARSH, seeds=4) == ""


def test_a_table_that_forgets_to_count_holds_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgets(old, self, now_ns, holder, ask, takes, isolation):
        lease = old(self, now_ns, holder, ask, takes, isolation)
        if lease.held:
            for resource, amount in takes.items():
                self.lent[resource] -= amount
        return lease

    changed(monkeypatch, Leases, "_grant", forgets)
    assert "counts" in first_objection(CALM)


def test_a_grant_that_never_expires_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(old, self, now_ns, lease):
        lease.expires_ns = limits.NEVER_NS

    changed(monkeypatch, Leases, "_extend", endless)
    assert "without an end" in first_objection(CALM)


def held_over_a_cut(*, holder_rate: int = RATE_ONE, node_rate: int = RATE_ONE, answer_delay_ns: int = 0) -> World:
    """n0 holds a lease of n1 for 2 s at a time; then n1 hears no more of n0. Late answers still arrive; others do not."""
    world = World(1, 2, drift=False)
    holder, node = world.machines
    holder.size, node.size = (1000, GB), (8000, GB)
    for machine, rate in ((holder, holder_rate), (node, node_rate)):
        world.scan(machine)
        machine.clock.set_rate(world.now_ns, rate)
    world.watchers.append(Safety(world))
    world.run_until(2 * SECOND)
    plan = Plan(
        needs=(Need(kind="CPU", amount=4000),), ttl_ns=2 * SECOND, calls=99, retries=0, service_ns=1, rest_ns=SECOND
    )
    program = Program(world, holder, 1, plan)
    program.begin()
    late = Deliver(answer_delay_ns)
    world.sessions.rules.add(lambda parcel: late if type(parcel.message) is LeaseRenewed else PASS)
    world.run_until(7 * SECOND)
    assert program.granted
    world.sessions.cut(0, 1)
    if not answer_delay_ns:
        world.sessions.cut(1, 0)
    world.run_until(12 * SECOND)
    return world


def test_a_holder_stops_first_at_the_worst_clocks_that_are_allowed() -> None:
    for rates in ((RATE_MIN, RATE_MAX), (RATE_MAX, RATE_MIN), (RATE_MIN, RATE_MIN)):
        world = held_over_a_cut(holder_rate=rates[0], node_rate=rates[1], answer_delay_ns=900 * MS)
        assert not world.machines[0].node.uses.held.leases
        assert not world.machines[1].node.leases.leases


def test_clocks_that_differ_too_much_are_seen() -> None:
    """The bound of limits.LEASE_GRACE_PART is not idle: beyond it the rule breaks."""
    with pytest.raises(Violation, match="believes in"):
        held_over_a_cut(holder_rate=RATE_ONE * 4 // 5, node_rate=RATE_ONE)


def test_no_grace_at_the_granting_node_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LEASE_GRACE_PART", 1_000_000)
    with pytest.raises(Violation, match="believes in"):
        held_over_a_cut(holder_rate=RATE_MIN, node_rate=RATE_MAX)


def test_a_holder_that_counts_from_the_answer_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The term begins when the question was *sent*; the answer may be a second on its way."""
    now: dict[int, int] = {}

    def heard(old, self, now_ns, peer, message):
        now[id(self.uses.held)] = now_ns
        return old(self, now_ns, peer, message)

    def renewed(old, self, peer, message):
        held = self.leases.get(message.lease)
        if held is not None and message.number in held.renewals:
            held.renewals[message.number] = now[id(self)]
        old(self, peer, message)

    changed(monkeypatch, Node, "_heard", heard)
    changed(monkeypatch, HeldLeases, "renewed", renewed)
    with pytest.raises(Violation, match="believes in"):
        held_over_a_cut(answer_delay_ns=900 * MS)


def test_a_steady_clock_that_stands_still_while_the_machine_sleeps_is_seen() -> None:
    """Linux' CLOCK_MONOTONIC does: a laptop that wakes up believes in leases that ended hours ago. An agent must not use it."""
    for stands_still in (False, True):
        world = held_over_a_cut()
        for way in ((0, 1), (1, 0)):
            world.sessions.heal(*way)
        holder = world.machines[0]
        world.run_until(world.now_ns + SECOND)
        program = Program(world, holder, 2, PROBE_LONG)
        program.begin()
        world.run_until(world.now_ns + 2 * SECOND)
        assert program.granted
        world.pause(holder)
        if stands_still:
            holder.clock.set_rate(world.now_ns, 0)
            with pytest.raises(Violation, match="believes in"):
                world.run_until(world.now_ns + 60 * SECOND)
        else:
            world.run_until(world.now_ns + 60 * SECOND)


def test_a_result_that_is_delivered_twice_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(old, self, event):
        effects = old(self, event)
        return [*effects, *(e for e in effects if isinstance(e, DeliverResult) and e.call % 7 == 3)]

    changed(monkeypatch, Calls, "handle", twice)
    assert "two outcomes" in first_objection(HARSH)


def test_a_call_that_is_dropped_with_its_worker_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def drops(old, self, event):
        worker = self._workers.get(event.worker)
        for call in list(worker.out) if worker is not None else ():
            self._calls.pop(call, None)
        return old(self, event)

    changed(monkeypatch, Calls, "_lost", drops)
    objection = first_objection(CALM)
    assert "waits for ever" in objection or "never heard" in objection


def test_a_call_without_retries_that_runs_again_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def generous(old, entry, loss, *, alone):
        entry.retries = max(1, entry.retries)
        return old(entry, loss, alone=alone)

    old = Calls._price
    monkeypatch.setattr(Calls, "_price", staticmethod(lambda *a, **k: generous(old, *a, **k)))
    assert "has no retries and began 2 times" in first_objection(CALM)


def test_a_gang_that_is_granted_in_part_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def partly(old, self, now_ns, pending):
        pending.parts = [part for part in pending.parts if part.terms is not None][:1]
        return old(self, now_ns, pending)

    changed(monkeypatch, Uses, "_finish", partly)
    assert "asked for" in first_objection(CALM)


def test_a_gang_that_does_not_wait_for_every_confirmation_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def hurried(old, self, now_ns, peer, message):
        pending = self.pending.get(self.confirms.get(message.lease, ""))
        for part in pending.parts if pending is not None else ():
            part.confirmed = True
        return old(self, now_ns, peer, message)

    changed(monkeypatch, Uses, "confirmed", hurried)
    assert "only holds it for a gang" in first_objection(HARSH)


def test_an_older_offer_that_is_accepted_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def forgets(old, self, peer, offer):
        self.offers.pop(peer, None)
        return old(self, peer, offer)

    changed(monkeypatch, Registry, "hear", forgets)
    assert "older offer" in first_objection(HARSH)


def test_a_release_that_gives_nothing_back_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def keeps(old, self, lease, why):
        lent = dict(self.lent)
        effects = old(self, lease, why)
        self.lent = lent
        return effects

    changed(monkeypatch, Leases, "_end", keeps)
    assert "counts" in first_objection(CALM)


def test_a_lost_release_that_nobody_makes_good_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder that keeps renewing what its program gave back holds capacity for ever."""
    changed(monkeypatch, HeldLeases, "_release", lambda old, self, gone: [])
    objection = first_objection(CALM)
    assert "still has" in objection or "got nothing" in objection or "counts" in objection


def test_state_that_no_snapshot_holds_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter beside the node makes ids that a replay cannot make again."""
    hidden = {"number": 0}

    def number(node, boot, _):
        hidden["number"] += 1
        return f"{node[:8]}-{boot:x}-{hidden['number']:x}"

    monkeypatch.setattr(leases, "lease_id", number)
    assert "replays event" in first_objection(CALM)


def test_a_crash_of_the_node_itself_is_a_failure_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(old, self, holder, message):
        raise KeyError(message.lease)

    changed(monkeypatch, Leases, "release", breaks)
    assert "KeyError" in first_objection(CALM)


def test_the_story_of_a_failure_names_machines_not_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    changed(monkeypatch, HeldLeases, "_release", lambda old, self, gone: [])
    outcome = next(each for each in (run_seed(seed, CALM) for seed in range(SEEDS)) if each.failure)
    assert any("LeaseRenew" in line for line in outcome.trace)
    assert all(len(word) < 50 for line in outcome.trace for word in line.split())
