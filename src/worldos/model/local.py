"""What programs on this machine say to their agent, and what it says to them.

The local API: a Unix socket (mode 0600), each message a 4-byte little-endian length and msgpack. Who may open the socket is
the user; the agent acts with the rights of the device, or with what a grant leaves of them (``Hello.grant``).
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from worldos.model.ids import LeaseId, NodeId, UseId
from worldos.model.need import LeaseTerms, Need
from worldos.model.rights import GRANT_BYTES_MAX


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """First message of a program: which version it speaks and what it is called.

    With ``grant`` it has of this machine's rights only what that leaves; its holder is this machine.
    """

    version: int
    program: str
    grant: Annotated[bytes, msgspec.Meta(max_length=GRANT_BYTES_MAX)] = b""


class Use(msgspec.Struct, frozen=True, kw_only=True, tag="use"):
    """I need this: one need, or several as a gang."""

    use: UseId
    needs: tuple[Need, ...]
    ttl_ns: int


class Release(msgspec.Struct, frozen=True, kw_only=True, tag="end"):
    """I am done with this use."""

    use: UseId


class OpenDoors(msgspec.Struct, frozen=True, kw_only=True, tag="doors"):
    """Where are the workers of this lease? Answered by ``Doors`` when they are there."""

    lease: LeaseId


class Pause(msgspec.Struct, frozen=True, kw_only=True, tag="pause"):
    """Let the workers of this lease rest (``paused``) or go on."""

    request: int
    lease: LeaseId
    paused: bool


class Ask(msgspec.Struct, frozen=True, kw_only=True, tag="q"):
    """A question or an order with a name (see agent/orders/orders.py), answered by ``Answer`` or ``Failure``."""

    request: int
    name: str
    arguments: dict[str, Any] = {}


class Watch(msgspec.Struct, frozen=True, kw_only=True, tag="watch"):
    """Tell me every notice from now on."""


FromClient = Hello | Use | Release | OpenDoors | Pause | Ask | Watch


class UseGranted(msgspec.Struct, frozen=True, kw_only=True, tag="granted"):
    """You have all of it. One entry a lease; a need that no single node can fill came as several."""

    use: UseId
    leases: tuple[LeaseTerms, ...]


class UseRefused(msgspec.Struct, frozen=True, kw_only=True, tag="refused"):
    """You do not get it: why, and what to do."""

    use: UseId
    reason: str
    hint: str


class LeaseAdded(msgspec.Struct, frozen=True, kw_only=True, tag="added"):
    """In place of a lease that was lost you have this one."""

    use: UseId
    terms: LeaseTerms


class LeaseLost(msgspec.Struct, frozen=True, kw_only=True, tag="lost"):
    """This lease has ended. ``replacing``: another one is being looked for."""

    use: UseId
    lease: LeaseId
    why: str
    replacing: bool


class LeaseWanted(msgspec.Struct, frozen=True, kw_only=True, tag="wanted"):
    """This lease yields, and somebody needs it more: it is gone after this time. Give it back as soon as you can."""

    use: UseId
    lease: LeaseId
    grace_ns: int


class LeaseDoubted(msgspec.Struct, frozen=True, kw_only=True, tag="doubt"):
    """The node behind this lease is silent (``doubted``), or is heard again."""

    use: UseId
    lease: LeaseId
    doubted: bool


class Doors(msgspec.Struct, frozen=True, kw_only=True, tag="doors"):
    """Unix socket paths of a lease's workers, or why there are none.

    ``local``: shared memory works. ``is_own``: the machine is of our account.
    """

    lease: LeaseId
    paths: tuple[str, ...]
    local: bool
    is_own: bool
    node: NodeId
    error: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag="answer"):
    """The answer to the question with this number."""

    request: int
    value: Any


class Progress(msgspec.Struct, frozen=True, kw_only=True, tag="progress"):
    """A word on the way to the answer (a code to confirm, a ticket, a step done)."""

    request: int
    value: Any


class Failure(msgspec.Struct, frozen=True, kw_only=True, tag="failure"):
    """The question failed: the error's class name, sentence and hint."""

    request: int
    error: str
    message: str
    hint: str


class Noticed(msgspec.Struct, frozen=True, kw_only=True, tag="notice"):
    """Something happened (see kernel/effects.py: Notice)."""

    name: str
    fields: dict[str, str | int]


ToClient = (
    UseGranted
    | UseRefused
    | LeaseAdded
    | LeaseLost
    | LeaseWanted
    | LeaseDoubted
    | Doors
    | Answer
    | Progress
    | Failure
    | Noticed
)

LOCAL_VERSION = 1
