"""The breaker: once open everything stays as it is, and only somebody closes it."""

from __future__ import annotations

from worldos.kernel.guard.breaker import Breaker


def test_it_trips_once_keeps_the_first_reason_and_is_closed_by_hand() -> None:
    breaker = Breaker()
    assert not breaker.is_open
    assert breaker.trip(5, "c1", "sick")
    assert not breaker.trip(6, "c2", "other")
    assert (breaker.why, breaker.command, breaker.since_ns, breaker.trips) == ("sick", "c1", 5, 1)
    breaker.reset()
    assert not breaker.is_open
    assert breaker.trip(7, "c3", "")
    assert breaker.is_open


def test_what_else_is_heard_of_a_command_that_was_excused_does_not_freeze_again() -> None:
    breaker = Breaker()
    assert breaker.trip(1, "a", "a witness saw sick nodes")
    breaker.reset()
    assert not breaker.trip(2, "a", "another witness saw them too")
    assert breaker.trip(3, "b", "another command did badly")
