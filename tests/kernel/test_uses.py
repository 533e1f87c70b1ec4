"""Uses: all leases or none, whatever is refused, lost, late or told twice."""

from __future__ import annotations

import msgspec
import pytest
from tests.kernel.offers import HOME, cpu, offer, view

from worldos.kernel.cores import merge_cores, split_cores
from worldos.kernel.effects import Send, Tell
from worldos.kernel.held import HeldLeases, can_move
from worldos.kernel.match import Choice
from worldos.kernel.uses import Pending, Uses
from worldos.model import limits
from worldos.model.ids import ClientId, LeaseId, NodeId, UseId
from worldos.model.limits import MS, SECOND
from worldos.model.local import LeaseAdded, LeaseLost, UseGranted, UseRefused
from worldos.model.need import LeaseTerms, Need, Work
from worldos.model.offer import Offer
from worldos.model.wire import (
    LeaseAsk,
    LeaseConfirm,
    LeaseConfirmed,
    LeaseGranted,
    LeaseRefused,
    LeaseRelease,
    LeaseWaits,
)

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")
OFFERS = {node: offer(node, cores=4) for node in (A, B, C)}
VIEW = view(rtt_us={A: 100, B: 200, C: 300})
ME = ClientId("me")


def uses() -> Uses:
    return Uses(node=HOME, boot=3, held=HeldLeases())


def pending(*needs: Need, use: str = "u", **more) -> Pending:
    return Pending(use=UseId(use), client=ME, needs=needs, ttl_ns=8 * SECOND, nonce=1, asked_ns=0, **more)


def begin(table: Uses, *needs: Need, now_ns: int = 0, **more) -> dict[NodeId, LeaseAsk]:
    return asked(table.ask(now_ns, pending(*needs, **more), OFFERS, VIEW))


def asked(effects: list) -> dict[NodeId, LeaseAsk]:
    return {e.node: e.message for e in effects if type(e) is Send and type(e.message) is LeaseAsk}


def told(effects: list) -> list:
    return [effect.message for effect in effects if type(effect) is Tell]


def released(effects: list) -> list[tuple[NodeId, LeaseId]]:
    return [(e.node, e.message.lease) for e in effects if type(e) is Send and type(e.message) is LeaseRelease]


def grant(node: NodeId, ask: LeaseAsk, number: int = 1) -> LeaseGranted:
    terms = LeaseTerms(
        lease=LeaseId(f"{node}-1-{number}"),
        node=node,
        boot=1,
        need=ask.need,
        resources=ask.resources,
        ttl_ns=ask.ttl_ns,
    )
    return LeaseGranted(ask=ask.ask, terms=terms)


def gang(table: Uses) -> dict[NodeId, LeaseAsk]:
    asks = begin(table, cpu(2000, apart=True), cpu(2000, apart=True))
    assert list(asks) == [A, B]
    assert all(ask.hold for ask in asks.values())
    return asks


def test_one_need_is_asked_of_the_best_node_and_told_when_granted() -> None:
    table = uses()
    asks = begin(table, cpu(2000))
    assert list(asks) == [A]
    (message,) = told(table.granted(5, A, grant(A, asks[A])))
    assert isinstance(message, UseGranted)
    assert table.held.is_held(LeaseId("a-1-1"))
    assert (table.pending, table.asks, table.confirms) == ({}, {}, {})


def test_the_term_counts_from_when_it_was_asked_not_from_the_answer() -> None:
    table = uses()
    asks = begin(table, cpu(), now_ns=10)
    table.granted(500 * MS, A, grant(A, asks[A]))
    assert table.held.leases[LeaseId("a-1-1")].good_until_ns == 10 + 8 * SECOND


def test_asks_of_different_lives_have_different_numbers() -> None:
    other = Uses(node=HOME, boot=4, held=HeldLeases())
    numbers = {begin(table, cpu())[A].ask for table in (uses(), other)}
    assert len(numbers) == 2


def test_after_a_refusal_the_next_best_is_asked() -> None:
    table = uses()
    asks = begin(table, cpu())
    refusal = LeaseRefused(ask=asks[A].ask, reason="not enough CPU is free any more", free=0)
    assert list(asked(table.refused(5, A, refusal, OFFERS, VIEW))) == [B]


def test_a_refusal_of_somebody_else_or_of_something_old_changes_nothing() -> None:
    table = uses()
    asks = begin(table, cpu())
    for peer, number in ((B, asks[A].ask), (A, 17), (A, -5), (A, 1 << 63)):
        assert table.refused(5, peer, LeaseRefused(ask=number, reason="?", free=0), OFFERS, VIEW) == []


def test_who_does_not_answer_in_time_is_passed_over() -> None:
    table = uses()
    begin(table, cpu())
    assert table.due_ns == limits.ASK_TIMEOUT_NS
    assert list(asked(table.tick(limits.ASK_TIMEOUT_NS, OFFERS, VIEW))) == [B]


def test_a_grant_that_comes_too_late_is_given_back() -> None:
    table = uses()
    asks = begin(table, cpu())
    table.tick(limits.ASK_TIMEOUT_NS, OFFERS, VIEW)
    assert released(table.granted(SECOND, A, grant(A, asks[A]))) == [(A, LeaseId("a-1-1"))]
    assert table.held.leases == {}


def test_a_second_grant_for_one_ask_is_given_back_and_the_first_kept() -> None:
    table = uses()
    asks = begin(table, cpu())
    table.granted(5, A, grant(A, asks[A], 1))
    assert table.granted(6, A, grant(A, asks[A], 1)) == []
    assert released(table.granted(7, A, grant(A, asks[A], 2))) == [(A, LeaseId("a-1-2"))]
    assert table.held.is_held(LeaseId("a-1-1"))


def test_a_grant_of_something_else_than_was_asked_is_given_back_and_not_believed() -> None:
    table = uses()
    asks = begin(table, cpu(2000))
    ask = asks[A]
    true = grant(A, ask).terms
    for terms in (
        LeaseTerms(lease=true.lease, node=B, boot=1, need=ask.need, resources=ask.resources, ttl_ns=SECOND),
        LeaseTerms(lease=true.lease, node=A, boot=1, need=cpu(9000), resources=ask.resources, ttl_ns=SECOND),
        LeaseTerms(lease=true.lease, node=A, boot=1, need=ask.need, resources=ask.resources, ttl_ns=-1),
    ):
        assert released(table.granted(5, A, LeaseGranted(ask=ask.ask, terms=terms))) == [(A, true.lease)]
    assert table.held.leases == {}
    assert told(table.granted(6, A, grant(A, ask)))


def test_a_gang_is_held_everywhere_then_confirmed_everywhere_then_told() -> None:
    table = uses()
    asks = gang(table)
    assert table.granted(1, A, grant(A, asks[A])) == []
    confirms = table.granted(2, B, grant(B, asks[B]))
    assert [(e.node, type(e.message)) for e in confirms] == [(A, LeaseConfirm), (B, LeaseConfirm)]
    assert told(table.confirmed(3, B, LeaseConfirmed(lease=LeaseId("b-1-1")))) == []
    (message,) = told(table.confirmed(4, A, LeaseConfirmed(lease=LeaseId("a-1-1"))))
    assert len(message.leases) == 2
    assert (table.pending, table.asks, table.confirms) == ({}, {}, {})


def test_hearing_every_answer_of_a_gang_twice_changes_nothing() -> None:
    """Found by the simulator, harsh seed 22: a second confirmation was answered by giving the lease back."""
    table = uses()
    asks = gang(table)
    effects = []
    for _ in range(2):
        effects += table.granted(1, A, grant(A, asks[A]))
    for _ in range(2):
        effects += table.granted(2, B, grant(B, asks[B]))
    for lease in ("b-1-1", "b-1-1", "a-1-1", "a-1-1"):
        effects += table.confirmed(3, NodeId(lease[0]), LeaseConfirmed(lease=LeaseId(lease)))
    assert released(effects) == []
    assert len(told(effects)) == 1


def test_if_one_part_of_a_gang_is_refused_all_are_given_back_and_asked_anew_elsewhere() -> None:
    table = uses()
    asks = gang(table)
    table.granted(1, A, grant(A, asks[A]))
    refusal = LeaseRefused(ask=asks[B].ask, reason="no", free=0)
    effects = table.refused(2, B, refusal, OFFERS, VIEW)
    assert released(effects) == [(A, LeaseId("a-1-1"))]
    assert list(asked(effects)) == [A, C]


def test_a_part_that_is_gone_before_it_is_confirmed_starts_the_gang_anew() -> None:
    table = uses()
    asks = gang(table)
    table.granted(1, A, grant(A, asks[A]))
    table.granted(2, B, grant(B, asks[B]))
    assert table.part_gone(3, A, LeaseId("b-1-1"), OFFERS, VIEW) == []  # not its to say
    effects = table.part_gone(3, B, LeaseId("b-1-1"), OFFERS, VIEW)
    assert (A, LeaseId("a-1-1")) in released(effects)
    assert list(asked(effects)) == [A, C]
    assert table.held.leases == {}


def test_a_confirmation_for_what_nobody_wants_any_more_gives_it_back() -> None:
    table = uses()
    asks = gang(table)
    table.granted(1, A, grant(A, asks[A]))
    table.granted(2, B, grant(B, asks[B]))
    table.end(ME, UseId("u"))
    assert released(table.confirmed(3, A, LeaseConfirmed(lease=LeaseId("a-1-1")))) == [(A, LeaseId("a-1-1"))]


def test_a_program_that_ends_while_it_asks_gives_back_what_was_held_for_it() -> None:
    table = uses()
    asks = gang(table)
    table.granted(1, A, grant(A, asks[A]))
    assert released(table.end_client(ME)) == [(A, LeaseId("a-1-1"))]
    assert released(table.granted(2, B, grant(B, asks[B]))) == [(B, LeaseId("b-1-1"))]
    assert (table.pending, table.asks, table.confirms) == ({}, {}, {})


def test_after_enough_tries_it_is_refused_with_the_last_reason() -> None:
    table = uses()
    offers = {NodeId(f"n{i}"): offer(f"n{i}") for i in range(20)}
    effects = table.ask(0, pending(cpu()), offers, VIEW)
    for _ in range(limits.USE_TRIES_MAX):
        ((node, ask),) = asked(effects).items()
        effects = table.refused(1, node, LeaseRefused(ask=ask.ask, reason="so busy", free=0), offers, VIEW)
    (message,) = told(effects)
    assert isinstance(message, UseRefused)
    assert "so busy" in message.reason
    assert table.pending == {}


def test_what_nobody_has_is_refused_at_once_with_the_reason() -> None:
    (message,) = told(uses().ask(0, pending(cpu(64_000, apart=True), cpu(1000)), OFFERS, VIEW))
    assert isinstance(message, UseRefused)
    assert message.reason.startswith("part 1 of 2")


def test_cores_that_no_single_node_has_come_from_several() -> None:
    table = uses()
    asks = begin(table, cpu(10_000))
    assert {node: ask.need.amount for node, ask in asks.items()} == {A: 4000, B: 4000, C: 2000}


def test_one_name_is_one_use() -> None:
    table = uses()
    begin(table, cpu())
    (message,) = told(table.ask(1, pending(cpu()), OFFERS, VIEW))
    assert "known already" in message.reason


def test_too_many_uses_at_once_are_refused_and_nothing_is_forgotten() -> None:
    table = uses()
    for number in range(limits.USES_PENDING_MAX):
        table.pending[str(number)] = pending(cpu(), use=str(number), deadline_ns=1)
    (message,) = told(table.ask(1, pending(cpu()), OFFERS, VIEW))
    assert message.hint == "try again later"


def test_a_place_for_a_lost_lease_is_looked_for_again_until_time_is_up() -> None:
    table = uses()
    lost = pending(cpu(9000), replaces=LeaseId("x"), give_up_ns=SECOND)
    assert table.ask(0, lost, OFFERS, VIEW) == []
    assert table.due_ns == limits.REPLACE_RETRY_NS
    more = {**OFFERS, NodeId("d"): offer("d", cores=16)}
    ((node, ask),) = asked(table.tick(limits.REPLACE_RETRY_NS, more, VIEW)).items()
    assert told(table.granted(1, node, grant(node, ask))) == [LeaseAdded(use=UseId("u"), terms=grant(node, ask).terms)]

    table.ask(0, pending(cpu(9000), replaces=LeaseId("y"), give_up_ns=SECOND), OFFERS, VIEW)
    (message,) = told(table.tick(SECOND, OFFERS, VIEW))
    assert isinstance(message, LeaseLost)
    assert not message.replacing


def test_a_node_that_falls_silent_while_it_is_asked_is_passed_over_at_once() -> None:
    table = uses()
    begin(table, cpu())
    assert list(asked(table.node_lost(5, A, {B: OFFERS[B]}, VIEW))) == [B]
    assert table.node_lost(6, C, OFFERS, VIEW) == []


@pytest.mark.parametrize(
    ("milli", "parts"), [(3000, [1000, 1000, 1000]), (2500, [1000, 1000, 500]), (1500, [1000, 500])]
)
def test_cores_are_split_one_by_one_with_their_share_of_memory(milli: int, parts: list[int]) -> None:
    split = split_cores((cpu(milli, memory_bytes=900),))
    assert split is not None
    assert [need.amount for need in split] == parts
    assert {need.memory_bytes for need in split} == {900 // len(parts)}


def test_what_cannot_be_split_is_not() -> None:
    assert split_cores((cpu(1000),)) is None
    assert split_cores((cpu(4000, workers=1),)) is None
    assert split_cores((Need(kind="Memory", amount=10**12),)) is None
    assert split_cores((cpu(1000 * (limits.GANG_PARTS_MAX + 1)),)) is None


def test_cores_that_landed_on_one_node_are_asked_for_at_once() -> None:
    needs = (cpu(1000, memory_bytes=5), cpu(1000, memory_bytes=5), cpu(500, memory_bytes=5))
    on = [Choice(node=n, resource="r", resources=("r",), score=1, considered=1) for n in (A, B, A)]
    merged, chosen = merge_cores(needs, tuple(on))
    assert [(c.node, n.amount, n.memory_bytes) for n, c in zip(merged, chosen, strict=True)] == [
        (A, 1500, 10),
        (B, 1000, 5),
    ]


def full(node: NodeId, *, yielding: int) -> Offer:
    """Return an offer of four cores that are all lent, some of them to what yields."""
    known = offer(node, cores=4)
    lent = tuple(
        msgspec.structs.replace(item, free=0, yielding=yielding) if item.kind == "CPU" else item
        for item in known.resources
    )
    return msgspec.structs.replace(known, resources=lent)


def test_where_only_what_yields_would_do_its_node_is_asked_all_the_same() -> None:
    offers = {A: full(A, yielding=1000), B: full(B, yielding=3000), C: full(C, yielding=0)}
    table = uses()
    assert list(asked(table.ask(0, pending(cpu(2000)), offers, VIEW))) == [B]
    assert isinstance(told(table.ask(0, pending(cpu(4000), use="v"), {A: offers[A]}, VIEW))[0], UseRefused)
    free = {**offers, C: offer(C, cores=4)}
    assert list(asked(table.ask(0, pending(cpu(2000), use="w"), free, VIEW))) == [C], "what is free comes first"


def test_a_node_that_gets_back_what_yields_is_waited_for_and_not_for_ever() -> None:
    table = uses()
    asks = begin(table, cpu())
    assert table.waits(5, B, LeaseWaits(ask=asks[A].ask, wait_ns=1 << 60)) == []
    assert table.tick(limits.ASK_TIMEOUT_NS - 1, OFFERS, VIEW) == []
    table.waits(5, A, LeaseWaits(ask=asks[A].ask, wait_ns=1 << 60))
    until_ns = 5 + limits.LEASE_YIELD_GRACE_NS + limits.LEASE_YIELD_MARGIN_NS + limits.ASK_TIMEOUT_NS
    assert table.tick(until_ns - 1, OFFERS, VIEW) == []
    assert list(asked(table.tick(until_ns, OFFERS, VIEW))) == [B]


def test_what_yields_is_not_replaced_when_it_is_lost() -> None:
    table = uses()
    asks = begin(table, cpu(yields=True))
    table.granted(5, A, grant(A, asks[A]))
    (lost,) = table.held.gone(A, LeaseId("a-1-1"), "somebody needed it more")
    assert not can_move(lost.held)
    assert lost.held.use == "u"


def test_what_was_learned_is_for_the_choice_and_no_other_node_is_told() -> None:
    table = uses()
    slow, fast = offer(A, cores=4, speed_mips=1000), offer(C, cores=4, speed_mips=50_000)
    need = cpu(2000, data=Work(cpu_mi=1000, wait_us=0, move_bytes=0))
    (node, ask) = next(iter(asked(table.ask(0, pending(need), {A: slow, C: fast}, VIEW)).items()))
    assert (node, ask.need) == (C, cpu(2000))
    table.granted(1, C, grant(C, ask))
    assert table.made[0].needs == (need,), "the log keeps what it was chosen by"


def test_a_look_above_the_site_says_nothing_of_what_was_learned() -> None:
    table = uses()
    table.looks_further = True
    begin(table, cpu(64_000, data=Work(cpu_mi=1000, wait_us=0, move_bytes=0)))
    assert table.sought(table.wanted[0]) == (cpu(64_000),)
