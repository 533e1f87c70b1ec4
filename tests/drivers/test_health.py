"""Health: the sensor that is nearest to its cap counts, and what disks and links say of themselves is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from worldos.drivers.health import (
    CAP_MILLI_C,
    DISKS_AFTER_S,
    DISKS_EVERY_S,
    Disks,
    Heat,
    disks,
    flaps,
    heat,
    reading,
    told_by_smartctl,
)
from worldos.drivers.machine import Machine


def write(root: Path, **files: str) -> Machine:
    for name, text in files.items():
        file = root / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return Machine(root=str(root))


def zone(number: int, temp: str, *trips: tuple[str, str]) -> dict[str, str]:
    base = f"sys__class__thermal__thermal_zone{number}"
    points = {
        f"{base}__trip_point_{at}_{part}": value
        for at, trip in enumerate(trips)
        for part, value in zip(("type", "temp"), trip, strict=True)
    }
    return {f"{base}__temp": temp, **points}


def test_a_machine_without_sensors_is_never_warm(tmp_path: Path) -> None:
    assert heat(Machine(root=str(tmp_path))) == Heat()
    assert heat(Machine(root=str(tmp_path))).milli_c < CAP_MILLI_C


def test_a_zone_is_capped_below_where_the_machine_slows_itself_down(tmp_path: Path) -> None:
    machine = write(tmp_path, **zone(0, "61000", ("passive", "75000"), ("critical", "105000")))
    assert heat(machine) == Heat(61_000, 70_000)


def test_the_sensor_nearest_to_its_cap_counts(tmp_path: Path) -> None:
    chip = {"sys__class__hwmon__hwmon2__name": "k10temp", "sys__class__hwmon__hwmon2__temp1_input": "84000"}
    machine = write(tmp_path, **zone(0, "61000", ("passive", "95000")), **chip)
    assert heat(machine) == Heat(84_000, CAP_MILLI_C)


def test_what_is_no_temperature_and_what_is_no_processor_is_left_out(tmp_path: Path) -> None:
    chip = {"sys__class__hwmon__hwmon0__name": "nvme", "sys__class__hwmon__hwmon0__temp1_input": "99000"}
    machine = write(tmp_path, **zone(0, "-274000"), **zone(1, "broken"), **zone(2, "999999999"), **chip)
    assert heat(machine) == Heat()


NVME = {
    "smart_status": {"passed": True},
    "nvme_smart_health_information_log": {"critical_warning": 0, "percentage_used": 7},
}
ATA = {
    "smart_status": {"passed": True},
    "ata_smart_attributes": {"table": [{"id": 5, "raw": {"value": 400}}, {"id": 9}]},
}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (NVME, Disks("", 7)),
        ({**NVME, "smart_status": {"passed": False}}, Disks("sda: its own check failed", 7)),
        ({"nvme_smart_health_information_log": {"critical_warning": 4}}, Disks("sda: it warns of itself")),
        (ATA, Disks("sda: 400 of its sectors are bad")),
        ({"ata_smart_attributes": {"table": "none"}, "nvme_smart_health_information_log": 3}, Disks()),
        ([], Disks()),
        ({"nvme_smart_health_information_log": {"percentage_used": 9999}}, Disks()),
    ],
)
def test_what_smartctl_says_of_a_disk_is_read_and_nothing_is_believed_that_is_none(said: object, told: Disks) -> None:
    assert told_by_smartctl("sda", json.dumps(said)) == told


@pytest.mark.parametrize("text", ["", "{", "no json", "[" * 100_000])
def test_what_is_no_answer_of_smartctl_says_nothing(text: str) -> None:
    assert told_by_smartctl("sda", text) == Disks()


def test_flash_memory_that_is_used_up_says_so_to_the_kernel(tmp_path: Path) -> None:
    base = "sys__block__mmcblk0__device"
    worn = write(tmp_path, **{f"{base}__life_time": "0x03 0x0b", f"{base}__pre_eol_info": "0x01"})
    assert disks(worn) == Disks("", 100)
    urgent = write(tmp_path, **{f"{base}__pre_eol_info": "0x03"})
    assert disks(urgent) == Disks("mmcblk0: its reserve is used up", 100)


def test_lost_links_are_counted_on_real_devices_alone(tmp_path: Path) -> None:
    net = "sys__class__net"
    machine = write(
        tmp_path,
        **{
            f"{net}__eth0__carrier_down_count": "4",
            f"{net}__eth0__device__vendor": "x",
            f"{net}__veth1__carrier_down_count": "90",
        },
    )
    assert flaps(machine) == 4


def test_a_reading_has_the_figures_of_the_machine_and_asks_disks_once_an_hour(tmp_path: Path) -> None:
    base, supply = "sys__block__mmcblk0__device", "sys__class__power_supply__BAT0"
    machine = write(
        tmp_path,
        proc__meminfo="MemTotal: 1000 kB\nMemAvailable: 900 kB",
        **{f"{supply}__type": "Battery", f"{supply}__capacity": "40", f"{supply}__status": "Discharging"},
        **{f"{base}__pre_eol_info": "0x03"},
    )
    first = reading(machine, 1000)
    assert (first.at_s, first.battery_percent, first.on_battery) == (1000, 40, True)
    assert (first.memory_bytes, first.disk_why) == (1_024_000, "")
    assert reading(machine, 1000 + DISKS_AFTER_S).disk_why == "mmcblk0: its reserve is used up"
    write(tmp_path, **{f"{base}__pre_eol_info": "0x01"})
    assert reading(machine, 1000 + DISKS_EVERY_S).disk_why
    assert not reading(machine, 1000 + DISKS_AFTER_S + DISKS_EVERY_S).disk_why
