"""Health: how well each segment is kept, and what a carer does about it.

A share is *here* (a depot that answers has it), *asleep* (only suspects hold it), *lost* (only lost devices held it, or the
one who said so lies), or a *debt*: never written. Debts are paid at once, for a writer was told that this is to come. What is
asleep is left alone: to repair a sleeper is the false repair that the second clock is there to avoid. What is lost is made
again: in homes as soon as the first share is, where the code is wide only when enough are gone, so that one reading of k
shares makes many. A repair makes everything that is missing, on devices that hold nothing of the segment; where there is no
such device it waits, for a second share on one device survives nothing more; and where devices came after the file was written
and one holds several of its shares, those move out to the new ones. The most endangered segment comes first.

A device that comes back brings its shares back: the index simply has two holders. The copy too many is trimmed much later,
when everything else is well. Every alive device knows the same order of carers and takes its turn.

Source: research of the project, section 4 ("Detection in two clocks"); Storj's SegmentHealth for the order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Final

import msgspec

from worldos.store.durability import survives
from worldos.store.erasure import Code
from worldos.store.limits import REPAIRS_MAX, TRIM_NS, TURN_NS
from worldos.store.rendezvous import order

WIDE_SPARE_MIN: Final = 6  # a code with so many spare shares is repaired lazily ...
LAZY_PARTS: Final = (5, 8)  # ... when this part of them is left: 9 of 12 at 4-of-12, 13 of 16 at 10-of-16


class Reason(StrEnum):
    """Why shares are made."""

    DEBT = "debt"
    LOST = "lost"
    SPREAD = "spread"  # a device holds two shares of the segment, and another one none


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What a carer knows of one segment: who holds which share, by the depots' answers, and who of these is there."""

    segment: bytes
    code: Code
    have: Mapping[int, tuple[str, ...]]  # who holds each share, or held it when last asked; without those that lie
    asleep: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    domains: Mapping[str, str] = {}
    gathered: frozenset[int] = frozenset()  # shares that the carer itself has fetched so far, to repair with
    unknown: int = 0  # sleeping devices that may hold shares of this segment, nobody here knows which

    def here(self, index: int) -> tuple[str, ...]:
        """Return who holds this share and can be asked for it now, in order."""
        away = self.asleep | self.lost
        return tuple(sorted(node for node in self.have.get(index, ()) if node not in away))

    def kept(self, index: int) -> tuple[str, ...]:
        """Return who holds this share and is not lost, in order."""
        return tuple(sorted(node for node in self.have.get(index, ()) if node not in self.lost))


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """Shares to be made of a segment: read k of ``sources``, write ``indices`` to as many of the ``targets``.

    Where fewer than k are here nothing can be made yet: ``indices`` is empty, and the carer fetches what there is and keeps
    it until devices that are never on together have all been met.
    """

    segment: bytes
    code: Code
    reason: Reason
    indices: tuple[int, ...]
    sources: tuple[tuple[int, tuple[str, ...]], ...]
    targets: tuple[str, ...]
    survives: int  # devices that may be lost now


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One segment as people are told of it."""

    here: int
    asleep: int
    lost: int
    debt: int
    survives: int

    @property
    def whole(self) -> bool:
        """Whether every share is kept by somebody."""
        return self.lost == 0 and self.debt == 0


def standing(health: Health) -> Standing:
    """Count the shares of a segment by what became of them."""
    here = asleep = lost = debt = 0
    for index in range(health.code.n):
        if health.here(index):
            here += 1
        elif health.kept(index):
            asleep += 1
        elif health.have.get(index):
            lost += 1
        else:
            debt += 1
    return Standing(here=here, asleep=asleep, lost=lost, debt=debt, survives=_survives(health))


def plan(healths: Iterable[Health], devices: Collection[str], *, repairs_max: int = REPAIRS_MAX) -> list[Repair]:
    """Return what to do now, the most endangered segment first. ``devices`` are those that are here and take shares."""
    repairs = [repair for health in healths if (repair := plan_one(health, devices)) is not None]
    repairs.sort(key=lambda repair: (repair.survives, repair.reason, len(repair.sources), repair.segment))
    return repairs[:repairs_max]


def plan_one(health: Health, devices: Collection[str]) -> Repair | None:
    """Return the repair that this segment needs and can have now, if any."""
    code = health.code
    missing = [index for index in range(code.n) if not health.kept(index)]
    debts = [index for index in missing if not health.have.get(index)]
    debts = debts[min(len(debts), health.unknown) :] if health.unknown else debts
    lost = [index for index in missing if health.have.get(index)]
    targets = _targets(health, devices)
    crowded = _crowded(health) if targets else []
    if not debts and not crowded and not _due(code, alive=code.n - len(missing), lost=len(lost)):
        return None
    sources = tuple((index, nodes) for index in range(code.n) if (nodes := health.here(index)))
    if code.n - len(missing) < code.k:
        return None  # gone, unless a lost device comes back
    if len({index for index, _ in sources} | health.gathered) < code.k:
        return _gather(health, sources)
    indices = tuple([*sorted(debts + lost), *crowded][: len(targets)])
    if not indices:
        return None
    return Repair(
        segment=health.segment,
        code=code,
        reason=Reason.LOST if lost else Reason.DEBT if debts else Reason.SPREAD,
        indices=indices,
        sources=sources,
        targets=targets,
        survives=_survives(health),
    )


def _gather(health: Health, sources: tuple[tuple[int, tuple[str, ...]], ...]) -> Repair | None:
    fresh = tuple((index, nodes) for index, nodes in sources if index not in health.gathered)
    if not fresh:
        return None
    return Repair(
        segment=health.segment,
        code=health.code,
        reason=Reason.LOST,
        indices=(),
        sources=fresh,
        targets=(),
        survives=_survives(health),
    )


def lazy_at(code: Code) -> int:
    """Return the number of shares alive at which lost ones are made again."""
    spare = code.n - code.k
    if spare < WIDE_SPARE_MIN:
        return code.n - 1
    part, whole = LAZY_PARTS
    return code.k + spare * part // whole


def surplus(health: Health, *, whole_since_ns: int, now_ns: int) -> list[tuple[int, str]]:
    """Return the copies too many, as (index, device that may drop it), of a segment that has been whole for long.

    ``whole_since_ns`` is when the carer found every share here; 0 if it does not now. Of the holders of a share the one
    stays that shares its place with the fewest others.
    """
    shares = [health.here(index) for index in range(health.code.n)]
    if not whole_since_ns or now_ns - whole_since_ns < TRIM_NS or not all(shares):
        return []
    crowd = Counter(health.domains.get(node, node) for nodes in shares for node in nodes)
    doubles: list[tuple[int, str]] = []
    for index, nodes in enumerate(shares):
        keeper = min(nodes, key=lambda node: (crowd[health.domains.get(node, node)], node))
        doubles += [(index, node) for node in nodes if node != keeper]
    return doubles


def is_turn(locator: bytes, me: str, here: Collection[str], *, waiting_ns: int) -> bool:
    """Tell whether ``me`` cares for this file now: the first alive device does, the next too when it waited, and so on."""
    carers = order(locator, {*here, me})
    return carers.index(me) * TURN_NS <= waiting_ns


def _due(code: Code, *, alive: int, lost: int) -> bool:
    return lost > 0 and alive <= lazy_at(code)


def _survives(health: Health) -> int:
    holders = {index: nodes for index in range(health.code.n) if (nodes := health.kept(index))}
    return survives(holders, health.code)


def _crowded(health: Health) -> list[int]:
    """Return the shares without a device of their own: all of whose holders count for another share of the segment."""
    taken: set[str] = set()
    crowded: list[int] = []
    for index in sorted(range(health.code.n), key=lambda index: (len(health.kept(index)), index)):
        kept = health.kept(index)
        own = next((node for node in kept if node not in taken), "")
        if own:
            taken.add(own)
        elif kept:
            crowded.append(index)
    return sorted(crowded)


def _targets(health: Health, devices: Collection[str]) -> tuple[str, ...]:
    """Return the devices that hold nothing of the segment, those in the emptiest places first."""
    holders = {node for index in range(health.code.n) for node in health.kept(index)}
    crowd = Counter(health.domains.get(node, node) for node in holders)
    free: list[str] = []
    left = {node for node in devices if node not in holders and node not in health.asleep and node not in health.lost}
    by_lot = {node: lot for lot, node in enumerate(order(health.segment, left))}
    while left:
        node = min(left, key=lambda node: (crowd[health.domains.get(node, node)], by_lot[node]))
        left.remove(node)
        free.append(node)
        crowd[health.domains.get(node, node)] += 1
    return tuple(free)
