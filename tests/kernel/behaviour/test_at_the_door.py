"""Behaviour at the door of a whole node: who leases as never before is slowed down, and what is refused is said."""

from __future__ import annotations

from tests.test_node import CORES, PEER, linked, node_of, said, scan

from worldos.kernel.behaviour.limits import SLOW_FOR_S, WINDOW_NS, WINDOWS_LEARNT
from worldos.kernel.effects import Notice
from worldos.kernel.events import ClockTicked, PeerSaid
from worldos.kernel.quarantine import FLOOR_PER_MINUTE, UNBOUND
from worldos.model.ids import UseId
from worldos.model.limits import MS, SECOND
from worldos.model.need import Need
from worldos.model.rights import Impact
from worldos.model.wire import LeaseAsk, LeaseGranted, LeaseRefused, LeaseRelease
from worldos.node import Node


def used_to() -> Node:
    """A node that learnt what is usual for its peer: some seven leases in ten seconds."""
    node = node_of()
    node.handle(scan(1, CORES))
    linked(node)
    for number in range(WINDOWS_LEARNT + 1):
        for place in range(5 + number % 5):
            ask(node, number * WINDOW_NS + (place + 1) * SECOND, 100_000 + 10 * number + place)
    assert node.behaviour.table[PEER].baseline is not None
    return node


BEGIN_NS = (WINDOWS_LEARNT + 3) * WINDOW_NS


def ask(node: Node, now_ns: int, number: int) -> LeaseGranted | LeaseRefused | None:
    """Lease a core and give it back."""
    resource = next(iter(node.leases.kinds))
    need = Need(kind="CPU", amount=1000)
    message = LeaseAsk(ask=number, use=UseId("v"), need=need, resources=(resource,), ttl_ns=8 * SECOND, hold=False)
    answers = said(node.handle(PeerSaid(now_ns=now_ns, node=PEER, message=message)))
    answer = next((each for each in answers if isinstance(each, LeaseGranted | LeaseRefused)), None)
    if isinstance(answer, LeaseGranted):
        node.handle(PeerSaid(now_ns=now_ns, node=PEER, message=LeaseRelease(lease=answer.terms.lease)))
    return answer


def test_a_burst_of_leases_is_narrowed_and_what_goes_beyond_is_refused_with_the_reason() -> None:
    node = used_to()
    answers = [ask(node, BEGIN_NS + number * MS, number) for number in range(9000)]
    assert isinstance(answers[0], LeaseGranted)
    refused = [answer for answer in answers if isinstance(answer, LeaseRefused)]
    assert refused
    assert "than usual" in refused[0].reason
    ceiling = node.quarantine.ceiling(PEER)
    assert ceiling.cls >= Impact.REVERSIBLE
    assert ceiling.per_minute >= FLOOR_PER_MINUTE, "a device of the account keeps its floor"


def test_when_its_time_is_over_it_is_free_again() -> None:
    node = used_to()
    for number in range(3000):
        ask(node, BEGIN_NS + number * MS, number)
    assert node.quarantine.ceiling(PEER) != UNBOUND
    effects = node.handle(ClockTicked(now_ns=BEGIN_NS + (3600 + SLOW_FOR_S) * SECOND))
    assert "no longer narrowed" in [effect.name for effect in effects if isinstance(effect, Notice)]
    assert node.quarantine.ceiling(PEER) == UNBOUND


def test_who_asks_as_ever_is_never_touched() -> None:
    node = used_to()
    for number in range(400):
        assert isinstance(ask(node, BEGIN_NS + number * 1500 * MS, number), LeaseGranted)
    assert node.quarantine.table == {}
