"""Leased memory keeps bytes by key, as many as leased, and never pretends after a loss."""

from __future__ import annotations

import os
import signal

import pytest
from tests.sdk.waiting import alive, until

from worldos import LeaseEnded, NoCapacity, OverQuota, use
from worldos.sdk import connection


def test_bytes_are_kept_by_key() -> None:
    with use("Memory", "1MB") as memory:
        memory.put("a", b"1")
        memory["b"] = bytearray(b"22")
        assert memory.get("a") == b"1"
        assert memory["b"] == b"22"
        assert list(memory) == memory.keys() == ["a", "b"]
        assert ("a" in memory, "c" in memory, len(memory)) == (True, False, 2)
        del memory["a"]
        memory.delete("b")
        assert memory.get("a", b"none") == b"none"
        assert memory.get("a") is None
        assert memory.usage() == (0, 10**6)
        with pytest.raises(KeyError):
            memory["a"]


def test_a_large_value_comes_back_whole() -> None:
    value = bytes(range(256)) * 4096
    with use("Memory", "2MB") as memory:
        memory.put("large", value)
        assert memory.get("large") == value


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    with use("Memory", 1000) as memory:
        memory.put("a", b"x" * 900)
        with pytest.raises(OverQuota, match="do not fit") as caught:
            memory.put("b", b"x" * 101)
        assert caught.value.hint
        assert memory.usage() == (900, 1000)


def test_more_than_there_is_is_refused_with_what_is_free() -> None:
    with pytest.raises(NoCapacity, match="excluded by"):
        use("Memory", "1EB")


def test_bytes_that_were_lost_are_said_to_be_lost() -> None:
    with use("Memory", "1MB") as memory:
        memory.put("a", b"1")
        lane = memory._part.lane
        worker = lane.submit_call(os.getpid, (), {}, retries=0).result(60)
        os.kill(worker, signal.SIGKILL)
        until(lambda: not alive(worker))
        for _ in range(2):
            with pytest.raises(LeaseEnded, match="they with it"):
                memory.get("a")


def test_the_bytes_go_with_the_lease() -> None:
    with use("Memory", "1MB") as memory:
        lease = memory.leases[0].lease
    held = connection.connection().ask("leases")["held"]
    assert lease not in {each["lease"] for each in held}
