"""A job from a snapshot must be one; what it says of a task follows from the sets it is in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.kernel.line.works import Site, submit

from worldos.kernel.line.job import Job, Past, outcome_bytes
from worldos.kernel.work.limits import OUTCOME_BYTES
from worldos.model.work import JobId, Outcome


@pytest.fixture
def job() -> Job:
    """Tasks 0 to 9: 0 is done, 1 failed, 2 runs, the others wait."""
    site = Site()
    site.do(submit("job-1", 10))
    good, bad, _ = site.run("job-1", 0, 1, 2)
    site.end(good)
    site.end(bad, code=3, why="no such file")
    return site.work.line.book.jobs[JobId("job-1")]


def test_a_job_that_lived_is_sound(job: Job) -> None:
    assert job.is_sound()


BREAKS: list[Callable[[Job], object]] = [
    lambda job: job.waiting.clear(),
    lambda job: job.done.extend((2, 3)),
    lambda job: job.dropped.extend((50, 60)),
    lambda job: job.waiting.append(99),
    lambda job: job.failed.update({3: [5, 4]}),
    lambda job: job.running.pop(2),
    lambda job: job.filed.extend((4, 4)),
    lambda job: setattr(job, "wall_us", -1),
]


@pytest.mark.parametrize("break_it", BREAKS)
def test_a_job_whose_tasks_are_nowhere_or_twice_is_not(job: Job, break_it: Callable[[Job], object]) -> None:
    break_it(job)
    assert not job.is_sound()


def test_the_number_of_a_task_follows_from_where_it_is(job: Job) -> None:
    job.past[5] = Past(number=4)
    assert [job.number(index) for index in (0, 1, 2, 3, 5)] == [1, 1, 1, 0, 4]


def test_only_what_ended_by_itself_has_an_outcome(job: Job) -> None:
    assert [job.code(index) for index in range(4)] == [0, 3, None, None]
    assert job.outcome(0) == Outcome(code=0)
    assert job.outcome(1) == Outcome(code=3, why="no such file")
    assert job.outcome(2) is None


def test_an_outcome_takes_up_what_it_says() -> None:
    assert outcome_bytes(Outcome(code=0, tail=b"ab", why="cde", result=b"f", result_file="gh")) == OUTCOME_BYTES + 8
