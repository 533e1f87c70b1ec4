"""Reigns and islands: no majority, no stop; and after the heal one center again, of the council, in a newer epoch."""

from __future__ import annotations

import pytest
from tests.kernel.realms.village import Village

from worldos.model.local import UseGranted
from worldos.model.realm import rank

ALL = ["home0", "home1", "home2"]


@pytest.fixture
def home() -> Village:
    """Three nodes, all of them in the council."""
    village = Village(home=3)
    village.run(25)
    return village


def test_when_the_primary_is_cut_off_the_majority_elects_and_the_rest_is_an_island(home: Village) -> None:
    before = home.believed("home1")
    home.cut(["home0"], ["home1", "home2"])
    home.run(4)
    elected = home.primary("home1", "home2")
    assert elected != "home0"
    assert rank(home.believed("home1").epoch) > rank(before.epoch)
    assert not home.believed("home1").epoch.provisional
    assert home.primary("home0") == "home0"
    assert home.believed("home0").epoch.provisional


def test_needs_are_served_inside_each_island(home: Village) -> None:
    home.cut(["home0"], ["home1", "home2"])
    home.run(3)
    for name in ALL:
        assert isinstance(home.use(name, cores=1), UseGranted)


def test_after_the_heal_the_council_wins_in_an_epoch_above_the_islands(home: Village) -> None:
    home.cut(["home0"], ["home1", "home2"])
    home.run(4)
    island = home.believed("home0").epoch
    home.heal()
    home.run(3)
    primary = home.primary(*ALL)
    center = home.believed(primary)
    assert not center.epoch.provisional
    assert rank(center.epoch) > rank(island)
    reigning = [name for name in ALL if home.site(name) in home.nodes[name].realms.reigns]
    assert reigning == [primary]


def test_where_no_part_has_a_majority_each_has_a_provisional_center_and_they_merge(home: Village) -> None:
    home.cut(["home0"], ["home1", "home2"])
    home.cut(["home1"], ["home2"])
    home.run(5)
    for name in ALL:
        assert home.primary(name) == name
        assert home.believed(name).epoch.provisional
    home.heal()
    home.run(4)
    assert not home.believed(home.primary(*ALL)).epoch.provisional


def test_a_primary_that_slept_does_not_act_in_its_old_epoch(home: Village) -> None:
    old = home.believed("home0").epoch
    home.asleep.add("home0")
    home.run(10)
    home.cut(["home0"], ["home1", "home2"])  # what its fabric says once it hears nothing
    home.run(4)
    assert home.primary("home1", "home2") != "home0"
    home.asleep.clear()
    home.heal()
    told = len(home.notices)
    home.run(3)
    assert home.primary(*ALL) != "home0" or rank(home.believed("home0").epoch) > rank(old)
    acted = [notice for name, notice in home.notices[told:] if name == "home0" and notice.name == "center"]
    assert all(notice.fields["epoch"] > old.number for notice in acted)
