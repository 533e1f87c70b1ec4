from __future__ import annotations

from worldos.drivers.network import driver


def links(machine):
    return {link.local: link for link in driver.scan(machine)}


def test_a_laptop_on_wifi_shows_that_link_only(captured):
    found = links(captured("laptop"))
    assert list(found) == ["wlp2s0"]
    assert found["wlp2s0"].tags == ("wireless",)
    assert found["wlp2s0"].facts == {
        "speed_known": False,
        "wireless": True,
        "address": "192.168.1.23",
        "address6": "2001:db8::23",
    }


def test_a_known_speed_is_the_capacity(captured):
    found = links(captured("board"))
    assert list(found) == ["eth0", "wlan0"]
    assert found["eth0"].capacity == 1_000_000_000
    assert found["eth0"].facts["speed_known"] is True
    assert found["wlan0"].capacity == 100_000_000


def test_a_link_without_hardware_counts_where_there_is_no_other(captured):
    found = links(captured("container"))
    assert list(found) == ["eth0"]
    assert found["eth0"].capacity == 10_000_000_000


def test_a_machine_without_any_link_still_has_its_loopback(captured):
    machine = captured("container")
    machine.write("/sys/class/net/eth0/operstate", "down\n")
    assert links(machine)["lo"].tags == ("loopback",)


def test_pseudo_devices_are_no_links(captured):
    assert list(links(captured("vm"))) == ["eth0"]


def test_a_lease_is_a_lane_of_that_speed(captured, leased):
    lane = driver.lane(captured("board"), leased("eth0", "Network", 100_000_000))
    assert lane.arguments == {"bits_per_second": 100_000_000}


def test_the_real_machine_has_a_link(real):
    found = driver.scan(real)
    assert found
    assert all(link.capacity > 0 for link in found)
