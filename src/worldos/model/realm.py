"""Realms as nodes speak of them: levels, contacts, epochs, centers, and what centers say to each other.

A *site realm* has devices: it is an account. An *upper realm* has child realms. A realm is represented to others by its
primary, whose epoch orders who that is; a *contact* is enough to dial a node of another account and to believe its
certificate. Sizes are bounded here, at the type. Source: DESIGN.md sections 2 and 6.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Annotated, Final, NewType, TypeAlias

import msgspec

from worldos.model.ids import NodeId
from worldos.model.need import Need
from worldos.model.offer import Offer
from worldos.model.raft import RaftMessage
from worldos.model.summary import Summary

RealmId = NewType("RealmId", str)

DEPTH_MAX: Final = 12  # realms above each other; six levels, and room for more than one of a level
COUNCIL_MAX: Final = 8  # five voters, and those that come and go
HEIRS_MAX: Final = 8
PARENTS_MAX: Final = 4
CANDIDATES_MAX: Final = 8
HOPS_MAX: Final = 2 * DEPTH_MAX
GANG_MAX: Final = 256
COMMAND_BYTES_MAX: Final = 64 * 1024
NUMBER_MAX: Final = (1 << 62) - 1

Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]
NodeName: TypeAlias = Annotated[NodeId, msgspec.Meta(min_length=1, max_length=64)]
Realm: TypeAlias = Annotated[RealmId, msgspec.Meta(min_length=1, max_length=64)]
Parent: TypeAlias = Annotated[RealmId, msgspec.Meta(max_length=64)]
Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=64)]
Sentence: TypeAlias = Annotated[str, msgspec.Meta(max_length=512)]
PathText: TypeAlias = Annotated[str, msgspec.Meta(max_length=1024)]
Address: TypeAlias = Annotated[str, msgspec.Meta(max_length=300)]


class Level(IntEnum):
    """How much a realm holds together."""

    PERSONAL = 0
    HOME = 1
    ENTERPRISE = 2
    GROUP = 3
    NATION = 4
    PLANET = 5


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """A node of some account: enough to dial it, and to believe its certificate (``root_cert``: DER, signed by itself)."""

    node: NodeName
    name: Text
    site: Realm
    root_cert: Annotated[bytes, msgspec.Meta(max_length=2048)]
    addresses: Annotated[tuple[Address, ...], msgspec.Meta(max_length=8)]


Contacts: TypeAlias = Annotated[tuple[Contact, ...], msgspec.Meta(max_length=COUNCIL_MAX)]


class Epoch(msgspec.Struct, frozen=True, array_like=True):
    """Which reign of a primary. A provisional one holds in an island, without a majority of the council."""

    number: Number = 0
    provisional: bool = False


def rank(epoch: Epoch) -> tuple[int, bool]:
    """Return what orders epochs: the larger number; of equal numbers the legitimate one."""
    return (epoch.number, not epoch.provisional)


class ParentRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A realm that may be a realm's superior: its way from the top, and where its center is found (council, then heirs)."""

    realm: Realm
    name: Text
    level: Level
    path: PathText
    contacts: Annotated[tuple[Contact, ...], msgspec.Meta(max_length=COUNCIL_MAX + HEIRS_MAX)]


class Center(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who is the center of a realm, as its primary says. ``lineage`` are the realms from the topmost to this one.

    ``heirs`` are contacts of member realms that may keep the realm together where its council cannot be reached, in order.
    ``parents`` are its allowed superiors, told to its own members so that whoever stands in knows them; ``load_permille``
    is how busy the primary is; ``lend`` says to whom its nodes lend: ``own`` account or ``kin`` of the realms above.
    ``owner`` is the site on which it was begun.
    """

    realm: Realm
    name: Text
    level: Level
    epoch: Epoch
    primary: Contact
    council: Contacts
    path: PathText
    lineage: Annotated[tuple[Realm, ...], msgspec.Meta(min_length=1, max_length=DEPTH_MAX)]
    heirs: Annotated[tuple[Contact, ...], msgspec.Meta(max_length=HEIRS_MAX)] = ()
    parents: Annotated[tuple[ParentRecord, ...], msgspec.Meta(max_length=PARENTS_MAX)] = ()
    load_permille: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    lend: Text = "own"
    owner: Parent = RealmId("")


# -- what they say ---------------------------------------------------------------------------------------------------------


class RaftSaid(msgspec.Struct, frozen=True, kw_only=True, tag="raft"):
    """From one council seat of a realm to another."""

    realm: Realm
    message: RaftMessage


class CenterTold(msgspec.Struct, frozen=True, kw_only=True, tag="center"):
    """I am the center of this realm: to its members, from its primary."""

    center: Center


class Register(msgspec.Struct, frozen=True, kw_only=True, tag="register"):
    """My realm ``child`` is below yours: this is who stands for it, and what it has free. Repeated, it renews.

    ``others``: to how many other parents it could go at once, if you are too busy.
    """

    parent: Realm
    child: Realm
    name: Text
    level: Level
    epoch: Epoch
    council: Contacts  # its primary first
    fitness: Number
    summary: Summary
    others: Number = 0


class Registered(msgspec.Struct, frozen=True, kw_only=True, tag="registered"):
    """Your realm is registered here; this is your superior."""

    child: Realm
    center: Center


class RegisterRefused(msgspec.Struct, frozen=True, kw_only=True, tag="unregistered"):
    """It is not, and why. ``center``: ask there. ``seen``: an epoch of your realm that is newer than yours.

    ``shed``: only because this center is too busy, and you said that you have ``others``.
    """

    parent: Realm
    child: Realm
    why: Sentence
    center: Center | None = None
    seen: Epoch = Epoch()
    shed: bool = False


class SummaryTold(msgspec.Struct, frozen=True, kw_only=True, tag="summary"):
    """What my realm has free now."""

    child: Realm
    epoch: Epoch
    summary: Summary


class BidAsk(msgspec.Struct, frozen=True, kw_only=True, tag="bid"):
    """Who can fill these needs? For a program on ``home``. ``realm`` is the realm as whose center you are asked.

    ``within``: only realms of this path. ``trail`` are the realms that have been asked on the way, so none is asked twice.
    ``bid`` is unique per ``home``; ``wait_ns`` is how long the asker waits.
    """

    bid: Number
    home: Contact
    realm: Realm
    needs: Annotated[tuple[Need, ...], msgspec.Meta(min_length=1, max_length=GANG_MAX)]
    within: PathText
    trail: Annotated[tuple[Realm, ...], msgspec.Meta(max_length=256)]
    hops: Annotated[int, msgspec.Meta(ge=0, le=HOPS_MAX)]
    wait_ns: Number
    down: bool


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A node that could fill a need, as the center of its site says in this epoch."""

    offer: Offer
    contact: Contact
    realm: Realm
    epoch: Epoch


class BidAnswer(msgspec.Struct, frozen=True, kw_only=True, tag="candidates"):
    """These could, or none and why. ``hops``: how many messages it took, there and back; ``asked``: how many realms were."""

    bid: Number
    home: NodeName
    realm: Realm
    candidates: Annotated[tuple[Candidate, ...], msgspec.Meta(max_length=CANDIDATES_MAX)]
    why: Sentence
    hops: Annotated[int, msgspec.Meta(ge=0, le=2 * HOPS_MAX)]
    asked: Number = 1


class GuestTold(msgspec.Struct, frozen=True, kw_only=True, tag="guest"):
    """This node of another account may come and ask you for a lease, for so long. From the center of your site."""

    guest: Contact
    realm: Realm
    epoch: Epoch
    ttl_ns: Number


class ProposeAsk(msgspec.Struct, frozen=True, kw_only=True, tag="propose"):
    """Put this command into the realm's charter."""

    realm: Realm
    number: Number
    command: Annotated[bytes, msgspec.Meta(max_length=COMMAND_BYTES_MAX)]


class ProposeAnswer(msgspec.Struct, frozen=True, kw_only=True, tag="proposed"):
    """It is in the charter (``why`` is empty), or why not."""

    realm: Realm
    number: Number
    why: Sentence


RealmMessage: TypeAlias = (
    RaftSaid
    | CenterTold
    | Register
    | Registered
    | RegisterRefused
    | SummaryTold
    | BidAsk
    | BidAnswer
    | GuestTold
    | ProposeAsk
    | ProposeAnswer
)
