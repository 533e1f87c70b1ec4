"""What is seen of the work is read back as it is; what there is not is nothing."""

from __future__ import annotations

import pytest

from worldos.errors import PeerBroke
from worldos.kernel.work.look import (
    CommandView,
    look,
    read_commands,
    read_job,
    read_jobs,
    read_providers,
    read_queue,
    read_queues,
)
from worldos.kernel.work.state import Work
from worldos.model.ids import NodeId
from worldos.model.need import Need
from worldos.model.work import JobId, JobSpec, QueueMade, Span, Submit, WorkCommand
from worldos.model.work_wire import WorkAsk


def work() -> Work:
    made = Work()
    spec = JobSpec(argv=("true",), need=Need(kind="CPU", amount=1000), array=(Span(1, 50),))
    made.apply(WorkCommand(said=(QueueMade(queue="q"), Submit(job="job-1", spec=spec, by=NodeId("a")))))
    return made


def seen(what: str, first: int = 0, count: int = 1000) -> bytes:
    return look(work(), WorkAsk(number=0, look=what, first=first, count=count), None)


def test_queues_and_jobs_are_seen() -> None:
    assert [view.queue for view in read_queues(seen("queues"))] == ["q"]
    assert read_queue(seen("queue q")) == read_queues(seen("queues"))[0]
    assert [view.job for view in read_jobs(seen("jobs"))] == ["job-1"]


def test_a_job_is_seen_with_some_of_its_tasks() -> None:
    job = read_job(seen("job job-1", first=10, count=3))
    assert job.job is not None
    assert [task.index for task in job.tasks] == [10, 11, 12]


def test_machines_of_others_that_did_tasks_are_seen() -> None:
    made = work()
    made.line.providers.checked(NodeId("bob"), is_right=False)
    made.line.providers.wants_check(NodeId("ann"), 0)
    ann, bob = read_providers(look(made, WorkAsk(number=0, look="providers"), None))
    assert (ann.node, ann.jobs, ann.checks, ann.out) == ("ann", 1, 0, "")
    assert (bob.node, bob.checks, bob.out) == ("bob", 1, "a wrong answer in check 1")


def test_what_was_learned_of_commands_is_seen_the_newest_first() -> None:
    made = work()
    job = made.line.book.jobs[JobId("job-1")]
    made.line.book.learn(job, 3_000, 1 << 30)
    made.line.book.learn(job, 5_000)
    assert read_commands(look(made, WorkAsk(number=0, look="commands"), None)) == (
        CommandView("true", 2, 4_000, 1 << 30),
    )
    assert read_commands(seen("commands")) == ()


def test_what_there_is_not_is_nothing() -> None:
    assert read_queue(seen("queue other")) is None
    assert read_job(seen("job job-2")).job is None


def test_other_words_are_refused() -> None:
    with pytest.raises(PeerBroke):
        seen("moon")


def test_bytes_that_show_nothing_are_refused() -> None:
    with pytest.raises(PeerBroke):
        read_job(b"\xc1")
