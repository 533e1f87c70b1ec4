"""Rules: the first that has something to say decides."""

from __future__ import annotations

from random import Random

from worldos.sim.rules import DROP, PASS, Deliver, Drop, Duplicate, Parcel, Rules, between, delay, duplication, loss

PARCEL = Parcel(now_ns=0, source=1, target=2, message="x")


def test_without_rules_everything_passes() -> None:
    assert Rules().judge(PARCEL) is PASS


def test_the_first_rule_that_does_not_pass_wins() -> None:
    rules = Rules()
    rules.add(lambda _: PASS)
    rules.add(lambda _: Deliver(5))
    rules.add(lambda _: DROP)
    assert rules.judge(PARCEL) == Deliver(5)


def test_a_rule_that_was_taken_out_says_nothing_more() -> None:
    rules = Rules()
    dropping = rules.add(lambda _: DROP)
    rules.remove(dropping)
    assert rules.judge(PARCEL) is PASS


def test_a_rule_between_two_machines_holds_in_both_directions_and_for_no_other() -> None:
    rule = between(1, 2, lambda _: DROP)
    assert rule(PARCEL) is DROP
    assert rule(PARCEL._replace(source=2, target=1)) is DROP
    assert rule(PARCEL._replace(target=3)) is PASS


def test_shares_are_met_by_chance_from_the_seed() -> None:
    for make, kind in (
        (loss, Drop),
        (lambda d, s: duplication(d, s, 9), Duplicate),
        (lambda d, s: delay(d, s, 9), Deliver),
    ):
        rule = make(Random(3), 0.25)
        verdicts = [rule(PARCEL) for _ in range(1000)]
        assert 180 < sum(isinstance(v, kind) for v in verdicts) < 320
