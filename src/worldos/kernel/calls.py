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
from worldos.kernel.call_parts import CallEntry, WorkerEntry
from worldos.kernel.call_table import NOWHERE, CallTable

STEAL_NS: Final = 4_000_000  # work worth calling back from a busy worker
STUCK_TICKS: Final = 2  # a worker silent for so many ticks gives back what it has not begun
_WITHOUT_FAULT: Final = frozenset({Loss.NODE_GONE, Loss.TAKEN_BACK})

__all__ = ["NOWHERE", "Calls"]


class Calls(CallTable):
    """The machine: events in, effects out."""

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
                return self._joined(event)
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

    def retire(self, number: int) -> list[Effect]:
        """Give a worker nothing more, and ask for what it has not begun."""
        worker = self._workers.get(number)
        if worker is None:
            return []
        self._hung_up(number)
        ahead = tuple(call for call in list(worker.out)[1:] if call not in worker.revoking)
        worker.revoking.update(ahead)
        return [RevokeCalls(worker=number, calls=ahead)] if ahead else []

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

    def _submitted(self, event: CallSubmitted) -> list[Effect]:
        if event.call in self._calls:
            return []
        worker = self.submit(
            event.call, event.retries, heavy=event.heavy, digest=event.digest, size_bytes=event.size_bytes
        )
        if worker != NOWHERE:
            return [SendCall(worker=worker, call=event.call, attempt=1)]
        return self._fail_waiting() if self.stopped else self.offer()

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
        return [*effects, *self.resume()]

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

    def offer(self) -> list[Effect]:
        """Let the workers that have room take what waits, where calls are placed."""
        return self._spread_all() if self.placing is not None else []

    def resume(self) -> list[Effect]:
        """After results: let workers take what they were not given for want of memory."""
        if self.placing is None or not self.placing.memory.blocked:
            return []
        self.placing.memory.blocked = False
        return self._spread_all()

    def _spread_all(self) -> list[Effect]:
        effects: list[Effect] = []
        for worker in sorted(self._trusted, key=lambda w: (len(w.out), w.id)):
            if not self.waiting:
                break
            effects.extend(self.spread(worker.id))
        return effects

    def _steal(self) -> list[Effect]:
        victim: WorkerEntry | None = None
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
            if self.placing is not None:
                self.placing.back(call, source.id)
            source.solo = False
            entry = self._calls.get(call)
            if entry is not None:
                entry.at.remove(source.id)
                if entry.at:
                    continue
                if self.withdrawing:
                    self._drop_entry(call)
                    effects.append(DeliverCancelled(call=call))
                else:
                    self._requeue(call, entry)
        return [*effects, *self._spread_all()]

    def _joined(self, event: WorkerJoined) -> list[Effect]:
        number = event.worker
        if number in self._workers or self.ended:
            return []
        worker = self._workers[number] = WorkerEntry(
            number, event.node, far=event.far, lease=event.lease, memory_bytes=event.memory_bytes
        )
        self._trusted.append(worker)
        if self.placing is not None:
            self._berth(worker)
        elif self.profiles is not None and any(other.node != event.node for other in self._trusted):
            self._begin_placing(self.profiles)
        if worker.memory_bytes:
            self._weigh_leases()
        self._alone_since_ns = None
        self._requeue_all_doubted()
        return self.spread(number)

    def _lost(self, event: WorkerLost) -> list[Effect]:
        worker = self._workers.pop(event.worker, None)
        if worker is None:
            return []
        self._distrust(worker)
        effects: list[Effect] = []
        alone = len(worker.out) == 1
        crowded = event.loss is Loss.OVER_QUOTA and self._exceeded(worker)
        for call in worker.out:
            self._greedy.pop(call, None)
            entry = self._calls.get(call)
            if entry is None:
                continue
            entry.at.remove(worker.id)
            if entry.at:
                continue
            failure = self._price(entry, event.loss, alone=alone and not (crowded and entry.retries))
            if failure is not None:
                self._drop_entry(call)
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

    def _exceeded(self, lost: WorkerEntry) -> bool:
        """A worker was stopped for memory: learn what its call takes; return whether others of its lease took some too."""
        running = self._calls.get(next(iter(lost.out), NOWHERE))
        if running is None or self.profiles is None or not lost.memory_bytes:
            return False
        running.greedy = True
        self.profiles.exceeded(running.digest, lost.memory_bytes)
        self._watch_memory(running.digest)
        return any(other.out for other in self._workers.values() if other.lease == lost.lease)

    @staticmethod
    def _price(entry: CallEntry, loss: Loss, *, alone: bool) -> Failure | None:
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
            self._distrust(worker)
        return []

    def _doubted(self, number: int) -> list[Effect]:
        worker = self._workers.get(number)
        if worker is None or worker.doubted:
            return []
        worker.doubted = True
        self._distrust(worker)
        self._requeue_doubted(worker)
        return self._spread_all()

    def _requeue_all_doubted(self) -> None:
        for worker in self._workers.values():
            if worker.doubted:
                self._requeue_doubted(worker)

    def _requeue_doubted(self, worker: WorkerEntry) -> None:
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
            if self.placing is not None:
                self._berth(worker)
                for call in worker.out:
                    self.placing.sent(call, number, self.now_us)
        for call in worker.out:
            entry = self._calls.get(call)
            if entry is not None:
                entry.queued = False
        self._requeue_all_doubted()
        return self.spread(number)

    def _ticked(self, now_ns: int) -> list[Effect]:
        self.now_us = now_ns // 1000
        if not self._workers and self._calls:
            if self._alone_since_ns is None:
                self._alone_since_ns = now_ns
            return self._fail_waiting() if now_ns - self._alone_since_ns >= self.patience_ns else []
        idle = False
        for worker in self._trusted:
            worker.silent_ticks = worker.silent_ticks + 1 if worker.out else 0
            idle = idle or not worker.out
        if self.placing is not None and self.placing.waiting:
            return self._spread_all() or self._unstick()
        return self._steal() if idle and not self.waiting else []

    def _fail_waiting(self) -> list[Effect]:
        """Fail the calls that no worker has."""
        failed = [call for call, entry in self._calls.items() if not entry.at]
        effects: list[Effect] = []
        for call in failed:
            entry = self._drop_entry(call)
            effects.append(DeliverError(call=call, failure=Failure.NODE_GONE, attempts=entry.attempts))
        return effects
