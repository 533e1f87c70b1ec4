"""Statements as nodes speak of them: signed words that spread by union, and how two nodes find what one of them lacks.

It is said by the device that signed it, however it came here, and counts by its topic. Its id is the hash of topic,
signer and body (``trust/statements.py``); in lists it is cut to its first ``MARK_BYTES``, enough to tell apart what one
node keeps.
"""

from __future__ import annotations

import enum
from typing import Annotated, Final, TypeAlias

import msgspec

from worldos.model.realm import NodeName

STATEMENT_BYTES_MAX: Final = 16 * 1024
STATEMENTS_PER_TOPIC_MAX: Final = 4096
STATEMENTS_PER_SIGNER_MAX: Final = 2048  # of one topic: a stolen device cannot fill it alone
STATEMENTS_REFUSED_MAX: Final = 4096  # what was refused is remembered, so that it is not sent again and again
STATEMENTS_TOLD_BYTES: Final = 128 * 1024  # a message of statements is closed when they reach this
STATEMENTS_PER_PEER_SECOND: Final = 200  # from a node of another account
STATEMENTS_COMPARE_NS: Final = 10_000_000_000
MARK_BYTES: Final = 16


class Topic(enum.StrEnum):
    """What a statement is about, and with that who keeps it."""

    REVOKED = "revoked"
    ROLE = "role"
    EPOCH = "epoch"
    DEVICE = "device"
    SESSION = "session"
    COMMAND = "command"
    APPROVAL = "approval"
    HEALTH = "health"
    STOP = "stop"
    QUARANTINE = "quarantine"
    BASELINE = "baseline"
    CARD = "card"


FOR_KIN: Final = frozenset({Topic.REVOKED, Topic.COMMAND, Topic.APPROVAL, Topic.HEALTH, Topic.STOP, Topic.CARD})
"""Topics that nodes of other accounts hear too, and may tell; all others stay in the account."""

Mark: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=MARK_BYTES, max_length=MARK_BYTES)]


class Statement(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One statement: ``body`` is what its topic says it is, and ``signature`` is the signer's over topic and body."""

    topic: Topic
    signer: NodeName
    body: Annotated[bytes, msgspec.Meta(max_length=STATEMENT_BYTES_MAX)]
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class Digest(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a node has of a topic: how many, and the exclusive or of their marks."""

    topic: Topic
    count: Annotated[int, msgspec.Meta(ge=0, le=STATEMENTS_PER_TOPIC_MAX)]
    marks: Mark


class StatementsHave(msgspec.Struct, frozen=True, kw_only=True, tag="said?"):
    """This is what I have of each topic that has anything."""

    digests: Annotated[tuple[Digest, ...], msgspec.Meta(max_length=len(Topic))]


class StatementsKnown(msgspec.Struct, frozen=True, kw_only=True, tag="said-known"):
    """These I have, or have refused, of a topic: tell me the others. ``answer``: and I shall not ask again."""

    topic: Topic
    marks: Annotated[tuple[Mark, ...], msgspec.Meta(max_length=STATEMENTS_PER_TOPIC_MAX + STATEMENTS_REFUSED_MAX)]
    answer: bool


class StatementsTold(msgspec.Struct, frozen=True, kw_only=True, tag="said"):
    """Statements, in the order in which I took them in."""

    statements: Annotated[tuple[Statement, ...], msgspec.Meta(max_length=STATEMENTS_PER_TOPIC_MAX)]


StatementMessage: TypeAlias = StatementsHave | StatementsKnown | StatementsTold
