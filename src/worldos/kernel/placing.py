"""Where a call ends soonest: the waiting calls of a lane whose workers are on several nodes, and which worker takes which.

Calls that wait are of *sorts*: a function, and about how many bytes it brings. A worker that has room looks at one call of each
sort and takes of the one that it does best beside the others (the least quotient of its own time and the best time
elsewhere), if that call would end here before the other nodes could get to it: its time on the way, behind what is already under
way, and its work, against all that waits shared out among the others. Else the worker rests, although work waits: it would
come too late. Each time a worker has room this is decided anew with what was learned meanwhile (profile.py); only the few calls
that a worker has ahead are bound, and those are called back when another rests.

Of a sort that brings much to a node whose way is not known, one call goes first, and teaches it. A worker passes over sorts that
the memory of its lease does not hold beside what runs there (call_memory.py). Where all workers are on one node, what was
submitted first goes first.
Units: microseconds and bytes. Source: heterogeneous earliest finish time, H. Topcuoglu et al., IEEE TPDS 2002; the rule for who
takes what is comparative advantage.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from worldos.kernel.call_memory import CallMemory
from worldos.kernel.profile import RATE_BYTES_MIN, SMALL_US, Profiles, Ran, Took
from worldos.model.ids import NodeId

AHEAD_US: Final = 2_000
SORTS_IDLE: Final = 256  # beyond so many, those of which none waits are forgotten
NEVER_US: Final = 1 << 60
SCALE: Final = 1 << 20


class Sort:
    """Waiting calls that cost about the same."""

    __slots__ = ("calls", "digest", "heavy", "size_bytes", "waiting")

    def __init__(self, digest: str, size_bytes: int, *, heavy: bool) -> None:
        self.digest = digest
        self.size_bytes = size_bytes
        self.heavy = heavy
        self.calls: deque[int] = deque()
        self.waiting = 0


class Sent(NamedTuple):
    """A call that is at a worker. ``alone``: nothing was there before it."""

    at_us: int
    size_bytes: int
    alone: bool
    digest: str


class Berth:
    """A worker: where it is, and what it has."""

    __slots__ = ("begun_us", "far", "node", "out")

    def __init__(self, node: NodeId, *, far: bool) -> None:
        self.node = node
        self.far = far
        self.out: dict[int, Sent] = {}
        self.begun_us = 0  # when what it does now could begin at the earliest


class Placing:
    """All of it for one lane. The caller says which workers may be given calls, and that a taken call is sent."""

    def __init__(self, profiles: Profiles) -> None:
        self.profiles = profiles
        self.memory = CallMemory(profiles)
        self._sorts: dict[tuple[str, int], Sort] = {}
        self._of: dict[int, Sort] = {}
        self._size: dict[int, int] = {}
        self._queued: set[int] = set()
        self._berths: dict[int, Berth] = {}
        self._moving: dict[NodeId, int] = {}  # bytes under way to a node
        self._is_split = False  # there was more than one node

    @property
    def waiting(self) -> bool:
        """Whether any call waits."""
        return bool(self._queued)

    def wanted_bytes(self) -> int:
        """Return the most memory that a call which waits is known to take."""
        waiting = [sort.digest for sort in self._sorts.values() if sort.waiting]
        return max(map(self.profiles.memory_bytes, waiting), default=0)

    def join(self, worker: int, node: NodeId, *, far: bool, lease: str = "", memory_bytes: int = 0) -> None:
        """Count a worker in."""
        self._berths[worker] = Berth(node, far=far)
        self._is_split = self._is_split or any(berth.node != node for berth in self._berths.values())
        self.memory.join(worker, lease, memory_bytes)

    def leave(self, worker: int) -> None:
        """Count a worker out, with what it has."""
        berth = self._berths.get(worker)
        if berth is not None:
            for call in list(berth.out):
                self.back(call, worker)
            del self._berths[worker]
            self.memory.leave(worker)

    def know(self, call: int, digest: str, size_bytes: int, *, heavy: bool) -> Sort:
        """Take a call in without letting it wait: a worker has it."""
        key = (digest, size_bytes.bit_length())
        sort = self._sorts.get(key)
        if sort is None:
            if len(self._sorts) >= SORTS_IDLE:
                self._sorts = {each: sort for each, sort in self._sorts.items() if sort.waiting}
            sort = self._sorts[key] = Sort(digest, size_bytes, heavy=heavy)
        self._of[call] = sort
        self._size[call] = size_bytes
        return sort

    def add(self, call: int, digest: str, size_bytes: int, *, heavy: bool) -> None:
        """Let a call wait."""
        sort = self.know(call, digest, size_bytes, heavy=heavy)
        sort.calls.append(call)
        sort.waiting += 1
        self._queued.add(call)

    def back(self, call: int, worker: int) -> None:
        """A call is no longer at a worker; ``again`` lets it wait once more."""
        berth = self._berths.get(worker)
        gone = berth.out.pop(call, None) if berth is not None else None
        if berth is None or gone is None:
            return
        self.memory.back(worker, gone.digest)
        if berth.far:
            self._moving[berth.node] = max(0, self._moving.get(berth.node, 0) - gone.size_bytes)

    def again(self, call: int) -> None:
        """Let a call that was sent wait again, before the others of its sort."""
        sort = self._of.get(call)
        if sort is not None and call not in self._queued:
            self._sorts[sort.digest, sort.size_bytes.bit_length()] = sort
            sort.calls.appendleft(call)
            sort.waiting += 1
            self._queued.add(call)

    def forget(self, call: int) -> None:
        """A call has its result, or needs none."""
        sort = self._of.pop(call, None)
        self._size.pop(call, None)
        if sort is not None and call in self._queued:
            self._queued.discard(call)
            sort.waiting -= 1

    def done(self, call: int, worker: int, took: Took, out_bytes: int, now_us: int) -> None:
        """Learn from a call that came back."""
        berth, sort = self._berths.get(worker), self._of.get(call)
        if berth is None or sort is None or call not in berth.out:
            return
        in_bytes = berth.out[call].size_bytes
        away_us = self._away_us(berth, call, took.wall_us, now_us) if berth.far else -1
        berth.begun_us = now_us
        self.back(call, worker)
        learned = Ran(
            node=berth.node,
            took=took if took.wall_us else took._replace(wall_us=SMALL_US),
            in_bytes=in_bytes,
            out_bytes=out_bytes,
            away_us=away_us,
        )
        self.profiles.learn(sort.digest, learned)

    @staticmethod
    def _away_us(berth: Berth, call: int, wall_us: int, now_us: int) -> int:
        """Return how long a call was on the way, there and back; -1: cannot be told, as it travelled while others ran."""
        sent = berth.out[call]
        spent_us = now_us - max(sent.at_us, berth.begun_us)
        if sent.alone:
            return max(1, spent_us - wall_us)
        return spent_us if spent_us > 2 * wall_us else -1

    def sent(self, call: int, worker: int, now_us: int) -> None:
        """A call goes to a worker."""
        berth = self._berths.get(worker)
        if berth is None or call in berth.out:
            return
        if not berth.out:
            berth.begun_us = now_us
        size_bytes = self._size.get(call, 0)
        sort = self._of.get(call)
        sent = berth.out[call] = Sent(now_us, size_bytes, not berth.out, sort.digest if sort is not None else "")
        self.memory.sent(worker, sent.digest)
        if berth.far:
            self._moving[berth.node] = self._moving.get(berth.node, 0) + size_bytes

    def take(self, worker: int, room: int, now_us: int, *, heavy_room: int, force: bool = False) -> list[int]:
        """Return the calls that this worker takes now, none if others would end them sooner (unless it is to take one)."""
        berth = self._berths.get(worker)
        if berth is None:
            return []
        best: Sort | None = None
        least, best_work_us = NEVER_US, 1
        for sort in self._sorts.values():
            if not sort.waiting or (sort.heavy and heavy_room <= 0):
                continue
            if not self.memory.holds(worker, sort.digest):
                if self.memory.is_owed(sort.digest):
                    return []  # it was passed over for long: what runs here ends, nothing else begins
                continue
            here_us = self._cost_us(sort, berth.node, far=berth.far)
            quotient = self._quotient(sort, here_us, berth.node)
            if quotient < least and (force or self._pays(sort, berth, now_us)):
                best, least, best_work_us = sort, quotient, here_us
        if best is None:
            return []
        count = min(room, best.waiting, max(1, AHEAD_US // max(1, best_work_us)))
        return self._pop(best, min(count, heavy_room) if best.heavy else count)

    # -- the rule -------------------------------------------------------------------------------------------------------

    def _pays(self, sort: Sort, berth: Berth, now_us: int) -> bool:
        """Tell whether a call of this sort ends here before the other nodes would get to it."""
        way_us = self._way_us(sort, berth) if berth.far else 0
        is_unknown = sort.size_bytes >= RATE_BYTES_MIN and not self.profiles.is_measured(berth.node)
        if berth.far and is_unknown and self._moving.get(berth.node, 0) >= RATE_BYTES_MIN:
            return False  # one call goes first, and teaches what the way carries
        here_us = max(self._ready_us(berth, now_us), way_us) + self.profiles.work_us(sort.digest, berth.node)
        share, soonest_us = 0, NEVER_US
        for node, workers in self._others(berth.node, sort).items():
            drained_us = self._drained_us(node, workers, sort, now_us)
            share += SCALE * SCALE // max(1, drained_us)
            soonest_us = min(soonest_us, self._cost_us(sort, node, far=self._berths[workers[0]].far))
        if not share:
            return True
        return here_us <= SCALE * SCALE // share + soonest_us

    def _drained_us(self, node: NodeId, workers: list[int], sort: Sort, now_us: int) -> int:
        """Return when a node alone would be done with all that waits but for one call of a sort."""
        work_us = sum(self._ready_us(self._berths[worker], now_us) for worker in workers)
        size_bytes = self._moving.get(node, 0)
        far = self._berths[workers[0]].far
        for each in self._sorts.values():
            count = each.waiting - 1 if each is sort else each.waiting
            if count > 0:
                work_us += count * self.profiles.work_us(each.digest, node)
                size_bytes += count * each.size_bytes
        drained_us = work_us // self.memory.abreast(workers[0], sort.digest, len(workers))
        return max(drained_us, self.profiles.way_us("", node, size_bytes)) if far else drained_us

    def _others(self, node: NodeId, sort: Sort) -> dict[NodeId, list[int]]:
        """Return the workers on other nodes that calls of a sort may be given to."""
        found: dict[NodeId, list[int]] = {}
        for worker, berth in self._berths.items():
            if berth.node != node and self.memory.could_hold(worker, sort.digest):
                found.setdefault(berth.node, []).append(worker)
        return found

    def _elsewhere_us(self, sort: Sort, node: NodeId) -> int:
        """Return how long a call of a sort takes on the best other node; 0: there is none."""
        others = {other: self._berths[workers[0]].far for other, workers in self._others(node, sort).items()}
        return min((max(1, self._cost_us(sort, other, far=far)) for other, far in others.items()), default=0)

    def _quotient(self, sort: Sort, here_us: int, node: NodeId) -> int:
        """Return how good a node is at a sort beside the others, less is better."""
        if not self._is_split:
            return self._first(sort)
        elsewhere_us = self._elsewhere_us(sort, node)
        return here_us * SCALE // elsewhere_us if elsewhere_us else 0

    def _first(self, sort: Sort) -> int:
        """Return the number of the call of a sort that has waited longest."""
        while sort.calls and not self._waits(sort, sort.calls[0]):
            sort.calls.popleft()
        return sort.calls[0] if sort.calls else NEVER_US

    def _ready_us(self, berth: Berth, now_us: int) -> int:
        """Return when a worker is done with what it has, as far as can be told."""
        if not berth.out:
            return 0
        total_us = 0
        for call in berth.out:
            sort = self._of.get(call)
            if sort is not None:
                total_us += self._cost_us(sort, berth.node, far=berth.far)
        return max(0, total_us - (now_us - berth.begun_us))

    def _cost_us(self, sort: Sort, node: NodeId, *, far: bool) -> int:
        return self.profiles.estimate_us(sort.digest, node, sort.size_bytes, far=far)

    def _way_us(self, sort: Sort, berth: Berth) -> int:
        return self.profiles.way_us(sort.digest, berth.node, sort.size_bytes + self._moving.get(berth.node, 0))

    # -- the queues -----------------------------------------------------------------------------------------------------

    def _pop(self, sort: Sort, count: int) -> list[int]:
        taken: list[int] = []
        while sort.calls and len(taken) < count:
            call = sort.calls.popleft()
            if self._waits(sort, call):
                self._queued.discard(call)
                sort.waiting -= 1
                taken.append(call)
        return taken

    def _waits(self, sort: Sort, call: int) -> bool:
        """Tell whether a queued number still stands for a call that waits (queues are cleaned when read)."""
        return call in self._queued and self._of.get(call) is sort
