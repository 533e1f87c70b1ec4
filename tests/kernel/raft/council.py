"""A council in one process: machines of the real kind, with disks that forget what was not synced, and a wire by hand.

Nothing moves by itself: a test delivers, syncs and lets time pass, or calls ``settle`` to do all of it until it is quiet.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from worldos.kernel.raft import (
    LAN,
    Committed,
    ConfigStep,
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
)
from worldos.kernel.raft.member import Role
from worldos.model.ids import NodeId
from worldos.model.limits import MS, SECOND
from worldos.model.raft import Config, Entry, RaftMessage, Snapshot, Vote

A, B, C, D, E = (NodeId(name) for name in "ABCDE")

encoder = msgspec.msgpack.Encoder()
states: msgspec.msgpack.Decoder[list[bytes]] = msgspec.msgpack.Decoder(list[bytes])
messages: msgspec.msgpack.Decoder[RaftMessage] = msgspec.msgpack.Decoder(RaftMessage)
rafts: msgspec.msgpack.Decoder[Raft] = msgspec.msgpack.Decoder(Raft)


class Disk:
    """What one member has written. A write is done when it is synced; a crash forgets the others."""

    def __init__(self) -> None:
        self.vote: Vote | None = None
        self.snapshot: Snapshot | None = None
        self.entries: list[Entry] = []
        self.queue: list[Persist] = []
        self.damaged = False
        self.mended_with: int | None = None

    def sync(self, number: int) -> None:
        while self.queue and self.queue[0].number <= number:
            self._write(self.queue.pop(0))
        if self.mended_with is not None and self.mended_with <= number:
            self.damaged, self.mended_with = False, None

    def _write(self, persist: Persist) -> None:
        if persist.vote is not None:
            self.vote = persist.vote
        if persist.entries:
            first = persist.entries[0].index
            begin = self.entries[0].index if self.entries else 1 + (self.snapshot.index if self.snapshot else 0)
            assert first <= begin + len(self.entries), f"a gap on disk before {first}"
            self.entries[max(first - begin, 0) :] = persist.entries
        if persist.snapshot is not None:
            self.snapshot = persist.snapshot
            if self.entries:
                del self.entries[: max(persist.snapshot.index + 1 - self.entries[0].index, 0)]


class Machine:
    """A member, its disk, and its state machine: the row of all commands so far."""

    def __init__(self, node: NodeId, raft: Raft, disk: Disk) -> None:
        self.node = node
        self.raft = raft
        self.disk = disk
        self.up = True
        self.applied = 0
        self.commands: list[bytes] = []
        self.told: list[RaftEffect] = []


class Council:
    """Machines by name, what is on the way between them (``wire``), and the time."""

    pace: Pace = LAN

    def __init__(
        self, *voters: NodeId, others: tuple[NodeId, ...] = (), seed: int = 0, pace: Pace | None = None
    ) -> None:
        self.pace = pace or self.pace
        self.now_ns = SECOND
        self.seed = seed
        self.lives = 0
        self.wire: list[tuple[NodeId, NodeId, RaftMessage]] = []
        self.cuts: set[tuple[NodeId, NodeId]] = set()
        self.sync_at_once = True
        self.watch: Callable[[NodeId, RaftEffect], None] = lambda node, effect: None
        self.machines: dict[NodeId, Machine] = {}
        config = Config(voters=tuple(voters))
        for node in voters:
            self.begin(node, Disk(), config)
        for node in others:
            self.begin(node, Disk(), None)

    def __getitem__(self, node: NodeId) -> Raft:
        return self.machines[node].raft

    def begin(self, node: NodeId, disk: Disk, config: Config | None = None) -> None:
        """Begin a life with what is on this disk."""
        self.lives += 1
        raft = Raft.begin(
            node,
            self.seed * 1000 + self.lives,
            self.now_ns,
            config=config,
            pace=self.pace,
            vote=disk.vote,
            snapshot=disk.snapshot,
            entries=tuple(disk.entries),
            may_vote=not disk.damaged,
        )
        self.machines[node] = Machine(node, raft, disk)
        self.carry_out(node, raft.tick(self.now_ns))

    def crash(self, node: NodeId, *, kept_writes: int = 0) -> None:
        """Lose the machine and all writes that were not synced, but for the first few."""
        machine = self.machines[node]
        machine.up = False
        if kept_writes and machine.disk.queue:
            machine.disk.sync(machine.disk.queue[:kept_writes][-1].number)
        machine.disk.queue.clear()
        machine.disk.mended_with = None

    def restart(self, node: NodeId) -> None:
        self.begin(node, self.machines[node].disk)

    def carry_out(self, node: NodeId, effects: list[RaftEffect]) -> None:
        machine = self.machines[node]
        for effect in effects:
            self.watch(node, effect)
            match effect:
                case SendRaft():
                    self.send(node, effect.node, effect.message)
                case Persist():
                    machine.disk.queue.append(effect)
                    self.queued(machine, effect)
                case Committed():
                    for entry in effect.entries:
                        assert entry.index == machine.applied + 1
                        machine.applied = entry.index
                        if entry.command:
                            machine.commands.append(entry.command)
                case Restored():
                    machine.applied = effect.snapshot.index
                    machine.commands = states.decode(effect.snapshot.state)
                case Mended():
                    machine.disk.mended_with = effect.number
                case Led() | Followed() | ReadReady() | ReadLost():
                    machine.told.append(effect)

    def send(self, node: NodeId, to: NodeId, message: RaftMessage) -> None:
        data = encoder.encode(message)
        self.wire.append((node, to, messages.decode(data)))

    def queued(self, machine: Machine, write: Persist) -> None:
        """A write was begun."""

    def sync(self, node: NodeId) -> None:
        """Have the disk write what it was given, and tell the member."""
        machine = self.machines[node]
        if machine.up and machine.disk.queue:
            number = machine.disk.queue[-1].number
            machine.disk.sync(number)
            self.carry_out(node, machine.raft.persisted(self.now_ns, number))

    def deliver(self, at: int = 0) -> None:
        """Deliver one message, unless its way is cut or its target is down."""
        node, to, message = self.wire.pop(at)
        machine = self.machines.get(to)
        if machine is not None and machine.up and (node, to) not in self.cuts:
            self.carry_out(to, machine.raft.heard(self.now_ns, node, message))

    def drop(self, *, to: NodeId | None = None, kind: type | None = None) -> int:
        """Lose what is on the wire, of one target or of one kind."""
        kept = [
            parcel
            for parcel in self.wire
            if (to is not None and parcel[1] != to) or (kind is not None and not isinstance(parcel[2], kind))
        ]
        lost = len(self.wire) - len(kept)
        self.wire = kept
        return lost

    def settle(self) -> None:
        """Sync and deliver until nothing moves, without any time passing."""
        for _ in range(100_000):
            if self.sync_at_once:
                for node in self.machines:
                    self.sync(node)
            if self.wire:
                self.deliver()
            elif not self.sync_at_once or not any(m.up and m.disk.queue for m in self.machines.values()):
                return
        raise AssertionError("it does not come to rest")

    def tick(self, node: NodeId) -> None:
        machine = self.machines[node]
        self.carry_out(node, machine.raft.tick(self.now_ns))

    def elapse(self, ns: int) -> None:
        """Let time pass, ticking whoever is due, and settle after each tick."""
        until_ns = self.now_ns + ns
        self.settle()
        while True:
            up = [m for m in self.machines.values() if m.up]
            due = min(up, key=lambda m: (m.raft.due_ns, m.node), default=None)
            if due is None or due.raft.due_ns > until_ns:
                break
            self.now_ns = max(self.now_ns, due.raft.due_ns)
            self.tick(due.node)
            self.settle()
        self.now_ns = until_ns

    def due(self, node: NodeId) -> None:
        """Let so much time pass that this member is due, but nobody else is ticked."""
        self.now_ns = max(self.now_ns, self[node].due_ns)
        self.tick(node)

    def elect(self, node: NodeId) -> None:
        """Let this member be elected by those that it can reach."""
        self.now_ns += 600 * MS
        self.due(node)
        self.settle()
        assert self[node].is_leader, f"{node} was not elected"

    def propose(self, node: NodeId, *commands: bytes) -> list[int]:
        indices = []
        for command in commands:
            index, effects = self[node].propose(self.now_ns, command)
            self.carry_out(node, effects)
            indices.append(index)
        return indices

    def change(self, node: NodeId, step: ConfigStep) -> int:
        index, effects = self[node].change(self.now_ns, step)
        self.carry_out(node, effects)
        return index

    def read(self, node: NodeId, ticket: int) -> None:
        self.carry_out(node, self[node].read(self.now_ns, ticket))

    def compact(self, node: NodeId) -> None:
        machine = self.machines[node]
        self.carry_out(node, machine.raft.compact(machine.applied, encoder.encode(machine.commands)))

    def cut(self, *nodes: NodeId) -> None:
        """Cut these off from all the others, in both directions."""
        for other in self.machines:
            if other not in nodes:
                self.cuts |= {(node, other) for node in nodes} | {(other, node) for node in nodes}

    def heal(self) -> None:
        self.cuts.clear()

    @property
    def leaders(self) -> list[NodeId]:
        return [node for node, m in sorted(self.machines.items()) if m.up and m.raft.role is Role.LEADER]

    def commands(self, node: NodeId) -> list[bytes]:
        return self.machines[node].commands

    def told(self, node: NodeId, kind: type) -> list[RaftEffect]:
        return [effect for effect in self.machines[node].told if isinstance(effect, kind)]
