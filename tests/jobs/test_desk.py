"""The line as a program sees it, through a real agent."""

from __future__ import annotations

import time

import pytest

from worldos.errors import BadRequest, NotThere
from worldos.jobs.desk import ENDED, Desk, ended_of, tasks_of
from worldos.jobs.words import new_job_id
from worldos.kernel.line.view import JobView, State
from worldos.model.need import Compare, Need
from worldos.model.work import JobId, JobSpec, Span

NEED = Need(kind="CPU", amount=1000)


def put(desk: Desk, script: str = "true", last: int = 0, **words: object) -> JobId:
    job = new_job_id()
    array = (Span(0, last),) if last else ()
    desk.submit(job, JobSpec(argv=("sh", "-c", script), need=NEED, array=array, **words))  # type: ignore[arg-type]
    return job


def end_of(desk: Desk, job: str, within_s: float = 90.0) -> JobView:
    until_s = time.monotonic() + within_s
    while (view := desk.job(job)).state not in ENDED:
        assert time.monotonic() < until_s, view
        time.sleep(0.02)
    return view


def test_a_job_goes_through_the_line_to_its_end(desk: Desk) -> None:
    job = put(desk, "echo $WOS_TASK; exit $((WOS_TASK == 2))", last=3, name="four")
    view = end_of(desk, job)
    assert (view.state, tasks_of(view), ended_of(view)) == (State.FAILED, 4, 4)
    assert (view.counts.done, view.counts.failed) == (3, 1)
    assert [task.state for task in desk.tasks(job)] == ["done", "done", "failed", "done"]
    failed = desk.task(job, 2).outcome
    assert failed is not None
    assert failed.tail == b"2\n"
    assert desk.named(job[:6])[0].job == job
    assert desk.named(f"{job}.2") == (desk.job(job), 2)
    desk.retry(job)
    assert end_of(desk, job).counts.failed == 1
    assert desk.task(job, 2).number == 2
    desk.forget(job)
    with pytest.raises(NotThere):
        desk.job(job)


def test_what_waits_can_be_cancelled_and_what_waits_for_it_ends_too(desk: Desk) -> None:
    first = put(desk, "sleep 100")
    second = put(desk, "true", after=(first,))
    assert desk.job(second).state == State.HELD
    desk.cancel(first)
    assert end_of(desk, first).state == State.DROPPED
    assert end_of(desk, second).state == State.DROPPED


def test_a_running_log_is_read_as_it_grows(desk: Desk) -> None:
    job = put(desk, "echo one; sleep 100", grace_s=1)
    until_s = time.monotonic() + 60
    while not desk.task(job, 0).begun_ms:
        assert time.monotonic() < until_s
        time.sleep(0.02)
    while not (piece := desk.log(job, 0, 0)).data:
        assert time.monotonic() < until_s
        time.sleep(0.02)
    assert (piece.data, piece.written, piece.ended) == (b"one\n", 4, False)
    assert desk.log(job, 0, 4).data == b""
    desk.cancel(job)


def test_what_could_never_run_is_said_at_once(desk: Desk) -> None:
    strange = Need(kind="CPU", amount=1000, where=Compare("arch", "==", "z80"))
    assert "arch == 'z80'" in desk.never(JobSpec(argv=("true",), need=strange))
    assert desk.never(JobSpec(argv=("true",), need=NEED)) == ""


def test_what_the_line_refuses_comes_with_a_hint(desk: Desk) -> None:
    with pytest.raises(BadRequest) as refused:
        put(desk, after=("nowhere",))
    assert refused.value.hint
    with pytest.raises(NotThere):
        desk.cancel(desk.named("nowhere")[0].job)
    with pytest.raises(BadRequest):
        desk.named("")
    with pytest.raises(NotThere):
        desk.task(put(desk), 5)


def test_the_same_id_twice_is_the_same_job(desk: Desk) -> None:
    job = put(desk)
    spec = JobSpec(argv=("sh", "-c", "true"), need=NEED)
    desk.submit(job, spec)
    with pytest.raises(BadRequest, match="another job"):
        desk.submit(job, JobSpec(argv=("other",), need=NEED))
