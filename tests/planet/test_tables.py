"""Full tables, to be measured."""

from __future__ import annotations

from worldos.kernel.raft import WAN
from worldos.planet.tables import Council, full_children, full_route


def test_all_children_are_registered_and_stay_so_when_they_renew() -> None:
    children, registers = full_children(40)
    assert len(children.children) == len(registers) == 40
    assert children.summary().nodes == 40 * registers[0].summary.nodes


def test_a_route_knows_each_child() -> None:
    assert len({child.realm for child in full_route(30).children}) == 30


def test_a_council_at_rest_keeps_its_leader() -> None:
    council = Council(3)
    leader, then_ns = council.leader.me, council.now_ns
    for _ in range(20):
        council.beat()
    assert council.leader.me == leader
    assert council.now_ns == then_ns + 20 * WAN.heartbeat_ns
