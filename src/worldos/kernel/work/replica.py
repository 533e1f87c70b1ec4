"""A replica: one node's copy of the site's work, and its part in the Raft group that keeps the copies the same.

What is proposed is acknowledged once it is on the disks of a majority and applied here. A command may be longer than an entry of
the log: then it goes in pieces, one after the other; a first piece begins anew, so what a leader that died left half said counts
for nothing. Where the answer is that the leader changed, a command may have come to pass all the same: its ids bear that.

Invariant: work is changed by committed entries alone, in their order. Between the pieces of one command no snapshot is taken.
Times in ns of the node's clock. Source: D. Ongaro, thesis, chapters 5 and 6; ``kernel/seat.py``, which does this for charters.
"""

from __future__ import annotations

from typing import TypeAlias, assert_never

import msgspec

from worldos.errors import PeerBroke
from worldos.kernel.council import HandOver
from worldos.kernel.raft import (
    RESTFUL,
    Committed,
    ConfigStep,
    Followed,
    Led,
    Mended,
    Persist,
    Raft,
    RaftEffect,
    ReadLost,
    ReadReady,
    Restored,
    SendRaft,
)
from worldos.kernel.stored import Recovered
from worldos.kernel.tenure import Tenure
from worldos.kernel.work.limits import COMPACT_BYTES_MIN, PIECE_BYTES
from worldos.kernel.work.site import Site
from worldos.kernel.work.state import Work
from worldos.kernel.work.words import decode_command, encode_command
from worldos.model.ids import NodeId
from worldos.model.limits import MS, RAFT_ENTRY_BYTES
from worldos.model.raft import NOBODY, Config, Entry, RaftMessage, Snapshot
from worldos.model.work import WorkAnswer, WorkCommand

WHOLE, FIRST, MIDDLE, LAST = b"\0", b"\1", b"\2", b"\3"


class Applied(msgspec.Struct, frozen=True):
    """The command of this index of the log was applied, and is on a majority's disks: these are its answers."""

    index: int
    answers: tuple[WorkAnswer, ...]


class Lost(msgspec.Struct, frozen=True):
    """This node does not lead any more: what became of all that was proposed is not known here."""


class Leads(msgspec.Struct, frozen=True):
    """This node leads."""


class Ready(msgspec.Struct, frozen=True):
    """The question of this ticket may be answered from the state here (``fresh``), or nobody can say."""

    ticket: int
    fresh: bool


class Changed(msgspec.Struct, frozen=True):
    """The state is another now, as a whole."""


class LeftOut(msgspec.Struct, frozen=True):
    """The others go on without this replica: it is to be dropped, and what was stored of it."""


Happening: TypeAlias = Applied | Lost | Leads | Ready | Changed | LeftOut


class Outcome(msgspec.Struct):
    """What came of a call, each in order: what Raft wants sent and stored, what happened, and whether a repair is over."""

    effects: list[SendRaft | Persist] = []
    happenings: list[Happening] = []
    mended: bool = False


class Replica(msgspec.Struct, kw_only=True):
    """One member of the group. ``tick`` is not due before ``due_ns``.

    ``pieces``: what has come of a command in several entries. ``own``: what this node proposed as leader, by index: it
    need not be read again. ``since_bytes``: how much was applied since the last snapshot,
    which had ``snapshot_bytes``.
    """

    me: NodeId
    raft: Raft
    work: Work
    tenure: Tenure = msgspec.field(default_factory=Tenure)
    due_ns: int = 0
    pieces: list[bytes] = []
    own: dict[int, WorkCommand] = {}
    since_bytes: int = 0
    snapshot_bytes: int = 0
    broken: str = ""
    time_base_ns: int = 0  # when here the work's time was ``time_base_ms``, or more
    time_base_ms: int = 0

    # -- how it begins -----------------------------------------------------------------------------------------------------

    @classmethod
    def found(cls, me: NodeId, voters: tuple[NodeId, ...], seed: int, now_ns: int) -> Replica:
        """Begin the work of a site: each of its founders does, with the same voters."""
        raft = Raft.begin(me, seed, now_ns, config=Config(voters=voters), pace=RESTFUL)
        return cls(me=me, raft=raft, work=Work(), tenure=Tenure(seated=True), due_ns=now_ns)

    @classmethod
    def invited(cls, me: NodeId, seed: int, now_ns: int) -> Replica:
        """Take a place that the others give this node: empty, until the leader sends the log."""
        raft, tenure = Tenure.invited(me, seed, now_ns, RESTFUL)
        return cls(me=me, raft=raft, work=Work(), tenure=tenure, due_ns=min(raft.due_ns, tenure.due_ns(raft)))

    @classmethod
    def recover(cls, me: NodeId, recovered: Recovered, seed: int, now_ns: int) -> Replica:
        """Begin another life, with what the disk has; one whose disk was damaged does not vote before it is mended."""
        raft, tenure = Tenure.recovered(me, recovered, seed, now_ns, RESTFUL)
        return cls(me=me, raft=raft, work=Work(), tenure=tenure, due_ns=now_ns)

    # -- what is asked -----------------------------------------------------------------------------------------------------

    @property
    def leads(self) -> bool:
        """Tell whether this node leads, and may propose."""
        return self.raft.is_leader and self.raft.heir == NOBODY and not self.broken

    @property
    def leader(self) -> NodeId:
        """Return who leads as far as this node knows, or nobody."""
        return self.raft.leader

    @property
    def stands(self) -> bool:
        """Tell whether something of the own term is committed: the group has begun."""
        return self.leads and self.raft.log.committed >= self.raft.lead_index

    # -- what happens ------------------------------------------------------------------------------------------------------

    def tick(self, now_ns: int) -> Outcome:
        """Do what is due."""
        mended = self.tenure.mends_alone(self.raft, now_ns)
        stays_empty = self.tenure.stays_empty(self.raft, now_ns)
        outcome = self._carry(self.raft.tick(now_ns))
        outcome.mended = outcome.mended or mended
        if stays_empty:
            outcome.happenings.append(LeftOut())
        return outcome

    def heard(self, now_ns: int, peer: NodeId, message: RaftMessage) -> Outcome:
        """Take in what another replica said."""
        outcome = self._carry(self.raft.heard(now_ns, peer, message))
        if self.tenure.is_left_out(self.raft, message):
            outcome.happenings.append(LeftOut())
        return outcome

    def persisted(self, now_ns: int, number: int) -> Outcome:
        """Take in that all writes up to this number are on disk."""
        outcome = self._carry(self.raft.persisted(now_ns, number))
        outcome.mended = outcome.mended or self.tenure.is_mended(number)
        return outcome

    def unlinked(self, now_ns: int, peer: NodeId) -> Outcome:
        """Take in that no link to this node is left."""
        return self._carry(self.raft.unlinked(now_ns, peer))

    def propose(self, now_ns: int, command: WorkCommand) -> tuple[int, Outcome]:
        """Put a command into the log; return the index at which it will be ``Applied``, or 0 where that cannot be now."""
        if not self.leads:
            return 0, Outcome()
        effects: list[RaftEffect] = []
        index = 0
        for piece in _pieces(encode_command(command)):
            index, more = self.raft.propose(now_ns, piece)
            effects += more
            if not index:
                break
        if index:
            self.own[index] = command
        return index, self._carry(effects)

    def read(self, now_ns: int, ticket: int) -> Outcome:
        """Ask when a question asked now may be answered from here."""
        return self._carry(self.raft.read(now_ns, ticket))

    def step(self, now_ns: int, step: ConfigStep | HandOver) -> Outcome:
        """Take a step towards other voters."""
        if isinstance(step, HandOver):
            return self._carry(self.raft.hand_over(now_ns, step.node))
        return self._carry(self.raft.change(now_ns, step)[1])

    def time_ms(self, now_ns: int, site: Site) -> int:
        """Return the time of the work: what people's clocks show here, and never less than what passed since it was told last.

        A clock that was an hour ahead, and is put right or gives way to another's, would let it stand still for an hour.
        """
        shown_ms, known_ms = site.wall_ms(now_ns), self.work.wall_ms
        if shown_ms >= known_ms:
            return shown_ms
        passed_ms = self.time_base_ms + (now_ns - self.time_base_ns) // MS
        if not self.time_base_ms or known_ms > passed_ms:
            self.time_base_ns, self.time_base_ms = now_ns, known_ms
            return known_ms
        return passed_ms

    # -- what Raft says ----------------------------------------------------------------------------------------------------

    def _carry(self, effects: list[RaftEffect]) -> Outcome:
        """Carry out what Raft wants; that may bring more of it."""
        outcome = Outcome()
        queue = list(effects)
        for effect in queue:  # the queue grows while it is worked on
            match effect:
                case SendRaft() | Persist():
                    outcome.effects.append(effect)
                case Committed():
                    self._apply(effect.entries, outcome)
                    queue.extend(self._compact(effect.entries[-1].index))
                case Restored():
                    self._restore(effect.snapshot, outcome)
                case Led():
                    outcome.happenings.append(Leads())
                case Followed():
                    self.own = {}  # another may put other commands at these places
                    outcome.happenings.append(Lost())
                case ReadReady():
                    outcome.happenings.append(Ready(effect.ticket, fresh=True))
                case ReadLost():
                    outcome.happenings.append(Ready(effect.ticket, fresh=False))
                case Mended():
                    self.tenure.mending = effect.number
                case _:
                    assert_never(effect)
        self.due_ns = min(self.raft.due_ns, self.tenure.due_ns(self.raft))
        return outcome

    def _apply(self, entries: tuple[Entry, ...], outcome: Outcome) -> None:
        for entry in entries:
            self.since_bytes += len(entry.command) + RAFT_ENTRY_BYTES
            command = self._joined(entry.command) if entry.command and not self.broken else b""
            own = self.own.pop(entry.index, None)
            if not command:
                continue
            try:
                answers = self.work.apply(decode_command(command) if own is None else own)
            except PeerBroke:  # a member that leads wrote it: it changes nothing, at any replica
                continue
            outcome.happenings.append(Applied(entry.index, answers))

    def _joined(self, piece: bytes) -> bytes:
        """Return the whole command that this piece ends, or nothing yet."""
        mark = piece[:1]
        if mark == WHOLE:
            self.pieces = []
            return piece[1:]
        if mark == FIRST:
            self.pieces = [piece[1:]]
        elif self.pieces:
            self.pieces.append(piece[1:])
        if mark != LAST or not self.pieces:
            return b""
        whole, self.pieces = b"".join(self.pieces), []
        return whole

    def _restore(self, snapshot: Snapshot, outcome: Outcome) -> None:
        """Take over the work as a whole: from the disk, or from the leader."""
        self.pieces = []
        self.since_bytes, self.snapshot_bytes = 0, len(snapshot.state)
        try:
            self.work = Work.restore(snapshot.state)
            self.broken = ""
        except PeerBroke as error:
            self.broken = str(error)
        outcome.happenings.append(Changed())

    def _compact(self, index: int) -> list[RaftEffect]:
        """Now and then, let the work stand for the log: when the log has become longer than it."""
        if self.since_bytes < max(COMPACT_BYTES_MIN, self.snapshot_bytes) or self.pieces or self.broken:
            return []
        state = self.work.snapshot()
        self.since_bytes, self.snapshot_bytes = 0, len(state)
        return self.raft.compact(index, state)


def _pieces(command: bytes) -> list[bytes]:
    """Return a command as entries of the log hold it."""
    if len(command) <= PIECE_BYTES:
        return [WHOLE + command]
    cut = [command[at : at + PIECE_BYTES] for at in range(0, len(command), PIECE_BYTES)]
    return [FIRST + cut[0], *(MIDDLE + each for each in cut[1:-1]), LAST + cut[-1]]
