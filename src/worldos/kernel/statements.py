"""Statements: what devices signed and this node keeps, and how it spreads. Merging is union; keepers say what counts.

A new statement is checked (signature), judged once by the keeper of its topic, kept or refused, and if kept told to
everybody linked who may hear of it: all members, and kin where its topic is for them. Two nodes compare digests when
they link and every so often, so what got lost is found. One that another replaces is dropped by the word of the keeper.
Statements are on disk; after a start they are judged again, in the order in which they came, with ``restoring`` set:
nothing that was done is to be done a second time.

Invariant: one is kept only if its signature fits and its keeper said so. Bounds: per topic, signer, peer and second.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

import msgspec

from worldos.errors import BadSignature, PeerBroke
from worldos.kernel.effects import Effect, Notice, SaveStatements, Send
from worldos.model.ids import NodeId
from worldos.model.limits import SECOND
from worldos.model.statements import (
    FOR_KIN,
    MARK_BYTES,
    STATEMENTS_COMPARE_NS,
    STATEMENTS_PER_PEER_SECOND,
    STATEMENTS_PER_SIGNER_MAX,
    STATEMENTS_PER_TOPIC_MAX,
    STATEMENTS_REFUSED_MAX,
    STATEMENTS_TOLD_BYTES,
    Digest,
    Statement,
    StatementMessage,
    StatementsHave,
    StatementsKnown,
    StatementsTold,
    Topic,
)
from worldos.trust.keys import bytes_of
from worldos.trust.statements import check_statement, statement_id

if TYPE_CHECKING:
    from worldos.kernel.household import Household


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What the keeper of a topic says of a new statement. ``drop``: ids of kept statements of this topic that it replaces.

    ``later``: it was not judged now; told again, it is.
    """

    keep: bool
    later: bool = False
    why: str = ""
    effects: tuple[Effect, ...] = ()
    drop: tuple[str, ...] = ()


class Keeper(Protocol):
    """Who judges the statements of a topic, and keeps what they come to in tables of its own."""

    def judge(self, now_ns: int, statement: Statement, house: Household) -> Verdict:
        """Take in a statement whose signature fits, or refuse it; called once for each."""


class _Bucket(msgspec.Struct, kw_only=True):
    """How many more statements a node of another account may tell in this second."""

    until_ns: int
    left: int


class Statements(msgspec.Struct, kw_only=True):
    """All statements that this node keeps, by topic and id, in the order in which they came."""

    table: dict[Topic, dict[str, Statement]] = {}
    refused: dict[str, Topic] = {}
    buckets: dict[NodeId, _Bucket] = {}
    compare_ns: int = 0
    compared: NodeId = NodeId("")
    restoring: bool = False

    def of(self, topic: Topic) -> dict[str, Statement]:
        """Return the statements of a topic by their ids."""
        return self.table.get(topic, {})

    def restore(self, now_ns: int, statements: Iterable[Statement], house: Household) -> list[Effect]:
        """Take in again what was on disk; what is no statement any more is left out there too."""
        self.restoring = True
        effects = [effect for statement in statements for effect in self._take(now_ns, statement, house)]
        self.restoring = False
        return effects

    def offer(self, now_ns: int, statements: Iterable[Statement], house: Household) -> list[Effect]:
        """Take in statements that were signed on this machine."""
        return self._take_all(now_ns, statements, house, source=house.node)

    def heard(self, now_ns: int, peer: NodeId, message: StatementMessage, house: Household) -> list[Effect]:
        """Take in what another node says of statements."""
        is_member = house.is_member(peer)
        match message:
            case StatementsTold():
                told = [statement for statement in message.statements if is_member or statement.topic in FOR_KIN]
                return self._take_all(now_ns, told if is_member else self._afford(now_ns, peer, told), house, peer)
            case StatementsHave():
                mine = {digest.topic: digest for digest in self._digests(kin=not is_member)}
                theirs = {digest.topic: digest for digest in message.digests if is_member or digest.topic in FOR_KIN}
                differ = [t for t in sorted(mine.keys() | theirs.keys()) if mine.get(t) != theirs.get(t)]
                return [self._known(peer, topic, answer=False) for topic in differ]
            case StatementsKnown():
                if not is_member and message.topic not in FOR_KIN:
                    return []
                return self._tell_missing(peer, message)

    def greet(self, peer: NodeId, house: Household) -> list[Effect]:
        """Compare with a node that is linked now; of two that meet, the one with the smaller id begins."""
        return self._have(peer, is_member=house.is_member(peer)) if house.node < peer else []

    def _have(self, peer: NodeId, *, is_member: bool) -> list[Effect]:
        return [Send(node=peer, message=StatementsHave(digests=self._digests(kin=not is_member)))]

    def compare(self, now_ns: int, house: Household) -> list[Effect]:
        """Tell one linked node after the other what is kept here."""
        self.compare_ns = now_ns + STATEMENTS_COMPARE_NS
        peers = sorted(house.paths)
        if not peers:
            return []
        self.compared = next((peer for peer in peers if peer > self.compared), peers[0])
        if not any(self.table.values()):  # who has something tells it in its turn
            return []
        return self._have(self.compared, is_member=house.is_member(self.compared))

    def _take_all(self, now_ns: int, statements: Iterable[Statement], house: Household, source: NodeId) -> list[Effect]:
        effects: list[Effect] = []
        kept: list[Statement] = []
        for statement in statements:
            before = len(effects)
            effects.extend(self._take(now_ns, statement, house))
            if any(isinstance(effect, SaveStatements) and effect.statements for effect in effects[before:]):
                kept.append(statement)
        for peer in sorted(house.paths.keys() - {source}):
            told = kept if house.is_member(peer) else [statement for statement in kept if statement.topic in FOR_KIN]
            effects.extend(_told(peer, told))
        return effects

    def _take(self, now_ns: int, statement: Statement, house: Household) -> list[Effect]:
        kept = self.table.setdefault(statement.topic, {})
        identifier = statement_id(statement)
        if self._knows(statement.topic, identifier):
            return []
        try:
            check_statement(statement)
        except (BadSignature, PeerBroke) as error:  # not remembered: a forged copy must not keep out the true one
            return [Notice(name="statement refused", fields={"topic": statement.topic, "why": str(error)})]
        verdict = self._judge(now_ns, statement, house)
        if verdict.later:
            return [*verdict.effects]
        if not verdict.keep:
            self._refuse(identifier, statement.topic)
            said = {"topic": str(statement.topic), "signer": statement.signer, "why": verdict.why}
            quiet = self.restoring or not verdict.why
            return (
                [*verdict.effects] if quiet else [*verdict.effects, Notice(name="statement refused", fields=dict(said))]
            )
        dropped = tuple(sorted(old for old in verdict.drop if old in kept))
        for old in dropped:
            del kept[old]
            self._refuse(old, statement.topic)
        kept[identifier] = statement
        return [SaveStatements(topic=statement.topic, statements=(statement,), dropped=dropped), *verdict.effects]

    def _knows(self, topic: Topic, identifier: str) -> bool:
        return identifier in self.of(topic) or identifier in self.refused

    def _judge(self, now_ns: int, statement: Statement, house: Household) -> Verdict:
        kept = self.table[statement.topic]
        if len(kept) >= STATEMENTS_PER_TOPIC_MAX:
            return Verdict(keep=False, why=f"{STATEMENTS_PER_TOPIC_MAX} statements of a topic are the most")
        if (
            len(kept) >= STATEMENTS_PER_SIGNER_MAX
            and sum(known.signer == statement.signer for known in kept.values()) >= STATEMENTS_PER_SIGNER_MAX
        ):
            return Verdict(keep=False, why=f"{STATEMENTS_PER_SIGNER_MAX} statements of one signer are the most")
        keeper = house.keeper_of(statement.topic)
        if keeper is None:
            return Verdict(keep=False, why="nobody here keeps this topic")
        return keeper.judge(now_ns, statement, house)

    def _refuse(self, identifier: str, topic: Topic) -> None:
        if len(self.refused) >= STATEMENTS_REFUSED_MAX:
            del self.refused[next(iter(self.refused))]
        self.refused[identifier] = topic

    def _afford(self, now_ns: int, peer: NodeId, statements: list[Statement]) -> list[Statement]:
        """Return as many new ones as this node of another account may still tell in this second; more come again later."""
        fresh = [each for each in statements if not self._knows(each.topic, statement_id(each))]
        bucket = self.buckets.get(peer)
        if bucket is None or now_ns >= bucket.until_ns:
            self.buckets = {n: b for n, b in self.buckets.items() if b.until_ns > now_ns}
            bucket = self.buckets[peer] = _Bucket(until_ns=now_ns + SECOND, left=STATEMENTS_PER_PEER_SECOND)
        afforded = fresh[: bucket.left]
        bucket.left -= len(afforded)
        return afforded

    def _digests(self, *, kin: bool) -> tuple[Digest, ...]:
        topics = [topic for topic in sorted(self.table) if self.table[topic] and (not kin or topic in FOR_KIN)]
        return tuple(Digest(topic=t, count=len(self.table[t]), marks=_folded(self.table[t])) for t in topics)

    def _known(self, peer: NodeId, topic: Topic, *, answer: bool) -> Send:
        known = [*self.of(topic), *(old for old, about in self.refused.items() if about == topic)]
        return Send(
            node=peer, message=StatementsKnown(topic=topic, marks=tuple(_mark(i) for i in known), answer=answer)
        )

    def _tell_missing(self, peer: NodeId, message: StatementsKnown) -> list[Effect]:
        theirs = frozenset(message.marks)
        marked = {_mark(identifier): statement for identifier, statement in self.of(message.topic).items()}
        effects = _told(peer, [statement for mark, statement in marked.items() if mark not in theirs])
        known = {*marked, *(_mark(old) for old, about in self.refused.items() if about == message.topic)}
        if not message.answer and theirs - known:
            effects.append(self._known(peer, message.topic, answer=True))
        return effects


def _told(peer: NodeId, statements: Iterable[Statement]) -> list[Effect]:
    """Return the messages that tell these statements, each of a bounded size."""
    effects: list[Effect] = []
    batch: list[Statement] = []
    size_bytes = 0
    for statement in statements:
        batch.append(statement)
        size_bytes += len(statement.body)
        if size_bytes >= STATEMENTS_TOLD_BYTES:
            effects.append(Send(node=peer, message=StatementsTold(statements=tuple(batch))))
            batch, size_bytes = [], 0
    return [*effects, Send(node=peer, message=StatementsTold(statements=tuple(batch)))] if batch else effects


def _mark(identifier: str) -> bytes:
    return bytes_of(identifier)[:MARK_BYTES]


def _folded(identifiers: Iterable[str]) -> bytes:
    folded = 0
    for identifier in identifiers:
        folded ^= int.from_bytes(_mark(identifier), "big")
    return folded.to_bytes(MARK_BYTES, "big")
