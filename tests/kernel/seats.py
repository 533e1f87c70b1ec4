"""Seats of one council, driven by a small pump: a network with delays and cuts, and a disk for each. All times in ns."""

import heapq

import msgspec

from worldos.kernel import effects as shell
from worldos.kernel.charter import Command, encode_command
from worldos.kernel.council import Sitter
from worldos.kernel.raft import LAN
from worldos.kernel.seat import Happening, Outcome, PrimaryBegan, PrimaryEnded, Proposed, Seat, Unseated
from worldos.kernel.stored import Recovered, Stored
from worldos.model.ids import NodeId
from worldos.model.limits import MS, SECOND
from worldos.model.realm import Contact, Level, RaftSaid, RealmId

REALM = RealmId("realm")
WIRE_NS = 1 * MS
DISK_NS = 1 * MS
LOOK_NS = 1 * SECOND


def contact(name: str) -> Contact:
    return Contact(node=NodeId(name), name=name, site=RealmId("site"), root_cert=b"", addresses=(f"{name}:1",))


class Pump:
    """All machines and what is on its way. ``stopped`` ones neither hear nor act, and what comes waits for them."""

    def __init__(self, founder: str = "a") -> None:
        self.now_ns = 0
        self.seats: dict[NodeId, Seat] = {}
        self.disks: dict[NodeId, Stored] = {}
        self.waits: list[tuple[int, int, NodeId, object]] = []
        self.count = 0
        self.cut: set[frozenset[str]] = set()
        self.down: set[str] = set()
        self.stopped: set[str] = set()
        self.held: list[tuple[NodeId, object]] = []
        self.members: list[str] = [founder]
        self.primaries: dict[str, int] = {}
        self.reigns: list[tuple[str, int]] = []
        self.answers: dict[int, str] = {}
        self.unseated: list[str] = []
        self.fitness: dict[str, int] = {}
        self.look_ns = LOOK_NS
        self.tending = True
        seat, outcome = Seat.found(REALM, contact(founder), "home", Level.HOME, 7, 0, LAN)
        self.seats[NodeId(founder)] = seat
        self.disks[NodeId(founder)] = Stored()
        self.carry(NodeId(founder), outcome)

    # -- what the world does ------------------------------------------------------------------------------------------

    def run(self, duration_ns: int) -> None:
        end_ns = self.now_ns + duration_ns
        while True:
            due_ns = min([s.due_ns for n, s in self.seats.items() if n not in self.down | self.stopped], default=end_ns)
            next_ns = max(self.now_ns, min(self.waits[0][0] if self.waits else end_ns, due_ns, self.look_ns, end_ns))
            self.now_ns = next_ns
            if self.look_ns <= next_ns:
                self.look_ns = next_ns + LOOK_NS
                self.look()
            elif self.waits and self.waits[0][0] <= next_ns:
                _, _, node, what = heapq.heappop(self.waits)
                self.give(node, what)
            elif due_ns <= next_ns and next_ns < end_ns:
                for node in [n for n in self.seats if n not in self.down | self.stopped]:
                    if self.seats[node].due_ns <= next_ns:
                        self.carry(node, self.seats[node].tick(next_ns))
            else:
                return

    def look(self) -> None:
        self.check()
        if not self.tending:
            return
        for node, seat in list(self.seats.items()):
            assert msgspec.msgpack.decode(msgspec.msgpack.encode(seat), type=Seat) == seat, "a seat is a value"
            if node not in self.down | self.stopped:
                sitters = [
                    Sitter(contact=contact(n), fitness=self.fitness.get(n, 500), alive=self.linked(n, node))
                    for n in sorted(self.members)
                ]
                self.carry(node, seat.tend(self.now_ns, sitters))

    def linked(self, one: str, other: str) -> bool:
        return not ({one, other} & self.down) and frozenset((one, other)) not in self.cut

    def give(self, node: NodeId, what: object) -> None:
        if node in self.stopped:
            self.held.append((node, what))
            return
        seat = self.seats.get(node)
        if isinstance(what, int):
            if seat is not None and node not in self.down:
                self.carry(node, seat.persisted(self.now_ns, what))
            return
        peer, said = what
        if not self.linked(peer, node):
            return
        if seat is None:
            seat = self.seats[node] = Seat.invited(REALM, contact(node), len(self.seats), self.now_ns, LAN)
            self.disks[node] = Stored()
        if self.now_ns >= seat.due_ns:
            self.carry(node, seat.tick(self.now_ns))
        self.carry(node, seat.heard(self.now_ns, peer, said))

    def carry(self, node: NodeId, outcome: Outcome) -> None:
        for effect in outcome.effects:
            if isinstance(effect, shell.Send):
                assert isinstance(effect.message, RaftSaid)
                self.later(WIRE_NS, effect.node, (node, effect.message.message))
            elif isinstance(effect, shell.Persist):
                self.disks[node].persist(effect.vote, effect.entries, effect.snapshot)
                self.later(DISK_NS, node, effect.number)
        for happening in outcome.happenings:
            self.happened(node, happening)

    def happened(self, node: NodeId, happening: Happening) -> None:
        if isinstance(happening, PrimaryBegan):
            self.primaries[node] = happening.epoch.number
            self.reigns.append((node, happening.epoch.number))
        elif isinstance(happening, PrimaryEnded):
            del self.primaries[node]
        elif isinstance(happening, Proposed):
            assert happening.number not in self.answers, "answered twice"
            self.answers[happening.number] = happening.why
        elif isinstance(happening, Unseated):
            self.unseated.append(node)
            self.seats.pop(node)
            self.disks.pop(node)
            self.lose(node)

    def later(self, delay_ns: int, node: NodeId, what: object) -> None:
        self.count += 1
        heapq.heappush(self.waits, (self.now_ns + delay_ns, self.count, node, what))

    # -- faults -------------------------------------------------------------------------------------------------------

    def kill(self, *nodes: str) -> None:
        """The machine goes; the others see the links close."""
        for node in nodes:
            self.down.add(node)
            self.primaries.pop(node, None)
            for other, seat in list(self.seats.items()):
                if other not in self.down | self.stopped:
                    self.carry(other, seat.unlinked(self.now_ns, NodeId(node)))

    def restart(self, name: str, damaged: str = "") -> None:
        node = NodeId(name)
        self.down.discard(name)
        self.lose(node)
        if node not in self.disks:
            return
        disk = self.disks[node]
        found = Recovered(vote=disk.vote, snapshot=disk.snapshot, entries=tuple(disk.entries), damaged=damaged, life=2)
        self.seats[node], outcome = Seat.recover(REALM, node, found, 1000 + self.count, self.now_ns, LAN)
        self.carry(node, outcome)

    def lose(self, node: NodeId) -> None:
        """What was on its way to this node is gone."""
        self.waits = [each for each in self.waits if each[2] != node]
        heapq.heapify(self.waits)

    def wake(self, node: str) -> None:
        """It goes on where it was: what came meanwhile is heard at once, in order; its clock went on."""
        self.stopped.discard(node)
        held, self.held = self.held, []
        for each, what in held:
            self.give(each, what)

    def isolate(self, *names: str) -> None:
        """Cut these off from all others, silently."""
        others = {*self.members} - {*names}
        self.cut |= {frozenset((name, other)) for name in names for other in others}

    # -- what is looked at --------------------------------------------------------------------------------------------

    def voters(self) -> str:
        return "".join(self.primary().raft.log.config.voters)

    def primary(self) -> Seat:
        (node,) = [n for n, s in self.seats.items() if n not in self.down | self.stopped and s.is_primary(self.now_ns)]
        return self.seats[node]

    def propose(self, number: int, command: Command, at: str = "") -> None:
        seat = self.seats[NodeId(at)] if at else self.primary()
        self.carry(seat.me, seat.propose(self.now_ns, number, encode_command(command)))

    def check(self) -> None:
        """At most one may act; an epoch is begun once; charters are one history."""
        acting = [n for n, s in self.seats.items() if n not in self.down and s.is_primary(self.now_ns)]
        assert len(acting) <= 1, f"{acting} are primary at once"
        began: dict[int, str] = {}
        for node, number in self.reigns:
            assert began.setdefault(number, node) == node, f"epoch {number} was begun twice"
