"""What nodes of one site say to each other about who is there: SWIM's messages, and the order of rumors.

Rumors about one node are ordered by ``(incarnation, status)``, and only the node itself raises its incarnation, so
merging is taking the heavier one: it does not matter in which order, by which way or how often rumors arrive. A new
life of a node (``boot``, from 1) starts at an incarnation above all that its last life used.

Sizes are bounded here, at the type, so a decoder refuses what is out of bounds.

Source: A. Das, I. Gupta, A. Motivala, "SWIM", DSN 2002; A. Dadgar, J. Phillips, J. Currey, "Lifeguard: Local Health
Awareness for More Accurate Failure Detection", arXiv:1707.00788 (Nack, accusers).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final, TypeAlias

import msgspec

from worldos.model.ids import NodeId
from worldos.model.limits import MEMBERS_MAX

ACCUSERS_MAX: Final = 4  # the first that doubted, and three that confirm
BOOT_MAX: Final = (1 << 32) - 1
INCARNATION_BITS: Final = 16  # so many refutations in one life before it runs into the numbers of the next
NUMBER_MAX: Final = (1 << 62) - 1

Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]
Boot: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=BOOT_MAX)]
Name: TypeAlias = Annotated[NodeId, msgspec.Meta(min_length=1, max_length=64)]


class Status(StrEnum):
    """What is believed about a node."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    DEAD = "dead"
    LEFT = "left"


RANK: Final = {Status.ALIVE: 0, Status.SUSPECT: 1, Status.DEAD: 2, Status.LEFT: 3}


class Rumor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What somebody believes about ``node``. ``accusers`` (sorted) found by themselves that it does not answer."""

    node: Name
    status: Status
    incarnation: Number
    boot: Boot
    accusers: Annotated[tuple[Name, ...], msgspec.Meta(max_length=ACCUSERS_MAX)] = ()


Rumors: TypeAlias = Annotated[tuple[Rumor, ...], msgspec.Meta(max_length=MEMBERS_MAX + 1)]


class Ping(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Are you there? The target answers with an Ack of the same number."""

    number: Number
    target: Name
    rumors: Rumors = ()


class Ack(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """Yes. With ``target``: that node answered me, whom you asked to try."""

    number: Number
    target: Annotated[NodeId, msgspec.Meta(max_length=64)] = NodeId("")
    rumors: Rumors = ()


class PingRequest(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """I cannot reach ``target``: try it for me, and answer with Ack or Nack."""

    number: Number
    target: Name
    rumors: Rumors = ()


class Nack(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """I am here, and I cannot reach it either: so it is not you that is slow."""

    number: Number
    rumors: Rumors = ()


SwimMessage: TypeAlias = Ping | Ack | PingRequest | Nack


class SendSwim(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Effect: send this to that node by the best way there is; if there is none, drop it."""

    node: NodeId
    message: SwimMessage


class StatusChanged(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Effect: from now on ``node`` is believed to be ``status``.

    ``old`` is None for a node never seen before. ``old == status == alive`` says that it restarted (``boot`` is new)
    faster than anyone noticed.
    """

    node: NodeId
    status: Status
    old: Status | None
    boot: int


SwimEffect: TypeAlias = SendSwim | StatusChanged


def first_incarnation(boot: int) -> int:
    """Return where the incarnations of a node's life number ``boot`` begin."""
    return boot << INCARNATION_BITS


def weight(rumor: Rumor) -> tuple[int, int]:
    """Return what orders two rumors about one node: the heavier one holds."""
    return (rumor.incarnation, RANK[rumor.status])


def merged(one: Rumor, other: Rumor) -> Rumor:
    """Return what is believed after hearing both rumors about one node, in whatever order."""
    assert one.node == other.node
    if weight(one) != weight(other):
        return max(one, other, key=weight)
    return Rumor(
        node=one.node,
        status=one.status,
        incarnation=one.incarnation,
        boot=max(one.boot, other.boot),
        accusers=joined(one.accusers, other.accusers),
    )


def joined(some: tuple[NodeId, ...], others: tuple[NodeId, ...]) -> tuple[NodeId, ...]:
    """Return the accusers of two rumors as one bounded set; which ones stay does not depend on the order."""
    return tuple(sorted({*some, *others}))[:ACCUSERS_MAX]
