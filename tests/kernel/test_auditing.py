"""Auditing of providers: who is checked how often, and who is out."""

from __future__ import annotations

from worldos.kernel.auditing import MILLION, PROBATION_CHECKS, RATE_MAX_PPM, RATE_MIN_PPM, Auditing, bond_needed
from worldos.model.ids import NodeId

P = NodeId("p")
NEVER, ALWAYS = MILLION - 1, 0


def test_all_first_jobs_are_checked_then_a_share_that_falls_to_a_floor() -> None:
    table = Auditing()
    for _ in range(PROBATION_CHECKS):
        assert table.wants_check(P, NEVER)
        table.checked(P, is_right=True)
    assert not table.wants_check(P, RATE_MAX_PPM)
    rates = []
    for _ in range(200):
        assert table.wants_check(P, ALWAYS)
        table.checked(P, is_right=True)
        rates.append(table.records[P].rate_ppm)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == RATE_MIN_PPM
    table.doubted(P)
    assert table.records[P].rate_ppm == RATE_MAX_PPM


def test_one_wrong_answer_is_the_end_and_the_bond_is_forfeit_once() -> None:
    table = Auditing()
    table.wants_check(P, 0)
    assert table.checked(P, is_right=False)
    assert table.is_out(P)
    assert not table.checked(P, is_right=False)
    assert not table.is_out(NodeId("other"))


def test_who_could_not_do_it_is_checked_from_the_beginning_again() -> None:
    table = Auditing()
    for _ in range(PROBATION_CHECKS):
        table.wants_check(P, 0)
        table.checked(P, is_right=True)
    assert not table.wants_check(P, MILLION - 1)
    table.failed(P)
    assert table.wants_check(P, MILLION - 1)
    assert not table.is_out(P)


def test_who_is_out_stays_out_when_the_table_is_full() -> None:
    table = Auditing(most=3)
    table.wants_check(P, 0)
    table.checked(P, is_right=False)
    for number in range(9):
        table.wants_check(NodeId(f"n{number}"), 0)
    assert len(table.records) == 3
    assert table.is_out(P)


def test_the_bond_makes_a_cheat_a_loss_on_average() -> None:
    for gain in (1, 1000, 10**9):
        for rate_ppm in (RATE_MIN_PPM, 100_000, RATE_MAX_PPM):
            bond = bond_needed(gain, rate_ppm)
            assert gain * (MILLION - rate_ppm) - bond * rate_ppm < 0
