"""The runner of this node: the process that brings attempts of jobs to leases (jobs/runner.py), and what it is told and tells.

It is started when the first task comes, and again, ever later, while it ends by itself and tasks are there; when it has had
nothing for a while it is ended. It holds the read end of a pipe, so it ends with this agent however that ends. It listens by
the order ``runner_hear``; until it does, what it was given waits here. What it holds it says by ``runner_holds``; while none is
there, the host says it: what waits here, and nothing else.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec

from worldos.kernel.effects import Notice
from worldos.model.runner import LogAsk, LogPiece
from worldos.model.work import Attempt
from worldos.model.work_wire import HELD_MAX, TasksGiven, TasksHeld, TasksStop

if TYPE_CHECKING:
    from worldos.agent.call import Call
    from worldos.home import Home
    from worldos.node import Node

RUNNER: Final = "worldos.jobs.runner"
RUNNER_PROGRAM: Final = RUNNER.replace(".", "/") + ".py"  # what it calls itself when it asks this agent something
END_S: Final = 10.0
AGAIN_MIN_S: Final = 0.2
AGAIN_MAX_S: Final = 10.0
WELL_AFTER_S: Final = 60.0  # a runner that lived for so long starts again at once
IDLE_S: Final = 120.0  # one that has had nothing for so long is ended: an idle machine pays for none
LOG_WAIT_S: Final = 5.0
WAITING_MAX: Final = 4096  # words that wait for a runner; the rest is told again by who leads

_encode = msgspec.msgpack.Encoder().encode


class RunnerHost:
    """The runner of one home. ``holds`` tells who leads which attempts are here."""

    def __init__(
        self, home: Home, node: Node, holds: Callable[[TasksHeld], None], note: Callable[[Notice], None]
    ) -> None:
        self._home = home
        self._node = node
        self._holds = holds
        self._note = note
        self._hearing: Call | None = None
        self._words: list[dict[str, bytes]] = []
        self._given: dict[Attempt, None] = {}  # waits here for a runner
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._idle_s: float | None = None  # since when it says that it has nothing
        self._closing = False
        self._logs: dict[int, asyncio.Future[LogPiece]] = {}
        self._log_number = 0

    # -- what others want of it ------------------------------------------------------------------------------------------------

    def give(self, message: TasksGiven) -> None:
        """Attempts are for this node."""
        if self._closing:
            return
        fresh = [Attempt(message.job, task.index, task.number) for task in message.tasks]
        if self._hearing is None:
            if all(attempt in self._given for attempt in fresh) or len(self._words) >= WAITING_MAX:
                self._wake()
                return
            self._given.update(dict.fromkeys(fresh))
        self._say({"given": _encode(message)})
        self._wake()

    def stop(self, message: TasksStop) -> None:
        """Attempts are to end; those that no runner has yet are dropped here."""
        if self._hearing is None:
            for attempt in message.attempts:
                self._given.pop(attempt, None)
        self._say({"stop": _encode(message)})

    def asked(self) -> None:
        """Who leads hears nothing of this node: a runner that listens says what it has by itself, for any other the host does."""
        held = self.waiting()
        if held is not None:
            self._holds(held)

    def waiting(self) -> TasksHeld | None:
        """Return what waits here for a runner; None where one listens."""
        return TasksHeld(attempts=tuple(self._given)[:HELD_MAX]) if self._hearing is None else None

    async def log(self, ask: LogAsk) -> LogPiece | None:
        """Return a piece of the log of an attempt that the runner has; None where no runner answers."""
        if self._hearing is None:
            return None
        self._log_number += 1
        number = self._log_number
        answer: asyncio.Future[LogPiece] = asyncio.get_running_loop().create_future()
        self._logs[number] = answer
        self._say({"log": _encode(msgspec.structs.replace(ask, request=number))})
        try:
            async with asyncio.timeout(LOG_WAIT_S):
                return await answer
        except TimeoutError:
            return None
        finally:
            del self._logs[number]

    # -- what the runner says --------------------------------------------------------------------------------------------------

    async def hear(self, call: Call) -> None:
        """Tell the runner all that comes, until it hangs up."""
        self._hearing, self._idle_s = call, None
        words, self._words = self._words, []
        self._given.clear()
        for word in words:
            call.progress(word)
        try:
            await asyncio.Event().wait()
        finally:
            if self._hearing is call:
                self._hearing = None

    def held(self, attempts: tuple[Attempt, ...], leased: dict[str, int]) -> None:
        """The runner says what it has."""
        if self._hearing is None:
            return
        self._holds(TasksHeld(attempts=attempts, leased=leased))
        now_s = asyncio.get_running_loop().time()
        if attempts or leased:
            self._idle_s = None
        elif self._idle_s is None:
            self._idle_s = now_s
        elif now_s - self._idle_s >= IDLE_S:
            self._dismiss()

    def told(self, request: int, piece: LogPiece) -> None:
        """The runner answers a ``LogAsk``."""
        answer = self._logs.get(request)
        if answer is not None and not answer.done():
            answer.set_result(piece)

    def _dismiss(self) -> None:
        """End a runner that has nothing: what comes from now on waits for the next."""
        self._hearing = None
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def _say(self, word: dict[str, bytes]) -> None:
        self._idle_s = None
        if self._hearing is not None:
            self._hearing.progress(word)
        else:
            self._words.append(word)
            del self._words[:-WAITING_MAX]

    # -- the process -----------------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """End the runner, and see that it does."""
        self._closing = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _wake(self) -> None:
        if self._task is None or self._task.done():  # it may have ended a moment ago, and not been told off yet
            self._task = asyncio.get_running_loop().create_task(self._keep())
            self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if self._task is task:
            self._task = None
        if not task.cancelled() and task.exception() is not None:
            self._note(Notice(name="internal error", fields={"why": str(task.exception())}))

    async def _keep(self) -> None:
        """Start the runner again and again, as long as there is something for it."""
        loop = asyncio.get_running_loop()
        wait_s = AGAIN_MIN_S
        while True:
            begun_s = loop.time()
            why = await self._live()
            if not why and not self._words:
                return
            wait_s = AGAIN_MIN_S if loop.time() - begun_s > WELL_AFTER_S else min(AGAIN_MAX_S, wait_s * 2)
            if why:
                self._note(Notice(name="runner ended", fields={"why": why, "again_in_ms": int(wait_s * 1000)}))
            await asyncio.sleep(wait_s)

    async def _live(self) -> str:
        """Run one runner to its end; return why it ended, or nothing if it had no more to do."""
        command = (sys.executable, "-m", RUNNER, str(self._home.path), self._node.node, str(self._node.registry.owner))
        pipes: dict[str, Any] = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.DEVNULL}
        try:
            process = await asyncio.create_subprocess_exec(*command, **pipes, start_new_session=True)
        except OSError as cause:
            return f"it cannot be started: {os.strerror(cause.errno or 0)}"
        self._note(Notice(name="runner started", fields={"process": process.pid}))
        self._process = process
        try:
            code = await process.wait()
            return f"it ended with {code}" if code else ""
        finally:
            self._process = None
            await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(END_S):
            await process.wait()
    except (TimeoutError, asyncio.CancelledError):
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
