"""A command: what is to be done on the nodes of a realm, by whom, how slowly, and until when; as exact bytes.

Everything that bounds a command is inside the bytes that approvers sign: the class, the waves, the soak between them, how many
nodes at most, from when and until when, and the roll by which it is judged. Its id is the hash of those bytes, so an approval
cannot be carried to other bytes. There is one encoding; anything else is refused. A class below what the action deserves is
refused too: whoever proposes does not choose how dangerous it is. Times in unix seconds, values in thousandths.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Final, TypeAlias, assert_never

import msgspec

from worldos.errors import PeerBroke
from worldos.kernel.guard.levels import RULES
from worldos.kernel.guard.limits import (
    AHEAD_S_MAX,
    COMMAND_BODY_BYTES_MAX,
    LABELS_MAX,
    LIFE_S_MAX,
    PPM,
    ROLL_INLINE_BYTES_MAX,
    TARGETS_MAX,
    WAVES_MAX,
)
from worldos.model.exact import read_exactly
from worldos.model.realm import NUMBER_MAX, Level, NodeName, Number, Realm
from worldos.model.rights import Impact
from worldos.trust.keys import id_of

_DOMAIN: Final = b"worldos/guard-command\0"
_LABEL: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")

Id: TypeAlias = Annotated[str, msgspec.Meta(min_length=52, max_length=52)]
Label: TypeAlias = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Version: TypeAlias = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+!_-]{0,63}\Z")
]  # part of a file's name
Path: TypeAlias = Annotated[tuple[Label, ...], msgspec.Meta(min_length=1, max_length=LABELS_MAX)]
Milli: TypeAlias = Annotated[int, msgspec.Meta(ge=-NUMBER_MAX, le=NUMBER_MAX)]
Ppm: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=PPM)]


class SetConfig(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="config"):
    """Set a choice of the node's configuration."""

    key: Label
    value: Annotated[str, msgspec.Meta(max_length=1024)]


class SetPolicy(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="policy"):
    """Set a rule of the realm (charter.py has which there are)."""

    key: Label
    value: Annotated[str, msgspec.Meta(max_length=256)]


class Update(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="update"):
    """Fetch this version of World OS by its cap, see that it has this SHA-256, and have it ready for the owner."""

    version: Version
    digest: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    cap: Annotated[str, msgspec.Meta(max_length=256)]


class Drive(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="drive"):
    """Have a resource do something in the world, within its owner's envelope."""

    path: Path
    verb: Label
    value_milli: Milli = 0


class Drain(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="drain"):
    """Grant nothing new; what runs goes on."""


class Revoke(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="revoke"):
    """Take from somebody (a device, an account) what this realm gave."""

    who: Label


class Stop(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="stop"):
    """Stop offering what is below this path."""

    path: Path


class SetRoll(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="roll"):
    """Put another roll in the place of this realm's."""

    roll: Annotated[bytes, msgspec.Meta(max_length=ROLL_INLINE_BYTES_MAX)]


class Resume(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="resume"):
    """Close the realm's breaker again."""


Action: TypeAlias = SetConfig | SetPolicy | Update | Drive | Drain | Revoke | Stop | SetRoll | Resume


class Command(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="command/1", cache_hash=True):
    """The whole of it. ``waves_ppm`` are cumulative parts of the realm's nodes and end with all of them.

    ``to``: only these nodes; empty: all of the realm. ``blast``: on so many nodes at most, as the approvers were told.
    ``beacon``: 32 bytes that decide, with the id, who goes first. ``owner``: the account that proposes. ``note``: for people.
    """

    realm: Realm
    roll: Id
    level: Level
    cls: Impact
    action: Action
    waves_ppm: Annotated[tuple[Ppm, ...], msgspec.Meta(min_length=1, max_length=WAVES_MAX)]
    soak_s: Number
    beacon: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
    not_before_s: Number
    expires_s: Number
    blast: Annotated[int, msgspec.Meta(ge=1, le=NUMBER_MAX)]
    owner: Realm
    to: Annotated[tuple[NodeName, ...], msgspec.Meta(max_length=TARGETS_MAX)] = ()
    note: Annotated[str, msgspec.Meta(max_length=256)] = ""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Command).decode


def encode_command(command: Command) -> bytes:
    """Write a command down: the bytes that approvers sign. PeerBroke for one that would not be read again."""
    body = _encode(command)
    read_command(body)
    return body


def command_id(body: bytes) -> str:
    """Return the id of a command's bytes: 52 characters."""
    return id_of(hashlib.sha256(_DOMAIN + body).digest())


def read_command(body: bytes) -> Command:
    """Read a command and check what it says by itself; PeerBroke unless it is whole, in order, in the one encoding."""
    if len(body) > COMMAND_BODY_BYTES_MAX:
        raise PeerBroke(f"a command has {COMMAND_BODY_BYTES_MAX} bytes at most")
    command: Command = read_exactly(_decode, _encode, body, "a command")
    why = _disorder(command)
    if why:
        raise PeerBroke(f"a command is not in order: {why}")
    return command


def class_of(action: Action) -> Impact:
    """Return the least class that an action can have."""
    match action:
        case SetConfig() | Drain() | Revoke():
            return Impact.REVERSIBLE
        case SetPolicy() | Stop():
            return Impact.COSTLY
        case Update() | Drive() | Resume():
            return Impact.PHYSICAL
        case SetRoll():
            return Impact.IRREVERSIBLE
        case _:
            assert_never(action)


def narrows(action: Action) -> bool:
    """Tell whether an action can only take away: one key is enough for it, and waves bound what it takes away wrongly."""
    return isinstance(action, Drain | Revoke | Stop)


def haste(command: Command) -> str:
    """Return where a command goes faster or wider than its level allows, or nothing."""
    rule = RULES[command.level]
    if command.cls == Impact.READ:
        return ""
    if len(command.waves_ppm) < len(rule.waves_ppm):
        return f"{len(command.waves_ppm)} waves, and the level has {len(rule.waves_ppm)}"
    for wave, (part, most) in enumerate(zip(command.waves_ppm, rule.waves_ppm, strict=False)):
        if part > most:
            return f"wave {wave} has {part} of a million nodes, and {most} are the most"
    if command.soak_s < rule.soak_s:
        return f"{command.soak_s} s between waves, and {rule.soak_s} are the least"
    return ""


def _disorder(command: Command) -> str:
    """Return what is wrong with the parts of a command taken together, or nothing."""
    waves = command.waves_ppm
    if waves[-1] != PPM or list(waves) != sorted(waves):
        return "its waves grow, and end with all nodes"
    if command.cls < class_of(command.action):
        return f"{class_of(command.action).name.lower()} is the least class of this"
    if list(command.to) != sorted(set(command.to)):
        return "it names each node once, in order"
    if command.to and len(command.to) > command.blast:
        return "it names more nodes than it may reach"
    life_s = command.expires_s - command.not_before_s
    if not 0 < life_s <= LIFE_S_MAX:
        return f"it ends after it begins, and within {LIFE_S_MAX} s"
    if life_s < command.soak_s * (len(waves) - 1):
        return "it ends before its last wave"
    if isinstance(command.action, Drive | Stop) and not all(map(_LABEL.fullmatch, command.action.path)):
        return "a path is made of plain labels"
    return ""


def too_far_ahead(command: Command, now_s: int) -> bool:
    """Tell whether a command is for a time that nobody plans for yet."""
    return command.not_before_s > now_s + AHEAD_S_MAX
