"""Network: each link that is up, in bits per second, with its addresses and without its hardware address.

A link whose speed the kernel does not know (virtual machines, Wi-Fi) is counted with a cautious guess and
``speed_known`` says so. A machine without any link still has ``lo``, so that a lone laptop runs the same programs.
"""

from __future__ import annotations

import ipaddress

from worldos.drivers.driver import LaneNeeds, Leased, Sample
from worldos.drivers.machine import Machine, local_name, printable
from worldos.model.resource import Fact, Kind, Scanned

MEGABIT = 1_000_000
WIRED_GUESS_BITS_S = 1000 * MEGABIT
WIRELESS_GUESS_BITS_S = 100 * MEGABIT
LOOPBACK_BITS_S = 10_000 * MEGABIT
LOOPBACK = "lo"
NOT_LINKS = ("ifb", "dummy", "docker", "br-", "virbr", "tunl", "sit", "ip6tnl", "gre")


class NetworkDriver:
    """Every network link of a machine as a resource."""

    kind: str = Kind.NETWORK

    def scan(self, machine: Machine) -> list[Scanned]:
        """Describe the links."""
        addresses = machine.addresses()
        names = links(machine, addresses)
        return [_describe(machine, name, addresses.get(name, ())) for name in names or [LOOPBACK]]

    def sample(self, machine: Machine) -> Sample:
        """Say nothing: what is free is decided by leases, and a link that comes or goes is seen by the next scan."""
        return Sample()

    def lane(self, machine: Machine, leased: Leased) -> LaneNeeds:
        """Staff one process that takes in data no faster than leased."""
        return LaneNeeds(
            driver="worldos.drivers.network_lane:NetworkLane",
            arguments={"bits_per_second": leased.need.amount},
        )


def links(machine: Machine, addresses: dict[str, tuple[str, ...]]) -> list[str]:
    """Return the links that are up: those with hardware; where none has (in a namespace), those with an address."""
    up = [
        name
        for name in machine.names("/sys/class/net")
        if name != LOOPBACK and not name.startswith(NOT_LINKS) and _is_up(machine, name)
    ]
    real = [name for name in up if machine.exists(f"/sys/class/net/{name}/device")]
    return real or [name for name in up if addresses.get(name)]


def _is_up(machine: Machine, name: str) -> bool:
    state = machine.line(f"/sys/class/net/{name}/operstate")
    return state == "up" or (state == "unknown" and machine.number(f"/sys/class/net/{name}/carrier") == 1)


def _describe(machine: Machine, name: str, addresses: tuple[str, ...]) -> Scanned:
    wireless = machine.exists(f"/sys/class/net/{name}/wireless")
    megabits = machine.number(f"/sys/class/net/{name}/speed") or 0
    known = megabits > 0
    guess = LOOPBACK_BITS_S if name == LOOPBACK else WIRELESS_GUESS_BITS_S if wireless else WIRED_GUESS_BITS_S
    capacity = megabits * MEGABIT if known else guess
    facts: dict[str, Fact] = {"speed_known": known, "wireless": wireless, **_address_facts(addresses)}
    return Scanned(
        kind=Kind.NETWORK,
        local=local_name(name),
        name=printable(name),
        unit="bit/s",
        capacity=capacity,
        free=capacity,
        tags=("loopback",) if name == LOOPBACK else ("wireless",) if wireless else ("wired",),
        facts=facts,
    )


def _address_facts(addresses: tuple[str, ...]) -> dict[str, Fact]:
    facts: dict[str, Fact] = {}
    for text in addresses:
        address = ipaddress.ip_address(text)
        if not address.is_link_local:
            facts.setdefault("address" if address.version == 4 else "address6", str(address))
    return facts


driver = NetworkDriver()
