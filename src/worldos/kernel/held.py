"""Leases that programs on this machine hold: renewed while the program lives, and given up when their node is lost.

Time is the holder's own: a lease is good until ttl after the moment of the last ask that its node answered. A node that is
silent makes its leases *doubted* (calls are tried elsewhere too); a node that is dead, or says so itself, ends them.
Invariant: a lease that is past its time here is never used, even if its node would still honour it.
Source: C. Gray and D. Cheriton, "Leases", SOSP 1989.
"""

from __future__ import annotations

import msgspec

from worldos.kernel.effects import Effect, Notice, Send, Tell
from worldos.model import limits
from worldos.model.ids import ClientId, LeaseId, NodeId, UseId
from worldos.model.local import LeaseDoubted, LeaseLost, LeaseWanted
from worldos.model.need import LeaseTerms
from worldos.model.resource import Kind
from worldos.model.wire import LeaseRelease, LeaseRenew, LeaseRenewed, LeaseYielding


class Held(msgspec.Struct, kw_only=True):
    """One lease in use. ``renewals`` maps the number of each unanswered renewal to when it was sent."""

    terms: LeaseTerms
    use: UseId
    client: ClientId
    good_until_ns: int
    renew_ns: int
    renewals: dict[int, int] = {}
    number: int = 0
    doubted: bool = False
    replaced: bool = False
    wanted: bool = False  # somebody needs it more: ``good_until_ns`` moves no further
    grant: bytes = b""  # what the program's right to it is, where it has not all rights of this machine


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """A lease that ended under a program, or is in doubt: whoever routes looks for another where that makes sense."""

    held: Held
    why: str


class HeldLeases(msgspec.Struct, kw_only=True):
    """All leases that programs on this machine hold. ``due_ns``: ``tick`` is not due before this."""

    leases: dict[LeaseId, Held] = {}
    due_ns: int = limits.NEVER_NS

    def add(self, asked_ns: int, terms: LeaseTerms, use: UseId, client: ClientId, grant: bytes = b"") -> None:
        """Begin to keep a lease that was asked for at ``asked_ns``."""
        renew_ns = asked_ns + terms.ttl_ns // limits.LEASE_RENEW_PART
        self.leases[terms.lease] = Held(
            terms=terms, use=use, client=client, good_until_ns=asked_ns + terms.ttl_ns, renew_ns=renew_ns, grant=grant
        )
        self.due_ns = min(self.due_ns, renew_ns)

    def is_held(self, lease: LeaseId) -> bool:
        """Tell whether a program holds this lease."""
        return lease in self.leases

    def has_use(self, use: UseId) -> bool:
        """Tell whether any lease of this use is held."""
        return any(held.use == use for held in self.leases.values())

    def of(self, client: ClientId, lease: LeaseId) -> Held | None:
        """Return the lease if this program holds it."""
        held = self.leases.get(lease)
        return held if held is not None and held.client == client else None

    def nodes(self) -> list[NodeId]:
        """Return the nodes whose leases are in use: they are watched more closely."""
        return sorted({held.terms.node for held in self.leases.values()})

    def renewed(self, peer: NodeId, message: LeaseRenewed) -> None:
        """Count the lease as good from when the answered renewal was *sent*."""
        held = self.leases.get(message.lease)
        if held is None or held.terms.node != peer:
            return
        sent_ns = held.renewals.get(message.number)
        if sent_ns is None or held.wanted:
            return
        held.good_until_ns = max(held.good_until_ns, sent_ns + held.terms.ttl_ns)
        held.renewals = {number: ns for number, ns in held.renewals.items() if number > message.number}

    def yield_by(self, now_ns: int, peer: NodeId, lease: LeaseId, grace_ns: int) -> list[Effect]:
        """The node wants a lease back that yields: use it no longer than the grace, and tell the program."""
        held = self.leases.get(lease)
        if held is None or held.terms.node != peer or not held.terms.need.yields:
            return []
        heard: list[Effect] = [Send(node=peer, message=LeaseYielding(lease=lease))]
        if held.wanted:
            return heard
        held.wanted = True
        held.good_until_ns = min(held.good_until_ns, now_ns + grace_ns)
        self.due_ns = min(self.due_ns, held.good_until_ns)
        return [*heard, tell_wanted(held, grace_ns)]

    def release_use(self, client: ClientId, use: UseId) -> list[Effect]:
        """Give back every lease of a use."""
        return self._release([h for h in self.leases.values() if h.use == use and h.client == client])

    def release_client(self, client: ClientId) -> list[Effect]:
        """Give back every lease of a program."""
        return self._release([h for h in self.leases.values() if h.client == client])

    def gone(self, peer: NodeId, lease: LeaseId, why: str) -> list[Lost]:
        """The node says that the lease has ended."""
        held = self.leases.get(lease)
        if held is None or held.terms.node != peer:
            return []
        del self.leases[lease]
        return [Lost(held=held, why=why)]

    def node_dead(self, node: NodeId, why: str) -> list[Lost]:
        """The node is dead, or lives a new life that knows nothing of these leases."""
        lost = [held for held in self.leases.values() if held.terms.node == node]
        for held in lost:
            del self.leases[held.terms.lease]
        return [Lost(held=held, why=why) for held in lost]

    def doubt(self, node: NodeId, *, doubted: bool) -> list[Held]:
        """The node fell silent, or is heard again; return the leases whose standing changed."""
        changed = [h for h in self.leases.values() if h.terms.node == node and h.doubted is not doubted]
        for held in changed:
            held.doubted = doubted
        return changed

    def tick(self, now_ns: int) -> tuple[list[Effect], list[Lost]]:
        """Renew what is due; end what was not renewed in time."""
        effects: list[Effect] = []
        lost: list[Lost] = []
        for held in [h for h in self.leases.values() if min(h.renew_ns, h.good_until_ns) <= now_ns]:
            if held.good_until_ns <= now_ns:
                del self.leases[held.terms.lease]
                why = "somebody needed it more" if held.wanted else "its node did not renew it in time"
                lost.append(Lost(held=held, why=why))
                effects.append(Send(node=held.terms.node, message=LeaseRelease(lease=held.terms.lease)))
                continue
            held.number += 1
            held.renewals[held.number] = now_ns
            held.renew_ns = now_ns + held.terms.ttl_ns // limits.LEASE_RENEW_PART
            effects.append(Send(node=held.terms.node, message=LeaseRenew(lease=held.terms.lease, number=held.number)))
        self.due_ns = min((min(h.renew_ns, h.good_until_ns) for h in self.leases.values()), default=limits.NEVER_NS)
        return effects, lost

    def _release(self, gone: list[Held]) -> list[Effect]:
        effects: list[Effect] = []
        for held in gone:
            del self.leases[held.terms.lease]
            effects.append(Send(node=held.terms.node, message=LeaseRelease(lease=held.terms.lease)))
        return effects


def can_move(held: Held) -> bool:
    """Tell whether another lease can take this one's place: not where it holds state (bytes in memory or on disk).

    Who holds what yields looks for more by itself, if it is still worth it.
    """
    return not held.terms.need.yields and held.terms.need.kind in {Kind.CPU, Kind.GPU}


def tell_lost(lost: Lost, *, replacing: bool) -> list[Effect]:
    """Let the program know that a lease ended."""
    held = lost.held
    message = LeaseLost(use=held.use, lease=held.terms.lease, why=lost.why, replacing=replacing)
    fields: dict[str, str | int] = {"lease": held.terms.lease, "node": held.terms.node, "why": lost.why}
    return [Tell(client=held.client, message=message), Notice(name="lease lost", fields=fields)]


def tell_wanted(held: Held, grace_ns: int) -> Tell:
    """Let the program know that somebody needs this lease more."""
    return Tell(client=held.client, message=LeaseWanted(use=held.use, lease=held.terms.lease, grace_ns=grace_ns))


def tell_doubted(held: Held) -> Tell:
    """Let the program know that a lease's node is silent, or heard again."""
    message = LeaseDoubted(use=held.use, lease=held.terms.lease, doubted=held.doubted)
    return Tell(client=held.client, message=message)
