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

Who waits, works: the thread in ``result()`` reads the sockets itself, so a synchronous call has no thread hop. One
thread at a time drives; the others sleep. When calls are open and nobody drives (``as_completed``, callbacks, or the
program does other things) a background thread takes over within ``TEND_SECONDS``.

A worker that hangs up is lost; its door is knocked at again, and the greeting of its successor says why (or
``VERDICT_SECONDS`` pass): then its calls run elsewhere.

KeyboardInterrupt may hit between any two instructions. Whatever changes the lane's state is between ``_torn = True`` and
``_torn = False``; who finds it True throws the connections away and sends all open calls again (those with ``retries=0``
fail), so Ctrl-C always leaves a lane that works.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import sys
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Executor
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any, Final, assert_never

import msgspec

from worldos.errors import BadRequest, LeaseEnded, NodeGone, OverQuota, PeerBroke, WorkerLost, WorldError
from worldos.kernel import calls as kernel
from worldos.kernel.calls import Calls, Failure, Loss
from worldos.lanes import driving, pack, shm, wire
from worldos.lanes.future import NO_PARTS, LaneFuture, Part, RemoteTraceback
from worldos.lanes.link import Door, Link, Place
from worldos.lanes.wire import Frame, FrameKind, Status

TEND_SECONDS: Final = 0.002
TEND_IDLE_ROUNDS: Final = 50
TURN_SECONDS: Final = 0.05
TIMED_TURN_SECONDS: Final = 0.005
VERDICT_SECONDS: Final = 0.02
LAST_VERDICT_SECONDS: Final = 0.5  # nothing to run elsewhere: the reason is all that the caller gets
KNOCK_SECONDS: Final = 0.05
PUMP_CALLS: Final = 32
RETRIES_DEFAULT: Final = 3
COPY_BYTES_MAX: Final = 64 * 1024 * 1024
MEMORY_ASK_BYTES: Final = 256 * 1024 * 1024

__all__ = ["Door", "Lane", "LaneFuture", "LaneUse", "RemoteTraceback"]


Outcome = tuple[int, Any, BaseException | None]
OnEvent = Callable[[int, str, Any], object]


class LaneUse(msgspec.Struct, frozen=True, kw_only=True):
    """What a lane does now."""

    workers: int
    open_calls: int
    submitted: int
    delivered: int
    losses: int
    reruns: int


class Lane(Executor):
    """A lane. Safe for several threads; a forked child gets a clear error."""

    def __init__(
        self,
        doors: list[Door] | None = None,
        *,
        initializer: Callable[..., Any] | None = None,
        initargs: tuple[Any, ...] = (),
        patience_s: float = 30.0,
    ) -> None:
        self._lock = threading.RLock()
        self.condition = threading.Condition(self._lock)
        self._patience_ns = int(patience_s * 1e9)
        self._machine = Calls(patience_ns=self._patience_ns)
        self._functions = pack.Functions()
        self._initializer = self._packed(initializer, initargs)
        self._calls: dict[int, LaneFuture] = {}
        self._places: dict[str, Place] = {}
        self._timed: set[str] = set()
        self._links: dict[int, Link] = {}
        self._by_fd: dict[int, Link] = {}
        self._doubted: set[str] = set()
        self._unflushed: set[Link] = set()
        self._callbacks: list[LaneFuture] = []
        self._pool = shm.Pool()
        self._unseen: list[int] = []
        self._epoll = select.epoll()
        self._next_call = 0
        self._next_number = 0
        self._delivered = 0
        self._losses = 0
        self._ended = False
        self._broken: WorldError | None = None
        self._driver = 0
        self._sleepers = 0
        self._turns = 0
        self._tick_s = 0.0
        self._torn = False
        self._torn_reading = False
        self._on_event: OnEvent | None = None
        self._events: list[tuple[int, str, Any]] = []
        self._tender: threading.Thread | None = None
        self._tender_sleeps = True
        self._bell = threading.Event()
        _lanes.add(self)
        for door in doors or []:
            self.add_door(door)

    def _packed(
        self, initializer: Callable[..., Any] | None, initargs: tuple[Any, ...]
    ) -> tuple[pack.Function, bytes] | None:
        if initializer is None:
            return None
        data, buffers = pack.pack_arguments(initargs, {})
        if buffers:
            raise BadRequest("the arguments of an initializer must be small")
        return self._functions.of(initializer), bytes(data)

    # -- calls ----------------------------------------------------------------------------------------------------

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> LaneFuture:
        """Run ``fn(*args, **kwargs)`` on a worker; up to three times more if its worker is lost."""
        return self.submit_call(fn, args, kwargs)

    def submit_call(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], *, retries: int = RETRIES_DEFAULT
    ) -> LaneFuture:
        """Run a call; ``retries=0``: never twice. Raises BadRequest for what cannot be sent, LeaseEnded after the end."""
        data, buffers = pack.pack_arguments(args, kwargs)
        parts = self._stowed(data, buffers) if buffers or len(data) >= wire.SMALL_BYTES else NO_PARTS
        with self._lock:
            if self._broken is not None:
                raise self._broken
            function = self._functions.of(fn)
            self._begin()
            call = self._next_call = self._next_call + 1
            future = LaneFuture(self, call, function, retries)
            if parts:
                future.parts = parts
            else:
                future.data = data
            self._calls[call] = future
            number = self._machine.submit(call, retries, heavy=bool(parts))
            if number != kernel.NOWHERE:
                link = self._links[number]
                # An idle worker starts at once; a busy one gets its next calls in batches.
                full = link.put_call(future)
                future.sent()
                if full or self._machine.outstanding_count(number) == 1:
                    self._flush(link)
                else:
                    self._unflushed.add(link)
            elif self._machine.stopped:
                self._act(self._machine.handle(kernel.WorkersEnded()))
            self._torn = False
            if self._tender_sleeps:
                self._wake_tender()
            pump = call % PUMP_CALLS == 0 and not self._driver
        if pump:
            self._pump()
        return future

    def _stowed(self, data: Any, buffers: list[memoryview]) -> list[Part]:
        """Put large arguments where workers can see them, or keep a copy: they are as they were at submit.

        Only what is too large to copy and goes to other machines alone stays where it is.
        """
        views = [memoryview(data), *buffers]
        total = sum(view.nbytes for view in views)
        self._check_size(total)
        local = any(place.door.local for place in self._places.values())
        parts: list[Part] = []
        for view in views:
            segment = None
            if local and view.nbytes >= shm.SHARE_BYTES:
                with self._lock:
                    segment = self._pool.take(view.nbytes)
            if segment is not None:
                segment.write(view)
                parts.append(Part(segment.bytes(view.nbytes), segment))
            elif view.readonly or total > COPY_BYTES_MAX:
                parts.append(Part(view, None))
            else:
                parts.append(Part(memoryview(bytes(view)), None))
        return parts

    def _check_size(self, total: int) -> None:
        """Refuse arguments that no worker could take. Shared memory is ours, not the worker's."""
        bounds = [link.welcome.memory_bytes for link in self._links.values() if link.welcome and not link.door.local]
        if bounds and all(0 < bound < total for bound in bounds):
            raise BadRequest(
                f"the arguments are {total / 1e9:.3g} GB, more than the {max(bounds) / 1e9:.3g} GB of memory leased",
                hint='lease more with memory="...", or pass them in pieces or as files',
            )
        if total >= MEMORY_ASK_BYTES and total > (free := _memory_free_bytes()):
            raise BadRequest(
                f"the arguments are {total / 1e9:.3g} GB, and this machine has {free / 1e9:.3g} GB of memory free",
                hint="pass them in pieces, or as files",
            )

    def verb(self, name: str, /, *args: Any, **kwargs: Any) -> LaneFuture:
        """Drive the object behind the lease by one of the verbs (``lanes.driving``). Never done twice."""
        return self.submit_call(driving.verb, (name, *args), kwargs, retries=0)

    def listen(self, on_event: OnEvent) -> None:
        """Call ``on_event(number, topic, payload)`` for each event of a driver, in whatever thread drives."""
        with self._lock:
            self._on_event = on_event
            if self._tender_sleeps:
                self._wake_tender()

    def cancel_call(self, future: LaneFuture) -> bool:
        """Cancel a call that no worker has."""
        with self._lock:
            if future.done() or not self._machine.cancel(future.call):
                return False
            self._calls.pop(future.call, None)
            for part in future.parts:
                if part.segment is not None:
                    self._pool.release(part.segment.number)
            future.finish_cancelled()
            self.condition.notify_all()
        future.run_callbacks()
        return True

    def drain(self, timeout_s: float | None = None) -> None:
        """Wait until no call is open. Raises TimeoutError."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while self._calls:
            with self._lock:
                futures = list(self._calls.values())
            for future in futures:
                if not future.done():
                    self.drive(future, None if deadline_s is None else max(0.0, deadline_s - time.monotonic()))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - Executor's
        """Take no more calls; cancel those not begun if asked to; wait for the others if asked to; hang up."""
        if cancel_futures:
            for future in list(self._calls.values()):
                future.cancel()
        if wait and self._broken is None:
            self.drain()
        self.close(LeaseEnded("the lane was shut down"))

    def close(self, reason: WorldError) -> None:
        """Hang up now. Open calls fail with ``reason``, as do later ones."""
        with self._lock:
            if self._broken is None:
                self._broken = reason
            for link in list(self._by_fd.values()):
                self._forget(link)
            self._places.clear()
            self._timed.clear()
            self._links.clear()
            self._machine = Calls()
            self._torn = self._torn_reading = False
            for future in list(self._calls.values()):
                self._finish(future, None, self._broken)
            self._calls.clear()
            self._pool.close()
            self.condition.notify_all()
        self._bell.set()
        self._run_callbacks()

    # -- doors and nodes ------------------------------------------------------------------------------------------

    def add_door(self, door: Door) -> None:
        """Take a worker in. It gets calls as soon as it has answered."""
        with self._lock:
            if self._broken is not None or door.path in self._places:
                return
            self._begin()
            self._functions.far = self._functions.far or not door.local
            place = self._places[door.path] = Place(door)
            self._knock(place)
            self._torn = False
            if self._calls and self._tender_sleeps:
                self._wake_tender()

    def lose_door(self, path: str, why: str) -> None:
        """Give up a worker for good: its lease or its node is gone. Its calls run elsewhere."""
        with self._lock:
            place = self._places.pop(path, None)
            if place is None:
                return
            self._begin()
            self._timed.discard(path)
            lost = place.lost
            if place.link is not None:
                lost = lost or place.link.number
                self._forget(place.link)
            self._lose(lost, Loss.NODE_GONE, why)
            self._torn = False
        self._run_callbacks()

    def no_more_doors(self) -> None:
        """Know that no door will be added: calls without any worker fail with NodeGone."""
        with self._lock:
            self._ended = True
            self._begin()
            if not self._places:
                self._act(self._machine.handle(kernel.WorkersEnded()))
            self._torn = False
        self._run_callbacks()

    def doubt(self, node: str) -> None:
        """Run the open calls of a suspected node elsewhere too."""
        self._judge(node, kernel.WorkerDoubted)
        self._doubted.add(node)

    def trust(self, node: str) -> None:
        """Use a node again that was doubted."""
        self._doubted.discard(node)
        self._judge(node, kernel.WorkerTrusted)

    def _judge(self, node: str, event: type[kernel.WorkerDoubted | kernel.WorkerTrusted]) -> None:
        with self._lock:
            self._begin()
            for number, link in sorted(self._links.items()):
                if link.door.node == node:
                    self._act(self._machine.handle(event(worker=number)))
            self._flush_all()
            self._torn = False

    def statistics(self) -> LaneUse:
        """Return what the lane does now."""
        return LaneUse(
            workers=len(self._links),
            open_calls=len(self._calls),
            submitted=self._next_call,
            delivered=self._delivered,
            losses=self._losses,
            reruns=self._machine.reruns,
        )

    def wait_for_workers(self, count: int, timeout_s: float) -> bool:
        """Drive until so many workers have answered; return whether they have."""
        deadline_s = time.monotonic() + timeout_s
        while len(self._links) < count and time.monotonic() < deadline_s:
            if not self._pump(TIMED_TURN_SECONDS):
                with self._lock:
                    self.condition.wait(TIMED_TURN_SECONDS)
        return len(self._links) >= count

    # -- driving --------------------------------------------------------------------------------------------------

    def drive(self, future: LaneFuture, timeout_s: float | None) -> None:
        """Drive the lane, or sleep while another thread does, until the future is done. Raises TimeoutError."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        me = threading.get_ident()
        with self._lock:
            while self._driver not in {0, me}:
                if future.ended:
                    return
                left_s = None if deadline_s is None else deadline_s - time.monotonic()
                if left_s is not None and left_s <= 0:
                    raise FutureTimeout
                self._sleepers += 1
                try:
                    self.condition.wait(left_s)
                finally:
                    self._sleepers -= 1
            nested = self._driver == me
            self._driver = me
        try:
            while not future.ended:
                if deadline_s is None:
                    self._turn(TURN_SECONDS)
                    continue
                left_s = deadline_s - time.monotonic()
                self._turn(min(TURN_SECONDS, max(0.0, left_s)))
                if left_s <= 0 and not future.ended:
                    raise FutureTimeout
        finally:
            if not nested:
                self._step_down()

    def _step_down(self) -> None:
        with self._lock:
            self._driver = 0
            if self._sleepers:
                self.condition.notify_all()

    def _pump(self, timeout_s: float = 0.0) -> bool:
        """Drive for a moment unless somebody does."""
        with self._lock:
            if self._driver or self._broken is not None:
                return False
            self._driver = threading.get_ident()
        try:
            self._turn(timeout_s)
        finally:
            self._step_down()
        return True

    def _turn(self, timeout_s: float) -> None:
        """Send what is queued, wait for news, take them in. Only the driver."""
        self._turns += 1
        with self._lock:
            if self._torn_reading:
                self._mend()
            self._begin()
            timeout_s = self._prepare(time.monotonic(), timeout_s)
            self._torn = False
        if self._callbacks or self._events:
            self._run_callbacks()
        for fd, event in self._epoll.poll(timeout_s):
            link = self._by_fd.get(fd)
            if link is not None:
                if event & select.EPOLLOUT:
                    self._unblock(link)
                if event & ~select.EPOLLOUT:
                    self._read(link)
        if self._callbacks or self._events:
            self._run_callbacks()

    def _prepare(self, now_s: float, timeout_s: float) -> float:
        """Do all that is due before waiting; return how long to wait."""
        if self._unflushed:
            self._flush_all()
        if self._unseen:
            self._release_unseen()
        if self._pool.retired:
            self._drop_retired()
        if self._timed:
            self._attend(now_s)
            timeout_s = min(timeout_s, TIMED_TURN_SECONDS)
        if now_s >= self._tick_s:
            self._tick_s = now_s + TURN_SECONDS
            self._act(self._machine.handle(kernel.ClockTicked(now_ns=int(now_s * 1e9))))
            for link in self._by_fd.values():
                if link.windows.released:
                    self._unflushed.add(link)
            self._flush_all()
        return timeout_s

    def _read(self, link: Link) -> None:
        """Take in what a worker sent."""
        self._torn_reading = True
        try:
            frames = link.inbox.receive()
            outcomes, busy_ns, others = self._sorted(link, frames)
        except BlockingIOError:
            self._torn_reading = False
            return
        except (EOFError, OSError, PeerBroke):
            with self._lock:
                self._begin()
                self._hung_up(link)
                self._torn = self._torn_reading = False
            return
        with self._lock:
            self._begin()
            if not link.dead:
                for frame in others:
                    self._heard(link, frame)
                if outcomes:
                    self._deliver(link, outcomes, busy_ns)
                if self._unflushed:
                    self._flush_all()
            self._torn = False
            if self._sleepers:
                self.condition.notify_all()
        self._torn_reading = False

    def _sorted(self, link: Link, frames: list[Frame]) -> tuple[list[Outcome], int, list[Frame]]:
        """Load results; return them, the time that they took, and all other frames."""
        outcomes: list[Outcome] = []
        busy_ns = 0
        others: list[Frame] = []
        for frame in frames:
            meta = frame.meta
            if frame.kind == FrameKind.RESULTS:
                busy_ns += meta[0]
                outcomes.extend([(call, *self._outcome(call, status, data, [])) for call, status, data in meta[1]])
            elif frame.kind == FrameKind.RESULT:
                busy_ns += meta.busy_ns
                data, buffers = self._located(link, frame)
                outcomes.append((meta.call, *self._outcome(meta.call, meta.status, data, buffers)))
            elif frame.kind == FrameKind.SEGMENT:
                if not link.inbox.fds:
                    raise PeerBroke("a shared segment came without its descriptor")
                number, size = meta
                link.windows.add(number, size, link.inbox.fds.popleft())
            else:
                others.append(frame)
        return outcomes, busy_ns, others

    def _outcome(
        self, call: int, status: int, data: Any, buffers: list[memoryview]
    ) -> tuple[Any, BaseException | None]:
        """Load what a call gave: a value or an exception."""
        try:
            value = pack.unpack(data, buffers)
        except Exception as error:  # noqa: BLE001 - loading runs the user's code
            failed = BadRequest(f"the result of {self._name(call)} cannot be loaded here: {error}")
            failed.__cause__ = error
            return None, failed
        if status == Status.RETURNED:
            return value, None
        if status == Status.UNSENDABLE:
            return None, BadRequest(
                f"the result of {self._name(call)} cannot be sent back: {value}",
                hint="return plain data, or write it to a file",
            )
        raised, text = value
        if status == Status.UNREADABLE:
            failed = BadRequest(
                f"{self._name(call)} or its arguments cannot be loaded by the worker: {type(raised).__name__}: {raised}",
                hint="is the module installed on that node too?",
            )
            failed.__cause__ = RemoteTraceback(text)
            return None, failed
        raised.__cause__ = RemoteTraceback(text)
        return None, raised

    def _name(self, call: int) -> str:
        future = self._calls.get(call)
        return future.function.name if future is not None else "a call"

    def _located(self, link: Link, frame: Frame) -> tuple[memoryview, list[memoryview]]:
        """Return pickle and buffers of a large result: in the frame, in the worker's memory, or in our own."""
        parts: list[memoryview] = []
        for part, (number, offset, size) in zip(
            wire.inline(frame.meta.places, frame.data), frame.meta.places, strict=True
        ):
            if part is not None:
                parts.append(part)
            elif number > 0:
                parts.append(link.windows.view(number, offset, size))
            else:
                with self._lock:
                    parts.append(self._own_view(link, -number, offset, size))
        return parts[0], parts[1:]

    def _own_view(self, link: Link, number: int, offset: int, size: int) -> memoryview:
        segment = self._pool.used(number)
        if segment is None or number not in link.held or not 0 <= offset < offset + size <= segment.size:
            raise PeerBroke(f"a result names {size} bytes at {offset} of a segment that it does not have")
        segment.uses += 1
        return segment.mapping.view(offset, size, lambda: self._unseen.append(number), writable=True)

    def _release_unseen(self) -> None:
        """Take back segments of ours whose last view as a result has died."""
        while self._unseen:
            self._pool.release(self._unseen.pop())

    def _deliver(self, link: Link, outcomes: list[Outcome], busy_ns: int) -> None:
        machine = self._machine
        number = link.number
        for call, value, error in outcomes:
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
            self._flush(link)
        elif machine.open_calls and not machine.outstanding_count(number):
            self._act(machine.spread(number))

    def _finish(self, future: LaneFuture, value: Any, error: BaseException | None) -> None:
        del self._calls[future.call]
        self._delivered += 1
        for part in future.parts:
            if part.segment is not None:
                self._pool.release(part.segment.number)
        if future.finish(value, error):
            self._callbacks.append(future)

    def _run_callbacks(self) -> None:
        while self._callbacks:
            self._callbacks.pop().run_callbacks()
        while self._events and self._on_event is not None:
            self._on_event(*self._events.pop(0))

    # -- what the machine wants -----------------------------------------------------------------------------------

    def _act(self, effects: list[kernel.Effect], why: str = "") -> None:
        """Carry out effects. Frames are queued, not sent."""
        for effect in effects:
            match effect:
                case kernel.SendCall():
                    link = self._links[effect.worker]
                    future = self._calls[effect.call]
                    link.put_call(future)
                    future.sent()
                    self._unflushed.add(link)
                case kernel.RevokeCalls():
                    held = self._links.get(effect.worker)
                    if held is not None:
                        held.put(FrameKind.REVOKE, effect.calls)
                        self._unflushed.add(held)
                case kernel.DeliverError():
                    future = self._calls[effect.call]
                    self._finish(future, None, _failure(effect, future, why))
                    self.condition.notify_all()
                case kernel.DeliverResult() | kernel.DeliverCancelled():
                    raise AssertionError("results are delivered by _deliver, cancelled calls by cancel_call")
                case _:
                    assert_never(effect)

    def _lose(self, number: int, loss: Loss, why: str) -> None:
        if number:
            self._losses += 1
            now_ns = int(time.monotonic() * 1e9)
            self._act(self._machine.handle(kernel.WorkerLost(worker=number, loss=loss, now_ns=now_ns)), why)
        if self._ended and not self._places:
            self._act(self._machine.handle(kernel.WorkersEnded()), why)
        self._flush_all()

    def _flush_all(self) -> None:
        while self._unflushed:
            self._flush(self._unflushed.pop())

    def _flush(self, link: Link) -> None:
        if link.dead:
            return
        try:
            done = link.flush()
        except OSError:
            self._hung_up(link)
            return
        if done == link.blocked:
            link.blocked = not done
            interest = select.EPOLLIN if done else select.EPOLLIN | select.EPOLLOUT
            self._epoll.modify(link.fd, interest)

    def _unblock(self, link: Link) -> None:
        with self._lock:
            self._begin()
            self._flush(link)
            self._torn = False

    # -- connections ----------------------------------------------------------------------------------------------

    def _drop_retired(self) -> None:
        retired, self._pool.retired = self._pool.retired, []
        for link in self._by_fd.values():
            known = [number for number in retired if number in link.told]
            link.told.difference_update(known)
            if known:
                link.put(FrameKind.DROP, known)
                self._unflushed.add(link)

    def _knock(self, place: Place) -> None:
        """Connect to a door, now or a little later; a door that is not there any more is given up."""
        try:
            link = place.knock()
        except OSError as error:
            self._places.pop(place.door.path, None)
            self._timed.discard(place.door.path)
            self._lose(place.lost, Loss.NODE_GONE, f"its door is closed ({error.strerror})")
            return
        if link is None:
            place.knock_s = time.monotonic() + KNOCK_SECONDS
            self._timed.add(place.door.path)
            return
        self._by_fd[link.fd] = link
        self._epoll.register(link.fd, select.EPOLLIN)
        self._flush(link)

    def _hung_up(self, link: Link) -> None:
        """A connection ended. Its calls stay where they are until somebody says why, or too much time has passed."""
        if link.dead:
            return
        self._forget(link)
        place = self._places.get(link.door.path)
        if place is None or place.link is not link:
            return
        place.link = None
        now_s = time.monotonic()
        if link.number:
            place.lost = link.number
            self._machine.handle(kernel.WorkerHungUp(worker=link.number))
            again = self._machine.repeatable_at(link.number)
            place.verdict_s = now_s + (VERDICT_SECONDS if again else LAST_VERDICT_SECONDS)
            self._timed.add(link.door.path)
            self._knock(place)
        else:
            place.knock_s = now_s + KNOCK_SECONDS  # it never greeted us: no hurry
            self._timed.add(link.door.path)

    def _forget(self, link: Link) -> None:
        with contextlib.suppress(OSError):
            self._epoll.unregister(link.fd)
        self._by_fd.pop(link.fd, None)
        self._links.pop(link.number, None)
        self._unflushed.discard(link)
        for number, uses in link.held.items():
            self._pool.release(number, uses)
        link.held.clear()
        link.close()

    def _attend(self, now_s: float) -> None:
        """Look after doors with something due."""
        for path in sorted(self._timed):
            place = self._places.get(path)
            if place is None:
                self._timed.discard(path)
                continue
            if place.lost and now_s >= place.verdict_s:
                lost, place.lost = place.lost, 0
                self._lose(lost, Loss.CRASHED, "ended")
            if place.link is None and now_s >= place.knock_s:
                self._knock(place)
            if not place.lost and place.link is not None:
                self._timed.discard(path)

    def _heard(self, link: Link, frame: Frame) -> None:
        """Act on anything but results."""
        kind, meta, data = frame
        if kind == FrameKind.REVOKED:
            self._act(self._machine.handle(kernel.CallsRevoked(worker=link.number, calls=tuple(meta))))
        elif kind == FrameKind.RELEASE:
            for number in meta:
                if link.held.get(number):
                    link.held[number] -= 1
                    self._pool.release(number)
        elif kind == FrameKind.DROP:
            for number in meta:
                link.windows.drop(number)
        elif kind == FrameKind.PRINTED:
            stream = sys.stderr if meta[0] == 2 else sys.stdout
            with contextlib.suppress(ValueError):  # the program has closed it
                stream.write(meta[1])
        elif kind == FrameKind.EVENT:
            value, error = self._outcome(0, Status.RETURNED, meta[1], [])
            if error is None and self._on_event is not None:
                self._events.append((meta[0], *value))
        else:
            self._heard_first(link, kind, meta, data)

    def _heard_first(self, link: Link, kind: int, meta: Any, data: Any) -> None:
        """Act on what a worker says once; any other frame is none that a worker sends."""
        if kind == FrameKind.WELCOME and not link.number:
            self._welcomed(link, meta)
        elif kind == FrameKind.REFUSED and not link.number:
            self._break(BadRequest(meta))
        elif kind == FrameKind.INITIALIZED:
            if meta != Status.RETURNED:
                _value, error = self._outcome(0, meta, data, [])
                broken = BadRequest("the initializer failed on a worker")
                broken.__cause__ = error
                self._break(broken)
        else:
            self._hung_up(link)

    def _break(self, reason: WorldError) -> None:
        """Fail all calls, now and later: no worker can ever run one."""
        self._broken = reason
        for future in list(self._calls.values()):
            self._finish(future, None, reason)
        self._machine = Calls(patience_ns=self._patience_ns)
        for link in list(self._by_fd.values()):
            self._forget(link)
        self._places.clear()
        self._timed.clear()
        self.condition.notify_all()

    def _welcomed(self, link: Link, welcome: wire.Welcome) -> None:
        """A worker is ready; it says how its predecessor ended."""
        place = self._places[link.door.path]
        if place.lost:
            lost, place.lost = place.lost, 0
            loss = Loss.OVER_QUOTA if welcome.over_quota else Loss.CRASHED if welcome.why else Loss.NODE_GONE
            self._lose(lost, loss, welcome.why or "hung up")
        self._timed.discard(link.door.path)
        link.welcome = welcome
        self._next_number += 1
        link.number = self._next_number
        self._links[link.number] = link
        if self._initializer is not None:
            function, data = self._initializer
            link.functions.add(function.number)
            link.put(FrameKind.FUNCTION, function.number, function.blob)
            link.put(FrameKind.INITIALIZE, function.number, data)
            self._unflushed.add(link)
        self._act(self._machine.handle(kernel.WorkerJoined(worker=link.number)))
        if link.door.node in self._doubted:
            self._act(self._machine.handle(kernel.WorkerDoubted(worker=link.number)))
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
        doors = [place.door for place in self._places.values()]
        for link in list(self._by_fd.values()):
            self._forget(link)
        self._places.clear()
        self._timed.clear()
        self._links.clear()
        self._unflushed.clear()
        self._machine = Calls(patience_ns=self._patience_ns)
        for call, future in sorted(self._calls.items()):
            if future.done():
                self._calls.pop(call)
            elif future.retries == 0 and future.running():
                self._finish(
                    future, None, WorkerLost(f"{future.function.name} was interrupted together with the program")
                )
            else:
                self._machine.submit(call, future.retries, heavy=bool(future.parts))
        for door in doors:
            place = self._places[door.path] = Place(door)
            self._knock(place)

    def _wake_tender(self) -> None:
        self._tender_sleeps = False
        if self._tender is None:
            self._tender = threading.Thread(target=self._tend, name="worldos-lane", daemon=True)
            self._tender.start()
        self._bell.set()

    def _tend(self) -> None:
        """Drive while calls are open and nobody else does."""
        idle = 0
        me = threading.get_ident()
        while not self._over():
            turns = self._turns
            time.sleep(TEND_SECONDS)
            if self._driver or self._turns != turns:
                idle = 0
                continue
            with self._lock:
                if self._driven() or self._over():
                    continue
                if not self._calls and self._on_event is None:
                    idle += 1
                    self._tender_sleeps = idle > TEND_IDLE_ROUNDS
                    if self._tender_sleeps:
                        self._bell.clear()
                else:
                    self._driver = me
            if self._tender_sleeps:
                self._bell.wait()
                idle = 0
            elif self._driver == me:
                try:
                    while (self._calls or self._on_event) and not self._sleepers and not self._over():
                        self._turn(TURN_SECONDS)
                finally:
                    self._step_down()

    def _driven(self) -> bool:
        return self._driver != 0

    def _over(self) -> bool:
        return self._broken is not None

    def _orphaned(self) -> None:
        """Be a lane in a forked child: of no use, and holding nothing of the parent's."""
        self._lock = threading.RLock()
        self.condition = threading.Condition(self._lock)
        self._broken = BadRequest(
            "this lane belongs to the parent process", hint="a forked child makes a lease of its own with use()"
        )
        for link in self._by_fd.values():
            os.close(link.sock.detach())
        self._by_fd = {}
        self._calls = {}
        self._epoll.close()


def _failure(effect: kernel.DeliverError, future: LaneFuture, why: str) -> WorldError:
    name = future.function.name
    times = f", {effect.attempts} times in all" if effect.attempts > 1 else ""
    match effect.failure:
        case Failure.WORKER_LOST:
            return WorkerLost(
                f"the worker that ran {name} {why or 'ended'}{times}", hint="does it call os._exit or crash?"
            )
        case Failure.OVER_QUOTA:
            return OverQuota(f"{name} {why}")
        case Failure.NODE_GONE:
            because = f": {why}" if why else ""
            if effect.attempts and future.retries == 0:
                hint = "it may have run: with retries=0 it is not run again; retries=3 lets it run elsewhere"
                return NodeGone(f"the node that ran {name} is lost{because}", hint=hint)
            return NodeGone(f"{name} has no worker left to run on{because}")
        case _:
            assert_never(effect.failure)


def _memory_free_bytes() -> int:
    """Return how much memory this machine has left, or more than any argument if it does not say."""
    try:
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 1 << 62


_lanes: weakref.WeakSet[Lane] = weakref.WeakSet()


def _orphan_all() -> None:
    for lane in list(_lanes):
        lane._orphaned()


def _close_all() -> None:
    for lane in list(_lanes):
        lane.close(LeaseEnded("the program ends"))


os.register_at_fork(after_in_child=_orphan_all)
atexit.register(_close_all)
