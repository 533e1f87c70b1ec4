"""Health: what a machine's own sensors say of how long it will last, in figures that the kernel can judge (kernel/foresight.py).

Temperatures in thousandths of a degree Celsius, from the thermal zones and hwmon chips; a sensor's own passive or hot trip
point is its cap. Disks by what the kernel or ``smartctl`` says. Each look is slow (a sensor may take a tenth of a second):
never in the agent's loop. Source: Linux Documentation/driver-api/thermal/sysfs-api.rst, ABI/testing/sysfs-class-hwmon.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from worldos.drivers.machine import Machine

ZONES: Final = "/sys/class/thermal"
CHIPS: Final = "/sys/class/hwmon"
CAP_MILLI_C: Final = 85_000  # where a sensor names no trip point of its own
MARGIN_MILLI_C: Final = 5_000  # below the point at which the machine itself slows down
LEAST_MILLI_C, MOST_MILLI_C = 1_000, 150_000  # what is not between them is no temperature
TRIPS_MAX: Final = 16
OF_PROCESSORS: Final = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "acpitz", "soc_thermal")


class Heat(NamedTuple):
    """The warmest sensor, as far from its cap as it is; a machine without sensors is never warm."""

    milli_c: int = 0
    cap_milli_c: int = CAP_MILLI_C


def heat(machine: Machine) -> Heat:
    """Return the sensor that is nearest to its cap."""
    found = [*_zones(machine), *_chips(machine)]
    return max(found, key=lambda each: each.milli_c - each.cap_milli_c, default=Heat())


def _zones(machine: Machine) -> list[Heat]:
    found = []
    for name in machine.names(ZONES):
        if not name.startswith("thermal_zone"):
            continue
        milli_c = machine.number(f"{ZONES}/{name}/temp")
        if milli_c is not None and LEAST_MILLI_C <= milli_c <= MOST_MILLI_C:
            found.append(Heat(milli_c, _cap_of_zone(machine, f"{ZONES}/{name}")))
    return found


def _cap_of_zone(machine: Machine, zone: str) -> int:
    caps = []
    for number in range(TRIPS_MAX):
        kind = machine.line(f"{zone}/trip_point_{number}_type")
        if not kind:
            break
        trip = machine.number(f"{zone}/trip_point_{number}_temp")
        if kind in {"passive", "hot", "critical"} and trip is not None and LEAST_MILLI_C <= trip <= MOST_MILLI_C:
            caps.append(trip - (MARGIN_MILLI_C if kind == "passive" else 3 * MARGIN_MILLI_C))
    return min([*caps, CAP_MILLI_C])


def _chips(machine: Machine) -> list[Heat]:
    found = []
    for chip in machine.names(CHIPS):
        if machine.line(f"{CHIPS}/{chip}/name") not in OF_PROCESSORS:
            continue
        for name in machine.names(f"{CHIPS}/{chip}"):
            if not (name.startswith("temp") and name.endswith("_input")):
                continue
            milli_c = machine.number(f"{CHIPS}/{chip}/{name}")
            if milli_c is None or not LEAST_MILLI_C <= milli_c <= MOST_MILLI_C:
                continue
            most = machine.number(f"{CHIPS}/{chip}/{name.removesuffix('_input')}_max") or MOST_MILLI_C
            found.append(Heat(milli_c, min(most - MARGIN_MILLI_C, CAP_MILLI_C)))
    return found
