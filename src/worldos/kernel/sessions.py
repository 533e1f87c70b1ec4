"""Sessions: what a person does goes on from one device to the next, with one writer at a time.

Each op is a statement (``session_op``), so ops spread by union and come in any order. What a session comes to is a pure
function of the ops that are here: the *reign* with the greatest (fencing number, id of the op that began it) counts, in
it the longest chain, and behind it whatever its ops name as their past. So a device that was cut off and went on
writing in an older reign loses nothing silently: its ops stand *aside*, and are shown as such. An op counts as a head
only while its signer is a device of the account: the last words of a stolen phone are nobody's, unless another device
has built on them.

A reign is one life of one device. Two ops of one writer at one place of one reign are proof of a copy (``clones``).
Bounds: sessions, ops of each and of all; the oldest ops go first, but for that which began a session or a reign.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from worldos.errors import PeerBroke
from worldos.kernel.effects import Effect, Notice
from worldos.kernel.session_op import NOTHING, SessionOp, op_id, read_op
from worldos.kernel.statements import Verdict
from worldos.model.ids import NodeId
from worldos.model.statements import STATEMENTS_PER_SIGNER_MAX, STATEMENTS_PER_TOPIC_MAX, Statement
from worldos.trust.keys import id_of
from worldos.trust.statements import statement_id

if TYPE_CHECKING:
    from worldos.kernel.household import Household

SESSIONS_MAX = 64
SESSION_OPS_MAX = 512
OPS_MAX = 1800  # of all sessions together
NAME_CHARS = 16

assert SESSION_OPS_MAX < OPS_MAX < STATEMENTS_PER_SIGNER_MAX <= STATEMENTS_PER_TOPIC_MAX


class Head(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What the chain needs of an op. ``reign`` is the id of the op that began its reign, its own where it did."""

    seq: int
    prev: bytes
    fence: int
    reign: bytes
    ends: bool
    signer: NodeId


class Session(msgspec.Struct, kw_only=True):
    """The ops of one session by their ids, and up to which number they were forgotten."""

    ops: dict[bytes, Head] = {}
    floor: int = 0


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """What a session comes to: ids of its ops, oldest first; who writes, in which reign; and how many ops stand aside."""

    ops: tuple[bytes, ...]
    seq: int
    fence: int
    reign: bytes
    writer: NodeId
    ended: bool
    aside: tuple[bytes, ...]


class Sessions(msgspec.Struct, kw_only=True):
    """All sessions of the account, by their ids in base32."""

    table: dict[str, Session] = {}

    def judge(self, now_ns: int, statement: Statement, house: Household) -> Verdict:
        """Take in an op of a device of the account."""
        try:
            op = read_op(statement.body)
        except PeerBroke as error:
            return Verdict(keep=False, why=str(error))
        if not house.clones.may_speak(statement, house):
            return Verdict(keep=False, why="only devices of the account write in its sessions")
        name = session_name(op.session)
        dropped: tuple[str, ...] = ()
        if name not in self.table and len(self.table) >= SESSIONS_MAX:
            ended = next((old for old in self.table if self._has_ended(old)), None)
            if ended is None:
                return Verdict(keep=False, why=f"{SESSIONS_MAX} sessions are the most: end one")
            dropped = tuple(id_of(each) for each in self.table.pop(ended).ops)
        session = self.table.setdefault(name, Session())
        if op.seq <= session.floor:
            return Verdict(keep=False)
        identifier = op_id(statement_id(statement))
        if identifier in session.ops:
            return Verdict(keep=True)
        twin = self._twin(session, statement.signer, op)
        session.ops[identifier] = _head(op, identifier, statement.signer)
        effects = () if house.statements.restoring else _news(name, op)
        if twin is not None:
            proof = (id_of(twin), id_of(identifier))
            effects = (
                *effects,
                *house.clones.accuse(now_ns, statement.signer, "it wrote twice at one place", proof, house),
            )
        dropped += self._forget_oldest(session)
        return Verdict(keep=True, effects=effects, drop=dropped)

    def chain(self, name: str, is_member: Callable[[NodeId], bool]) -> Chain | None:
        """Return what a session comes to; nothing where no op of it can be a head."""
        session = self.table.get(name)
        if session is None:
            return None
        ops = session.ops
        acting = {signer for signer in {head.signer for head in ops.values()} if is_member(signer)}
        heads = {
            (head.fence, head.reign, head.seq, each)
            for each, head in ops.items()
            if head.signer in acting and _reigns(ops, head)
        }
        while heads:
            best = max(heads)
            heads.remove(best)
            tip = best[-1]
            walked = _walk(ops, tip)
            if walked is not None:
                head, counted = ops[tip], set(walked)
                return Chain(
                    ops=tuple(reversed(walked)),
                    seq=head.seq,
                    fence=head.fence,
                    reign=head.reign,
                    writer=head.signer,
                    ended=head.ends,
                    aside=tuple(sorted(each for each in ops if each not in counted)),
                )
        return None

    def _has_ended(self, name: str) -> bool:
        return any(head.ends for head in self.table[name].ops.values())

    def _twin(self, session: Session, signer: NodeId, op: SessionOp) -> bytes | None:
        """Return another op of this writer at this place of this reign."""
        if op.move == NOTHING:
            return None
        place = (op.seq, op.move, signer)
        return next((e for e, head in session.ops.items() if (head.seq, head.reign, head.signer) == place), None)

    def _forget_oldest(self, session: Session) -> tuple[str, ...]:
        dropped: list[str] = []
        while len(session.ops) > SESSION_OPS_MAX:
            dropped += _forget_eighth(session)
        while sum(len(each.ops) for each in self.table.values()) > OPS_MAX:
            dropped += _forget_eighth(max(self.table.values(), key=lambda each: len(each.ops)))
        return tuple(dropped)


def session_name(session: bytes) -> str:
    """Write the 10 bytes of a session as its id: 16 characters of base32."""
    return id_of(session + bytes(32 - len(session)))[:NAME_CHARS]


def _head(op: SessionOp, identifier: bytes, signer: NodeId) -> Head:
    reign = identifier if op.move == NOTHING else op.move
    return Head(seq=op.seq, prev=op.prev, fence=op.fence, reign=reign, ends=op.ends, signer=signer)


def _news(name: str, op: SessionOp) -> tuple[Effect, ...]:
    if op.move != NOTHING and not op.ends:
        return ()
    what = "ended" if op.ends else "begun" if op.seq == 1 else "moved"
    return (Notice(name=f"session {what}", fields={"session": name, "seq": op.seq}),)


def _reigns(ops: dict[bytes, Head], head: Head) -> bool:
    """Tell whether the op that began this reign is here, and began it for this writer."""
    first = ops.get(head.reign)
    return (
        first is not None
        and first.reign == head.reign
        and (first.signer, first.fence) == (head.signer, head.fence)
        and first.seq <= head.seq
    )


def _walk(ops: dict[bytes, Head], tip: bytes) -> list[bytes] | None:
    """Return the chain that ends in ``tip``, newest first, as far back as ops are here; nothing if it breaks a rule."""
    walked, at = [tip], ops[tip]
    while at.prev in ops:
        before = ops[at.prev]
        same = before.reign == at.reign
        if before.seq + 1 != at.seq or before.ends or (same != (before.fence == at.fence)) or before.fence > at.fence:
            return None
        if same and before.signer != at.signer:
            return None
        walked.append(at.prev)
        at = before
    return walked


def _forget_eighth(session: Session) -> list[str]:
    """Forget the oldest ops, but for those that began the session or its last reign."""
    first = {min(session.ops, key=lambda each: session.ops[each].seq)}
    last = max(session.ops.values(), key=lambda head: (head.fence, head.reign))
    order = sorted(session.ops, key=lambda each: (session.ops[each].seq, each))
    gone = [each for each in order if each not in first and each != last.reign][: max(1, len(order) // 8)]
    session.floor = max(session.floor, *(session.ops[each].seq for each in gone))
    for each in gone:
        del session.ops[each]
    return [id_of(each) for each in gone]
