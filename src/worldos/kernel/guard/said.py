"""What is said about a command: approvals, spent budget, what a node did, what a witness saw, and stop.

Each is the body of a signed statement (``trust/statements.py``), so who says it is not written in it. One encoding; whatever
else comes is PeerBroke.
"""

from __future__ import annotations

import enum
from typing import Annotated, TypeAlias

import msgspec

from worldos.errors import PeerBroke
from worldos.kernel.guard.command import Id
from worldos.kernel.guard.limits import ASSERTION_BYTES_MAX, STATEMENT_BYTES_MAX, VOUCHED_MAX, WAVES_MAX
from worldos.model.exact import read_exactly
from worldos.model.realm import NUMBER_MAX, NodeName, Number, Realm
from worldos.model.statements import Topic

Wave: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=WAVES_MAX)]
Nodes: TypeAlias = Annotated[tuple[NodeName, ...], msgspec.Meta(max_length=VOUCHED_MAX)]


class Approval(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="approve"):
    """This key approves the command whose bytes have this id. ``assertion``: what a passkey signed, over those bytes."""

    command: Id
    key: NodeName
    assertion: Annotated[bytes, msgspec.Meta(max_length=ASSERTION_BYTES_MAX)] = b""


class Spent(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="spend"):
    """From the signer's share of this place, in this window, the units from ``first`` on are for this command."""

    command: Id
    place: Realm
    window: Number
    first: Number
    count: Annotated[int, msgspec.Meta(ge=1, le=NUMBER_MAX)]


class Outcome(enum.StrEnum):
    """How it went on a node."""

    DONE = "done"
    REFUSED = "refused"  # the owner's envelope, or that the node cannot: nothing was changed
    FAILED = "failed"


class Did(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="did"):
    """The signer carried the command out in its wave, or could not."""

    command: Id
    wave: Wave
    outcome: Outcome


class Health(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="health"):
    """The signer, a witness, looked at nodes that carried the command out: these are well, these are not, at this moment."""

    command: Id
    wave: Wave
    at_s: Number
    well: Nodes
    sick: Nodes = ()


class Halt(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="halt"):
    """Carry this command out on no further node. ``mute``: and let this key approve and propose nothing more."""

    command: Id
    mute: Annotated[str, msgspec.Meta(max_length=64)] = ""
    why: Annotated[str, msgspec.Meta(max_length=256)] = ""


Said: TypeAlias = Approval | Spent | Did | Health | Halt
_TOPICS: dict[type, Topic] = {
    Approval: Topic.APPROVAL,
    Spent: Topic.APPROVAL,
    Did: Topic.HEALTH,
    Health: Topic.HEALTH,
    Halt: Topic.STOP,
}

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Said).decode


def encode_said(said: Said) -> bytes:
    """Write it down: the body of a statement of ``topic_of`` it."""
    return _encode(said)


def topic_of(said: Said) -> Topic:
    """Return the topic under which it is stated."""
    return _TOPICS[type(said)]


def read_said(topic: Topic, body: bytes) -> Said:
    """Read what was stated under a topic of the guard; PeerBroke for anything else."""
    if len(body) > STATEMENT_BYTES_MAX:
        raise PeerBroke("a statement about a command is too long")
    said: Said = read_exactly(_decode, _encode, body, "a statement about a command")
    if topic_of(said) is not topic:
        raise PeerBroke("a statement about a command is stated under another topic")
    if isinstance(said, Health) and any(list(part) != sorted(set(part)) for part in (said.well, said.sick)):
        raise PeerBroke("a witness names each node once, in order")
    return said
