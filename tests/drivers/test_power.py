from __future__ import annotations

import pytest

from worldos.drivers.power import driver
from worldos.errors import BadRequest


def test_a_laptop_off_the_mains_runs_on_its_battery(captured):
    sample = driver.sample(captured("laptop"))
    assert sample.node == {"battery": True, "battery_percent": 81}


def test_plugging_in_is_seen_by_the_next_sample(captured):
    machine = captured("laptop")
    machine.write("/sys/class/power_supply/AC/online", "1\n")
    sample = driver.sample(machine)
    assert sample.node["battery"] is False
    assert sample.facts["AC"] == {"online": True}


def test_the_battery_of_a_mouse_does_not_count(captured):
    assert [supply.local for supply in driver.scan(captured("laptop"))] == ["AC", "BAT0"]


def test_supplies_are_shown_and_not_leased(captured, leased):
    machine = captured("laptop")
    assert [supply.leasable for supply in driver.scan(machine)] == [False, False]
    with pytest.raises(BadRequest, match="not leased"):
        driver.lane(machine, leased("BAT0", "Power", 1))


def test_a_machine_without_battery_never_runs_on_one(captured):
    machine = captured("board")
    assert driver.scan(machine) == []
    assert driver.sample(machine).node == {"battery": False}


def test_without_a_word_on_the_mains_the_battery_itself_says(captured):
    machine = captured("board")
    machine.write("/sys/class/power_supply/bat/type", "Battery\n")
    machine.write("/sys/class/power_supply/bat/status", "Charging\n")
    assert driver.sample(machine).node["battery"] is False
    machine.write("/sys/class/power_supply/bat/status", "Discharging\n")
    assert driver.sample(machine).node["battery"] is True


def test_a_battery_that_counts_energy_gives_a_share(captured):
    machine = captured("board")
    machine.write("/sys/class/power_supply/bat/type", "Battery\n")
    machine.write("/sys/class/power_supply/bat/energy_now", "25\n")
    machine.write("/sys/class/power_supply/bat/energy_full", "50\n")
    assert driver.sample(machine).node["battery_percent"] == 50


def test_a_battery_that_was_taken_out_is_not_there(captured):
    machine = captured("laptop")
    machine.write("/sys/class/power_supply/BAT0/present", "0\n")
    assert driver.sample(machine).node == {"battery": False}
