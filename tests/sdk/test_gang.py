"""All of it or none, and what was granted is free again afterwards."""

from __future__ import annotations

import pytest

from worldos import BadRequest, NoCapacity, Unreachable, need, use
from worldos.sdk import connection
from worldos.sdk.compute import Cpu
from worldos.sdk.memory import Memory


def granted() -> int:
    return len(connection.connection().ask("leases")["granted"])


def test_a_gang_is_all_of_it() -> None:
    with use(need("CPU", 1), need("Memory", "1MB")) as (cpu, memory):
        assert isinstance(cpu, Cpu)
        assert isinstance(memory, Memory)
        memory.put("sum", str(cpu.submit(sum, [1, 2]).result(60)).encode())
        assert memory.get("sum") == b"3"
    assert cpu.closed
    assert memory.closed


def test_a_gang_of_equals_has_a_lease_each() -> None:
    with use(*[need("CPU", 0.5)] * 2, retries=0) as handles:
        assert len({lease.lease for cpu in handles for lease in cpu.leases}) == 2
        assert [cpu.submit(pow, 2, 3).result(60) for cpu in handles] == [8, 8]


def test_a_gang_that_does_not_fit_leaves_nothing_behind() -> None:
    with pytest.raises(NoCapacity, match="core"):
        use(need("CPU", 1), need("CPU", 10_000))
    assert granted() == 0


def test_a_gang_that_is_left_by_an_error_gives_everything_back() -> None:
    with pytest.raises(ZeroDivisionError), use(need("CPU", 0.5), need("Memory", "1MB")):
        raise ZeroDivisionError
    assert granted() == 0


def test_a_gang_may_be_closed_part_by_part() -> None:
    gang = use(need("CPU", 0.5), need("CPU", 0.5))
    gang[0].close()
    assert gang[1].submit(pow, 2, 5).result(60) == 32
    gang.close()
    assert granted() == 0


def test_a_kind_that_no_node_has_names_those_there_are() -> None:
    with pytest.raises(BadRequest, match="unknown kind 'Unicorn'") as caught:
        use("Unicorn")
    assert "CPU" in caught.value.hint


def test_what_cannot_be_leased_says_so() -> None:
    with pytest.raises((NoCapacity, BadRequest)):
        use("Power")


def test_an_answer_that_comes_too_late_is_given_back() -> None:
    with pytest.raises(Unreachable, match="no answer in 0 s"):
        use("CPU", 1, timeout=0)
    assert granted() == 0
