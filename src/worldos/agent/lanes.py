"""What stands behind this node's leases: joins the kernel's terms, the drivers' word on staffing, and the lane host."""

from __future__ import annotations

import asyncio
import glob
import os
import shutil
from collections.abc import Awaitable, Callable

from worldos.agent.scanner import Scanner
from worldos.drivers.driver import LaneNeeds, Leased
from worldos.errors import BadRequest, LeaseEnded, WorldError
from worldos.lanes.host import LaneHost, LaneSpec
from worldos.lanes.sandbox import Extra
from worldos.model.ids import LeaseId
from worldos.model.isolation import Isolation
from worldos.model.need import LeaseTerms
from worldos.model.resource import Kind

Failed = Callable[[LeaseId, str], None]
Stands = Callable[[str], Awaitable[None]]
Environ = Callable[[LeaseId], dict[str, str]]


class Lanes:
    """The lanes of this node, by lease. Opening runs in the background of the grant; who needs the doors waits for it."""

    def __init__(
        self, scanner: Scanner, failed: Failed, stands: Stands | None = None, environ: Environ | None = None
    ) -> None:
        self._scanner = scanner
        self._failed = failed
        self._stands = stands  # waits for a door that no workers of ours are behind
        self._environ = environ  # what a lease's workers find in their environment beside what the driver says
        self._host = LaneHost()
        self._doors: dict[LeaseId, asyncio.Task[tuple[str, ...]]] = {}
        self._folders: dict[LeaseId, str] = {}
        self._unstaffed: set[LeaseId] = set()
        self._ending: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start the lane host."""
        await self._host.start()

    async def close(self) -> None:
        """End every lane, and leave nothing behind."""
        for lease in list(self._doors):
            self.end(lease)
        await asyncio.gather(*self._ending, return_exceptions=True)
        await self._host.stop()

    def open(self, terms: LeaseTerms, *, gentle: bool = False) -> None:
        """Begin to staff a lease; a guest's workers are gentle (lanes/gentle.py)."""
        task = asyncio.get_running_loop().create_task(self._open(terms, gentle=gentle))
        self._doors[terms.lease] = task
        task.add_done_callback(lambda done: self._opened(terms.lease, done))

    def end(self, lease: LeaseId) -> None:
        """Begin to end a lane, with all that runs in it."""
        opening = self._doors.pop(lease, None)
        if opening is None:
            return
        task = asyncio.get_running_loop().create_task(self._end(lease, opening))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def paths_of(self, lease: LeaseId) -> tuple[str, ...]:
        """Return the sockets of a lease's workers, when they are there."""
        task = self._doors.get(lease)
        if task is None:
            raise LeaseEnded("this lease has ended")
        return await asyncio.shield(task)

    async def path_of(self, lease: LeaseId, worker: int) -> str:
        """Return the socket of one worker."""
        paths = await self.paths_of(lease)
        if not 0 <= worker < len(paths):
            raise BadRequest(f"this lease has {len(paths)} workers, not a number {worker}")
        return paths[worker]

    async def pause(self, lease: LeaseId, *, paused: bool) -> None:
        """Let the workers of a lease rest, or go on."""
        await self.paths_of(lease)
        if lease in self._unstaffed:
            raise BadRequest("nothing runs behind this lease that could rest")
        if paused:
            self._host.pause(lease)
        else:
            self._host.resume(lease)

    def rest(self, lease: LeaseId, *, rests: bool) -> bool:
        """Let a guest's workers rest or go on, now; False while there are none yet, or none that could."""
        task = self._doors.get(lease)
        if task is None or not task.done() or task.cancelled() or task.exception() or lease in self._unstaffed:
            return False
        (self._host.pause if rests else self._host.resume)(lease)
        return True

    def throttle(self, lease: LeaseId, permille: int) -> bool:
        """Let a guest have so much of its processors from now on; False where nothing can hold it to that."""
        task = self._doors.get(lease)
        if task is None or not task.done() or task.cancelled() or task.exception() or lease in self._unstaffed:
            return False
        return self._host.throttle(lease, permille)

    def statistics(self) -> dict[str, dict[str, int]]:
        """Return what each lease uses now: workers, bytes, ns of processor."""
        return {
            use.lease: {"workers": len(use.pids), "memory_bytes": use.memory_bytes, "cpu_ns": use.cpu_ns}
            for use in self._host.statistics()
        }

    def describe(self) -> str:
        """Say how limits are enforced on this machine."""
        return self._host.describe()

    def kept_apart(self) -> str:
        """Say what keeps the code of others from this machine, or why it lends them nothing."""
        classes = self._scanner.classes
        if classes.can(Isolation.SANDBOX):
            also = " or is WebAssembly" if classes.can(Isolation.WASM) else ""
            return f"code of other accounts runs in a sandbox (bubblewrap){also}"
        return f"code of other accounts does not run here: {classes.missing[Isolation.SANDBOX]}"

    async def _open(self, terms: LeaseTerms, *, gentle: bool) -> tuple[str, ...]:
        await asyncio.sleep(0)  # the grant goes out first: its holder waits for that, not for workers
        needs = self._needs(terms)
        if needs.door:
            if self._stands is not None:
                await self._stands(needs.door)
            self._unstaffed.add(terms.lease)
            return (needs.door,)
        if needs.folder:
            os.makedirs(needs.folder, mode=0o700)
            self._folders[terms.lease] = needs.folder
        isolation = terms.isolation or Isolation.PROCESS
        is_apart = isolation != Isolation.PROCESS and not needs.driver
        if is_apart and isolation == Isolation.SANDBOX and not self._scanner.classes.can(isolation):
            raise WorldError(self._scanner.classes.why(isolation))
        spec = LaneSpec(
            kind=terms.need.kind,
            workers=needs.workers,
            milli_cpu=terms.need.amount if terms.need.kind == Kind.CPU else 0,
            memory_bytes=needs.memory_bytes,
            gpus=tuple(needs.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")) if terms.need.kind == Kind.GPU else (),
            driver=needs.driver or None,
            arguments=needs.arguments,
            isolation=isolation,
            gentle=gentle,
            is_apart=is_apart and self._scanner.classes.can(Isolation.SANDBOX),
            only_words=isolation != Isolation.PROCESS and bool(needs.driver),
            extra=_extra(terms.need.kind),
            env={
                **needs.environ,
                "WORLDOS_NODE": terms.node,
                "WORLDOS_LEASE": terms.lease,
                **(self._environ(terms.lease) if self._environ is not None and isolation == Isolation.PROCESS else {}),
            },
        )
        doors = await self._host.open_lease(terms.lease, spec)
        return tuple(door.path for door in doors)

    def _needs(self, terms: LeaseTerms) -> LaneNeeds:
        driver = self._scanner.drivers.get(terms.need.kind)
        if driver is None:
            raise BadRequest(f"no driver for {terms.need.kind} is installed here")
        local, *also = [resource.rsplit("/", 1)[-1] for resource in terms.resources]
        leased = Leased(lease=terms.lease, local=local, need=terms.need, also=tuple(also))
        return driver.lane(self._scanner.machine, leased)

    async def _end(self, lease: LeaseId, opening: asyncio.Task[tuple[str, ...]]) -> None:
        await asyncio.wait([opening])
        if lease in self._unstaffed:
            self._unstaffed.discard(lease)
        elif opening.exception() is None:
            await self._host.close_lease(lease)
        folder = self._folders.pop(lease, None)
        if folder is not None:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _opened(self, lease: LeaseId, task: asyncio.Task[tuple[str, ...]]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        if isinstance(error, (WorldError, OSError)):
            why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
            self._failed(lease, f"what stands behind it could not be started: {why}")
            return
        raise error


def _extra(kind: str) -> Extra:
    """Return what a sandbox for this kind has in it: the cards of this machine, for who leased one."""
    return Extra(devices=tuple(sorted(glob.glob("/dev/nvidia*[0-9a-z]")))) if kind == Kind.GPU else Extra()
