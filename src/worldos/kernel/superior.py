"""Superiors: with which of its allowed parents a realm is registered; kept at the realm's primary.

One parent is active, the others are measured and wait. Another one is taken when it was clearly better for a while, or at once
when the active one is lost; going back and forth takes longer each time, so neither jitter nor a flapping link makes a realm
wander. A parent is asked through its primary, then through each of its council that is linked; a refusal may say where to ask
instead. The old parent is left to forget this realm. What happens is noted by the methods named for it and acted upon by
``tick``, which is due at once then. Invariants: at most one registration is under way; a center of an older epoch than was seen
of that parent, or one that is itself below this realm, is no superior. Source: DESIGN.md section 6; damping after RFC 2439.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from worldos.kernel.effects import Effect, Notice, Send
from worldos.kernel.parents import Parent, Way
from worldos.kernel.summary import differs
from worldos.model import limits
from worldos.model.ids import NodeId
from worldos.model.realm import (
    Center,
    Contact,
    Epoch,
    RealmId,
    Register,
    Registered,
    RegisterRefused,
    SummaryTold,
    rank,
)

NONE = RealmId("")
WANTED_PER_PARENT = 2
RTT_US_UNKNOWN = 20_000


class Asking(msgspec.Struct, kw_only=True):
    """A registration under way. ``passed`` are nodes that were asked in vain; ``is_sent`` is false until there is a link."""

    parent: RealmId
    node: NodeId
    deadline_ns: int
    is_sent: bool = False
    redirects: int = 0
    passed: list[NodeId] = []


class Superiors(msgspec.Struct, kw_only=True):
    """The parents of one realm. ``seen`` is the newest epoch of this realm itself that a parent told of.

    ``said`` is the last registration that was sent, ``told`` the last summary. ``cut_ns``: when the link to the superior was lost
    last. ``due_ns``: ``tick`` is not due before this.
    """

    node: NodeId
    realm: RealmId
    parents: dict[RealmId, Parent] = {}
    ways: dict[NodeId, Way] = {}
    active: RealmId = NONE
    since_ns: int = 0
    switches: int = 0
    asking: Asking | None = None
    renew_ns: int = 0
    look_ns: int = 0
    said: Register | None = None
    said_ns: int = 0
    told_ns: int = 0
    seen: Epoch = Epoch()
    cut_ns: int = -limits.NEVER_NS
    due_ns: int = 0

    # -- what is known --------------------------------------------------------------------------------------------------------

    def superior(self) -> tuple[RealmId, NodeId] | None:
        """Return the active parent and its primary."""
        center = self.center()
        return None if center is None else (center.realm, center.primary.node)

    def center(self) -> Center | None:
        """Return who the superior is, as it says."""
        parent = self.parents.get(self.active)
        return None if parent is None else parent.center

    def spares(self, now_ns: int) -> tuple[RealmId, ...]:
        """Return the up to two parents that would be taken if the active one were lost, best first."""
        others = [
            parent for parent in self.parents.values() if parent.realm != self.active and self._is_ready(now_ns, parent)
        ]
        return tuple(parent.realm for parent in self._ranked(now_ns, others)[: limits.SPARES_MAX])

    def wanted(self) -> tuple[Contact, ...]:
        """Return the contacts to keep links with: without a link a parent is neither measured nor asked."""
        wanted: dict[NodeId, Contact] = {}
        for parent in self.parents.values():
            known = parent.known()
            most = len(known) if parent.realm in (self.active, self._asked_parent()) else WANTED_PER_PARENT
            for contact in known[:most]:
                if contact.node != self.node:
                    wanted.setdefault(contact.node, contact)
        return tuple(wanted.values())

    # -- what happens ---------------------------------------------------------------------------------------------------------

    def allow(self, now_ns: int, parents: Mapping[RealmId, tuple[Contact, ...]]) -> None:
        """These are all parents that the charter allows now, each with contacts that may know its center."""
        for realm in [realm for realm in self.parents if realm not in parents]:
            del self.parents[realm]
            if self._asked_parent() == realm:
                self.asking = None
            if self.active == realm:
                self.active = NONE
            self.due_ns = now_ns
        if {realm: parent.contacts for realm, parent in self.parents.items()} != parents:
            self.due_ns = now_ns
        for realm in sorted(parents):
            known = self.parents.get(realm)
            if known is not None:
                known.contacts = parents[realm]
            elif len(self.parents) < limits.PARENTS_MAX and realm != self.realm:
                self.parents[realm] = Parent(realm=realm, contacts=parents[realm])

    def linked(self, now_ns: int, node: NodeId) -> None:
        """There is a link to this node. Told again, it changes nothing, so a new reign may tell of all links that there are."""
        if node in self.ways:
            return
        self.ways[node] = Way()
        for parent in self.parents.values():
            if not parent.is_busy and any(contact.node == node for contact in parent.known()):
                parent.away_until_ns = min(parent.away_until_ns, now_ns)
                self.due_ns = now_ns

    def unlinked(self, now_ns: int, node: NodeId) -> None:
        """No link to this node is left."""
        if self.ways.pop(node, None) is None:
            return
        if self.asking is not None and self.asking.node == node:
            self.asking.deadline_ns = self.due_ns = now_ns
        center = self.center()
        if center is not None and center.primary.node == node:
            self.renew_ns = self.due_ns = self.cut_ns = now_ns

    def path_measured(self, now_ns: int, node: NodeId, rtt_us: int) -> None:
        """The round trip to a node was measured."""
        self.linked(now_ns, node)
        self.ways[node].measured(rtt_us)
        if any(contact.node == node for parent in self.parents.values() for contact in parent.known()):
            self.due_ns = min(self.due_ns, now_ns)

    def doubt(self, now_ns: int, realm: RealmId) -> None:
        """What a parent answered to a bid, or that it did not, came to nothing."""
        if realm in self.parents:
            self.parents[realm].doubt(now_ns)

    def registered(self, now_ns: int, peer: NodeId, message: Registered) -> list[Effect]:
        """A parent's primary says that this realm is registered there."""
        asking, center = self.asking, message.center
        if asking is None or (center.realm, message.child) != (asking.parent, self.realm):
            return []
        if peer != asking.node and peer not in asking.passed:  # late is good enough
            return []
        parent = self.parents[asking.parent]
        self.due_ns = now_ns
        if self.realm in center.lineage:
            return self._fail(now_ns, parent, f"{center.name} is itself below this realm", away_ns=limits.LOOP_AWAY_NS)
        if center.primary.node != peer or not parent.is_newer(center):
            asking.deadline_ns = now_ns  # not the primary, or not any more: ask the next
            return []
        parent.believe(center)
        parent.welcome()
        self.asking = None
        self.renew_ns = now_ns + limits.REGISTER_PERIOD_NS
        if parent.realm == self.active:
            return []
        before = self.parents.get(self.active)
        if before is not None:
            before.leave(now_ns, self.since_ns)
        self.active, self.since_ns = parent.realm, now_ns
        self.switches += 1
        for each in self.parents.values():
            each.better_since_ns = limits.NEVER_NS
        fields: dict[str, str | int] = {"realm": self.realm, "superior": parent.realm, "primary": peer}
        return [Notice(name="superior", fields={**fields, "instead": before.realm if before is not None else ""})]

    def refused(self, now_ns: int, peer: NodeId, message: RegisterRefused) -> list[Effect]:
        """A node says that this realm is not registered there: elsewhere, not now, or not in this epoch."""
        if message.child != self.realm or message.parent not in self.parents:
            return []
        asking, parent, center = self.asking, self.parents[message.parent], message.center
        if asking is None or (peer, message.parent) != (asking.node, asking.parent):
            if self.superior() == (message.parent, peer):  # it does not know us any more, or is the center no more
                if center is not None and center.realm == parent.realm and parent.is_newer(center):
                    parent.hint = center
                self.renew_ns = max(now_ns, self.said_ns + limits.REGISTER_TIMEOUT_NS)
                self.due_ns = min(self.due_ns, self.renew_ns)
            return []
        self.due_ns = now_ns
        if rank(message.seen) > rank(self.seen) and message.seen != Epoch():
            self.seen = message.seen
        if center is not None and center.realm != parent.realm and center.realm in self.parents:
            other = self.parents[center.realm]
            if other.is_newer(center):
                other.hint = center
        if message.shed:
            return self._fail(now_ns, parent, message.why, away_ns=limits.SHED_AWAY_NS, is_busy=True)
        asking.deadline_ns = now_ns
        if center is not None and center.realm == parent.realm:
            self._redirect(now_ns, asking, parent, center)
        return []

    def center_told(self, now_ns: int, peer: NodeId, center: Center) -> list[Effect]:
        """A node says that it is the center of a parent."""
        parent = self.parents.get(center.realm)
        if parent is None or center.primary.node != peer or not parent.is_newer(center):
            return []
        if self.realm in center.lineage:
            return self._fail(now_ns, parent, f"{center.name} is itself below this realm", away_ns=limits.LOOP_AWAY_NS)
        is_other = parent.center is None or (parent.center.primary.node, parent.center.epoch) != (peer, center.epoch)
        parent.believe(center)
        if is_other:
            parent.away_until_ns = min(parent.away_until_ns, now_ns) if not parent.is_busy else parent.away_until_ns
            if parent.realm == self.active:
                self.renew_ns = now_ns
            if self.asking is not None and self.asking.parent == parent.realm and self.asking.node != peer:
                self.asking.node, self.asking.is_sent = peer, False  # whoever is being asked is its center no more
                self.asking.deadline_ns = now_ns + limits.REGISTER_DIAL_NS
            self.due_ns = now_ns
        return []

    # -- what to do -----------------------------------------------------------------------------------------------------------

    def tick(self, now_ns: int, form: Register) -> list[Effect]:
        """Do what is due. ``form`` is this realm's registration as it would be now; ``parent`` and ``others`` are filled in."""
        effects: list[Effect] = []
        if now_ns >= self.look_ns:
            self.look_ns = now_ns + limits.PARENTS_LOOK_NS
            for way in self.ways.values():
                way.smooth()
        if self.asking is None:
            self._choose(now_ns, form)
        rounds = len(self.parents) + 1
        while self.asking is not None and rounds:
            effects += self._pursue(now_ns, form)
            if self.asking is not None:
                break
            self._choose(now_ns, form)  # that parent cannot be had: another at once
            rounds -= 1
        effects += self._tell_summary(now_ns, form)
        self.due_ns = self._next_ns(now_ns)
        return effects

    def _choose(self, now_ns: int, form: Register) -> None:
        """Begin to register: again with the active parent when it is time, with a better one, or with any if there is none."""
        active = self.parents.get(self.active)
        if active is None:
            best = self._best_of_all(now_ns)
        elif now_ns >= self.renew_ns or self._has_changed(form):
            best = active
        else:
            best = self._better(now_ns, active)
        if best is not None:
            self.asking = Asking(parent=best.realm, node=NodeId(""), deadline_ns=now_ns)

    def _best_of_all(self, now_ns: int) -> Parent | None:
        ready = [parent for parent in self.parents.values() if self._is_ready(now_ns, parent)]
        busy = [parent for parent in self.parents.values() if parent.is_busy and self._is_in_reach(parent)]
        ranked = self._ranked(now_ns, ready or busy)  # a busy one takes who has nowhere else to go
        return ranked[0] if ranked else None

    def _better(self, now_ns: int, active: Parent) -> Parent | None:
        """Return a parent that has been clearly better than the active one for long enough."""
        rtt_us = self._rtt_us(active)
        is_moved = (
            now_ns - self.cut_ns < limits.MOVED_WITHIN_NS
        )  # other links, other ways: what was measured before is void
        for_ns = limits.MOVED_FOR_NS if is_moved else limits.BETTER_FOR_NS
        chosen: list[Parent] = []
        for parent in self.parents.values():
            other_us = self._rtt_us(parent)
            if parent is active or not rtt_us or not other_us or not self._is_ready(now_ns, parent):
                parent.better_since_ns = limits.NEVER_NS
                continue
            cost_us = active.cost_us(now_ns, rtt_us)
            gain_us = cost_us - parent.cost_us(now_ns, other_us)
            if gain_us < limits.BETTER_US or gain_us * 1000 < limits.BETTER_PERMILLE * cost_us:
                parent.better_since_ns = limits.NEVER_NS
                continue
            parent.better_since_ns = min(parent.better_since_ns, now_ns)
            if now_ns - parent.better_since_ns >= for_ns and now_ns >= parent.left_until_ns:
                chosen.append(parent)
        ranked = self._ranked(now_ns, chosen)
        return ranked[0] if ranked else None

    def _pursue(self, now_ns: int, form: Register) -> list[Effect]:
        """Go on with the registration that is under way: send it, or pass over who did not answer."""
        asking = self.asking
        assert asking is not None
        parent = self.parents[asking.parent]
        if now_ns >= asking.deadline_ns:
            if asking.node:
                asking.passed.append(asking.node)
            known = [contact.node for contact in parent.known()]
            node = next((node for node in known if node not in asking.passed and self._is_linked(node)), None)
            if node is None:
                return self._fail(now_ns, parent, "none of its council answers")
            asking.node, asking.is_sent = node, False
        if asking.is_sent or not self._is_linked(asking.node):
            return []
        asking.is_sent = True
        asking.deadline_ns = now_ns + limits.REGISTER_TIMEOUT_NS
        others = sum(other is not parent and self._is_ready(now_ns, other) for other in self.parents.values())
        self.said = msgspec.structs.replace(form, parent=parent.realm, child=self.realm, others=others)
        self.said_ns = self.told_ns = now_ns
        return [Send(node=asking.node, message=self.said)]

    def _redirect(self, now_ns: int, asking: Asking, parent: Parent, center: Center) -> None:
        """Ask where the refusal says that the center is, unless this goes on and on."""
        node = center.primary.node
        asking.redirects += 1
        if asking.redirects > limits.REDIRECTS_MAX or node == asking.node or not parent.is_newer(center):
            return
        parent.hint = center
        asking.passed.append(asking.node)
        asking.node, asking.is_sent = node, False
        asking.deadline_ns = now_ns + limits.REGISTER_DIAL_NS

    def _fail(self, now_ns: int, parent: Parent, why: str, *, away_ns: int = 0, is_busy: bool = False) -> list[Effect]:
        """This parent cannot be had for now."""
        parent.send_away(now_ns, away_ns, is_busy=is_busy)
        self.due_ns = now_ns
        if self._asked_parent() == parent.realm:
            self.asking = None
        if parent.realm != self.active:
            return []
        parent.leave(now_ns, self.since_ns)
        self.active = NONE
        return [Notice(name="superior lost", fields={"realm": self.realm, "superior": parent.realm, "why": why})]

    def _tell_summary(self, now_ns: int, form: Register) -> list[Effect]:
        superior, said = self.superior(), self.said
        if superior is None or said is None or self.asking is not None or said.parent != superior[0]:
            return []
        if now_ns < self.told_ns + limits.SUMMARY_PERIOD_NS or not differs(said.summary, form.summary):
            return []
        self.told_ns = now_ns
        self.said = msgspec.structs.replace(said, summary=form.summary)
        told = SummaryTold(child=self.realm, epoch=said.epoch, summary=form.summary)
        return [Send(node=superior[1], message=told)]

    def _next_ns(self, now_ns: int) -> int:
        if self.asking is not None:
            return self.asking.deadline_ns
        if self.active:
            return min(self.renew_ns, self.look_ns) if len(self.parents) > 1 else self.renew_ns
        waits = [parent.away_until_ns for parent in self.parents.values() if self._is_in_reach(parent)]
        return max(now_ns + limits.MS, min(waits, default=limits.NEVER_NS))

    # -- which parent ---------------------------------------------------------------------------------------------------------

    def _asked_parent(self) -> RealmId:
        return NONE if self.asking is None else self.asking.parent

    def _has_changed(self, form: Register) -> bool:
        """Tell whether the superior must hear at once who stands for this realm now."""
        said = self.said
        if said is None:
            return True
        return (said.epoch, said.council, said.name, said.level) != (form.epoch, form.council, form.name, form.level)

    def _is_linked(self, node: NodeId) -> bool:
        return node == self.node or node in self.ways

    def _is_in_reach(self, parent: Parent) -> bool:
        return any(self._is_linked(contact.node) for contact in parent.known())

    def _is_ready(self, now_ns: int, parent: Parent) -> bool:
        return parent.away_until_ns <= now_ns and self._is_in_reach(parent)

    def _rtt_us(self, parent: Parent) -> int:
        """Return the round trip to its primary, else to the nearest of its contacts; 0: not measured."""
        known = [contact.node for contact in parent.known()]
        if known and known[0] == self.node:
            return 1
        ways = [self.ways[node].rtt_us for node in known if node in self.ways]
        if known and known[0] in self.ways and ways[0]:
            return ways[0]
        return min((rtt_us for rtt_us in ways if rtt_us), default=0)

    def _ranked(self, now_ns: int, parents: list[Parent]) -> list[Parent]:
        """Return parents, best first; one that was left lately comes after the others."""
        return sorted(
            parents,
            key=lambda parent: (
                now_ns < parent.left_until_ns,
                parent.cost_us(now_ns, self._rtt_us(parent) or RTT_US_UNKNOWN),
                parent.realm,
            ),
        )
