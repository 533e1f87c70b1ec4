"""The holder's end of a lane: calls in, futures out, over one socket for each worker.

    lane = Lane([Door(path="/tmp/.../0.door", node="n1")])
    lane.submit(fn, 1, 2).result(timeout=5)              # a concurrent.futures.Executor; three retries
    lane.submit_call(fn, (1, 2), {}, retries=0)          # never run twice
    lane.add_door(Door(...)); lane.lose_door(path, why)  # what the control connection says
    lane.doubt("n1"); lane.trust("n1")                   # its node is suspected; heard again
    lane.verb("command", "put", "a", b"..")              # the driver behind the lease, if it has one
    lane.listen(lambda number, topic, payload: ...)      # what it tells; answer by verb("respond", number, answer)
    lane.no_more_doors()                                 # calls without any worker fail with NodeGone
    lane.statistics(); lane.shutdown()

Who waits, works: the thread in ``result()`` reads the sockets itself (``wheel``), so a synchronous call has no thread hop.
This module submits, drives and delivers. Who the workers are is in ``crew``, connections are in ``doors``, large arguments in
``stowage``, the background thread in ``tender``, and what runs where is decided in ``kernel.calls``.

KeyboardInterrupt may hit between any two instructions. Whatever changes the lane's state is between ``_torn = True`` and
``_torn = False``; who finds it True throws the connections away and sends all open calls again (those with ``retries=0``
fail), so Ctrl-C always leaves a lane that works.
"""

from __future__ import annotations

import contextlib
import select
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final, assert_never

from worldos.errors import BadRequest, LeaseEnded, PeerBroke, WorkerLost, WorldError
from worldos.kernel import call_messages as kernel
from worldos.kernel.call_messages import Loss
from worldos.kernel.calls import NOWHERE, Calls
from worldos.kernel.profile import Profiles, Took
from worldos.lanes import driving, family, outcome, pack, wire
from worldos.lanes.crew import TIMED_TURN_SECONDS, Crew
from worldos.lanes.doors import Doors
from worldos.lanes.failing import InitializerFailed, Unsendable
from worldos.lanes.future import NO_PARTS, LaneFuture, RemoteTraceback
from worldos.lanes.intake import Intake
from worldos.lanes.lane_use import LaneUse
from worldos.lanes.link import Door, Link
from worldos.lanes.outcome import Outcome
from worldos.lanes.stowage import Stowage
from worldos.lanes.tender import Tender
from worldos.lanes.wheel import Wheel
from worldos.lanes.wire import Frame, FrameKind, Status
from worldos.model.ids import NodeId

TICK_SECONDS: Final = 0.05
PUMP_CALLS: Final = 32
RETRIES_DEFAULT: Final = 3
TIMES_MAX: Final = 4096
UNMEASURED: Final = Took()

__all__ = ["Door", "Lane", "LaneFuture", "LaneUse", "RemoteTraceback"]

OnEvent = Callable[[int, str, Any], object]


class Lane(Crew):
    """A lane. Safe for several threads; a forked child gets a clear error."""

    def __init__(
        self,
        doors: list[Door] | None = None,
        *,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        patience_s: float = 30.0,
        profiles: Profiles | None = None,
    ) -> None:
        self._lock = threading.RLock()
        self.condition = threading.Condition(self._lock)
        self._patience_ns = int(patience_s * 1e9)
        self.profiles = profiles
        self._machine = Calls(patience_ns=self._patience_ns, profiles=profiles)
        self._took: dict[int, Took] = {}
        self._functions = pack.Functions()
        self._initializer = (
            None if initializer is None else pack.pack_initializer(self._functions, initializer, initargs)
        )
        self._calls: dict[int, LaneFuture] = {}
        self._stowage = Stowage(self._lock)
        self._doors = Doors(self, self._stowage.hung_up)
        self._workers = self._doors.workers
        self._doubted: set[str] = set()
        self._callbacks: list[LaneFuture] = []
        self._on_event: OnEvent | None = None
        self._events: list[tuple[int, str, Any]] = []
        self._next_call = 0
        self._delivered = 0
        self._losses = 0
        self._ended = False
        self._broken: WorldError | None = None
        self._tick_s = 0.0
        self._torn = False
        self._torn_reading = False
        self._intake = Intake(self._stowage, self._calls)
        self._wheel = Wheel(self.condition, self._turn, self._busy)
        self._tender = Tender(self._wheel, lambda: self._broken is not None)
        family.join(self)
        for door in doors or []:
            self.add_door(door)

    # -- calls ----------------------------------------------------------------------------------------------------

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> LaneFuture:
        """Run ``fn(*args, **kwargs)`` on a worker; up to three times more if its worker is lost."""
        return self.submit_call(fn, args, kwargs)

    def submit_call(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        retries: int = RETRIES_DEFAULT,
        of: tuple[Callable[..., Any], int] | None = None,
    ) -> LaneFuture:
        """Run a call; ``retries=0``: never twice. Raises BadRequest for what cannot be sent, LeaseEnded after the end.

        ``of``: the function that is really called in it, and how often; its profile counts.
        """
        data, buffers = pack.pack_arguments(args, kwargs)
        with self._lock:
            if self._broken is not None:
                raise self._broken
            function = self._functions.of(fn)
            inner = None
            if of is not None:
                with contextlib.suppress(Unsendable):  # it is known by what carries it, then
                    inner = self._functions.of(of[0])
        parts = NO_PARTS
        if buffers or len(data) >= wire.SMALL_BYTES:
            views = [memoryview(data), *buffers]
            parts = self._stowage.stow(views, self._doors.far_memory(), share=self._doors.any_local)
        with self._lock:
            self._begin()
            call = self._next_call = self._next_call + 1
            future = LaneFuture(self, call, function, retries)
            if of is not None and inner is not None:
                future.known_as = (f"{inner.key}*{of[1]}", f"{of[1]} x {inner.name}")
            if parts:
                future.parts = parts
            else:
                future.data = data
            self._calls[call] = future
            size = sum(part.bytes.nbytes for part in parts) if parts else len(data)
            if self._functions.far:
                self._machine.now_us = time.monotonic_ns() // 1000
            number = self._machine.submit(call, retries, heavy=bool(parts), digest=future.known_as[0], size_bytes=size)
            if number != NOWHERE:
                link = self._workers[number]
                # An idle worker starts at once; a busy one gets its next calls in batches.
                full = link.put_call(future)
                future.sent()
                if full or self._machine.outstanding_count(number) == 1:
                    self._doors.flush(link)
                else:
                    self._doors.later(link)
            elif self._machine.stopped:
                self._act(self._machine.handle(kernel.WorkersEnded()))
            elif self._machine.placing is not None:
                self._offer()
            elif self._broken is not None:  # closed while the arguments were stowed
                self._finish(future, None, self._broken)
            self._torn = False
            if self._tender.sleeps:
                self._tender.wake()
            pump = call % PUMP_CALLS == 0 and self._wheel.free
        if pump:
            self._wheel.pump(0.0)
        return future

    def _offer(self) -> None:
        """Let workers take what waits, where calls go to the node on which they end soonest."""
        self._machine.now_us = time.monotonic_ns() // 1000
        effects = self._machine.offer()
        if effects:
            self._act(effects)
            self._doors.flush_all()

    def verb(self, name: str, /, *args: Any, **kwargs: Any) -> LaneFuture:
        """Drive the object behind the lease by one of the verbs (``lanes.driving``). Never done twice."""
        return self.submit_call(driving.verb, (name, *args), kwargs, retries=0)

    def listen(self, on_event: OnEvent) -> None:
        """Call ``on_event(number, topic, payload)`` for each event of a driver, in whatever thread drives."""
        with self._lock:
            self._on_event = on_event
            self._tender.wake()

    def cancel_call(self, future: LaneFuture) -> bool:
        """Cancel a call that no worker has."""
        with self._lock:
            if future.ended or not self._machine.cancel(future.call):
                return False
            self._cancelled(future.call)
            self.condition.notify_all()
        self._run_callbacks()
        return True

    def withdraw(self) -> None:
        """Cancel every call that no worker has begun. Those that workers have ahead are called back, and cancelled then."""
        for future in self.futures():
            future.cancel()
        with self._lock:
            self._begin()
            self._act(self._machine.call_back())
            self._doors.flush_all()
            self._torn = False

    def futures(self) -> list[LaneFuture]:
        """Return the futures of all open calls."""
        with self._lock:
            return list(self._calls.values())

    def drain(self, timeout_s: float | None = None) -> None:
        """Wait until no call is open. Raises TimeoutError."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while self._calls:
            for future in self.futures():
                self.drive(future, None if deadline_s is None else max(0.0, deadline_s - time.monotonic()))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - Executor's
        """Take no more calls; cancel those not begun if asked to; wait for the others if asked to; hang up."""
        if cancel_futures:
            self.withdraw()
        if wait and self._broken is None:
            self.drain()
        self.close(LeaseEnded("the lane was shut down"))

    def close(self, reason: WorldError) -> None:
        """Hang up now. Open calls fail with ``reason``, as do later ones."""
        with self._lock:
            self._break(self._broken or reason)
            self._torn = self._torn_reading = False
            self._stowage.close()
        self._tender.end()
        self._run_callbacks()

    # -- what the doors say (lanes.doors.Owner); the lock is held -------------------------------------------------

    def worker_joined(self, link: Link) -> None:
        """Give a worker its initializer and its first calls."""
        if self._initializer is not None:
            function, data = self._initializer
            link.functions.add(function.number)
            link.put(FrameKind.FUNCTION, function.number, function.blob)
            link.put(FrameKind.INITIALIZE, function.number, data)
            self._doors.later(link)
        door = link.door
        memory_bytes = link.welcome.memory_bytes if link.welcome is not None else 0
        joined = kernel.WorkerJoined(
            worker=link.number, node=NodeId(door.node), far=not door.local, lease=door.lease, memory_bytes=memory_bytes
        )
        self._act(self._machine.handle(joined))
        if link.door.node in self._doubted:
            self._act(self._machine.handle(kernel.WorkerDoubted(worker=link.number)))
        self.condition.notify_all()

    def worker_hung_up(self, link: Link) -> bool:
        """Send it nothing more."""
        self._machine.handle(kernel.WorkerHungUp(worker=link.number))
        return self._machine.repeatable_at(link.number)

    def worker_lost(self, number: int, loss: Loss, why: str) -> None:
        """Let its calls run elsewhere."""
        if number:
            self._losses += 1
            now_ns = int(time.monotonic() * 1e9)
            self._act(self._machine.handle(kernel.WorkerLost(worker=number, loss=loss, now_ns=now_ns)), why)
        if self._ended and not len(self._doors):
            self._act(self._machine.handle(kernel.WorkersEnded()), why)
        self._doors.flush_all()

    # -- driving --------------------------------------------------------------------------------------------------

    def drive(self, future: LaneFuture, timeout_s: float | None) -> None:
        """Drive the lane, or sleep while another thread does, until the future is done. Raises TimeoutError."""
        self._wheel.drive(future, timeout_s)

    def _turn(self, timeout_s: float) -> None:
        """Send what is queued, wait for news, take them in. Only the driver."""
        self._tender.turns += 1
        with self._lock:
            if self._torn_reading:
                self._mend()
            self._begin()
            timeout_s = self._prepare(time.monotonic(), timeout_s)
            self._torn = False
        if self._callbacks or self._events:
            self._run_callbacks()
        for link, event in self._doors.wait(timeout_s):
            if event & select.EPOLLOUT:
                with self._lock:
                    self._begin()
                    self._doors.flush(link)
                    self._torn = False
            if event & ~select.EPOLLOUT:
                self._read(link)
        if self._callbacks or self._events:
            self._run_callbacks()

    def _prepare(self, now_s: float, timeout_s: float) -> float:
        """Do all that is due before waiting; return how long to wait."""
        doors = self._doors
        if self._stowage.untidy:
            doors.tell_all(FrameKind.DROP, self._stowage.tidy())
        if self._functions.forgotten:
            doors.tell_all(FrameKind.FORGET, self._functions.forgotten)
            self._functions.forgotten = []
        doors.flush_all()
        if now_s >= self._tick_s:
            self._tick_s = now_s + TICK_SECONDS
            self._act(self._machine.handle(kernel.ClockTicked(now_ns=int(now_s * 1e9))))
            doors.flush_releases()
            doors.flush_all()
        return min(timeout_s, TIMED_TURN_SECONDS) if doors.attend(now_s) else timeout_s

    def _read(self, link: Link) -> None:
        """Take in what a worker sent."""
        self._torn_reading = True
        try:
            frames = link.inbox.receive()
            outcomes, busy_ns, others = self._intake.sort(link, frames)
        except BlockingIOError:
            self._torn_reading = False
            return
        except (EOFError, OSError, PeerBroke):
            with self._lock:
                self._begin()
                self._doors.hung_up(link)
                self._torn = self._torn_reading = False
            return
        with self._lock:
            self._begin()
            if not link.dead:
                for frame in others:
                    self._heard(link, frame)
                if outcomes:
                    self._deliver(link, outcomes, busy_ns)
                self._doors.flush_all()
            self._torn = False
            self._wheel.wake_sleepers()
        self._torn_reading = False

    # -- delivering; the lock is held -----------------------------------------------------------------------------

    def _deliver(self, link: Link, outcomes: list[Outcome], busy_ns: int) -> None:
        machine = self._machine
        number = link.number
        machine.now_us = time.monotonic_ns() // 1000
        for call, value, error in outcomes:
            size = self._intake.size_bytes(call)
            if machine.placing is not None or call in self._took or (self._functions.far and machine.tells_way(call)):
                self._learn(number, call, size)
            spare = machine.others(call, number) if machine.speculated else []
            if machine.arrived(number, call):
                self._finish(self._calls[call], value, error)
                if spare:
                    self._act(machine.drop(call, spare))
        machine.learn(number, len(outcomes), busy_ns)
        sent = machine.refill(number)
        if sent:
            for call in sent:
                future = self._calls[call]
                link.put_call(future)
                future.sent()
            self._doors.flush(link)
        elif machine.open_calls and not machine.outstanding_count(number):
            self._act(machine.spread(number))
        self._act(machine.resume())

    def _learn(self, number: int, call: int, size: int) -> None:
        if self.profiles is not None and call in self._calls:
            self.profiles.function(*self._calls[call].known_as)
        self._machine.ran(number, call, self._took.pop(call, UNMEASURED), size)

    def _finish(self, future: LaneFuture, value: Any, error: BaseException | None) -> None:
        del self._calls[future.call]
        self._delivered += 1
        if future.parts:
            self._stowage.release(future.parts)
        if future.finish(value, error):
            self._callbacks.append(future)

    def _cancelled(self, call: int) -> None:
        future = self._calls.pop(call)
        self._stowage.release(future.parts)
        future.finish_cancelled()
        self._callbacks.append(future)

    def _run_callbacks(self) -> None:
        """Run what is the caller's; the lock is free."""
        while self._callbacks:
            self._callbacks.pop().run_callbacks()
        while self._events and self._on_event is not None:
            self._on_event(*self._events.pop(0))

    def _act(self, effects: list[kernel.Effect], why: str = "") -> None:
        """Carry out effects. Frames are queued, not sent."""
        for effect in effects:
            match effect:
                case kernel.SendCall():
                    link = self._workers[effect.worker]
                    future = self._calls[effect.call]
                    link.put_call(future)
                    future.sent()
                    self._doors.later(link)
                case kernel.RevokeCalls():
                    asked = self._workers.get(effect.worker)
                    if asked is not None:
                        asked.put(FrameKind.REVOKE, effect.calls)
                        self._doors.later(asked)
                case kernel.DeliverError():
                    future = self._calls[effect.call]
                    self._finish(future, None, outcome.failure(effect, future, why))
                    self.condition.notify_all()
                case kernel.DeliverCancelled():
                    self._cancelled(effect.call)
                    self.condition.notify_all()
                case kernel.DeliverResult():
                    raise AssertionError("results are delivered by _deliver")
                case _:
                    assert_never(effect)

    def _heard(self, link: Link, frame: Frame) -> None:
        """Act on anything but results."""
        kind, meta, data = frame
        if kind == FrameKind.REVOKED:
            self._act(self._machine.handle(kernel.CallsRevoked(worker=link.number, calls=tuple(meta))))
        elif kind == FrameKind.TIMES:
            if len(self._took) > TIMES_MAX:  # of calls that were lost in between
                self._took.clear()
            is_own = link.door.is_own
            self._took.update(
                (each.call, outcome.took(each, is_own=is_own)) for each in meta if each.call in self._calls
            )
        elif kind == FrameKind.RELEASE:
            self._stowage.released(link, meta)
        elif kind == FrameKind.DROP:
            for number in meta:
                link.windows.drop(number)
        elif kind == FrameKind.PRINTED:
            stream = sys.stderr if meta[0] == 2 else sys.stdout
            with contextlib.suppress(ValueError):  # the program has closed it
                stream.write(meta[1])
        elif kind == FrameKind.EVENT:
            value, error = outcome.load("an event", Status.RETURNED, meta[1], [], is_own=link.door.is_own)
            if error is None and self._on_event is not None:
                self._events.append((meta[0], *value))
        else:
            self._heard_once(link, kind, meta, data)

    def _heard_once(self, link: Link, kind: int, meta: Any, data: Any) -> None:
        """Act on what a worker says once; any other frame is none that a worker sends."""
        if kind == FrameKind.WELCOME and not link.number:
            self._doors.welcomed(link, meta)
        elif kind == FrameKind.REFUSED and not link.number:
            self._break(BadRequest(meta))
        elif kind == FrameKind.INITIALIZED:
            if meta != Status.RETURNED:
                broken = InitializerFailed("the initializer failed on a worker")
                broken.__cause__ = outcome.load("the initializer", meta, data, [], is_own=link.door.is_own)[1]
                self._break(broken)
        else:
            self._doors.hung_up(link)

    def _break(self, reason: WorldError) -> None:
        """Fail all calls, now and later: no worker will ever run one."""
        self._broken = reason
        self._took.clear()
        self._machine = Calls(patience_ns=self._patience_ns)
        self._doors.close()
        for future in list(self._calls.values()):
            self._finish(future, None, reason)
        self.condition.notify_all()

    # -- after an interrupt, in the background, in a child --------------------------------------------------------

    def _begin(self) -> None:
        """Enter a change of state; the lock is held. A change that was torn before is mended first."""
        if self._torn:
            self._mend()
        self._torn = True

    def _mend(self) -> None:
        """Start over with all open calls: new connections, a new machine."""
        self._torn = self._torn_reading = False
        doors = self._doors.close()
        self._machine = Calls(patience_ns=self._patience_ns, profiles=self.profiles)
        for call, future in sorted(self._calls.items()):
            if future.ended:
                self._calls.pop(call)
            elif future.retries == 0 and future.running():
                name = future.function.name
                self._finish(future, None, WorkerLost(f"{name} was interrupted together with the program"))
            else:
                parts, key = future.parts, future.known_as[0]
                size = sum(part.bytes.nbytes for part in parts) if parts else len(future.data)
                self._machine.submit(call, future.retries, heavy=bool(parts), digest=key, size_bytes=size)
        for door in doors:
            self._doors.add(door)

    def _busy(self) -> bool:
        return self._broken is None and bool(self._calls or self._on_event)

    def orphaned(self) -> None:
        """Be a lane in a forked child: of no use, and holding nothing of the parent's."""
        self._lock = threading.RLock()
        self.condition = threading.Condition(self._lock)
        hint = "a forked child makes a lease of its own with use()"
        self._broken = BadRequest("this lane belongs to the parent process", hint=hint)
        self._doors.orphan()
        self._calls.clear()
