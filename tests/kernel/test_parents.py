"""What it costs to be below a parent."""

from __future__ import annotations

from tests.kernel.contacts import SECOND, center, contact

from worldos.kernel.parents import Parent, Way, nodes_of
from worldos.model import limits
from worldos.model.realm import RealmId

HOME = RealmId("home")


def home() -> Parent:
    return Parent(realm=HOME, contacts=(contact("a"), contact("b")))


def test_jitter_is_smoothed_and_another_way_counts_at_once() -> None:
    way = Way()
    way.measured(1000)
    way.measured(1400)
    assert way.rtt_us == 1000
    way.smooth()
    assert way.rtt_us == 1100
    way.measured(30_000)
    assert way.rtt_us == 30_000
    way.measured(200)
    assert way.rtt_us == 200
    way.measured(-5)
    assert way.rtt_us == 1


def test_a_steady_way_is_reached_though_it_is_told_once() -> None:
    way = Way()
    way.measured(1000)
    way.measured(1600)
    for _ in range(20):
        way.smooth()
    assert 1590 <= way.rtt_us <= 1600


def test_a_busy_center_and_a_doubted_one_cost_more() -> None:
    parent = home()
    assert parent.cost_us(0, 9000) == 10_000
    parent.believe(center("home", "c", load=500))
    assert parent.cost_us(0, 9000) == 20_000
    parent.doubt(0)
    assert parent.cost_us(0, 9000) > 26_000
    assert parent.cost_us(60 * SECOND, 9000) == 20_000
    parent.believe(center("home", "c", load=1_000_000))
    assert parent.cost_us(60 * SECOND, 9000) == 90_000


def test_its_primary_is_asked_first_then_its_council_then_whom_the_ticket_named() -> None:
    parent = home()
    assert nodes_of(parent.known()) == ["a", "b"]
    parent.believe(center("home", "c", "b"))
    assert nodes_of(parent.known()) == ["c", "b", "a"]


def test_an_older_epoch_and_a_leap_are_not_newer() -> None:
    parent = home()
    assert parent.is_newer(center("home", "a", number=9))
    parent.believe(center("home", "a", number=9))
    assert parent.is_newer(center("home", "b", number=9))
    assert not parent.is_newer(center("home", "b", number=8))
    assert not parent.is_newer(center("home", "b", number=9, provisional=True))
    assert not parent.is_newer(center("home", "b", number=10 + limits.EPOCH_LEAP_MAX))


def test_who_refuses_again_and_again_is_asked_less_often_within_bounds() -> None:
    parent, waits = home(), []
    for _ in range(5):
        parent.send_away(0)
        waits.append(parent.away_until_ns // SECOND)
    assert waits == [1, 2, 4, 4, 4]
    parent.send_away(0, limits.SHED_AWAY_NS, is_busy=True)
    assert parent.is_busy
    parent.welcome()
    assert parent.away_until_ns == 0
    parent.send_away(0)
    assert parent.away_until_ns == SECOND


def test_who_goes_back_and_forth_waits_longer_and_who_stayed_does_not() -> None:
    parent, waits = home(), []
    for _ in range(9):
        parent.leave(0, 0)
        waits.append(parent.left_until_ns // SECOND)
    assert waits == [3, 6, 12, 24, 48, 96, 192, 300, 300]
    parent.leave(limits.STEADY_NS, 0)
    assert parent.left_until_ns == limits.STEADY_NS + limits.LEFT_MIN_NS
