"""A seat: one node's part in one realm's council. It ties Raft to the charter, and knows whether this node may act as primary.

A leader becomes the *primary* when an ``EpochBegan`` of its own is committed. It may act while a majority of the council
answered a heartbeat that it sent less than an election's time ago (its *lease*): the others help nobody to replace it before
that, and what arrived while it slept answers only heartbeats from before. So a primary that was stopped and wakes does nothing
until it has been confirmed anew, and if another was elected meanwhile, it never is. A closed link ends that faith on both
ends at once; where only one end noticed, two may act for a moment, and the epoch fences the older one.

Every call returns an ``Outcome``: effects for the shell, and happenings for the node. Between ``PrimaryBegan`` and
``PrimaryEnded`` ``is_primary`` was true at the latest call; who acts later asks again. A proposal is answered once, by
``Proposed``; where the answer is that the primary changed, it may have come to pass all the same, so whoever tries again must
not mind that (the commands of a charter do not).

Invariant: an epoch number is begun once; of one realm at most one node is primary in an epoch. Times in ns of the node's clock.
Source: C. Gray, D. Cheriton, "Leases", SOSP 1989; D. Ongaro, thesis, 6.4.1 (leases, and why they count from the sending).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, assert_never

import msgspec

from worldos.errors import PeerBroke
from worldos.kernel import effects as shell
from worldos.kernel.charter import (
    Charter,
    EpochBegan,
    Named,
    Seated,
    decode_command,
    decode_state,
    encode_command,
    encode_state,
)
from worldos.kernel.council import Council, HandOver, Sitter, Step
from worldos.kernel.raft import (
    LAN,
    WAN,
    AddLearner,
    Committed,
    Followed,
    Led,
    Mended,
    Pace,
    Persist,
    Raft,
    RaftEffect,
    ReadLost,
    ReadReady,
    Restored,
    SendRaft,
    quorum,
)
from worldos.kernel.raft.raft import FOUNDING_TERM
from worldos.kernel.stored import Recovered
from worldos.kernel.tenure import Tenure, caught_up
from worldos.model.ids import NodeId
from worldos.model.limits import (
    CHARTER_COMPACT_ENTRIES,
    EPOCH_LEAP_MAX,
    NEVER_NS,
    SEAT_DEAD_NS,
)
from worldos.model.raft import NOBODY, Config, Entry, RaftMessage, Snapshot
from worldos.model.realm import COUNCIL_MAX, Center, Contact, Contacts, Epoch, Level, RaftSaid, RealmId, rank

BEATS_KEPT = 32
CHANGED = "the primary changed: try again"
NOT_PRIMARY = "this node is not the primary: try again"
TOO_BUSY = "too much waits for the council: try again"
ONLY_COUNCIL = "only the council itself says this"


class PrimaryBegan(msgspec.Struct, frozen=True, kw_only=True, tag="began"):
    """This node is the realm's primary, in this epoch; again, when the epoch was raised or the lease is back."""

    realm: RealmId
    epoch: Epoch


class PrimaryEnded(msgspec.Struct, frozen=True, kw_only=True, tag="ended"):
    """It is not any more, or cannot be sure."""

    realm: RealmId


class CharterChanged(msgspec.Struct, frozen=True, kw_only=True, tag="charter"):
    """The charter says something new; once a call at most."""

    realm: RealmId


class Proposed(msgspec.Struct, frozen=True, kw_only=True, tag="proposed"):
    """The proposal of this number is in the charter (``why`` is empty), or why not."""

    number: int
    why: str


class Unseated(msgspec.Struct, frozen=True, kw_only=True, tag="unseated"):
    """The council goes on without this node: the seat is to be dropped, and what was stored of it."""

    realm: RealmId


Happening: TypeAlias = PrimaryBegan | PrimaryEnded | CharterChanged | Proposed | Unseated


class Outcome(msgspec.Struct, kw_only=True):
    """What came of a call, each in order; effects may be carried out first."""

    effects: list[shell.Effect] = []
    happenings: list[Happening] = []


class Seat(msgspec.Struct, kw_only=True):
    """One node's seat in one realm's council; ``tick`` is not due before ``due_ns``.

    ``pending``: proposals in the log, by index. ``reign_term``: the term in which this node's epoch is committed.
    ``epoch_index``, ``seats_index``: where what the seat itself proposed waits. ``seen``: the highest epoch number that a new
    reign must pass. ``told``: the epoch last told as begun. ``beats``: heartbeat rounds and when they were sent. ``void``: up
    to which round a peer's answers count for nothing.
    ``last_seats``: who sat when the last life ended, as far as its log says, until the charter has caught up with that;
    ``unsaid`` while the node was not told.
    ``broken``: the leader sent a charter that cannot be read.
    """

    realm: RealmId
    me: NodeId
    raft: Raft
    charter: Charter
    due_ns: int = 0
    tenure: Tenure = msgspec.field(default_factory=Tenure)
    council: Council = msgspec.field(default_factory=Council)
    pending: dict[int, int] = {}
    reign_term: int = 0
    epoch_index: int = 0
    seats_index: int = 0
    seen: int = 0
    told: Epoch | None = None
    beats: list[tuple[int, int]] = []
    void: dict[NodeId, int] = {}
    since_compact: int = 0
    last_seats: Contacts = ()
    unsaid: bool = False
    broken: bool = False

    # -- how a seat begins ------------------------------------------------------------------------------------------------

    @classmethod
    def found(
        cls, realm: RealmId, me: Contact, name: str, level: Level, seed: int, now_ns: int, pace: Pace
    ) -> tuple[Seat, Outcome]:
        """Begin a realm with this node as its whole council."""
        raft = Raft.begin(me.node, seed, now_ns, config=Config(voters=(me.node,)), pace=pace)
        first = (encode_command(Named(name=name, level=level)), encode_command(Seated(contacts=(me,))))
        raft.log.append([Entry(term=FOUNDING_TERM, index=2 + at, command=said) for at, said in enumerate(first)])
        raft.flush()
        seat = cls(realm=realm, me=me.node, raft=raft, charter=blank(realm), tenure=Tenure(seated=True))
        return seat, seat.tick(now_ns)

    @classmethod
    def recover(
        cls, realm: RealmId, me: NodeId, recovered: Recovered, seed: int, now_ns: int, pace: Pace
    ) -> tuple[Seat, Outcome]:
        """Begin another life of a seat; what its disk says comes of the first call after this, which is due at once."""
        raft, tenure = Tenure.recovered(me, recovered, seed, now_ns, pace)
        last = _last_seats(raft)
        seat = cls(realm=realm, me=me, raft=raft, tenure=tenure, charter=blank(realm), due_ns=now_ns, last_seats=last)
        seat.unsaid = bool(last)
        return seat, Outcome()

    @classmethod
    def invited(cls, realm: RealmId, me: Contact, seed: int, now_ns: int, pace: Pace) -> Seat:
        """Take a seat that a council gives this node: empty, until its leader sends the log."""
        raft, tenure = Tenure.invited(me.node, seed, now_ns, pace)
        due_ns = min(raft.due_ns, tenure.due_ns(raft))
        return cls(realm=realm, me=me.node, raft=raft, tenure=tenure, charter=blank(realm), due_ns=due_ns)

    # -- what the node asks -----------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> Epoch:
        """Return the latest epoch in the charter."""
        return self.charter.epoch

    @property
    def contacts(self) -> Contacts:
        """Return who sits, to be linked with: also before this life knows what is committed, or nobody would find another."""
        return self.last_seats or self.charter.seats

    def is_primary(self, now_ns: int) -> bool:
        """Tell whether this node may act as the realm's primary at this moment."""
        return self._reigns() and now_ns < self._lease_end_ns()

    # -- what happens -----------------------------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> Outcome:
        """Do what is due."""
        if self.tenure.mends_alone(self.raft, now_ns):
            return self._mend_alone(now_ns)
        stays_empty = self.tenure.stays_empty(self.raft, now_ns)
        outcome = self._carry(now_ns, self.raft.tick(now_ns))
        if stays_empty:
            outcome.happenings.append(Unseated(realm=self.realm))
        return outcome

    def heard(self, now_ns: int, peer: NodeId, message: RaftMessage) -> Outcome:
        """Take in what another member said."""
        outcome = self._carry(now_ns, self.raft.heard(now_ns, peer, message))
        if self.tenure.is_left_out(self.raft, message):
            outcome.happenings.append(Unseated(realm=self.realm))
        return outcome

    def persisted(self, now_ns: int, number: int) -> Outcome:
        """Take in that all writes up to this number are on disk."""
        outcome = self._carry(now_ns, self.raft.persisted(now_ns, number))
        if self.tenure.is_mended(number):
            outcome.effects.append(shell.Mend(realm=self.realm))
        return outcome

    def unlinked(self, now_ns: int, peer: NodeId) -> Outcome:
        """Take in that no link to this node is left: it may help to elect another from now on."""
        if self.raft.is_leader:
            self.void[peer] = self.raft.reads.round
        return self._carry(now_ns, self.raft.unlinked(now_ns, peer))

    def propose(self, now_ns: int, number: int, command: bytes) -> Outcome:
        """Put a command into the charter; ``Proposed`` with this number says what came of it, perhaps at once."""
        why = self._objection(now_ns, command)
        if why:
            return Outcome(happenings=[Proposed(number=number, why=why)])
        index, effects = self.raft.propose(now_ns, command)
        if not index:
            return self._carry(now_ns, effects, said=[Proposed(number=number, why=TOO_BUSY)])
        self.pending[index] = number
        return self._carry(now_ns, effects)

    def raise_epoch(self, now_ns: int, seen: Epoch) -> Outcome:
        """An epoch was seen that this node did not begin: if it is newer, this reign, or the next one here, goes above it."""
        if rank(seen) > rank(self.epoch) and seen.number <= self.epoch.number + EPOCH_LEAP_MAX:
            self.seen = max(self.seen, seen.number)
        return self._carry(now_ns, [])

    def center_told(self, now_ns: int, center: Center) -> Outcome:
        """A believed primary says who sits: a seat that has heard no leader for long and is not named has been given away."""
        silent = self.raft.leader == NOBODY and now_ns - self.raft.heard_ns > SEAT_DEAD_NS
        named = any(contact.node == self.me for contact in center.council)
        newer = not center.epoch.provisional and rank(center.epoch) >= rank(self.epoch)
        outcome = self._carry(now_ns, [])
        if silent and newer and not named and center.realm == self.realm:
            outcome.happenings.append(Unseated(realm=self.realm))
        return outcome

    def tend(self, now_ns: int, sitters: Sequence[Sitter]) -> Outcome:
        """Look after the council: one step towards who should sit, and where everybody is found. Only a primary does."""
        if not self.is_primary(now_ns):
            return self._carry(now_ns, [])
        log = self.raft.log
        step: Step | None = None
        if log.committed >= log.config_index:
            step = self.council.next_step(now_ns, log.config, self.me, sitters, caught_up(self.raft))
        effects = self._seat_contacts(now_ns, sitters, step)
        if isinstance(step, HandOver):
            effects += self.raft.hand_over(now_ns, step.node)
        elif step is not None:
            effects += self.raft.change(now_ns, step)[1]
        return self._carry(now_ns, effects)

    # -- what Raft says ---------------------------------------------------------------------------------------------------

    def _carry(self, now_ns: int, effects: list[RaftEffect], said: Sequence[Happening] = ()) -> Outcome:
        """Carry out what Raft wants; that may bring more of it."""
        outcome = Outcome(happenings=list(said))
        if self.unsaid:
            self.unsaid = False
            self._note(CharterChanged(realm=self.realm), outcome)
        self._note_beat(now_ns)
        queue = [*effects, *self._crown(now_ns)]
        for effect in queue:  # the queue grows while it is worked on
            queue.extend(self._take(now_ns, effect, outcome))
        self._tell_reign(now_ns, outcome)
        return outcome

    def _take(self, now_ns: int, effect: RaftEffect, outcome: Outcome) -> list[RaftEffect]:
        match effect:
            case SendRaft():
                message = RaftSaid(realm=self.realm, message=effect.message)
                outcome.effects.append(shell.Send(node=effect.node, message=message))
            case Persist():
                outcome.effects.append(
                    shell.Persist(
                        realm=self.realm,
                        number=effect.number,
                        vote=effect.vote,
                        entries=effect.entries,
                        snapshot=effect.snapshot,
                    )
                )
            case Committed():
                self._apply(effect.entries, outcome)
                return [*self._compact(effect.entries), *self._crown(now_ns)]
            case Restored():
                self._restore(effect.snapshot, outcome)
            case Led():
                return self._crown(now_ns)
            case Followed():
                self._give_up(outcome)
            case Mended():
                self.tenure.mending = effect.number
            case ReadReady() | ReadLost():
                pass  # nobody asked: a primary answers from its lease
            case _:
                assert_never(effect)
        return []

    def _apply(self, entries: tuple[Entry, ...], outcome: Outcome) -> None:
        """Let the charter take in what the council agreed on."""
        for entry in entries:
            why = self.charter.apply(entry.command) if entry.command and not self.broken else ""
            if entry.command and not why:
                self._note(CharterChanged(realm=self.realm), outcome)
            number = self.pending.pop(entry.index, None)
            if number is not None:  # it is of this term: who ceases to lead gives up all that is pending
                outcome.happenings.append(Proposed(number=number, why=why))
            if entry.index == self.epoch_index:
                self.epoch_index = 0
                self.reign_term = self.reign_term if why else entry.term
            if entry.index == self.seats_index:
                self.seats_index = 0
        if self.last_seats and self.raft.log.committed >= self.raft.log.last:
            self.last_seats = ()
            self._note(CharterChanged(realm=self.realm), outcome)
        self._keep_pace()

    def _restore(self, snapshot: Snapshot, outcome: Outcome) -> None:
        """Take over a charter as a whole: from the disk, or from the leader."""
        try:
            charter = decode_state(snapshot.state)
        except PeerBroke as error:
            self.broken = True
            fields: dict[str, str | int] = {"realm": self.realm, "why": str(error)}
            outcome.effects.append(shell.Notice(name="charter broken", fields=fields))
            return
        self.broken = charter.realm != self.realm
        if not self.broken:
            self.charter = charter
            self._keep_pace()
            self._note(CharterChanged(realm=self.realm), outcome)

    def _give_up(self, outcome: Outcome) -> None:
        """Another leads, or nobody: what this node proposed may or may not come to pass."""
        lost, self.pending = self.pending, {}
        outcome.happenings.extend(Proposed(number=number, why=CHANGED) for number in lost.values())
        self.epoch_index = self.seats_index = 0
        self.council = Council()
        self.void = {}

    def _compact(self, entries: tuple[Entry, ...]) -> list[RaftEffect]:
        """Now and then, let the charter stand for the log."""
        self.since_compact += len(entries)
        if self.since_compact < CHARTER_COMPACT_ENTRIES or self.broken:
            return []
        self.since_compact = 0
        return self.raft.compact(entries[-1].index, encode_state(self.charter))

    # -- reigning ---------------------------------------------------------------------------------------------------------

    def _reigns(self) -> bool:
        raft = self.raft
        led = raft.is_leader and raft.heir == NOBODY  # who is told to stand need not wait for this lease to end
        return led and self.reign_term == raft.term and not self.broken

    def _crown(self, now_ns: int) -> list[RaftEffect]:
        """As leader, begin an epoch: for a new term, or to go above one that was seen. Refused as stale, it is tried again."""
        if not self.raft.is_leader or self.epoch_index or self.broken:
            return []
        number = self.epoch.number
        if self.reign_term == self.raft.term and self.seen <= number:
            return []
        command = encode_command(EpochBegan(number=max(number, self.seen) + 1, primary=self.me))
        self.epoch_index, effects = self.raft.propose(now_ns, command)
        return effects

    def _tell_reign(self, now_ns: int, outcome: Outcome) -> None:
        """Say when this node begins or ceases to be primary, and see to it that a lease is not outlived."""
        raft = self.raft
        end_ns = self._lease_end_ns() if self._reigns() else -NEVER_NS
        primary = now_ns < end_ns
        if primary and self.told != self.epoch:
            self.told = self.epoch
            outcome.happenings.append(PrimaryBegan(realm=self.realm, epoch=self.epoch))
        elif not primary and self.told is not None:
            self.told = None
            outcome.happenings.append(PrimaryEnded(realm=self.realm))
        self.due_ns = min(raft.due_ns, end_ns) if primary else raft.due_ns
        self.due_ns = min(self.due_ns, self.tenure.due_ns(raft))

    def _lease_end_ns(self) -> int:
        """Return until when a majority of the voters helps nobody to replace this leader."""
        voters = self.raft.log.config.voters
        sent = [NEVER_NS if voter == self.me else self._answered_ns(voter) for voter in voters]
        return quorum.agreed(sent) + self.raft.pace.election_min_ns

    def _answered_ns(self, voter: NodeId) -> int:
        """Return when the latest heartbeat was sent that this voter has answered."""
        progress = self.raft.peers.get(voter)
        if progress is None or progress.round <= self.void.get(voter, 0):
            return -NEVER_NS
        return next((ns for number, ns in reversed(self.beats) if number <= progress.round), -NEVER_NS)

    def _note_beat(self, now_ns: int) -> None:
        number = self.raft.reads.round
        if not self.raft.is_leader:
            self.beats = []
        elif not self.beats or self.beats[-1][0] < number:
            self.beats = [*self.beats[1 - BEATS_KEPT :], (number, now_ns)]

    # -- the council ------------------------------------------------------------------------------------------------------

    def _seat_contacts(self, now_ns: int, sitters: Sequence[Sitter], step: Step | None) -> list[RaftEffect]:
        """Write down who sits, or is about to, and where each is found now: before the step, so that all know a newcomer."""
        config = self.raft.log.config
        nodes = {*config.voters, *config.learners} | ({step.node} if isinstance(step, AddLearner) else set())
        contacts = {sitter.node: sitter.contact for sitter in sitters}
        found = [contacts.get(node) or self.charter.contact_of(node) for node in sorted(nodes)]
        seats: Contacts = tuple(contact for contact in found if contact is not None)[:COUNCIL_MAX]
        if self.seats_index or seats == self.charter.seats:
            return []
        self.seats_index, effects = self.raft.propose(now_ns, encode_command(Seated(contacts=seats)))
        return effects

    # -- small ones -------------------------------------------------------------------------------------------------------

    def _objection(self, now_ns: int, command: bytes) -> str:
        if not self.is_primary(now_ns):
            return NOT_PRIMARY
        try:
            said = decode_command(command)
        except PeerBroke as error:
            return str(error)
        return ONLY_COUNCIL if isinstance(said, EpochBegan | Seated) else ""

    def _mend_alone(self, now_ns: int) -> Outcome:
        """Nobody came to mend this lone member: lead with what is left."""
        outcome = self._carry(now_ns, self.raft.tick(now_ns))
        outcome.effects.append(shell.Mend(realm=self.realm))
        outcome.effects.append(shell.Notice(name="damaged seat goes on alone", fields={"realm": self.realm}))
        return outcome

    def _keep_pace(self) -> None:
        """Be as quick as all others of the council: their patience is what a leader's lease rests on."""
        if self.charter.name:
            self.raft.pace = pace_by(self.charter.level)

    @staticmethod
    def _note(happening: Happening, outcome: Outcome) -> None:
        if happening not in outcome.happenings:
            outcome.happenings.append(happening)


def pace_by(level: Level) -> Pace:
    """Return how quick a council is: those of nations and planets sit far from each other."""
    return LAN if level < Level.NATION else WAN


def blank(realm: RealmId) -> Charter:
    """Return the charter before anything was said."""
    return Charter(realm=realm, name="", level=Level.PERSONAL)


def _last_seats(raft: Raft) -> Contacts:
    """Return who sits by the last word of a log, committed or not."""
    for entry in reversed(raft.log.entries):
        try:
            said = decode_command(entry.command) if entry.command else None
        except PeerBroke:
            continue
        if isinstance(said, Seated):
            return said.contacts
    return ()
