"""A slower pace for long quiet hours: what nodes do again and again though nothing happens is done less often.

A site of n nodes says 12 n messages a second to itself only to see that all are there. Over an hour and ten thousand
nodes that is half a billion events that show nothing. Here the *periods* of such work grow by a factor, and nothing else: no
deadline, no bound of a lease, no order changes, so whatever is found at this pace can happen at the true one; a silent node is
just noticed later. The same for councils: leaders beat, and members wait for them, by the same factor longer. A closed link is
told at once at any pace. Whoever runs at another pace says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Final

from worldos.kernel import membership, seat
from worldos.kernel.raft.pace import Pace
from worldos.kernel.realms import realms, seating
from worldos.model import limits
from worldos.sim.councils import seats_of
from worldos.sim.world import World

PERIODS: Final[tuple[tuple[ModuleType, str], ...]] = (
    (membership, "PROBE_PERIOD_NS"),
    (membership, "FRESH_NS"),
    (membership, "GONE_PERIOD_NS"),
    (membership, "SYNC_PERIOD_NS"),
    (limits, "OFFER_REFRESH_NS"),
    (limits, "KEYLOG_COMPARE_NS"),
)


PACES: Final[tuple[tuple[ModuleType, str], ...]] = tuple(
    (module, name) for module in (realms, seating, seat) for name in ("LAN", "WAN")
)


@contextmanager
def slower(factor: int, world: World) -> Iterator[None]:
    """Let all nodes of this process do their rounds so many times less often, until the end of the block."""
    periods = [(module, name, getattr(module, name)) for module, name in PERIODS]
    paces: list[tuple[ModuleType, str, Pace]] = [(module, name, getattr(module, name)) for module, name in PACES]
    slow = {pace: _stretched(pace, factor) for _, _, pace in paces}
    try:
        for module, name, period_ns in periods:
            setattr(module, name, period_ns * factor)
        for module, name, pace in paces:
            setattr(module, name, slow[pace])
        _beat(world, slow)
        yield
    finally:
        for module, name, period_ns in periods:
            setattr(module, name, period_ns)
        for module, name, pace in paces:
            setattr(module, name, pace)
        _beat(world, {long: short for short, long in slow.items()})


def _stretched(pace: Pace, factor: int) -> Pace:
    return Pace(
        heartbeat_ns=pace.heartbeat_ns * factor,
        election_min_ns=pace.election_min_ns * factor,
        election_max_ns=pace.election_max_ns * factor,
        rests=pace.rests,
    )


def _beat(world: World, paces: dict[Pace, Pace]) -> None:
    """Let every seat that there is go at another pace, from its next beat on."""
    for machine in world.machines:
        for raft in seats_of(machine).values():
            raft.pace = paces.get(raft.pace, raft.pace)
