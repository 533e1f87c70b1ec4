"""A CPU handle is an executor like any other, on real workers behind a real agent."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.sdk.calls import die_once, fail, recall, remember, square, wait_for

from worldos import BadRequest, LeaseEnded, WorkerLost, use
from worldos.sdk.compute import Cpu


@pytest.fixture
def cpu() -> Iterator[Cpu]:
    with use("CPU", 2) as handle:
        yield handle


def test_a_call_runs_in_another_process_and_returns(cpu: Cpu) -> None:
    assert cpu.submit(square, 7).result(timeout=60) == 49
    assert cpu.submit(os.getpid).result(timeout=60) != os.getpid()


def test_map_keeps_the_order_whatever_finishes_first(cpu: Cpu) -> None:
    def late(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        return number

    assert list(cpu.map(late, range(60))) == list(range(60))


def test_map_in_chunks_gives_the_same(cpu: Cpu) -> None:
    assert list(cpu.map(pow, range(101), [2] * 101, chunksize=7)) == [n * n for n in range(101)]
    with pytest.raises(BadRequest, match="chunksize"):
        cpu.map(square, [1], chunksize=0)


def test_map_over_nothing_is_nothing(cpu: Cpu) -> None:
    assert list(cpu.map(square, [])) == []


def test_map_stops_at_its_timeout(cpu: Cpu, tmp_path: Path) -> None:
    mark = tmp_path / "go"
    with pytest.raises(TimeoutError):
        list(cpu.map(wait_for, [str(mark)], timeout=0.05))
    mark.touch()


def test_an_exception_comes_back_with_the_traceback_of_the_worker(cpu: Cpu) -> None:
    with pytest.raises(ValueError, match="no such luck") as caught:
        cpu.submit(fail, "no such luck").result(timeout=60)
    assert "raise ValueError(word)" in str(caught.value.__cause__)
    assert isinstance(cpu.submit(fail, "x").exception(timeout=60), ValueError)


def test_a_function_that_cannot_be_sent_says_so(cpu: Cpu) -> None:
    lock = threading.Lock()
    with pytest.raises(BadRequest):
        cpu.submit(lambda: lock).result(timeout=60)


def test_a_result_that_cannot_be_sent_says_so(cpu: Cpu) -> None:
    with pytest.raises(BadRequest, match="cannot be sent back"):
        cpu.submit(threading.Lock).result(timeout=60)


def test_the_tools_of_concurrent_futures_work_on_it(cpu: Cpu) -> None:
    futures = [cpu.submit(square, n) for n in range(20)]
    assert sorted(f.result() for f in concurrent.futures.as_completed(futures, timeout=60)) == [
        n * n for n in range(20)
    ]
    done, open_calls = concurrent.futures.wait([cpu.submit(square, 1)], timeout=60)
    assert (len(done), len(open_calls)) == (1, 0)
    assert asyncio.run(wrapped(cpu)) == 81


async def wrapped(cpu: Cpu) -> int:
    return await asyncio.wait_for(asyncio.wrap_future(cpu.submit(square, 9)), 60)


def test_a_callback_is_called_without_anybody_waiting(cpu: Cpu) -> None:
    called = threading.Event()
    cpu.submit(square, 3).add_done_callback(lambda _: called.set())
    assert called.wait(60)


def test_a_call_that_waits_can_be_cancelled_and_one_that_runs_cannot(tmp_path: Path) -> None:
    mark = tmp_path / "go"
    with use("CPU", 1) as one:
        running = one.submit(wait_for, str(mark))
        assert one.wait(running.running, 20)
        waiting = [one.submit(square, n) for n in range(600)]
        assert waiting[-1].cancel()
        assert not running.cancel()
        mark.touch()
        assert running.result(timeout=60) == str(mark)
        with pytest.raises(concurrent.futures.CancelledError):
            waiting[-1].result()


def test_a_killed_worker_costs_nothing_but_time(cpu: Cpu, tmp_path: Path) -> None:
    futures = [cpu.submit(square, n) for n in range(50)]
    died = cpu.submit(die_once, str(tmp_path / "died"))
    futures += [cpu.submit(square, n) for n in range(50)]
    assert died.result(timeout=60) > 0
    assert [f.result(timeout=60) for f in futures] == [n * n for n in range(50)] * 2
    assert cpu.statistics().losses >= 1


def test_what_must_not_run_twice_fails_with_its_worker(tmp_path: Path) -> None:
    with use("CPU", 1, retries=0) as once:
        with pytest.raises(WorkerLost) as caught:
            once.submit(die_once, str(tmp_path / "died")).result(timeout=60)
        assert caught.value.hint
        assert once.submit(square, 2).result(timeout=60) == 4


def test_an_initializer_runs_on_each_worker_before_its_first_call() -> None:
    with use("CPU", 2, initializer=remember, initargs=(7,)) as ready:
        assert set(ready.map(recall, range(20))) == {"7"}


def test_an_initializer_that_fails_fails_the_calls() -> None:
    with use("CPU", 1, initializer=fail, initargs=("never",)) as broken:
        with pytest.raises(BadRequest, match="initializer failed") as caught:
            broken.submit(square, 1).result(timeout=60)
        assert isinstance(caught.value.__cause__, ValueError)


def test_the_block_ends_when_all_calls_are_done() -> None:
    with use("CPU", 1) as one:
        futures = [one.submit(square, n) for n in range(100)]
    assert all(f.done() for f in futures)
    assert [f.result() for f in futures] == [n * n for n in range(100)]


def test_a_block_that_fails_waits_for_nobody(tmp_path: Path) -> None:
    begun = time.monotonic()
    one = use("CPU", 1)
    never = one.submit(wait_for, str(tmp_path / "never"))
    with pytest.raises(ZeroDivisionError), one:
        raise ZeroDivisionError
    assert time.monotonic() - begun < 10
    with pytest.raises(LeaseEnded):
        never.result()


def test_after_shutdown_there_are_no_more_calls(tmp_path: Path) -> None:
    one = use("CPU", 1)
    mark = tmp_path / "go"
    running = one.submit(wait_for, str(mark))
    assert one.wait(running.running, 20)
    waiting = [one.submit(square, n) for n in range(600)]
    threading.Timer(0.05, mark.touch).start()
    one.shutdown(cancel_futures=True)
    assert running.result() == str(mark)
    assert waiting[-1].cancelled()
    with pytest.raises(RuntimeError, match="after shutdown"):
        one.submit(square, 1)
    with pytest.raises(RuntimeError, match="after shutdown"):
        one.map(square, [1])
    one.shutdown()


def test_a_command_is_a_call_by_name(cpu: Cpu) -> None:
    assert cpu.command("call", square, 5) == 25
    assert cpu.command("map", square, [1, 2]) == [1, 4]
    with pytest.raises(BadRequest, match="knows no command") as caught:
        cpu.command("dance")
    assert "call" in caught.value.hint


def test_several_threads_share_a_handle(cpu: Cpu) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        sums = list(threads.map(lambda k: sum(cpu.map(square, range(k, k + 50))), range(8)))
    assert sums == [sum(n * n for n in range(k, k + 50)) for k in range(8)]
