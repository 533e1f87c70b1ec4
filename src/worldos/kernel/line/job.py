"""A job as the line keeps it: in which of five sets each of its tasks is, and no more than that for tasks without a story.

A task is waiting, running, done, failed or dropped, in exactly one of these at any time. Sets are spans, so an array of 10^6
that waits is two numbers. A task that was begun before and is not plainly done has a ``Past``; one that ended with more to say
than its code has an ``Outcome``. The number of a task's newest attempt is the larger of those in ``running`` and ``past``, else 1
if it is done, else 0. A task that runs may have an older attempt ``beside`` its newest, at a machine of another owner: either may
end it, once. Times in ms of the work's own clock. Structs are arrays in snapshots: their fields are only added at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum
from itertools import chain
from typing import Final
from zlib import crc32

import msgspec

from worldos.kernel.line import spans
from worldos.kernel.line.spans import Edges
from worldos.kernel.work.limits import EDGE_BYTES, OUTCOME_BYTES, PAST_BYTES, VOTE_BYTES
from worldos.model.ids import NodeId
from worldos.model.work import VOTES_MAX, Attempt, JobId, JobSpec, Outcome, log_path, result_path

FOREVER_MS: Final = 2**60


class Running(msgspec.Struct, array_like=True, gc=False):
    """The attempt that a runner was given. ``begun_ms``: 0 until it has its lease, at ``at``. ``asked``: why it shall stop.

    ``owner``: of the machine that it runs on, which is another account's. ``alone``: no other shall be begun beside it (again).
    """

    number: int
    node: NodeId
    given_ms: int
    begun_ms: int = 0
    at: NodeId = NodeId("")
    asked: str = ""
    owner: str = ""
    alone: bool = False


class Word(IntEnum):
    """What there is to the last word of an attempt that does not run any more."""

    AWAITED = 0  # it was given up for lost, and may still say it
    SAID = 1
    UNWANTED = 2  # it was dropped: what it says does not count


class Past(msgspec.Struct, array_like=True, gc=False):
    """What was before: the newest attempt's ``number``, and what there is to its last ``word``.

    ``ended_by``: the attempt that ended the task, where that was not the newest.
    """

    number: int
    failures: int = 0
    losses: int = 0
    word: Word = Word.AWAITED
    checkpoint: str = ""
    ended_by: int = 0


class Vote(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the attempt of this number came to, at a ``node`` of ``owner`` (empty: ours). ``kept``: it has files of its own."""

    owner: str
    node: str
    number: int
    code: int
    digest: bytes
    kept: bool = False

    def says(self, other: Vote) -> bool:
        """Tell whether it came to the same as another."""
        return self.code == other.code and self.digest == other.digest


class Job(msgspec.Struct, array_like=True, gc=False):
    """``order`` is its place in line. ``blocked``: the jobs it waits for. ``ended``: its place among all ends; 0: open."""

    id: JobId
    spec: JobSpec
    spec_bytes: int
    by: NodeId
    order: int
    since_ms: int
    deadline_ms: int
    waiting: Edges
    blocked: list[JobId]
    done: Edges
    failed: dict[int, Edges]  # by exit code
    dropped: Edges  # cancelled, too late, or no money left
    filed: Edges  # ended tasks whose result lies at result_path, and ...
    logged: Edges  # ... whose log lies at log_path
    running: dict[int, Running]
    past: dict[int, Past]
    outcomes: dict[int, Outcome]
    outcome_bytes: int = 0
    ended: int = 0
    ended_ms: int = 0
    why: str = ""  # it was dropped
    cause: JobId = JobId("")  # ... because this one did not end well
    late: bool = False
    strikes: int = 0  # losses, one after another
    rest_ms: int = 0  # nothing of it is begun before
    spent_uwos: int = 0
    cpu_us: int = 0
    wall_us: int = 0
    memory_bytes: int = 0
    kind: int = 0  # its command as a number
    known_us: int = 0  # how long tasks of that command took before it came; 0: nobody knows
    story_bytes: int = 0  # what its sets and pasts take up in a snapshot
    votes: dict[int, list[Vote]] = {}  # of tasks that are to be done again by others, and compared (line/votes.py)
    agreed: dict[int, Edges] = {}  # tasks that were, by how many of how many agreed
    lost_why: str = ""  # of the latest attempt that was lost, until another begins or ends
    beside: dict[int, Running] = {}  # the older of two attempts that run side by side; the newest is in ``running``

    @property
    def mean_us(self) -> int:
        """Return how long a task of it takes, as far as is known; 0: it is not."""
        if not self.done and not self.failed:
            return self.known_us
        ended = spans.count(self.done) + sum(map(spans.count, self.failed.values()))
        return max(1, self.wall_us // ended) if ended else self.known_us

    @property
    def key(self) -> tuple[int, int]:
        """Return what it is ordered by before its place in line: priority, then the moment at which it should have begun."""
        if not self.deadline_ms:
            return (-self.spec.priority, FOREVER_MS)
        return (-self.spec.priority, self.deadline_ms - self.spec.runtime_s * 1000)

    @property
    def room(self) -> int:
        """Return how many more tasks may run at once."""
        return self.spec.together - self.at_once if self.spec.together else FOREVER_MS

    @property
    def at_once(self) -> int:
        """Return how many attempts run."""
        return len(self.running) + len(self.beside)

    def runs(self) -> Iterable[tuple[int, Running]]:
        """Give all attempts that run, by the index of their task; of a task that has two both."""
        return chain(self.running.items(), self.beside.items()) if self.beside else self.running.items()

    def run_of(self, index: int, number: int) -> Running | None:
        """Return an attempt that runs."""
        run = self.running.get(index)
        if run is not None and run.number != number:
            run = self.beside.get(index)
        return run if run is not None and run.number == number else None

    def weigh(self) -> int:
        """Return what its sets and pasts take up; they grow with what befalls its tasks."""
        edges = len(self.waiting) + len(self.done) + len(self.dropped) + len(self.filed) + len(self.logged)
        for each in (*self.failed.values(), *self.agreed.values()):
            edges += len(each)
        votes = len(self.votes) * 2 * (max(2, self.spec.copies) - 1)
        return edges * EDGE_BYTES + len(self.past) * PAST_BYTES + votes * VOTE_BYTES + len(self.lost_why)

    def number(self, index: int) -> int:
        """Return the number of a task's newest attempt; 0: it was never given to anybody."""
        run, past = self.running.get(index), self.past.get(index)
        if run or past:
            return max(run.number if run else 0, past.number if past else 0)
        return 1 if spans.has(self.done, index) else 0

    def counted(self, index: int) -> int:
        """Return the number of the attempt that ended a task; of one that is open, its newest."""
        past = self.past.get(index)
        return past.ended_by if past and past.ended_by else self.number(index)

    def code(self, index: int) -> int | None:
        """Return the exit code of a task that has ended by itself."""
        if spans.has(self.done, index):
            return 0
        return next((code for code, edges in self.failed.items() if spans.has(edges, index)), None)

    def outcome(self, index: int) -> Outcome | None:
        """Return how a task ended by itself, as far as it is kept."""
        code = self.code(index)
        if code is None:
            return None
        kept = self.outcomes.get(index) or Outcome(code=code)
        attempt = Attempt(self.id, index, self.counted(index))
        files = {}
        if spans.has(self.filed, index):
            files["result_file"] = result_path(attempt)
        if spans.has(self.logged, index):
            files["log_file"] = log_path(attempt)
        return msgspec.structs.replace(kept, **files) if files else kept

    def tasks(self) -> Iterator[Edges]:
        """Give all sets of tasks but the running ones."""
        yield from (self.waiting, self.done, self.dropped, *self.failed.values())

    def _is_open(self, index: int) -> bool:
        return index in self.running or spans.has(self.waiting, index)

    def is_sound(self) -> bool:
        """Tell whether a job from a snapshot can be one: its sets are sets, and each task of its array is in one of them."""
        if self.wall_us < 0 or self.known_us < 0:
            return False
        sets = [*self.tasks(), *([index, index + 1] for index in self.running)]
        if not all(map(spans.are_sound, (*sets, self.filed, self.logged, *self.agreed.values()))):
            return False
        if any(not 0 < len(votes) < VOTES_MAX or not self._is_open(index) for index, votes in self.votes.items()):
            return False
        newer = {index: run.number for index, run in self.running.items()}
        if any(not 0 < run.number < newer.get(index, 0) for index, run in self.beside.items()):
            return False
        runs = sorted(run for edges in sets for run in zip(edges[::2], edges[1::2], strict=True))
        joined: Edges = []
        for first, end in runs:
            if joined and first < joined[-1]:
                return False
            if joined and first == joined[-1]:
                joined[-1] = end
            else:
                joined += (first, end)
        return joined == array_of(self.spec)


def kind_of(argv: tuple[str, ...]) -> int:
    """Return a number for a command; two that share one by chance are taken for alike, which costs a wrong guess."""
    return crc32("\0".join(argv).encode("utf-8", "surrogatepass"))


def array_of(spec: JobSpec) -> Edges | None:
    """Return the indices of a job's tasks, or None if they do not rise."""
    return spans.edges_of(spec.array) if spec.array else [0, 1]


def outcome_bytes(outcome: Outcome) -> int:
    """Return how much of a snapshot an outcome takes up."""
    texts = len(outcome.why) + len(outcome.result_file) + len(outcome.log_file)
    return OUTCOME_BYTES + len(outcome.tail) + len(outcome.result) + texts
