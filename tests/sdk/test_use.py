"""From words to handles, all or none, and back: what was granted is free again afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from worldos import BadRequest, NoCapacity, Unreachable, need, use
from worldos.sdk import connection
from worldos.sdk.compute import Cpu
from worldos.sdk.memory import Memory


def granted() -> int:
    return len(connection.connection().ask("leases")["granted"])


def test_a_lease_says_where_it_is_and_goes_back_at_the_end_of_the_block() -> None:
    with use("CPU", amount=1, memory="100MB", near="me", where="cores >= 1", ttl="5s") as cpu:
        (terms,) = cpu.leases
        assert terms.need.amount == 1000
        assert terms.need.memory_bytes == 10**8
        assert terms.ttl_ns == 5 * 10**9
        assert cpu.nodes == (connection.connection().node(),)
        assert granted() == 1
        assert cpu.submit(os.getpid).result(20) != os.getpid()
    assert granted() == 0


def test_a_gang_is_all_of_it() -> None:
    with use(need("CPU", 1), need("Memory", "1MB")) as (cpu, memory):
        assert isinstance(cpu, Cpu)
        assert isinstance(memory, Memory)
        memory.put("sum", str(cpu.submit(sum, [1, 2]).result(20)).encode())
        assert memory.get("sum") == b"3"
    assert cpu.closed
    assert memory.closed


def test_a_gang_of_equals_has_a_lease_each() -> None:
    with use(*[need("CPU", 0.5)] * 2, retries=0) as handles:
        assert len({lease.lease for cpu in handles for lease in cpu.leases}) == 2
        assert [cpu.submit(pow, 2, 3).result(20) for cpu in handles] == [8, 8]


def test_a_gang_that_does_not_fit_leaves_nothing_behind() -> None:
    with pytest.raises(NoCapacity, match="core"):
        use(need("CPU", 1), need("CPU", 10_000))
    assert granted() == 0


def test_a_gang_may_be_closed_part_by_part() -> None:
    gang = use(need("CPU", 0.5), need("CPU", 0.5))
    gang[0].close()
    assert gang[1].submit(pow, 2, 5).result(20) == 32
    gang.close()
    assert granted() == 0


def test_a_refusal_names_the_constraint_and_what_would_be_free() -> None:
    with pytest.raises(NoCapacity, match="excluded by") as caught:
        use("CPU", 1, where="memory >= 1000TB")
    assert "memory" in str(caught.value)


def test_a_kind_that_no_node_has_names_those_there_are() -> None:
    with pytest.raises(BadRequest, match="unknown kind 'Unicorn'") as caught:
        use("Unicorn")
    assert "CPU" in caught.value.hint


def test_what_cannot_be_leased_says_so() -> None:
    with pytest.raises((NoCapacity, BadRequest)):
        use("Power")


@pytest.mark.parametrize(
    ("begin", "error", "said"),
    [
        (lambda: use("CPU", retries=-1), BadRequest, "retries"),
        (lambda: use("CPU", retries=True), BadRequest, "retries"),
        (lambda: use("CPU", ttl="1 fortnight"), BadRequest, "unknown unit"),
        (use, BadRequest, "say a kind"),
        (lambda: use("CPU", 1, 2), BadRequest, "say a kind"),
        (lambda: use("CPU", colour="red"), TypeError, "colour"),
        (lambda: use(need("CPU"), memory="1GB"), TypeError, "belongs into need"),
        (lambda: need("CPU", colour="red"), TypeError, "colour"),
        (lambda: need("Memory", 1, initializer=print), BadRequest, "comes with a CPU"),
        (lambda: need("CPU", 1, initializer=3), BadRequest, "must be a function"),
        (lambda: use(*[need("CPU")] * 300), BadRequest, "a gang of 300"),
    ],
)
def test_what_cannot_be_meant_is_refused(begin: Callable[[], object], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        begin()


def test_an_answer_that_comes_too_late_is_given_back() -> None:
    with pytest.raises(Unreachable, match="no answer in 0 s"):
        use("CPU", 1, timeout=0)
    assert granted() == 0
