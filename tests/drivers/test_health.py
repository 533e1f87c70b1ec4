"""Health: the sensor that is nearest to its cap counts, with the trip points that it names itself."""

from __future__ import annotations

from pathlib import Path

from worldos.drivers.health import CAP_MILLI_C, Heat, heat
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
