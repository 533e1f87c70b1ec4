"""What yields: leases that may be taken back for who needs the capacity more, and the asks that wait for it.

The rule is optimal, not fair, and all in integers. A lease with ``need.yields`` gives way to an ask of this account if it is a
guest's; to an ask that does not yield, of the same or a higher priority; to one that yields too, of a higher priority; and among
equal priorities to one that gains more than ``GAIN_FACTOR`` times as much (``need.gain_ms``: how much sooner the work behind it
ends by this lease). Nothing of ours gives way to a guest. Of those that give way the lowest goes first: guests, low priority,
little gain, the youngest; and no more of them than the ask needs.

What is asked back has LEASE_YIELD_GRACE_NS, from when its holder has heard of it, to end what it does; then it is gone. A holder
that does not hear it keeps it until it would have had to be renewed: nobody ever believes to have what another has. The ask waits
for it, a while, and what comes back is kept for the asks that wait, the most urgent first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from worldos.model.ids import LeaseId, NodeId, ResourceId
from worldos.model.need import Need
from worldos.model.wire import LeaseAsk

GAIN_FACTOR: Final = 2  # less than twice as useful is not worth a move


class Yielding(msgspec.Struct, frozen=True, kw_only=True):
    """A lease that may be taken back. ``number`` counts the leases of this node upwards."""

    lease: LeaseId
    need: Need
    takes: dict[ResourceId, int]
    guest: bool
    number: int


class Manner(NamedTuple):
    """What a grant's terms say beside what was asked: how far apart it is run, and what it costs."""

    isolation: str = ""
    price_uwos_hour: int = 0


class Waiting(msgspec.Struct, kw_only=True):
    """An ask that waits until ``until_ns`` for what it ``takes``."""

    holder: NodeId
    ask: LeaseAsk
    takes: dict[ResourceId, int]
    guest: bool
    number: int
    until_ns: int
    manner: Manner


def gives_way(lease: Yielding, need: Need, *, guest: bool) -> bool:
    """Tell whether this lease gives way to this ask."""
    if guest != lease.guest:
        return lease.guest
    held = lease.need
    if not need.yields:
        return need.priority >= held.priority
    if need.priority != held.priority:
        return need.priority > held.priority
    return need.gain_ms > GAIN_FACTOR * held.gain_ms


def asked_back(
    leases: Iterable[Yielding],
    need: Need,
    takes: Mapping[ResourceId, int],
    outlook: Mapping[ResourceId, int],
    *,
    guest: bool,
) -> list[LeaseId] | None:
    """Choose the leases to ask back so that ``takes`` fits into the ``outlook``; None if all of them were not enough."""
    missing = {resource: amount - outlook.get(resource, 0) for resource, amount in takes.items()}
    order = sorted(
        (lease for lease in leases if gives_way(lease, need, guest=guest)),
        key=lambda lease: (not lease.guest, lease.need.priority, lease.need.gain_ms, -lease.number),
    )
    chosen: list[Yielding] = []
    for lease in order:
        if not _short(missing):
            break
        if any(missing.get(resource, 0) > 0 for resource in lease.takes):
            chosen.append(lease)
            _less(missing, lease, 1)
    if _short(missing):
        return None
    for lease in reversed(list(chosen)):  # what was chosen before turned out large enough
        _less(missing, lease, -1)
        if _short(missing):
            _less(missing, lease, 1)
        else:
            chosen.remove(lease)
    return [lease.lease for lease in chosen]


def in_turn(waiting: Iterable[Waiting]) -> list[Waiting]:
    """Return the asks that wait, the most urgent first."""
    return sorted(waiting, key=lambda each: (each.guest, each.ask.need.yields, -each.ask.need.priority, each.number))


def _short(missing: Mapping[ResourceId, int]) -> bool:
    return any(amount > 0 for amount in missing.values())


def _less(missing: dict[ResourceId, int], lease: Yielding, sign: int) -> None:
    for resource, amount in lease.takes.items():
        if resource in missing:
            missing[resource] -= sign * amount
