"""What the owner sets of the guard on the machine itself, and what an earlier life left to this one: values, as bytes.

None of it ever comes from another node: the local door lets in who is on the machine, and the disk is the machine's own.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias, assert_never

import msgspec

from worldos.errors import BadRequest, CorruptFile, PeerBroke
from worldos.kernel.guard.command import Milli
from worldos.kernel.guard.envelope import Limit
from worldos.kernel.guard.guard import Guard
from worldos.kernel.guard.limits import LIMITS_MAX, ROLL_BYTES_MAX
from worldos.kernel.guard.roll import encode_roll, read_roll
from worldos.kernel.guard.table import Memory


class RollSet(msgspec.Struct, frozen=True, kw_only=True, tag="roll"):
    """This is the roll of its realm."""

    roll: Annotated[bytes, msgspec.Meta(max_length=ROLL_BYTES_MAX)]


class LimitsSet(msgspec.Struct, frozen=True, kw_only=True, tag="limits"):
    """These are all limits of the envelope."""

    limits: Annotated[tuple[Limit, ...], msgspec.Meta(max_length=LIMITS_MAX)]


class Found(msgspec.Struct, frozen=True, kw_only=True, tag="found"):
    """Where things are, as their drivers read them; by path."""

    at_milli: Annotated[dict[str, Milli], msgspec.Meta(max_length=LIMITS_MAX)]


class Unmuted(msgspec.Struct, frozen=True, kw_only=True, tag="unmuted"):
    """This key counts again."""

    key: str


class Resumed(msgspec.Struct, frozen=True, kw_only=True, tag="resumed"):
    """What was frozen of this realm goes on."""

    realm: str


class Recalled(msgspec.Struct, frozen=True, kw_only=True, tag="recalled/1"):
    """What an earlier life left."""

    memory: Memory


Change: TypeAlias = RollSet | LimitsSet | Found | Unmuted | Resumed | Recalled
_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode = msgspec.msgpack.Decoder(Change).decode


def encode_change(change: Change) -> bytes:
    """Write it down; BadRequest for what would not be taken in."""
    data = _encode(change)
    try:
        read_change(data)
        if isinstance(change, LimitsSet):
            Guard().set_envelope(change.limits)
    except (CorruptFile, PeerBroke) as cause:
        raise BadRequest(str(cause)) from cause
    return data


def read_change(data: bytes) -> Change:
    """Read it; CorruptFile for anything else."""
    try:
        change: Change = _decode(data)
        rolls = change.memory.rolls if isinstance(change, Recalled) else ()
        for roll in rolls:
            encode_roll(roll)
        if isinstance(change, RollSet):
            read_roll(change.roll)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise CorruptFile("what was kept of the guard cannot be read") from cause
    except PeerBroke as cause:
        raise CorruptFile(f"what was kept of the guard is not in order: {cause}") from cause
    return change


def remembered(guard: Guard) -> bytes:
    """Return what is to be on disk of a guard; equal ones are equal bytes."""
    return _encode(Recalled(memory=guard.memory()))


def put(guard: Guard, now_ns: int, change: Change) -> None:
    """Change the guard."""
    match change:
        case RollSet():
            guard.set_roll(read_roll(change.roll))
        case LimitsSet():
            guard.set_envelope(change.limits)
        case Found():
            for key, value_milli in sorted(change.at_milli.items()):
                guard.envelope.found(now_ns, tuple(key.split("/")), value_milli)
        case Unmuted():
            guard.unmute(change.key)
        case Resumed():
            guard.resume(change.realm)
        case Recalled():
            guard.recall(change.memory)
        case _:
            assert_never(change)
