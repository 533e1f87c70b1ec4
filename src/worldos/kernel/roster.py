"""Roster: what is believed about each node of the site, and what is still to be told about it.

By hearsay the heaviest rumor holds (model/swim.py), so the order of arrival does not matter. By proof (``trust``) a
node is there whatever is said, and only the node itself, by a higher incarnation, convinces the others.

Invariants: a node is in ``suspects`` exactly while it is SUSPECT, in ``gone`` exactly while it is DEAD; at most
MEMBERS_MAX members. Times in ns of the node's own clock.
Source: SWIM (DSN 2002), section 4.2; Lifeguard (arXiv:1707.00788), "Buddy System" and "Dogpile".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from worldos.kernel.gossip import Gossip
from worldos.kernel.suspicion import suspicion_ns
from worldos.model.ids import NodeId
from worldos.model.limits import DEAD_KEPT_NS, MEMBERS_MAX
from worldos.model.swim import (
    RANK,
    Rumor,
    Status,
    StatusChanged,
    SwimEffect,
    first_incarnation,
    joined,
)

FORGOTTEN_MAX: Final = 1024
HERE: Final = (Status.ALIVE, Status.SUSPECT)


class Member(msgspec.Struct, kw_only=True):
    """What is believed about one node. ``boot`` 0 is a life number not told yet."""

    status: Status
    incarnation: int
    boot: int
    since_ns: int
    proven_ns: int | None = None  # when its last answer came: a way there and back
    doubt: int = 0  # while not alive: an ack to a ping of at least this number is proof of life
    accusers: tuple[NodeId, ...] = ()
    hinted: bool = False  # its link closed

    @property
    def here(self) -> bool:
        """Whether it may still be there."""
        return self.status in HERE

    @property
    def weight(self) -> tuple[int, int]:
        """Return what a rumor must exceed to change the belief."""
        return (self.incarnation, RANK[self.status])


class Roster(msgspec.Struct, kw_only=True):
    """The members, this node not among them; ``arrived`` are those that nobody has taken notice of yet."""

    me: NodeId
    boot: int
    incarnation: int
    members: dict[NodeId, Member] = {}
    suspects: dict[NodeId, int] = {}
    gone: list[NodeId] = []
    arrived: list[NodeId] = []
    forgotten: list[NodeId] = []
    reachable: int = 1
    gossip: Gossip
    suspicions: int = 0
    recoveries: int = 0
    deaths: int = 0
    no_room: int = 0

    def here(self, status: Status | None = None) -> list[NodeId]:
        """Return the nodes that may be there, or those of one status, in the order they came."""
        if status is None:
            return [node for node, member in self.members.items() if member.status in HERE]
        return [node for node, member in self.members.items() if member.status is status]

    # -- coming and going ---------------------------------------------------------------------------------------------

    def admit(self, rumor: Rumor, now_ns: int, out: list[SwimEffect]) -> Member | None:
        """Take in a node never seen before; None if there is no room, or if it was forgotten."""
        node = rumor.node
        if node in self.forgotten or (len(self.members) >= MEMBERS_MAX and not self._make_room()):
            self.no_room += node not in self.forgotten
            return None
        member = Member(
            status=rumor.status,
            incarnation=rumor.incarnation,
            boot=rumor.boot,
            since_ns=now_ns,
            accusers=rumor.accusers,
        )
        self.members[node] = member
        self.arrived.append(node)
        self._settle(node, member, None, out)
        return member

    def forget(self, node: NodeId) -> None:
        """Drop a node, and take no rumor about it any more."""
        self.drop(node)
        if node not in self.forgotten:
            self.forgotten.append(node)
            del self.forgotten[:-FORGOTTEN_MAX]

    def drop(self, node: NodeId) -> None:
        """Know nothing about a node any more."""
        if self.members.pop(node, None) is None:
            return
        self.suspects.pop(node, None)
        self.gossip.hush(node)
        for names in (self.gone, self.arrived):
            if node in names:
                names.remove(node)
        self.reachable = 1 + len(self.here())

    def drop_long_dead(self, now_ns: int) -> None:
        """Make room of those that are dead, or left, for long."""
        old_ns = now_ns - DEAD_KEPT_NS
        for node in [n for n, m in self.members.items() if not m.here and m.since_ns <= old_ns]:
            self.drop(node)

    def _make_room(self) -> bool:
        gone = [(member.since_ns, node) for node, member in self.members.items() if not member.here]
        if not gone:
            return False
        self.drop(min(gone)[1])
        return True

    # -- believing ----------------------------------------------------------------------------------------------------

    def believe(self, rumor: Rumor, member: Member, now_ns: int, out: list[SwimEffect]) -> None:
        """Adopt a rumor that is heavier than what was believed."""
        restarted = rumor.boot > member.boot > 0 and rumor.status is Status.ALIVE is member.status
        member.incarnation = rumor.incarnation
        member.boot = max(member.boot, rumor.boot)
        self.become(rumor.node, member, rumor.status, now_ns, out, accusers=rumor.accusers)
        if restarted:
            out.append(_restarted(rumor.node, member))

    def accuse(
        self, node: NodeId, member: Member, accusers: tuple[NodeId, ...], now_ns: int, out: list[SwimEffect]
    ) -> bool:
        """Suspect a node that is there, or join those who do, which shortens its time; return whether that is news."""
        if member.status is Status.ALIVE:
            self.become(node, member, Status.SUSPECT, now_ns, out, accusers=accusers)
            return True
        together = joined(member.accusers, accusers)
        if member.status is not Status.SUSPECT or together == member.accusers:
            return False
        member.accusers = together
        self.gossip.tell(node)
        self._give_time(node, member)
        return True

    def hint(self, node: NodeId, member: Member) -> None:
        """Note that the last link to a node closed: if it is silent too, it gets less time."""
        member.hinted = True
        if member.status is Status.SUSPECT:
            self._give_time(node, member)

    def trust(self, node: NodeId, member: Member, now_ns: int, out: list[SwimEffect]) -> Rumor | None:
        """See proof that a node is there; return the belief that it ends, for the node to refute."""
        member.proven_ns = now_ns
        member.hinted = False
        if member.status is Status.ALIVE:
            return None
        ended = self.rumor(node)
        self.become(node, member, Status.ALIVE, now_ns, out)
        self.gossip.hush(node)
        return ended

    def restart(self, node: NodeId, member: Member, boot: int, now_ns: int, out: list[SwimEffect]) -> None:
        """See a node in another life: it is there, and what was said of the last one is void."""
        known = member.boot > 0
        member.boot = boot
        member.incarnation = max(member.incarnation, first_incarnation(boot))
        member.proven_ns = now_ns
        was_alive = member.status is Status.ALIVE
        self.become(node, member, Status.ALIVE, now_ns, out)
        if was_alive and known:
            out.append(_restarted(node, member))

    def become(
        self,
        node: NodeId,
        member: Member,
        status: Status,
        now_ns: int,
        out: list[SwimEffect],
        *,
        accusers: tuple[NodeId, ...] = (),
    ) -> None:
        """Change the belief about a node, and spread it."""
        old = member.status
        member.status = status
        member.since_ns = now_ns
        member.accusers = accusers
        if old is Status.SUSPECT:
            del self.suspects[node]
        if old is Status.DEAD:
            self.gone.remove(node)
        self._settle(node, member, old, out)

    def _settle(self, node: NodeId, member: Member, old: Status | None, out: list[SwimEffect]) -> None:
        status = member.status
        self.reachable = 1 + len(self.here())
        self.gossip.tell(node)
        match status:
            case Status.ALIVE:
                member.hinted = False
            case Status.SUSPECT:
                self._give_time(node, member)
            case Status.DEAD:
                self.gone.append(node)
            case Status.LEFT:
                pass
        if status is old:
            return
        self.recoveries += status is Status.ALIVE and old is not None
        self.suspicions += status is Status.SUSPECT
        self.deaths += status is Status.DEAD
        out.append(StatusChanged(node=node, status=status, old=old, boot=member.boot))

    def _give_time(self, node: NodeId, member: Member) -> None:
        accusers = len(member.accusers)
        wait_ns = suspicion_ns(accusers=accusers, reachable=self.reachable, hinted=member.hinted)
        self.suspects[node] = member.since_ns + wait_ns

    # -- telling ------------------------------------------------------------------------------------------------------

    def refute(self, rumor: Rumor) -> None:
        """Rise above a rumor about ourselves."""
        self.incarnation = rumor.incarnation + 1
        self.gossip.tell(self.me)

    def rumor(self, node: NodeId) -> Rumor:
        """Return what we say about a node."""
        if node == self.me:
            return Rumor(node=node, status=Status.ALIVE, incarnation=self.incarnation, boot=self.boot)
        member = self.members[node]
        return Rumor(
            node=node,
            status=member.status,
            incarnation=member.incarnation,
            boot=member.boot,
            accusers=member.accusers,
        )

    def news(self, *, about: NodeId | None = None, first: Iterable[NodeId] = ()) -> tuple[Rumor, ...]:
        """Return what one message carries: ``about``'s own doubts if there are some, ``first``, then the news."""
        doubted = []
        if about:
            member = self.members.get(about)
            if member and member.status is not Status.ALIVE:
                doubted = [about]
        news = self.gossip.take(self.reachable) if self.gossip.told else []
        if not (news or first or doubted):
            return ()
        return tuple(self.rumor(node) for node in dict.fromkeys([*doubted, *first, *news]))

    def everything(self, now_ns: int) -> tuple[Rumor, ...]:
        """Return all that is believed. Old deaths are kept but not told: else they would go round for ever."""
        young_ns = now_ns - DEAD_KEPT_NS // 2
        nodes = [node for node, member in self.members.items() if member.here or member.since_ns > young_ns]
        return tuple(self.rumor(node) for node in [self.me, *nodes])

    # -- time ---------------------------------------------------------------------------------------------------------

    def expired(self, now_ns: int) -> list[NodeId]:
        """Return the suspects whose time is over."""
        return [node for node, deadline_ns in self.suspects.items() if deadline_ns <= now_ns]

    def shift(self, by_ns: int) -> None:
        """Move every moment."""
        for node in self.suspects:
            self.suspects[node] += by_ns
        for member in self.members.values():
            member.since_ns += by_ns
            if member.proven_ns is not None:
                member.proven_ns += by_ns

    def due_ns(self, at_most_ns: int) -> int:
        """Return when the first suspect's time is over, or ``at_most_ns`` if that is sooner."""
        return min(at_most_ns, *self.suspects.values()) if self.suspects else at_most_ns


def _restarted(node: NodeId, member: Member) -> StatusChanged:
    return StatusChanged(node=node, status=Status.ALIVE, old=Status.ALIVE, boot=member.boot)
