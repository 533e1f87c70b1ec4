"""A council under faults, from one seed: messages lost, doubled, late and out of order; ways cut in one or both directions;
crashes that forget what was not synced; disks that lose what they had; members and leaders that change; logs compacted.

Checked after every step, against what was ever committed anywhere: election safety, log matching, leader completeness,
state machine safety (the Raft paper, figure 3), and that a read sees all that was committed before it began. In the end the
faults stop, and the council must be able to commit again.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from functools import partial

import pytest
from tests.kernel.raft.council import Council, Disk, Machine, encoder, rafts

from worldos.kernel.raft import (
    AddLearner,
    Committed,
    Led,
    Pace,
    Persist,
    Promote,
    RaftEffect,
    ReadLost,
    ReadReady,
    Remove,
    Restored,
    leader,
    log,
)
from worldos.model.ids import NodeId
from worldos.model.limits import MS
from worldos.model.raft import Entry, RaftMessage

FAULTS_NS = 2500 * MS
EVENTS_MAX = 50_000
HEALING_NS = 800 * MS
CHAOS_PACE = Pace(heartbeat_ns=15 * MS, election_min_ns=45 * MS, election_max_ns=90 * MS)
RESTFUL_CHAOS = Pace(heartbeat_ns=15 * MS, election_min_ns=45 * MS, election_max_ns=90 * MS, rests=3, tells_late=True)
RESTFUL_EVERY = 3  # seeds: in these nothing is asked for a while, now and then, and the council may rest
LULL_NS = 300 * MS


def small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little stays in front of a snapshot, and it goes in many parts: so that all of it happens in a short run."""
    monkeypatch.setattr(log, "RAFT_KEPT_ENTRIES", 8)
    monkeypatch.setattr(leader, "RAFT_SNAPSHOT_PART_BYTES", 300)
    monkeypatch.setattr(leader, "RAFT_REST_BEATS", 2)


class Broken(AssertionError):
    """A promise of Raft was broken."""


class Checker:
    """Everything that was ever committed, by whomever, and who led when."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.highest = 0
        self.led: dict[int, NodeId] = {}
        self.reads: dict[int, int] = {}
        self.fresh_reads = 0

    def committed(self, node: NodeId, entry: Entry) -> None:
        known = self.entries.setdefault(entry.index, entry)
        if known != entry:
            raise Broken(f"state machine safety: {node} has {entry}, another had {known}")
        self.highest = max(self.highest, entry.index)

    def elected(self, machine: Machine, term: int) -> None:
        other = self.led.setdefault(term, machine.node)
        if other != machine.node:
            raise Broken(f"election safety: {machine.node} and {other} lead in term {term}")
        log = machine.raft.log
        for index in range(log.base, self.highest + 1):
            entry = self.entries.get(index)
            if entry is not None and log.term_at(index) != entry.term:
                raise Broken(f"leader completeness: {machine.node} leads in {term} without {entry}")

    def answered(self, effect: ReadReady) -> None:
        self.fresh_reads += 1
        if effect.index < self.reads[effect.ticket]:
            raise Broken(f"a stale read: {effect.index}, committed before it began: {self.reads[effect.ticket]}")

    def matching(self, machines: list[Machine]) -> None:
        """Where two logs have the same term at an index, all before it is the same."""
        for at, machine in enumerate(machines):
            log = machine.raft.log
            for other in (m.raft.log for m in machines[at + 1 :]):
                agree = True
                for index in range(min(log.last, other.last), max(log.base, other.base), -1):
                    one, two = log.entries[index - log.base - 1], other.entries[index - other.base - 1]
                    if one.term == two.term:
                        if one != two:
                            raise Broken(f"log matching: {one} and {two}")
                        agree = False
                    elif not agree:
                        raise Broken(f"log matching: {one} and {two} before what agrees")


class Climate:
    """How likely things are in one run: each run has its own, so that some are calm in one thing and wild in another."""

    def __init__(self, dice: random.Random) -> None:
        self.loss = dice.choice((0, 0, 0.02, 0.1))
        self.twice = dice.choice((0, 0.03, 0.2))
        self.late = dice.choice((0, 0, 0.05, 0.2))
        self.slow_disk = dice.choice((0, 0.05, 0.4))
        self.pause_ms = dice.choice((20, 60, 120))
        self.acts = dice.choices((0, 1, 3), k=len(ACTS))
        self.at_leader = dice.choice((0.1, 0.5, 0.9))


class Chaos(Council):
    """A council whose wire and disks are moved by chance. Times in ns."""

    pace = CHAOS_PACE

    def __init__(self, seed: int, voters: int, *, damage: bool = True) -> None:
        self.dice = random.Random(seed)
        self.rests = 0
        if seed % RESTFUL_EVERY == 0:
            self.pace = RESTFUL_CHAOS
        self.climate = Climate(self.dice)
        self.agenda: list[tuple[int, int, Callable[[], None]]] = []
        self.counted = 0
        self.faults = True
        self.damage = damage
        self.checker = Checker()
        self.tickets = 0
        self.said = 0
        self.answered: set[int] = set()
        self.known: list[NodeId] = []
        self.slow: dict[NodeId, int] = {}
        names = [NodeId(name) for name in "ABCDE"]
        super().__init__(*names[:voters], others=tuple(names[voters:]), seed=seed)
        self.watch = self.check
        self.names = names
        for node in names[:voters]:
            self.sync(node)  # a council is founded once its founders have written that it is

    # -- the world --------------------------------------------------------------------------------------------------------

    def later(self, ns: int, act: Callable[..., None], *values: object) -> None:
        self.counted += 1
        if self.counted > EVENTS_MAX:
            raise Broken("they talk without end")
        heapq.heappush(self.agenda, (self.now_ns + ns, self.counted, partial(act, *values)))

    def send(self, node: NodeId, to: NodeId, message: RaftMessage) -> None:
        dice, climate = self.dice, self.climate
        if self.faults and dice.random() < climate.loss:
            return
        for _ in range(2 if self.faults and dice.random() < climate.twice else 1):
            delay_ms = dice.randint(1, 4)
            if self.faults and dice.random() < climate.late:
                delay_ms = dice.choice((10, 50, 400))
            self.later(delay_ms * MS, self.arrive, node, to, message)

    def queued(self, machine: Machine, write: Persist) -> None:
        delay_ms = self.dice.choice((0, 1, 1, 2, 5))
        if self.faults and self.dice.random() < self.climate.slow_disk:
            delay_ms = self.dice.choice((10, 30, 200))
        self.later(delay_ms * MS, self.write, machine, write.number)

    def check(self, node: NodeId, effect: RaftEffect) -> None:
        match effect:
            case Committed():
                for entry in effect.entries:
                    self.checker.committed(node, entry)
            case Led():
                self.checker.elected(self.machines[node], effect.term)
            case ReadReady():
                self.checker.answered(effect)
                if self.machines[node].applied < effect.index:
                    raise Broken("a read before its state")
            case Restored():
                self.checker.highest = max(self.checker.highest, effect.snapshot.index)
            case ReadLost():
                pass
            case _:
                pass

    # -- faults -----------------------------------------------------------------------------------------------------------

    def disturb(self) -> None:
        """Do one of the things that happen, to somebody."""
        dice = self.dice
        act = dice.choices(ACTS, self.climate.acts)[0] if any(self.climate.acts) else dice.choice(ACTS)
        node = dice.choice(self.leaders if self.leaders and dice.random() < self.climate.at_leader else self.names)
        if self.machines[node].up:
            act(self, node)

    def crash_one(self, node: NodeId) -> None:
        self.crash(node, kept_writes=self.dice.randint(0, 2))
        if self.damage and self.dice.random() < 0.3 and self.can_spare_one():
            self.spoil(self.machines[node].disk)
        self.later(self.dice.choice((5, 30, 200)) * MS, self.come_back, node)

    def cut_power(self, node: NodeId) -> None:
        """Several crash at once; what was not synced is gone on all of them."""
        for other in sorted({node, *self.dice.sample(self.names, self.dice.randint(1, 4))}):
            if self.machines[other].up:
                self.crash(other)
                self.later(self.dice.choice((5, 30, 200)) * MS, self.come_back, other)

    def part(self, node: NodeId) -> None:
        """Cut one or two off, in both directions or in one."""
        side = sorted({node, self.dice.choice(self.names)})
        self.cut(*side)
        if self.dice.random() < 0.3:
            self.cuts = {way for way in self.cuts if way[0] in side}
        self.later(self.dice.choice((30, 100, 400)) * MS, self.heal)

    def depose(self, node: NodeId) -> None:
        """Cut one off, so that the others know at once."""
        self.cut(node)
        for other in self.names:
            if other != node and self.machines[other].up and self.dice.random() < 0.8:
                self.carry_out(other, self[other].unlinked(self.now_ns, node))
        self.later(self.dice.choice((60, 200, 400)) * MS, self.heal)

    def move_council(self, node: NodeId) -> None:
        for chief in self.leaders:
            self.reconfigure(chief, self.dice.choice(self.names))

    def hand_over(self, node: NodeId) -> None:
        self.carry_out(node, self[node].hand_over(self.now_ns, self.dice.choice(self.names)))

    def hint(self, node: NodeId) -> None:
        self.carry_out(node, self[node].unlinked(self.now_ns, self.dice.choice(self.names)))

    def take_over(self, node: NodeId) -> None:
        """Go on with a machine that was written down and read again."""
        machine = self.machines[node]
        again = rafts.decode(encoder.encode(machine.raft))
        if again != machine.raft:
            raise Broken("a machine that is not what it encodes to")
        machine.raft = again

    def can_spare_one(self) -> bool:
        """Whether the others of every council that there may be are a majority: else a damaged member is the end."""
        councils = [m.raft.log.config.voters for m in self.machines.values() if m.raft.log.config.voters]
        return all(len(voters) >= 3 for voters in councils) and not any(m.disk.damaged for m in self.machines.values())

    def spoil(self, disk: Disk) -> None:
        """Lose the end of what was on this disk, and its vote; it is noticed."""
        disk.damaged = True
        disk.vote = None
        del disk.entries[self.dice.randint(0, len(disk.entries)) :]
        if self.dice.random() < 0.2:
            disk.snapshot = None
            disk.entries.clear()

    def reconfigure(self, leader: NodeId, node: NodeId) -> None:
        config = self[leader].log.config
        if node in config.learners:
            step = self.dice.choice((Promote(node=node), Promote(node=node), Remove(node=node)))
        elif node in config.voters:
            if len(config.voters) <= (3 if any(m.disk.damaged for m in self.machines.values()) else 2):
                return
            step = Remove(node=node)
        else:
            step = AddLearner(node=node)
        self.change(leader, step)

    # -- the run ----------------------------------------------------------------------------------------------------------

    def work(self) -> None:
        """Propose at, and read from, whoever will have it."""
        dice = self.dice
        leaders = self.leaders
        if leaders:
            commands = [f"{self.said + n}".encode() for n in range(dice.randint(1, 4))]
            self.said += len(commands)
            self.propose(dice.choice(leaders), *commands)
        node = dice.choice(self.names)
        if self.machines[node].up and dice.random() < 0.5:
            self.tickets += 1
            self.checker.reads[self.tickets] = self.checker.highest
            self.read(node, self.tickets)

    def arrive(self, node: NodeId, to: NodeId, message: RaftMessage) -> None:
        machine = self.machines[to]
        if machine.up and (node, to) not in self.cuts:
            self.carry_out(to, machine.raft.heard(self.now_ns, node, message))

    def write(self, machine: Machine, number: int) -> None:
        if machine is self.machines[machine.node] and machine.up and machine.disk.queue:
            machine.disk.sync(number)
            self.carry_out(machine.node, machine.raft.persisted(self.now_ns, number))

    def come_back(self, node: NodeId) -> None:
        if not self.machines[node].up:
            self.restart(node)

    def go_on_working(self) -> None:
        self.work()
        lull = self.faults and self.pace.rests > 1 and self.dice.random() < 0.05
        self.later(LULL_NS if lull else self.dice.randint(3, 30) * MS, self.go_on_working)

    def go_on_disturbing(self) -> None:
        if self.faults:
            self.disturb()
            self.later(self.dice.randint(1, self.climate.pause_ms) * MS, self.go_on_disturbing)

    def go_on_comparing(self) -> None:
        self.checker.matching([m for m in self.machines.values() if m.up])
        self.later(250 * MS, self.go_on_comparing)

    def run_until(self, until_ns: int) -> None:
        while True:
            due, due_ns = None, until_ns
            for machine in self.machines.values():
                if machine.up and machine.raft.due_ns < due_ns:
                    due, due_ns = machine, machine.raft.due_ns
            if self.agenda and self.agenda[0][0] < due_ns:
                self.now_ns, _, act = heapq.heappop(self.agenda)
                act()
            elif due is not None:
                self.now_ns = max(self.now_ns, due_ns)
                self.tick(due.node)
                self.rests += due.raft.is_leader and due.raft.resting
            else:
                self.now_ns = until_ns
                return

    def run(self) -> None:
        """Live through the faults, then heal."""
        self.go_on_working()
        self.go_on_disturbing()
        self.go_on_comparing()
        self.run_until(self.now_ns + FAULTS_NS)
        self.faults = False
        self.heal()
        for node, machine in self.machines.items():
            if not machine.up:
                self.restart(node)
        self.run_until(self.now_ns + HEALING_NS)
        highest = self.checker.highest
        self.run_until(self.now_ns + 200 * MS)
        if len(self.leaders) != 1 or self.checker.highest <= highest:
            raise Broken(f"no progress after healing: leaders {self.leaders}")
        config = self[self.leaders[0]].log.config
        behind = [node for node in config.voters if self.machines[node].applied <= highest]
        if behind:
            raise Broken(f"{behind} do not catch up")


ACTS = (
    Chaos.crash_one,
    Chaos.cut_power,
    Chaos.part,
    Chaos.depose,
    Chaos.move_council,
    Chaos.compact,
    Chaos.hand_over,
    Chaos.hint,
    Chaos.take_over,
)
