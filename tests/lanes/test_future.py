"""A lane's future is a future of the standard library in all that its users can see."""

from __future__ import annotations

import concurrent.futures
import threading

import pytest

from worldos.lanes.future import LaneFuture
from worldos.lanes.pack import Function


class Slow:
    """A lane whose calls are done when somebody drives."""

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.drives: list[float | None] = []
        self.error: BaseException | None = None

    def make(self) -> LaneFuture:
        return LaneFuture(self, 1, Function(1, b"", b"", "work"), 3)

    def drive(self, future: LaneFuture, timeout_s: float | None) -> None:
        self.drives.append(timeout_s)
        if timeout_s == 0:
            raise TimeoutError
        future.finish(None if self.error else "done", self.error)

    def cancel_call(self, future: LaneFuture) -> bool:
        if future.running():
            return False
        future.finish_cancelled()
        return True


def test_who_waits_drives() -> None:
    lane = Slow()
    future = lane.make()
    assert future.result(3) == "done"
    assert future.result(0) == "done"
    assert lane.drives == [3]
    assert future.done()
    assert future.exception() is None


def test_an_exception_is_raised_each_time() -> None:
    lane = Slow()
    lane.error = ValueError("x")
    future = lane.make()
    for _ in range(2):
        with pytest.raises(ValueError, match="x"):
            future.result()
    assert future.exception() is lane.error


def test_a_timeout_is_that_of_the_standard_library() -> None:
    with pytest.raises(concurrent.futures.TimeoutError):
        Slow().make().result(0)


def test_a_call_that_a_worker_has_is_running_and_not_cancelled() -> None:
    future = Slow().make()
    assert not future.running()
    future.sent()
    assert future.running()
    assert not future.cancel()


def test_a_cancelled_call_is_done_and_says_so_to_all() -> None:
    future = Slow().make()
    assert future.cancel()
    assert future.cancel()
    assert future.cancelled()
    assert concurrent.futures.wait([future], 1).done == {future}
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()


def test_waiters_and_callbacks_hear_of_the_end() -> None:
    lane = Slow()
    first, second = lane.make(), lane.make()
    heard: list[object] = []
    first.add_done_callback(heard.append)
    with lane.condition:
        assert first.finish(1, None), "a callback waits"
    first.run_callbacks()
    assert heard == [first]
    thread = threading.Timer(0.05, lambda: second.finish(None, KeyError()))
    thread.start()
    done = concurrent.futures.wait([first, second], 5, concurrent.futures.FIRST_EXCEPTION)
    thread.join()
    assert done.done == {first, second}
