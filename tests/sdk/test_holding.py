"""A part keeps its lane in step with its leases, whatever the node says and in whatever order."""

from __future__ import annotations

import msgspec
import pytest

from worldos.errors import LeaseEnded, NoAgent, NodeGone
from worldos.lanes.client import Lane
from worldos.model.ids import LeaseId, NodeId, UseId
from worldos.model.local import Doors, LeaseAdded, LeaseDoubted, LeaseLost, UseGranted
from worldos.model.need import LeaseTerms, Need
from worldos.sdk.holding import Holding, Part, nodes_of

USE = UseId("u")


class Wire:
    """What a holding says to the agent, kept."""

    def __init__(self) -> None:
        self.opened: list[LeaseId] = []
        self.released: list[UseId] = []

    def next_use(self, _hearer: object) -> UseId:
        return USE

    def open_doors(self, _use: UseId, lease: LeaseId) -> None:
        self.opened.append(lease)

    def release(self, use: UseId, _leases: list[LeaseId]) -> None:
        self.released.append(use)


def cores(milli: int) -> Need:
    return Need(kind="CPU", amount=milli)


def terms(lease: str, node: str, need: Need) -> LeaseTerms:
    return LeaseTerms(lease=LeaseId(lease), node=NodeId(node), boot=1, need=need, resources=(), ttl_ns=10**10)


def lost(lease: str, *, replacing: bool) -> LeaseLost:
    return LeaseLost(use=USE, lease=LeaseId(lease), why="its node is gone", replacing=replacing)


def held(*needs: Need) -> tuple[Holding, Wire]:
    wire = Wire()
    return Holding(wire, [Part(need, Lane()) for need in needs]), wire  # type: ignore[arg-type]


def topics(part: Part) -> list[str]:
    return sorted(part.events._last)


def test_each_need_of_a_gang_gets_its_own_lease_in_order() -> None:
    first, second = cores(1000), cores(2000)
    holding, wire = held(first, second, first)
    holding.heard(UseGranted(use=USE, leases=(terms("a", "n", first), terms("b", "n", second), terms("c", "m", first))))
    assert [sorted(part.leases) for part in holding.parts] == [["a"], ["b"], ["c"]]
    assert wire.opened == ["a", "b", "c"]
    assert nodes_of(holding.parts) == ("m", "n")


def test_a_need_that_came_in_pieces_gets_all_of_them() -> None:
    wanted = cores(3000)
    holding, _ = held(wanted)
    pieces = (msgspec.structs.replace(wanted, amount=1000), msgspec.structs.replace(wanted, amount=2000))
    holding.heard(UseGranted(use=USE, leases=(terms("a", "n", pieces[0]), terms("b", "m", pieces[1]))))
    assert holding.parts[0].granted() == 3000


def test_another_lease_takes_the_place_of_a_lost_one() -> None:
    holding, wire = held(cores(1000))
    (part,) = holding.parts
    holding.heard(UseGranted(use=USE, leases=(terms("a", "n", part.need),)))
    holding.heard(lost("a", replacing=True))
    assert (part.leases, part.sought) == ({}, {"a"})
    call = part.lane.submit(pow, 2, 3)
    holding.heard(LeaseAdded(use=USE, terms=terms("b", "m", part.need)))
    assert (sorted(part.leases), part.sought, wire.opened) == (["b"], set(), ["a", "b"])
    assert not call.done()
    assert topics(part) == ["lease added", "lease lost"]


def test_when_nothing_takes_its_place_the_calls_fail() -> None:
    holding, _ = held(cores(1000))
    (part,) = holding.parts
    holding.heard(UseGranted(use=USE, leases=(terms("a", "n", part.need),)))
    holding.heard(lost("a", replacing=True))
    call = part.lane.submit(pow, 2, 3)
    holding.heard(lost("a", replacing=False))
    with pytest.raises(NodeGone):
        call.result(15)


def test_a_doubted_lease_that_was_replaced_early_is_not_awaited_again() -> None:
    holding, _ = held(cores(1000))
    (part,) = holding.parts
    holding.heard(UseGranted(use=USE, leases=(terms("a", "n", part.need),)))
    holding.heard(LeaseDoubted(use=USE, lease=LeaseId("a"), doubted=True))
    holding.heard(LeaseAdded(use=USE, terms=terms("b", "m", part.need)))
    holding.heard(lost("a", replacing=True))
    assert (sorted(part.leases), part.sought, part.doubted) == (["b"], set(), set())


def test_a_node_that_is_heard_again_is_trusted_again() -> None:
    holding, _ = held(cores(1000))
    (part,) = holding.parts
    holding.heard(UseGranted(use=USE, leases=(terms("a", "n", part.need),)))
    holding.heard(LeaseDoubted(use=USE, lease=LeaseId("a"), doubted=True))
    assert part.doubted == {"a"}
    holding.heard(LeaseDoubted(use=USE, lease=LeaseId("a"), doubted=False))
    assert part.doubted == set()
    assert topics(part) == ["lease added", "node heard", "node silent"]


def test_doors_that_never_opened_are_said_and_fail_the_calls() -> None:
    holding, _ = held(cores(1000))
    (part,) = holding.parts
    holding.heard(UseGranted(use=USE, leases=(terms("a", "n", part.need),)))
    call = part.lane.submit(pow, 2, 3)
    holding.heard(
        Doors(lease=LeaseId("a"), paths=(), local=True, is_own=True, node=NodeId("n"), error="no room for a worker")
    )
    with pytest.raises(NodeGone):
        call.result(15)
    assert str(part.ended) == "no room for a worker"


def test_what_is_said_about_a_lease_that_is_gone_changes_nothing() -> None:
    holding, _ = held(cores(1000))
    (part,) = holding.parts
    for message in (
        lost("x", replacing=True),
        LeaseDoubted(use=USE, lease=LeaseId("x"), doubted=True),
        Doors(lease=LeaseId("x"), paths=("/nowhere",), local=True, is_own=True, node=NodeId("n")),
    ):
        holding.heard(message)
    assert (part.leases, part.sought, topics(part)) == ({}, set(), [])


def test_everything_is_given_back_once_with_the_last_part() -> None:
    holding, wire = held(cores(1000), cores(1000))
    holding.let_go(holding.parts[0])
    assert wire.released == []
    holding.close()
    holding.close()
    assert wire.released == [USE]
    with pytest.raises(LeaseEnded):
        holding.parts[0].lane.submit(pow, 2, 3)


def test_when_the_agent_is_gone_all_leases_are() -> None:
    holding, _ = held(cores(1000))
    (part,) = holding.parts
    holding.heard(UseGranted(use=USE, leases=(terms("a", "n", part.need),)))
    holding.cut(NoAgent("the agent has ended"))
    assert part.leases == {}
    assert isinstance(part.ended, NoAgent)
    with pytest.raises(NoAgent, match="the agent has ended"):
        part.lane.submit(pow, 2, 3).result(15)
