"""Chains of sessions: a pure function of the ops that are here, in whatever order they came."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.agent.company import Group

from worldos.kernel import sessions
from worldos.kernel.session_op import NOTHING, SessionOp, encode_op, op_id
from worldos.kernel.sessions import SESSION_OPS_MAX, SESSIONS_MAX, session_name
from worldos.model.statements import Statement, Topic
from worldos.node import Node
from worldos.sim.machine import device_key
from worldos.trust.statements import sign_statement, statement_id

SESSION = b"s" * 10
NAME = session_name(SESSION)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Group(tmp_path, 3).devices[0].node


def said(number: int, **fields: object) -> Statement:
    """An op that device ``number`` signs."""
    blank = {"session": SESSION, "fence": 1, "ends": False, "epoch": bytes(32), "sealed": bytes(28)}
    return sign_statement(device_key(number), Topic.SESSION, encode_op(SessionOp(**{**blank, **fields})))  # type: ignore[arg-type]


def ref(statement: Statement) -> bytes:
    return op_id(statement_id(statement))


def told(node: Node, *ops: Statement) -> None:
    node.statements.offer(1, ops, node)


def history(choices: list[tuple[int, int, bool]]) -> list[Statement]:
    """A tree of ops: each choice is a writer, which earlier op it had seen last, and whether it begins a reign."""
    first = said(0, seq=1, prev=NOTHING, move=NOTHING)
    made = [(first, 1, 1, ref(first), 0)]
    for salt, (writer, at, moves) in enumerate(choices):
        seen, seq, fence, reign, holder = made[at % len(made)]
        if moves or holder != writer or any(other == reign and after > seq for _, after, _, other, _ in made):
            op = said(writer, seq=seq + 1, prev=ref(seen), fence=fence + 1, move=NOTHING, sealed=bytes([salt]) * 28)
            made.append((op, seq + 1, fence + 1, ref(op), writer))
        else:
            op = said(writer, seq=seq + 1, prev=ref(seen), fence=fence, move=reign, sealed=bytes([salt]) * 28)
            made.append((op, seq + 1, fence, reign, writer))
    return [op for op, *_ in made]


CHOICES = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 40), st.booleans()), max_size=25)


@settings(max_examples=40)
@given(CHOICES, st.randoms(use_true_random=False))
def test_every_order_of_arrival_comes_to_the_same_chain(
    tmp_path_factory: pytest.TempPathFactory, choices: list[tuple[int, int, bool]], dice: random.Random
) -> None:
    ops = history(choices)
    group = Group(tmp_path_factory.mktemp("g"), 3)
    found = []
    for device in group.devices[:2]:
        dice.shuffle(ops)
        told(device.node, *ops)
        device.node.clones.cloned.clear()
        found.append(device.node.sessions.chain(NAME, device.node.is_member))
    assert found[0] == found[1]
    chain = found[0]
    assert chain is not None
    heads = group.devices[0].node.sessions.table[NAME].ops
    assert chain.fence == max(head.fence for head in heads.values())
    assert len(chain.ops) + len(chain.aside) == len(set(map(ref, ops)) & heads.keys())
    assert [heads[each].seq for each in chain.ops] == list(range(1, chain.seq + 1))


def test_an_op_in_a_reign_that_another_began_counts_for_nothing(node: Node) -> None:
    first = said(0, seq=1, prev=NOTHING, move=NOTHING)
    usurped = said(1, seq=2, prev=ref(first), move=ref(first))
    told(node, first, usurped)
    chain = node.sessions.chain(NAME, node.is_member)
    assert chain is not None
    assert (chain.seq, chain.writer) == (1, device_key(0).node_id)
    assert chain.aside == (ref(usurped),)


@pytest.mark.parametrize(
    "wrong", [{"seq": 4}, {"fence": 1, "move": NOTHING}, {"fence": 3, "move": "first"}, {"prev": "itself"}]
)
def test_an_op_that_skips_or_steps_back_breaks_its_chain(node: Node, wrong: dict[str, object]) -> None:
    first = said(0, seq=1, prev=NOTHING, move=NOTHING)
    moved = said(0, seq=2, prev=ref(first), fence=2, move=NOTHING)
    fields: dict[str, object] = {"seq": 3, "prev": ref(moved), "fence": 2, "move": ref(moved), **wrong}
    if fields["move"] == "first":
        fields["move"] = ref(first)
    if fields["prev"] == "itself":
        fields["prev"] = b"\1" * 32
        fields["seq"] = 2
    told(node, first, moved, said(0, **fields))
    chain = node.sessions.chain(NAME, node.is_member)
    assert chain is not None
    assert ref(moved) in chain.ops or fields["prev"] == b"\1" * 32
    assert chain.fence == 2


def test_nothing_follows_an_end(node: Node) -> None:
    first = said(0, seq=1, prev=NOTHING, move=NOTHING)
    last = said(0, seq=2, prev=ref(first), move=ref(first), ends=True)
    after = said(0, seq=3, prev=ref(last), move=ref(first))
    told(node, first, last, after)
    chain = node.sessions.chain(NAME, node.is_member)
    assert chain is not None
    assert (chain.seq, chain.ended) == (2, True)


def test_a_stranger_writes_in_no_session(node: Node) -> None:
    told(node, said(7, seq=1, prev=NOTHING, move=NOTHING))
    assert not node.sessions.table


def test_old_ops_are_forgotten_and_the_first_stays(node: Node) -> None:
    ops = [said(0, seq=1, prev=NOTHING, move=NOTHING)]
    reign = ref(ops[0])
    for seq in range(2, SESSION_OPS_MAX + 200):
        ops.append(said(0, seq=seq, prev=ref(ops[-1]), move=reign))
    told(node, *ops)
    chain = node.sessions.chain(NAME, node.is_member)
    assert chain is not None
    assert chain.seq == SESSION_OPS_MAX + 199
    assert SESSION_OPS_MAX * 3 // 4 < len(chain.ops) <= SESSION_OPS_MAX
    assert len(node.statements.of(Topic.SESSION)) == len(node.sessions.table[NAME].ops) <= SESSION_OPS_MAX
    assert reign in node.sessions.table[NAME].ops
    told(node, ops[5])
    assert ref(ops[5]) not in node.sessions.table[NAME].ops, "what was forgotten does not come back"


def test_when_there_are_too_many_sessions_one_that_ended_makes_room(node: Node) -> None:
    for number in range(SESSIONS_MAX + 1):
        fields = {"session": bytes([number]) * 10}
        first = said(0, seq=1, prev=NOTHING, move=NOTHING, **fields)
        told(node, first, said(0, seq=2, prev=ref(first), move=ref(first), ends=number == 3, **fields))
    assert len(node.sessions.table) == SESSIONS_MAX
    assert session_name(bytes([3]) * 10) not in node.sessions.table
    assert session_name(bytes([SESSIONS_MAX]) * 10) in node.sessions.table
    assert len(node.statements.of(Topic.SESSION)) == 2 * SESSIONS_MAX
    told(node, said(0, seq=1, prev=NOTHING, session=b"\xff" * 10, move=NOTHING))
    assert session_name(b"\xff" * 10) not in node.sessions.table, "all that are left are open"


def test_all_sessions_together_have_a_bound_and_the_largest_gives_way(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "OPS_MAX", 60)
    for number, count in ((1, 10), (2, 40), (3, 40)):
        fields = {"session": bytes([number]) * 10}
        ops = [said(0, seq=1, prev=NOTHING, move=NOTHING, **fields)]
        for seq in range(2, count + 1):
            ops.append(said(0, seq=seq, prev=ref(ops[-1]), move=ref(ops[0]), **fields))
        told(node, *ops)
    sizes = [len(node.sessions.table[session_name(bytes([n]) * 10)].ops) for n in (1, 2, 3)]
    assert sum(sizes) <= 60
    assert sizes[0] == 10
    assert min(sizes[1:]) >= 20
