"""The work at one simulated machine, in one life of it: what ``agent/work_door`` is on a real one.

It drives the same table (kernel/work/table.py) beside the node, with the machine's clock, links and disk, and hosts its runner.
Who asks hands in what is to be done with the reply; after the machine's end nobody hears any. A ``WorkWatcher`` is told after
each step what the table wants done, before any of it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol, assert_never

from worldos.kernel.charter import WorkBegan, WorkStands, encode_command
from worldos.kernel.effects import Persist
from worldos.kernel.events import CharterAsked
from worldos.kernel.stored import Recovered
from worldos.kernel.work.asks import Begin, Drop, Mended, Out, Reply, Say, Store
from worldos.kernel.work.site import WORK, NodeSite
from worldos.kernel.work.table import WorkTable
from worldos.model.ids import ClientId, NodeId
from worldos.model.limits import NEVER_NS
from worldos.model.local import Answer, Failure, ToClient
from worldos.model.realm import RealmId
from worldos.model.work import WorkAnswer
from worldos.model.work_wire import (
    HeldAsk,
    LogAsked,
    LogTold,
    TasksGiven,
    TasksHeld,
    TasksStop,
    WorkAsk,
    WorkMessage,
)
from worldos.sim.runner import Word
from worldos.sim.runner_host import RunnerHost

if TYPE_CHECKING:
    from worldos.sim.machine import Machine
    from worldos.sim.world import World

Heard = Callable[[Reply], None]
SELF_NS: Final = 1000  # what a table says to its own node


class WorkWatcher(Protocol):
    """Who looks at every step of the work."""

    def worked(self, machine: Machine, out: list[Out]) -> None:
        """Look at the machine whose table took something in."""

    def answered(self, word: Word, answer: WorkAnswer) -> None:
        """The line answered a runner that told it how an attempt ended."""


class WorkDoor:
    """The table of the work of one machine. ``over``: the machine has ended this life."""

    def __init__(self, world: World, machine: Machine) -> None:
        assert machine.node is not None
        self.world = world
        self.machine = machine
        self.over = False
        self.realm = RealmId(machine.node.realms.site + WORK)
        self.site = NodeSite(machine.node)
        self.table = WorkTable(me=machine.id, seed=world.dice.getrandbits(62), fresh=True)
        self.host = RunnerHost(self)
        self._client = ClientId(f"work-{machine.number}-{machine.boot}")
        self._heard: dict[int, Heard] = {}
        self._due_ns = NEVER_NS
        self._flushing = False
        self._beginning: WorkBegan | WorkStands | None = None
        self._petitions = 0

    @property
    def now_ns(self) -> int:
        """Return what the machine's clock shows."""
        return self.world.clock_of(self.machine)

    # -- what is asked -----------------------------------------------------------------------------------------------------

    def ask(self, words: WorkAsk, heard: Heard) -> None:
        """Have this done, or told; ``heard`` takes in the reply."""
        number, out = self.table.ask(self.now_ns, self.site, words)
        self._heard[number] = heard
        self._carry_out(out)

    def holds(self, message: TasksHeld) -> None:
        """The runner says what it has."""
        self._carry_out(self.table.holds(self.now_ns, self.site, message))

    # -- what happens ------------------------------------------------------------------------------------------------------

    def recovered(self, realm: RealmId, recovered: Recovered) -> bool:
        """Take up what the disk has, if it is the log of the work."""
        if realm != self.realm:
            return False
        self.table.recover(self.now_ns, recovered)
        self._set_timer()
        return True

    def heard(self, peer: NodeId, message: WorkMessage) -> None:
        """A member said something."""
        match message:
            case TasksGiven():
                self.table.fresh = False
                self.host.give(message)
            case TasksStop():
                self.host.stop(message)
            case HeldAsk():
                self.host.asked()
            case LogAsked() | LogTold():
                pass  # nobody reads logs here
            case _:
                self._carry_out(self.table.heard(self.now_ns, self.site, peer, message))

    def persisted(self, number: int) -> None:
        """What was to be stored is on disk."""
        self._carry_out(self.table.persisted(self.now_ns, self.site, number))

    def linked(self, peer: NodeId) -> None:
        """There is a way to a node: if it leads and no runner listens here, it need not ask what is held."""
        held = self.host.waiting()
        if held is not None and self.site.is_member(peer) and self.site.works() is not False:
            self.world.sessions.send(self.machine, peer, held)

    def unlinked(self, peer: NodeId) -> None:
        """No link to a node is left."""
        self._carry_out(self.table.unlinked(self.now_ns, self.site, peer))

    def close(self) -> None:
        """End with the machine."""
        self.over = True
        self.host.close()
        self.world.clients.pop(self._client, None)

    # -- what the table wants done -----------------------------------------------------------------------------------------

    def _carry_out(self, out: list[Out]) -> None:
        for watcher in self.world.work_watchers:
            watcher.worked(self.machine, out)
        for each in out:
            match each:
                case Say():
                    self._say(each)
                case Store():
                    write = each.write
                    effect = Persist(
                        realm=self.realm,
                        number=write.number,
                        vote=write.vote,
                        entries=write.entries,
                        snapshot=write.snapshot,
                    )
                    self.machine.seats.persist(effect)
                case Reply():
                    self.world.later(0, self.soon, self._reply, each)
                case Begin():
                    self._begin(WorkStands() if each.stands else WorkBegan())
                case Mended():
                    self.machine.seats.mend(self.realm)
                case Drop():
                    self.machine.seats.drop(self.realm)
                case _:
                    assert_never(each)
        if self.table.gathered and self.table.leads and not self._flushing:
            self._flushing = True
            self.world.later(0, self.soon, self._flush)
        self._set_timer()

    def soon(self, call: Callable[..., None], *arguments: object) -> None:
        """Do it, or when the machine goes on; never in another life."""
        if not self.over:
            self.world.on(self.machine, self._still, call, *arguments)

    def _still(self, call: Callable[..., None], *arguments: object) -> None:
        if not self.over:
            call(*arguments)

    def _say(self, said: Say) -> None:
        if said.node == self.machine.id:
            self.world.later(SELF_NS, self.soon, self.heard, said.node, said.message)
        else:
            self.world.sessions.send(self.machine, said.node, said.message)

    def _flush(self) -> None:
        self._flushing = False
        self._carry_out(self.table.flush(self.now_ns, self.site))

    def _reply(self, reply: Reply) -> None:
        heard = self._heard.pop(reply.number, None)
        assert heard is not None, "answered twice"
        heard(reply)

    # -- the charter -------------------------------------------------------------------------------------------------------

    def _begin(self, command: WorkBegan | WorkStands) -> None:
        """Have this put into the site's charter, once at a time."""
        if self._beginning is not None:
            return
        self._beginning = command
        self._petitions += 1
        self.world.clients[self._client] = (self.machine, self)
        event = CharterAsked(
            now_ns=self.now_ns,
            client=self._client,
            request=self._petitions,
            realm=RealmId(self.machine.site.account),
            command=encode_command(command),
        )
        self.world.later(0, self.soon, self.world.feed, self.machine, event)

    def told(self, message: ToClient) -> None:
        """Take in what became of it."""
        command = self._beginning
        if not isinstance(message, Answer | Failure) or message.request != self._petitions or command is None:
            return
        self._beginning = None
        if isinstance(message, Answer):
            self.table.stood = self.table.stood or isinstance(command, WorkStands)
            self._carry_out(self.table.tick(self.now_ns, self.site))

    def killed(self) -> None:
        """The machine is gone, and this with it."""

    # -- time ----------------------------------------------------------------------------------------------------------------

    def _set_timer(self) -> None:
        due_ns = self.table.due_ns
        if due_ns != self._due_ns:
            self._due_ns = due_ns
            if due_ns != NEVER_NS:
                at_ns = max(self.world.now_ns, self.machine.clock.moment_of(due_ns))
                self.world.call_at(at_ns, self.soon, self._tick, due_ns)

    def _tick(self, due_ns: int) -> None:
        if self._due_ns == due_ns:
            self._due_ns = NEVER_NS
            self._carry_out(self.table.tick(self.now_ns, self.site))
