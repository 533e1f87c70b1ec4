"""Leases that this node has granted: the right to some of its capacity for a while, and never after it.

The node is the only authority over its own capacity. A lease that is not renewed returns by itself, so nobody has to notice
that a holder died. The holder counts from the moment it asked, by its own clock; the node keeps the lease 1/8 longer by its
own; so a holder always stops first, whatever the clocks show (rates being equal to within 1/8).
An ask that does not fit may take back what yields (yielding.py): it waits while the holders end what they do.
Invariant: for each resource, the sum of what its leases take is what is lent, and never above its capacity.
Source: C. Gray and D. Cheriton, "Leases", SOSP 1989; DESIGN.md sections 2 and 6.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Final

import msgspec

from worldos.errors import BadRequest
from worldos.kernel.effects import CloseLane, Effect, Notice, OpenLane, Send
from worldos.kernel.question import check_need
from worldos.kernel.yielding import Manner, Waiting, Yielding, asked_back, in_turn
from worldos.model import limits
from worldos.model.ids import LeaseId, NodeId, ResourceId, UseId, lease_id
from worldos.model.need import LeaseTerms, Need
from worldos.model.resource import Kind, Resource
from worldos.model.wire import (
    LeaseAsk,
    LeaseConfirm,
    LeaseConfirmed,
    LeaseGone,
    LeaseGranted,
    LeaseRefused,
    LeaseRelease,
    LeaseRenew,
    LeaseRenewed,
    LeaseWaits,
    LeaseYield,
    LeaseYielding,
)

EXPIRIES_IDLE: Final = 64


class Lease(msgspec.Struct, kw_only=True):
    """One lease, or one hold of a gang (``held``), with what it takes from which resource."""

    terms: LeaseTerms
    holder: NodeId
    use: UseId
    ask: int
    takes: dict[ResourceId, int]
    expires_ns: int
    held: bool
    number: int = 0  # counts the leases of this life
    guest: bool = False  # the holder is of another account
    wanted: bool = False  # asked back for who needs it more: it is extended no more
    yielding: bool = False  # ... and its holder has heard that


Late = tuple[NodeId, LeaseAsk, LeaseGranted | LeaseRefused]


class Leases(msgspec.Struct, kw_only=True):
    """The table of a node's own leases. ``capacity`` and ``available`` are per resource, in base units."""

    node: NodeId
    boot: int
    number: int = 0
    drained: bool = False
    kinds: dict[ResourceId, str] = {}
    capacity: dict[ResourceId, int] = {}
    available: dict[ResourceId, int] = {}
    lent: dict[ResourceId, int] = {}
    leases: dict[LeaseId, Lease] = {}
    answered: dict[str, LeaseId] = {}
    expiries: list[tuple[int, LeaseId]] = []
    waiting: list[Waiting] = []
    freed: bool = False  # something came back, or its time is over, while asks wait
    late: list[Late] = []  # answers that were given after a wait, since they were last put down

    def offer_capacity(self, resources: list[Resource], available: dict[ResourceId, int]) -> None:
        """Take over what may be leased now: ``available`` is what the machine itself has left, in base units."""
        self.kinds = {r.id: r.kind for r in resources}
        self.capacity = {r.id: r.capacity for r in resources}
        self.available = dict(available)

    def free(self, resource: ResourceId) -> int:
        """Return what may still be leased of a resource, in base units."""
        return max(0, self._left(resource) - sum(each.takes.get(resource, 0) for each in self.waiting))

    def yielding(self, resource: ResourceId) -> int:
        """Return what is lent of a resource and would be asked back for who needs it more, in base units."""
        return sum(lease.takes.get(resource, 0) for lease in self.leases.values() if _yields(lease))

    def ask(
        self,
        now_ns: int,
        holder: NodeId,
        ask: LeaseAsk,
        *,
        guest: bool = False,
        isolation: str = "",
        price_uwos_hour: int = 0,
    ) -> list[Effect]:
        """Grant, hold, refuse, or wait for what yields. The same ask twice gets the same answer twice.

        ``isolation``: how far what runs behind the lease is kept apart from this machine; it stands in the terms, as its price.
        """
        key = f"{holder}:{ask.ask}"
        known = self.leases.get(self.answered.get(key, LeaseId("")))
        if known is not None:
            return [Send(node=holder, message=LeaseGranted(ask=ask.ask, terms=known.terms))]
        try:
            check_need(ask.need)
        except BadRequest as error:
            return [Send(node=holder, message=LeaseRefused(ask=ask.ask, reason=str(error), free=0))]
        waits = self._waiting(holder, ask.ask)
        if waits is not None:
            return [Send(node=holder, message=LeaseWaits(ask=ask.ask, wait_ns=max(0, waits.until_ns - now_ns)))]
        takes = self._takes(ask.need, ask.resources)
        manner = Manner(isolation, price_uwos_hour)
        refusal = self._refusal(ask, takes)
        if refusal is not None:
            waits_for = self._ask_back(now_ns, holder, ask, takes, guest=guest, manner=manner)
            return waits_for or [Send(node=holder, message=refusal)]
        return self._granted(now_ns, holder, ask, takes, guest=guest, manner=manner)

    def _granted(
        self, now_ns: int, holder: NodeId, ask: LeaseAsk, takes: dict[ResourceId, int], *, guest: bool, manner: Manner
    ) -> list[Effect]:
        lease = self._grant(now_ns, holder, ask, takes, manner)
        lease.guest = guest
        self.answered[f"{holder}:{ask.ask}"] = lease.terms.lease
        effects: list[Effect] = [] if lease.held else [self._open(lease)]
        effects.append(Send(node=holder, message=LeaseGranted(ask=ask.ask, terms=lease.terms)))
        return effects

    def confirm(self, now_ns: int, holder: NodeId, message: LeaseConfirm) -> list[Effect]:
        """Turn a hold into a lease."""
        lease = self._of(holder, message.lease)
        if lease is None:
            return [self._unknown(holder, message.lease)]
        effects: list[Effect] = []
        if lease.held:
            lease.held = False
            self._extend(now_ns, lease)
            effects.append(self._open(lease))
        effects.append(Send(node=holder, message=LeaseConfirmed(lease=message.lease)))
        return effects

    def renew(self, now_ns: int, holder: NodeId, message: LeaseRenew) -> list[Effect]:
        """Keep a lease for another ttl."""
        lease = self._of(holder, message.lease)
        if lease is None or lease.held:
            return [self._unknown(holder, message.lease)]
        if lease.wanted:
            return [self._yield(lease)]
        self._extend(now_ns, lease)
        return [Send(node=holder, message=LeaseRenewed(lease=message.lease, number=message.number))]

    def release(self, holder: NodeId, message: LeaseRelease) -> list[Effect]:
        """Take back what the holder gives back. Unknown ones are gone already: nothing to say."""
        lease = self._of(holder, message.lease)
        return [] if lease is None else self._end(lease, "released")

    def fail(self, lease: LeaseId, why: str) -> list[Effect]:
        """End a lease from this side (its workers cannot be kept up, its resource vanished), and say so to its holder."""
        entry = self.leases.get(lease)
        if entry is None:
            return []
        return [*self._end(entry, why), Send(node=entry.holder, message=LeaseGone(lease=lease, why=why))]

    def drop_holder(self, holder: NodeId, why: str) -> list[Effect]:
        """End all leases of a holder that lives no more (a new life of its node, or a revoked device)."""
        effects: list[Effect] = []
        self.waiting = [each for each in self.waiting if each.holder != holder]
        for lease in [x for x in self.leases.values() if x.holder == holder]:
            effects.extend(self._end(lease, why))
        return effects

    def expire(self, now_ns: int) -> list[Effect]:
        """Take back what nobody renewed."""
        effects: list[Effect] = []
        while self.expiries and self.expiries[0][0] <= now_ns:
            _, name = heappop(self.expiries)
            self.freed = bool(self.waiting)
            lease = self.leases.get(name)
            if lease is None:
                continue
            if lease.expires_ns > now_ns:
                heappush(self.expiries, (lease.expires_ns, name))
                continue
            effects.extend(self._end(lease, "asked back" if lease.wanted else "expired"))
            why = "somebody needed it more" if lease.wanted else "it was not renewed in time"
            effects.append(Send(node=lease.holder, message=LeaseGone(lease=name, why=why)))
        return effects

    def settle(self, now_ns: int) -> list[Effect]:
        """Grant what fits now to the asks that wait, the most urgent first; refuse those that waited long enough."""
        self.freed = False
        effects: list[Effect] = []
        for each in in_turn(self.waiting):
            self.waiting.remove(each)
            refusal = self._refusal(each.ask, each.takes)
            if refusal is None:
                answer = self._granted(now_ns, each.holder, each.ask, each.takes, guest=each.guest, manner=each.manner)
            elif each.until_ns <= now_ns or not self._is_short_only(each):
                answer = [Send(node=each.holder, message=refusal)]
            else:
                self.waiting.append(each)
                continue
            effects.extend(answer)
            said = answer[-1]
            assert isinstance(said, Send)
            assert isinstance(said.message, LeaseGranted | LeaseRefused)
            self.late.append((each.holder, each.ask, said.message))
        return effects

    def _is_short_only(self, each: Waiting) -> bool:
        """Tell whether an ask could still be granted when more comes back: the node is open, the resource is there."""
        return not self.drained and all(self.capacity.get(r, 0) >= amount for r, amount in each.takes.items())

    def _waiting(self, holder: NodeId, ask: int) -> Waiting | None:
        return next((each for each in self.waiting if (each.holder, each.ask.ask) == (holder, ask)), None)

    def _ask_back(
        self, now_ns: int, holder: NodeId, ask: LeaseAsk, takes: dict[ResourceId, int], *, guest: bool, manner: Manner
    ) -> list[Effect]:
        """Let an ask that does not fit wait for what yields; nothing where even that would not do."""
        waits = Waiting(
            holder=holder,
            ask=ask,
            takes=takes,
            guest=guest,
            manner=manner,
            number=self.number,
            until_ns=now_ns + limits.LEASE_YIELD_GRACE_NS + limits.LEASE_YIELD_MARGIN_NS,
        )
        if self._shape_refusal(ask) is not None or not self._is_short_only(waits):
            return []
        if len(self.waiting) >= limits.LEASES_WAITING_MAX or min(takes.values()) <= 0:
            return []
        candidates = [
            Yielding(lease=name, need=lease.terms.need, takes=lease.takes, guest=lease.guest, number=lease.number)
            for name, lease in self.leases.items()
            if _yields(lease)
        ]
        outlook = {resource: self._outlook(resource) for resource in takes}
        chosen = asked_back(candidates, ask.need, takes, outlook, guest=guest)
        if chosen is None:
            return []
        self.waiting.append(waits)
        heappush(self.expiries, (waits.until_ns, LeaseId("")))
        effects: list[Effect] = []
        for name in chosen:
            lease = self.leases[name]
            lease.wanted = True
            effects.append(self._yield(lease))
            effects.append(Notice(name="lease asked back", fields={"lease": name, "for": holder}))
        wait_ns = limits.LEASE_YIELD_GRACE_NS + limits.LEASE_YIELD_MARGIN_NS
        return [*effects, Send(node=holder, message=LeaseWaits(ask=ask.ask, wait_ns=wait_ns))]

    def yields(self, now_ns: int, holder: NodeId, message: LeaseYielding) -> list[Effect]:
        """A holder has heard that its lease is wanted back: from now on its time is the grace, by both clocks."""
        lease = self._of(holder, message.lease)
        if lease is not None and lease.wanted and not lease.yielding:
            lease.yielding = True
            grace_ns = limits.LEASE_YIELD_GRACE_NS
            lease.expires_ns = min(lease.expires_ns, now_ns + grace_ns + grace_ns // limits.LEASE_GRACE_PART)
            heappush(self.expiries, (lease.expires_ns, message.lease))
        return []

    @staticmethod
    def _yield(lease: Lease) -> Send:
        message = LeaseYield(lease=lease.terms.lease, grace_ns=limits.LEASE_YIELD_GRACE_NS)
        return Send(node=lease.holder, message=message)

    def _left(self, resource: ResourceId) -> int:
        capacity = self.capacity.get(resource, 0)
        return min(capacity - self.lent.get(resource, 0), self.available.get(resource, capacity))

    def _outlook(self, resource: ResourceId) -> int:
        """Return what is free of a resource when all that was asked back has come, and all that waits has its own."""
        coming = sum(lease.takes.get(resource, 0) for lease in self.leases.values() if lease.wanted)
        return self._left(resource) + coming - sum(each.takes.get(resource, 0) for each in self.waiting)

    def is_live(self, lease: LeaseId, holder: NodeId) -> bool:
        """Tell whether ``holder`` may use this lease now: asked at the door of every lane."""
        entry = self.leases.get(lease)
        return entry is not None and entry.holder == holder and not entry.held

    def _takes(self, need: Need, resources: tuple[ResourceId, ...]) -> dict[ResourceId, int]:
        """Say what a lease takes from which resource; several resources (whole GPUs) share the amount evenly."""
        takes = dict.fromkeys(resources, need.amount // max(1, len(resources)))
        if need.memory_bytes:
            memories = (r for r, kind in sorted(self.kinds.items()) if kind == Kind.MEMORY)
            memory = max(memories, key=self.free, default=ResourceId("no memory"))
            takes[memory] = takes.get(memory, 0) + need.memory_bytes
        return takes

    def _refusal(self, ask: LeaseAsk, takes: dict[ResourceId, int]) -> LeaseRefused | None:
        shape = self._shape_refusal(ask)
        if shape is not None:
            return shape
        free = min((self.free(resource) for resource in ask.resources), default=0)
        for resource, amount in takes.items():
            if not 0 < amount <= self.free(resource):
                kind = self.kinds.get(resource, "memory")
                return LeaseRefused(ask=ask.ask, reason=f"not enough {kind} is free any more", free=free)
        return None

    def _shape_refusal(self, ask: LeaseAsk) -> LeaseRefused | None:
        """Say what is wrong with an ask, however much is free."""
        free = min((self.free(resource) for resource in ask.resources), default=0)
        if self.drained:
            return LeaseRefused(ask=ask.ask, reason="the node is in maintenance", free=0)
        if len(self.leases) >= limits.LEASES_PER_NODE_MAX:
            return LeaseRefused(
                ask=ask.ask, reason=f"{limits.LEASES_PER_NODE_MAX} leases are the most a node grants", free=0
            )
        if not ask.resources or any(self.kinds.get(resource) != ask.need.kind for resource in ask.resources):
            return LeaseRefused(ask=ask.ask, reason=f"there is no such {ask.need.kind} here", free=0)
        if len(set(ask.resources)) < len(ask.resources) or ask.need.amount % len(ask.resources):
            return LeaseRefused(
                ask=ask.ask, reason="several resources share an amount evenly, each named once", free=free
            )
        return None

    def _grant(self, now_ns: int, holder: NodeId, ask: LeaseAsk, takes: dict[ResourceId, int], manner: Manner) -> Lease:
        self.number += 1
        ttl_ns = min(max(ask.ttl_ns, limits.LEASE_TTL_MIN_NS), limits.LEASE_TTL_MAX_NS)
        terms = LeaseTerms(
            lease=lease_id(self.node, self.boot, self.number),
            node=self.node,
            boot=self.boot,
            need=ask.need,
            resources=ask.resources,
            ttl_ns=ttl_ns,
            isolation=manner.isolation,
            price_uwos_hour=manner.price_uwos_hour,
        )
        lease = Lease(terms=terms, holder=holder, use=ask.use, ask=ask.ask, takes=takes, expires_ns=0, held=ask.hold)
        lease.number = self.number
        self.leases[terms.lease] = lease
        for resource, amount in takes.items():
            self.lent[resource] = self.lent.get(resource, 0) + amount
            assert self.lent[resource] <= self.capacity[resource], "more lent than there is"
        self._extend(now_ns, lease)
        return lease

    def _extend(self, now_ns: int, lease: Lease) -> None:
        """Move the expiry. The heap keeps one entry a lease, at or before its expiry: ``expire`` pushes it on."""
        ttl_ns = limits.GANG_HOLD_NS if lease.held else lease.terms.ttl_ns
        is_new = lease.expires_ns == 0
        expires_ns = now_ns + ttl_ns + ttl_ns // limits.LEASE_GRACE_PART
        lease.expires_ns = max(lease.expires_ns, expires_ns)
        if is_new:
            heappush(self.expiries, (expires_ns, lease.terms.lease))

    def _end(self, lease: Lease, why: str) -> list[Effect]:
        del self.leases[lease.terms.lease]
        self.freed = bool(self.waiting)
        if len(self.expiries) > 2 * len(self.leases) + EXPIRIES_IDLE:  # entries of leases that were given back early
            until = [(each.until_ns, LeaseId("")) for each in self.waiting]
            self.expiries = sorted([*((each.expires_ns, name) for name, each in self.leases.items()), *until])
        self.answered.pop(f"{lease.holder}:{lease.ask}", None)
        for resource, amount in lease.takes.items():
            self.lent[resource] -= amount
            assert self.lent[resource] >= 0, "more came back than was lent"
        if lease.held:
            return []
        fields: dict[str, str | int] = {"lease": lease.terms.lease, "holder": lease.holder, "why": why}
        return [CloseLane(lease=lease.terms.lease, why=why), Notice(name="lease ended", fields=fields)]

    def _open(self, lease: Lease) -> OpenLane:
        return OpenLane(holder=lease.holder, terms=lease.terms)

    def _of(self, holder: NodeId, lease: LeaseId) -> Lease | None:
        entry = self.leases.get(lease)
        return entry if entry is not None and entry.holder == holder else None

    def _unknown(self, holder: NodeId, lease: LeaseId) -> Send:
        return Send(node=holder, message=LeaseGone(lease=lease, why="this node does not know it (any more)"))


def _yields(lease: Lease) -> bool:
    return bool(lease.terms.need.yields) and not lease.wanted and not lease.held
