"""What came of a call, for its caller: the value, the exception with the worker's traceback, or why there is neither."""

from __future__ import annotations

from typing import Any, assert_never

from worldos.errors import BadRequest, NodeGone, OverQuota, PeerBroke, WorkerLost, WorldError
from worldos.kernel.call_messages import DeliverError, Failure
from worldos.kernel.profile import Took
from worldos.lanes import pack, plain
from worldos.lanes.failing import Unsendable
from worldos.lanes.future import LaneFuture, RemoteTraceback
from worldos.lanes.wire import Measured, Status

Outcome = tuple[int, Any, BaseException | None]


def load(
    call: str, status: int, data: Any, buffers: list[memoryview], *, is_own: bool
) -> tuple[Any, BaseException | None]:
    """Load what a worker sent about a call: a value, or an exception. Not ``is_own``: only plain data (lanes/plain.py)."""
    try:
        value = pack.unpack(data, buffers) if is_own else plain.load(data, buffers)
        if status != Status.RETURNED and not is_own:
            _check_said(status, value)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - loading runs the user's code
        hint = error.hint if isinstance(error, WorldError) else ""
        failed = BadRequest(f"the result of {call} cannot be loaded here: {error}", hint=hint)
        failed.__cause__ = error
        return None, failed
    if status == Status.RETURNED:
        return value, None
    if status == Status.UNSENDABLE:
        hint = "return plain data, or write it to a file"
        return None, Unsendable(f"the result of {call} cannot be sent back: {value}", hint=hint)
    raised, text = value
    if status == Status.UNREADABLE:
        raised = BadRequest(
            f"{call} or its arguments cannot be loaded by the worker: {type(raised).__name__}: {raised}",
            hint="is the module installed on that node too?",
        )
    raised.__cause__ = RemoteTraceback(text)
    return None, raised


def _check_said(status: int, value: Any) -> None:
    """See that a stranger's word about a failure has the right shape."""
    if status == Status.UNSENDABLE and isinstance(value, str):
        return
    if isinstance(value, tuple) and [*map(isinstance, value, (Exception, str))] == [True, True]:
        return
    raise PeerBroke("its failure has not the shape of one")


def took(measured: Measured, *, is_own: bool) -> Took:
    """Return what a worker says that a call took. A stranger's word on memory would keep calls from other machines."""
    memory_bytes = measured.memory_bytes if is_own else 0
    return Took(measured.wall_us, measured.cpu_us, memory_bytes, measured.read_bytes, measured.written_bytes)


def failure(effect: DeliverError, future: LaneFuture, why: str) -> WorldError:
    """Return the error of a call that has no result. ``why``: how its last worker ended."""
    name = future.function.name
    match effect.failure:
        case Failure.WORKER_LOST:
            times = f", {effect.attempts} times in all" if effect.attempts > 1 else ""
            hint = "does it call os._exit or crash?"
            return WorkerLost(f"the worker that ran {name} {why or 'ended'}{times}", hint=hint)
        case Failure.OVER_QUOTA:
            return OverQuota(f"{name} {why}")
        case Failure.NODE_GONE:
            because = f": {why}" if why else ""
            if effect.attempts and future.retries == 0:
                hint = "it may have run: with retries=0 it is not run again; retries=3 lets it run elsewhere"
                return NodeGone(f"the node that ran {name} is lost{because}", hint=hint)
            return NodeGone(f"{name} has no worker left to run on{because}")
        case _:
            assert_never(effect.failure)
