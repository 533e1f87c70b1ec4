"""Power: batteries and mains. Shown and watched, not leasable in this version.

The node's fact ``battery`` means *running on its battery now*: what ``where="not battery"`` and a provider's rule
"not on battery" ask. ``battery_percent`` is there only where there is a battery. Batteries of mice and headsets do
not count. Source: Linux Documentation/ABI/testing/sysfs-class-power.
"""

from __future__ import annotations

from dataclasses import dataclass

from worldos.drivers.driver import LaneNeeds, Leased, Sample
from worldos.drivers.machine import Machine, local_name, printable
from worldos.errors import BadRequest
from worldos.model.resource import Fact, Kind, Scanned

SUPPLIES = "/sys/class/power_supply"


@dataclass(frozen=True)
class Supply:
    """One battery or one external supply."""

    name: str
    is_battery: bool
    online: bool
    percent: int
    status: str
    model: str


class PowerDriver:
    """Every power supply of a machine as a resource that can only be looked at."""

    kind: str = Kind.POWER

    def scan(self, machine: Machine) -> list[Scanned]:
        """Describe the supplies."""
        return [
            Scanned(
                kind=self.kind,
                local=local_name(supply.name),
                name=supply.model or printable(supply.name),
                unit="piece",
                capacity=1,
                free=1,
                leasable=False,
                tags=("battery",) if supply.is_battery else ("mains",),
                facts=_facts(supply),
            )
            for supply in supplies(machine)
        ]

    def sample(self, machine: Machine) -> Sample:
        """Say whether we run on a battery and how full it is."""
        present = supplies(machine)
        return Sample(facts={local_name(supply.name): _facts(supply) for supply in present}, node=node_facts(present))

    def lane(self, machine: Machine, leased: Leased) -> LaneNeeds:
        """Refuse: power cannot be leased."""
        raise BadRequest("Power can be looked at, not leased, in this version")


def supplies(machine: Machine) -> list[Supply]:
    """Return the supplies of the machine itself, by name."""
    found = []
    for name in machine.names(SUPPLIES):
        base = f"{SUPPLIES}/{name}"
        if machine.line(f"{base}/scope") == "Device":
            continue
        is_battery = machine.line(f"{base}/type") == "Battery"
        if is_battery and machine.line(f"{base}/present") == "0":
            continue
        found.append(
            Supply(
                name=name,
                is_battery=is_battery,
                online=machine.number(f"{base}/online") not in {None, 0},
                percent=_percent(machine, base) if is_battery else 0,
                status=machine.line(f"{base}/status").lower(),
                model=machine.line(f"{base}/model_name"),
            )
        )
    return found


def node_facts(present: list[Supply]) -> dict[str, Fact]:
    """Return ``battery`` and, where there is one, ``battery_percent`` (the mean of several)."""
    batteries = [supply for supply in present if supply.is_battery]
    if not batteries:
        return {"battery": False}
    outside = [supply for supply in present if not supply.is_battery]
    on_battery = (
        not any(supply.online for supply in outside)
        if outside
        else any(supply.status == "discharging" for supply in batteries)
    )
    percent = sum(supply.percent for supply in batteries) // len(batteries)
    return {"battery": on_battery, "battery_percent": percent}


def _facts(supply: Supply) -> dict[str, Fact]:
    if supply.is_battery:
        return {"percent": supply.percent, "status": supply.status}
    return {"online": supply.online}


def _percent(machine: Machine, base: str) -> int:
    percent = machine.number(f"{base}/capacity")
    if percent is None:
        for kind in ("energy", "charge"):
            now, full = machine.number(f"{base}/{kind}_now"), machine.number(f"{base}/{kind}_full")
            if now is not None and full:
                percent = now * 100 // full
                break
    return max(0, min(100, percent or 0))


driver = PowerDriver()
