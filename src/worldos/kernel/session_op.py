"""One word of a session: which one, after which, in whose reign, under which epoch, and the sealed rest.

A session is a chain: each op names the one before it by its id. Its writer holds a *reign*: a fencing number and the op
that began it. ``move`` is that op's id, and nothing in the op that begins a reign itself. What is said is sealed under
the account's epoch, bound to all that stands around it; ``ends`` stands outside, so that a device which cannot read a
session may still forget it. Source: M. Kleppmann, "How to do distributed locking", 2016 (fencing tokens).
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from worldos.errors import PeerBroke
from worldos.model.exact import read_exactly
from worldos.trust.epochs import NONCE_BYTES, SEALED_BYTES_MAX
from worldos.trust.keys import bytes_of

SESSION_BYTES = 10
OP_ID_BYTES = 32
NOTHING = bytes(OP_ID_BYTES)
COUNT_MAX = 1 << 53

_Id = Annotated[bytes, msgspec.Meta(min_length=OP_ID_BYTES, max_length=OP_ID_BYTES)]
_Count = Annotated[int, msgspec.Meta(ge=1, lt=COUNT_MAX)]


class SessionOp(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One op as it is signed. ``prev`` and ``move`` are ids of statements as bytes."""

    session: Annotated[bytes, msgspec.Meta(min_length=SESSION_BYTES, max_length=SESSION_BYTES)]
    seq: _Count
    prev: _Id
    fence: _Count
    move: _Id
    ends: bool
    epoch: _Id
    sealed: Annotated[bytes, msgspec.Meta(min_length=NONCE_BYTES + 16, max_length=SEALED_BYTES_MAX)]

    @property
    def bound(self) -> bytes:
        """What the seal of an op is bound to: all of it but the seal."""
        return encode_op(msgspec.structs.replace(self, sealed=bytes(NONCE_BYTES + 16)))


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(SessionOp).decode


def encode_op(op: SessionOp) -> bytes:
    """Write an op in its one right form."""
    return _encode(op)


def read_op(body: bytes) -> SessionOp:
    """Read an op; raise PeerBroke unless it is in the one right form."""
    op: SessionOp = read_exactly(_decode, _encode, body, "an op of a session")
    if (op.seq == 1) != (op.prev == NOTHING) or (op.seq == 1 and (op.fence != 1 or op.move != NOTHING)):
        raise PeerBroke("a session begins with its first op, and no other is its first")
    return op


def op_id(statement: str) -> bytes:
    """Return the id of a statement as ops name it."""
    return bytes_of(statement)
