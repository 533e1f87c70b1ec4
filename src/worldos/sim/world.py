"""A world: many machines, one clock, one seed. Whatever happens in it happens again with the same seed, step for step.

A heap of calls in true time is all there is to it. The world is a shell like the agent: it brings events to each node and carries
its effects out, and decides nothing. After every step whoever watches (checkers.py) looks at the machine that took it.
Times in ns of true time; each node sees its own machine's clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from random import Random
from typing import Any, Final, NamedTuple, Protocol, assert_never

from worldos.kernel.belonging import log_entries
from worldos.kernel.effects import (
    Audit,
    Carry,
    CloseLane,
    Connect,
    Decided,
    Effect,
    Forget,
    Mend,
    Notice,
    OpenLane,
    Persist,
    SaveKeyLog,
    SaveStatements,
    Send,
    State,
    Tell,
    Unseat,
    Welcome,
)
from worldos.kernel.events import (
    ClockTicked,
    CommandCarried,
    Event,
    GuardSet,
    KeyLogOffered,
    LeaveAsked,
    PeerLinked,
    PeerSaid,
    PeerUnlinked,
    ResourcesScanned,
    StatementsOffered,
)
from worldos.kernel.guard.command import command_id
from worldos.kernel.guard.owner import remembered
from worldos.kernel.realms import RealmsAtStart
from worldos.model import wire
from worldos.model.ids import ClientId, NodeId
from worldos.model.isolation import Isolation
from worldos.model.limits import MS, SECOND
from worldos.model.local import ToClient
from worldos.model.realm import Level, RealmId
from worldos.model.resource import Kind, Scanned
from worldos.model.work_wire import WorkMessage
from worldos.node import NEVER_NS, new_node
from worldos.sim import machine as machines
from worldos.sim.clock import Clock, rate_by_chance
from worldos.sim.lanes import Lanes, MachineLanes
from worldos.sim.machine import Machine, Place, Site
from worldos.sim.seats import Seats
from worldos.sim.sessions import MachineWire, Sessions
from worldos.sim.work_door import WorkDoor, WorkWatcher
from worldos.trust.keylog import KeyLog, SignedEntry
from worldos.trust.statements import sign_statement, statement_id

LOCAL_NS: Final = 50_000  # from a program to its agent, or back
DISK: Final = 0x6469736B
TRACE_STEPS: Final = 400
WALL_NS: Final = 1_800_000_000 * SECOND  # what people's clocks show at the beginning, where that matters
SIZES: Final = ((1000, 2 << 30), (2000, 4 << 30), (4000, 8 << 30), (8000, 16 << 30))


class SitePlan(NamedTuple):
    """A site as it is to be: how many machines, and where."""

    size: int
    place: Place = Place()


class Watcher(Protocol):
    """Who looks at every step."""

    def stepped(self, machine: Machine, event: Event, effects: list[Effect]) -> None:
        """Look at the machine that took in an event, before its effects leave."""


class Client(Protocol):
    """A program of some machine."""

    def told(self, message: ToClient) -> None:
        """Take in what the agent says."""

    def killed(self) -> None:
        """Know that the machine under it is gone."""


class World:
    """Some machines, what is between them, and what is going to happen."""

    def __init__(
        self,
        seed: int,
        size: int | Sequence[SitePlan],
        *,
        harsh: bool = False,
        drift: bool = True,
        in_bytes: bool = False,
        with_realms: bool = False,
        with_work: bool = False,
    ) -> None:
        self.seed = seed
        self.with_work = with_work  # sites keep a line of jobs and queues
        self.with_realms = with_realms  # nodes have centers and councils
        self.dice = Random(seed)  # the one source of chance
        self.now_ns = SECOND
        self.steps = 0
        self.in_bytes = in_bytes  # every message is encoded and decoded, as on a wire
        self.machines: list[Machine] = []
        self.sites: list[Site] = []
        self.by_id: dict[NodeId, Machine] = {}
        self.sessions = Sessions(self, harsh=harsh)
        self.lanes = Lanes(self)
        self.clients: dict[ClientId, tuple[Machine, Client]] = {}
        self.watchers: list[Watcher] = []
        self.work_watchers: list[WorkWatcher] = []
        self.trace: deque[tuple[int, int, Event, list[Effect]]] = deque(maxlen=TRACE_STEPS)
        self.notes: deque[tuple[int, str]] = deque(maxlen=TRACE_STEPS)
        self._drift = drift
        self._heap: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._calls = 0
        self.disk_dice = Random(seed ^ DISK)  # of its own: how slow disks are does not change what else happens
        for plan in [SitePlan(size)] if isinstance(size, int) else size:
            self._add_site(plan)
        for each in self.machines:
            self.start(each)

    # -- time -------------------------------------------------------------------------------------------------------------

    def call_at(self, at_ns: int, call: Callable[..., None], *arguments: Any) -> None:
        """Let something happen at a moment; what is due at one moment happens in the order in which it was asked for."""
        assert at_ns >= self.now_ns
        self._calls = number = self._calls + 1
        heappush(self._heap, (at_ns, number, call, arguments))

    def later(self, delay_ns: int, call: Callable[..., None], *arguments: Any) -> None:
        """Let something happen after a while."""
        self.call_at(self.now_ns + delay_ns, call, *arguments)

    def run_until(self, end_ns: int) -> None:
        """Let everything happen up to a moment."""
        heap = self._heap
        while heap and heap[0][0] <= end_ns:
            self.now_ns, _, call, arguments = heappop(heap)
            call(*arguments)
        self.now_ns = max(self.now_ns, end_ns)

    def clock_of(self, machine: Machine) -> int:
        """Return what a machine's steady clock shows now."""
        return machine.clock.read(self.now_ns)

    def note(self, text: str) -> None:
        """Remember what was done to the world, for whoever reads the trace."""
        self.notes.append((self.now_ns, text))

    # -- events in, effects out -------------------------------------------------------------------------------------------

    def feed(self, machine: Machine, event: Event) -> None:
        """Let a node take in an event, and carry out what it wants done."""
        node = machine.node
        assert node is not None and machine.running  # noqa: PT018 - on the path of every step
        effects = node.handle(event)
        self.steps += 1
        if node.guard.rolls:  # on disk before anything is carried out
            machine.guard = remembered(node.guard)
        self.trace.append((self.now_ns, machine.number, event, effects))
        for watcher in self.watchers:
            watcher.stepped(machine, event, effects)
        send = machine.wire.send
        for effect in effects:
            if type(effect) is Send:
                send(effect.node, effect.message)
            else:
                self.carry_out(machine, effect)
        if node.due_ns < machine.due_ns:
            self._wake_at(machine, node.due_ns)
        if machine.work is not None:
            if type(event) is PeerUnlinked:
                machine.work.unlinked(event.node)
            elif type(event) is PeerLinked:
                machine.work.linked(event.node)

    def said(self, source: Machine, target: Machine, message: Any) -> None:
        """Bring a message (a ``Message`` of model/wire) to a node, or to the work beside it."""
        if self.in_bytes:
            message = wire.decode(wire.encode(message))
        if target.work is not None and isinstance(message, WorkMessage):
            target.work.heard(source.id, message)
            return
        now_ns = target.clock.read(self.now_ns)
        self.feed(target, PeerSaid(now_ns=now_ns, node=source.id, message=message))

    def on(self, machine: Machine, call: Callable[..., None], *arguments: Any) -> None:
        """Let something happen on a machine, in its present life: now, or when it goes on."""
        if machine.running:
            call(*arguments)
        elif machine.up:
            machine.waiting.append(lambda: self.on(machine, call, *arguments))

    def carry_out(self, machine: Machine, effect: Effect) -> None:
        """Do what a node wants done, but for what it sends."""
        match effect:
            case Send():
                raise AssertionError("sent before")
            case Tell():
                self.later(LOCAL_NS, self._tell, machine, machine.boot, effect.client, effect.message)
            case OpenLane():
                machine.lanes.open(effect.terms)
            case CloseLane():
                machine.lanes.end(effect.lease)
            case SaveKeyLog():
                assert machine.node is not None
                machine.entries = dict(machine.node.keylog.entries)
                self.sessions.reconsider_about(machine)
                if not machine.node.is_member(machine.id):
                    self.later(0, self.on, machine, self.leave, machine)
            case SaveStatements():
                self._keep_statements(machine, effect)
            case Carry() | State():
                self.later(LOCAL_NS, self.on, machine, self._by_itself, machine, effect)
            case Forget():
                machine.wire.forget(effect.node, effect.why)
            case Welcome():
                self._welcome(machine, effect.contact.node)
            case Persist():
                machine.seats.persist(effect)
            case Mend():
                machine.seats.mend(effect.realm)
            case Unseat():
                machine.seats.drop(effect.realm)
            case Connect() | Notice() | Decided() | Audit():
                pass  # all members hear each other's beacons; what people would read stands in the trace
            case _:
                assert_never(effect)

    def _by_itself(self, machine: Machine, effect: Carry | State) -> None:
        """What a machine does without anybody else: sign what its node says, and do what its guard lets it."""
        now_ns = self.clock_of(machine)
        if isinstance(effect, Carry):
            done = CommandCarried(now_ns=now_ns, command=command_id(effect.command), outcome="done", why="")
            self.feed(machine, done)
            return
        said = sign_statement(machine.key, effect.topic, effect.body)
        self.feed(machine, StatementsOffered(now_ns=now_ns, statements=(said,)))

    def _keep_statements(self, machine: Machine, effect: SaveStatements) -> None:
        for old in effect.dropped:
            machine.statements.pop(old, None)
        machine.statements.update((statement_id(statement), statement) for statement in effect.statements)

    def _welcome(self, machine: Machine, node: NodeId) -> None:
        other = self.by_id.get(node)
        if other is not None and node not in machine.welcomed:
            machine.welcomed.add(node)
            self.sessions.introduce(machine, other)
            self.sessions.reconsider_about(machine)

    def _tell(self, machine: Machine, boot: int, client: ClientId, message: ToClient) -> None:
        known = self.clients.get(client)
        if known is not None and machine.boot == boot:
            known[1].told(message)

    def _wake_at(self, machine: Machine, due_ns: int) -> None:
        """Wake a node when its own clock shows ``due_ns``; only the earliest such call counts."""
        machine.due_ns = due_ns
        self.call_at(max(self.now_ns, machine.clock.moment_of(due_ns)), self._wake, machine, machine.boot, due_ns)

    def _wake(self, machine: Machine, boot: int, due_ns: int) -> None:
        if machine.due_ns != due_ns or machine.boot != boot or not machine.running:
            return
        assert machine.node is not None
        now_ns = machine.clock.read(self.now_ns)
        machine.due_ns = NEVER_NS
        if machine.node.due_ns > now_ns:
            self._wake_at(machine, machine.node.due_ns)
        else:
            self.feed(machine, ClockTicked(now_ns=now_ns))

    # -- machines ---------------------------------------------------------------------------------------------------------

    def _add_site(self, plan: SitePlan) -> None:
        site = Site(len(self.sites), plan.place)
        self.sites.append(site)
        entries = machines.account_of(plan.size, site=site.number, first=len(self.machines))
        for _ in range(plan.size):
            self.add_machine(entries, site)

    def add_machine(self, entries: dict[str, Any], site: Site) -> Machine:
        """Put a machine with a new device key into a site, switched off, with this key log on its disk."""
        number = len(self.machines)
        local_ns = int(self.dice.random() * 1000 * SECOND)
        rate = rate_by_chance(self.dice)
        clock = Clock(true_ns=self.now_ns, local_ns=local_ns)
        clock.wall_error_ns = WALL_NS if self.with_work else 0
        if self._drift:
            clock.set_rate(self.now_ns, rate)
        machine = Machine(number, machines.device_key(number), clock, site)
        machine.wire = MachineWire(self.sessions, machine)
        machine.lanes = MachineLanes(self.lanes, machine)
        machine.entries = dict(entries)
        machine.size = SIZES[int(self.dice.random() * len(SIZES))]
        machine.facts = {"arch": "x86_64", "speed_mips": 2000 + int(self.dice.random() * 20_000)}
        machine.facts["isolation"] = " ".join(Isolation)
        machine.seats = Seats(self, machine)
        self.machines.append(machine)
        self.by_id[machine.id] = machine
        for mate in site.machines:
            self.sessions.introduce(mate, machine)
        site.machines.append(machine)
        return machine

    def start(self, machine: Machine) -> None:
        """Switch a machine on: the next life of its node begins with what is on its disk."""
        assert not machine.up
        machine.boot += 1
        machine.switch(up=True)
        machine.waiting.clear()
        machine.due_ns = NEVER_NS
        machine.welcomed.clear()
        keylog = KeyLog(entries=dict(machine.entries))
        machine.node = new_node(
            node=machine.id,
            account=keylog.account,
            boot=machine.boot,
            name=machine.name,
            place=machine.site.name,
            keylog=keylog,
            seed=self.dice.getrandbits(63),
            now_ns=self.clock_of(machine),
            realms=self._realms_of(machine) if self.with_realms else None,
        )
        self.note(f"{machine.name} starts its life {machine.boot}")
        machine.work = WorkDoor(self, machine) if self.with_work else None
        for realm, recovered in machine.seats.recover().items():
            if machine.work is not None and machine.work.recovered(realm, recovered):
                continue
            for effect in machine.node.realms.recover(self.clock_of(machine), realm, recovered):
                if type(effect) is not Send:  # nobody is linked yet
                    self.carry_out(machine, effect)
        self.scan(machine)
        if machine.guard:
            self.feed(machine, GuardSet(now_ns=self.clock_of(machine), change=machine.guard))
        if machine.statements:
            stored = tuple(machine.statements.values())
            self.feed(machine, StatementsOffered(now_ns=self.clock_of(machine), statements=stored, stored=True))
        self.sessions.reconsider_about(machine)

    def _realms_of(self, machine: Machine) -> RealmsAtStart:
        """Return how a node begins with its realms; the first machine of a site founds the council, if it never had one."""
        site = machine.site
        is_first = machine is site.machines[0] and RealmId(site.account) not in machine.seats.ever
        return RealmsAtStart(name=site.name, level=Level.HOME, founding=is_first)

    def scan(self, machine: Machine, *, memory_percent: int = 100) -> None:
        """Let the drivers look at a machine; ``memory_percent`` is what others leave of its memory."""
        milli, memory = machine.size
        event = ResourcesScanned(
            now_ns=self.clock_of(machine),
            wall_ns=machine.clock.wall(self.now_ns),
            resources=(
                Scanned(kind=Kind.CPU, local="0", name="cpu", unit="milli", capacity=milli, free=milli),
                Scanned(
                    kind=Kind.MEMORY,
                    local="0",
                    name="memory",
                    unit="bytes",
                    capacity=memory,
                    free=memory * memory_percent // 100,
                ),
            ),
            facts=machine.facts,
            addresses=(address_of(machine),),
        )
        self.feed(machine, event)

    def crash(self, machine: Machine) -> None:
        """Switch a machine off without warning: its programs, workers and leases are gone, its disk stays."""
        self.note(f"{machine.name} crashes")
        self._stop(machine, power=self.disk_dice.random() < 0.5)

    def leave(self, machine: Machine) -> None:
        """Let a node say good-bye, and end it."""
        self.note(f"{machine.name} leaves")
        self.feed(machine, LeaveAsked(now_ns=self.clock_of(machine)))
        boot = machine.boot
        self.later(50 * MS, lambda: self._stop(machine, power=False) if machine.boot == boot and machine.up else None)

    def _stop(self, machine: Machine, *, power: bool) -> None:
        machine.switch(up=False)
        machine.waiting.clear()
        machine.unsent.clear()
        for client, (home, program) in list(self.clients.items()):
            if home is machine:
                del self.clients[client]
                program.killed()
        self.lanes.crash(machine)
        if machine.work is not None:
            machine.work.close()
        machine.seats.stop(power=power)
        self.sessions.reconsider_about(machine)

    def lose_disk(self, machine: Machine) -> Machine:
        """Let a machine lose its disk: it is put out of the account, and comes back as a new device."""
        self.note(f"{machine.name} loses its disk")
        if machine.up:
            self.crash(machine)
        known = self.revoke(machine)
        assert known.node is not None
        newcomer = self.add_machine(known.node.keylog.entries, machine.site)
        entry = machines.admission(known.node.keylog, newcomer.number, signer=None, site=machine.site.number)
        self._offer(known, entry)
        newcomer.entries = dict(known.node.keylog.entries)
        self.start(newcomer)
        return newcomer

    def join_again(self) -> None:
        """Let every machine bring its key log to another: who admitted it may have died before it told anyone."""
        for site in self.sites:
            alive = [machine for machine in site.machines if machine.running]
            for machine in alive:
                assert machine.node is not None
                log = log_entries(machine.node.keylog, machine.node.keylog.entries)
                known = alive[machine is alive[0] and len(alive) > 1]
                self.feed(known, KeyLogOffered(now_ns=self.clock_of(known), entries=log))

    def revoke(self, machine: Machine) -> Machine:
        """Put a device out of the account, by the recovery words on another machine; return that one."""
        self.note(f"{machine.name} is revoked")
        machine.lost = True
        mates = [each for each in machine.site.machines if each.running and not each.lost]
        known = next((each for each in mates if each.node and each.node.is_member(machine.id)), None)
        if known is None:  # who let it in is gone, and told nobody yet: there is nothing to take back
            return mates[0]
        assert known.node is not None
        entry = machines.removal(known.node.keylog, machine.key.node_id, site=machine.site.number)
        self._offer(known, entry)
        return known

    def _offer(self, machine: Machine, entry: SignedEntry) -> None:
        now_ns = self.clock_of(machine)
        self.feed(machine, KeyLogOffered(now_ns=now_ns, entries=((entry.body, entry.signature),)))

    def pause(self, machine: Machine) -> None:
        """Stop a machine as SIGSTOP does: its clock goes on, and it does not notice."""
        self.note(f"{machine.name} pauses")
        machine.switch(up=True, paused=True)
        self.sessions.reconsider_about(machine)

    def resume(self, machine: Machine) -> None:
        """Let a machine go on: first it finds what came meanwhile, then its own timers."""
        self.note(f"{machine.name} goes on")
        machine.switch(up=True)
        waiting, machine.waiting = machine.waiting, []
        for call in waiting:
            self.call_at(self.now_ns, call)
        self.sessions.reconsider_about(machine)
        self._wake_at(machine, self.clock_of(machine))

    def alive(self) -> list[Machine]:
        """Return the machines that are switched on."""
        return [machine for machine in self.machines if machine.up]


def address_of(machine: Machine) -> str:
    """Return where a machine says that it can be dialled; nobody does, beacons and welcomes are enough here."""
    high, low = divmod(machine.number, 256)
    return f"10.{high // 256}.{high % 256}.{low}:1"
