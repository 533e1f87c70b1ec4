"""The envelope: what its owner did not allow is not driven, whoever asks and however many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import PeerBroke
from worldos.kernel.guard.command import Drive
from worldos.kernel.guard.envelope import Envelope, Limit
from worldos.kernel.guard.limits import SLEW_CREDIT_S
from worldos.model.limits import SECOND

HEATER = Limit(path=("home", "heater"), min_milli=5_000, max_milli=25_000)
SLOW = Limit(path=("home", "valve"), min_milli=0, max_milli=1_000, slew_milli_per_s=10)


def an_envelope(*limits: Limit) -> Envelope:
    envelope = Envelope()
    envelope.put(limits)
    return envelope


def drive(value: int, verb: str = "set", path: tuple[str, ...] = HEATER.path) -> Drive:
    return Drive(path=path, verb=verb, value_milli=value)


def test_what_is_not_named_is_not_driven() -> None:
    assert Envelope().refusal(0, drive(10_000))
    assert an_envelope(HEATER).refusal(0, drive(10_000, path=("home",)))
    assert an_envelope(HEATER).refusal(0, drive(10_000, path=("home", "heater", "x")))


@pytest.mark.parametrize(("value", "is_allowed"), [(4_999, 0), (5_000, 1), (25_000, 1), (25_001, 0), (-5_000, 0)])
def test_values_are_between_its_ends(value: int, is_allowed: int) -> None:
    assert (an_envelope(HEATER).refusal(0, drive(value)) == "") == bool(is_allowed)


def test_only_its_verbs() -> None:
    assert an_envelope(HEATER).refusal(0, drive(10_000, "explode"))


def test_a_thing_goes_no_quicker_than_its_owner_allows_also_after_a_long_rest() -> None:
    envelope = an_envelope(SLOW)
    path = SLOW.path
    assert "not known where" in envelope.refusal(0, drive(5, path=path))
    envelope.found(0, path, 500)
    assert envelope.refusal(0, drive(501, path=path))
    assert not envelope.refusal(SECOND, drive(510, path=path))
    assert envelope.refusal(SECOND, drive(511, path=path))
    year = 365 * 86400 * SECOND
    most = 500 + 10 * SLEW_CREDIT_S
    assert not envelope.refusal(year, drive(most, path=path))
    assert envelope.refusal(year, drive(most + 1, path=path))
    envelope.drove(year, drive(most, path=path))
    assert envelope.refusal(year, drive(most + 1, path=path))
    envelope.found(year, path, 0)
    assert envelope.refusal(year, drive(0, path=path)), "what was driven here is known better"


@given(st.lists(st.tuples(st.integers(0, 20 * SECOND), st.integers(-2_000, 2_000)), max_size=50))
def test_nothing_ever_leaves_the_envelope(asked: list[tuple[int, int]]) -> None:
    envelope = an_envelope(SLOW)
    envelope.found(0, SLOW.path, 500)
    now_ns, at, at_ns = 0, 500, 0
    for step_ns, value in asked:
        now_ns += step_ns
        want = drive(value, path=SLOW.path)
        if not envelope.refusal(now_ns, want):
            assert 0 <= value <= 1_000
            assert abs(value - at) <= 10 * min(now_ns - at_ns, SLEW_CREDIT_S * SECOND) // SECOND
            envelope.drove(now_ns, want)
            at, at_ns = value, now_ns


def test_new_limits_take_the_place_of_all_before() -> None:
    envelope = an_envelope(HEATER)
    envelope.drove(0, drive(10_000))
    envelope.put((SLOW,))
    assert envelope.refusal(0, drive(10_000))
    assert envelope.last == {}
    with pytest.raises(PeerBroke):
        envelope.put((Limit(path=("x",), min_milli=2, max_milli=1),))
