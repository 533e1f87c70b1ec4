"""The lane host: opens a lease's workers on this machine, keeps their number, enforces its limits, leaves nothing behind.

Used by the agent, in its event loop::

    host = LaneHost(on_worker_ended=lambda lease, index, pid, why: ...)
    await host.start()
    doors = await host.open_lease("lease-1", LaneSpec(kind="CPU", workers=2, milli_cpu=2000, memory_bytes=1 << 30))
    doors[0].path        # Unix socket at which ``lanes.client`` (or a byte pump) talks to worker 0
    host.pause("lease-1"); host.resume("lease-1"); host.interrupt("lease-1", 0)
    host.statistics()    # one LeaseUse per lease
    await host.close_lease("lease-1")
    await host.stop()

A door outlives its workers: its listening socket stays, so a holder that reconnects waits for the next worker there. A lost
worker is replaced at once, and ever more slowly if it keeps dying at birth. All state of a host is under one run folder, which
is locked while the host lives: the next host removes folders (and cages) whose lock is free.

Everything in here is quick; removal of folders runs in a thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import resource
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Final

import msgspec

from worldos.errors import BadRequest, LeaseEnded, WorldError
from worldos.lanes import early, leftovers, nursery, sandbox, sweep, worker
from worldos.lanes.cage import PIDS_MAX, Bounds, Cage, Cages
from worldos.lanes.cage_roots import name_of_host
from worldos.lanes.ending import why_ended
from worldos.lanes.gentle import keep_gentle
from worldos.lanes.limits import SANDBOX_DISK_BYTES, SANDBOX_MEMORY_BYTES, START_SECONDS
from worldos.lanes.sandbox import Extra, Room, Rooms
from worldos.model.isolation import Isolation

WORKERS_MAX: Final = 1024
CLOSE_SECONDS: Final = 5.0
YOUNG_SECONDS: Final = 1.0  # a worker that dies younger counts towards the backoff
BACKOFF_SECONDS_MAX: Final = 1.0
BACKOFF_FREE: Final = 8  # so many early deaths in a row cost nothing
WATCH_SECONDS: Final = 0.05
SCRATCH_WATCH_SECONDS: Final = 0.5

WorkerEnded = Callable[[str, int, int, str], None]
log = logging.getLogger("worldos.lanes")


class LaneSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a lease gives. ``milli_cpu`` and ``memory_bytes`` are for all workers together; 0: not limited.

    ``gpus``: what CUDA_VISIBLE_DEVICES shows. ``driver``: "module:attribute" whose methods ``command`` calls.
    ``is_apart``: they run in a room of their own (sandbox.py), with ``extra`` in it; ``isolation`` is what they are told of that.
    ``only_words``: the holder drives what stands there, and sends no code of its own.
    ``gentle``: they run on what the owner of the machine leaves (gentle.py).
    """

    kind: str = "CPU"
    workers: int = 1
    milli_cpu: int = 0
    memory_bytes: int = 0
    scratch_bytes: int = 0
    gpus: tuple[str, ...] = ()
    driver: str | None = None
    arguments: dict[str, int | bool | str] = {}
    env: dict[str, str] = {}
    isolation: str = Isolation.PROCESS
    is_apart: bool = False
    only_words: bool = False
    extra: Extra = Extra()
    gentle: bool = False


class WorkerDoor(msgspec.Struct, frozen=True, kw_only=True):
    """Where a worker is reached: a Unix stream socket in a folder of mode 0700."""

    path: str
    pid: int


class LeaseUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a lease takes now. ``losses``: workers that ended without being asked to."""

    lease: str
    pids: tuple[int, ...]
    processes: int
    memory_bytes: int
    cpu_ns: int
    losses: int
    paused: bool


class _Post:
    """One place for a worker: its door, and who stands there."""

    def __init__(self, index: int, path: str, listener: socket.socket, folder: Path) -> None:
        self.index = index
        self.path = path
        self.listener = listener
        self.folder = folder
        self.pid = 0
        self.born_s = 0.0
        self.early_deaths = 0


class _Lease:
    """One open lease."""

    def __init__(self, name: str, spec: LaneSpec, cage: Cage, folder: Path) -> None:
        self.name = name
        self.spec = spec
        self.cage = cage
        self.folder = folder
        self.posts: list[_Post] = []
        self.losses = 0
        self.stopped_for_memory = 0
        self.over_scratch = False
        self.paused = False
        self.closing = False
        self.room: Room | None = None
        self.moving_in = asyncio.Lock()

    @property
    def pids(self) -> list[int]:
        return [post.pid for post in self.posts if post.pid]

    @property
    def is_apart(self) -> bool:
        """Whether its workers are in a room of their own."""
        return self.spec.is_apart

    @property
    def disk(self) -> Path:
        """Where what it writes lies."""
        return self.folder if self.room is None else self.room.disk


class LaneHost:
    """The workers of this machine. One per agent; everything from the agent's event loop."""

    def __init__(self, *, on_worker_ended: WorkerEnded | None = None, mechanism: str | None = None) -> None:
        self._on_worker_ended = on_worker_ended
        self._mechanism = mechanism
        self._leases: dict[str, _Lease] = {}
        self._by_pid: dict[int, tuple[_Lease, _Post]] = {}
        self._jobs: dict[int, asyncio.Future[int]] = {}
        self._job = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None
        self._folder = Path()
        self._lock_fd = -1
        self._cages: Cages | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._rooms = Rooms(lambda: self._folder / f"room-{secrets.token_hex(3)}")
        self._stopping = False

    async def start(self) -> None:
        """Clear what a killed host left, then start the nursery."""
        await asyncio.to_thread(leftovers.clear)
        name = name_of_host()
        self._folder = leftovers.temporary() / f"{leftovers.RUN_PREFIX}{os.getuid()}-{name}"
        self._folder.mkdir(mode=0o700)
        self._lock_fd = os.open(self._folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
        self._cages = Cages(name, kind=self._mechanism)
        self._start_nursery()
        self._spawn(self._watch())

    def describe(self) -> str:
        """Say which mechanism holds the limits here."""
        assert self._cages is not None, "start() first"
        return self._cages.describe()

    async def stop(self) -> None:
        """Close all leases and end the nursery. Nothing is left."""
        self._stopping = True
        for lease in list(self._leases):
            await self.close_lease(lease)
        await self._rooms.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._drop_nursery()
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, CLOSE_SECONDS)
            self._process.kill()
            self._process.wait()
        if self._cages is not None:
            await asyncio.to_thread(self._cages.close)
        await asyncio.to_thread(sweep.remove, self._folder)
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    # -- leases ---------------------------------------------------------------------------------------------------

    async def open_lease(self, lease_id: str, spec: LaneSpec) -> list[WorkerDoor]:
        """Make the cage and the workers of a lease; return their doors, by index."""
        if lease_id in self._leases:
            raise BadRequest(f"lease {lease_id} is open already")
        if not 0 < spec.workers <= WORKERS_MAX:
            raise BadRequest(f"a lane has 1 to {WORKERS_MAX} workers, not {spec.workers}")
        assert self._cages is not None, "start() first"
        spec = _bounded(spec)
        name = f"l{len(self._leases)}-{secrets.token_hex(3)}"
        most = {"milli_cpu": spec.milli_cpu, "memory_bytes": spec.memory_bytes, "file_bytes": spec.scratch_bytes}
        bounds = Bounds(**most, pids=PIDS_MAX, gentle=spec.gentle)
        folder = self._folder / name
        folder.mkdir(mode=0o700)
        lease = _Lease(lease_id, spec, self._cages.open(name, bounds), folder)
        self._leases[lease_id] = lease
        for index in range(spec.workers):
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            path = str(folder / f"{index}.door")
            listener.bind(path)
            listener.listen(16)
            lease.posts.append(_Post(index, path, listener, folder / f"w{index}"))
        try:
            await asyncio.gather(*(self._man(lease, post) for post in lease.posts))
        except WorldError:
            await self.close_lease(lease_id)
            raise
        return [WorkerDoor(path=post.path, pid=post.pid) for post in lease.posts]

    async def close_lease(self, lease_id: str) -> None:
        """End a lease: kill all its processes, remove its folder and its cage. Unknown leases are closed already."""
        lease = self._leases.pop(lease_id, None)
        if lease is None:
            return
        lease.closing = True
        for post in lease.posts:
            post.listener.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(post.path)
        deadline = time.monotonic() + CLOSE_SECONDS
        pause_s = 0.001
        while True:
            lease.cage.kill(lease.pids)
            if not lease.pids and lease.cage.remove():
                break
            if lease.room is not None:
                lease.room.end()
            if time.monotonic() > deadline:
                log.warning("lease %s: some of its processes do not end: %s", lease_id, lease.cage.pids(lease.pids))
                break
            await asyncio.sleep(pause_s)
            pause_s = min(0.05, pause_s * 2)
        if lease.room is not None:
            await self._demolish(lease.room)
        await asyncio.to_thread(sweep.remove, lease.folder)

    def pause(self, lease_id: str) -> None:
        """Stop all processes of a lease where they are."""
        lease = self._open(lease_id)
        lease.cage.freeze(lease.pids)
        lease.paused = True

    def resume(self, lease_id: str) -> None:
        """Let a paused lease go on."""
        lease = self._open(lease_id)
        lease.cage.thaw(lease.pids)
        lease.paused = False

    def throttle(self, lease_id: str, permille: int) -> bool:
        """Let a lease have so much of its processors; False where nothing here can hold it to that."""
        return self._open(lease_id).cage.throttle(permille)

    def interrupt(self, lease_id: str, index: int) -> None:
        """Send Ctrl-C to a worker: the call that it runs ends with KeyboardInterrupt."""
        pid = self._open(lease_id).posts[index].pid
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)

    def room_pid(self, lease_id: str) -> int:
        """Return the first process of a lease's sandbox, in whose namespaces all of it is; 0 if it has none."""
        room = self._open(lease_id).room
        return 0 if room is None or room.is_over else room.pid

    def room_folder(self, lease_id: str) -> Path | None:
        """Return where the few files of a sandbox's /etc are on this machine."""
        room = self._open(lease_id).room
        return None if room is None else room.folder

    def statistics(self) -> list[LeaseUse]:
        """Return what each lease takes now."""
        uses = []
        for lease in list(self._leases.values()):  # who asks from another thread sees a moment, not an error
            inside = lease.cage.pids(lease.pids)
            uses.append(
                LeaseUse(
                    lease=lease.name,
                    pids=tuple(lease.pids),
                    processes=len(inside),
                    memory_bytes=lease.cage.memory_bytes(inside),
                    cpu_ns=lease.cage.cpu_ns(inside),
                    losses=lease.losses,
                    paused=lease.paused,
                )
            )
        return uses

    def _open(self, lease_id: str) -> _Lease:
        lease = self._leases.get(lease_id)
        if lease is None:
            raise LeaseEnded(f"lease {lease_id} is not open on this node")
        return lease

    # -- workers --------------------------------------------------------------------------------------------------

    async def _man(self, lease: _Lease, post: _Post, why: str = "", *, over_quota: bool = False) -> None:
        """Put a fresh worker at a post."""
        spec = lease.spec
        told = {"CUDA_VISIBLE_DEVICES": ",".join(spec.gpus), "WORLDOS_LEASE": lease.name}
        told[worker.ISOLATION_NAME] = spec.isolation
        terms = worker.Terms(
            memory_bytes=spec.memory_bytes,
            driver=spec.driver,
            arguments=spec.arguments,
            why=why,
            over_quota=over_quota,
            only_words=spec.only_words,
        )
        order = nursery.Fork(
            job=self._next_job(),
            folder=str(post.folder),
            terms=terms,
            env={**told, **spec.env},
            cage=lease.cage.entrances(),
            limits=lease.cage.rlimits(),
            cpus=_affinity(spec.milli_cpu) if lease.cage.watched else [],
            gentle=spec.gentle,
        )
        if lease.is_apart:
            post.pid = await self._man_apart(lease, post, order)
        else:
            post.pid = await self._man_plain(post, order)
        post.born_s = time.monotonic()
        self._by_pid[post.pid] = (lease, post)

    async def _man_apart(self, lease: _Lease, post: _Post, order: nursery.Fork) -> int:
        """Have the lease's own room fork the worker; a lease without one moves in."""
        async with lease.moving_in:
            if lease.room is None or lease.room.is_over:
                lost, lease.room = lease.room, await self._rooms.take(lease.spec.extra)
                lease.room.worker_ended = self._worker_ended
                self._rooms.prepare(is_for_wasm=lease.spec.isolation == Isolation.WASM)
                if lost is not None:
                    self._spawn(self._demolish(lost))
                if lease.closing:  # it ended while the room was made
                    await self._demolish(lease.room)
                    raise WorldError("the lease has ended")
                lease.room.enter(lease.cage.entrances())
            room = lease.room
        limits = {number: bound for number, bound in order.limits.items() if number != resource.RLIMIT_CORE}
        inside = msgspec.structs.replace(order, folder=f"{sandbox.DISK}/{post.folder.name}", cage=[], limits=limits)
        return await room.fork(inside, post.listener)

    async def _demolish(self, room: Room) -> None:
        """Remove what is left of a room."""
        await asyncio.to_thread(room.demolish)

    async def _man_plain(self, post: _Post, order: nursery.Fork) -> int:
        """Have our own nursery fork the worker."""
        forked: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._jobs[order.job] = forked
        sock = self._sock
        if sock is None:
            raise WorldError("the nursery does not run")
        try:
            socket.send_fds(sock, [nursery.encode(order)], [post.listener.fileno()])
            return await asyncio.wait_for(forked, START_SECONDS)
        except (TimeoutError, OSError) as error:
            raise WorldError("the nursery gave no worker") from error
        finally:
            self._jobs.pop(order.job, None)

    def _next_job(self) -> int:
        self._job += 1
        return self._job

    def _heard_nursery(self) -> None:
        assert self._sock is not None
        while True:
            try:
                packet = self._sock.recv(nursery.PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            except ConnectionError:
                packet = b""
            if not packet:
                self._nursery_ended()
                return
            match nursery.reports.decode(packet):
                case nursery.Forked(job=job, pid=pid):
                    waiting = self._jobs.get(job)
                    if waiting is not None and not waiting.done():
                        waiting.set_result(pid)
                case nursery.Ended(pid=pid, status=status):
                    self._worker_ended(pid, status)
                case nursery.Settled():
                    pass  # only the nurseries of rooms have doors to shut

    def _worker_ended(self, pid: int, status: int) -> None:
        found = self._by_pid.pop(pid, None)
        if found is None:
            return
        lease, post = found
        post.pid = 0
        if lease.closing:
            return
        stopped = lease.cage.stopped_for_memory()
        over_quota = status == -signal.SIGKILL and stopped > lease.stopped_for_memory
        lease.stopped_for_memory = stopped
        memory_bytes = lease.spec.memory_bytes if over_quota else 0
        scratch_bytes = lease.spec.scratch_bytes if lease.over_scratch else 0
        why = why_ended(status, memory_bytes=memory_bytes, scratch_bytes=scratch_bytes)
        if status:
            lease.losses += 1
            early = time.monotonic() - post.born_s < YOUNG_SECONDS
            post.early_deaths = post.early_deaths + 1 if early else 0
        if self._on_worker_ended is not None:
            self._on_worker_ended(lease.name, post.index, pid, why)
        self._spawn(self._replace(lease, post, why if status else "", over_quota=over_quota))

    async def _replace(self, lease: _Lease, post: _Post, why: str, *, over_quota: bool) -> None:
        excess = post.early_deaths - BACKOFF_FREE
        if excess > 0:
            await asyncio.sleep(min(BACKOFF_SECONDS_MAX, 0.01 * 2 ** min(excess, 10)))
        old = post.folder if lease.room is None else lease.room.disk / post.folder.name
        post.folder = lease.folder / f"w{post.index}-{self._next_job()}"
        if not lease.closing:
            try:
                await self._man(lease, post, why, over_quota=over_quota)
            except WorldError as error:
                log.warning("lease %s: worker %d has no successor: %s", lease.name, post.index, error)
        await asyncio.to_thread(sweep.remove, old)

    # -- the nursery ----------------------------------------------------------------------------------------------

    def _start_nursery(self) -> None:
        assert self._cages is not None
        self._process, self._sock = begun = early.take()
        begun.settle(str(self._folder), self._cages.folders)
        asyncio.get_running_loop().add_reader(begun.sock, self._heard_nursery)

    def _drop_nursery(self) -> None:
        if self._sock is not None:
            asyncio.get_running_loop().remove_reader(self._sock)
            self._sock.close()
            self._sock = None

    def _nursery_ended(self) -> None:
        """Start another nursery; all workers died with the old one."""
        self._drop_nursery()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        for waiting in self._jobs.values():
            if not waiting.done():
                waiting.set_exception(WorldError("the nursery ended"))
        if self._stopping:
            return
        log.warning("the nursery ended; starting another")
        self._start_nursery()
        for pid in list(self._by_pid):
            self._worker_ended(pid, -signal.SIGKILL)

    # -- watching -------------------------------------------------------------------------------------------------

    def _spawn(self, job: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self) -> None:
        """Enforce what the kernel does not: memory without cgroups, disk space in scratch folders."""
        next_scratch_s = 0.0
        while True:
            await asyncio.sleep(WATCH_SECONDS if self._needs_watch() else SCRATCH_WATCH_SECONDS)
            for lease in self._leases.values():
                if lease.cage.watched:
                    lease.cage.enforce(lease.pids)
            if time.monotonic() < next_scratch_s:
                continue
            next_scratch_s = time.monotonic() + SCRATCH_WATCH_SECONDS
            await self._rooms.rest()
            for lease in list(self._leases.values()):
                if lease.spec.gentle:
                    keep_gentle(lease.cage.pids(lease.pids))
                if lease.spec.scratch_bytes:
                    lease.over_scratch = await asyncio.to_thread(_is_over, lease, lease.cage.pids(lease.pids))
                    if lease.over_scratch and lease.room is not None:
                        lease.room.end()  # all that it wrote goes with it
                    elif lease.over_scratch:
                        lease.cage.kill(lease.pids)

    def _needs_watch(self) -> bool:
        return any(lease.cage.watched for lease in self._leases.values())


def _bounded(spec: LaneSpec) -> LaneSpec:
    """Return the spec with bounds on all that a stranger could take, also where nothing was said."""
    if not spec.is_apart:
        return spec
    return msgspec.structs.replace(
        spec,
        memory_bytes=spec.memory_bytes or SANDBOX_MEMORY_BYTES,
        scratch_bytes=spec.scratch_bytes or SANDBOX_DISK_BYTES,
    )


def _is_over(lease: _Lease, pids: list[int]) -> bool:
    """Tell whether a lease has more on the disk than it may, in its folder or in files without a name."""
    try:
        device = lease.disk.stat().st_dev
    except FileNotFoundError:  # it has just gone
        return False
    named, nameless = sweep.measure(lease.disk), sweep.held(pids, device)
    size_bytes = named.size_bytes + nameless.size_bytes
    return size_bytes > lease.spec.scratch_bytes or named.is_endless or nameless.is_endless


def _affinity(milli_cpu: int) -> list[int]:
    """Return the cores for a lease without a quota: as many as its share, rounded up, not always the same."""
    if not milli_cpu:
        return []
    cores = sorted(os.sched_getaffinity(0))
    count = min(len(cores), -(-milli_cpu // 1000))
    first = secrets.randbelow(len(cores))
    return sorted(cores[(first + i) % len(cores)] for i in range(count))
