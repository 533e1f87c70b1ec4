"""A roll: who may approve and who bears witness in one realm, which nodes it has, and which budgets were given out before.

Each node has its own copy. The owner sets the first one, on the machine; from then on another takes its place only by a command
that the old one approves. Its id is the hash of its bytes, and a command names it: what was approved under one roll is not
carried out under another. An owner speaks for one institution, whatever number of keys he has; a key is one owner's.

From the level of an enterprise on, who approves bears no witness: stealing the one gives nothing of the other.
"""

from __future__ import annotations

import functools
import hashlib
from typing import Annotated, Final

import msgspec

from worldos.errors import PeerBroke
from worldos.kernel.guard.limits import (
    APPROVERS_MAX,
    NODES_LISTED_MAX,
    ROLL_BYTES_MAX,
    SHARES_MAX,
    WITNESSES_MAX,
)
from worldos.model.exact import read_exactly
from worldos.model.realm import NUMBER_MAX, Level, NodeName, Number, Realm, Text
from worldos.trust.keys import id_of
from worldos.trust.passkeys import ORIGIN_CHARS_MAX, PUBLIC_BYTES, check_passkey

_DOMAIN: Final = b"worldos/guard-roll\0"

Owner = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class Approver(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One key that may approve, whose it is, and for which institution he speaks.

    ``key``: a node id; or of a passkey ``passkey_id``, with its COSE key and origin. ``human``: this key never signs without
    a person present; of a passkey that is always so.
    """

    key: NodeName
    owner: Owner
    institution: Text = ""
    human: bool = False
    passkey: Annotated[bytes, msgspec.Meta(max_length=PUBLIC_BYTES)] = b""
    rp: Annotated[str, msgspec.Meta(max_length=ORIGIN_CHARS_MAX)] = ""


class Witness(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One node that looks whether the others are well, and whose it is."""

    node: NodeName
    owner: Owner


class Share(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """So many nodes in each window may be reached in this place by commands below the quorum; ``holder`` gives them out.

    ``place`` is a realm within (a region, a site) that may be cut off with its holder; nodes elsewhere take nothing of it.
    """

    place: Realm
    holder: NodeName
    amount: Number


class Roll(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="roll/1", cache_hash=True):
    """All of it. ``population``: how many nodes there are; ``nodes``: which, where they are few. ``number`` grows.

    ``cap`` is the budget of the whole realm for a window: all shares together are never more.
    """

    realm: Realm
    level: Level
    number: Number
    population: Annotated[int, msgspec.Meta(ge=1, le=NUMBER_MAX)]
    approvers: Annotated[tuple[Approver, ...], msgspec.Meta(max_length=APPROVERS_MAX)]
    witnesses: Annotated[tuple[Witness, ...], msgspec.Meta(max_length=WITNESSES_MAX)] = ()
    nodes: Annotated[tuple[NodeName, ...], msgspec.Meta(max_length=NODES_LISTED_MAX)] = ()
    cap: Number = 0
    shares: Annotated[tuple[Share, ...], msgspec.Meta(max_length=SHARES_MAX)] = ()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Roll).decode


def encode_roll(roll: Roll) -> bytes:
    """Write a roll down; PeerBroke for one that would not be read again."""
    data = _encode(roll)
    read_roll(data)
    return data


def read_roll(data: bytes) -> Roll:
    """Read a roll and check what it says by itself; PeerBroke unless it is whole, in order, in the one encoding."""
    if len(data) > ROLL_BYTES_MAX:
        raise PeerBroke(f"a roll has {ROLL_BYTES_MAX} bytes at most")
    roll: Roll = read_exactly(_decode, _encode, data, "a roll")
    why = _disorder(roll)
    if why:
        raise PeerBroke(f"a roll is not in order: {why}")
    return roll


@functools.lru_cache(maxsize=256)
def roll_id(roll: Roll) -> str:
    """Return the id of a roll: 52 characters."""
    return id_of(hashlib.sha256(_DOMAIN + _encode(roll)).digest())


def passkey_id(public: bytes) -> str:
    """Return the id by which a roll names a passkey: that of its COSE key."""
    return id_of(hashlib.sha256(public).digest())


@functools.lru_cache(maxsize=256)
def approvers_of(roll: Roll) -> dict[str, Approver]:
    """Return the approvers of a roll by key. The table is shared: nobody changes it."""
    return {approver.key: approver for approver in roll.approvers}


@functools.lru_cache(maxsize=256)
def witnesses_of(roll: Roll) -> dict[str, Witness]:
    """Return the witnesses of a roll by node. The table is shared: nobody changes it."""
    return {witness.node: witness for witness in roll.witnesses}


@functools.lru_cache(maxsize=256)
def owners(roll: Roll) -> int:
    """Return how many different owners may approve."""
    return len({approver.owner for approver in roll.approvers})


@functools.lru_cache(maxsize=256)
def institutions(roll: Roll) -> int:
    """Return for how many institutions they speak."""
    return len({approver.institution for approver in roll.approvers})


def _disorder(roll: Roll) -> str:
    if len(approvers_of(roll)) != len(roll.approvers):
        return "a key is named twice"
    speaks: dict[str, str] = {}
    for approver in roll.approvers:
        if speaks.setdefault(approver.owner, approver.institution) != approver.institution:
            return f"{approver.owner!r} speaks for two institutions"
        if approver.passkey:
            check_passkey(approver.passkey, approver.rp)
            if approver.key != passkey_id(approver.passkey):
                return "a passkey is named by the hash of its key"
        elif approver.rp:
            return "only a passkey has an origin"
    if len(witnesses_of(roll)) != len(roll.witnesses):
        return "a witness is named twice"
    if roll.level >= Level.ENTERPRISE:
        if any(w.owner in speaks or w.node in approvers_of(roll) for w in roll.witnesses):
            return "who approves bears no witness"
        if len({w.owner for w in roll.witnesses}) != len(roll.witnesses):
            return "each witness has another owner"
    if roll.nodes and (list(roll.nodes) != sorted(set(roll.nodes)) or len(roll.nodes) != roll.population):
        return "it lists all of its nodes, each once, in order, or none"
    if len({(share.place, share.holder) for share in roll.shares}) != len(roll.shares):
        return "a share is named twice"
    if sum(share.amount for share in roll.shares) > roll.cap:
        return f"its shares are more than its budget of {roll.cap}"
    return ""
