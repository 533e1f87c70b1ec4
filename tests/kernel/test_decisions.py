"""Decisions: all of them are put down, complete, and each choice can be made again from what was put down."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.kernel.offers import HOME, cpu, offer, view
from tests.kernel.worlds import needs, views, worlds

from worldos.kernel.decisions import Acted, Answered, Chosen, Decisions, Ended, Made, choose, decide, decided, redo
from worldos.kernel.effects import CloseLane, Send
from worldos.kernel.held import HeldLeases
from worldos.kernel.leases import Leases
from worldos.kernel.match import Refusal
from worldos.kernel.match_gang import choose_gang
from worldos.kernel.question import View
from worldos.kernel.uses import Pending, Uses
from worldos.model.ids import ClientId, LeaseId, NodeId, ResourceId, UseId
from worldos.model.need import LeaseTerms, Need
from worldos.model.offer import Offer
from worldos.model.wire import LeaseAsk, LeaseGranted, LeaseRefused

A, B = NodeId("a"), NodeId("b")
ASK = LeaseAsk(ask=7, use=UseId("u"), need=cpu(), resources=(ResourceId("r"),), ttl_ns=1, hold=False)
TERMS = LeaseTerms(lease=LeaseId("l"), node=A, boot=1, need=cpu(), resources=(ResourceId("r"),), ttl_ns=1)


NO_LEASES = Leases(node=HOME, boot=1)


@given(worlds, st.lists(needs, min_size=1, max_size=3), views)
def test_a_choice_that_travelled_is_made_again_byte_for_byte(
    offers: list[Offer], asked: list[Need], known: View
) -> None:
    _, _, made = decide(UseId("u"), tuple(asked), offers, known, splits=True)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=Chosen)
    assert msgspec.msgpack.encode(redo(again).answer) == msgspec.msgpack.encode(made.answer)
    assert redo(again).parts == made.parts


@given(worlds, needs, views)
def test_one_need_alone_gets_what_a_gang_of_one_gets(offers: list[Offer], need: Need, known: View) -> None:
    _, alone = choose((need,), offers, known, splits=False)
    gang = choose_gang((need,), offers, known)
    if isinstance(gang, Refusal) or isinstance(alone, Refusal):
        assert alone == gang
    else:
        (one,), (other,) = alone, gang
        assert (one.node, one.resources, one.score) == (other.node, other.resources, other.score)


def test_a_choice_that_was_changed_afterwards_is_found() -> None:
    _, _, made = decide(UseId("u"), (cpu(),), [offer("a"), offer("b")], view(), splits=True)
    assert not isinstance(made.answer, Refusal)
    favoured = B if made.answer[0].node == A else A
    forged = msgspec.structs.replace(made, answer=(msgspec.structs.replace(made.answer[0], node=favoured),))
    assert redo(forged) != forged


def test_cores_on_several_nodes_are_one_decision() -> None:
    parts, answer, made = decide(
        UseId("u"), (cpu(6000),), [offer("a", cores=4), offer("b", cores=4)], view(), splits=True
    )
    assert not isinstance(answer, Refusal)
    assert sum(part.amount for part in parts) == 6000
    assert made.needs == (cpu(6000),)
    assert redo(made) == made


def test_every_try_of_a_use_is_numbered_and_drawn_from_its_own_nonce() -> None:
    uses = Uses(node=HOME, boot=1, held=HeldLeases())
    decisions = Decisions()
    offers = {node: offer(node) for node in (A, B)}
    pending = Pending(use=UseId("u"), client=ClientId("c"), needs=(cpu(),), ttl_ns=10**9, nonce=5, asked_ns=0)
    (ask,) = uses.ask(0, pending, offers, view(nonce=b"of the caller"))
    assert isinstance(ask, Send)
    assert isinstance(ask.message, LeaseAsk)
    refused = LeaseRefused(ask=ask.message.ask, reason="no", free=0)
    uses.refused(1, ask.node, refused, offers, view(nonce=b"of the caller"))
    decisions.follow(uses, NO_LEASES, [])
    first, second = decisions.made
    assert isinstance(first, Chosen)
    assert isinstance(second, Chosen)
    assert (first.number, second.number) == (1, 2)
    assert (first.view.nonce, second.view.nonce) == ((5).to_bytes(8, "big"), (5).to_bytes(8, "big") + b"\x01")
    assert second.view.passed_over == {ask.node}
    assert not uses.made


def test_a_grant_and_a_refusal_are_put_down_with_who_asked() -> None:
    decisions = Decisions()
    said = [Send(node=B, message=LeaseGranted(ask=7, terms=TERMS))]
    assert decisions.answered(B, ASK, said) is said
    decisions.answered(B, ASK, [Send(node=B, message=LeaseRefused(ask=7, reason="full", free=3))])
    granted, refused = decisions.made
    assert isinstance(granted, Answered)
    assert (granted.holder, granted.ask, granted.lease) == (B, 7, "l")
    assert isinstance(refused, Answered)
    assert (refused.lease, refused.reason, refused.free) == ("", "full", 3)


def test_a_lease_that_this_node_ended_is_put_down_and_one_given_back_is_not() -> None:
    decisions = Decisions()
    uses = Uses(node=HOME, boot=1, held=HeldLeases())
    decisions.follow(
        uses, NO_LEASES, [CloseLane(lease=LeaseId("x"), why="released"), CloseLane(lease=LeaseId("y"), why="expired")]
    )
    assert decisions.made == [Ended(lease=LeaseId("y"), why="expired")]


def test_other_decisions_come_as_an_effect_and_read_back() -> None:
    decisions = Decisions()
    decisions.follow(
        Uses(node=HOME, boot=1, held=HeldLeases()), NO_LEASES, [decided("quarantine", "someone", "a burst", rate_s=3)]
    )
    (acted,) = decisions.made
    assert acted == Acted(what="quarantine", about="someone", why="a burst", fields={"rate_s": 3})
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(acted), type=Made) == acted
