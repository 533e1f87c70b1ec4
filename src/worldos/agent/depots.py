"""The depot of this node: its keeper process, from the first that needs it to the agent's end; and who may come in.

The keeper (files/keeper.py) serves the shares that lie here and looks after files. It starts when this node has shares
already, or when somebody first comes for it, and is started again, ever later, when it ends by itself. It holds the read end
of a pipe, so it ends with this agent however that ends. What a node far away says of itself is never believed: the agent here
writes who it is (``Who``) before the first byte of its channel reaches the keeper.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from worldos.agent import clock
from worldos.config import Home, Settings, read_settings, write_settings
from worldos.drivers.machine import Machine
from worldos.drivers.store import LENT_KEY, Lent
from worldos.errors import NotAllowed, Unreachable
from worldos.kernel.effects import Notice
from worldos.model.ids import LeaseId, NodeId
from worldos.model.resource import Kind
from worldos.model.rights import FILES, Impact, Op

if TYPE_CHECKING:
    from worldos.node import Node

KEEPER: Final = "worldos.files.keeper"
ARENAS: Final = "2"  # its threads share what they free: without it each keeps megabytes
KEEPER_PROGRAM: Final = KEEPER.replace(".", "/") + ".py"  # what it calls itself when it asks this agent something
READY_S: Final = 20.0
END_S: Final = 10.0
AGAIN_MIN_S: Final = 0.2
AGAIN_MAX_S: Final = 30.0
WELL_AFTER_S: Final = 60.0  # a keeper that lived for so long starts again at once


Note = Callable[[Notice], None]


class Depots:
    """The keeper of one home, and the rules of its door."""

    def __init__(self, home: Home, settings: Settings, node: Node, machine: Machine, note: Note) -> None:
        self.settings = settings
        self.door = str(home.depot_socket)
        self._home = home
        self._node = node
        self._machine = machine
        self._note = note
        self._process: asyncio.subprocess.Process | None = None
        self._news = asyncio.Event()  # whether the keeper that was begun last stands, or why it does not
        self._why_not = ""
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._tell()

    # -- the keeper --------------------------------------------------------------------------------------------------------

    @property
    def is_there(self) -> bool:
        """Whether this node keeps shares, or would."""
        return self.settings.store_bytes != 0 or self._home.depot_folder.is_dir()

    def begin(self) -> None:
        """Start the keeper if there are shares here already."""
        if self._home.depot_folder.is_dir():
            self.wake()

    def wake(self) -> None:
        """Start the keeper if it does not run yet."""
        if self._task is None and not self._closing:
            self._task = asyncio.get_running_loop().create_task(self._keep())

    async def stands(self, door: str = "") -> None:
        """Wait until the door is open; ``door`` tells it from doors of other kinds."""
        if door and door != self.door:
            return
        if not self.is_there:
            raise NotAllowed("this node keeps no files", hint="let it: wos storage lend 50GB")
        if self._closing:
            raise Unreachable("this node is stopping")
        self.wake()
        try:
            async with asyncio.timeout(READY_S):
                await self._news.wait()
        except TimeoutError:
            raise Unreachable("the keeper of this node's depot does not start", hint="see: wos log") from None
        if self._why_not:
            raise Unreachable(f"the keeper of this node's depot does not stand: {self._why_not}", hint="see: wos log")

    async def close(self) -> None:
        """End the keeper, and see that it does."""
        self._closing = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            with suppress(OSError):
                os.unlink(self.door)  # one that had to be killed left it

    async def _keep(self) -> None:
        """Start the keeper again and again, as long as this agent lives."""
        loop = asyncio.get_running_loop()
        wait_s = AGAIN_MIN_S
        while True:
            begun_s = loop.time()
            self._news.clear()
            why = self._why_not = await self._live()
            self._news.set()
            wait_s = AGAIN_MIN_S if loop.time() - begun_s > WELL_AFTER_S else min(AGAIN_MAX_S, wait_s * 2)
            self._note(Notice(name="keeper ended", fields={"why": why, "again_in_ms": int(wait_s * 1000)}))
            await asyncio.sleep(wait_s)

    async def _live(self) -> str:
        """Run one keeper to its end; return why it ended."""
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                KEEPER,
                str(self._home.path),
                self._node.node,
                self._node.registry.owner,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                start_new_session=True,
                env={**os.environ, "MALLOC_ARENA_MAX": ARENAS},
            )
        except OSError as cause:
            return f"it cannot be started: {os.strerror(cause.errno or 0)}"
        assert process.stdout is not None
        self._process = process
        try:
            line = (await process.stdout.readline()).decode("utf-8", "replace").strip()
            if line == "ready":
                self._note(Notice(name="keeper started", fields={"process": process.pid}))
                self._why_not = ""
                self._news.set()
            code = await process.wait()
            said = "" if line == "ready" else f" {line.removeprefix('failed ')[:200]}"
            return f"it ended with {code}:{said}" if said else f"it ended with {code}"
        finally:
            await self._end(process)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        self._process = None
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(END_S):
                await process.wait()
        except (TimeoutError, asyncio.CancelledError):
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    # -- what is lent ------------------------------------------------------------------------------------------------------

    def lend(self, size_bytes: int, whom: str) -> Settings:
        """Lend so much to these from now on, and remember it."""
        changed = msgspec.structs.replace(read_settings(self._home), store_bytes=size_bytes)
        changed = msgspec.convert({**msgspec.structs.asdict(changed), "store_for": whom}, Settings)
        write_settings(self._home, changed)
        self.settings = changed
        self._tell()
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(b"%d\n" % size_bytes)
        return changed

    def _tell(self) -> None:
        """Leave what is lent for the driver."""
        self._machine.remembered[LENT_KEY] = Lent(
            folder=os.path.join(os.path.realpath(self._home.path), self._home.depot_folder.name),
            door=self.door,
            size_bytes=self.settings.store_bytes,
            whom=self.settings.store_for,
        )

    # -- who may come in ---------------------------------------------------------------------------------------------------

    def greeting(self, peer: NodeId, lease: str) -> bytes | None:
        """Return the first frame of a channel from a node: who it is. None: it has no business here."""
        from worldos.depot.wire import Who, frame_head  # noqa: PLC0415 - most agents never have a visitor

        node = self._node
        if node.is_member(peer):
            path = (str(node.registry.owner), FILES)
            if not node.authority.judge(clock.now_ns(), peer, Op.WRITE, path, Impact.REVERSIBLE, node).allowed:
                return None
            return frame_head(Who(node=peer, account=node.registry.owner, rights="own", lease=lease))
        contact = node.realms.kin.contact(peer)
        if contact is None or (self.settings.store_for == "me" and not self._home.given_file.exists()):
            return None
        amount = 0
        if lease:
            known = node.leases.leases.get(LeaseId(lease))
            if known is None or not node.leases.is_live(LeaseId(lease), peer) or known.terms.need.kind != Kind.STORE:
                return None
            amount = known.terms.need.amount
        account = str(contact.site)
        return frame_head(Who(node=peer, account=account, rights="guest", lease=lease, lease_bytes=amount))

    def is_store(self, lease: LeaseId) -> bool:
        """Tell whether a lease is one of this depot, which has no workers."""
        known = self._node.leases.leases.get(lease)
        return known is not None and known.terms.need.kind == Kind.STORE
