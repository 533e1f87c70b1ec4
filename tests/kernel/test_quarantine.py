"""Quarantine: one key narrows, nobody is stopped for good, and to widen takes somebody else."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.test_node import node_of

from worldos.errors import PeerBroke
from worldos.kernel.effects import Effect, Notice, SaveStatements, State
from worldos.kernel.events import ClockTicked, StatementsOffered
from worldos.kernel.quarantine import (
    CAPS_PER_HOUR,
    FLOOR_PER_MINUTE,
    HOUR_NS,
    NARROWS_PER_SIGNER_HOUR,
    UNBOUND,
    Narrow,
    Said,
    Widen,
    encode_said,
    read_said,
)
from worldos.model.ids import NodeId
from worldos.model.limits import MINUTE, SECOND
from worldos.model.rights import Impact
from worldos.model.statements import Statement, Topic
from worldos.node import Node
from worldos.sim.machine import device_key
from worldos.trust.statements import sign_statement, statement_id

NAMES = [device_key(number).node_id for number in range(5)]
ME, PEER, THIRD, STRANGER, OTHER = NAMES  # the first three are one account


def narrow(principal: str = STRANGER, *, cls: int = 0, per_minute: int = 0, at_s: int = 0, for_s: int = 3600) -> Narrow:
    return Narrow(
        principal=principal,
        cls=Impact(cls),
        per_minute=per_minute,
        human=True,
        at_s=at_s,
        for_s=for_s,
        why="it is strange",
    )


def signed(said: Said, by: int) -> Statement:
    return sign_statement(device_key(by), Topic.QUARANTINE, encode_said(said))


def say(node: Node, said: Said, by: int = 1, now_ns: int = SECOND) -> list[Effect]:
    return node.handle(StatementsOffered(now_ns=now_ns, statements=(signed(said, by),)))


def notices(effects: list[Effect]) -> list[str]:
    return [effect.name for effect in effects if isinstance(effect, Notice)]


def kept(node: Node) -> int:
    return len(node.statements.of(Topic.QUARANTINE))


def test_who_was_never_narrowed_is_unbound() -> None:
    node = node_of()
    assert node.quarantine.ceiling(STRANGER) == UNBOUND
    assert node.quarantine.refusal(SECOND, STRANGER, Impact.IRREVERSIBLE) == ""


def test_one_device_narrows_and_the_reason_is_told() -> None:
    node = node_of()
    assert notices(say(node, narrow())) == ["narrowed"]
    assert node.quarantine.ceiling(STRANGER).cls == Impact.READ
    assert "it is strange" in node.quarantine.refusal(SECOND, STRANGER, Impact.REVERSIBLE)
    assert node.quarantine.refusal(SECOND, STRANGER, Impact.READ) == ""


def test_of_several_narrowings_the_least_of_each_holds() -> None:
    node = node_of()
    say(node, narrow(cls=2, per_minute=9))
    say(node, narrow(cls=1, per_minute=30), by=2)
    ceiling = node.quarantine.ceiling(STRANGER)
    assert (ceiling.cls, ceiling.per_minute) == (Impact.REVERSIBLE, 9)


def test_what_this_node_narrows_holds_at_once_and_is_signed_for_the_others() -> None:
    node = node_of()
    effects = node.quarantine.narrow(SECOND, narrow(), node)
    assert node.quarantine.ceiling(STRANGER).cls == Impact.READ
    state = next(effect for effect in effects if isinstance(effect, State))
    back = sign_statement(device_key(0), state.topic, state.body)
    assert notices(node.handle(StatementsOffered(now_ns=SECOND, statements=(back,)))) == []
    assert kept(node) == 1
    assert len(node.quarantine.table) == 1


def test_a_device_of_the_account_keeps_what_can_be_taken_back() -> None:
    node = node_of()
    say(node, narrow(PEER, cls=0), by=2)
    assert node.quarantine.ceiling(PEER).cls == Impact.REVERSIBLE
    say(node, narrow(PEER, per_minute=1), by=2)
    assert node.quarantine.ceiling(PEER).per_minute == FLOOR_PER_MINUTE


@pytest.mark.parametrize("by", [3, 4])
def test_a_stranger_narrows_nobody(by: int) -> None:
    node = node_of()
    say(node, narrow(PEER), by=by)
    assert kept(node) == 0
    assert node.quarantine.ceiling(PEER) == UNBOUND


def test_a_stolen_device_narrows_only_so_many_times_an_hour() -> None:
    node = node_of()
    for number in range(3 * NARROWS_PER_SIGNER_HOUR):
        say(node, narrow(f"principal {number}"), now_ns=SECOND + number)
    assert len(node.quarantine.table) == NARROWS_PER_SIGNER_HOUR
    say(node, narrow("later"), now_ns=HOUR_NS + 2 * SECOND)
    assert node.quarantine.ceiling("later").cls == Impact.READ


def test_a_narrowing_ends_by_itself() -> None:
    node = node_of()
    say(node, narrow(for_s=60))
    node.handle(ClockTicked(now_ns=30 * SECOND))
    assert node.quarantine.ceiling(STRANGER).cls == Impact.READ
    effects = node.handle(ClockTicked(now_ns=62 * SECOND))
    assert "no longer narrowed" in notices(effects)
    assert node.quarantine.ceiling(STRANGER) == UNBOUND


def test_what_is_long_past_by_our_clock_does_not_come_back_after_a_restart() -> None:
    node = node_of()
    node.wall_ahead_ns = 10_000 * SECOND
    old = signed(narrow(at_s=100, for_s=60), 1)
    node.handle(StatementsOffered(now_ns=SECOND, statements=(old,), stored=True))
    assert node.quarantine.table == {}
    fresh = signed(narrow(at_s=10_000, for_s=60), 1)
    effects = node.handle(StatementsOffered(now_ns=SECOND, statements=(fresh,), stored=True))
    assert node.quarantine.ceiling(STRANGER).cls == Impact.READ
    assert notices(effects) == [], "what was told in an earlier life is not told again"


def widen(narrowing: Said, by: int) -> Widen:
    return Widen(narrowing=statement_id(signed(narrowing, by)), at_s=1)


def test_who_narrowed_may_take_it_back() -> None:
    node = node_of()
    say(node, narrow(), by=1)
    effects = say(node, widen(narrow(), 1), by=1)
    assert notices(effects) == ["no longer narrowed"]
    assert node.quarantine.ceiling(STRANGER) == UNBOUND
    dropped = [effect.dropped for effect in effects if isinstance(effect, SaveStatements)]
    assert dropped == [(statement_id(signed(narrow(), 1)),)]


def test_one_other_device_frees_somebody_who_is_not_ours() -> None:
    node = node_of()
    say(node, narrow(), by=1)
    say(node, widen(narrow(), 1), by=2)
    assert node.quarantine.ceiling(STRANGER) == UNBOUND


def test_nobody_widens_what_was_taken_from_itself_nor_while_it_is_in_quarantine() -> None:
    node = node_of()
    say(node, narrow(PEER), by=0)
    say(node, widen(narrow(PEER), 0), by=1)
    say(node, narrow(), by=2)
    say(node, widen(narrow(), 2), by=1)
    assert node.quarantine.ceiling(PEER).cls == Impact.REVERSIBLE
    assert node.quarantine.ceiling(STRANGER).cls == Impact.READ


def test_a_narrowing_that_comes_after_its_end_does_not_hold() -> None:
    node = node_of()
    say(node, widen(narrow(), 1), by=2)
    say(node, narrow(), by=1)
    assert node.quarantine.ceiling(STRANGER) == UNBOUND
    again = node_of()
    stored = tuple(node.statements.of(Topic.QUARANTINE).values())
    again.handle(StatementsOffered(now_ns=SECOND, statements=stored, stored=True))
    say(again, narrow(), by=1)
    assert again.quarantine.ceiling(STRANGER) == UNBOUND


def test_a_device_of_ours_is_freed_by_as_many_others_as_there_are() -> None:
    node = node_of()
    say(node, narrow(PEER), by=0)
    say(node, widen(narrow(PEER), 0), by=2)
    assert node.quarantine.ceiling(PEER) == UNBOUND, "of three devices one is left that can say so"


def test_a_stranger_frees_nobody() -> None:
    node = node_of()
    say(node, narrow(), by=1)
    say(node, widen(narrow(), 1), by=3)
    assert node.quarantine.ceiling(STRANGER).cls == Impact.READ


def test_the_caps_bound_what_nobody_narrowed() -> None:
    node = node_of()
    cap = CAPS_PER_HOUR[Impact.PHYSICAL]
    said = [node.quarantine.refusal(SECOND + n, STRANGER, Impact.PHYSICAL) for n in range(cap + 5)]
    assert said.count("") == cap
    assert "an hour" in said[-1]
    assert node.quarantine.refusal(SECOND, OTHER, Impact.PHYSICAL) == "", "each has its own"
    assert node.quarantine.refusal(SECOND + HOUR_NS, STRANGER, Impact.PHYSICAL) == ""


def test_the_worse_counts_as_the_less_bad_too() -> None:
    node = node_of()
    for number in range(CAPS_PER_HOUR[Impact.IRREVERSIBLE] + 50):
        node.quarantine.refusal(SECOND + number, STRANGER, Impact.IRREVERSIBLE)
    meter = node.quarantine.meters[STRANGER]
    assert meter.heavy == {2: 6, 3: 6, 4: 6}, "what was refused is not counted"


def test_a_rate_is_of_each_minute() -> None:
    node = node_of()
    say(node, narrow(cls=4, per_minute=6))
    said = [node.quarantine.refusal(2 * SECOND + n, STRANGER, Impact.READ) for n in range(8)]
    assert [bool(why) for why in said] == [False] * 6 + [True] * 2
    assert node.quarantine.refusal(3 * SECOND + MINUTE, STRANGER, Impact.READ) == ""


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_garbage_is_no_statement(body: bytes) -> None:
    try:
        said = read_said(body)
    except PeerBroke:
        return
    assert encode_said(said) == body


def test_another_encoding_of_a_statement_is_refused() -> None:
    body = encode_said(narrow())
    with pytest.raises(PeerBroke, match="one right encoding"):
        read_said(_longer(body))


def _longer(body: bytes) -> bytes:
    """The same values, with a length that is written in more bytes than it takes."""
    first = msgspec.msgpack.encode("narrow")
    return body.replace(first, b"\xd9\x06narrow", 1)


def test_a_snapshot_of_the_table_is_all_of_it() -> None:
    node = node_of()
    say(node, narrow())
    node.quarantine.refusal(SECOND, OTHER, Impact.PHYSICAL)
    table = node.quarantine
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(table), type=type(table)) == table


@given(st.permutations([0, 1, 2, 3]))
@settings(max_examples=24)
def test_in_whatever_order_narrowings_come_the_ceiling_is_the_same(order: list[int]) -> None:
    said = [signed(narrow(cls=c, per_minute=p), by) for c, p, by in [(2, 0, 0), (1, 40, 1), (3, 20, 2), (1, 0, 2)]]
    node = node_of()
    for place in order:
        node.handle(StatementsOffered(now_ns=SECOND, statements=(said[place],)))
    ceiling = node.quarantine.ceiling(NodeId(STRANGER))
    assert (ceiling.cls, ceiling.per_minute) == (Impact.REVERSIBLE, 20)
