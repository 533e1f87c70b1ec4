"""What the owner sets, and what outlives a life, as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel.guard.fleet import REALM, a_roll, id_of

from worldos.errors import BadRequest, CorruptFile
from worldos.kernel.guard.breaker import Breaker
from worldos.kernel.guard.envelope import Limit
from worldos.kernel.guard.guard import Guard
from worldos.kernel.guard.owner import (
    Change,
    Found,
    LimitsSet,
    Recalled,
    Resumed,
    RollSet,
    Unmuted,
    encode_change,
    put,
    read_change,
    remembered,
)
from worldos.kernel.guard.roll import encode_roll
from worldos.kernel.guard.table import Memory
from worldos.model.realm import Level

ROLL = a_roll(Level.HOME, ["a", "b"], ["anna", "ben"], ["a"])
LIMIT = Limit(path=("actuators", "heating"), min_milli=5000, max_milli=24_000, slew_milli_per_s=10)
CHANGES: list[Change] = [
    RollSet(roll=encode_roll(ROLL)),
    LimitsSet(limits=(LIMIT,)),
    Found(at_milli={"actuators/heating": 18_000}),
    Unmuted(key=id_of("a")),
    Resumed(realm=REALM),
    Recalled(memory=Memory(rolls=(ROLL,), limits=(LIMIT,), muted={"k": "w"})),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: type(change).__name__)
def test_each_change_is_read_as_it_was_written(change: Change) -> None:
    assert read_change(encode_change(change)) == change


def test_the_owner_sets_a_roll_limits_and_where_things_are() -> None:
    guard = Guard()
    for change in CHANGES[:3]:
        put(guard, 7, change)
    assert guard.rolls == {REALM: ROLL}
    assert list(guard.envelope.limits) == ["actuators/heating"]
    assert guard.envelope.last["actuators/heating"].value_milli == 18_000


def test_the_owner_lets_a_key_count_again_and_a_realm_go_on() -> None:
    guard = Guard(muted={id_of("a"): "why"}, breakers={REALM: Breaker(why="sick")})
    put(guard, 7, Unmuted(key=id_of("a")))
    put(guard, 7, Resumed(realm=REALM))
    assert guard.muted == {}
    assert not guard.breakers[REALM].is_open


def test_what_outlives_a_life_is_the_same_in_the_next() -> None:
    guard = Guard(muted={id_of("a"): "why"}, breakers={REALM: Breaker(why="sick")})
    for change in CHANGES[:2]:
        put(guard, 7, change)
    data = remembered(guard)
    other = Guard()
    put(other, 9, read_change(data))
    assert remembered(other) == data
    assert other.rolls == guard.rolls


def test_a_limit_that_goes_the_wrong_way_is_refused_before_it_is_anywhere() -> None:
    with pytest.raises(BadRequest):
        encode_change(LimitsSet(limits=(Limit(path=("a",), min_milli=2, max_milli=1),)))


def test_a_roll_that_is_none_is_refused() -> None:
    with pytest.raises(BadRequest):
        encode_change(RollSet(roll=b"no roll"))


@given(st.binary(max_size=300))
@settings(max_examples=100)
def test_garbage_on_disk_is_named_as_that(data: bytes) -> None:
    try:
        read_change(data)
    except CorruptFile:
        return
