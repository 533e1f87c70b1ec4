"""What the fuzzers throw at a site's work: commands of programs and members, and snapshots of other replicas.

A command that passes the door is applied to a work that has a bit of everything, and planned for: nothing may be raised, and what
comes of it must be a state that can be kept and read again.
"""

from __future__ import annotations

from tests.fuzz.target import Target, refused
from tests.kernel.line.works import NODE, Site, submit
from tests.kernel.offers import offer, view
from worldos.kernel.line.plan import plan
from worldos.kernel.line.scene import Scene
from worldos.kernel.line.why import never, why
from worldos.kernel.work import words
from worldos.kernel.work.state import Work
from worldos.model.need import Compare, Need
from worldos.model.work import (
    Ack,
    Assign,
    Attempt,
    Began,
    Cancel,
    Extend,
    Finished,
    Forget,
    LineCommand,
    Lost,
    Made,
    Message,
    Nack,
    Outcome,
    Preempt,
    Put,
    QueueCommand,
    QueueDropped,
    QueueMade,
    Retry,
    Submit,
    Take,
    WorkCommand,
    Yielded,
)

ID = b"message1"


def _site() -> Site:
    site = Site()
    site.do(submit("job-1", 5, retries=1), submit("job-2", after=("job-1",)), submit("job-3", preemptible=True))
    good, bad, _ = site.run("job-1", 0, 1, 2)
    site.end(good, tail=b"hello")
    site.end(bad, code=3)
    site.run("job-3", 0)
    site.do(
        QueueMade(queue="q", deliveries_max=1), Put(queue="q", messages=(Message(ID, b"a"), Message(b"message2", b"")))
    )
    site.do(Take(queue="q", consumer="ann-1", request=1))
    return site


SNAPSHOT = _site().work.snapshot()
ONE = Attempt("job-1", 2, 1)
OTHER = Attempt("job-3", 0, 1)
OFFERS = {one.node: one for one in (offer("home", price=5), offer("a", free=0))}
GPUS = Need(kind="GPU", amount=2000, memory_bytes=5, where=Compare(fact="arch", op="in", value="x"))
SAID: tuple[LineCommand | QueueCommand, ...] = (
    submit("job-4", 9, after=("job-1",), deadline_s=2**30, budget_uwos=7, together=2, parcel=b"files"),
    submit(
        "job-5",
        need=Need(kind="GPU", amount=2000, memory_bytes=5, where=Compare(fact="arch", op="in", value="x")),
        runtime_s=9,
    ),
    Cancel(job="job-1"),
    Retry(job="job-1"),
    Forget(job="job-1"),
    Assign(job="job-1", indices=(3, 4), node=NODE),
    Began(attempt=ONE, at=NODE),
    Finished(attempt=ONE, outcome=Outcome(code=0, result_file="/x", made=Made("someone", b"d" * 32, 999_999, "node"))),
    Finished(attempt=ONE, outcome=Outcome(code=1, why="no", tail=b"x", result=b"y", cpu_us=2**53, paid_uwos=2**53)),
    Yielded(attempt=OTHER, checkpoint="/c"),
    Lost(attempt=ONE, why="gone"),
    Preempt(attempt=OTHER, why="urgent"),
    QueueMade(queue="other", dead="grave"),
    QueueDropped(queue="q"),
    Put(queue="q", messages=(Message(b"message3", b"body"),)),
    Take(queue="q", consumer="bob-1", request=1, count=2),
    Ack(queue="q", consumer="ann-1", ids=(ID,)),
    Nack(queue="q", consumer="ann-1", ids=(ID,)),
    Extend(queue="q", consumer="ann-1", ids=(ID,), visible_ms=500),
)


def command(data: bytes) -> None:
    """A command: it passes the door or not; what passes can be applied, planned for, shown and kept."""

    def read() -> WorkCommand:
        said = words.decode_command(data)
        assert words.decode_command(words.encode_command(said)) == said
        return said

    if refused(read):
        return
    said = read()
    work = Work.restore(SNAPSHOT)
    assert len(work.apply(said)) == len(said.said)
    kept = work.snapshot()
    assert Work.restore(kept).snapshot() == kept
    scene = Scene(
        offers=OFFERS,
        view=view(),
        wall_ms=work.wall_ms,
        runners=frozenset(OFFERS),
        silent_ms={NODE: 10**6},
        elsewhere=True,
    )
    steps = plan(work.line, scene)
    for job in list(work.line.book.jobs.values()):
        assert isinstance(why(work.line, job, scene), str)
    for each in said.said:
        if isinstance(each, Submit):
            assert isinstance(never(each.spec, scene), str)
    work.apply(WorkCommand(said=tuple(steps), wall_ms=said.wall_ms))
    assert work.line.views()
    assert isinstance(work.queues.views(), tuple)


def snapshot(data: bytes) -> None:
    """A snapshot: what passes is a state that lives on."""

    def read() -> None:
        work = Work.restore(data)
        kept = work.snapshot()
        assert Work.restore(kept).snapshot() == kept
        work.apply(WorkCommand(said=SAID, wall_ms=2**40))
        assert work.line.views() is not None

    refused(read)


TARGETS: dict[str, Target] = {
    "work command": Target(
        command, tuple(words.encode_command(WorkCommand(said=(each,), wall_ms=2_000_000)) for each in SAID), slow=True
    ),
    "work snapshot": Target(snapshot, (Work().snapshot(), SNAPSHOT), slow=True),
}
