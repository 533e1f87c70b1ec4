"""What nodes of a site say to each other about its work: its replicas among themselves, those who ask, and runners.

Commands and answers travel as bytes: they are read at one door of their own (kernel/work/words.py), by replicas and programs
alike. Only members of the account are heard. Source: decision record 0033.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec

from worldos.model.ids import NodeId
from worldos.model.raft import RaftMessage
from worldos.model.runner import LogAsk, LogPiece
from worldos.model.work import VOTES_MAX, Attempt, JobId, JobSpec

WORK_BYTES_MAX: Final = 384 * 1024  # a command of one who asks
WORK_PART_BYTES: Final = 256 * 1024  # an answer is cut into parts of this
LOOK_CHARS_MAX: Final = 200
GIVEN_MAX: Final = 256  # tasks in one message
HELD_MAX: Final = 8192  # attempts that a runner has at once

Number: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=(1 << 62) - 1)]
_Job: TypeAlias = Annotated[JobId, msgspec.Meta(min_length=4, max_length=32)]
Leased: TypeAlias = Annotated[
    dict[Annotated[str, msgspec.Meta(max_length=64)], Annotated[int, msgspec.Meta(ge=0, le=(1 << 62) - 1)]],
    msgspec.Meta(max_length=64),
]
_Node: TypeAlias = Annotated[NodeId, msgspec.Meta(max_length=64)]
_Owners: TypeAlias = Annotated[
    tuple[Annotated[str, msgspec.Meta(max_length=64)], ...], msgspec.Meta(max_length=2 * VOTES_MAX)
]
_Index: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**31)]


class WorkRaft(msgspec.Struct, frozen=True, kw_only=True, tag="wraft"):
    """From one replica of the site's work to another."""

    message: RaftMessage


class WorkAsk(msgspec.Struct, frozen=True, kw_only=True, tag="wask", omit_defaults=True):
    """Do this (``command``), or say how this is (``look``). Said again with the same number, it is asked once.

    ``wait_ms``: a command that is one Take may wait so long for a message. ``first``, ``count``: which rows of a look.
    """

    number: Number
    command: Annotated[bytes, msgspec.Meta(max_length=WORK_BYTES_MAX)] = b""
    look: Annotated[str, msgspec.Meta(max_length=LOOK_CHARS_MAX)] = ""
    wait_ms: Annotated[int, msgspec.Meta(ge=0, le=86_400_000)] = 0
    first: Annotated[int, msgspec.Meta(ge=0, le=2**31)] = 0
    count: Annotated[int, msgspec.Meta(ge=0, le=2**31)] = 1000


class WorkDropped(msgspec.Struct, frozen=True, kw_only=True, tag="wdrop"):
    """Nobody waits for the answer of this number any more."""

    number: Number


class WorkTold(msgspec.Struct, frozen=True, kw_only=True, tag="wtold", omit_defaults=True):
    """The answer, or the ``part`` of it of that number (``more``: others follow). With ``again`` there is none: ask ``leader``.

    ``leader`` is empty when nobody is known to lead. ``error``: a class of errors.py, and ``why`` there is none.
    """

    number: Number
    part: Annotated[int, msgspec.Meta(ge=0, le=1024)] = 0
    data: Annotated[bytes, msgspec.Meta(max_length=WORK_PART_BYTES)] = b""
    more: bool = False
    again: bool = False
    leader: _Node = NodeId("")
    error: Annotated[str, msgspec.Meta(max_length=64)] = ""
    why: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    hint: Annotated[str, msgspec.Meta(max_length=1024)] = ""


class Task(msgspec.Struct, frozen=True, array_like=True):
    """An attempt of a job's task, and where the one before it left off (a file's name, or nothing)."""

    index: Annotated[int, msgspec.Meta(ge=0, le=2**31)]
    number: Annotated[int, msgspec.Meta(ge=1, le=2**31)]
    checkpoint: Annotated[str, msgspec.Meta(max_length=128)] = ""


class TasksGiven(msgspec.Struct, frozen=True, kw_only=True, tag="wgive", omit_defaults=True):
    """These attempts are yours: from who leads the work to a node's runner. Told again until the runner says that it has them.

    ``apart``: of those that were done already, by index, whose machines did it (ours: empty) and which; others are to do it, too.
    """

    job: _Job
    spec: JobSpec
    tasks: Annotated[tuple[Task, ...], msgspec.Meta(min_length=1, max_length=GIVEN_MAX)]
    apart: Annotated[dict[_Index, _Owners], msgspec.Meta(max_length=GIVEN_MAX)] = {}


class TasksStop(msgspec.Struct, frozen=True, kw_only=True, tag="wstop"):
    """End these: nobody waits for them any more, or (``preempt``) something more urgent needs their place."""

    attempts: Annotated[tuple[Attempt, ...], msgspec.Meta(min_length=1, max_length=HELD_MAX)]
    why: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    preempt: bool = False


class TasksHeld(msgspec.Struct, frozen=True, kw_only=True, tag="wheld", omit_defaults=True):
    """All attempts that the runner of this node has; and by kind, what it has leases for on this node, used or idle."""

    attempts: Annotated[tuple[Attempt, ...], msgspec.Meta(max_length=HELD_MAX)]
    leased: Leased = {}


class HeldAsk(msgspec.Struct, frozen=True, kw_only=True, tag="wheld?"):
    """Which attempts does your runner have? To a node of which nothing is heard; a runner that is there says it by itself."""


class LogAsked(msgspec.Struct, frozen=True, kw_only=True, tag="wlog"):
    """What has this attempt, which your runner has, put out? For a program of mine."""

    ask: LogAsk


class LogTold(msgspec.Struct, frozen=True, kw_only=True, tag="wlog!"):
    """This much. ``piece`` is empty where the runner is not there."""

    request: Number
    piece: LogPiece | None = None


WorkMessage = (
    WorkRaft | WorkAsk | WorkDropped | WorkTold | TasksGiven | TasksStop | TasksHeld | HeldAsk | LogAsked | LogTold
)
