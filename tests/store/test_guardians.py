"""Any few guardians give the secret back; one less knows nothing."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import BadRequest
from worldos.store.guardians import Part, chance_bytes, join, split
from worldos.store.limits import GUARDIANS_MAX

SECRET = bytes(range(32))


def test_the_bytes_of_parts_are_those_of_the_specification() -> None:
    parts = split(SECRET, 3, 4, bytes(range(100, 164)))
    assert [part.data.hex()[:8] for part in parts] == ["e0e1e2e3", "eee9e0e7", "0e090007", "1306392c"]


@given(st.binary(min_size=32, max_size=32), st.integers(2, 5), st.integers(0, 3), st.data())
def test_every_set_of_enough_parts_gives_the_secret(secret: bytes, need: int, more: int, data: st.DataObject) -> None:
    chance = data.draw(st.binary(min_size=32 * (need - 1), max_size=32 * (need - 1)))
    parts = split(secret, need, need + more, chance)
    for some in itertools.combinations(parts, need):
        assert join(some) == secret
    assert join(reversed(parts)) == secret


def test_with_one_part_less_every_secret_is_as_likely() -> None:
    """For two parts of three: any secret fits them with exactly one choice of chance."""
    parts = split(b"\x07" * 32, 2, 3, b"\x55" * 32)
    seen = [chance for chance in range(256) if split(b"\x99" * 32, 2, 3, bytes([chance]) * 32)[1].data == parts[1].data]
    assert len(seen) == 1


@pytest.mark.parametrize(("need", "count"), [(0, 3), (4, 3), (2, GUARDIANS_MAX + 1), (1, 2)])
def test_a_split_that_makes_no_sense_is_refused(need: int, count: int) -> None:
    with pytest.raises(BadRequest):
        split(SECRET, need, count, bytes(32 * max(need - 1, 0)))


def test_a_split_wants_its_chance_and_all_of_it() -> None:
    assert chance_bytes(32, 3) == 64
    with pytest.raises(ValueError, match="64 random bytes"):
        split(SECRET, 3, 5, bytes(32))


def test_too_few_parts_and_parts_of_two_splits_are_told() -> None:
    parts = split(SECRET, 3, 5, bytes(64))
    with pytest.raises(BadRequest, match="2 guardians have answered, and it takes 3"):
        join([parts[0], parts[4], parts[0]])
    with pytest.raises(BadRequest, match="do not belong together"):
        join([*parts, Part(number=9, need=2, data=bytes(32))])
    with pytest.raises(BadRequest, match="no guardian"):
        join([])


def test_a_part_in_a_log_shows_no_secret() -> None:
    assert repr(Part(number=1, need=2, data=b"sesame!!" * 4)) == "Part(1, need=2)"
