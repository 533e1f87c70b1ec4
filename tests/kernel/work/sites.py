"""A site of nodes that keep work together, driven by a pump: links with delays and cuts, a disk for each, and one charter.

The charter is one for all, and changes at once; all else is as between machines. What was not yet on a disk when its node was
killed may be lost. All times in ns.
"""

from __future__ import annotations

import heapq
from random import Random

from worldos.kernel.question import View
from worldos.kernel.stored import Recovered, Stored
from worldos.kernel.work.asks import Begin, Drop, Out, Reply, Say, Store
from worldos.kernel.work.table import WorkTable
from worldos.kernel.work.words import decode_answers, encode_command
from worldos.model.ids import AccountId, NodeId
from worldos.model.limits import MS, SECOND
from worldos.model.offer import Offer
from worldos.model.work import LineCommand, QueueCommand, WorkAnswer, WorkCommand
from worldos.model.work_wire import HeldAsk, TasksGiven, TasksStop, WorkAsk, WorkMessage

WIRE_NS = MS
DISK_NS = MS
WALL_MS = 1_800_000_000_000


class Charter:
    """What the site's council agreed on, for all to see."""

    def __init__(self, *council: str) -> None:
        self.council = tuple(NodeId(name) for name in council)
        self.begun = False
        self.founders: tuple[NodeId, ...] = ()
        self.begins = 0

    def begin(self, *, stands: bool) -> None:
        self.begins += 1
        if stands:
            self.founders = ()
        elif not self.begun:
            self.begun, self.founders = True, self.council


class SeenSite:
    """The site as one node sees it (kernel/work/site.py)."""

    def __init__(self, pump: Pump, me: NodeId) -> None:
        self.pump = pump
        self.me = me

    def is_member(self, node: NodeId) -> bool:
        return node in self.pump.members

    def is_linked(self, node: NodeId) -> bool:
        return self.pump.linked(self.me, node)

    def wall_ms(self, now_ns: int) -> int:
        return WALL_MS + now_ns // MS + self.pump.skew_ms.get(self.me, 0)

    def works(self) -> bool | None:
        return self.pump.charter.begun if self.me in self.pump.charter.council else None

    def founders(self) -> tuple[NodeId, ...]:
        return self.pump.charter.founders

    def council(self) -> tuple[NodeId, ...]:
        return self.pump.charter.council

    def alive(self) -> list[NodeId]:
        return [node for node in sorted(self.pump.members) if node == self.me or self.is_linked(node)]

    def offers(self) -> dict[NodeId, Offer]:
        return {node: offer for node, offer in self.pump.offers.items() if node in self.alive()}

    def view(self, now_ns: int) -> View:
        return View(
            home=self.me,
            account=AccountId("me"),
            rtt_us={},
            doubted=frozenset(),
            gone=frozenset(),
            nonce=now_ns.to_bytes(16, "big"),
        )

    def looks_further(self) -> bool:
        return False


class Pump:
    """All nodes and what is on its way. ``council`` names who sits in the council, ``others`` who belongs to the site beside."""

    def __init__(self, council: str = "a", others: str = "", seed: int = 1) -> None:
        self.now_ns = 0
        self.dice = Random(seed)
        self.charter = Charter(*council)
        self.members = {NodeId(name) for name in council + others}
        self.tables: dict[NodeId, WorkTable] = {}
        self.disks: dict[NodeId, Stored] = {}
        self.unwritten: dict[NodeId, list[Store]] = {}
        self.waits: list[tuple[int, int, NodeId, int, object]] = []
        self.count = 0
        self.lives: dict[NodeId, int] = dict.fromkeys(self.members, 0)
        self.cut: set[frozenset[str]] = set()
        self.down: set[NodeId] = set()
        self.skew_ms: dict[NodeId, int] = {}
        self.replies: dict[tuple[NodeId, int, int], Reply] = {}
        self.offers: dict[NodeId, Offer] = {}
        self.told: list[tuple[NodeId, TasksGiven | TasksStop | HeldAsk]] = []
        self.dropped: list[NodeId] = []
        self.loss = 0.0
        for node in sorted(self.members):
            self.begin(node)

    def begin(self, node: NodeId, damaged: str = "") -> None:
        self.lives[node] += 1
        seed = self.lives[node] * 1000 + ord(node[0])
        self.tables[node] = WorkTable(me=node, seed=seed)
        disk = self.disks.get(node)
        if disk is not None:
            found = Recovered(
                vote=disk.vote,
                snapshot=disk.snapshot,
                entries=tuple(disk.entries),
                damaged=damaged,
                life=self.lives[node],
            )
            self.tables[node].recover(self.now_ns, found)

    # -- what the world does ---------------------------------------------------------------------------------------------------

    def run(self, duration_ns: int) -> None:
        end_ns = self.now_ns + duration_ns
        while True:
            due = {node: table.due_ns for node, table in self.tables.items() if node not in self.down}
            due_ns = min(due.values(), default=end_ns)
            next_ns = max(self.now_ns, min(self.waits[0][0] if self.waits else end_ns, due_ns, end_ns))
            self.now_ns = next_ns
            if self.waits and self.waits[0][0] <= next_ns:
                _, _, node, life, what = heapq.heappop(self.waits)
                if node not in self.down and life == self.lives[node]:
                    self.give(node, what)
            elif due_ns <= next_ns < end_ns:
                for node in [node for node, at_ns in due.items() if at_ns <= next_ns]:
                    self.carry(node, self.tables[node].tick(next_ns, SeenSite(self, node)))
            else:
                return

    def linked(self, one: NodeId, other: NodeId) -> bool:
        return not ({one, other} & self.down) and frozenset((one, other)) not in self.cut

    def give(self, node: NodeId, what: object) -> None:
        table, site = self.tables[node], SeenSite(self, node)
        if isinstance(what, Store):
            self.unwritten[node].remove(what)
            self.write(node, what)
            self.carry(node, table.persisted(self.now_ns, site, what.write.number))
            return
        peer, message = what  # type: ignore[misc]
        if self.linked(peer, node):
            if isinstance(message, TasksGiven | TasksStop | HeldAsk):
                self.told.append((node, message))
                return
            self.carry(node, table.heard(self.now_ns, site, peer, message))

    def write(self, node: NodeId, what: Store) -> None:
        write = what.write
        self.disks.setdefault(node, Stored()).persist(write.vote, write.entries, write.snapshot)

    def carry(self, node: NodeId, out: list[Out]) -> None:
        for each in out:
            match each:
                case Say():
                    if self.dice.random() >= self.loss:
                        self.later(WIRE_NS + self.dice.randrange(WIRE_NS), each.node, (node, each.message))
                case Store():
                    self.unwritten.setdefault(node, []).append(each)
                    self.later(DISK_NS, node, each)
                case Reply():
                    key = (node, self.lives[node], each.number)
                    assert key not in self.replies, "answered twice"
                    self.replies[key] = each
                case Begin():
                    self.charter.begin(stands=each.stands)
                    self.tables[node].stood = each.stands or self.tables[node].stood
                    self.tables[node].due_ns = self.now_ns
                case Drop():
                    self.dropped.append(node)
                    self.disks.pop(node, None)
                case _:
                    pass

    def later(self, delay_ns: int, node: NodeId, what: object) -> None:
        self.count += 1
        heapq.heappush(self.waits, (self.now_ns + delay_ns, self.count, node, self.lives.get(node, 0), what))

    # -- faults ------------------------------------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """The machine goes; the others see the links close. What was on its way to its disk may be on it, in order."""
        node = NodeId(name)
        self.down.add(node)
        unwritten = self.unwritten.pop(node, [])
        for write in unwritten[: self.dice.randrange(len(unwritten) + 1)]:
            self.write(node, write)
        for other in sorted(self.members - self.down):
            self.carry(other, self.tables[other].unlinked(self.now_ns, SeenSite(self, other), node))

    def restart(self, name: str, damaged: str = "") -> None:
        node = NodeId(name)
        self.down.discard(node)
        self.begin(node, damaged)

    def isolate(self, name: str) -> None:
        """Cut a node off from all others, silently."""
        self.cut |= {frozenset((name, other)) for other in self.members if other != name}

    # -- what is asked -----------------------------------------------------------------------------------------------------

    def ask(self, name: str, *said: LineCommand | QueueCommand, wait_ms: int = 0) -> tuple[NodeId, int, int]:
        """Have a node ask for this; return by what the reply is found."""
        return self.ask_words(name, WorkAsk(number=0, command=encode_command(WorkCommand(said=said)), wait_ms=wait_ms))

    def ask_words(self, name: str, words: WorkAsk) -> tuple[NodeId, int, int]:
        node, site = NodeId(name), SeenSite(self, NodeId(name))
        number, out = self.tables[node].ask(self.now_ns, site, words)
        self.carry(node, out)
        self.carry(node, self.tables[node].flush(self.now_ns, site))
        return node, self.lives[node], number

    def answers(self, key: tuple[NodeId, int, int]) -> tuple[WorkAnswer, ...]:
        """Return the answers to an ask that has come to an end well."""
        reply = self.replies[key]
        assert not reply.error, reply
        return decode_answers(reply.data)

    def said(self, name: str, *said: LineCommand | QueueCommand, within_ns: int = 5 * SECOND) -> tuple[WorkAnswer, ...]:
        """Ask, and let time pass until it is answered."""
        key = self.ask(name, *said)
        self.until(key, within_ns)
        return self.answers(key)

    def until(self, key: tuple[NodeId, int, int], within_ns: int = 5 * SECOND) -> None:
        end_ns = self.now_ns + within_ns
        while key not in self.replies and self.now_ns < end_ns:
            self.run(5 * MS)

    def leader(self) -> NodeId:
        (node,) = [n for n, t in self.tables.items() if n not in self.down and t.replica and t.replica.stands]
        return node

    def say(self, node: NodeId, peer: str, message: WorkMessage) -> None:
        """Let a node hear this from a peer now."""
        self.carry(node, self.tables[node].heard(self.now_ns, SeenSite(self, node), NodeId(peer), message))
