"""Calls of three sorts on a slow node here and a fast one behind a thin way: a model of both, driven by the real machine."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import NamedTuple

from worldos.kernel.call_messages import ClockTicked, Effect, Loss, RevokeCalls, SendCall, WorkerJoined, WorkerLost
from worldos.kernel.calls import Calls
from worldos.kernel.profile import Profiles, Ran, Took
from worldos.model.ids import NodeId

HERE, THERE = NodeId("here"), NodeId("there")
TICK_US = 50_000


class Sort(NamedTuple):
    """What a call does: processor time on the fast node, waiting, bytes that it brings."""

    cpu_us: int
    wait_us: int
    size_bytes: int


COMPUTES = Sort(100_000, 0, 1_000)
READS = Sort(5_000, 0, 2_000_000)
WAITS = Sort(0, 100_000, 1_000)
MIXED = [COMPUTES, READS, WAITS] * 20


class Model:
    """One lane: workers by node, how slow each node is, and one way that carries one call after the other."""

    def __init__(
        self, workers: dict[NodeId, int], rate_bytes_s: int = 1_250_000, profiles: Profiles | None = None
    ) -> None:
        self.calls = Calls(profiles=profiles if profiles is not None else Profiles())
        self.slow = {HERE: 4, THERE: 1}
        self.rate = rate_bytes_s
        self.now_us = 0
        self.events: list[tuple[int, int, int]] = []
        self.free_us: dict[int, int] = {}
        self.way_free_us = 0
        self.node: dict[int, NodeId] = {}
        self.sorts: list[Sort] = []
        self.ran: dict[int, NodeId] = {}
        number = 0
        for node, count in workers.items():
            for _ in range(count):
                number += 1
                self.node[number] = node
                self.free_us[number] = 0
                self.act(self.calls.handle(WorkerJoined(worker=number, node=node, far=node == THERE)))

    def act(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, SendCall):
                self.send(effect.worker, effect.call)
            else:
                assert isinstance(effect, RevokeCalls), effect

    def send(self, worker: int, call: int) -> None:
        sort, node, at_us = self.sorts[call], self.node[worker], self.now_us
        if node == THERE:
            at_us = max(at_us, self.way_free_us) + sort.size_bytes * 1_000_000 // self.rate
            self.way_free_us = at_us
            at_us += 1_000
        begin_us = max(at_us, self.free_us[worker])
        self.free_us[worker] = begin_us + self.work_us(sort, node)
        heappush(self.events, (self.free_us[worker], worker, call))

    def work_us(self, sort: Sort, node: NodeId) -> int:
        return sort.cpu_us * self.slow[node] + sort.wait_us

    def run(self, sorts: list[Sort]) -> int:
        """Return how long all of it takes."""
        self.sorts = sorts
        for call, sort in enumerate(sorts):
            self.calls.now_us = self.now_us
            worker = self.calls.submit(
                call, 3, heavy=sort.size_bytes > 65536, digest=str(sort), size_bytes=sort.size_bytes
            )
            if worker >= 0:
                self.send(worker, call)
            else:
                self.act(self.calls.offer())
        tick_us = TICK_US
        while self.calls.open_calls:
            at_us, worker, call = self.events[0] if self.events else (1 << 60, 0, 0)
            if tick_us <= at_us:
                self.now_us, tick_us = tick_us, tick_us + TICK_US
                self.act(self.calls.handle(ClockTicked(now_ns=self.now_us * 1000)))
                continue
            heappop(self.events)
            self.now_us = self.calls.now_us = at_us
            wall_us = self.work_us(sorts[call], self.node[worker])
            cpu_us = sorts[call].cpu_us * self.slow[self.node[worker]]
            self.calls.ran(worker, call, Took(wall_us, cpu_us), 0)
            assert self.calls.arrived(worker, call)
            self.calls.learn(worker, 1, wall_us * 1000)
            self.ran[call] = self.node[worker]
            self.act(self.calls.spread(worker))
        return self.now_us

    def share(self, sort: Sort) -> float:
        """Return how much of a sort ran there."""
        ran = [self.ran[call] == THERE for call, each in enumerate(self.sorts) if each is sort]
        return sum(ran) / len(ran)


def test_what_ends_soonest_is_well_ahead_of_all_here_and_of_all_there() -> None:
    here, there = Model({HERE: 2}).run(MIXED), Model({THERE: 2}).run(MIXED)
    both = Model({HERE: 2, THERE: 2})
    took = both.run(MIXED)
    assert took * 13 < min(here, there) * 10
    assert both.share(COMPUTES) > 0.7
    assert both.share(READS) < 0.2


def test_a_wide_way_makes_the_fast_node_do_nearly_all() -> None:
    both = Model({HERE: 2, THERE: 2}, rate_bytes_s=1_000_000_000)
    assert both.run([READS] * 200) < Model({HERE: 2}).run([READS] * 200)
    assert both.share(READS) > 0.6


def test_a_wrong_belief_about_a_way_costs_one_call_and_is_mended() -> None:
    profiles = Profiles()
    profiles.way(THERE)
    both = Model({HERE: 1, THERE: 2}, rate_bytes_s=100_000, profiles=profiles)
    heavy = Sort(100_000, 0, 2_000_000)  # it would be worth it if the way were what it is believed to be
    both.run([heavy] * 60)
    assert profiles.ways[THERE].rate_bytes_s < 200_000
    assert 0 < both.share(heavy) <= 0.05


def test_work_on_one_node_alone_runs_there_whatever_is_believed() -> None:
    both = Model({THERE: 1})
    both.calls.profiles.learn("x", ran_once())  # type: ignore[union-attr]
    assert both.run([COMPUTES] * 3) >= 300_000


def ran_once() -> Ran:
    return Ran(node=HERE, took=Took(1, 1), in_bytes=0, out_bytes=0)


def test_a_node_that_is_lost_leaves_its_calls_to_the_other() -> None:
    both = Model({HERE: 1, THERE: 1})
    both.sorts = [COMPUTES] * 10
    for call in range(10):
        both.calls.submit(call, 3, digest="f", size_bytes=1000)
        both.act(both.calls.offer())
    assert both.calls.outstanding_count(2) == 1
    effects = both.calls.handle(WorkerLost(worker=2, loss=Loss.NODE_GONE, now_ns=0))
    assert effects == [], "the other is busy, and takes them one by one"
    for _ in range(10):
        (call,) = both.calls.outstanding(1)
        both.calls.ran(1, call, Took(400_000, 400_000), 0)
        assert both.calls.arrived(1, call)
        both.calls.spread(1)
    assert both.calls.open_calls == 0


def test_nothing_waits_for_ever_although_every_estimate_is_wrong() -> None:
    both = Model({HERE: 1, THERE: 1})
    both.sorts = [COMPUTES]
    placing = both.calls.placing
    assert placing is not None
    both.calls.submit(0, 3, digest="f", size_bytes=10)  # and nobody is offered it
    assert both.calls.handle(ClockTicked(now_ns=1)) != []
