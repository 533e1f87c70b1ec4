"""What CPython tests of its own executors, tried on leased processors. Source: Lib/test/test_concurrent_futures of CPython.

The cases of ``ExecutorShutdownTest`` (what outlives a shutdown is in test_leaving.py), ``WaitTests``, ``AsCompletedTests``,
``ExecutorTest``, ``ProcessPoolExecutorTest``, ``ExecutorDeadlockTest`` and the initializers, written anew for one worker.
Where we differ on purpose the test says so, and so does docs/guides/your-program.md.
"""

from __future__ import annotations

import faulthandler
import gc
import itertools
import os
import pickle
import signal
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent import futures
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import pytest
from tests.sdk.calls import fail, square, wait_for
from tests.sdk.waiting import until

from worldos import BadRequest, WorkerLost, use
from worldos.sdk.compute import Cpu

BOUND_S = 60.0


def told(state: str, result: object = None, error: BaseException | None = None) -> Future[Any]:
    """Return a future in a state, as CPython's tests make them."""
    future: Future[Any] = Future()
    future._state, future._result, future._exception = state, result, error  # type: ignore[attr-defined] # as they do
    return future


CANCELLED = told("CANCELLED")
NOTIFIED = told("CANCELLED_AND_NOTIFIED")
FAILED = told("FINISHED", error=OSError())
DONE = told("FINISHED", result=42)


def capture(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
    return args, kwargs


def crash() -> None:
    faulthandler.disable()
    os.kill(os.getpid(), signal.SIGSEGV)


def leave() -> None:
    sys.exit(1)


def instance(kind: type[object]) -> object:
    return kind()


class Plain:
    def method(self) -> None:
        pass


class CrashesAtPickle:
    def __reduce__(self) -> Any:
        crash()


class CrashesAtUnpickle:
    def __reduce__(self) -> Any:
        return crash, ()


class LeavesAtPickle:
    def __reduce__(self) -> Any:
        leave()


class LeavesAtUnpickle:
    def __reduce__(self) -> Any:
        return leave, ()


class FailsAtPickle:
    def __reduce__(self) -> Any:
        raise pickle.PicklingError("no")


class FailsAtUnpickle:
    def __reduce__(self) -> Any:
        return fail, ("unpickled",)


class NeedsTwo(Exception):
    """An exception that does not survive pickling: its second argument is lost."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(one)
        self.two = two


def raise_needs_two() -> None:
    raise NeedsTwo("one", "two")


def raise_from() -> None:
    try:
        {}["inner"]
    except KeyError as error:
        raise RuntimeError("outer") from error


@pytest.fixture
def cpu() -> Iterator[Cpu]:
    with use("CPU", 1) as handle:
        yield handle


# -- submit and map -----------------------------------------------------------------------------------------------------


def test_arguments_by_name_pass_even_those_called_self_and_fn(cpu: Cpu) -> None:
    assert cpu.submit(pow, 2, 8).result(BOUND_S) == 256
    assert cpu.submit(capture, 1, self=2, fn=3).result(BOUND_S) == ((1,), {"self": 2, "fn": 3})
    with pytest.raises(TypeError):
        cpu.submit(fn=capture, arg=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        cpu.submit(arg=1)  # type: ignore[call-arg]


def test_map_raises_where_the_call_failed_and_not_before(cpu: Cpu) -> None:
    results = cpu.map(divmod, [1, 1, 1, 1], [2, 3, 0, 5])
    assert [next(results), next(results)] == [(0, 1), (0, 1)]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_chunks_of_any_size_give_the_same_and_a_size_below_one_is_a_value_error(cpu: Cpu) -> None:
    expected = list(map(pow, range(40), range(40)))
    for size in (1, 6, 40, 50):
        assert list(cpu.map(pow, range(40), range(40), chunksize=size)) == expected
    with pytest.raises(ValueError, match="chunksize"):
        cpu.map(pow, range(40), range(40), chunksize=-1)


def test_map_submits_at_once_and_reads_its_items_to_the_end(cpu: Cpu) -> None:
    items = iter(range(10))
    results = cpu.map(square, items)
    assert list(items) == []
    assert list(results) == [n * n for n in range(10)]


def test_results_that_came_before_the_timeout_of_map_are_given(cpu: Cpu, tmp_path: Path) -> None:
    mark = tmp_path / "go"
    warm = cpu.submit(square, 3).result(BOUND_S)
    results = cpu.map(lambda path: wait_for(path) if path else warm, ["", "", str(mark)], timeout=0.5)
    assert [next(results), next(results)] == [9, 9]
    with pytest.raises(TimeoutError):
        next(results)
    mark.touch()


def test_a_map_that_timed_out_cancels_the_call_it_waited_for_too(cpu: Cpu, tmp_path: Path) -> None:
    first, mark = tmp_path / "first", tmp_path / "go"
    running = cpu.submit(wait_for, str(mark))
    cpu.wait(running.running, BOUND_S)
    results = cpu.map(Path.touch, [first, tmp_path / "second"], timeout=0)
    with pytest.raises(TimeoutError):
        next(results)
    mark.touch()
    running.result(BOUND_S)
    assert cpu.submit(square, 2).result(BOUND_S) == 4  # whatever waited before it is over
    assert not first.exists()


def test_no_reference_to_arguments_or_results_stays_behind(cpu: Cpu) -> None:
    thing = Plain()
    collected = threading.Event()
    watching = weakref.ref(thing, lambda _: collected.set())
    cpu.submit(thing.method)
    del thing
    assert collected.wait(BOUND_S)
    assert watching() is None
    for made in cpu.map(instance, [Plain] * 5):
        seen = weakref.ref(made)
        del made
        gc.collect()
        assert seen() is None


# -- wait and as_completed ----------------------------------------------------------------------------------------------


def test_wait_returns_when_the_first_is_done_the_first_failed_or_all_are(cpu: Cpu, tmp_path: Path) -> None:
    mark = tmp_path / "go"
    quick = cpu.submit(square, 6)
    held = cpu.submit(wait_for, str(mark))
    assert futures.wait([CANCELLED, quick, held], return_when=futures.FIRST_COMPLETED) == ({quick}, {CANCELLED, held})
    assert futures.wait([NOTIFIED, DONE, held], return_when=futures.FIRST_COMPLETED) == ({NOTIFIED, DONE}, {held})
    assert futures.wait([FAILED, held], return_when=futures.FIRST_EXCEPTION) == ({FAILED}, {held})
    assert futures.wait([NOTIFIED, FAILED, DONE, quick, held], timeout=0.1) == (
        {NOTIFIED, FAILED, DONE, quick},
        {held},
    )
    mark.touch()
    assert futures.wait([held, held]) == ({held}, set())
    broken, later = cpu.submit(divmod, 2, 0), cpu.submit(wait_for, str(tmp_path / "later"))
    assert futures.wait([quick, broken, later], return_when=futures.FIRST_EXCEPTION) == ({quick, broken}, {later})
    (tmp_path / "later").touch()
    assert futures.wait([DONE, NOTIFIED, FAILED, broken, later]) == ({DONE, NOTIFIED, FAILED, broken, later}, set())


def test_as_completed_gives_each_once_and_those_done_before_a_timeout(cpu: Cpu, tmp_path: Path) -> None:
    mark = tmp_path / "go"
    one, two = cpu.submit(square, 2), cpu.submit(square, 7)
    assert set(futures.as_completed([NOTIFIED, FAILED, DONE, one, two])) == {NOTIFIED, FAILED, DONE, one, two}
    held = cpu.submit(wait_for, str(mark))
    seen = set()
    with pytest.raises(TimeoutError, match=r"1 \(of 4\) futures unfinished"):  # noqa: PT012 - the loop is what is tried
        for future in futures.as_completed([NOTIFIED, FAILED, DONE, held], timeout=0):
            seen.add(future)
    assert seen == {NOTIFIED, FAILED, DONE}
    mark.touch()
    assert len(list(futures.as_completed(itertools.repeat(held, 3)))) == 1


def test_all_threads_that_wait_hear_of_the_result(cpu: Cpu, tmp_path: Path) -> None:
    held = cpu.submit(wait_for, str(tmp_path / "go"))
    with futures.ThreadPoolExecutor(8) as threads:
        waiting = [threads.submit(futures.wait, [held]) for _ in range(4)]
        waiting += [threads.submit(held.result, BOUND_S) for _ in range(4)]  # type: ignore[misc]
        (tmp_path / "go").touch()
        assert all(future.result(BOUND_S) for future in waiting)


def test_callbacks_run_in_order_and_one_that_fails_costs_no_other(cpu: Cpu, caplog: pytest.LogCaptureFixture) -> None:
    called: list[int] = []
    done = threading.Event()
    future = cpu.submit(square, 4)
    future.add_done_callback(lambda _: called.append(1))
    future.add_done_callback(lambda _: 1 // 0)
    future.add_done_callback(lambda _: called.append(2))
    future.add_done_callback(lambda _: done.set())
    assert done.wait(BOUND_S)
    assert called == [1, 2]
    assert "exception calling callback" in caplog.text
    future.add_done_callback(lambda told: called.append(told.result()))
    assert called == [1, 2, 16]


# -- cancel -------------------------------------------------------------------------------------------------------------


def test_a_future_tells_its_states(cpu: Cpu, tmp_path: Path) -> None:
    mark = tmp_path / "go"
    held = cpu.submit(wait_for, str(mark))
    cpu.wait(held.running, BOUND_S)
    waits = cpu.submit(square, 1)
    assert (held.cancel(), held.cancelled(), held.done()) == (False, False, False)
    with pytest.raises(TimeoutError):
        held.exception(timeout=0.01)
    assert (waits.cancel(), waits.cancel(), waits.cancelled(), waits.done(), waits.running()) == (*[True] * 4, False)
    for ask in (waits.result, waits.exception):
        with pytest.raises(CancelledError):
            ask()
    assert "cancelled" in repr(waits)
    mark.touch()
    assert held.exception(BOUND_S) is None
    assert "returned str" in repr(held)


# -- shutdown -----------------------------------------------------------------------------------------------------------


def test_after_a_shutdown_nothing_can_be_submitted(cpu: Cpu) -> None:
    cpu.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures"):
        cpu.submit(pow, 2, 5)
    with pytest.raises(RuntimeError, match="cannot schedule new futures"):
        cpu.map(square, [1])
    cpu.shutdown()


def test_a_shutdown_waits_for_everything_and_may_follow_a_cancel() -> None:
    cpu = use("CPU", 1)
    slept = [cpu.submit(time.sleep, 0.01) for _ in range(20)]
    cpu.submit(int).cancel()
    cpu.shutdown()
    assert all(future.done() for future in slept)
    assert cpu.closed


def test_a_shutdown_that_cancels_lets_only_what_was_begun_end(tmp_path: Path) -> None:
    mark = tmp_path / "go"
    cpu = use("CPU", 1)
    list(cpu.map(square, range(200)))  # the worker gets many calls ahead from now on
    begun = [cpu.submit(square, n) for n in range(10)] + [cpu.submit(wait_for, str(mark))]
    ahead = [cpu.submit(square, n) for n in range(2000)]
    until(lambda: all(future.done() for future in begun[:-1]) and begun[-1].running())
    assert any(future.running() for future in ahead), "some are at the worker already"
    threading.Timer(0.05, mark.touch).start()
    cpu.shutdown(cancel_futures=True)
    assert begun[-1].result() == str(mark)
    assert all(future.cancelled() for future in ahead)


def test_a_block_that_fails_stops_what_runs_unlike_pythons_own(tmp_path: Path) -> None:
    cpu = use("CPU", 1)
    never = cpu.submit(wait_for, str(tmp_path / "never"))
    with pytest.raises(ZeroDivisionError), cpu:
        raise ZeroDivisionError
    assert never.exception(BOUND_S) is not None


# -- exceptions ---------------------------------------------------------------------------------------------------------


def test_an_exception_comes_with_its_chain_as_text(cpu: Cpu) -> None:
    with pytest.raises(RuntimeError, match="outer") as caught:
        cpu.submit(raise_from).result(BOUND_S)
    assert all(word in str(caught.value.__cause__) for word in ("KeyError: 'inner'", "direct cause", "raise_from"))


def test_what_is_no_error_comes_back_too(cpu: Cpu) -> None:
    with pytest.raises(SystemExit):
        cpu.submit(leave).result(BOUND_S)
    assert cpu.submit(square, 3).result(BOUND_S) == 9


def test_an_exception_that_cannot_be_made_again_is_told_and_breaks_nothing(cpu: Cpu) -> None:
    error = cpu.submit(raise_needs_two).exception(BOUND_S)
    assert error is not None
    assert "one" in str(error)
    assert cpu.submit(square, 3).result(BOUND_S) == 9


# -- what breaks on the way ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "argument", "expected"),
    [
        (id, FailsAtPickle(), pickle.PicklingError),
        (id, FailsAtUnpickle(), BadRequest),
        (id, LeavesAtUnpickle(), BadRequest),
        (instance, FailsAtPickle, pickle.PicklingError),
        (instance, LeavesAtPickle, pickle.PicklingError),
        (instance, FailsAtUnpickle, BadRequest),
        (instance, LeavesAtUnpickle, BadRequest),
    ],
)
def test_what_fails_on_the_way_fails_its_own_future_alone(
    function: Any, argument: object, expected: type[BaseException], cpu: Cpu
) -> None:
    broken = cpu.submit(function, argument)
    assert isinstance(broken.exception(BOUND_S), expected)
    assert cpu.submit(square, 3).result(BOUND_S) == 9


@pytest.mark.parametrize(
    ("function", "arguments"), [(crash, ()), (id, (CrashesAtUnpickle(),)), (instance, (CrashesAtPickle,))]
)
def test_a_crash_costs_one_future_and_not_the_executor_unlike_pythons_own(function: Any, arguments: Any) -> None:
    with use("CPU", 1, retries=0) as cpu:
        broken, others = cpu.submit(function, *arguments), [cpu.submit(square, n) for n in range(3)]
        assert isinstance(broken.exception(BOUND_S), WorkerLost)
        assert [future.result(BOUND_S) for future in others if future.exception(BOUND_S) is None]
        assert cpu.submit(square, 3).result(BOUND_S) == 9


def test_a_crash_after_the_shutdown_does_not_hang_it() -> None:
    cpu = use("CPU", 1, retries=0)
    broken = cpu.submit(crash)
    cpu.shutdown(wait=True)
    assert isinstance(broken.exception(0), WorkerLost)
    lingering = use("CPU", 1)
    unsendable = lingering.submit(id, FailsAtPickle())
    lingering.shutdown(wait=False)
    assert isinstance(unsendable.exception(0), pickle.PicklingError)
    until(lambda: lingering._holding.closed)


def test_an_initializer_that_fails_breaks_the_executor_for_good() -> None:
    with use("CPU", 1, initializer=fail, initargs=("never",)) as cpu:
        with pytest.raises(futures.BrokenExecutor):
            cpu.submit(square, 1).result(BOUND_S)
        with pytest.raises(futures.BrokenExecutor):
            cpu.submit(square, 1)
