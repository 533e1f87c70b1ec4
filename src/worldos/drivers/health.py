"""Health: what a machine's own sensors say of how long it will last, in figures that the kernel can judge (kernel/foresight.py).

Temperatures in thousandths of a degree Celsius, from the thermal zones and hwmon chips; a sensor's own passive or hot trip
point is its cap. Disks by what the kernel or ``smartctl`` says. Each look is slow (a sensor may take a tenth of a second):
never in the agent's loop. Source: Linux Documentation/driver-api/thermal/sysfs-api.rst, ABI/testing/sysfs-class-hwmon.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any, Final, NamedTuple

from worldos.drivers import memory, power
from worldos.drivers.machine import Machine, printable
from worldos.kernel.foresight import Reading

ZONES: Final = "/sys/class/thermal"
CHIPS: Final = "/sys/class/hwmon"
CAP_MILLI_C: Final = 85_000  # where a sensor names no trip point of its own
MARGIN_MILLI_C: Final = 5_000  # below the point at which the machine itself slows down
LEAST_MILLI_C, MOST_MILLI_C = 1_000, 150_000  # what is not between them is no temperature
TRIPS_MAX: Final = 16
BLOCKS: Final = "/sys/block"
LINKS: Final = "/sys/class/net"
SMARTCTL_S: Final = 10.0
SMARTCTL_BYTES_MAX: Final = 1 << 20
DISKS_MAX: Final = 32
DISKS_AFTER_S: Final = 60
DISKS_EVERY_S: Final = 3600
MMC_URGENT: Final = 3  # pre_eol_info: most of the reserved blocks are used
MMC_TENTH_PERCENT: Final = 10  # life_time counts tenths of what the memory is made for, from 1
REALLOCATED, PENDING = 5, 197  # attributes of ATA disks
SECTORS_MANY: Final = 100
WORN: Final = "health.disks"
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


class Disks(NamedTuple):
    """What the machine's disks say of themselves: why one will fail (empty: none says so), and the most worn of them."""

    why: str = ""
    wear_percent: int = 0


def reading(machine: Machine, now_s: int) -> Reading:
    """Return what a machine says of itself now; disks are asked once an hour."""
    told = machine.remembered.get(WORN)
    if not isinstance(told, tuple):
        told = (now_s + DISKS_AFTER_S - DISKS_EVERY_S, Disks())  # a start waits for no disk
    elif now_s - told[0] >= DISKS_EVERY_S:
        told = (now_s, disks(machine))
    machine.remembered[WORN] = told
    supplies = power.node_facts(power.supplies(machine))
    percent, warmth = supplies.get("battery_percent", -1), heat(machine)
    memory_bytes, memory_free = memory.memory_bytes(machine)
    disk_bytes, disk_free = machine.space(machine.folders[0]) if machine.folders else (0, 0)
    return Reading(
        at_s=now_s,
        battery_percent=percent if isinstance(percent, int) else -1,
        on_battery=supplies.get("battery") is True,
        milli_c=warmth.milli_c,
        cap_milli_c=warmth.cap_milli_c,
        memory_free=memory_free,
        memory_bytes=memory_bytes,
        disk_free=disk_free,
        disk_bytes=disk_bytes,
        flaps=flaps(machine),
        disk_why=told[1].why,
        wear_percent=told[1].wear_percent,
    )


def flaps(machine: Machine) -> int:
    """Return how often the machine's own network devices lost their link; those of containers and tunnels do not count."""
    real = (name for name in machine.names(LINKS) if machine.exists(f"{LINKS}/{name}/device"))
    return sum(machine.number(f"{LINKS}/{name}/carrier_down_count") or 0 for name in real)


def disks(machine: Machine) -> Disks:
    """Ask every disk of the machine, by the kernel and by ``smartctl`` where it is installed and may ask."""
    told = []
    for name in machine.names(BLOCKS)[:DISKS_MAX]:
        if machine.exists(f"{BLOCKS}/{name}/device"):
            told.append(_of_mmc(machine, name))
            told.append(_asked(machine, name))
    why = next((each.why for each in told if each.why), "")
    return Disks(why, max((each.wear_percent for each in told), default=0))


def told_by_smartctl(name: str, text: str) -> Disks:
    """Read what ``smartctl --json`` says of a disk; what is not as it should be says nothing."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return Disks()
    passed = _at(said, "smart_status", "passed")
    nvme = _at(said, "nvme_smart_health_information_log")
    wear = _at(nvme, "percentage_used")
    why = f"{name}: its own check failed" if passed is False else ""
    if not why and isinstance(_at(nvme, "critical_warning"), int) and _at(nvme, "critical_warning"):
        why = f"{name}: it warns of itself"
    table = _at(said, "ata_smart_attributes", "table")
    for row in table if isinstance(table, list) else ():
        raw = _at(row, "raw", "value")
        if _at(row, "id") in {REALLOCATED, PENDING} and isinstance(raw, int) and raw >= SECTORS_MANY:
            why = why or f"{name}: {raw} of its sectors are bad"
    return Disks(why, wear if isinstance(wear, int) and 0 <= wear <= 255 else 0)


def _asked(machine: Machine, name: str) -> Disks:
    program = shutil.which("smartctl")
    if program is None or machine.root:  # of a captured tree no device can be asked
        return Disks()
    words = [program, "--json", "-H", "-A", "-n", "standby", f"/dev/{name}"]  # one that sleeps is left asleep
    try:
        done = subprocess.run(  # noqa: S603 - a program of the system, and the name of a device that the kernel said
            words, capture_output=True, text=True, timeout=SMARTCTL_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return Disks()
    return told_by_smartctl(printable(name), done.stdout[:SMARTCTL_BYTES_MAX])


def _of_mmc(machine: Machine, name: str) -> Disks:
    urgent = machine.line(f"{BLOCKS}/{name}/device/pre_eol_info")
    tenths = [_hexadecimal(word) for word in machine.line(f"{BLOCKS}/{name}/device/life_time").split()]
    why = f"{printable(name)}: its reserve is used up" if _hexadecimal(urgent) >= MMC_URGENT else ""
    return Disks(why, max([*(max(0, tenth - 1) * MMC_TENTH_PERCENT for tenth in tenths), 0]))


def _hexadecimal(word: str) -> int:
    try:
        return int(word, 16)
    except ValueError:
        return 0


def _at(value: Any, *path: str) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
