"""What happens to the calls of a lane, and what must be done about it: the events and effects of ``kernel.calls``."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from worldos.model.ids import NodeId


class Loss(StrEnum):
    """Why a worker is lost."""

    CRASHED = "crashed"  # it ended by itself: one of its calls may be the reason
    OVER_QUOTA = "over quota"  # it was stopped for taking more than leased
    NODE_GONE = "node gone"  # no call is to blame
    TAKEN_BACK = "taken back"  # somebody else needed it more: that costs no retry


class Failure(StrEnum):
    """Why a call has no result."""

    WORKER_LOST = "worker lost"
    OVER_QUOTA = "over quota"
    NODE_GONE = "node gone"


class CallSubmitted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The holder wants this call run. ``heavy``: its arguments are large; ``digest``: of its function."""

    call: int
    retries: int = 3
    heavy: bool = False
    digest: str = ""
    size_bytes: int = 0


class ResultsArrived(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A worker sent results (or exceptions: also results). ``busy_ns``: what all of them took."""

    worker: int
    calls: tuple[int, ...]
    busy_ns: int = 0


class CallsRevoked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A worker confirms that it never began these calls and never will."""

    worker: int
    calls: tuple[int, ...]


class CallCancelled(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The holder no longer wants this call. Refused (no effect) when it was sent."""

    call: int


class WorkerJoined(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A worker is ready for calls. ``far``: bytes to it cross a network. ``memory_bytes``: of all of its lease; 0: no limit."""

    worker: int
    node: NodeId = NodeId("")
    far: bool = False
    lease: str = ""
    memory_bytes: int = 0


class WorkerLost(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A worker will send nothing more, or nothing that matters."""

    worker: int
    loss: Loss
    now_ns: int = 0


class WorkerHungUp(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A worker takes no more calls; why is not known yet. Its calls stay where they are until it is lost."""

    worker: int


class WorkerDoubted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The node of this worker is suspected."""

    worker: int


class WorkerTrusted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The node of this worker is heard again."""

    worker: int


class WorkersEnded(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """No more workers will come; those that are there go on."""


class ClockTicked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Time has passed."""

    now_ns: int


Event = (
    CallSubmitted
    | ResultsArrived
    | CallsRevoked
    | CallCancelled
    | WorkerJoined
    | WorkerLost
    | WorkerHungUp
    | WorkerDoubted
    | WorkerTrusted
    | WorkersEnded
    | ClockTicked
)


class SendCall(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Send this call to this worker: its ``attempt``-th way out, from 1."""

    worker: int
    call: int
    attempt: int


class RevokeCalls(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Ask a worker to give back those of these calls that it has not begun. Answered by CallsRevoked or results."""

    worker: int
    calls: tuple[int, ...]


class DeliverResult(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Hand over the result that just arrived from this worker."""

    worker: int
    call: int


class DeliverError(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The call has no result and will have none."""

    call: int
    failure: Failure
    attempts: int


class DeliverCancelled(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The call was cancelled before any worker got it."""

    call: int


Effect = SendCall | RevokeCalls | DeliverResult | DeliverError | DeliverCancelled
