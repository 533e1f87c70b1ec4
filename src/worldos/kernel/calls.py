"""Calls on a lane, seen by their holder: which worker runs which call, and exactly one result for each.

A call waits, is *sent* to a worker (an attempt), and ends with one result or one error. Workers end, are doubted, come back;
results come late or twice. The rules:

- A worker gets few calls ahead (its *window*): about ``AHEAD_NS`` of work by its own measure, so small calls travel in
  batches and a lost worker loses little. Calls go out in order of submission, to the worker with the fewest outstanding.
- A lost worker: its calls run elsewhere, each at the price of one of its ``retries``. ``retries=0`` is an error at once: what
  must not run twice never does. A call that may have broken its worker is a *suspect* and runs alone from then on, so that
  it is never mistaken for its neighbours and cannot take them down again.
- A doubted worker (its node is suspected) keeps its calls, but those that may run twice are sent once more elsewhere; the
  first result wins.
- Calls a worker has not begun are called back (``RevokeCalls``) when another worker has nothing to do. Only what the worker
  confirms (``CallsRevoked``) moves, so this is safe for ``retries=0`` too. After ``call_back`` it is cancelled instead.

Invariant: for each submitted call exactly one of DeliverResult, DeliverError, DeliverCancelled comes out, whatever goes in.
Calls are numbered upwards by the holder. Times in ns. ``handle`` is the whole machine; ``submit``, ``arrived``, ``refill`` are
the same transitions without the Structs, for the path that every call takes.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import Final, assert_never

from worldos.kernel.call_messages import (
    CallCancelled,
    CallsRevoked,
    CallSubmitted,
    ClockTicked,
    DeliverCancelled,
    DeliverError,
    DeliverResult,
    Effect,
    Event,
    Failure,
    Loss,
    ResultsArrived,
    RevokeCalls,
    SendCall,
    WorkerDoubted,
    WorkerHungUp,
    WorkerJoined,
    WorkerLost,
    WorkersEnded,
    WorkerTrusted,
)

AHEAD_NS: Final = 2_000_000
WINDOW_MAX: Final = 512
HEAVY_WINDOW: Final = 2  # calls with large arguments: one runs, one travels
STEAL_NS: Final = 4_000_000  # work worth calling back from a busy worker
STUCK_TICKS: Final = 2  # a worker silent for so many ticks gives back what it has not begun
NOWHERE: Final = -1
_WITHOUT_FAULT: Final = frozenset({Loss.NODE_GONE, Loss.TAKEN_BACK})

__all__ = [
    "NOWHERE",
    "WINDOW_MAX",
    "Calls",
    "Loss",
    "Failure",
    "CallSubmitted",
    "ResultsArrived",
    "CallsRevoked",
    "CallCancelled",
    "WorkerJoined",
    "WorkerLost",
    "WorkerHungUp",
    "WorkerDoubted",
    "WorkerTrusted",
    "WorkersEnded",
    "ClockTicked",
    "SendCall",
    "RevokeCalls",
    "DeliverResult",
    "DeliverError",
    "DeliverCancelled",
    "Event",
    "Effect",
]


class _Call:
    """A call without a result. ``at``: the workers that have it."""

    __slots__ = ("at", "attempts", "heavy", "queued", "repeatable", "retries", "suspect")

    def __init__(self, retries: int, *, heavy: bool) -> None:
        self.retries = retries
        self.repeatable = retries > 0
        self.heavy = heavy
        self.suspect = False
        self.queued = False
        self.attempts = 0
        self.at: list[int] = []


class _Worker:
    """A worker and what it has: ``out`` in order of sending, ``revoking`` those asked back."""

    __slots__ = ("closed", "doubted", "id", "out", "revoking", "service_ns", "silent_ticks", "solo", "window")

    def __init__(self, number: int) -> None:
        self.id = number
        self.out: dict[int, None] = {}
        self.window = 1
        self.service_ns = 0
        self.doubted = False
        self.closed = False
        self.solo = False
        self.silent_ticks = 0
        self.revoking: set[int] = set()

    def learn(self, calls: int, busy_ns: int) -> None:
        """Fit the window to the measured time of a call: quickly down, slowly up."""
        sample = busy_ns // calls
        self.service_ns = sample if sample > self.service_ns else (3 * self.service_ns + sample) // 4
        self.window = min(WINDOW_MAX, max(1, AHEAD_NS // (self.service_ns + 1)))


class Calls:
    """The calls of one lane. ``patience_ns``: how long calls wait when no worker is left."""

    def __init__(self, *, patience_ns: int = 30_000_000_000) -> None:
        self.patience_ns = patience_ns
        self.ended = False
        self.speculated = False  # some call may be at two workers
        self.withdrawing = False  # what workers give back is cancelled
        self.reruns = 0  # calls sent again because their worker was lost or doubted
        self._calls: dict[int, _Call] = {}
        self._workers: dict[int, _Worker] = {}
        self._trusted: list[_Worker] = []
        self._fresh: deque[int] = deque()
        self._again: list[int] = []
        self._suspects: list[int] = []
        self._alone_since_ns: int | None = None

    # -- what every call does: the fast forms ---------------------------------------------------------------------------

    def submit(self, call: int, retries: int, *, heavy: bool = False) -> int:
        """Take a call; return the worker to send it to now, or NOWHERE: it waits."""
        entry = self._calls[call] = _Call(retries, heavy=heavy)
        if not (self._fresh or self._again or self._suspects):
            best: _Worker | None = None
            fewest = WINDOW_MAX
            for worker in self._trusted:
                out = len(worker.out)
                if out < fewest and out < worker.window and not worker.solo:
                    best, fewest = worker, out
                    if out == 0:
                        break
            if best is not None and not (heavy and fewest >= HEAVY_WINDOW):
                best.out[call] = None
                entry.at.append(best.id)
                entry.attempts = 1
                return best.id
        entry.queued = True
        self._fresh.append(call)
        return NOWHERE

    def arrived(self, worker: int, call: int) -> bool:
        """Take a result; return whether it is the one to deliver."""
        source = self._workers.get(worker)
        if source is not None and call in source.out:
            del source.out[call]
            if source.solo:
                source.solo = False
            if source.revoking:
                source.revoking.discard(call)
        return self._calls.pop(call, None) is not None

    def others(self, call: int, worker: int) -> list[int]:
        """Return the other workers that have this call. Ask before ``arrived``; needed if ``speculated``."""
        entry = self._calls.get(call)
        return [w for w in entry.at if w != worker] if entry is not None and len(entry.at) > 1 else []

    def learn(self, worker: int, calls: int, busy_ns: int) -> None:
        """Note what ``calls`` results together took at this worker."""
        source = self._workers.get(worker)
        if source is not None and calls:
            source.silent_ticks = 0
            source.learn(calls, busy_ns)

    def refill(self, worker: int) -> list[int]:
        """Return the waiting calls that this worker gets now; they count as sent."""
        target = self._workers.get(worker)
        if target is None or target.doubted or target.closed or target.solo or len(target.out) * 2 > target.window:
            return []
        if self._suspects:
            return [] if target.out else self._take_suspect(target)
        sent: list[int] = []
        while len(target.out) < target.window:
            call = self._next()
            if call is None:
                break
            entry = self._calls[call]
            if entry.heavy and len(target.out) >= HEAVY_WINDOW:
                heappush(self._again, call)
                break
            self._place(call, entry, target)
            sent.append(call)
        return sent

    def cancel(self, call: int) -> bool:
        """Forget a call that no worker has; return whether it was so."""
        entry = self._calls.get(call)
        if entry is None or entry.attempts:
            return False
        del self._calls[call]
        return True

    def retire(self, number: int) -> list[Effect]:
        """Give a worker nothing more, and ask for what it has not begun."""
        worker = self._workers.get(number)
        if worker is None:
            return []
        self._hung_up(number)
        ahead = tuple(call for call in list(worker.out)[1:] if call not in worker.revoking)
        worker.revoking.update(ahead)
        return [RevokeCalls(worker=number, calls=ahead)] if ahead else []

    def service_ns(self) -> int:
        """Return how long a call takes, as the workers measure it; 0 before the first has come back."""
        known = [worker.service_ns for worker in self._workers.values() if worker.service_ns]
        return sum(known) // len(known) if known else 0

    def call_back(self) -> list[Effect]:
        """Ask for all that no worker has begun; what they give back from now on is cancelled."""
        self.withdrawing = True
        effects: list[Effect] = []
        for worker in self._workers.values():
            ahead = tuple(call for call in list(worker.out)[1:] if call not in worker.revoking)
            worker.revoking.update(ahead)
            if ahead:
                effects.append(RevokeCalls(worker=worker.id, calls=ahead))
        return effects

    def attempts(self, call: int) -> int:
        """Return how often this call was sent."""
        entry = self._calls.get(call)
        return entry.attempts if entry is not None else 0

    @property
    def open_calls(self) -> int:
        """How many calls have no result yet."""
        return len(self._calls)

    @property
    def stopped(self) -> bool:
        """Whether no call can ever run again."""
        return self.ended and not self._workers

    @property
    def waiting(self) -> bool:
        """Whether any call waits for a worker."""
        return bool(self._fresh or self._again or self._suspects)

    def outstanding_count(self, worker: int) -> int:
        """Return how many calls this worker has."""
        return len(self._workers[worker].out)

    def repeatable_at(self, worker: int) -> bool:
        """Whether this worker has any call that would run elsewhere if it were lost."""
        entry = self._workers.get(worker)
        calls = [self._calls.get(call) for call in entry.out] if entry is not None else []
        return any(call is not None and call.retries > 0 for call in calls)

    def outstanding(self, worker: int) -> list[int]:
        """Return the calls that this worker has, in order of sending."""
        entry = self._workers.get(worker)
        return list(entry.out) if entry is not None else []

    # -- the whole machine ----------------------------------------------------------------------------------------------

    def handle(self, event: Event) -> list[Effect]:
        """Take in one event; return what must be done about it, in order."""
        match event:
            case CallSubmitted():
                return self._submitted(event)
            case ResultsArrived():
                return self._results(event)
            case CallsRevoked():
                return self._revoked(event)
            case CallCancelled():
                return [DeliverCancelled(call=event.call)] if self.cancel(event.call) else []
            case WorkerJoined():
                return self._joined(event.worker)
            case WorkerLost():
                return self._lost(event)
            case WorkerHungUp():
                return self._hung_up(event.worker)
            case WorkerDoubted():
                return self._doubted(event.worker)
            case WorkerTrusted():
                return self._heard(event.worker)
            case WorkersEnded():
                self.ended = True
                return [] if self._workers else self._fail_waiting()
            case ClockTicked():
                return self._ticked(event.now_ns)
            case _:
                assert_never(event)

    def _submitted(self, event: CallSubmitted) -> list[Effect]:
        if event.call in self._calls:
            return []
        worker = self.submit(event.call, event.retries, heavy=event.heavy)
        if worker != NOWHERE:
            return [SendCall(worker=worker, call=event.call, attempt=1)]
        return self._fail_waiting() if self.stopped else []

    def _results(self, event: ResultsArrived) -> list[Effect]:
        effects: list[Effect] = []
        known = 0
        for call in event.calls:
            spare = self.others(call, event.worker)
            if self.arrived(event.worker, call):
                known += 1
                effects.append(DeliverResult(worker=event.worker, call=call))
                effects.extend(self.drop(call, spare))
        self.learn(event.worker, known, event.busy_ns)
        effects.extend(self.spread(event.worker))
        return effects

    def drop(self, call: int, workers: list[int]) -> list[Effect]:
        """Call back the needless attempts of a call whose result is there."""
        return [
            RevokeCalls(worker=w, calls=(call,))
            for w in workers
            if (has := self._workers.get(w)) is not None and call in has.out
        ]

    def spread(self, worker: int) -> list[Effect]:
        """Give a worker what waits, or call work back for it from a busy one."""
        effects: list[Effect] = [
            SendCall(worker=worker, call=call, attempt=self._calls[call].attempts) for call in self.refill(worker)
        ]
        target = self._workers.get(worker)
        if target is not None and not effects and not target.out and target in self._trusted and not self.waiting:
            effects.extend(self._steal())
        return effects

    def _spread_all(self) -> list[Effect]:
        effects: list[Effect] = []
        for worker in sorted(self._trusted, key=lambda w: (len(w.out), w.id)):
            if not self.waiting:
                break
            effects.extend(self.spread(worker.id))
        return effects

    def _steal(self) -> list[Effect]:
        victim: _Worker | None = None
        for worker in self._trusted:
            if len(worker.out) < 2 or worker.revoking:
                continue
            worth = worker.service_ns * len(worker.out) >= STEAL_NS or worker.silent_ticks >= STUCK_TICKS
            if worth and (victim is None or len(worker.out) > len(victim.out)):
                victim = worker
        if victim is None:
            return []
        tail = tuple(victim.out)[(len(victim.out) + 1) // 2 :]
        victim.revoking.update(tail)
        return [RevokeCalls(worker=victim.id, calls=tail)]

    def _revoked(self, event: CallsRevoked) -> list[Effect]:
        source = self._workers.get(event.worker)
        if source is None:
            return []
        effects: list[Effect] = []
        for call in event.calls:
            source.revoking.discard(call)
            if call not in source.out:
                continue
            del source.out[call]
            source.solo = False
            entry = self._calls.get(call)
            if entry is not None:
                entry.at.remove(source.id)
                if entry.at:
                    continue
                if self.withdrawing:
                    del self._calls[call]
                    effects.append(DeliverCancelled(call=call))
                else:
                    self._requeue(call, entry)
        return [*effects, *self._spread_all()]

    def _joined(self, number: int) -> list[Effect]:
        if number in self._workers or self.ended:
            return []
        worker = self._workers[number] = _Worker(number)
        self._trusted.append(worker)
        self._alone_since_ns = None
        self._requeue_all_doubted()
        return self.spread(number)

    def _lost(self, event: WorkerLost) -> list[Effect]:
        worker = self._workers.pop(event.worker, None)
        if worker is None:
            return []
        if worker in self._trusted:
            self._trusted.remove(worker)
        effects: list[Effect] = []
        alone = len(worker.out) == 1
        for call in worker.out:
            entry = self._calls.get(call)
            if entry is None:
                continue
            entry.at.remove(worker.id)
            if entry.at:
                continue
            failure = self._price(entry, event.loss, alone=alone)
            if failure is not None:
                del self._calls[call]
                effects.append(DeliverError(call=call, failure=failure, attempts=entry.attempts))
            elif not entry.queued:
                self.reruns += 1
                self._requeue(call, entry)
        if not self._workers:
            self._alone_since_ns = event.now_ns
            if self.ended:
                effects.extend(self._fail_waiting())
        effects.extend(self._spread_all())
        return effects

    @staticmethod
    def _price(entry: _Call, loss: Loss, *, alone: bool) -> Failure | None:
        """Charge a call for the loss of its worker; return why it fails, if it does."""
        if loss is Loss.OVER_QUOTA and alone:
            return Failure.OVER_QUOTA
        if entry.retries == 0:
            return Failure.NODE_GONE if loss in _WITHOUT_FAULT else Failure.WORKER_LOST
        if loss is Loss.TAKEN_BACK:
            return None
        entry.retries -= 1
        if loss is not Loss.NODE_GONE:
            entry.suspect = True
        return None

    def _hung_up(self, number: int) -> list[Effect]:
        worker = self._workers.get(number)
        if worker is not None:
            worker.closed = True
            if worker in self._trusted:
                self._trusted.remove(worker)
        return []

    def _doubted(self, number: int) -> list[Effect]:
        worker = self._workers.get(number)
        if worker is None or worker.doubted:
            return []
        worker.doubted = True
        if worker in self._trusted:
            self._trusted.remove(worker)
        self._requeue_doubted(worker)
        return self._spread_all()

    def _requeue_all_doubted(self) -> None:
        for worker in self._workers.values():
            if worker.doubted:
                self._requeue_doubted(worker)

    def _requeue_doubted(self, worker: _Worker) -> None:
        for call in worker.out:
            entry = self._calls.get(call)
            if entry is None or entry.queued or not entry.repeatable:
                continue
            if all(self._workers[w].doubted for w in entry.at) and self._trusted:
                self.speculated = True
                self.reruns += 1
                self._requeue(call, entry)

    def _heard(self, number: int) -> list[Effect]:
        worker = self._workers.get(number)
        if worker is None or not worker.doubted:
            return []
        worker.doubted = False
        if not worker.closed:
            self._trusted.append(worker)
        for call in worker.out:
            entry = self._calls.get(call)
            if entry is not None:
                entry.queued = False
        self._requeue_all_doubted()
        return self.spread(number)

    def _ticked(self, now_ns: int) -> list[Effect]:
        if not self._workers and self._calls:
            if self._alone_since_ns is None:
                self._alone_since_ns = now_ns
            return self._fail_waiting() if now_ns - self._alone_since_ns >= self.patience_ns else []
        idle = False
        for worker in self._trusted:
            worker.silent_ticks = worker.silent_ticks + 1 if worker.out else 0
            idle = idle or not worker.out
        return self._steal() if idle and not self.waiting else []

    def _fail_waiting(self) -> list[Effect]:
        """Fail the calls that no worker has."""
        failed = [call for call, entry in self._calls.items() if not entry.at]
        effects: list[Effect] = []
        for call in failed:
            entry = self._calls.pop(call)
            effects.append(DeliverError(call=call, failure=Failure.NODE_GONE, attempts=entry.attempts))
        return effects

    # -- the queues -----------------------------------------------------------------------------------------------------

    def _requeue(self, call: int, entry: _Call) -> None:
        entry.queued = True
        heappush(self._suspects if entry.suspect else self._again, call)

    def _wants(self, call: int) -> bool:
        """Whether a queued number still stands for a call that needs a worker (queues are cleaned when read)."""
        entry = self._calls.get(call)
        return entry is not None and entry.queued

    def _next(self) -> int | None:
        while self._again:
            call = heappop(self._again)
            if self._wants(call):
                if not self._calls[call].suspect:
                    return call
                heappush(self._suspects, call)  # it became one while it waited
        while self._fresh:
            call = self._fresh.popleft()
            if self._wants(call):
                return call
        return None

    def _take_suspect(self, target: _Worker) -> list[int]:
        while self._suspects:
            call = heappop(self._suspects)
            if self._wants(call):
                target.solo = True
                self._place(call, self._calls[call], target)
                return [call]
        return self.refill(target.id)

    @staticmethod
    def _place(call: int, entry: _Call, target: _Worker) -> None:
        entry.queued = False
        entry.attempts += 1
        entry.at.append(target.id)
        target.out[call] = None
