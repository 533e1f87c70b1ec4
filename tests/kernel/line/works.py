"""Works for tests: small lines in one line each."""

from __future__ import annotations

from worldos.kernel.work.state import Work
from worldos.model.ids import NodeId
from worldos.model.need import Need
from worldos.model.work import (
    Applied,
    Assign,
    Attempt,
    Began,
    Finished,
    JobSpec,
    LineCommand,
    Lost,
    Outcome,
    QueueCommand,
    Refused,
    Span,
    Submit,
    WorkAnswer,
    WorkCommand,
)

NEED = Need(kind="CPU", amount=1000)
NODE = NodeId("node-1")
START_MS = 1_000_000


class Site:
    """A work with a clock, that is told one thing at a time."""

    def __init__(self) -> None:
        self.work = Work()
        self.wall_ms = START_MS
        self.say()

    def say(self, *said: LineCommand | QueueCommand, later_ms: int = 0) -> WorkAnswer:
        """Say this, ``later_ms`` later; return the last answer."""
        self.wall_ms += later_ms
        answers = self.work.apply(WorkCommand(said=said, wall_ms=self.wall_ms))
        return answers[-1] if answers else Applied()

    def do(self, *said: LineCommand | QueueCommand, later_ms: int = 0) -> Applied:
        """Say this, which must be done."""
        answer = self.say(*said, later_ms=later_ms)
        assert isinstance(answer, Applied), answer
        return answer

    def refusal(self, *said: LineCommand | QueueCommand) -> str:
        """Say this, which must be refused; return why."""
        before = self.work.snapshot()
        answer = self.say(*said)
        assert isinstance(answer, Refused)
        assert self.work.snapshot() == before, "a refused command changed something"
        return answer.why

    def run(self, job: str, *indices: int, node: NodeId = NODE) -> tuple[Attempt, ...]:
        """Give tasks to a node, and let them begin there."""
        attempts = self.do(Assign(job=job, indices=indices, node=node)).attempts
        for attempt in attempts:
            self.do(Began(attempt=attempt, at=node))
        return attempts

    def end(self, attempt: Attempt, code: int = 0, **more: object) -> Applied:
        """Let an attempt end."""
        return self.do(Finished(attempt=attempt, outcome=Outcome(code=code, **more)))  # type: ignore[arg-type]

    def lose(self, attempt: Attempt) -> Applied:
        """Let an attempt be lost."""
        return self.do(Lost(attempt=attempt, why="its node is gone"))


def spec(tasks: int = 1, **more: object) -> JobSpec:
    array = (Span(0, tasks - 1),) if tasks > 1 else ()
    return JobSpec(**{"argv": ("true",), "need": NEED, "array": array, **more})  # type: ignore[arg-type]


def submit(job: str, tasks: int = 1, **more: object) -> Submit:
    return Submit(job=job, spec=spec(tasks, **more), by=NODE)
