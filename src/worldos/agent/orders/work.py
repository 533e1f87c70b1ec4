"""Orders about the site's work: commands to its line and queues, and looks at them. ``orders`` finds them by name.

The words are msgpack of ``model/work`` in both directions: the agent passes them on as they are, and the table checks them.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from worldos.agent import clock
from worldos.agent.agent import Agent
from worldos.agent.call import Call
from worldos.errors import BadRequest
from worldos.kernel.line.scene import Scene
from worldos.kernel.line.why import never
from worldos.kernel.work.site import NodeSite
from worldos.model import where
from worldos.model.runner import LOG_PIECE_BYTES_MAX, LogPiece
from worldos.model.work import Attempt, JobSpec
from worldos.model.work_wire import HELD_MAX, LOOK_CHARS_MAX, Leased, WorkAsk

_Ms = Annotated[int, msgspec.Meta(ge=0, le=86_400_000)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
_Attempts = Annotated[tuple[Attempt, ...], msgspec.Meta(max_length=HELD_MAX)]
_What = Annotated[str, msgspec.Meta(min_length=1, max_length=LOOK_CHARS_MAX)]


class WorkOrders:
    """The orders about work, by name."""

    async def order_work(self, agent: Agent, call: Call, command: bytes, wait_ms: _Ms = 0) -> bytes:
        """Have commands carried out (a WorkCommand); return their answers. A single Take may wait for a message."""
        return await agent.work.ask(WorkAsk(number=0, command=command, wait_ms=wait_ms))

    async def order_work_look(
        self, agent: Agent, call: Call, what: _What, first: _Count = 0, count: _Count = 1000
    ) -> bytes:
        """How the work stands now: ``jobs``, ``job ID``, ``queues``, ``queue NAME`` or ``keepers``."""
        return await agent.work.ask(WorkAsk(number=0, look=what, first=first, count=count))

    async def order_work_never(self, agent: Agent, call: Call, spec: bytes) -> str:
        """Why nothing that this node knows of could ever run a job (a JobSpec); nothing, if something could or others may."""
        try:
            job = msgspec.msgpack.decode(spec, type=JobSpec)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
            raise BadRequest("that is no job") from cause
        if job.need.where is not None:
            where.check(job.need.where)
        site, now_ns = NodeSite(agent.node), clock.now_ns()
        if site.looks_further():
            return ""
        scene = Scene(
            offers=site.offers(), view=site.view(now_ns), wall_ms=site.wall_ms(now_ns), runners=frozenset(site.alive())
        )
        return never(job, scene)

    # -- the runner of this node -------------------------------------------------------------------------------------------

    async def order_runner_hear(self, agent: Agent, call: Call) -> None:
        """Be told what is given to this node, as long as the connection lasts (model/work_wire, and LogAsk)."""
        await agent.work.runner.hear(call)

    async def order_runner_holds(
        self, agent: Agent, call: Call, attempts: _Attempts, leased: Leased | None = None
    ) -> None:
        """These attempts the runner has now, and no others; and leases for so much of each kind on this node."""
        agent.work.runner.held(attempts, leased or {})

    async def order_runner_told(self, agent: Agent, call: Call, request: int, piece: bytes) -> None:
        """The answer to a LogAsk: a LogPiece."""
        try:
            agent.work.runner.told(request, msgspec.msgpack.decode(piece, type=LogPiece))
        except (msgspec.DecodeError, UnicodeDecodeError) as cause:
            raise BadRequest("that is no piece of a log") from cause

    async def order_log_read(
        self, agent: Agent, call: Call, job: str, index: _Count = 0, offset: int = 0, size: int = LOG_PIECE_BYTES_MAX
    ) -> bytes:
        """A piece of what the newest attempt of a task put out, while its runner has it (a LogPiece)."""
        if not 0 <= offset < 2**53 or not 1 <= size <= LOG_PIECE_BYTES_MAX:
            raise BadRequest("there is no such piece of a log", hint=f"up to {LOG_PIECE_BYTES_MAX} bytes go at once")
        return msgspec.msgpack.encode(await agent.work.log(job, index, offset, size))
