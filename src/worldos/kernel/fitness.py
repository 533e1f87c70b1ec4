"""Fitness: how well a node would do in a council, by plain facts: 0 to 1000.

Mains power counts most, then how long it has been heard here, then addresses, speed and idleness. What the node says of itself
is clamped piece by piece, and time is counted by the one who judges: so a liar may win a seat, and nothing else. Who has a seat
with half of the points or more cannot be driven out by any claim (see ``council``).
"""

from __future__ import annotations

from typing import Final

from worldos.model.limits import MINUTE
from worldos.model.offer import Offer
from worldos.model.resource import Fact

FITNESS_MAX: Final = 1000
MAINS_POINTS: Final = 400  # no battery: it is plugged in for good
CHARGING_POINTS: Final = 200
UPTIME_POINTS: Final = 250  # reached after UPTIME_FULL_NS
UPTIME_FULL_NS: Final = 60 * MINUTE
ADDRESS_POINTS: Final = 50  # for each of the first two
SPEED_POINTS: Final = 8  # for each doubling
SPEED_DOUBLINGS_MAX: Final = 19
LOAD_POINTS: Final = 98

assert (
    MAINS_POINTS + UPTIME_POINTS + 2 * ADDRESS_POINTS + SPEED_POINTS * SPEED_DOUBLINGS_MAX + LOAD_POINTS == FITNESS_MAX
)


def fitness(offer: Offer) -> int:
    """Return the fitness of the node that offers this, without what time adds to it."""
    return (
        _power(offer.facts)
        + ADDRESS_POINTS * min(2, len(offer.addresses))
        + SPEED_POINTS * min(SPEED_DOUBLINGS_MAX, _number(offer.facts, "speed_mips", 0).bit_length())
        + LOAD_POINTS * (100 - min(100, _number(offer.facts, "load_percent", 100))) // 100
    )


def uptime_points(alive_ns: int) -> int:
    """Return what it adds to have been heard here for so long."""
    return UPTIME_POINTS * min(max(0, alive_ns), UPTIME_FULL_NS) // UPTIME_FULL_NS


def clamped(told: int) -> int:
    """Return a fitness that somebody else worked out, within its bounds."""
    return min(max(0, told), FITNESS_MAX)


def _power(facts: dict[str, Fact]) -> int:
    if facts.get("battery") is not False:  # on battery, or nobody knows
        return 0
    return CHARGING_POINTS if "battery_percent" in facts else MAINS_POINTS


def _number(facts: dict[str, Fact], name: str, otherwise: int) -> int:
    value = facts.get(name)
    return max(0, value) if isinstance(value, int) and not isinstance(value, bool) else otherwise
