"""Kin: nodes of other accounts with which this node may be linked, each for reasons that end.

A node that is neither a member of the account nor kin is a stranger. A *standing* reason (a seat in the same council, a child's
council, a superior) holds until it is taken back (``until_ns`` is ``NEVER_NS``); a *guest* comes for a while. Guests have a
house of their own: however many come, nobody with a standing reason is put out, and a guest's word about where a node is found
does not replace what a standing reason says. When it is full the newcomer waits, for those inside may hold leases.
Invariant: every node here has a reason, and its root certificate belongs to its id. Times in ns of the node's clock.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from worldos.errors import PeerBroke
from worldos.kernel.effects import Effect, Forget, Notice, Welcome
from worldos.model.ids import NodeId
from worldos.model.limits import (
    KIN_GUESTS_MAX,
    KIN_MAX,
    KIN_PER_REASON_MAX,
    KIN_REASONS_MAX,
    KIN_STANDING_MAX,
    NEVER_NS,
)
from worldos.model.realm import Contact
from worldos.trust.roots import check_root


class Kinsman(msgspec.Struct, kw_only=True):
    """One node, and why it may come: each reason with its end."""

    contact: Contact
    reasons: dict[str, int] = {}

    @property
    def stands(self) -> bool:
        """Tell whether a reason holds until it is taken back."""
        return NEVER_NS in self.reasons.values()


class Kin(msgspec.Struct, kw_only=True):
    """The table. ``counts`` are nodes per reason, ``standing`` those with a standing one. Nothing ends before ``due_ns``.

    ``barred`` are devices that their account (which one) put out: they come for no reason as devices of that account.
    """

    me: NodeId = NodeId("")
    table: dict[NodeId, Kinsman] = {}
    counts: dict[str, int] = {}
    standing: int = 0
    barred: dict[NodeId, str] = {}
    due_ns: int = NEVER_NS

    def has(self, node: NodeId) -> bool:
        """Tell whether this node is kin."""
        return node in self.table

    def reasons(self, node: NodeId) -> tuple[str, ...]:
        """Return why this node may come, sorted; nothing for a stranger."""
        kinsman = self.table.get(node)
        return () if kinsman is None else tuple(sorted(kinsman.reasons))

    def contact(self, node: NodeId) -> Contact | None:
        """Return how this node is found."""
        kinsman = self.table.get(node)
        return None if kinsman is None else kinsman.contact

    def welcome(self, now_ns: int, contact: Contact, reason: str, until_ns: int = NEVER_NS) -> list[Effect]:
        """Let a node come for this reason; told again, the later end holds. Who cannot be let in is named."""
        node = contact.node
        if node == self.me or until_ns <= now_ns:
            return []
        if self.barred.get(node) == contact.site:
            return [_refused(node, reason, "its account put this device out")]
        try:
            check_root(node, contact.root_cert)
        except PeerBroke as error:
            return [_refused(node, reason, str(error))]
        known = self.table.get(node)
        why = self._full(known, reason, until_ns)
        if why:
            return [_refused(node, reason, why)]
        kinsman = known or Kinsman(contact=contact)
        stood = kinsman.stands
        is_news = known is None or (contact != kinsman.contact and (until_ns == NEVER_NS or not stood))
        self._give(kinsman, reason, until_ns)
        self.table[node] = kinsman
        self.standing += kinsman.stands - stood
        if not is_news:
            return []
        kinsman.contact = contact
        return [Welcome(contact=contact)]

    def bar(self, node: NodeId, account: str) -> list[Effect]:
        """Let a device that its account put out come no more; the oldest that are barred make room."""
        self.barred[node] = account
        if len(self.barred) > KIN_MAX:
            del self.barred[next(iter(self.barred))]
        contact = self.contact(node)
        if contact is None or contact.site != account:
            return []
        return [effect for reason in self.reasons(node) for effect in self.part(node, reason)]

    def is_barred(self, node: NodeId) -> bool:
        """Tell whether this device was put out by the account as whose device it is known here, or by the last known one."""
        contact = self.contact(node)
        return node in self.barred and (contact is None or contact.site == self.barred[node])

    def part(self, node: NodeId, reason: str) -> list[Effect]:
        """Take a reason back; a node without any is cut off."""
        kinsman = self.table.get(node)
        if kinsman is None or reason not in kinsman.reasons:
            return []
        stood = kinsman.stands
        self._take(kinsman, reason)
        self.standing += kinsman.stands - stood
        if kinsman.reasons:
            return []
        del self.table[node]
        return [Forget(node=node, why=f"it was {reason}, and is no more")]

    def replace(self, now_ns: int, reason: str, contacts: Sequence[Contact]) -> list[Effect]:
        """Let these, and nobody else, stand here for this reason."""
        stay = {contact.node for contact in contacts}
        gone = sorted(node for node, kinsman in self.table.items() if reason in kinsman.reasons and node not in stay)
        effects = [effect for node in gone for effect in self.part(node, reason)]
        for contact in contacts:
            effects.extend(self.welcome(now_ns, contact, reason))
        return effects

    def expire(self, now_ns: int) -> list[Effect]:
        """Part with those whose time is over."""
        if now_ns < self.due_ns:
            return []
        over = [(n, r) for n, k in self.table.items() for r, until_ns in k.reasons.items() if until_ns <= now_ns]
        effects = [effect for node, reason in sorted(over) for effect in self.part(node, reason)]
        self.due_ns = min((min(kinsman.reasons.values()) for kinsman in self.table.values()), default=NEVER_NS)
        return effects

    def _full(self, known: Kinsman | None, reason: str, until_ns: int) -> str:
        """Return why there is no room, or nothing."""
        if until_ns == NEVER_NS:
            if (known is None or not known.stands) and self.standing >= KIN_STANDING_MAX:
                return f"{KIN_STANDING_MAX} nodes of other accounts are the most"
        elif known is None and len(self.table) - self.standing >= KIN_GUESTS_MAX:
            return f"{KIN_GUESTS_MAX} guests are the most"
        if known is not None and reason in known.reasons:
            return ""
        if self.counts.get(reason, 0) >= KIN_PER_REASON_MAX:
            return f"{KIN_PER_REASON_MAX} for one reason are the most"
        if known is not None and len(known.reasons) >= KIN_REASONS_MAX:
            return f"{KIN_REASONS_MAX} reasons for one node are the most"
        return ""

    def _give(self, kinsman: Kinsman, reason: str, until_ns: int) -> None:
        if reason not in kinsman.reasons:
            self.counts[reason] = self.counts.get(reason, 0) + 1
        kinsman.reasons[reason] = max(until_ns, kinsman.reasons.get(reason, 0))
        self.due_ns = min(self.due_ns, kinsman.reasons[reason])

    def _take(self, kinsman: Kinsman, reason: str) -> None:
        del kinsman.reasons[reason]
        self.counts[reason] -= 1
        if not self.counts[reason]:
            del self.counts[reason]


def _refused(node: NodeId, reason: str, why: str) -> Notice:
    return Notice(name="contact refused", fields={"node": node, "reason": reason, "why": why})
