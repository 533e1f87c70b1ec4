"""What people and runners see of jobs and tasks."""

from __future__ import annotations

import msgspec
import pytest
from tests.kernel.line.works import NODE, Site, submit

from worldos.kernel.line.view import VIEW_BYTES_MAX, Counts, JobView, State, TaskView
from worldos.kernel.work.state import Work
from worldos.model.work import Assign, Began, Cancel, Lost, Preempt


@pytest.fixture
def site() -> Site:
    return Site()


def test_a_view_says_how_many_tasks_are_where_and_who_runs_what(site: Site) -> None:
    site.do(submit("job-1", 6, name="frames", retries=1, preemptible=True, budget_uwos=100))
    good, bad, run = site.run("job-1", 0, 1, 2)
    site.end(good, cpu_us=7, wall_us=9, memory_bytes=5, paid_uwos=3)
    site.end(bad, code=1, cpu_us=1, memory_bytes=8)
    site.do(Preempt(attempt=run, why="more urgent"))
    view = site.work.line.view("job-1")
    assert view is not None
    assert (view.state, view.counts) == (State.RUNNING, Counts(4, 1, 1, 0, 0))
    assert (view.name, view.command, view.by) == ("frames", "true", NODE)
    assert (view.cpu_us, view.wall_us, view.memory_bytes, view.spent_uwos, view.budget_uwos) == (8, 9, 8, 3, 100)
    assert [(one.attempt, one.node, one.at, one.asked) for one in view.runs] == [(run, NODE, NODE, "more urgent")]


def test_views_travel(site: Site) -> None:
    site.do(submit("job-1", 3))
    site.end(site.run("job-1", 1)[0], tail=b"x")
    views, tasks = site.work.line.views(), site.work.line.tasks("job-1")
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(views), type=tuple[JobView, ...]) == views
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(tasks), type=tuple[TaskView, ...]) == tasks


def test_open_jobs_come_first_then_those_that_ended_last(site: Site) -> None:
    site.do(*(submit(f"job-{number}") for number in range(5)))
    site.do(Cancel(job="job-1"), Cancel(job="job-3"), Cancel(job="job-0"))
    assert [view.job for view in site.work.line.views()] == ["job-2", "job-4", "job-0", "job-3", "job-1"]
    assert len(site.work.line.views(most=3)) == 3


def test_a_job_says_why_it_waits_as_far_as_it_knows(site: Site) -> None:
    site.do(submit("job-1", 3, together=1), submit("job-2", after=("job-1",)))
    site.run("job-1", 0)
    views = {view.job: view for view in site.work.line.views()}
    assert views["job-1"].why == "1 tasks run at once, as it asks for"  # type: ignore[index]
    assert views["job-2"].why == "waits for job-1"  # type: ignore[index]
    assert views["job-2"].waits_for == ("job-1",)  # type: ignore[index]
    assert site.work.line.tasks("job-2")[0].state is State.HELD


def test_tasks_are_read_page_by_page(site: Site) -> None:
    site.do(submit("job-1", 100))
    assert [task.index for task in site.work.line.tasks("job-1", 40, 3)] == [40, 41, 42]
    assert site.work.line.tasks("job-1", 100) == ()
    assert site.work.line.tasks("nope") == ()


def test_a_page_ends_where_its_bytes_do(site: Site) -> None:
    size = 32 * 1024
    site.do(submit("job-1", 100))
    for attempt in site.run("job-1", *range(100)):
        site.end(attempt, result=bytes(size))
    first = site.work.line.tasks("job-1")
    assert 0 < len(first) <= VIEW_BYTES_MAX // size
    assert site.work.line.tasks("job-1", first[-1].index + 1)[0].index == first[-1].index + 1


def test_why_the_last_attempt_was_lost_is_told_until_another_begins() -> None:
    site = Site()
    site.do(submit("job-1"))
    for how in ("begins", "ends"):
        (lost,) = site.run("job-1", 0)
        site.do(Lost(attempt=lost, why="no lease can be had: " + "x" * 900))
        (attempt,) = site.do(Assign(job="job-1", indices=(0,), node=NODE)).attempts
        told = site.work.line.views()[0].why
        assert told.startswith("an attempt was lost, and is made again: no lease can be had")
        assert len(told) < 300
        site.do(Began(attempt=attempt, at=NODE)) if how == "begins" else site.end(attempt)
        assert site.work.line.views()[0].why == ""
        assert Work.restore(site.work.snapshot()).snapshot() == site.work.snapshot(), "what it takes up is counted"
        if how == "begins":
            site.lose(attempt)
