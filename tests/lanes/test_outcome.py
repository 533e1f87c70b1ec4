"""What came of a call, as its caller sees it."""

from __future__ import annotations

import pickle
import threading

import pytest

from worldos.errors import BadRequest, NodeGone, OverQuota, WorkerLost, WorldError
from worldos.kernel.call_messages import DeliverError, Failure
from worldos.lanes import outcome, pack
from worldos.lanes.future import LaneFuture, RemoteTraceback
from worldos.lanes.wire import Status


class Nobody:
    """A lane that never does anything."""

    condition = threading.Condition()

    def drive(self, future: LaneFuture, timeout_s: float | None) -> None:
        raise TimeoutError

    def cancel_call(self, future: LaneFuture) -> bool:
        return False


def future(retries: int = 3) -> LaneFuture:
    return LaneFuture(Nobody(), 1, pack.Function(1, b"", b"", "work"), retries)


def test_a_value_is_a_value() -> None:
    assert outcome.load("work", Status.RETURNED, pickle.dumps([1]), [], is_own=True) == ([1], None)


def test_an_exception_carries_the_workers_traceback() -> None:
    status, data, buffers = pack.pack_exception(KeyError("x"))
    value, error = outcome.load("work", status, data, buffers, is_own=True)
    assert value is None
    assert isinstance(error, KeyError)
    assert isinstance(error.__cause__, RemoteTraceback)


@pytest.mark.parametrize(
    ("status", "data", "says"),
    [
        (Status.RETURNED, b"garbage", "the result of work cannot be loaded here"),
        (Status.UNSENDABLE, pickle.dumps("a lock"), "the result of work cannot be sent back: a lock"),
        (Status.UNREADABLE, pickle.dumps((ImportError("no x"), "")), "work or its arguments cannot be loaded"),
    ],
)
def test_what_cannot_be_sent_or_loaded_is_a_bad_request(status: Status, data: bytes, says: str) -> None:
    _value, error = outcome.load("work", status, data, [], is_own=True)
    assert isinstance(error, BadRequest)
    assert says in str(error)


@pytest.mark.parametrize(
    ("failure", "attempts", "retries", "kind", "says"),
    [
        (Failure.WORKER_LOST, 4, 3, WorkerLost, "the worker that ran work exited with code 3, 4 times in all"),
        (Failure.OVER_QUOTA, 1, 3, OverQuota, "work exited with code 3"),
        (Failure.NODE_GONE, 0, 3, NodeGone, "work has no worker left"),
        (Failure.NODE_GONE, 1, 0, NodeGone, "the node that ran work is lost"),
    ],
)
def test_a_call_without_result_says_why(
    failure: Failure, attempts: int, retries: int, kind: type[WorldError], says: str
) -> None:
    effect = DeliverError(call=1, failure=failure, attempts=attempts)
    error = outcome.failure(effect, future(retries), "exited with code 3")
    assert type(error) is kind
    assert says in str(error)
