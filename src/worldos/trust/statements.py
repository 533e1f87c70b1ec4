"""Statements: statements that sign themselves, each for one topic. Who may say what is for the topic's keeper to judge.

The signature is over the topic as its domain, so that what was said of one thing can never be shown for another.
"""

from __future__ import annotations

import hashlib

from worldos.errors import PeerBroke
from worldos.model.ids import NodeId
from worldos.model.statements import STATEMENT_BYTES_MAX, Statement, Topic
from worldos.trust.keys import SIGNATURE_BYTES, DeviceKey, id_of, public_of, verify


def sign_statement(key: DeviceKey, topic: Topic, body: bytes) -> Statement:
    """Say something as this device; equal words are one statement."""
    if len(body) > STATEMENT_BYTES_MAX:
        raise ValueError(f"a statement has at most {STATEMENT_BYTES_MAX} bytes, not {len(body)}")
    return Statement(topic=topic, signer=NodeId(key.node_id), body=body, signature=key.sign(_domain(topic), body))


def check_statement(statement: Statement) -> None:
    """Raise BadSignature or PeerBroke unless the signer said this."""
    if len(statement.body) > STATEMENT_BYTES_MAX or len(statement.signature) != SIGNATURE_BYTES:
        raise PeerBroke("a statement has another size")
    verify(public_of(statement.signer), _domain(statement.topic), statement.body, statement.signature)


def statement_id(statement: Statement) -> str:
    """Return the id of a statement: 52 characters, of what is said, by whom and about what."""
    said = b"\0".join((b"worldos/statement", statement.topic.encode(), statement.signer.encode(), statement.body))
    return id_of(hashlib.sha256(said).digest())


def _domain(topic: Topic) -> str:
    return f"statement/{topic}"
