"""Cosigning: this node cosigns what others decided, others cosign what it decided, and nobody shows two people two stories.

When the log of this node grew, up to seven linked nodes are told the new checkpoint with the proof from what each cosigned last:
first kin, one of each account, since witnesses of different owners count; then members. A witness writes down what it is about to
cosign before it does, in ``witnessed/`` of the home, so that not even a crash makes it cosign two histories.

Every so often each node shows one other what it was shown. Two notes that contradict each other are a *fork*: it is kept in
``forks/``, told to everybody linked, put into the own log, and that log is never cosigned again. Where sizes differ the log
itself is asked for its tiles, from which the contradiction follows.
What comes from others is bounded: so many messages a second from one, so many logs, so many notes of each.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from worldos.agent.home import make_folder, write_durably
from worldos.agent.log_pieces import LogPieces
from worldos.errors import BadSignature, Damaged, DiskFull, NotThere, PeerBroke, Unreachable
from worldos.kernel.decisions import Acted
from worldos.kernel.effects import Audit, Decided, Notice
from worldos.model.audit import (
    NOTE_BYTES_MAX,
    AuditMessage,
    CheckpointSeen,
    CheckpointTold,
    ForkTold,
    PieceAsk,
    PieceTold,
    ReceiptAsk,
    ReceiptTold,
)
from worldos.model.ids import NodeId
from worldos.trust.merkle import prove_consistency
from worldos.trust.note import (
    Note,
    check_checkpoint,
    check_cosignature,
    cosign,
    read_checkpoint,
    read_note,
    read_signature,
    write_note,
)
from worldos.trust.tiles import check_tiles, hash_reader
from worldos.trust.witness import Behind, GoesOn, Known, check_fork, compare, fork_by_tiles, judge

if TYPE_CHECKING:
    from worldos.agent.agent import Agent
    from worldos.agent.decision_log import DecisionLog
    from worldos.node import Node

WITNESSES_MAX: Final = 7
TOLD_EVERY_S: Final = 5.0
TOLD_AGAIN_S: Final = 60.0  # who did not answer
RELAY_ROUNDS: Final = 4
RELAYED_MAX: Final = 16  # notes of others in one go
LOGS_MAX: Final = 256
NOTES_MAX: Final = 64  # of one log that were shown to anybody
SENT_MAX: Final = 16  # own checkpoints for which cosignatures are waited
MESSAGES_PER_SECOND: Final = 100
PROVED_EVERY_S: Final = 30.0  # the tiles of one log are asked for so often to settle a doubt

Spawn = Callable[[Coroutine[None, None, None]], Any]


class Cosigning:
    """What this node knows of others' logs, and others of its own."""

    def __init__(
        self,
        folder: Path | None,
        log: DecisionLog,
        node: Node,
        send: Callable[[NodeId, AuditMessage], None],
        spawn: Spawn,
        tell: Callable[[Notice], None],
    ) -> None:
        self.known: dict[NodeId, Known] = {}
        self.forks: dict[NodeId, ForkTold] = {}
        self.cosigned: dict[NodeId, tuple[int, int]] = {}  # of our log: by whom, up to which size, when
        self.refusing: dict[NodeId, int] = {}  # witnesses that know more of our log than there is
        self.pieces = LogPieces(log, node, send, spawn)
        self._folder = folder
        self._log = log
        self._node = node
        self._send = send
        self._spawn = spawn
        self._tell = tell
        self._shown: dict[NodeId, deque[bytes]] = {}
        self._sent: dict[int, Note] = {}
        self._proofs: dict[tuple[int, int], tuple[bytes, ...]] = {}
        self._best = 0
        self._unsaved = b""
        self._saving = False
        self._signing: dict[NodeId, asyncio.Lock] = {}
        self._told_s = 0.0
        self._told: dict[NodeId, tuple[int, float]] = {}
        self._due = False
        self._relayed: NodeId = NodeId("")
        self._buckets: dict[NodeId, tuple[int, int]] = {}
        self._proved_s: dict[NodeId, float] = {}
        if folder is not None:
            self._read(folder)
        if self._folder is not None:
            log.grown.append(self.grown)

    @classmethod
    def of(cls, agent: Agent) -> Cosigning:
        """Return what cosigns for a running agent."""

        def send(node: NodeId, message: AuditMessage) -> None:
            if agent.network is not None:
                agent.network.send(node, message)

        folder = None if agent.started.passing else agent.home.path
        return cls(folder, agent.decisions, agent.node, send, agent.spawn, agent.note)

    def begin(self) -> None:
        """Begin a life: of the log, and of what is told about logs."""
        self._log.begin(self._node.boot)
        self._spawn(self._log.run())
        self._spawn(self._relay_forever())

    def take(self, effect: Audit | Decided) -> None:
        """Carry out what the node wants done; what it decided lies with all that one event decided."""
        if isinstance(effect, Audit):
            self.heard(effect.node, effect.message)

    # -- what comes in ------------------------------------------------------------------------------------------------------

    def heard(self, peer: NodeId, message: AuditMessage) -> None:
        """Take in what a member or kin says. What breaks a rule is dropped: it is signed or it is nothing."""
        if self._folder is None or not self._afford(peer):
            return
        with suppress(PeerBroke, BadSignature, Damaged, NotThere):
            match message:
                case CheckpointTold():
                    self._checkpoint(peer, message)
                case CheckpointSeen():
                    self._seen(peer, message)
                case ForkTold():
                    self._fork(message)
                case PieceAsk() | PieceTold() | ReceiptAsk() | ReceiptTold():
                    self.pieces.heard(peer, message)

    def _checkpoint(self, peer: NodeId, told: CheckpointTold) -> None:
        log = NodeId(told.log)
        if log != peer:
            self._relayed_note(log, told.note)
            return
        if log in self.forks or (log not in self.known and len(self.known) >= LOGS_MAX):
            return
        verdict = judge(self.known.get(log), log, told.note, told.old, told.proof)
        match verdict:
            case GoesOn():
                self.known[log] = verdict.known
                self._remember(log, told.note)
                self._spawn(self._cosign(log, verdict))
            case Behind():
                self._send(peer, CheckpointSeen(size=verdict.size))
            case ForkTold():
                self._fork(verdict)

    async def _cosign(self, log: NodeId, verdict: GoesOn) -> None:
        """Write down what is cosigned, then say so: in this order, one after the other, never an older over a newer."""
        assert self._folder is not None
        async with self._signing.setdefault(log, asyncio.Lock()):
            if verdict.known.size < self.known[log].size:
                return  # a newer one came meanwhile, and is cosigned instead
            try:
                await asyncio.to_thread(write_durably, self._folder / "witnessed" / log, verdict.known.note)
            except DiskFull:
                return
        line = cosign(self._log.key, verdict.text, int(time.time()))
        self._send(log, CheckpointSeen(size=verdict.known.size, line=line))

    def _seen(self, peer: NodeId, seen: CheckpointSeen) -> None:
        files = self._log.whole()
        if seen.line:
            note = self._sent.get(seen.size)
            if note is not None:
                self._take_cosignature(peer, seen, note)
        elif seen.size <= files.durable:
            self.refusing.pop(peer, None)
            self._tell_checkpoint(peer, seen.size)
        elif peer not in self.refusing:
            self.refusing[peer] = seen.size
            fields: dict[str, str | int] = {"witness": peer, "knows": seen.size, "there_are": files.durable}
            self._tell(Notice(name="decision log was cut", fields=fields))

    def _take_cosignature(self, peer: NodeId, seen: CheckpointSeen, note: Note) -> None:
        line = read_signature(seen.line)
        if check_cosignature(note.text, line).witness != peer:
            return
        self.refusing.pop(peer, None)
        self.cosigned[peer] = (seen.size, int(time.time()))
        if all(known.name != line.name for known in note.lines):
            note = Note(note.text, (*note.lines, line))
            self._sent[seen.size] = note
        if seen.size >= self._best:
            self._best = seen.size
            self._unsaved = write_note(note)
            if not self._saving:
                self._saving = True
                self._spawn(self._save_cosigned())
        self._log.witnessed(write_note(Note(note.text, (note.lines[0], line))), seen.size)

    async def _save_cosigned(self) -> None:
        """Write the newest cosigned note, and those that come while it is written, one after the other."""
        try:
            while self._unsaved:
                data, self._unsaved = self._unsaved, b""
                with suppress(DiskFull, NotThere):
                    await asyncio.to_thread(self._log.whole().save, "cosigned", data)
        finally:
            self._saving = False

    def _relayed_note(self, log: NodeId, data: bytes) -> None:
        """Hold what somebody else was shown against all that was shown here."""
        if log in self.forks or len(data) > NOTE_BYTES_MAX:
            return
        if log not in self.known and log != self._log.node and len(self._shown) >= LOGS_MAX:
            return
        note, told = check_checkpoint(data, log)
        if log == self._log.node:
            self._own_note(note, told.size, told.root)
            return
        for mine in self._shown.get(log, ()):
            found = compare(log, mine, data)
            if found is not None:
                self._fork(found)
                return
        known = self.known.get(log)
        if known is not None and known.size != told.size and data not in self._shown.get(log, ()):
            self._spawn(self._prove(log, known.note, data))
        self._remember(log, data)

    def _own_note(self, note: Note, size: int, root: bytes) -> None:
        """Our own key signed something: it had better be of our own log."""
        files = self._log.whole()
        if size <= files.durable and files.root(size) != root and self._log.node not in self.forks:
            mine = self._sent.get(size)
            self._tell(Notice(name="this key signed another log", fields={"size": size}))
            if mine is not None:
                self._fork(ForkTold(log=self._log.node, first=write_note(mine), second=write_note(note)))

    async def _prove(self, log: NodeId, one: bytes, two: bytes) -> None:
        """Ask a log for its tiles, where two people were shown two sizes of it, and see whether one goes on from the other."""
        now = time.monotonic()
        if log not in self._node.paths or now - self._proved_s.get(log, -PROVED_EVERY_S) < PROVED_EVERY_S:
            return
        self._proved_s[log] = now
        small, large = sorted((one, two), key=lambda data: read_checkpoint(read_note(data).text).size)
        _, whole = check_checkpoint(large, log)
        _, part = check_checkpoint(small, log)
        with suppress(PeerBroke, Damaged, Unreachable):
            tiles = await self.pieces.tiles_for(log, part.size, whole.size)
            hash_at = check_tiles(tiles, whole.size, whole.root)
            told = fork_by_tiles(log, small, large, hash_at)
            check_fork(told)  # raises where the log is honest
            self._fork(told)

    def _fork(self, told: ForkTold) -> None:
        """Keep and pass on what convicts a log; raise where it convicts nobody."""
        log = check_fork(told)
        if log in self.forks or len(self.forks) >= LOGS_MAX:
            return
        self.forks[log] = told
        _, one = check_checkpoint(told.first, log)
        _, two = check_checkpoint(told.second, log)
        fields: dict[str, str | int] = {"log": log, "sizes": f"{one.size} and {two.size}"}
        self._tell(Notice(name="a decision log told two stories", fields=fields))
        self._log.take([Acted(what="fork", about=log, why="it signed two histories", fields=fields)])
        for peer in sorted(self._node.paths):
            self._send(peer, told)
        if self._folder is not None:
            self._spawn(self._save_fork(self._folder, log, told))

    async def _save_fork(self, folder: Path, log: NodeId, told: ForkTold) -> None:
        with suppress(DiskFull):
            await asyncio.to_thread(write_durably, folder / "forks" / log, msgspec.msgpack.encode(told))

    # -- what goes out ------------------------------------------------------------------------------------------------------

    def grown(self) -> None:
        """A new checkpoint of our log was signed: tell the witnesses, at once or when it is time."""
        wait_s = TOLD_EVERY_S - (time.monotonic() - self._told_s)
        if wait_s <= 0:
            self.tell_all()
        elif not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(wait_s, self.tell_all)

    def tell_all(self, *, again: bool = True) -> None:
        """Tell every witness the checkpoint, from what each cosigned last; not ``again`` those who were told it lately."""
        self._due = False
        self._told_s = now = time.monotonic()
        size = self._log.files.durable if self._log.files is not None else 0
        told = {peer: at for peer, at in self._told.items() if at[0] == size and now - at[1] < TOLD_AGAIN_S}
        self._told = {} if again else told
        for peer in self.witnesses():
            if peer in self._told or self.cosigned.get(peer, (0, 0))[0] == size:
                continue
            self._told[peer] = (size, now)
            with suppress(NotThere, Damaged):
                self._tell_checkpoint(peer, self.cosigned.get(peer, (0, 0))[0])

    def witnesses(self) -> list[NodeId]:
        """Return who is asked to cosign: of each other account one that is linked, then members of our own."""
        kin: dict[str, NodeId] = {}
        members: list[NodeId] = []
        for peer in sorted(self._node.paths):
            contact = self._node.realms.kin.contact(peer)
            if self._node.is_member(peer):
                members.append(peer)
            elif contact is not None:
                kin.setdefault(contact.site, peer)
        return [*(kin[site] for site in sorted(kin)), *members][:WITNESSES_MAX]

    async def _relay_forever(self) -> None:
        """Tell witnesses that are linked since; show one node after the other what was shown here."""
        rounds = 0
        while self._folder is not None:
            await asyncio.sleep(TOLD_EVERY_S)
            rounds += 1
            self.tell_all(again=False)
            if rounds % RELAY_ROUNDS == 0:
                self.relay()

    def relay(self) -> None:
        """Show the next linked node the newest notes of others."""
        peers = sorted(self._node.paths)
        if not peers:
            return
        self._relayed = next((peer for peer in peers if peer > self._relayed), peers[0])
        for told in [self.forks[log] for log in sorted(self.forks)][:RELAYED_MAX]:
            self._send(self._relayed, told)
        logs = [log for log in self._shown if log not in {self._relayed, *self.forks}]
        for log in logs[:RELAYED_MAX]:
            self._shown[log] = self._shown.pop(log)  # the others come first the next time
            self._send(self._relayed, CheckpointTold(log=log, note=self._shown[log][-1]))

    def _tell_checkpoint(self, peer: NodeId, old: int) -> None:
        files = self._log.whole()
        data = files.load("checkpoint")
        if not data:
            return
        note, told = check_checkpoint(data, self._log.node)
        old = old if old <= told.size else 0
        proof = self._proofs.get((old, told.size))
        if proof is None:  # most witnesses are told from the same size
            proof = prove_consistency(hash_reader(files.read_tile, told.size), old, told.size)
            self._proofs = {at: kept for at, kept in self._proofs.items() if at[1] == told.size}
            self._proofs[old, told.size] = proof
        self._sent.setdefault(told.size, note)
        while len(self._sent) > SENT_MAX:
            del self._sent[min(self._sent)]
        self._send(peer, CheckpointTold(log=self._log.node, note=data, old=old, proof=proof))

    # -- small things ---------------------------------------------------------------------------------------------------------

    def _remember(self, log: NodeId, data: bytes) -> None:
        notes = self._shown.setdefault(log, deque(maxlen=NOTES_MAX))
        if data not in notes:
            notes.append(data)

    def _afford(self, peer: NodeId) -> bool:
        second = int(time.monotonic())
        at, count = self._buckets.get(peer, (second, 0))
        if at != second:
            self._buckets = {p: b for p, b in self._buckets.items() if b[0] == second}
            count = 0
        self._buckets[peer] = (second, count + 1)
        return count < MESSAGES_PER_SECOND

    def _read(self, folder: Path) -> None:
        """Take up what was cosigned and which forks are known from earlier lives."""
        try:
            for name in ("witnessed", "forks"):
                make_folder(folder / name)
        except DiskFull as error:
            self._tell(Notice(name="witnessing stopped", fields={"why": str(error)}))
            self._folder = None
            return
        for file in sorted((folder / "witnessed").iterdir()):
            with suppress(PeerBroke, BadSignature, Damaged):
                data = file.read_bytes()
                _, told = check_checkpoint(data, NodeId(file.name))
                self.known[NodeId(file.name)] = Known(told.size, told.root, data)
                self._remember(NodeId(file.name), data)
        for file in sorted((folder / "forks").iterdir()):
            with suppress(PeerBroke, BadSignature, Damaged, msgspec.DecodeError):
                told_twice = msgspec.msgpack.decode(file.read_bytes(), type=ForkTold)
                self.forks[check_fork(told_twice)] = told_twice
