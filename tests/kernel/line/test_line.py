"""What becomes of jobs and tasks: the sunny path, the late, the twice and the never."""

from __future__ import annotations

import pytest
from tests.kernel.line.works import NODE, Site, spec, submit
from tests.kernel.offers import cpu

from worldos.kernel.line.line import SUM_MAX
from worldos.kernel.line.view import Counts, State
from worldos.kernel.work.limits import LOSSES_MAX
from worldos.kernel.work.state import Work
from worldos.model.ids import NodeId
from worldos.model.need import Need
from worldos.model.work import (
    ARRAY_TASKS_MAX,
    Assign,
    Attempt,
    Began,
    Cancel,
    Finished,
    Lost,
    Outcome,
    Preempt,
    Refused,
    Retry,
    Span,
    Submit,
    Yielded,
    log_path,
    result_path,
)

OTHER = NodeId("node-2")


@pytest.fixture
def site() -> Site:
    return Site()


def counts(site: Site, job: str) -> Counts:
    view = site.work.line.view(job)
    assert view is not None
    return view.counts


def state(site: Site, job: str) -> State:
    view = site.work.line.view(job)
    assert view is not None
    return view.state


def test_a_job_waits_runs_and_is_done(site: Site) -> None:
    site.do(submit("job-1"))
    assert state(site, "job-1") is State.WAITING
    (attempt,) = site.run("job-1", 0)
    assert state(site, "job-1") is State.RUNNING
    assert attempt == Attempt("job-1", 0, 1)
    site.end(attempt, tail=b"hello", cpu_us=5)
    assert state(site, "job-1") is State.DONE
    (task,) = site.work.line.tasks("job-1")
    assert task.outcome is not None
    assert (task.number, task.outcome.tail) == (1, b"hello")


def test_submitting_twice_is_submitting_once(site: Site) -> None:
    site.do(submit("job-1"))
    before = site.work.snapshot()
    site.do(submit("job-1"))
    assert site.work.snapshot() == before
    assert "another job" in site.refusal(submit("job-1", priority=3))


def test_an_array_of_a_million_is_small_while_it_waits_and_when_it_is_done(site: Site) -> None:
    empty = len(site.work.snapshot())
    site.do(submit("job-1", ARRAY_TASKS_MAX))
    assert len(site.work.snapshot()) - empty < 200
    assert counts(site, "job-1").waiting == ARRAY_TASKS_MAX


def test_an_array_that_is_too_large_or_not_in_order_is_refused(site: Site) -> None:
    huge = Submit(job="job-1", spec=spec(array=(Span(0, 10**9),)), by=NODE)
    assert "too large" in site.refusal(huge)
    assert "rise" in site.refusal(Submit(job="job-1", spec=spec(array=(Span(5, 9), Span(1, 2))), by=NODE))


def test_only_the_newest_attempt_counts_and_results_are_committed_once(site: Site) -> None:
    site.do(submit("job-1"))
    (first,) = site.run("job-1", 0)
    site.lose(first)
    (second,) = site.run("job-1", 0, node=OTHER)
    assert second.number == 2
    assert "does not count" in site.refusal(Finished(attempt=first, outcome=Outcome(code=0, tail=b"first")))
    site.end(second, tail=b"second")
    assert "does not count" in site.refusal(Finished(attempt=first, outcome=Outcome(code=0, tail=b"first")))
    outcome = site.work.line.tasks("job-1")[0].outcome
    assert outcome is not None
    assert outcome.tail == b"second"


def test_the_same_end_told_twice_is_taken_once_and_not_refused(site: Site) -> None:
    site.do(submit("job-1", retries=1))
    (first,) = site.run("job-1", 0)
    site.end(first, code=3)
    before = site.work.snapshot()
    site.end(first, code=3)
    assert site.work.snapshot() == before
    (second,) = site.run("job-1", 0)
    site.end(second)
    before = site.work.snapshot()
    site.end(second)
    assert site.work.snapshot() == before


def test_an_attempt_that_was_given_up_may_still_bring_its_result_while_nobody_else_was_asked(site: Site) -> None:
    site.do(submit("job-1"))
    (first,) = site.run("job-1", 0)
    site.lose(first)
    site.end(first)
    assert state(site, "job-1") is State.DONE


def test_a_task_that_fails_is_tried_again_as_often_as_it_may(site: Site) -> None:
    site.do(submit("job-1", retries=1))
    site.end(site.run("job-1", 0)[0], code=3)
    assert state(site, "job-1") is State.WAITING
    site.lose(site.run("job-1", 0)[0])  # which does not count
    site.end(site.run("job-1", 0)[0], code=4)
    assert state(site, "job-1") is State.FAILED
    (task,) = site.work.line.tasks("job-1")
    assert task.outcome is not None
    assert (task.number, task.outcome.code) == (3, 4)


def test_a_task_that_loses_its_nodes_again_and_again_fails(site: Site) -> None:
    site.do(submit("job-1"))
    for _ in range(LOSSES_MAX):
        site.lose(site.run("job-1", 0)[0])
    assert state(site, "job-1") is State.FAILED


def test_after_a_loss_the_job_rests_longer_each_time_and_one_end_makes_it_well(site: Site) -> None:
    site.do(submit("job-1", 8))
    job = site.work.line.book.jobs["job-1"]  # type: ignore[index]
    rests = []
    for _ in range(3):
        site.lose(site.run("job-1", 0)[0])
        rests.append(job.rest_ms - site.wall_ms)
        site.say(later_ms=100_000)
    assert rests == [125, 250, 500]
    site.end(site.run("job-1", 1)[0])
    site.lose(site.run("job-1", 0)[0])
    assert job.rest_ms - site.wall_ms == 125


def test_many_losses_at_one_moment_are_one(site: Site) -> None:
    site.do(submit("job-1", 100))
    attempts = site.run("job-1", *range(100))
    for attempt in attempts:
        site.lose(attempt)
    assert site.work.line.book.jobs["job-1"].rest_ms - site.wall_ms == 125  # type: ignore[index]


def test_an_assignment_takes_what_waits_and_no_more_than_may_run_together(site: Site) -> None:
    site.do(submit("job-1", 5, together=2))
    made = site.do(Assign(job="job-1", indices=(0, 1, 2, 9), node=NODE)).attempts
    assert [attempt.index for attempt in made] == [0, 1]
    assert "no such task" in site.refusal(Assign(job="job-1", indices=(0, 2), node=NODE))
    site.end(made[0])
    assert [one.index for one in site.do(Assign(job="job-1", indices=(2, 3), node=NODE)).attempts] == [2]


def test_a_job_is_stopped_when_its_budget_is_spent(site: Site) -> None:
    site.do(submit("job-1", 4, budget_uwos=10))
    first, second, third = site.run("job-1", 0, 1, 2)
    site.end(first, paid_uwos=6)
    assert counts(site, "job-1") == Counts(1, 2, 1, 0, 0)
    site.end(second, paid_uwos=6)
    assert counts(site, "job-1") == Counts(0, 0, 2, 0, 2)
    view = site.work.line.view("job-1")
    assert view is not None
    assert (view.spent_uwos, view.why) == (12, "its budget is spent: 12 of 10 uWOS")
    assert not site.work.line.is_current(third)
    assert "budget" in site.refusal(Retry(job="job-1"))


def test_a_budget_that_suffices_stops_nobody(site: Site) -> None:
    site.do(submit("job-1", 2, budget_uwos=10))
    for attempt in site.run("job-1", 0, 1):
        site.end(attempt, paid_uwos=5)
    assert state(site, "job-1") is State.DONE


def test_what_yields_waits_again_with_its_checkpoint(site: Site) -> None:
    site.do(submit("job-1", preemptible=True))
    (first,) = site.run("job-1", 0)
    site.do(Preempt(attempt=first, why="job-2 is more urgent"))
    assert site.work.line.asked(first) == "job-2 is more urgent"
    site.do(Yielded(attempt=first, checkpoint="/.jobs/job-1/0.1.ckpt"))
    (task,) = site.work.line.tasks("job-1")
    assert (task.state, task.checkpoint, task.number) == (State.WAITING, "/.jobs/job-1/0.1.ckpt", 1)
    (second,) = site.run("job-1", 0)
    site.do(Yielded(attempt=second))
    assert site.work.line.tasks("job-1")[0].checkpoint == "/.jobs/job-1/0.1.ckpt"


def test_nobody_is_asked_to_stop_who_did_not_say_that_he_may_be(site: Site) -> None:
    site.do(submit("job-1"))
    (first,) = site.run("job-1", 0)
    assert "did not say" in site.refusal(Preempt(attempt=first, why="x"))


def test_a_cancelled_job_drops_all_and_its_attempts_do_not_count(site: Site) -> None:
    site.do(submit("job-1", 3))
    (first,) = site.run("job-1", 1)
    site.do(Cancel(job="job-1"))
    assert state(site, "job-1") is State.DROPPED
    for said in (
        Finished(attempt=first, outcome=Outcome(code=0)),
        Began(attempt=first, at=NODE),
        Lost(attempt=first, why=""),
        Yielded(attempt=first),
    ):
        assert "does not count" in site.refusal(said)
    site.do(Cancel(job="job-1"))


def test_retry_lets_only_what_did_not_end_well_wait_again(site: Site) -> None:
    site.do(submit("job-1", 4))
    one, two, three = site.run("job-1", 0, 1, 2)
    site.end(one)
    site.end(two, code=9, tail=b"oh")
    site.do(Cancel(job="job-1"))
    site.do(Retry(job="job-1"))
    assert counts(site, "job-1") == Counts(3, 0, 1, 0, 0)
    assert site.work.line.book.outcome_bytes == 0
    assert "does not count" in site.refusal(Finished(attempt=three, outcome=Outcome(code=143)))
    assert [attempt.number for attempt in site.run("job-1", 1, 2, 3)] == [2, 2, 1]
    assert "no task" in site.refusal(Retry(job="job-1"))


def test_files_with_the_names_that_all_use_are_kept_as_one_bit(site: Site) -> None:
    tasks = 1000
    site.do(submit("job-1", tasks))
    for attempt in site.run("job-1", *range(tasks)):
        site.end(attempt, result_file=result_path(attempt), log_file=log_path(attempt))
    assert len(site.work.snapshot()) < 400
    outcome = site.work.line.tasks("job-1", 7, 1)[0].outcome
    assert outcome == Outcome(code=0, result_file="/.jobs/job-1/7.1", log_file="/.jobs/job-1/7.1.log")


def test_an_unknown_job_is_named(site: Site) -> None:
    for said in (Cancel(job="nope"), Retry(job="nope"), Assign(job="nope", indices=(0,), node=NODE)):
        assert "no job nope" in site.refusal(said)
    assert isinstance(site.say(Finished(attempt=Attempt("nope", 0, 1), outcome=Outcome(code=0))), Refused)


def test_results_that_the_line_cannot_hold_are_sent_to_the_files(site: Site) -> None:
    site.do(submit("job-1", 400))
    whys = set()
    for attempt in site.run("job-1", *range(400)):
        answer = site.say(Finished(attempt=attempt, outcome=Outcome(code=0, result=bytes(32 * 1024))))
        if isinstance(answer, Refused):
            whys.add(answer.why)
            site.end(attempt, result_file="/elsewhere")
    assert whys == {"results in line are full"}
    assert state(site, "job-1") is State.DONE


def test_a_need_that_breaks_a_bound_is_refused(site: Site) -> None:
    for need in (cpu(0), cpu(-5), cpu(2**63), Need(kind="", amount=1), cpu(1, near="a\nb")):
        site.refusal(submit("job-1", need=need))


def test_sums_stay_within_what_a_snapshot_can_say(site: Site) -> None:
    site.do(submit("job-1", 3000))
    for attempt in site.run("job-1", *range(1000)):
        site.end(attempt, cpu_us=2**53, wall_us=2**53, memory_bytes=2**53, paid_uwos=2**53)
    assert Work.restore(site.work.snapshot()).snapshot() == site.work.snapshot()
    assert site.work.line.book.jobs["job-1"].cpu_us == SUM_MAX  # type: ignore[index]
