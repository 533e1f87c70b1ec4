"""The agent: one process that lives a node. It brings events in, carries effects out, and decides nothing.

Order at each event: the node decides, the journal has it, then the effects leave. Nothing that burns processor runs here:
user code is in workers, drivers look in a thread.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import time
import traceback
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol, assert_never

from worldos.agent import clock
from worldos.agent import home as homes
from worldos.agent.comfort import Watch
from worldos.agent.company import Company
from worldos.agent.cosigning import Cosigning
from worldos.agent.decision_log import DecisionLog
from worldos.agent.depots import Depots
from worldos.agent.guarded import Guarded
from worldos.agent.handing_over import hand_over
from worldos.agent.journal import Journal
from worldos.agent.lanes import Lanes
from worldos.agent.local_api import Client, LocalApi
from worldos.agent.narrowed import refusal, why_not_narrowed
from worldos.agent.nets import Nets
from worldos.agent.notices import Notices
from worldos.agent.petitions import AGENT, Petitions
from worldos.agent.providers import Providers
from worldos.agent.revoking import tell_revoked
from worldos.agent.scanner import QUIET_STEPS, STEP_S, Scanner
from worldos.agent.seats import Seats
from worldos.agent.start import Started
from worldos.agent.statement_store import StatementStore
from worldos.agent.tenancies import TENANT, Tenancies
from worldos.agent.wallet import take_over_grants
from worldos.agent.witnessing import witness_forever
from worldos.agent.work_door import WorkDoor
from worldos.errors import DiskFull, WorldError
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
    ClientGone,
    ClockTicked,
    Event,
    KeyLogOffered,
    LaneFailed,
    LeaveAsked,
    Persisted,
    RealmFounded,
    StatementsOffered,
    UseAsked,
    UseEnded,
)
from worldos.model import wire
from worldos.model.ids import ClientId, LeaseId, NodeId
from worldos.model.local import (
    Answer,
    Ask,
    Doors,
    Failure,
    FromClient,
    Hello,
    LeaseLost,
    Noticed,
    OpenDoors,
    Pause,
    Release,
    Use,
)
from worldos.model.local import Watch as WatchMessage
from worldos.model.need import workers_of
from worldos.model.realm import Level, RealmId
from worldos.model.statements import Topic
from worldos.node import NEVER_NS
from worldos.trust.statements import sign_statement, statement_id

if TYPE_CHECKING:  # an embedded node has no links: it does without the fabric, TLS and pairing
    from worldos.agent.network import Network

REMEMBER_EVERY_S = 30.0
GOOD_BYE_S = 0.05


class Orders(Protocol):
    """Who answers questions and carries out orders that have a name."""

    async def carry_out(self, agent: Agent, client: Client, ask: Ask) -> None:
        """Answer the program, whatever happens."""


class Agent:
    """A running node. ``start`` it in an event loop, then wait for ``stopped``."""

    def __init__(self, started: Started) -> None:
        self.started = started
        self.node = started.node
        self.home = started.home
        self.stopped = asyncio.Event()
        self.notices = Notices(None if started.passing else started.home.path)
        self.started_ns = clock.now_ns()
        self.run_folder = started.home.run_folder
        self.api = LocalApi(started.home.socket_file, self)
        self.scanner = Scanner([str(started.home.path)], self._driver_broken)
        self.scanner.extra = started.facts
        self.depots: Depots | None = None  # a home that ends with its agent keeps nothing
        self.petitions = Petitions(self.feed)
        self.statements: StatementStore | None = None
        self.company: Company | None = None  # what it has in common with the account's other devices
        self.guarded: Guarded | None = None  # ... and such a node obeys nobody but its program
        if not started.passing:
            self.depots = Depots(started.home, started.settings, self.node, self.scanner.machine, self.note)
            self.statements = StatementStore(started.home.statements_file, self.note)
            self.company = Company(started.home, started.key, self.node, self.state, self._copied, self._hand_over)
            self.guarded = Guarded(started.home, self.node, self.feed, self.state, self.petitions.propose, self.note)
        self.decisions = DecisionLog(None if started.passing else started.home.decisions_folder, started.key, self.note)
        self.cosigning = Cosigning.of(self)
        self.providers = Providers(started.home.path / "providers")
        self.tenancies = Tenancies(started.home.path / "tenancies", self.node, self.feed)
        self.nets = Nets(self.run_folder / "net", self.node)
        stands = self.depots.stands if self.depots is not None else None
        self.lanes = Lanes(self.scanner, self._lane_failed, stands, self.nets.environ)
        self.watch = Watch(self.node, self.lanes, self.scanner, self.note)
        self.seats = Seats(started.home.council_folder, self._persisted, self._seat_failed)
        self.work = WorkDoor(started.home, self.node, self.seats, self._send, self.propose, self.note)
        self.network: Network | None = None
        self.reachable = False  # by choice of its owner; else it listens on the loopback alone
        self._journal: Journal | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = NEVER_NS
        self._members_changed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked: dict[ClientId, set[asyncio.Task[None]]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._orders: Orders | None = None

    # -- life ---------------------------------------------------------------------------------------------------------

    async def start(self, orders: Orders) -> None:
        """Open every door, the local one last: who can connect finds a whole node."""
        self._loop = asyncio.get_running_loop()
        self._orders = orders
        homes.make_folder(self.run_folder)
        for realm, recovered in self.seats.open_all().items():
            if recovered.damaged:
                fields: dict[str, str | int] = {"realm": realm, "why": recovered.damaged}
                self.note(Notice(name="council seat damaged", fields=fields))
            if self.work.recovered(realm, recovered):
                continue
            for effect in self.node.realms.recover(clock.now_ns(), realm, recovered):
                self._carry_out(effect)
        self._journal = Journal(self.home.journal_folder, self.node, self._journal_failed)
        take_over_grants(self)
        starting = asyncio.ensure_future(self.lanes.start())
        await self._scan()
        if self.guarded is not None:
            self.guarded.recall()
        if self.statements is not None and (stored := self.statements.read()):
            self.feed(StatementsOffered(now_ns=clock.now_ns(), statements=stored, stored=True))
        if self.company is not None:
            self.company.begin()
        await starting
        await self.nets.start(self.network.fabric if self.network is not None else None)
        if self.network is not None:
            await self.network.start()
            await self._scan()  # it has addresses now
        await self.api.start()
        self.note(Notice(name="agent started", fields={"life": self.node.boot, "process": os.getpid()}))
        if self.depots is not None:
            self.depots.begin()
        if self.company is not None:
            self.spawn(self.company.look_forever())
            self.spawn(self.watch.look_forever())
            self.spawn(witness_forever(self))
        self.cosigning.begin()
        self.spawn(self._sample_forever())
        self.spawn(self._remember_forever())

    async def close(self) -> None:
        """End everything in order: programs, leases, links, then what is remembered."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.work.close()
        self.feed(LeaveAsked(now_ns=clock.now_ns()))
        await asyncio.sleep(GOOD_BYE_S if self.node.paths else 0)  # let good-byes go out
        await self.api.close()
        if self.network is not None:
            await self.network.close()
        await self.lanes.close()
        await self.nets.close()
        if self.depots is not None:
            await self.depots.close()
        self.seats.close()
        if self.guarded is not None and self.statements is not None:
            await self.guarded.close()
            self.statements.close()
        self._loop = None  # what happened since then set the timer again: now nothing does
        if self._timer is not None:
            self._timer.cancel()
        if self._journal is not None:
            self._journal.close()
        self.decisions.close()
        self._remember()
        self.note(Notice(name="agent stopped", fields={"life": self.node.boot}))
        self.notices.close()
        if self.run_folder != self.home.path:  # elsewhere, because of a long path: nobody would find it there
            shutil.rmtree(self.run_folder, ignore_errors=True)

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run something beside the loop for as long as the agent lives."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    # -- events in, effects out -----------------------------------------------------------------------------------------

    def feed(self, event: Event) -> None:
        """Let the node take in an event, and carry out what it wants done."""
        effects = self.node.handle(event)
        if self.node.decisions.made:
            self.decisions.take(self.node.decisions.made)
        if self._journal is not None:
            self._journal.append(event, effects)
        if self.guarded is not None:
            self.guarded.save(event, effects)
        for effect in effects:
            self._carry_out(effect)
        if self._members_changed:  # last: who was put out has been told so by then
            self._members_changed = False
            self._take_over_members()
        self._set_timer()

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send() | Forget() | Connect() | Welcome():
                self._reach(effect)
            case Tell():
                self._tell(effect)
            case OpenLane():
                self.lanes.open(effect.terms, gentle=self.watch.is_gentle(effect.holder))
                self.watch.look_soon()
            case CloseLane():
                self._end_lane(effect.lease)
            case Notice():
                self.note(effect)
            case Carry():
                if self.guarded is not None:
                    self.guarded.carry(effect.command)
            case Audit() | Decided():
                self.cosigning.take(effect)
            case SaveKeyLog() | SaveStatements() | Persist() | Mend() | Unseat():
                self._store(effect)
            case State():
                asyncio.get_running_loop().call_soon(self.state, effect.topic, effect.body)
            case _:
                assert_never(effect)

    def _reach(self, effect: Send | Forget | Connect | Welcome) -> None:
        if self.network is None:
            return
        if isinstance(effect, Send):
            self._send(effect.node, effect.message)
        elif isinstance(effect, Forget):
            self.network.forget(effect.node, effect.why)
        elif isinstance(effect, Connect):
            self.network.connect(effect.node, effect.addresses)
        else:
            self.network.welcome(effect.contact)

    def _send(self, node: NodeId, message: wire.Message) -> None:
        if self.network is not None:
            self.network.send(node, message)

    def _end_lane(self, lease: LeaseId) -> None:
        self.lanes.end(lease)
        if self.network is not None:
            self.network.lease_ended(lease)

    def _store(self, effect: SaveKeyLog | SaveStatements | Persist | Mend | Unseat) -> None:
        if isinstance(effect, SaveKeyLog):
            self._save_keylog()
        elif isinstance(effect, SaveStatements):
            if self.statements is not None:
                self.statements.save(effect)
        elif isinstance(effect, Persist):
            self.seats.append(effect)
        elif isinstance(effect, Mend):
            self.seats.mend(effect.realm)
            self.note(Notice(name="council seat mended", fields={"realm": effect.realm}))
        else:
            self.seats.drop(effect.realm)

    def _set_timer(self) -> None:
        deadline_ns = self.node.due_ns
        if deadline_ns == self._timer_ns or self._loop is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ns = deadline_ns
        self._timer = self._loop.call_later(clock.delay_s(deadline_ns), self._tick)

    def _tick(self) -> None:
        self._timer_ns = NEVER_NS
        self._timer = None
        self.feed(ClockTicked(now_ns=clock.now_ns()))

    # -- the programs' side (local_api.Listener) --------------------------------------------------------------------------

    def client_came(self, client: Client, hello: Hello) -> str:
        """Say why a program's grant is none that narrows the rights of this machine, or nothing."""
        return why_not_narrowed(self.node, clock.now_ns(), hello.grant)

    def client_said(self, client: Client, message: FromClient) -> None:
        """A program asks for something."""
        now_ns = clock.now_ns()
        match message:
            case Use():
                nonce = self.decisions.draws.draw()
                event = UseAsked(
                    now_ns=now_ns,
                    client=client.id,
                    use=message.use,
                    needs=message.needs,
                    ttl_ns=message.ttl_ns,
                    nonce=nonce,
                    grant=client.grant,
                )
                self.feed(event)
            case Release():
                self.feed(UseEnded(now_ns=now_ns, client=client.id, use=message.use))
                self._close_doors()
            case OpenDoors():
                self.spawn(self._open_doors(client, message.lease))
            case Pause():
                self.spawn(self._pause(client, message))
            case Ask():
                assert self._orders is not None
                asked = self._asked.setdefault(client.id, set())
                task = self.spawn(self._orders.carry_out(self, client, message))
                asked.add(task)
                task.add_done_callback(asked.discard)
            case WatchMessage():
                client.watching = self._may_watch(client)
            case Hello():
                pass
            case _:
                assert_never(message)

    def _may_watch(self, client: Client) -> bool:
        why = refusal(self.node, clock.now_ns(), client.grant, "log")
        if why:
            client.tell(Failure(request=0, error="NotAllowed", message=why, hint=""))
        return not why

    def client_gone(self, client: Client) -> None:
        """A program ended: its leases go back, and nobody waits for its answers."""
        self.api.forget(client)
        for task in self._asked.pop(client.id, set()):
            task.cancel()
        self.feed(ClientGone(now_ns=clock.now_ns(), client=client.id))
        self._close_doors()

    def _close_doors(self) -> None:
        if self.network is not None:
            self.network.keep_doors(self.node.uses.held.leases)

    async def _open_doors(self, client: Client, lease: LeaseId) -> None:
        held = self.node.uses.held.of(client.id, lease)
        if held is None:
            why = "you hold no such lease"
            client.tell(Doors(lease=lease, paths=(), local=False, is_own=True, node=self.node.node, error=why))
            return
        terms = held.terms
        local = terms.node == self.node.node
        is_own = local or self.node.is_member(terms.node)
        try:
            if local or self.network is None:
                paths = await self.lanes.paths_of(lease)
            else:
                paths = await self.network.open_doors(lease, terms.node, workers_of(terms.need))
        except (WorldError, OSError) as error:
            client.tell(Doors(lease=lease, paths=(), local=local, is_own=is_own, node=terms.node, error=str(error)))
            return
        client.tell(Doors(lease=lease, paths=paths, local=local, is_own=is_own, node=terms.node))

    async def _pause(self, client: Client, message: Pause) -> None:
        held = self.node.uses.held.of(client.id, message.lease)
        if held is None or held.terms.node != self.node.node:
            why = "only leases on this machine can rest" if held else "you hold no such lease"
            client.tell(Failure(request=message.request, error="BadRequest", message=why, hint=""))
            return
        await self.lanes.pause(message.lease, paused=message.paused)
        client.tell(Answer(request=message.request, value=None))

    def _tell(self, effect: Tell) -> None:
        if effect.client == AGENT:
            self.petitions.heard(effect.message)
            return
        if effect.client == TENANT:
            self.tenancies.heard(effect.message)
            return
        if isinstance(effect.message, LeaseLost) and self.network is not None:
            self.network.close_doors(effect.message.lease)
        client = self.api.clients.get(effect.client)
        if client is not None:
            client.tell(effect.message)

    # -- realms -----------------------------------------------------------------------------------------------------------

    async def propose(self, realm: RealmId, command: bytes) -> None:
        """Have a command put into a realm's charter; raise Refused with the reason where it is not."""
        await self.petitions.propose(realm, command)

    def found_realm(self, realm: RealmId, name: str, level: Level) -> None:
        """Begin an upper realm with this node as its council."""
        seed = secrets.randbits(62)
        self.feed(RealmFounded(now_ns=clock.now_ns(), realm=realm, name=name, level=level, seed=seed))

    def _persisted(self, realm: RealmId, number: int) -> None:
        if realm == self.work.realm:
            self.work.persisted(number)
            return
        self.feed(Persisted(now_ns=clock.now_ns(), realm=realm, number=number))

    def _seat_failed(self, realm: RealmId, why: str) -> None:
        self.note(Notice(name="council seat stopped", fields={"realm": realm, "why": why}))

    def _hand_over(self, ticket: str) -> None:
        self.spawn(hand_over(self, ticket))

    def _copied(self, why: str) -> None:
        self.note(Notice(name="this device lives twice", fields={"why": why}))
        self.stopped.set()

    # -- what the drivers and lanes say ---------------------------------------------------------------------------------

    def _lane_failed(self, lease: LeaseId, why: str) -> None:
        self.feed(LaneFailed(now_ns=clock.now_ns(), lease=lease, why=why))

    def _driver_broken(self, driver: str, problem: str) -> None:
        self.note(Notice(name="driver left out", fields={"driver": driver, "why": problem}))

    def _journal_failed(self, why: str) -> None:
        self.note(Notice(name="journal stopped", fields={"why": why}))

    async def _scan(self, steps: int = 1) -> None:
        resources, facts = await asyncio.to_thread(self.scanner.look, steps)
        self.feed(self.watch.scanned(resources, facts, self.addresses()))

    async def _sample_forever(self) -> None:
        while True:
            steps = 1 if self.node.leases.leases else QUIET_STEPS
            await asyncio.sleep(steps * STEP_S)
            await self._scan(steps)

    # -- what stays -----------------------------------------------------------------------------------------------------

    async def _remember_forever(self) -> None:
        while True:
            await asyncio.sleep(REMEMBER_EVERY_S)
            self._remember()
            tell_revoked(self)  # where the center changed

    def _remember(self) -> None:
        remembered = self.started.remembered
        for node, offer in self.node.registry.offers.items():
            if node != self.node.node and offer.addresses:
                remembered.peers[node] = offer.addresses
        remembered.peers = {n: a for n, a in remembered.peers.items() if self.node.is_member(n)}
        remembered.history = self.node.registry.history
        with suppress(DiskFull):
            homes.write_remembered(self.home, remembered)

    def _save_keylog(self) -> None:
        homes.write_keylog(self.home, log_entries(self.node.keylog, self.node.keylog.entries))
        self._members_changed = True

    def _take_over_members(self) -> None:
        if self.network is not None:
            self.network.members_changed()
            tell_revoked(self)
        if not self.node.is_member(self.node.node):
            self.note(Notice(name="this device was revoked", fields={}))
            self.stopped.set()

    def note(self, notice: Notice) -> None:
        """Write down that something happened, and tell who watches."""
        self.notices.add(time.time_ns(), notice)
        for client in self.api.clients.values():
            if client.watching:
                client.tell(Noticed(name=notice.name, fields=notice.fields))

    # -- small things -----------------------------------------------------------------------------------------------------

    def state(self, topic: Topic, body: bytes) -> str:
        """Say something as this device, to all who may hear of it; return the statement's id."""
        statement = sign_statement(self.started.key, topic, body)
        self.feed(StatementsOffered(now_ns=clock.now_ns(), statements=(statement,)))
        return statement_id(statement)

    def offer_entries(self, entries: tuple[wire.LogEntry, ...]) -> None:
        """Let the node take in key log entries that were made on this machine."""
        self.feed(KeyLogOffered(now_ns=clock.now_ns(), entries=entries))

    def addresses(self) -> tuple[str, ...]:
        """Return where other machines can dial this one; empty when it listens nowhere."""
        return self.network.addresses() if self.network is not None else ()

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._loop_failed(task.exception())

    def _loop_failed(self, error: BaseException | None) -> None:
        """A bug of ours: say it in the log, and go on with what still works."""
        self.note(Notice(name="internal error", fields={"why": f"{type(error).__name__}: {error}"}))
        traceback.print_exception(error)  # standard error is the home's agent.log
