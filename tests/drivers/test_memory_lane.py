from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.drivers.memory_lane import KEY_CHARS_MAX, MemoryLane
from worldos.errors import BadRequest, OverQuota


def test_what_was_put_can_be_got_until_it_is_deleted():
    lane = MemoryLane(10)
    lane.command("put", "a", b"12345")
    lane.command("put", "b", memoryview(b"67890"))
    assert lane.command("get", "b") == b"67890"
    assert lane.command("keys") == ["a", "b"]
    lane.command("delete", "a")
    assert lane.command("usage") == (5, 10)
    for verb in ("get", "delete"):
        with pytest.raises(KeyError, match="a"):
            lane.command(verb, "a")


def test_the_limit_is_exact_and_a_refused_put_changes_nothing():
    lane = MemoryLane(10)
    lane.command("put", "a", b"x" * 10)
    with pytest.raises(OverQuota, match="leased 10 bytes, used 10"):
        lane.command("put", "b", b"y")
    assert lane.command("keys") == ["a"]
    lane.command("put", "a", b"z" * 10)
    assert lane.command("get", "a") == b"z" * 10


def test_what_was_put_does_not_change_with_the_callers_buffer():
    lane, buffer = MemoryLane(10), bytearray(b"old")
    lane.put("a", buffer)
    buffer[:] = b"new"
    assert lane.get("a") == b"old"


def test_empty_values_are_bounded_by_their_number(monkeypatch):
    monkeypatch.setattr("worldos.drivers.memory_lane.KEYS_MAX", 3)
    lane = MemoryLane(10)
    for key in "abc":
        lane.put(key, b"")
    lane.put("a", b"again")
    with pytest.raises(OverQuota, match="3 keys"):
        lane.put("d", b"")
    with pytest.raises(BadRequest):
        lane.put("k" * (KEY_CHARS_MAX + 1), b"")


@given(
    st.integers(0, 40),
    st.lists(st.tuples(st.sampled_from(["put", "delete"]), st.sampled_from("abc"), st.binary(max_size=30))),
)
def test_the_limit_is_never_exceeded_and_nothing_is_forgotten(limit_bytes, steps):
    lane, model = MemoryLane(limit_bytes), {}
    for verb, key, value in steps:
        after = {**model, key: value} if verb == "put" else {k: v for k, v in model.items() if k != key}
        fits = sum(map(len, after.values())) <= limit_bytes
        try:
            lane.command(verb, key, *((value,) if verb == "put" else ()))
            assert fits
            model = after
        except OverQuota:
            assert not fits
        except KeyError:
            assert key not in model
        assert {key: lane.get(key) for key in lane.keys()} == model  # noqa: SIM118 - a command, not a dict
        assert lane.usage() == (sum(map(len, model.values())), limit_bytes)
