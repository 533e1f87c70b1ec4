"""Work that waits in line: jobs and their tasks, queues and their messages, as values.

A *job* is a command that waits in line until a lease for it can be had; an *array* job has many *tasks* that differ in their
index alone. An *attempt* is one run of a task at one node. It counts from 1 and is the task's fence: only what the newest attempt
says is taken in, and a task ends once. Commands change the replicated state of a site's *work* (kernel/work); each is applied in
the same order everywhere and is answered. Who makes a job or a message names it, so that saying it twice does it once.

Units: wall times in whole seconds since 1970 (``_s``), money in micro-WOSCoin. Sizes in bytes. Source: DESIGN.md 1 and 8.
"""

from __future__ import annotations

from typing import Annotated, Final, NewType

import msgspec

from worldos.model.ids import NodeId
from worldos.model.need import Need

JobId = NewType("JobId", str)

ARGV_MAX: Final = 1024
WORD_BYTES_MAX: Final = 32 * 1024
ARRAY_TASKS_MAX: Final = 1_000_000  # tasks of one job
AFTER_MAX: Final = 64
PARCEL_BYTES_MAX: Final = 256 * 1024  # files that travel in the job itself; larger ones lie in the realm's files
TAIL_BYTES_MAX: Final = 4 * 1024  # of a task's output that is kept in line
RESULT_BYTES_MAX: Final = 32 * 1024  # results kept in line; larger ones lie in the realm's files
MESSAGE_BYTES_MAX: Final = 256 * 1024
MESSAGES_MAX: Final = 1024  # in one command
BATCH_MAX: Final = 1024
PRIORITY_MAX: Final = 100
COPIES_MAX: Final = 3  # owners whose machines must come to the same
VOTES_MAX: Final = 2 * COPIES_MAX - 1  # so often a task is done at most, until enough have

_Id = Annotated[str, msgspec.Meta(min_length=4, max_length=32, pattern="^[a-z0-9-]+$")]
_Word = Annotated[str, msgspec.Meta(max_length=WORD_BYTES_MAX)]
_Name = Annotated[str, msgspec.Meta(max_length=128)]
_Owner = Annotated[str, msgspec.Meta(max_length=64)]
_Index = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
_Wall = Annotated[int, msgspec.Meta(ge=0, le=2**40)]
_Money = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Span(msgspec.Struct, frozen=True, array_like=True):
    """Indices from ``first`` to ``last``, both counted."""

    first: _Index
    last: _Index


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is to run. ``need`` is leased for each task while it runs.

    ``array``: the indices of its tasks, rising and apart; none: one task of index 0. ``after``: jobs that must have ended well.
    ``deadline_s``: when it is to be done; 0: none. ``budget_uwos``: for the whole job; 0: no limit. ``retries``: how often a task
    that failed by itself (an exit code) is tried again; lost nodes do not count. ``twice``: it does no harm if an
    attempt that nobody hears of goes on beside the next one. ``preemptible``: it may be asked to stop (SIGTERM, ``grace_s``, then
    SIGKILL) for what is more urgent; what it left in ``$WOS_CHECKPOINT`` is there again at its next attempt. ``together``:
    so many tasks at once at most; 0: no limit. ``parcel``: its files, packed (lanes/parcel); or ``parcel_file``, where they lie.
    ``keep``: what it makes in its folder is kept as the task's result. ``runtime_s``: longer it does not run; 0: no limit.
    ``copies``: so many owners' machines must come to the same before an outcome counts that a machine of another account made;
    1: none is checked; 0: two, of owners that have no record, and now and then of others (kernel/auditing).
    """

    argv: Annotated[tuple[_Word, ...], msgspec.Meta(min_length=1, max_length=ARGV_MAX)]
    need: Need
    name: _Name = ""
    env: dict[_Name, _Word] = {}
    array: Annotated[tuple[Span, ...], msgspec.Meta(max_length=1024)] = ()
    after: Annotated[tuple[_Id, ...], msgspec.Meta(max_length=AFTER_MAX)] = ()
    deadline_s: _Wall = 0
    budget_uwos: _Money = 0
    priority: Annotated[int, msgspec.Meta(ge=-PRIORITY_MAX, le=PRIORITY_MAX)] = 0
    retries: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    twice: bool = False
    preemptible: bool = False
    grace_s: Annotated[int, msgspec.Meta(ge=0, le=3600)] = 30
    together: _Count = 0
    parcel: Annotated[bytes, msgspec.Meta(max_length=PARCEL_BYTES_MAX)] = b""
    parcel_file: _Name = ""
    keep: bool = True
    runtime_s: Annotated[int, msgspec.Meta(ge=0, le=2**31)] = 0
    copies: Annotated[int, msgspec.Meta(ge=0, le=COPIES_MAX)] = 0


class Made(msgspec.Struct, frozen=True, array_like=True):
    """Whose machine an outcome comes from, and what it came to, as our runner saw it: two that made the same have one digest.

    ``owner``: the account that is said to own it; empty: ours. ``digest``: of the files that it made, and of its standard output
    (jobs/made.py). ``dice``: drawn after it was done, uniform below a million: whether one with a record is checked. ``node``:
    the machine itself, whose name is proved, and which has the record; empty: ours.
    """

    owner: _Owner
    digest: Annotated[bytes, msgspec.Meta(max_length=32)]
    dice: Annotated[int, msgspec.Meta(ge=0, le=999_999)] = 0
    node: _Owner = ""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an attempt ended by itself. ``result``: its files, packed; or ``result_file``, where they lie in the realm's files.

    ``log_file``: the whole of what it put out, if that is more than ``tail``. ``cpu_us`` and the next two: what it took.
    """

    code: Annotated[int, msgspec.Meta(ge=0, le=255)]
    why: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    tail: Annotated[bytes, msgspec.Meta(max_length=TAIL_BYTES_MAX)] = b""
    result: Annotated[bytes, msgspec.Meta(max_length=RESULT_BYTES_MAX)] = b""
    result_file: _Name = ""
    log_file: _Name = ""
    cpu_us: _Money = 0
    wall_us: _Money = 0
    memory_bytes: _Money = 0
    paid_uwos: _Money = 0  # for its lease; what the job's budget is for
    made: Made | None = None  # by a machine of others, or to be compared with what one of theirs made


class Attempt(msgspec.Struct, frozen=True, array_like=True):
    """One run of one task."""

    job: _Id
    index: _Index
    number: Annotated[int, msgspec.Meta(ge=1, le=2**31)]


def result_path(attempt: Attempt) -> str:
    """Return where in the realm's files the result of an attempt lies; the line keeps this name in one bit."""
    return f"/.jobs/{attempt.job}/{attempt.index}.{attempt.number}"


def log_path(attempt: Attempt) -> str:
    """Return where in the realm's files the whole log of an attempt lies."""
    return f"{result_path(attempt)}.log"


# -- what changes the line --------------------------------------------------------------------------------------------------


class Submit(msgspec.Struct, frozen=True, kw_only=True, tag="submit"):
    """Put a job into the line. The same id twice is the same job."""

    job: _Id
    spec: JobSpec
    by: NodeId


class Cancel(msgspec.Struct, frozen=True, kw_only=True, tag="cancel"):
    """End a job, and what waits for it."""

    job: _Id


class Retry(msgspec.Struct, frozen=True, kw_only=True, tag="retry"):
    """Put the tasks of a job that failed or were cancelled into the line again."""

    job: _Id


class Forget(msgspec.Struct, frozen=True, kw_only=True, tag="forget"):
    """Drop what is known of a job that has ended."""

    job: _Id


class Assign(msgspec.Struct, frozen=True, kw_only=True, tag="assign"):
    """Give the next attempt of these tasks to the runner of a node. Said by the primary.

    ``beside``: they run already, at machines of others, and will surely have to be done again: the next goes on beside the first.
    """

    job: _Id
    indices: Annotated[tuple[_Index, ...], msgspec.Meta(min_length=1, max_length=BATCH_MAX)]
    node: NodeId
    beside: bool = False


class Began(msgspec.Struct, frozen=True, kw_only=True, tag="began"):
    """The attempt has its lease (at ``at``) and runs. ``owner``: the account that is said to own that machine; empty: ours."""

    attempt: Attempt
    at: NodeId
    owner: _Owner = ""


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag="finished"):
    """The attempt ended by itself; its outcome counts if it may still end its task: results are committed once.

    One that a machine of others made may have to wait until another machine has come to the same; the task waits again for that.
    """

    attempt: Attempt
    outcome: Outcome


class Yielded(msgspec.Struct, frozen=True, kw_only=True, tag="yielded"):
    """The attempt stopped because it was asked to; ``checkpoint`` is the file in which it left off, if it left one."""

    attempt: Attempt
    checkpoint: _Name = ""
    why: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    paid_uwos: _Money = 0


class Lost(msgspec.Struct, frozen=True, kw_only=True, tag="lost"):
    """Nothing is heard of the attempt any more, or its node could not begin it: the task waits again."""

    attempt: Attempt
    why: Annotated[str, msgspec.Meta(max_length=1024)]


class Preempt(msgspec.Struct, frozen=True, kw_only=True, tag="preempt"):
    """Ask an attempt to stop for what is more urgent. Said by the primary."""

    attempt: Attempt
    why: Annotated[str, msgspec.Meta(max_length=1024)]


LineCommand = Submit | Cancel | Retry | Forget | Assign | Began | Finished | Yielded | Lost | Preempt

# -- what changes a queue ---------------------------------------------------------------------------------------------------


class QueueMade(msgspec.Struct, frozen=True, kw_only=True, tag="q-made"):
    """There is a queue of this name; one that is there keeps what it has, and takes over these settings.

    A message taken so often (``deliveries_max``) without an ack goes to the queue ``dead`` (empty: ``NAME.dead``).
    ``bytes_max``: more waits at the door (puts are refused until there is room).
    """

    queue: _Name
    deliveries_max: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 16
    dead: _Name = ""
    bytes_max: Annotated[int, msgspec.Meta(ge=1, le=2**34)] = 64 << 20


class QueueDropped(msgspec.Struct, frozen=True, kw_only=True, tag="q-dropped"):
    """There is no queue of this name any more, nor what was in it."""

    queue: _Name


class Message(msgspec.Struct, frozen=True, array_like=True):
    """One message; its id is made by who puts it, so that putting it twice puts it once."""

    id: Annotated[bytes, msgspec.Meta(min_length=8, max_length=32)]
    body: Annotated[bytes, msgspec.Meta(max_length=MESSAGE_BYTES_MAX)]


class Put(msgspec.Struct, frozen=True, kw_only=True, tag="put"):
    """Append messages."""

    queue: _Name
    messages: Annotated[tuple[Message, ...], msgspec.Meta(min_length=1, max_length=MESSAGES_MAX)]


class Take(msgspec.Struct, frozen=True, kw_only=True, tag="take"):
    """Hand the oldest messages to a consumer; what it has not acknowledged ``visible_ms`` later, others get again.

    ``request`` names this taking: asked twice, it hands out the same.
    """

    queue: _Name
    consumer: _Id
    request: _Count
    count: Annotated[int, msgspec.Meta(ge=1, le=MESSAGES_MAX)] = 1
    visible_ms: Annotated[int, msgspec.Meta(ge=100, le=86_400_000)] = 30_000


class Ack(msgspec.Struct, frozen=True, kw_only=True, tag="ack"):
    """These are done with; only who holds a message can say so."""

    queue: _Name
    consumer: _Id
    ids: Annotated[tuple[bytes, ...], msgspec.Meta(min_length=1, max_length=MESSAGES_MAX)]


class Nack(msgspec.Struct, frozen=True, kw_only=True, tag="nack"):
    """These could not be done: others shall have them at once."""

    queue: _Name
    consumer: _Id
    ids: Annotated[tuple[bytes, ...], msgspec.Meta(min_length=1, max_length=MESSAGES_MAX)]


class Extend(msgspec.Struct, frozen=True, kw_only=True, tag="extend"):
    """These take longer: hold them for me ``visible_ms`` from now."""

    queue: _Name
    consumer: _Id
    ids: Annotated[tuple[bytes, ...], msgspec.Meta(min_length=1, max_length=MESSAGES_MAX)]
    visible_ms: Annotated[int, msgspec.Meta(ge=100, le=86_400_000)] = 30_000


QueueCommand = QueueMade | QueueDropped | Put | Take | Ack | Nack | Extend


class WorkCommand(msgspec.Struct, frozen=True, kw_only=True, tag="work"):
    """Commands that are applied one after another at the same moment. The primary stamps ``wall_ms``; it never runs back."""

    said: Annotated[tuple[LineCommand | QueueCommand, ...], msgspec.Meta(max_length=BATCH_MAX)] = ()
    wall_ms: Annotated[int, msgspec.Meta(ge=0, le=2**50)] = 0


class Applied(msgspec.Struct, frozen=True, kw_only=True, tag="ok"):
    """It was done. ``attempts``: what an Assign made; of a Finished, the copies that are not needed: their files are to go.

    ``messages``: what a Take handed out, each with how often it was by now.
    ``missed``: of an Ack, Nack or Extend, the messages that others hold by now; all else was done.
    """

    attempts: tuple[Attempt, ...] = ()
    messages: tuple[tuple[Message, int], ...] = ()
    missed: tuple[bytes, ...] = ()


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="no"):
    """It was not done, and nothing changed: why, and what to do."""

    why: str
    hint: str = ""


WorkAnswer = Applied | Refused
