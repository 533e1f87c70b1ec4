"""What must hold in the hierarchy after every step, whatever happened: seen from outside, in messages and tables of all nodes.

Councils (Raft, figure 3, and what it takes for granted):
- at most one leader a term; a member votes for one candidate a term, over all of its lives;
- a vote, or that entries are there, is told only when the disk has it; a member in repair tells neither;
- what one member knows as committed, at an index, is what every other one knows there.
Reigns:
- at most one legitimate primary per realm and epoch, for all time;
- a node's fence is as high as the newest epoch that it heard of; what it believes and what it says is not older. Only a
  legitimate primary may hear of an island's newer epoch and go on, since it takes a newer one itself.
Leases:
- who grants is who has it: never a center for somebody else; nobody grants to who came with an epoch that he knows is over.
- No node is woken again and again while time stands still.
What must come about in bounded time is in realm_run.py.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import msgspec

from worldos.kernel.effects import Effect, Send, Unseat
from worldos.kernel.events import ClockTicked, Event, PeerSaid, PeerUnlinked, Persisted
from worldos.kernel.raft.raft import Raft
from worldos.model.ids import NodeId
from worldos.model.limits import EPOCH_LEAP_MAX
from worldos.model.raft import AppendAnswer, Entry, Vote, VoteAnswer
from worldos.model.realm import (
    Center,
    CenterTold,
    Epoch,
    GuestTold,
    RaftSaid,
    RealmId,
    Register,
    Registered,
    SummaryTold,
    rank,
)
from worldos.model.swim import Ack, Nack, Ping, PingRequest
from worldos.model.wire import LeaseAsk, LeaseGranted, PeerMessage
from worldos.sim.checkers import Violation
from worldos.sim.councils import centers_of, reigns_of, seats_of
from worldos.sim.machine import Machine

if TYPE_CHECKING:
    from worldos.sim.world import World

NOTHING: Final = Epoch(0, provisional=True)
STEPS_MAX: Final = 10_000  # of all machines, in one moment
PINGS: Final = frozenset({Ping, Ack, PingRequest, Nack})
COUNCIL: Final = frozenset({RaftSaid, Persisted, ClockTicked, PeerUnlinked})  # what a seat decides by
CHANGES: Final = frozenset({RaftSaid, CenterTold, Register, Registered, GuestTold, SummaryTold, LeaseAsk})
SAID: Final = CHANGES | {LeaseGranted}


class RealmSafety:
    """The checks of councils, reigns and fences, at the machine that took a step."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.checks = 0
        self._moment_ns = 0
        self._steps = 0  # in this moment
        self.committed: dict[RealmId, dict[int, bytes]] = {}  # index -> what is there
        self.votes: dict[tuple[RealmId, NodeId, int], NodeId] = {}
        self.leaders: dict[tuple[RealmId, int], NodeId] = {}
        self.reigns: dict[tuple[RealmId, int], tuple[NodeId, int]] = {}
        self.seen: dict[tuple[NodeId, int], dict[RealmId, Epoch]] = {}  # by node and life
        self._looked: dict[tuple[NodeId, int, RealmId], int] = {}  # how far its committed entries were looked at

    def stepped(self, machine: Machine, event: Event, effects: list[Effect]) -> None:
        """Look at the machine that took in an event."""
        self._steps += 1
        if self.world.now_ns != self._moment_ns:
            self._moment_ns, self._steps = self.world.now_ns, 0
        elif self._steps > STEPS_MAX:
            raise Violation(f"{machine.name} spins: {STEPS_MAX} steps in one moment, the last a {type(event).__name__}")
        kind: type = type(event)
        if type(event) is PeerSaid:
            kind = type(event.message)
            if kind in CHANGES:
                self._hear(machine, event.message)
            if type(event.message) is LeaseAsk:
                self._asked(machine, event.message, effects)
        for effect in effects:
            if type(effect) is Send and type(effect.message) in SAID:
                self._said(machine, effect.node, effect.message)
            elif type(effect) is Unseat:
                self.forget(machine, effect.realm)
        if kind not in PINGS:
            assert machine.node is not None
            realms = machine.node.realms
            if realms.seats and kind in COUNCIL:
                self._councils(machine)
            if realms.reigns:
                self._reigns(machine)

    # -- councils -----------------------------------------------------------------------------------------------------------

    def _councils(self, machine: Machine) -> None:
        for realm, raft in seats_of(machine).items():
            self.look_at(machine, realm, raft)

    def look_at(self, machine: Machine, realm: RealmId, raft: Raft) -> None:
        """Look at one member of a Raft group, after a step of it."""
        if raft.is_leader:
            first = self.leaders.setdefault((realm, raft.term), machine.id)
            if first != machine.id:
                raise Violation(f"{machine.name} and {self._name(first)} both lead {realm[:12]} in term {raft.term}")
        key = (machine.id, machine.boot, realm)
        looked = self._looked.get(key, 0)
        if raft.log.committed != looked:
            self._looked[key] = raft.log.committed
            self._agree(machine, realm, raft, looked)

    def forget(self, machine: Machine, realm: RealmId) -> None:
        """This member is given up: one that it is given later begins anew."""
        self._looked.pop((machine.id, machine.boot, realm), None)

    def _agree(self, machine: Machine, realm: RealmId, raft: Raft, looked: int) -> None:
        self.checks += 1
        if raft.log.committed < looked:
            raise Violation(f"{machine.name} takes back what was committed in {realm[:12]} after {raft.log.committed}")
        known = self.committed.setdefault(realm, {})
        for entry in raft.log.entries[max(0, looked - raft.log.base) : raft.log.committed - raft.log.base]:
            there = known.setdefault(entry.index, _print_of(entry))
            if there != _print_of(entry):
                raise Violation(f"{machine.name} has another entry {entry.index} of {realm[:12]} than others committed")

    def raft_said(self, machine: Machine, peer: NodeId, said: RaftSaid) -> None:
        """Look at what a member of a group says to another, against what is on its disk."""
        message = said.message
        seat = machine.seats.seats.get(said.realm)
        if type(message) is VoteAnswer and message.granted:
            first = self.votes.setdefault((said.realm, machine.id, message.term), peer)
            if first != peer:
                raise Violation(f"{machine.name} votes for two in term {message.term} of {said.realm[:12]}")
            # A vote of a later term on the disk is as good: with it this one cannot be given to another any more.
            kept = seat is not None and (
                seat.vote.term > message.term or seat.vote == Vote(term=message.term, voted=peer)
            )
            if not kept:
                raise Violation(f"{machine.name} tells a vote in term {message.term} that is not on its disk")
        elif type(message) is AppendAnswer and not message.refused and not message.mending:
            last = 0 if seat is None else seat.last
            if last < message.index:
                raise Violation(f"{machine.name} says it has entry {message.index}, and its disk does not")

    # -- reigns and fences --------------------------------------------------------------------------------------------------

    def _reigns(self, machine: Machine) -> None:
        for realm, reign in reigns_of(machine).items():
            if reign.epoch.provisional:
                continue
            first = self.reigns.setdefault((realm, reign.epoch.number), (machine.id, machine.boot))
            if first != (machine.id, machine.boot):
                raise Violation(
                    f"{machine.name} and {self._name(first[0])} are both primary of {realm[:12]} in epoch {reign.epoch.number}"
                )

    def _hear(self, machine: Machine, message: PeerMessage) -> None:
        seen = self.seen.setdefault((machine.id, machine.boot), {})
        fences = centers_of(machine).seen
        for realm, epoch in _epochs_heard(message):
            mine = reigns_of(machine).get(realm)
            if epoch.provisional and mine is not None and not mine.epoch.provisional:
                continue  # a council outbids an island: it goes on until its next epoch stands
            known = seen.get(realm, NOTHING)
            if not _concerns(machine, realm):
                continue
            if rank(epoch) > rank(known) and epoch.number <= known.number + EPOCH_LEAP_MAX and realm in fences:
                seen[realm] = epoch
            if realm in fences and rank(fences[realm]) < rank(seen.get(realm, NOTHING)):
                raise Violation(
                    f"{machine.name} heard of epoch {_show(seen[realm])} of {realm[:12]}, and fences at {_show(fences[realm])}"
                )

    def _said(self, machine: Machine, peer: NodeId, message: PeerMessage) -> None:
        kind = type(message)
        if kind is RaftSaid:
            assert isinstance(message, RaftSaid)
            self.raft_said(machine, peer, message)
        elif kind is LeaseGranted:
            assert isinstance(message, LeaseGranted)
            self._granted(machine, message)
        elif kind in CHANGES:
            seen = self.seen.get((machine.id, machine.boot), {})
            for realm, epoch in _epochs_claimed(message):
                if rank(epoch) < rank(seen.get(realm, NOTHING)):
                    raise Violation(
                        f"{machine.name} speaks for {realm[:12]} in epoch {_show(epoch)}, and heard of {_show(seen[realm])}"
                    )

    # -- leases ---------------------------------------------------------------------------------------------------------------

    def _granted(self, machine: Machine, message: LeaseGranted) -> None:
        assert machine.node is not None
        terms = message.terms
        if terms.node != machine.id or terms.boot != machine.boot:
            raise Violation(f"{machine.name} grants what only {self._name(terms.node)} has")

    def _asked(self, machine: Machine, message: LeaseAsk, effects: list[Effect]) -> None:
        if not message.realm:
            return
        seen = self.seen.get((machine.id, machine.boot), {}).get(RealmId(message.realm), NOTHING)
        granted = any(type(effect) is Send and type(effect.message) is LeaseGranted for effect in effects)
        if granted and rank(message.epoch) < rank(seen):
            raise Violation(f"{machine.name} grants to who was sent in epoch {_show(message.epoch)}, of {_show(seen)}")

    def _name(self, node: NodeId) -> str:
        machine = self.world.by_id.get(node)
        return machine.name if machine is not None else node[:8]


def _epochs_heard(message: PeerMessage) -> list[tuple[RealmId, Epoch]]:
    """Return of which epochs a message lets its hearer know."""
    match message:
        case CenterTold() | Registered():
            return [_of(message.center)]
        case GuestTold():
            return [(message.realm, message.epoch)]
        case _:
            return []


def _epochs_claimed(message: PeerMessage) -> list[tuple[RealmId, Epoch]]:
    """Return for which realms, in which epochs, the speaker stands."""
    match message:
        case CenterTold() | Registered():
            return [_of(message.center)]
        case Register() | SummaryTold():
            return [(message.child, message.epoch)]
        case GuestTold():
            return [(message.realm, message.epoch)]
        case _:
            return []


def _concerns(machine: Machine, realm: RealmId) -> bool:
    """Tell whether a realm is any business of a node: its site, a council it sits in, or one right above what it leads."""
    reigns = reigns_of(machine)
    if realm == RealmId(machine.site.account) or realm in reigns or realm in seats_of(machine):
        return True
    return any(realm in reign.superiors.parents for reign in reigns.values())


def _of(center: Center) -> tuple[RealmId, Epoch]:
    return center.realm, center.epoch


def _show(epoch: Epoch) -> str:
    return f"{epoch.number}{'?' if epoch.provisional else ''}"


_encode = msgspec.msgpack.Encoder().encode


def _print_of(entry: Entry) -> bytes:
    """Return few bytes that tell entries apart."""
    return blake2b(_encode(entry), digest_size=8).digest()
