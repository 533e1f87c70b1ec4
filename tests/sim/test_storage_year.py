"""A season of laptops with the rooms as they are, and with bugs planted, so that it is known that the checkers see."""

from __future__ import annotations

import pytest

from worldos.sim.storage_year import Laptop, Year, YearSettings, run_year
from worldos.store.limits import HOUR_NS
from worldos.store.presence import Presence, Status

pytestmark = pytest.mark.slow

SEASON = YearSettings(days=120, objects=20, deaths_per_year=0.8)
COMING_BACK = YearSettings(days=80, objects=6, long_absences_per_year=6.0)


@pytest.mark.parametrize("seed", [1])
def test_nothing_is_lost_nobody_asleep_is_repaired_and_what_died_is_made_again(seed: int) -> None:
    year = run_year(seed, SEASON)
    assert year.complaints() == []
    assert year.deaths > 0
    assert year.repaired == year.shares_lost or year.waits_ns


def test_one_seed_is_one_year() -> None:
    settings = YearSettings(days=20, objects=5)
    assert run_year(3, settings) == run_year(3, settings)


def test_a_keeper_that_declares_after_half_a_day_is_seen() -> None:
    def hasty(presence: Presence, node: str, now_ns: int) -> Status:
        status = presence.status(node, now_ns)
        return Status.LOST if presence.silent_ns(node) > 12 * HOUR_NS else status

    year = Year(1, YearSettings(days=30, objects=20), judge=hasty).run()
    assert any("false repairs" in complaint for complaint in year.complaints())


class Forgetful(Year):
    """Never takes the shares of a device back that it declared lost."""

    def _ask(self, carer: Laptop, other: Laptop) -> None:
        if other.name in self.declared:
            carer.remembered.pop(other.name, None)
        else:
            super()._ask(carer, other)


def test_a_month_away_costs_a_repair_and_no_second_one_when_the_device_is_back() -> None:
    year = run_year(5, COMING_BACK)
    assert year.returned > 0
    assert year.objects_lost == 0
    assert year.blind == 0


def test_a_keeper_that_does_not_take_shares_back_is_seen() -> None:
    year = Forgetful(5, COMING_BACK).run()
    assert any("was there" in complaint for complaint in year.complaints())
