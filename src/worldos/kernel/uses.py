"""What programs on this machine asked for: from a need to granted leases, kept until the program gives them back.

One need is asked of the best node directly. A gang takes two phases: every part is held, then every part is confirmed; if one
fails, all are released and the choice is made again without the node that failed. Offers are soft state, so a refusal by a
node is normal: it only means another look. A need for CPU that no single node can fill is split into single cores.
Where only what yields would do, its node is asked all the same: it says how long it needs to get that back (``waits``).
What the site does not have is looked for above it (``wanted``, ``found``): candidates that come back are asked like others.
Invariant: a use has all its leases or none, and a lease that arrives too late is given back at once.
Source: DESIGN.md sections 2 and 7; two-phase gangs after J. Gray, "Notes on Data Base Operating Systems", 1978.
"""

from __future__ import annotations

import msgspec

from worldos.kernel.cores import split_cores
from worldos.kernel.decisions import Chosen, decide
from worldos.kernel.effects import Effect, Notice, Send, Tell
from worldos.kernel.held import Held, HeldLeases
from worldos.kernel.match import Refusal, explain
from worldos.kernel.question import View, is_within
from worldos.model import limits
from worldos.model.ids import ClientId, LeaseId, NodeId, ResourceId, UseId
from worldos.model.isolation import Isolation, stricter
from worldos.model.local import LeaseAdded, LeaseLost, UseGranted, UseRefused
from worldos.model.need import LeaseTerms, Need
from worldos.model.offer import Offer
from worldos.model.realm import Candidate
from worldos.model.resource import Resource
from worldos.model.wire import (
    LeaseAsk,
    LeaseConfirm,
    LeaseConfirmed,
    LeaseGranted,
    LeaseRefused,
    LeaseRelease,
    LeaseWaits,
)


class Part(msgspec.Struct, kw_only=True):
    """One need of a use, while it is being asked for. ``terms`` is set once the node holds or granted it."""

    need: Need
    node: NodeId
    resources: tuple[ResourceId, ...]
    ask: int
    terms: LeaseTerms | None = None
    confirmed: bool = False


class Pending(msgspec.Struct, kw_only=True):
    """A use on its way. ``replaces`` names the lost lease that it stands in for, if any.

    ``far`` are candidates of other sites, found by ``looks`` so far; ``looking``: more are being looked for.
    """

    use: UseId
    client: ClientId
    needs: tuple[Need, ...]
    ttl_ns: int
    nonce: int
    asked_ns: int
    give_up_ns: int = 0
    replaces: LeaseId | None = None
    tries: int = 0
    deadline_ns: int = 0
    waiting: bool = False
    excluded: list[NodeId] = []
    parts: list[Part] = []
    last_refusal: str = ""
    looks: int = 0
    looking: bool = False
    far: dict[NodeId, Candidate] = {}
    far_refusal: str = ""
    grant: bytes = b""  # by right of which the program asks, where it has not all rights of this machine


class Uses(msgspec.Struct, kw_only=True):
    """All uses of this node's programs. ``asks`` and ``confirms`` find the pending use that an answer belongs to.

    ``due_ns``: ``tick`` is not due before this.
    """

    node: NodeId
    boot: int
    number: int = 0
    pending: dict[str, Pending] = {}
    asks: dict[int, str] = {}
    confirms: dict[LeaseId, str] = {}
    due_ns: int = limits.NEVER_NS
    held: HeldLeases
    path: str = ""  # of this site from the top; empty: unknown
    looks_further: bool = False  # there is a center that can be asked for more than this site has
    wanted: list[str] = []  # pending uses that somebody has to look further for
    wallet: dict[str, bytes] = {}  # grants of other accounts that this node holds
    made: list[Chosen] = []  # what was chosen since it was last put down (decisions.py)

    def ask(self, now_ns: int, pending: Pending, offers: dict[NodeId, Offer], view: View) -> list[Effect]:
        """Start a use: choose, and ask the chosen nodes."""
        key = _key(pending)
        if key in self.pending or (pending.replaces is None and self.held.has_use(pending.use)):
            return [_refuse(pending, "this use is known already", "give each use a name of its own")]
        if len(self.pending) >= limits.USES_PENDING_MAX:
            return [_refuse(pending, f"{limits.USES_PENDING_MAX} uses are waiting already", "try again later")]
        self.pending[key] = pending
        return self._choose(now_ns, pending, offers, view)

    def granted(self, now_ns: int, peer: NodeId, message: LeaseGranted) -> list[Effect]:
        """A node granted or holds a part; go on, or give back what came too late. Hearing it twice changes nothing."""
        pending = self.pending.get(self.asks.get(message.ask, ""))
        part = _part(pending, peer, message.ask)
        lease = message.terms.lease
        if self._is_ours(lease):
            return []
        if pending is None or part is None or part.terms is not None or not _is_answer(part, message.terms):
            return [Send(node=peer, message=LeaseRelease(lease=lease))]
        part.terms = message.terms
        if any(p.terms is None for p in pending.parts):
            return []
        if len(pending.parts) == 1:
            return self._finish(now_ns, pending)
        effects: list[Effect] = []
        self._wait(pending, now_ns + limits.ASK_TIMEOUT_NS)
        for each in pending.parts:
            assert each.terms is not None
            self.confirms[each.terms.lease] = _key(pending)
            effects.append(Send(node=each.node, message=LeaseConfirm(lease=each.terms.lease)))
        return effects

    def confirmed(self, now_ns: int, peer: NodeId, message: LeaseConfirmed) -> list[Effect]:
        """A part of a gang became a lease; when all have, the program gets them. Hearing it twice changes nothing."""
        pending = self.pending.get(self.confirms.get(message.lease, ""))
        part = _confirming(pending, peer, message.lease)
        if pending is None or part is None:
            return [] if self._is_ours(message.lease) else [Send(node=peer, message=LeaseRelease(lease=message.lease))]
        part.confirmed = True
        return self._finish(now_ns, pending) if all(p.confirmed for p in pending.parts) else []

    def refused(
        self, now_ns: int, peer: NodeId, message: LeaseRefused, offers: dict[NodeId, Offer], view: View
    ) -> list[Effect]:
        """A node said no: look again without it."""
        pending = self.pending.get(self.asks.get(message.ask, ""))
        if pending is None or _part(pending, peer, message.ask) is None:
            return []
        pending.last_refusal = message.reason
        return self._again(now_ns, pending, [peer], offers, view)

    def waits(self, now_ns: int, peer: NodeId, message: LeaseWaits) -> list[Effect]:
        """A node gets back what yields: wait for it as long as it says, within the bound of that."""
        pending = self.pending.get(self.asks.get(message.ask, ""))
        if pending is not None and _part(pending, peer, message.ask) is not None:
            most_ns = limits.LEASE_YIELD_GRACE_NS + limits.LEASE_YIELD_MARGIN_NS
            until_ns = now_ns + min(message.wait_ns, most_ns) + limits.ASK_TIMEOUT_NS
            self._wait(pending, max(pending.deadline_ns, until_ns))
        return []

    def part_gone(
        self, now_ns: int, peer: NodeId, lease: LeaseId, offers: dict[NodeId, Offer], view: View
    ) -> list[Effect]:
        """A part that was held or being confirmed is gone again: look again without that node."""
        pending = self.pending.get(self.confirms.get(lease, ""))
        if pending is None or _confirming(pending, peer, lease) is None:
            return []
        return self._again(now_ns, pending, [peer], offers, view)

    def found(
        self,
        now_ns: int,
        key: str,
        candidates: tuple[Candidate, ...],
        why: str,
        offers: dict[NodeId, Offer],
        view: View,
    ) -> list[Effect]:
        """What a look above the site came to: candidates, or none and why."""
        pending = self.pending.get(key)
        if pending is None or not pending.looking:
            return []
        pending.looking = False
        pending.far = {candidate.contact.node: candidate for candidate in candidates}
        pending.far_refusal = why
        return self._choose(now_ns, pending, offers, view)

    def node_lost(self, now_ns: int, node: NodeId, offers: dict[NodeId, Offer], view: View) -> list[Effect]:
        """A node that was being asked is silent or gone."""
        effects: list[Effect] = []
        for pending in [p for p in self.pending.values() if any(part.node == node for part in p.parts)]:
            effects.extend(self._again(now_ns, pending, [node], offers, view))
        return effects

    def end(self, client: ClientId, use: UseId) -> list[Effect]:
        """The program gives everything of this use back, granted or on its way."""
        effects: list[Effect] = []
        for pending in [p for p in self.pending.values() if p.use == use and p.client == client]:
            effects.extend(self._drop(pending))
        effects.extend(self.held.release_use(client, use))
        return effects

    def end_client(self, client: ClientId) -> list[Effect]:
        """The program ended: give everything back."""
        effects: list[Effect] = []
        for pending in [p for p in self.pending.values() if p.client == client]:
            effects.extend(self._drop(pending))
        effects.extend(self.held.release_client(client))
        return effects

    def stop_replacing(self, held: Held) -> list[Effect]:
        """A lease that was in doubt is good again; what took its place already stays."""
        held.replaced = False
        pending = self.pending.get(_key_for(held.use, held.terms.lease))
        return [] if pending is None else self._drop(pending)

    def tick(self, now_ns: int, offers: dict[NodeId, Offer], view: View) -> list[Effect]:
        """Pass over nodes that did not answer in time; look again for what was waiting."""
        effects: list[Effect] = []
        for pending in [p for p in self.pending.values() if p.deadline_ns <= now_ns]:
            if pending.waiting or pending.looking:
                pending.looking = False
                effects.extend(self._choose(now_ns, pending, offers, view))
                continue
            silent = [part.node for part in pending.parts if not (part.confirmed or _answered(pending, part))]
            pending.last_refusal = "it did not answer in time"
            effects.extend(self._again(now_ns, pending, silent, offers, view))
        self.due_ns = min((p.deadline_ns for p in self.pending.values()), default=limits.NEVER_NS)
        return effects

    def _wait(self, pending: Pending, deadline_ns: int) -> None:
        pending.deadline_ns = deadline_ns
        self.due_ns = min(self.due_ns, deadline_ns)

    def _is_ours(self, lease: LeaseId) -> bool:
        """Tell whether this node has a use for a lease: a program holds it, or a use on its way counts on it."""
        if self.held.is_held(lease):
            return True
        return any(p.terms is not None and p.terms.lease == lease for u in self.pending.values() for p in u.parts)

    def _choose(self, now_ns: int, pending: Pending, offers: dict[NodeId, Offer], view: View) -> list[Effect]:
        passed_over = frozenset(pending.excluded)
        view = msgspec.structs.replace(view, passed_over=passed_over, nonce=_nonce(pending))
        offers = self._in_reach(pending, offers)
        splits = pending.replaces is None
        needs, chosen, made = decide(pending.use, pending.needs, offers.values(), view, splits=splits)
        self.made.append(made)
        if isinstance(chosen, Refusal) and (roomier := _with_what_yields(offers)):
            needs, chosen, made = decide(pending.use, pending.needs, roomier.values(), view, splits=splits)
            self.made.append(made)
        if isinstance(chosen, Refusal):
            return self._no_choice(now_ns, pending, chosen)
        pending.waiting = False
        pending.tries += 1
        is_far = any(choice.node in pending.far for choice in chosen)
        self._wait(pending, now_ns + (limits.FAR_ASK_TIMEOUT_NS if is_far else limits.ASK_TIMEOUT_NS))
        pending.asked_ns = now_ns
        pending.parts = []
        effects: list[Effect] = []
        for need, choice in zip(needs, chosen, strict=True):
            self.number += 1
            ask = (self.boot << 32) + self.number
            self.asks[ask] = _key(pending)
            told = need.told()
            pending.parts.append(Part(need=told, node=choice.node, resources=choice.resources, ask=ask))
            message = LeaseAsk(
                ask=ask,
                use=pending.use,
                need=told,
                resources=choice.resources,
                ttl_ns=pending.ttl_ns,
                hold=len(needs) > 1,
                grant=pending.grant,
            )
            candidate = pending.far.get(choice.node)
            if candidate is not None:
                shown = pending.grant or self.wallet.get(candidate.contact.site, b"")
                message = msgspec.structs.replace(message, realm=candidate.realm, epoch=candidate.epoch, grant=shown)
            effects.append(Send(node=choice.node, message=message))
        return effects

    def _looks_again(self, pending: Pending) -> bool:
        """Tell whether to look above the site: once for all in one piece, then for what refused, or for single cores."""
        if not self.looks_further or pending.looks >= limits.LOOKS_MAX:
            return False
        return not pending.looks or bool(pending.far) or split_cores(pending.needs) is not None

    def sought(self, key: str) -> tuple[Need, ...]:
        """Return what to look for above the site for a use in ``wanted``; nothing for one that ended."""
        pending = self.pending.get(key)
        if pending is None:
            return ()
        needs = (split_cores(pending.needs) if pending.looks > 1 else None) or pending.needs
        return tuple(need.told() for need in needs)

    def _in_reach(self, pending: Pending, offers: dict[NodeId, Offer]) -> dict[NodeId, Offer]:
        """Return what may be chosen from: this site's offers, unless another realm was asked for, and what was found."""
        realm = pending.needs[0].realm
        if realm and not is_within(realm, self.path):
            offers = {}
        return (
            {**offers, **{node: candidate.offer for node, candidate in pending.far.items()}} if pending.far else offers
        )

    def _no_choice(self, now_ns: int, pending: Pending, refusal: Refusal) -> list[Effect]:
        if self._looks_again(pending):
            pending.looks += 1
            pending.looking = True
            pending.waiting = False
            self._wait(pending, now_ns + limits.BID_WAIT_NS + limits.ASK_TIMEOUT_NS)
            self.wanted.append(_key(pending))
            return []
        if pending.replaces is not None and now_ns < pending.give_up_ns:
            pending.waiting = True
            pending.excluded = []
            pending.tries = 0
            pending.looks = 0
            pending.far = {}
            self._wait(pending, now_ns + limits.REPLACE_RETRY_NS)
            return []
        del self.pending[_key(pending)]
        if pending.replaces is not None:
            return self._give_up(pending, pending.replaces)
        reason = explain_gang(pending.needs, refusal)
        realm = pending.needs[0].realm
        if realm and not pending.far and not is_within(realm, self.path):
            reason = f"this node is not in {realm}, and nothing there was found"
        if pending.last_refusal:
            reason += f"; {len(pending.excluded)} asked and refused: {pending.last_refusal}"
        if pending.looks and pending.far_refusal:
            reason += f"; further away: {pending.far_refusal}"
        return [_refuse(pending, reason, "see what is free with: wos resources")]

    def _again(
        self, now_ns: int, pending: Pending, without: list[NodeId], offers: dict[NodeId, Offer], view: View
    ) -> list[Effect]:
        effects = self._give_back(pending)
        pending.excluded = sorted({*pending.excluded, *without})
        if pending.tries >= limits.USE_TRIES_MAX and pending.replaces is None:
            del self.pending[_key(pending)]
            reason = f"{pending.tries} tries failed, the last because a node said: {pending.last_refusal}"
            return [*effects, _refuse(pending, reason, "see what is free with: wos resources")]
        return [*effects, *self._choose(now_ns, pending, offers, view)]

    def _finish(self, now_ns: int, pending: Pending) -> list[Effect]:
        del self.pending[_key(pending)]
        granted: list[LeaseTerms] = []
        for part in pending.parts:
            assert part.terms is not None
            granted.append(part.terms)
            self.asks.pop(part.ask, None)
            self.confirms.pop(part.terms.lease, None)
            self.held.add(pending.asked_ns, part.terms, pending.use, pending.client, pending.grant)
        waited_us = (now_ns - pending.asked_ns) // 1000
        fields: dict[str, str | int] = {"use": pending.use, "leases": len(granted), "waited_us": waited_us}
        notice = Notice(name="use granted", fields=fields)
        if pending.replaces is not None:
            added = [LeaseAdded(use=pending.use, terms=terms) for terms in granted]
            return [*(Tell(client=pending.client, message=message) for message in added), notice]
        return [Tell(client=pending.client, message=UseGranted(use=pending.use, leases=tuple(granted))), notice]

    def _give_up(self, pending: Pending, lease: LeaseId) -> list[Effect]:
        """Nothing takes a lease's place. One that was only doubted is still held, and may be replaced another time."""
        held = self.held.leases.get(lease)
        if held is not None:
            held.replaced = False
            return []
        lost = LeaseLost(use=pending.use, lease=lease, why="no node could take its place", replacing=False)
        return [Tell(client=pending.client, message=lost)]

    def _drop(self, pending: Pending) -> list[Effect]:
        del self.pending[_key(pending)]
        return self._give_back(pending)

    def _give_back(self, pending: Pending) -> list[Effect]:
        effects: list[Effect] = []
        for part in pending.parts:
            self.asks.pop(part.ask, None)
            if part.terms is not None:
                self.confirms.pop(part.terms.lease, None)
                effects.append(Send(node=part.node, message=LeaseRelease(lease=part.terms.lease)))
        pending.parts = []
        return effects


def explain_gang(needs: tuple[Need, ...], refusal: Refusal) -> str:
    """Say a refusal in a sentence, naming the part of a gang that no node can take."""
    if refusal.part < 0:
        return f"each of the {len(needs)} parts could be had alone, but not all at once"
    text = explain(needs[refusal.part], refusal)
    return text if len(needs) == 1 else f"part {refusal.part + 1} of {len(needs)}: {text}"


def _with_what_yields(offers: dict[NodeId, Offer]) -> dict[NodeId, Offer]:
    """Return the offers as they would be with all that yields given back; nothing where nothing does."""
    if not any(resource.yielding for offer in offers.values() for resource in offer.resources):
        return {}
    return {
        node: msgspec.structs.replace(offer, resources=tuple(map(_roomier, offer.resources)))
        for node, offer in offers.items()
    }


def _roomier(resource: Resource) -> Resource:
    free = min(resource.capacity, resource.free + max(0, resource.yielding))
    return msgspec.structs.replace(resource, free=free) if resource.yielding else resource


def _nonce(pending: Pending) -> bytes:
    """Return what ties of this choice are drawn with: the nonce that the use came with, and which try this is."""
    nonce = pending.nonce.to_bytes(8, "big")
    return nonce + bytes([min(pending.tries, 255)]) if pending.tries else nonce


def _key(pending: Pending) -> str:
    return _key_for(pending.use, pending.replaces)


def _key_for(use: UseId, replaces: LeaseId | None) -> str:
    return use if replaces is None else f"{use} for {replaces}"


def _part(pending: Pending | None, peer: NodeId, ask: int) -> Part | None:
    if pending is None:
        return None
    return next((part for part in pending.parts if part.ask == ask and part.node == peer), None)


def _confirming(pending: Pending | None, peer: NodeId, lease: LeaseId) -> Part | None:
    if pending is None:
        return None
    parts = (part for part in pending.parts if part.node == peer and part.terms is not None)
    return next((part for part in parts if part.terms is not None and part.terms.lease == lease), None)


def _is_answer(part: Part, terms: LeaseTerms) -> bool:
    """Tell whether a node granted what it was asked for: its word is checked like any other."""
    asked = (part.node, part.need, part.resources)
    if stricter(terms.isolation, part.need.isolation) != (terms.isolation or Isolation.PROCESS):
        return False  # less kept apart than was asked for
    return (terms.node, terms.need, terms.resources) == asked and 0 < terms.ttl_ns <= limits.LEASE_TTL_MAX_NS


def _answered(pending: Pending, part: Part) -> bool:
    """In the first phase a part has answered when it is held; in the second only a confirmation counts."""
    holding = any(each.terms is None for each in pending.parts)
    return holding and part.terms is not None


def _refuse(pending: Pending, reason: str, hint: str) -> Tell:
    if pending.replaces is not None:
        lost = LeaseLost(use=pending.use, lease=pending.replaces, why=reason, replacing=False)
        return Tell(client=pending.client, message=lost)
    return Tell(client=pending.client, message=UseRefused(use=pending.use, reason=reason, hint=hint))
