"""The history of the work is its log, read once: what is in pieces is joined, and each word is judged by what stood before."""

from __future__ import annotations

import pytest
from tests.sim.work_worlds import after, has_ended, said, site_of, submit, until

from worldos.model.limits import SECOND
from worldos.model.need import Need
from worldos.model.work import (
    Ack,
    Applied,
    Assign,
    Attempt,
    Finished,
    JobId,
    JobSpec,
    Message,
    Nack,
    Outcome,
    Put,
    QueueMade,
    Refused,
    Retry,
    Submit,
    Take,
)
from worldos.sim.checkers import Violation


def test_a_command_of_many_pieces_is_one_word() -> None:
    world, safety = site_of(1, 1, 1)
    home = world.machines[0]
    spec = JobSpec(argv=("task", "10", "0"), need=Need(kind="CPU", amount=100), parcel=b"p" * 200_000)
    assert said(world, home, Submit(job=JobId("job-1"), spec=spec, by=home.id)) == (Applied(),)
    assert safety.history.job("job-1") is not None
    assert safety.history.index > safety.history.words + 3, "it took several entries"


def test_it_knows_what_ended_and_what_a_retry_lets_run_again() -> None:
    world, safety = site_of(1)
    home = world.machines[0]
    submit(world, home, tasks=20, ms=10, fails=500)
    until(world, lambda: has_ended(safety))
    failed = {task for task, (_, code) in safety.history.outcomes.items() if code}
    assert 0 < len(failed) < 20
    assert said(world, home, Retry(job="job-1")) == (Applied(),)
    assert not failed & safety.history.outcomes.keys()
    until(world, lambda: has_ended(safety))
    assert len(safety.history.outcomes) == 20


def test_an_end_that_is_not_what_ran_is_seen() -> None:
    world, safety = site_of(1)
    home = world.machines[0]
    submit(world, home, ms=20_000)
    until(world, lambda: safety.running.get("job-1.0"))
    safety.ran.add("job-1.0.1")
    with pytest.raises(Violation, match=r"job-1.0.1 ended with 0, and the line has 3"):
        said(world, home, Finished(attempt=Attempt("job-1", 0, 1), outcome=Outcome(code=3)))


def test_what_is_given_before_its_time_is_refused_by_the_line_itself() -> None:
    world, safety = site_of(1)
    home = world.machines[0]
    submit(world, home, ms=20_000)
    submit(world, home, "job-2", after=("job-1",))
    (answer,) = said(world, home, Assign(job="job-2", indices=(0,), node=home.id))
    assert isinstance(answer, Refused)
    assert not safety.history.outcomes


def test_messages_move_from_hand_to_hand() -> None:
    world, safety = site_of(1)
    home = world.machines[0]
    message = Message(b"message1", b"body")
    take = Take(queue="q", consumer="cons", request=1)
    said(world, home, QueueMade(queue="q"), Put(queue="q", messages=(message,)), take, take)
    said(world, home, Nack(queue="q", consumer="cons", ids=(message.id,)))
    other = Take(queue="q", consumer="other", request=1, visible_ms=500)
    assert said(world, home, other) == (Applied(messages=((message, 2),)),)
    after(world, SECOND)
    assert said(world, home, Take(queue="q", consumer="cons", request=2)) == (Applied(messages=((message, 3),)),)
    said(world, home, Ack(queue="q", consumer="cons", ids=(message.id,)))
    assert safety.history.acked == {"q": {message.id}}
