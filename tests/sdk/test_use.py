"""From words to handles, all or none, and back: what was granted is free again afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from worldos import BadRequest, NoCapacity, need, use
from worldos.sdk import connection


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
        assert cpu.submit(os.getpid).result(60) != os.getpid()
    assert granted() == 0


def test_a_refusal_names_the_constraint_and_what_would_be_free() -> None:
    with pytest.raises(NoCapacity, match="excluded by") as caught:
        use("CPU", 1, where="memory >= 1000TB")
    assert "memory" in str(caught.value)


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
