"""The plan: which waiting tasks go to which node now, who is to stop for them, and whose attempts are lost.

Jobs are looked at by priority, then by when they must begin to be in time, then as they came. Each task goes where the published
score is least among the runners' nodes where it fits. What fits nowhere now, and could: attempts of lower priority that may be
preempted are asked to stop, if that makes room; else the node where it comes to fit is kept for it, and others are begun there
only if they take nothing of what it needs, or end before it could begin (backfill). What fits on none of our nodes ever goes to
the primary's own runner, which leases it in the realm. Where nothing waits for a place, tasks that strangers' machines do, and
that others will have to do again, are begun a second time beside the first.

Pure, in integers; ties are drawn by lot. Only a proposal: the line refuses what is not so any more. Source: priority and EASY
backfill after D. Lifka, "The ANL/IBM SP Scheduling System", 1995; the score: docs/concepts/score.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from heapq import heapify, heappop, heappush, heapreplace
from typing import Final

from worldos.kernel.line import spans
from worldos.kernel.line.job import Job, Running
from worldos.kernel.line.line import Line
from worldos.kernel.line.rooms import (
    Room,
    amounts,
    berth_tasks,
    free_of,
    likely_ms,
    rooms_of,
    running,
    whole,
    yielding_of,
)
from worldos.kernel.line.scene import LOST_MS, LOST_TWICE_MS, Scene
from worldos.kernel.line.votes import may_copy
from worldos.kernel.question import Question, draw, node_key
from worldos.model.ids import NodeId
from worldos.model.work import BATCH_MAX, Assign, Attempt, JobId, Lost, Preempt
from worldos.model.work_wire import HELD_MAX

JOBS_LOOKED_AT: Final = 4_096  # in one plan
TASKS_MAX: Final = 4_096  # given out by one plan
BLOCKED_MAX: Final = 4  # different needs for which room is made or kept
NODE_TASKS_MAX: Final = HELD_MAX // 2  # at one runner: it must be able to say what it has
VICTIMS_MAX: Final = 64  # asked to stop in one plan
ELSEWHERE_MAX: Final = 64  # tasks at the primary's runner that wait for a lease beyond our nodes
UNKNOWN_MS: Final = 600_000  # how long a task is taken to run at a node that will go, if nobody knows
GOING_S: Final = 60  # those who may be asked to stop are, so long before their node goes, and twice their grace

Step = Assign | Preempt | Lost
Key = tuple[bytes, int, int]  # a need, how long it takes, and how much memory beside that
Candidate = tuple[int, int, NodeId, int]  # score, lot, and the version of the room that it was scored in


def plan(line: Line, scene: Scene) -> list[Step]:
    """Return what the primary should say now, in order."""
    return [*lost(line, scene), *_Planning(line, scene).steps()]


def lost(line: Line, scene: Scene) -> list[Lost]:
    """Return the attempts whose runner is silent for so long that others may have their tasks."""
    found: list[Lost] = []
    if max(scene.silent_ms.values(), default=0) < LOST_TWICE_MS:
        return found
    for job, index, run in running(line):
        silent_ms = scene.silent_ms.get(run.node, 0)
        if silent_ms >= (LOST_TWICE_MS if job.spec.twice else LOST_MS):
            why = f"nothing is heard of its node for {silent_ms // 1000} s"
            found.append(Lost(attempt=Attempt(job.id, index, run.number), why=why))
    return found


class _Planning:
    """One plan in the making."""

    def __init__(self, line: Line, scene: Scene) -> None:
        self.line = line
        self.scene = scene
        self.rooms = rooms_of(line, scene)
        self.out: list[Step] = []
        self.best: dict[bytes, list[Candidate]] = {}
        self.most_bytes: dict[bytes, int] = {}  # of memory that a node has where such a need fits
        self.full: set[Key] = set()  # what fits nowhere now
        self.blocked = 0
        self.victims = 0
        self.given = 0
        self.taken: dict[JobId, int] = {}
        self.standing: dict[NodeId, int] = {}  # attempts at a node, with those of this plan
        self.runs: dict[NodeId, list[tuple[Job, int, Running]]] | None = None
        self.elsewhere: int | None = None
        self.unkept: list[Job] = []  # fit nowhere now; a node is kept for each before another job is looked at

    def steps(self) -> list[Step]:
        """Return the steps."""
        self._clear_nodes_that_go()
        looked_at = 0
        for job in self.line.ready():
            looked_at += 1
            if looked_at > JOBS_LOOKED_AT or self.given >= TASKS_MAX:
                break
            if job.rest_ms > self.scene.wall_ms:
                continue
            key = self._key(job)
            if key in self.full:
                continue
            most = min(job.room, TASKS_MAX - self.given, affordable(job))
            if most > 0:
                self._keep_rooms()
                self._place(job, key, most)
        if not any(self._waits(job) for job in self.line.ready()):
            self._copy_all()
        return self.out

    def _key(self, job: Job) -> Key:
        return (self.line.book.need_of(job), likely_ms(job), self._learned_bytes(job))

    def _learned_bytes(self, job: Job) -> int:
        """Return how much memory a task is taken to need: as much as earlier ones did, or as the largest node has at most."""
        learned = self.line.book.learned_bytes(job)
        if not learned:
            return 0
        most = self.most_bytes.get(need := self.line.book.need_of(job))
        if most is None:
            most = self.most_bytes[need] = max((room.most_bytes for room in self._able(job)), default=0)
        return min(learned, most)

    def _waits(self, job: Job) -> bool:
        """Tell whether tasks of a job wait for a place still, not for its rest or for others of it."""
        taken = self.taken.get(job.id, 0)
        return job.rest_ms <= self.scene.wall_ms and taken < min(job.room, spans.count(job.waiting))

    def _clear_nodes_that_go(self) -> None:
        """Ask those to stop that run where soon nothing will."""
        for room in self.rooms.values():
            left_s = going_s(room)
            for job, index, run in self._runs(room) if left_s is not None else ():
                if left_s is not None and left_s <= 2 * job.spec.grace_s + GOING_S and _may_stop(job, run):
                    why = f"its node will go in {left_s} s"
                    self.out.append(Preempt(attempt=Attempt(job.id, index, run.number), why=why))

    # -- begin ---------------------------------------------------------------------------------------------------------------

    def _place(self, job: Job, key: Key, most: int) -> None:
        """Give out tasks of a job: to new berths while there is room for any, then to those that it has."""
        each = 1 if key[2] else berth_tasks(job)
        wanted = min(most, spans.count(job.waiting))
        given: dict[NodeId, int] = {}
        berths = self._berths(job, key, -(-wanted // each))
        berths += self._asked_back(job, -(-wanted // each) - len(berths))
        left = self._share(given, berths, wanted, each)
        for node, room in self.rooms.items() if left and not key[2] else ():
            spare = min(self._spare(job, room, each), left)
            if spare > 0:
                given[node] = given.get(node, 0) + spare
                left -= spare
        self._assign(job, given)
        if left:
            self.full.add(key)
            self._blocked(job, left)

    def _spare(self, job: Job, room: Room, each: int) -> int:
        """Return how many tasks may join those before the berths that a job has; few are not worth a word."""
        count = room.attempts.get(job.id, 0)
        if not count or not self._may_begin(job, room):
            return 0
        most = room.berths(job) * each
        return most - count if count <= most // 2 else 0

    def _share(self, given: dict[NodeId, int], berths: list[NodeId], wanted: int, each: int) -> int:
        """Spread tasks over new berths evenly, so that none has a queue while another has nothing; return how many are left."""
        for number, node in enumerate(berths):
            count = min(each, -(-wanted // (len(berths) - number)))
            given[node] = given.get(node, 0) + count
            wanted -= count
        return wanted

    def _berths(self, job: Job, key: Key, most: int) -> list[NodeId]:
        """Return the nodes where so many berths of a job can be, best first, and take that room."""
        best = self._best(job, key[0])
        question = Question(job.spec.need, self.scene.view)
        taken: list[NodeId] = []
        barred: list[Candidate] = []
        while best and len(taken) < most:
            _, lot, node, version = best[0]
            room = self.rooms[node]
            if not self._may_begin(job, room):
                barred.append(heappop(best))
                continue
            if version == room.version:
                taken.append(node)
                self._take(room, job)
            place = question.place(room.now())
            if place is None:
                heappop(best)
            else:
                heapreplace(best, (place.score, lot, node, room.version))
        for candidate in barred:
            heappush(best, candidate)
        return taken

    def _asked_back(self, job: Job, most: int) -> list[NodeId]:
        """Return the nodes that would ask back what yields for a job, berth by berth, and take that room."""
        taken: list[NodeId] = []
        if job.spec.need.yields:
            return taken
        question = Question(job.spec.need, self.scene.view)
        for node, room in self.rooms.items():
            lent = yielding_of(room.offer)
            while lent and len(taken) < most and self._may_begin(job, room):
                if question.place(room.without(lent)) is None:
                    break
                taken.append(node)
                self._take(room, job)
        return taken

    def _take(self, room: Room, job: Job) -> None:
        """Take a berth at a node, also of what the one for whom it is kept leaves to others."""
        room.take(job.spec.need, learned_bytes=self._learned_bytes(job))
        if room.kept_for is not None:
            room.slack.subtract(amounts(job.spec.need))

    def _best(self, job: Job, need: bytes) -> list[Candidate]:
        """Return the nodes where such a need fits, as a heap by score; jobs of equal needs share it."""
        best = self.best.get(need)
        if best is None:
            question = Question(job.spec.need, self.scene.view)
            best = self.best[need] = []
            for node, room in self.rooms.items():
                place = question.place(room.now())
                if place is not None:
                    best.append((place.score, draw(node_key(node), self.scene.view.nonce), node, room.version))
            heapify(best)
        return best

    def _bounded(self, given: dict[NodeId, int]) -> dict[NodeId, int]:
        """Return no more for each node than its runner may have at once."""
        kept: dict[NodeId, int] = {}
        for node, wanted in given.items():
            has = self.standing.get(node)
            if has is None:
                has = sum(self.rooms[node].attempts.values()) if node in self.rooms else 0
            count = max(0, min(wanted, NODE_TASKS_MAX - has))
            self.standing[node] = has + count
            if count:
                kept[node] = count
        return kept

    def _assign(self, job: Job, given: dict[NodeId, int]) -> None:
        given = self._bounded(given)
        at = before = self.taken.get(job.id, 0)
        indices = spans.first_of(job.waiting, at + sum(given.values()))
        at += self._say(job, given, indices[at:])
        self.taken[job.id] = at
        self.given += at - before

    def _say(self, job: Job, given: dict[NodeId, int], indices: Sequence[int], *, beside: bool = False) -> int:
        """Give these tasks to nodes, so many to each; return how many there were."""
        at = 0
        for node, count in sorted(given.items()):
            mine = indices[at : at + count]
            at += count
            for first in range(0, len(mine), BATCH_MAX):
                some = tuple(mine[first : first + BATCH_MAX])
                self.out.append(Assign(job=job.id, indices=some, node=node, beside=beside))
        return at

    def _may_begin(self, job: Job, room: Room) -> bool:
        """Tell whether a task may be begun at a node that will go, is kept for somebody, or has little memory left."""
        learned_bytes = self._learned_bytes(job)
        if learned_bytes and room.spare_bytes < learned_bytes:
            return False
        takes_ms = likely_ms(job)
        left_s = going_s(room)
        if left_s is not None and (takes_ms or UNKNOWN_MS) > left_s * 1000:
            return False
        if room.kept_for is None or room.kept_for is job:
            return True
        if takes_ms and self.scene.wall_ms + takes_ms <= room.kept_ms:
            return True
        return all(room.slack[kind] >= amount for kind, amount in amounts(job.spec.need).items())

    # -- side by side ----------------------------------------------------------------------------------------------------------

    def _copy_all(self) -> None:
        """Give a second attempt to tasks at machines of others that will have to be compared."""
        providers = self.line.providers
        for job in self.line.book.busy.values():
            most = min(job.room - self.taken.get(job.id, 0), TASKS_MAX - self.given, affordable(job))
            if most <= 0 or job.rest_ms > self.scene.wall_ms:
                continue
            indices = [index for index, run in job.running.items() if run.owner and may_copy(job, index, providers)]
            if indices:
                self._copy(job, sorted(indices)[:most])

    def _copy(self, job: Job, indices: list[int]) -> None:
        """Give second attempts to where there is room now; what none of our nodes could ever do, to be leased beyond them."""
        given = Counter(self._berths(job, self._key(job), len(indices)))
        left = len(indices) - given.total()
        if left and not self._able(job):
            given[self.scene.view.home] += self._room_elsewhere(left)
        self.given += self._say(job, self._bounded(given), indices, beside=True)

    # -- what fits nowhere now -----------------------------------------------------------------------------------------------

    def _blocked(self, job: Job, most: int) -> None:
        need = job.spec.need
        question = Question(need, self.scene.view)
        able = self._able(job)
        if not able:
            self._send_elsewhere(job, most)
            return
        if self.blocked >= BLOCKED_MAX or (
            self._learned_bytes(job) and any(question.place(room.now()) is not None for room in able)
        ):  # of those that it leaves for lack of memory others may use all
            return
        self.blocked += 1
        free = [room for room in able if room.kept_for is None]
        soon = next((room for room in free if question.place(room.without(room.leaving)) is not None), None)
        if soon is not None:
            self._keep(soon, job)
            return
        below = (other for other in self.line.book.busy.values() if other.spec.preemptible)
        if any(other.spec.priority < job.spec.priority for other in below) and self._preempt(job, question, free):
            return
        self.unkept.append(job)

    def _able(self, job: Job) -> list[Room]:
        """Return the nodes where a task of a job would fit if nothing else ran there."""
        question = Question(job.spec.need, self.scene.view)
        return [room for room in self.rooms.values() if question.place(whole(room.offer)) is not None]

    def _preempt(self, job: Job, question: Question, rooms: list[Room]) -> bool:
        """Ask those to stop that make room at least cost: the lowest priority, the fewest, the shortest run so far."""
        found: list[tuple[int, int, NodeId, list[tuple[Job, int, Running]], Room]] = []
        for room in rooms:
            chosen = self._victims(job, question, room)
            if chosen:
                worth = max(victim.spec.priority for victim, _, _ in chosen)
                found.append((worth, len(chosen), room.offer.node, chosen, room))
        if not found:
            return False
        _, count, _, chosen, room = min(found, key=lambda one: one[:3])
        if self.victims + count > VICTIMS_MAX:
            return False
        self.victims += count
        why = f"job {job.id} is more urgent"
        self.out += [Preempt(attempt=Attempt(other.id, index, run.number), why=why) for other, index, run in chosen]
        self._keep(room, job)
        return True

    def _victims(self, job: Job, question: Question, room: Room) -> list[tuple[Job, int, Running]]:
        """Return whom to ask here, or nobody if that would not make enough room."""
        able = [
            one for one in self._runs(room) if _may_stop(one[0], one[2]) and one[0].spec.priority < job.spec.priority
        ]
        able.sort(key=lambda one: (one[0].spec.priority, -one[2].given_ms, one[0].order, one[1]))
        gone = room.leaving.copy()
        for number, (other, _, _) in enumerate(able):
            gone.update(amounts(other.spec.need))
            if question.place(room.without(gone)) is not None:
                return able[: number + 1]
        return []

    def _keep(self, room: Room, job: Job) -> None:
        """Keep a node for a job: others may take there what it leaves, less what those have that came after it."""
        room.kept_for = job
        room.kept_ms = self._fits_ms(room, job)
        room.slack = free_of(room.without(room.ending))
        room.slack.subtract(amounts(job.spec.need))
        for other, _, run in self._runs(room):
            if other is not job and run.given_ms >= job.since_ms:
                room.slack.subtract(amounts(other.spec.need))

    def _keep_rooms(self) -> None:
        """Keep a node for each job that fits nowhere now, where those that run end soonest."""
        for job in self.unkept:
            question = Question(job.spec.need, self.scene.view)
            ending = [
                (self._last_given_ms(room), node)
                for node, room in self.rooms.items()
                if room.kept_for is None and question.place(room.without(room.ending)) is not None
            ]
            if ending:
                self._keep(self.rooms[min(ending)[1]], job)
        self.unkept.clear()

    def _fits_ms(self, room: Room, job: Job) -> int:
        """Return by when a job fits at a node, if all end there as they say; 0: they do not say."""
        question = Question(job.spec.need, self.scene.view)
        bounded = [
            (max(run.begun_ms, run.given_ms) + other.spec.runtime_s * 1000, other)
            for other, _, run in self._runs(room)
            if other.spec.runtime_s
        ]
        gone: Counter[str] = Counter()
        for ends_ms, other in sorted(bounded, key=lambda one: one[0]):
            gone.update(amounts(other.spec.need))
            if question.place(room.without(gone)) is not None:
                return ends_ms
        return 0

    def _last_given_ms(self, room: Room) -> int:
        return max((run.given_ms for _, _, run in self._runs(room)), default=0)

    def _runs(self, room: Room) -> list[tuple[Job, int, Running]]:
        """Return the attempts that take up room at a node; all nodes' are gathered at the first call."""
        if self.runs is None:
            self.runs = {}
            for job, index, run in running(self.line):
                there = self.rooms.get(run.node)
                if there is not None and job.id in there.attempts and run.at in ("", run.node):
                    self.runs.setdefault(run.node, []).append((job, index, run))
        return self.runs.get(room.offer.node, [])

    # -- what our nodes do not have ------------------------------------------------------------------------------------------

    def _send_elsewhere(self, job: Job, most: int) -> None:
        count = self._room_elsewhere(min(most, spans.count(job.waiting)))
        if count > 0:
            self._assign(job, {self.scene.view.home: count})

    def _room_elsewhere(self, most: int) -> int:
        """Return how many more tasks may wait for a lease beyond our nodes, and count them."""
        home = self.scene.view.home
        if not self.scene.elsewhere or home not in self.scene.runners:
            return 0
        if self.elsewhere is None:
            self.elsewhere = self._waiting_elsewhere(home)
        count = max(0, min(most, ELSEWHERE_MAX - self.elsewhere))
        self.elsewhere += count
        return count

    def _waiting_elsewhere(self, home: NodeId) -> int:
        """Return how many attempts at home wait for a lease that will not be at home."""
        room = self.rooms.get(home)
        held = room.attempts if room else {}
        return sum(
            1 for job, _, run in running(self.line) if run.node == home and not run.begun_ms and job.id not in held
        )


def affordable(job: Job) -> int:
    """Return how many more tasks of a job may be begun before it is known what those cost that run now."""
    if not job.spec.budget_uwos or not job.spent_uwos:
        return TASKS_MAX
    ended = spans.count(job.done) + sum(map(spans.count, job.failed.values()))
    if not ended:
        return TASKS_MAX
    mean = max(1, job.spent_uwos // ended)
    return max((job.spec.budget_uwos - job.spent_uwos) // mean, 1) - job.at_once


def going_s(room: Room) -> int | None:
    """Return in how many seconds a node will go, as it foresees itself."""
    said = room.offer.facts.get("going_s")
    return said if isinstance(said, int) and not isinstance(said, bool) else None


def _may_stop(job: Job, run: Running) -> bool:
    return job.spec.preemptible and not run.asked
