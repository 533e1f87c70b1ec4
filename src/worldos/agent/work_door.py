"""The door to the site's work on this node: it drives the table (kernel/work/table.py), with the real clock, disk and links.

Programs ask here by ``work`` and ``look``; what comes back was on the disks of a majority. What they ask in one turn of the event
loop goes into the log together.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Final

import msgspec

from worldos.agent import clock
from worldos.agent.runner_host import LOG_WAIT_S, RunnerHost
from worldos.agent.seats import Seats
from worldos.errors import BadRequest, NotAllowed, NotThere, OverQuota, PeerBroke, Refused, Unreachable, WorldError
from worldos.kernel import effects as shell
from worldos.kernel.charter import WorkBegan, WorkStands, encode_command
from worldos.kernel.stored import Recovered
from worldos.kernel.work.asks import Begin, Drop, Mended, Out, Reply, Say, Store
from worldos.kernel.work.look import read_job
from worldos.kernel.work.site import WORK, NodeSite
from worldos.kernel.work.table import WorkTable
from worldos.kernel.work.words import decode_answers
from worldos.kernel.work.words import encode_command as encode_work
from worldos.model.ids import NodeId
from worldos.model.limits import NEVER_NS
from worldos.model.realm import RealmId
from worldos.model.rights import WORK as RIGHT
from worldos.model.rights import Impact, Op
from worldos.model.runner import LogAsk, LogPiece
from worldos.model.work import Attempt, WorkAnswer, WorkCommand
from worldos.model.work_wire import (
    WORK_BYTES_MAX,
    HeldAsk,
    LogAsked,
    LogTold,
    TasksGiven,
    TasksHeld,
    TasksStop,
    WorkAsk,
    WorkMessage,
    WorkTold,
)

if TYPE_CHECKING:
    from worldos.home import Home
    from worldos.node import Node

KINDS: Final[dict[str, type[WorldError]]] = {
    kind.__name__: kind for kind in (BadRequest, NotAllowed, OverQuota, Unreachable)
}


class WorkDoor:
    """The work at this node. ``send`` brings a message to a member, ``propose`` a command into the site's charter."""

    def __init__(
        self,
        home: Home,
        node: Node,
        seats: Seats,
        send: Callable[[NodeId, WorkMessage], None],
        propose: Callable[[RealmId, bytes], Awaitable[None]],
        note: Callable[[shell.Notice], None],
    ) -> None:
        self.node = node
        self.realm = RealmId(node.realms.site + WORK)
        self.site = NodeSite(node)
        self.table = WorkTable(me=node.node, seed=secrets.randbits(62), fresh=True)
        self.runner = RunnerHost(home, node, self._holds, note)
        self._seats = seats
        self._send = send
        self._propose = propose
        self._note = note
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = NEVER_NS
        self._flushing = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._beginning = False
        self._logs: dict[int, asyncio.Future[LogPiece | None]] = {}
        self._log_number = 0
        self._closed = False

    # -- what is asked -----------------------------------------------------------------------------------------------------

    async def work(self, command: WorkCommand) -> tuple[WorkAnswer, ...]:
        """Have commands carried out; return their answers."""
        return decode_answers(await self.ask(WorkAsk(number=0, command=encode_work(command))))

    async def ask(self, words: WorkAsk) -> bytes:
        """Return the answer to an ask; raise what stood in its way."""
        if self.node.realms.off:
            raise BadRequest("an embedded node keeps no work", hint="start an agent: wos up")
        if len(words.command) > WORK_BYTES_MAX:
            why = f"a command of {len(words.command)} bytes, at most {WORK_BYTES_MAX} go at once"
            raise BadRequest(why, hint="say it in several; large files go into the realm's files: wos put")
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        number, out = self.table.ask(clock.now_ns(), self.site, words)
        self._waiting[number] = answer
        self._carry_out(out)
        try:
            return await answer
        finally:
            del self._waiting[number]
            if answer.cancelled():
                self._carry_out(self.table.drop(number))

    async def log(self, job: str, index: int, offset: int, size: int) -> LogPiece:
        """Return a piece of what the newest attempt of a task put out, from the node that has it."""
        seen = read_job(await self.ask(WorkAsk(number=0, look=f"job {job}", first=index, count=1)))
        task = next((task for task in seen.tasks if task.index == index), None)
        if seen.job is None or task is None:
            raise NotThere(f"there is no task {index} of a job {job}", hint="see which there are: wos jobs")
        if not task.node:
            return LogPiece(offset=0, gone=True)
        ask = LogAsk(request=0, attempt=Attempt(job, index, task.number), offset=offset, size=size)
        if task.node == self.node.node:
            piece = await self.runner.log(ask)
        else:
            piece = await self._log_from(task.node, ask)
        return piece or LogPiece(offset=0, gone=True)

    def _flush(self) -> None:
        self._flushing = False
        self._carry_out(self.table.flush(clock.now_ns(), self.site))

    # -- what happens ------------------------------------------------------------------------------------------------------

    def recovered(self, realm: RealmId, recovered: Recovered) -> bool:
        """Take up what the disk has, at the beginning, if it is a log of work; that of a site that was left stays as it is."""
        if realm == self.realm:
            self.table.recover(clock.now_ns(), recovered)
            self._set_timer()
        return realm.endswith(WORK)

    def heard(self, peer: NodeId, message: WorkMessage) -> None:
        """A member said something; who is not let write here changes nothing and has nothing run."""
        if not self.node.is_member(peer):
            return
        if isinstance(message, TasksGiven) or (isinstance(message, WorkAsk) and message.command):
            account = str(self.node.registry.owner)
            ruling = self.node.authority.judge(
                clock.now_ns(), peer, Op.WRITE, (account, RIGHT), Impact.REVERSIBLE, self.node
            )
            if not ruling.allowed:
                self._note(shell.Notice(name="work refused", fields={"node": peer, "why": ruling.why}))
                if isinstance(message, WorkAsk):
                    self._send(peer, WorkTold(number=message.number, error="NotAllowed", why=ruling.why[:1024]))
                return
        match message:
            case TasksGiven():
                self.table.fresh = False
                self.runner.give(message)
            case TasksStop():
                self.runner.stop(message)
            case HeldAsk():
                self.runner.asked()
            case LogAsked():
                self._spawn(self._log_for(peer, message.ask))
            case LogTold():
                self._log_told(message)
            case _:
                self._carry_out(self.table.heard(clock.now_ns(), self.site, peer, message))

    def persisted(self, number: int) -> None:
        """What was to be stored is on disk."""
        self._carry_out(self.table.persisted(clock.now_ns(), self.site, number))

    def linked(self, peer: NodeId) -> None:
        """There is a way to a node: if it leads and this node has just begun, it need not ask what is still held here."""
        if self.node.is_member(peer) and self.site.works() is not False:
            held = self.runner.waiting()
            if held is not None:
                self._send(peer, held)

    def unlinked(self, peer: NodeId) -> None:
        """No link to a node is left."""
        self._carry_out(self.table.unlinked(clock.now_ns(), self.site, peer))

    async def close(self) -> None:
        """Ask nothing and answer nothing any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await self.runner.close()

    # -- the runner, and logs ----------------------------------------------------------------------------------------------

    def _holds(self, message: TasksHeld) -> None:
        self._carry_out(self.table.holds(clock.now_ns(), self.site, message))

    async def _log_for(self, peer: NodeId, ask: LogAsk) -> None:
        self._send(peer, LogTold(request=ask.request, piece=await self.runner.log(ask)))

    async def _log_from(self, node: NodeId, ask: LogAsk) -> LogPiece | None:
        self._log_number += 1
        number = self._log_number
        answer: asyncio.Future[LogPiece | None] = asyncio.get_running_loop().create_future()
        self._logs[number] = answer
        self._send(node, LogAsked(ask=msgspec.structs.replace(ask, request=number)))
        try:
            async with asyncio.timeout(LOG_WAIT_S + 1):
                return await answer
        except TimeoutError:
            raise Unreachable("the node that runs this does not answer", hint="see: wos nodes") from None
        finally:
            del self._logs[number]

    def _log_told(self, message: LogTold) -> None:
        answer = self._logs.get(message.request)
        if answer is not None and not answer.done():
            answer.set_result(message.piece)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- what the table wants done -----------------------------------------------------------------------------------------

    def _carry_out(self, out: list[Out]) -> None:
        for each in out:
            if isinstance(each, Say):  # before what is stored: the disks of all may write at the same time
                self._say(each)
        for each in out:
            match each:
                case Say():
                    continue
                case Store():
                    self._store(each)
                case Reply():
                    self._reply(each)
                case Begin():
                    self._begin(stands=each.stands)
                case Mended():
                    self._seats.mend(self.realm)
                case Drop():
                    self._seats.drop(self.realm)
        if (
            self.table.gathered and self.table.leads and not self._flushing
        ):  # with all that comes in this turn of the loop
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)
        self._set_timer()

    def _say(self, effect: Say) -> None:
        if effect.node == self.node.node:
            asyncio.get_running_loop().call_soon(self.heard, effect.node, effect.message)
        else:
            self._send(effect.node, effect.message)

    def _store(self, effect: Store) -> None:
        write = effect.write
        self._seats.append(
            shell.Persist(
                realm=self.realm, number=write.number, vote=write.vote, entries=write.entries, snapshot=write.snapshot
            )
        )

    def _reply(self, reply: Reply) -> None:
        answer = self._waiting.get(reply.number)
        if answer is None:
            asyncio.get_running_loop().call_soon(self._reply_late, reply)  # answered before ``ask`` could wait for it
        elif not answer.done():
            if reply.error:
                kind = KINDS.get(reply.error, PeerBroke)
                answer.set_exception(kind(reply.why, hint=reply.hint))
            else:
                answer.set_result(reply.data)

    def _reply_late(self, reply: Reply) -> None:
        if reply.number in self._waiting:
            self._reply(reply)

    def _begin(self, *, stands: bool) -> None:
        if not self._closed and not self._beginning:
            self._beginning = True
            self._spawn(self._put_into_charter(WorkStands() if stands else WorkBegan()))

    async def _put_into_charter(self, command: WorkBegan | WorkStands) -> None:
        try:
            await self._propose(self.node.realms.site, encode_command(command))
        except Refused as error:
            self._note(shell.Notice(name="work not begun", fields={"why": str(error)}))
            return
        finally:
            self._beginning = False
        self.table.stood = self.table.stood or isinstance(command, WorkStands)
        self._tick()

    def _set_timer(self) -> None:
        due_ns = self.table.due_ns
        if due_ns == self._timer_ns or self._closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ns = due_ns
        if due_ns == NEVER_NS:
            self._timer = None
            return
        self._timer = asyncio.get_running_loop().call_later(clock.delay_s(due_ns), self._tick)

    def _tick(self) -> None:
        self._timer_ns = NEVER_NS
        self._timer = None
        if not self._closed:
            self._carry_out(self.table.tick(clock.now_ns(), self.site))
