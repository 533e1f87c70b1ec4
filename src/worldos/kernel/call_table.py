"""The calls of a lane side by side with its workers: what every call does, quick enough to be done for each.

``calls`` is the machine on top of this, and says the rules. ``submit``, ``ran``, ``arrived`` and ``refill`` are its transitions
without messages. Where workers are on several nodes, ``placing`` holds what waits; else it is queues in order of submission.
"""

from __future__ import annotations

from collections import Counter, deque
from heapq import heappop, heappush
from typing import Final

from worldos.kernel.call_messages import Effect, SendCall
from worldos.kernel.call_parts import WINDOW_MAX, CallEntry, WorkerEntry
from worldos.kernel.placing import Placing
from worldos.kernel.profile import Profiles, Ran, Took

HEAVY_WINDOW: Final = 2  # calls with large arguments: one runs, one travels
NOWHERE: Final = -1


class CallTable:
    """The calls of one lane. ``patience_ns``: how long calls wait when no worker is left.

    With ``profiles``, calls go where they end soonest once there are workers on several nodes (placing.py); ``now_us`` is set
    by whoever drives before it says anything.
    """

    def __init__(self, *, patience_ns: int = 30_000_000_000, profiles: Profiles | None = None) -> None:
        self.patience_ns = patience_ns
        self.profiles = profiles
        self.placing: Placing | None = None
        self.now_us = 0
        self.ended = False
        self.speculated = False  # some call may be at two workers
        self.withdrawing = False  # what workers give back is cancelled
        self.reruns = 0  # calls sent again because their worker was lost or doubted
        self._calls: dict[int, CallEntry] = {}
        self._workers: dict[int, WorkerEntry] = {}
        self._trusted: list[WorkerEntry] = []
        self._fresh: deque[int] = deque()
        self._again: list[int] = []
        self._suspects: list[int] = []
        self._alone_since_ns: int | None = None
        self._greedy: dict[int, str] = {}  # calls that run with nothing beside them, and in which leases
        self._share_bytes = 0  # of the tightest lease with a limit, for each of its workers; 0: none has one

    # -- what every call does: the fast forms ---------------------------------------------------------------------------

    def submit(self, call: int, retries: int, *, heavy: bool = False, digest: str = "", size_bytes: int = 0) -> int:
        """Take a call; return the worker to send it to now, or NOWHERE: it waits (ask ``offer`` where calls are placed)."""
        entry = self._calls[call] = CallEntry(retries, digest, size_bytes, heavy=heavy)
        if self._share_bytes and self.placing is None:
            self._watch_memory(digest)
        if self.placing is not None:
            entry.queued = True
            self.placing.add(call, digest, size_bytes, heavy=heavy)
            return NOWHERE
        if not (self._fresh or self._again or self._suspects):
            best: WorkerEntry | None = None
            fewest = WINDOW_MAX
            for worker in self._trusted:
                out = len(worker.out)
                if out < fewest and out < worker.window and not worker.solo:
                    best, fewest = worker, out
                    if out == 0:
                        break
            if best is not None and not (heavy and fewest >= HEAVY_WINDOW):
                if best.far and not best.out:
                    entry.sent_us = self.now_us
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
        if self.placing is not None:
            self.placing.back(call, worker)
            self.placing.forget(call)
        if self._greedy:
            self._greedy.pop(call, None)
        return self._calls.pop(call, None) is not None

    def ran(self, worker: int, call: int, took: Took, out_bytes: int) -> None:
        """Learn from a result, before ``arrived``."""
        entry, source = self._calls.get(call), self._workers.get(worker)
        if entry is None or source is None or call not in source.out or self.profiles is None:
            return
        if self.placing is not None:
            self.placing.done(call, worker, took, out_bytes, self.now_us)
        elif took.wall_us or entry.sent_us:
            away_us = max(1, self.now_us - entry.sent_us - took.wall_us) if entry.sent_us else -1
            known = Ran(node=source.node, took=took, in_bytes=entry.size_bytes, out_bytes=out_bytes, away_us=away_us)
            self.profiles.learn(entry.digest, known)
            if self._share_bytes:
                self._watch_memory(entry.digest)

    def tells_way(self, call: int) -> bool:
        """Tell whether the result of this call says how long the way is: it went alone, to a far worker."""
        entry = self._calls.get(call)
        return entry is not None and entry.sent_us > 0

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
        if self._greedy and self.placing is not None and target.lease in self._greedy.values():
            self.placing.memory.blocked = True
            return []
        if self._suspects:
            return [] if target.out else self._take_suspect(target)
        sent: list[int] = []
        if self.placing is not None:
            while len(target.out) < target.window and (taken := self._placed(target, force=False)):
                sent.extend(taken)
            return sent
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
        if self.placing is not None:
            self.placing.forget(call)
        return True

    def service_ns(self) -> int:
        """Return how long a call takes, as the workers measure it; 0 before the first has come back."""
        known = [worker.service_ns for worker in self._workers.values() if worker.service_ns]
        return sum(known) // len(known) if known else 0

    def wanted_bytes(self) -> int:
        """Return the most memory that a call which waits is known to take; 0 where memory is no matter."""
        return self.placing.wanted_bytes() if self.placing is not None else 0

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
        return bool(self._fresh or self._again or self._suspects) or (self.placing is not None and self.placing.waiting)

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

    # -- the queues -----------------------------------------------------------------------------------------------------

    def _requeue(self, call: int, entry: CallEntry) -> None:
        entry.queued = True
        self._greedy.pop(call, None)
        if self.placing is not None and not entry.suspect:
            self.placing.again(call)
            return
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

    def _take_suspect(self, target: WorkerEntry) -> list[int]:
        while self._suspects:
            call = heappop(self._suspects)
            if self._wants(call):
                if not self._may_take(target, call):
                    heappush(self._suspects, call)
                    return []
                target.solo = True
                self._place(call, self._calls[call], target)
                return [call]
        return self.refill(target.id)

    def _may_take(self, target: WorkerEntry, call: int) -> bool:
        """Tell whether the memory of a worker's lease lets it take a suspect now."""
        entry = self._calls[call]
        if entry.greedy and target.memory_bytes:
            if any(other.out for other in self._workers.values() if other.lease == target.lease):
                return False
            self._greedy[call] = target.lease
            return True
        return self.placing is None or self.placing.memory.holds(target.id, entry.digest)

    # -- placing --------------------------------------------------------------------------------------------------------

    def _begin_placing(self, profiles: Profiles) -> None:
        """From now on there is more than one node, or too little memory: look where calls end soonest."""
        self.placing = Placing(profiles)
        for worker in self._trusted:
            self._berth(worker)
        for call, entry in self._calls.items():
            waits = entry.queued and not entry.suspect
            take_in = self.placing.add if waits else self.placing.know
            take_in(call, entry.digest, entry.size_bytes, heavy=entry.heavy)
        for worker in self._trusted:
            for call in worker.out:
                self.placing.sent(call, worker.id, self.now_us)
        self._fresh.clear()
        self._again.clear()

    def _berth(self, worker: WorkerEntry) -> None:
        assert self.placing is not None
        self.placing.join(worker.id, worker.node, far=worker.far, lease=worker.lease, memory_bytes=worker.memory_bytes)

    def _weigh_leases(self) -> None:
        """Work out how much memory there is for a worker, where there is least, and begin to place if that matters."""
        workers = Counter(worker.lease for worker in self._trusted if worker.memory_bytes)
        shares = [each.memory_bytes // workers[each.lease] for each in self._trusted if each.memory_bytes]
        self._share_bytes = min(shares, default=0)
        if self._share_bytes and self.placing is None:
            for digest in {entry.digest for entry in self._calls.values()}:
                self._watch_memory(digest)

    def _watch_memory(self, digest: str) -> None:
        """Place calls from now on, if a lease does not hold one of this function for each of its workers."""
        profiles = self.profiles
        if self.placing is None and profiles is not None and profiles.memory_bytes(digest) > self._share_bytes:
            self._begin_placing(profiles)

    def _placed(self, target: WorkerEntry, *, force: bool) -> list[int]:
        """Let a worker take what it should."""
        assert self.placing is not None
        has = len(target.out)
        room, heavy_room = (1, 1) if force else (target.window - has, HEAVY_WINDOW - has)
        taken = self.placing.take(target.id, room, self.now_us, heavy_room=heavy_room, force=force)
        for call in taken:
            self._place(call, self._calls[call], target)
        return taken

    def _unstick(self) -> list[Effect]:
        """Nobody does anything and nobody takes what waits: estimates may err, work goes on."""
        if not self._trusted or any(worker.out for worker in self._workers.values()):
            return []
        for worker in self._trusted:
            if taken := self._placed(worker, force=True):
                return [SendCall(worker=worker.id, call=call, attempt=1) for call in taken]
        return []

    def _distrust(self, worker: WorkerEntry) -> None:
        if worker in self._trusted:
            self._trusted.remove(worker)
        if self.placing is not None:
            self.placing.leave(worker.id)

    def _drop_entry(self, call: int) -> CallEntry:
        if self.placing is not None:
            self.placing.forget(call)
        return self._calls.pop(call)

    def _place(self, call: int, entry: CallEntry, target: WorkerEntry) -> None:
        entry.queued = False
        entry.attempts += 1
        entry.sent_us = self.now_us if target.far and not target.out and not entry.at else 0
        entry.at.append(target.id)
        target.out[call] = None
        if self.placing is not None:
            self.placing.sent(call, target.id, self.now_us)
