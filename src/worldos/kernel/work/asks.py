"""Asks under way, and all that the table of the work (table.py) wants its shell to do."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from worldos.kernel.raft import Persist
from worldos.model.ids import NodeId
from worldos.model.limits import NEVER_NS
from worldos.model.raft import NOBODY
from worldos.model.work import LineCommand, QueueCommand
from worldos.model.work_wire import WorkAsk, WorkMessage


class Say(msgspec.Struct, frozen=True):
    """Send this to that member."""

    node: NodeId
    message: WorkMessage


class Store(msgspec.Struct, frozen=True):
    """Write this down for the replica, and say so (``persisted``)."""

    write: Persist


class Mended(msgspec.Struct, frozen=True):
    """What was damaged on disk is whole again."""


class Drop(msgspec.Struct, frozen=True):
    """This node keeps no replica any more: what was stored may go."""


class Reply(msgspec.Struct, frozen=True):
    """The answer to an ask of this node: bytes, or (``error``: a class of errors.py) why there is none."""

    number: int
    data: bytes = b""
    error: str = ""
    why: str = ""
    hint: str = ""


class Begin(msgspec.Struct, frozen=True):
    """Put into the site's charter that it keeps work (``stands``: that a leader was elected)."""

    stands: bool


Out: TypeAlias = Say | Store | Mended | Drop | Reply | Begin


class Asked(msgspec.Struct, kw_only=True):
    """An ask under way. It came from a program here, or from ``peer``, who calls it ``request``.

    ``at``: who was asked; ``again_ns``: when somebody is asked (again). ``parts``: of the answer, as far as it has come.
    """

    number: int
    words: WorkAsk
    said: tuple[LineCommand | QueueCommand, ...] = ()
    until_ns: int
    peer: NodeId = NOBODY
    request: int = 0
    at: NodeId = NOBODY
    again_ns: int = NEVER_NS
    parts: list[bytes] = []
    size: int = 0
