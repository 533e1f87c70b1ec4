"""Children: the realms that are registered with this one, as their primaries say; kept at this realm's primary.

Soft state: a child that does not renew is gone after its time, and what a child promises is believed as long as its bids come
true. Invariant: what is known of a child never goes back to an older epoch, also after the child was gone for a while; two
provisional primaries of one epoch are two islands, of which the smaller node id stays (as in centers.py). A child that lies gains
a seat among the heirs and questions that it cannot answer, nothing else. Whether a realm may be a child at all is the charter's
business, so callers say why not. Source: DESIGN.md section 6.
"""

from __future__ import annotations

import msgspec

from worldos.kernel.effects import Effect, Notice, Send
from worldos.kernel.summary import merged
from worldos.model import limits
from worldos.model.ids import NodeId
from worldos.model.realm import (
    HEIRS_MAX,
    Center,
    Contact,
    Epoch,
    Level,
    RealmId,
    Register,
    Registered,
    RegisterRefused,
    SummaryTold,
    rank,
)
from worldos.model.summary import Summary

FITNESS_MAX = 10_000  # above this nobody gains anything by saying more
TICK_NS = 100 * limits.MS  # children are not looked through more often than this
RTT_US_MAX = 10_000_000


class Child(msgspec.Struct, kw_only=True):
    """A registered realm. ``end_ns``: it is gone unless it is heard before. ``rtt_us`` 0: not measured."""

    realm: RealmId
    name: str
    level: Level
    epoch: Epoch
    council: tuple[Contact, ...]
    fitness: int
    summary: Summary
    others: int
    end_ns: int
    rtt_us: int = 0

    @property
    def primary(self) -> NodeId:
        """Return who stands for the realm."""
        return self.council[0].node


class Record(msgspec.Struct, kw_only=True):
    """What stays known of a child that is gone: its newest epoch, and how far its promises are believed."""

    epoch: Epoch
    credit: int = limits.CREDIT_MAX
    credited_ns: int = 0


class Children(msgspec.Struct, kw_only=True):
    """All children of one realm. ``due_ns``: ``tick`` is not due before this. ``sum`` is what they have together, if known."""

    realm: RealmId
    children: dict[RealmId, Child] = {}
    records: dict[RealmId, Record] = {}
    shed_ns: int = 0
    due_ns: int = limits.NEVER_NS
    sum: Summary | None = None

    def registered(
        self,
        now_ns: int,
        peer: NodeId,
        message: Register,
        center: Center,
        *,
        refusal: str = "",
        alternative: Center | None = None,
    ) -> list[Effect]:
        """A realm registers or renews. ``center`` is what this primary says of itself.

        ``refusal``: why it may not be a child here, or empty. ``alternative``: where it should rather ask, if this center is too
        busy or is not (or no longer) the right one.
        """
        record = self.records.get(message.child)
        known = self.children.get(message.child)
        why = refusal or self._objection(peer, message, center)
        if why:
            return [_refuse(peer, message, why, center=alternative)]
        if record is not None and not _is_believed(record, known, message):
            return [_refuse(peer, message, "a newer epoch of this realm is known", seen=record.epoch)]
        if self._sheds(now_ns, message, center.load_permille, is_known=known is not None):
            self._lose(message.child)
            refused = _refuse(peer, message, "this center is too busy", center=alternative, shed=True)
            return [refused, Notice(name="child shed", fields={"realm": self.realm, "child": message.child})]
        if known is None and len(self.children) >= limits.CHILDREN_MAX:
            return [_refuse(peer, message, f"{limits.CHILDREN_MAX} realms are registered here", center=alternative)]
        self._keep(now_ns, message)
        effects: list[Effect] = [Send(node=peer, message=Registered(child=message.child, center=center))]
        if known is None or known.primary != peer:
            fields: dict[str, str | int] = {"realm": self.realm, "child": message.child, "primary": peer}
            effects.append(Notice(name="child", fields={**fields, "epoch": message.epoch.number}))
        return effects

    def summary_told(self, now_ns: int, peer: NodeId, message: SummaryTold) -> list[Effect]:
        """A child says what it has free now; from anybody but its primary it means nothing."""
        child = self.children.get(message.child)
        if child is None or child.primary != peer:
            return [_refuse_summary(self, peer, message, "this realm is not registered here by you")]
        if rank(message.epoch) != rank(child.epoch):
            return [_refuse_summary(self, peer, message, "of another epoch than was registered")]
        child.summary = message.summary
        child.end_ns = now_ns + limits.REGISTER_TTL_NS
        self.sum = None
        return []

    def unlinked(self, now_ns: int, peer: NodeId) -> None:
        """No link to this node is left: children that it stood for have a short while to come back, or with another."""
        for child in self.children.values():
            if child.primary == peer:
                child.end_ns = min(child.end_ns, now_ns + limits.CHILD_GRACE_NS)
                self.due_ns = min(self.due_ns, child.end_ns)

    def leave(self, realm: RealmId) -> None:
        """A realm is no child of this one any more."""
        self._lose(realm)
        self.records.pop(realm, None)

    def tick(self, now_ns: int) -> list[Effect]:
        """Let children go that were not heard for too long."""
        effects: list[Effect] = []
        for realm in sorted(r for r, child in self.children.items() if child.end_ns <= now_ns):
            self._lose(realm)
            effects.append(Notice(name="child lost", fields={"realm": self.realm, "child": realm}))
        due_ns = min((child.end_ns for child in self.children.values()), default=limits.NEVER_NS)
        self.due_ns = max(due_ns, now_ns + TICK_NS) if due_ns < limits.NEVER_NS else due_ns
        return effects

    def path_measured(self, node: NodeId, rtt_us: int) -> None:
        """Note how far a child's primary is."""
        for child in self.children.values():
            if child.primary == node:
                child.rtt_us = max(1, min(RTT_US_MAX, rtt_us))

    # -- credibility ----------------------------------------------------------------------------------------------------------

    def failed(self, now_ns: int, realm: RealmId) -> None:
        """A bid came to nothing though the child's summary promised."""
        record = self.records.get(realm)
        if record is not None:
            record.credit = self.credibility(now_ns, realm) * 3 // 4
            record.credited_ns = now_ns

    def credibility(self, now_ns: int, realm: RealmId) -> int:
        """Return how far a child's promises are believed, 0 to 1000; it comes back by 10 a second."""
        record = self.records.get(realm)
        if record is None:
            return limits.CREDIT_MAX
        recovered = max(0, now_ns - record.credited_ns) * limits.CREDIT_PER_SECOND // limits.SECOND
        return min(limits.CREDIT_MAX, record.credit + recovered)

    # -- what they are together -----------------------------------------------------------------------------------------------

    def summary(self) -> Summary:
        """Return what the children have free together."""
        if self.sum is None:
            self.sum = merged(child.summary for child in self.children.values())
        return self.sum

    def heirs(self) -> tuple[Contact, ...]:
        """Return who keeps the realm together where its council cannot be reached: the primaries of the fittest children.

        Where there is room, then also others who speak for them: a cut may leave of a child only these.
        """
        ranked = sorted(self.children.values(), key=lambda child: (-child.fitness, child.primary))
        heirs: dict[NodeId, Contact] = {}
        for place in range(max((len(child.council) for child in ranked), default=0)):
            for child in ranked:
                if place < len(child.council) and len(heirs) < HEIRS_MAX:
                    heirs.setdefault(child.council[place].node, child.council[place])
        return tuple(heirs.values())

    def load_permille(self) -> int:
        """Return how full the table is."""
        return len(self.children) * 1000 // limits.CHILDREN_MAX

    # -- the table ------------------------------------------------------------------------------------------------------------

    def _objection(self, peer: NodeId, message: Register, center: Center) -> str:
        if message.parent != self.realm:
            return "this is the center of another realm"
        if not message.council or message.council[0].node != peer:
            return "a realm is registered by its primary"
        if message.child in center.lineage:
            return "a realm cannot be below itself"
        if message.level >= center.level:
            return f"a realm of level {message.level.name.lower()} cannot be below one of {center.level.name.lower()}"
        return ""

    def _sheds(self, now_ns: int, message: Register, load_permille: int, *, is_known: bool) -> bool:
        """Tell whether this child should go elsewhere now: newcomers at once, others one by one."""
        if load_permille <= limits.SHED_PERMILLE or not message.others:
            return False
        if is_known and now_ns < self.shed_ns:
            return False
        self.shed_ns = now_ns + limits.SHED_PERIOD_NS
        return True

    def _keep(self, now_ns: int, message: Register) -> None:
        known = self.children.get(message.child)
        same_primary = known is not None and known.primary == message.council[0].node
        self.children[message.child] = Child(
            realm=message.child,
            name=message.name,
            level=message.level,
            epoch=message.epoch,
            council=message.council,
            fitness=min(message.fitness, FITNESS_MAX),
            summary=message.summary,
            others=message.others,
            end_ns=now_ns + limits.REGISTER_TTL_NS,
            rtt_us=known.rtt_us if known is not None and same_primary else 0,
        )
        record = self.records.get(message.child)
        if record is None:
            self._forget_one()
            self.records[message.child] = Record(epoch=message.epoch, credited_ns=now_ns)
        else:
            record.epoch = message.epoch
        self.due_ns = min(self.due_ns, now_ns + limits.REGISTER_TTL_NS)
        if known is None or known.summary != message.summary:
            self.sum = None

    def _forget_one(self) -> None:
        """Make room for one more record: the oldest of a realm that is not registered goes."""
        if len(self.records) >= 2 * limits.CHILDREN_MAX:
            del self.records[next(realm for realm in self.records if realm not in self.children)]

    def _lose(self, realm: RealmId) -> None:
        if self.children.pop(realm, None) is not None:
            self.sum = None


def _is_believed(record: Record, known: Child | None, message: Register) -> bool:
    """Tell whether a registration is of the newest epoch, and no leap into numbers that are still to come."""
    if rank(message.epoch) < rank(record.epoch) or message.epoch.number > record.epoch.number + limits.EPOCH_LEAP_MAX:
        return False
    is_twin = known is not None and rank(message.epoch) == rank(known.epoch)
    return not (is_twin and known is not None and known.primary < message.council[0].node)


def _refuse(
    peer: NodeId,
    message: Register,
    why: str,
    *,
    center: Center | None = None,
    seen: Epoch | None = None,
    shed: bool = False,
) -> Send:
    answer = RegisterRefused(
        parent=message.parent, child=message.child, why=why, center=center, seen=seen or Epoch(), shed=shed
    )
    return Send(node=peer, message=answer)


def _refuse_summary(children: Children, peer: NodeId, message: SummaryTold, why: str) -> Send:
    record = children.records.get(message.child)
    stale = record is not None and rank(message.epoch) < rank(record.epoch)
    seen = record.epoch if record is not None and stale else Epoch()
    return Send(
        node=peer, message=RegisterRefused(parent=children.realm, child=message.child, why=why, center=None, seen=seen)
    )
