from __future__ import annotations

import pytest

from worldos.drivers.display import driver
from worldos.errors import BadRequest


def test_only_connected_screens_are_shown_with_their_size(captured):
    [screen] = driver.scan(captured("laptop"))
    assert (screen.local, screen.name, screen.tags) == ("card0-eDP-1", "eDP-1", ("built-in",))
    assert screen.facts == {"session": "wayland", "width": 1920, "height": 1080}
    assert not screen.leasable


def test_a_screen_that_is_plugged_in_is_seen(captured):
    machine = captured("laptop")
    machine.write("/sys/class/drm/card0-HDMI-A-1/status", "connected\n")
    assert [screen.name for screen in driver.scan(machine)] == ["HDMI-A-1", "eDP-1"]


def test_x11_is_told_from_nobody(captured):
    machine = captured("board")
    machine.write("/sys/class/drm/card1-HDMI-A-1/status", "connected\n")
    assert driver.scan(machine)[0].facts == {"session": "none"}
    machine.write("/tmp/.X11-unix/X0", "")
    assert driver.scan(machine)[0].facts == {"session": "x11"}


def test_a_machine_without_screens_has_none(captured, leased):
    machine = captured("vm")
    assert driver.scan(machine) == []
    with pytest.raises(BadRequest):
        driver.lane(machine, leased("card0-eDP-1", "Display", 1))
