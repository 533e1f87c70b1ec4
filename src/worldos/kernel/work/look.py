"""Looks: what people and programs may see of a site's work, by a word or two. What there is not is nothing, not an error."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from worldos.errors import PeerBroke
from worldos.kernel.line.scene import Scene
from worldos.kernel.line.view import ARGV_CHARS_MAX, JobView, TaskView
from worldos.kernel.line.why import view, views
from worldos.kernel.queues.queues import QueueView
from worldos.kernel.work.replica import Replica
from worldos.kernel.work.state import Work
from worldos.model.ids import NodeId
from worldos.model.work_wire import WorkAsk

T = TypeVar("T")

_encode = msgspec.msgpack.Encoder().encode


class JobSeen(msgspec.Struct, frozen=True, array_like=True):
    """A job, if there is one of this name, and some of its tasks."""

    job: JobView | None
    tasks: tuple[TaskView, ...]


class Keepers(msgspec.Struct, frozen=True, kw_only=True):
    """Who keeps the work: who leads, who votes, who only learns; how long the log is, and what the latest snapshot took."""

    leader: NodeId
    voters: tuple[NodeId, ...]
    learners: tuple[NodeId, ...]
    entries: int
    snapshot_bytes: int


class ProviderView(msgspec.Struct, frozen=True, array_like=True):
    """A machine of others that did tasks: how many, how often that was checked, how often it is, and why it gets no more."""

    node: NodeId
    jobs: int
    checks: int
    rate_ppm: int
    out: str


class CommandView(msgspec.Struct, frozen=True, array_like=True):
    """What tasks of a command took of late: how many there were, how long one takes, and how much memory one takes at most."""

    command: str
    tasks: int
    mean_us: int
    memory_bytes: int


def keepers(replica: Replica) -> bytes:
    """Return who keeps the work, as its leader sees it."""
    log = replica.raft.log
    return _encode(
        Keepers(
            leader=replica.me,
            voters=log.config.voters,
            learners=log.config.learners,
            entries=log.committed,
            snapshot_bytes=replica.snapshot_bytes,
        )
    )


def providers(work: Work) -> tuple[ProviderView, ...]:
    """Return what is known of the machines of others that did tasks, by id."""
    records = work.line.providers.records
    return tuple(
        [ProviderView(node, each.jobs, each.checks, each.rate_ppm, each.out) for node, each in sorted(records.items())]
    )


def commands(work: Work, most: int) -> tuple[CommandView, ...]:
    """Return what was learned of the commands of jobs that are known still, the newest first."""
    book = work.line.book
    found: dict[int, CommandView] = {}
    for job in reversed(book.jobs.values()):
        worked = book.worked.get(job.kind)
        if worked is not None and job.kind not in found and len(found) < most:
            text = " ".join(job.spec.argv)[:ARGV_CHARS_MAX]
            found[job.kind] = CommandView(text, worked.tasks, worked.wall_us // worked.tasks, worked.memory_bytes)
    return tuple(found.values())


def look(work: Work, asked: WorkAsk, scene: Scene | None) -> bytes:
    """Return what is to be seen, as bytes; PeerBroke for words that name nothing of the kind.

    ``scene``: what who leads saw last, which tells why something waits.
    """
    what, _, name = asked.look.partition(" ")
    match what:
        case "jobs":
            return _encode(work.line.views(asked.count) if scene is None else views(work.line, asked.count, scene))
        case "job":
            job = work.line.view(name) if scene is None else view(work.line, name, scene)
            return _encode(JobSeen(job, work.line.tasks(name, asked.first, asked.count)))
        case "providers":
            return _encode(providers(work))
        case "commands":
            return _encode(commands(work, asked.count))
        case "queues":
            return _encode(work.queues.views())
        case "queue":
            return _encode(work.queues.view(name))
        case _:
            raise PeerBroke(
                f"there is no look at {asked.look!r}: there are jobs, job ID, providers, commands, queues, queue NAME and keepers"
            )


def read_jobs(data: bytes) -> tuple[JobView, ...]:
    """Read what a look at ``jobs`` gave."""
    return _read(_jobs, data)


def read_job(data: bytes) -> JobSeen:
    """Read what a look at ``job ID`` gave."""
    return _read(_job, data)


def read_keepers(data: bytes) -> Keepers:
    """Read what a look at ``keepers`` gave."""
    return _read(_keepers, data)


def read_providers(data: bytes) -> tuple[ProviderView, ...]:
    """Read what a look at ``providers`` gave."""
    return _read(_providers, data)


def read_commands(data: bytes) -> tuple[CommandView, ...]:
    """Read what a look at ``commands`` gave."""
    return _read(_commands, data)


def read_queues(data: bytes) -> tuple[QueueView, ...]:
    """Read what a look at ``queues`` gave."""
    return _read(_queues, data)


def read_queue(data: bytes) -> QueueView | None:
    """Read what a look at ``queue NAME`` gave."""
    return _read(_queue, data)


_jobs: msgspec.msgpack.Decoder[tuple[JobView, ...]] = msgspec.msgpack.Decoder(tuple[JobView, ...])
_job: msgspec.msgpack.Decoder[JobSeen] = msgspec.msgpack.Decoder(JobSeen)
_keepers: msgspec.msgpack.Decoder[Keepers] = msgspec.msgpack.Decoder(Keepers)
_providers: msgspec.msgpack.Decoder[tuple[ProviderView, ...]] = msgspec.msgpack.Decoder(tuple[ProviderView, ...])
_commands: msgspec.msgpack.Decoder[tuple[CommandView, ...]] = msgspec.msgpack.Decoder(tuple[CommandView, ...])
_queues: msgspec.msgpack.Decoder[tuple[QueueView, ...]] = msgspec.msgpack.Decoder(tuple[QueueView, ...])
_queue: msgspec.msgpack.Decoder[QueueView | None] = msgspec.msgpack.Decoder(QueueView | None)


def _read(decoder: msgspec.msgpack.Decoder[T], data: bytes) -> T:
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as cause:
        raise PeerBroke("what was seen of the work cannot be read") from cause
