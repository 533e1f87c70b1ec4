"""Cores that come and go with the queue, on a real node; and who needs them more gets them back."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from joblib import Parallel, delayed, parallel_config
from tests.sdk.calls import square, wait_for
from tests.sdk.waiting import until

from worldos import BadRequest, use
from worldos.sdk.compute import Cpu
from worldos.sdk.connection import connection

BOUND_S = 90.0


def doze(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def amount(cpu: Cpu) -> int:
    return cpu.statistics().amount


@pytest.fixture
def cpu() -> Iterator[Cpu]:
    with use("CPU", (1, 2)) as handle:
        yield handle


@pytest.fixture(autouse=True)
def _two_cores_are_free() -> None:
    connection()
    until(lambda: sum(node["cpu_free"] for node in connection().ask("nodes")) >= 2000)


def test_it_grows_with_its_queue_and_shrinks_when_that_is_done(cpu: Cpu) -> None:
    assert amount(cpu) == 1000
    ran = [cpu.submit(doze, 0.02) for _ in range(60)]
    until(lambda: amount(cpu) == 2000)
    assert len({future.result(BOUND_S) for future in ran}) == 2
    assert amount(cpu) == 2000, "it stays a while"
    until(lambda: amount(cpu) == 1000)
    assert cpu.submit(square, 3).result(BOUND_S) == 9
    assert cpu.statistics().reruns == 0


def test_who_needs_it_more_gets_it_as_soon_as_the_call_there_is_done(cpu: Cpu) -> None:
    ran = [cpu.submit(doze, 0.02) for _ in range(100)]
    until(lambda: amount(cpu) == 2000)
    with use("CPU", 1) as firm:
        assert firm.submit(square, 3).result(BOUND_S) == 9
        assert amount(cpu) == 1000
        assert all(future.result(BOUND_S) for future in ran)
    assert cpu.statistics().reruns == 0, "nothing was torn away"


def test_a_call_that_does_not_end_in_time_runs_again_at_no_cost(cpu: Cpu, tmp_path: Path) -> None:
    mark = tmp_path / "go"
    long = [cpu.submit(wait_for, str(mark)) for _ in range(2)]
    until(lambda: amount(cpu) == 2000 and all(future.running() for future in long))
    with use("CPU", 1) as firm:
        assert amount(cpu) == 1000
        mark.touch()
        assert [future.result(BOUND_S) for future in long] == [str(mark)] * 2
        assert firm.submit(square, 2).result(BOUND_S) == 4
    assert cpu.statistics().reruns == 1


def test_what_must_not_run_twice_is_not_taken_away(tmp_path: Path) -> None:
    mark = tmp_path / "go"
    with use("CPU", (1, 2), retries=0) as cpu:
        once = [cpu.submit(wait_for, str(mark)) for _ in range(2)]
        until(lambda: amount(cpu) == 2000)
        assert not any(terms.need.yields for terms in cpu.leases)
        mark.touch()
        assert [future.result(BOUND_S) for future in once] == [str(mark)] * 2


def test_closing_gives_all_of_it_back_at_once(tmp_path: Path) -> None:
    cpu = use("CPU", (1, 2))
    running = [cpu.submit(wait_for, str(tmp_path / "never")) for _ in range(3)]
    until(lambda: amount(cpu) == 2000)
    cpu.close()
    assert all(future.exception(BOUND_S) for future in running)
    with use("CPU", 2) as both:
        assert both.submit(square, 2).result(BOUND_S) == 4


def test_joblib_grows_with_it() -> None:
    with parallel_config("worldos", amount=(1, 2)):
        assert Parallel()(delayed(square)(n) for n in range(40)) == [n * n for n in range(40)]


@pytest.mark.parametrize("wrong", [(2, 1), (0.5, 2), (1, 2, 3), ("1", "2.5")])
def test_a_range_that_is_none_says_how_it_is_written(wrong: tuple[object, ...]) -> None:
    with pytest.raises(BadRequest) as caught:
        use("CPU", wrong)  # type: ignore[call-overload]
    assert "(2, 64)" in caught.value.hint
    with pytest.raises(BadRequest, match="only a CPU grows"):
        use("Memory", ("1GB", "2GB"))  # type: ignore[call-overload]
