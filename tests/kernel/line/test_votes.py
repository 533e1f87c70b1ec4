"""Tasks that strangers' machines do count by the word of more than one, whoever lies and whatever is lost on the way."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel.line.works import NODE, Site, submit

from worldos.kernel.auditing import PROBATION_CHECKS, RATE_MAX_PPM
from worldos.kernel.line.view import State, TaskView
from worldos.kernel.line.votes import CODE_SPLIT, apart
from worldos.kernel.work.state import Work
from worldos.model.work import (
    Assign,
    Attempt,
    Cancel,
    Finished,
    Made,
    Outcome,
    Retry,
    result_path,
)

RIGHT, WRONG = b"r" * 32, b"w" * 32


@pytest.fixture
def site() -> Site:
    return Site()


def did(
    site: Site,
    owner: str,
    digest: bytes = RIGHT,
    code: int = 0,
    *,
    index: int = 0,
    dice: int = 0,
    filed: bool = True,
    node: str = "",
) -> tuple[Attempt, ...]:
    """Have a machine of an owner do a task, its only one if no other is named; return the copies that are not needed."""
    (attempt,) = site.do(Assign(job="job-1", indices=(index,), node=NODE)).attempts
    name = f"{result_path(attempt)}.far" if filed and owner else ""
    made = Made(owner, digest, dice, node or owner)
    return site.do(Finished(attempt=attempt, outcome=Outcome(code=code, result_file=name, made=made))).attempts


def task(site: Site, index: int = 0) -> TaskView:
    (seen,) = site.work.line.tasks("job-1", index, 1)
    return seen


def out(site: Site, owner: str) -> str:
    record = site.work.line.providers.records.get(owner)  # type: ignore[call-overload]
    return str(record.out) if record else ""


def give_record(site: Site, owner: str) -> None:
    """Let an account's machine pass its probation."""
    site.do(submit("job-0", PROBATION_CHECKS))
    for index in range(PROBATION_CHECKS):
        for who in (owner, ""):
            (attempt,) = site.do(Assign(job="job-0", indices=(index,), node=NODE)).attempts
            site.do(Finished(attempt=attempt, outcome=Outcome(code=0, made=Made(who, RIGHT, 0, who))))


def test_one_strangers_word_is_not_enough_and_two_are(site: Site) -> None:
    site.do(submit("job-1"))
    assert did(site, "ann") == ()
    assert task(site).state is State.WAITING
    assert (task(site).copies, task(site).agree, task(site).outcome) == (1, 0, None)
    assert did(site, "bob") == (Attempt("job-1", 0, 1),), "what the first one kept is to go"
    seen = task(site)
    assert (seen.state, seen.number, seen.agree, seen.copies) == (State.DONE, 2, 2, 2)
    assert seen.outcome is not None
    assert seen.outcome.result_file == "/.jobs/job-1/0.2.far"
    assert {who: each.checks for who, each in site.work.line.providers.records.items()} == {"ann": 1, "bob": 1}


def test_a_liar_is_outvoted_and_out_and_is_not_heard_again(site: Site) -> None:
    site.do(submit("job-1", 2))
    did(site, "ann", WRONG)
    did(site, "bob")
    assert task(site).state is State.WAITING
    assert set(did(site, "eve")) == {Attempt("job-1", 0, 1), Attempt("job-1", 0, 2)}
    assert (task(site).agree, task(site).copies) == (2, 3)
    assert "wrong" in out(site, "ann")
    assert not out(site, "bob")
    assert did(site, "ann", RIGHT, index=1) == (Attempt("job-1", 1, 1),), "it is not even a vote"
    assert (task(site, 1).state, task(site, 1).copies) == (State.WAITING, 0)


def test_two_machines_of_one_owner_are_one_word(site: Site) -> None:
    site.do(submit("job-1"))
    did(site, "ann", WRONG)
    did(site, "ann", WRONG)
    assert (task(site).state, task(site).copies) == (State.WAITING, 1)


def test_a_name_that_a_machine_claims_neither_helps_it_nor_harms_who_has_it(site: Site) -> None:
    """Whose a machine is, nobody proves: the record is that of the machine, and it is one word whatever it claims."""
    give_record(site, "ann")
    site.do(submit("job-1", 2))
    did(site, "ann", WRONG, node="liar", dice=999_999)
    assert task(site).copies == 1, "it is checked, though ann would not be"
    did(site, "bob", WRONG, node="liar")
    assert task(site).copies == 1, "the same machine under another name says nothing new"
    assert apart(site.work.line.book.jobs["job-1"], 0) == ("ann", "liar")  # type: ignore[index]
    did(site, "")
    did(site, "")
    assert out(site, "liar")
    assert not out(site, "ann")
    did(site, "ann", index=1, dice=999_999)
    assert (task(site, 1).state, task(site, 1).copies) == (State.DONE, 0)


def test_ours_is_believed_when_it_says_the_same_twice(site: Site) -> None:
    site.do(submit("job-1"))
    did(site, "ann", WRONG)
    did(site, "")
    did(site, "bob", WRONG)  # after ours only ours is asked, and a word of another does not count
    assert task(site).copies == 2
    did(site, "")
    assert (task(site).state, task(site).agree, task(site).copies) == (State.DONE, 2, 3)
    assert out(site, "ann")
    assert not out(site, "bob")


def test_what_comes_out_differently_each_time_fails_and_blames_nobody(site: Site) -> None:
    site.do(submit("job-1", retries=3))
    for number, owner in enumerate(("ann", "bob", "eve")):
        unneeded = did(site, owner, bytes([number]) * 16 + RIGHT[:16])
    assert len(unneeded) == 3
    seen = task(site)
    assert seen.state is State.FAILED
    assert seen.outcome is not None
    assert seen.outcome.code == CODE_SPLIT
    assert "the files that they made differ" in seen.outcome.why
    assert "put out" not in seen.outcome.why
    assert "--unchecked" in seen.outcome.why
    assert not any(out(site, owner) for owner in ("ann", "bob", "eve"))
    site.do(Retry(job="job-1"))
    assert task(site).copies == 0


def test_who_could_not_do_it_is_no_liar_but_begins_anew(site: Site) -> None:
    give_record(site, "ann")
    assert site.work.line.providers.records["ann"].rate_ppm == RATE_MAX_PPM  # type: ignore[index]
    site.do(submit("job-1"))
    did(site, "ann", b"", 127)
    did(site, "")
    did(site, "")
    assert task(site).state is State.DONE
    assert not out(site, "ann")
    assert site.work.line.providers.records["ann"].checks == 0  # type: ignore[index]


def test_a_failure_that_two_saw_counts_as_one_try(site: Site) -> None:
    site.do(submit("job-1", retries=1))
    did(site, "ann", code=3)
    did(site, "bob", code=3)
    assert (task(site).state, task(site).failures, task(site).copies) == (State.WAITING, 1, 0)
    did(site, "ann", code=3)
    did(site, "", code=3)
    seen = task(site)
    assert (seen.state, seen.agree, seen.copies) == (State.FAILED, 2, 2)


def test_one_with_a_record_is_checked_by_the_dice_alone(site: Site) -> None:
    give_record(site, "ann")
    site.do(submit("job-1", 2))
    did(site, "ann", dice=RATE_MAX_PPM)
    assert (task(site).state, task(site).copies) == (State.DONE, 0)
    did(site, "ann", index=1, dice=RATE_MAX_PPM - 1)
    assert (task(site, 1).state, task(site, 1).copies) == (State.WAITING, 1)


def test_a_job_may_ask_for_more_or_for_none(site: Site) -> None:
    site.do(submit("job-1", copies=3))
    give_record(site, "ann")
    for owner in ("ann", "bob", "eve"):
        assert task(site).state is State.WAITING
        did(site, owner, dice=999_999)
    assert (task(site).state, task(site).agree) == (State.DONE, 3)
    other = Site()
    other.do(submit("job-1", copies=1))
    did(other, "ann", WRONG)
    assert (task(other).state, task(other).copies) == (State.DONE, 0)


def test_our_own_machines_are_not_checked_and_an_array_of_them_stays_small(site: Site) -> None:
    site.do(submit("job-1", 1000, copies=2))
    for index in range(1000):
        (attempt,) = site.do(Assign(job="job-1", indices=(index,), node=NODE)).attempts
        site.end(attempt)
    assert len(site.work.snapshot()) < 600


def test_checked_tasks_take_a_record_each_only_until_they_have_ended_beside_their_number(site: Site) -> None:
    site.do(submit("job-1", 200))
    for index in range(200):
        did(site, "ann", index=index, filed=False)
    job = site.work.line.book.jobs["job-1"]  # type: ignore[index]
    held = len(site.work.snapshot())
    assert site.work.line.book.story_bytes >= held - 2000, "what votes take up is counted"
    for index in range(200):
        did(site, "bob", index=index, filed=False)
    assert not job.votes
    assert list(job.agreed.values()) == [[0, 200]]
    assert len(site.work.snapshot()) < held // 4


def test_a_cancelled_job_forgets_what_was_said(site: Site) -> None:
    site.do(submit("job-1", 2))
    did(site, "ann")
    site.do(Cancel(job="job-1"))
    job = site.work.line.book.jobs["job-1"]  # type: ignore[index]
    assert (job.votes, task(site).state) == ({}, State.DROPPED)


def test_the_same_end_told_twice_is_one_vote(site: Site) -> None:
    site.do(submit("job-1"))
    (attempt,) = site.do(Assign(job="job-1", indices=(0,), node=NODE)).attempts
    said = Finished(attempt=attempt, outcome=Outcome(code=0, made=Made("ann", RIGHT, 0, "ann")))
    site.do(said)
    before = site.work.snapshot()
    site.do(said)
    assert site.work.snapshot() == before
    assert task(site).copies == 1


OWNERS = ("", "ann", "bob", "eve", "dan", "fay", "gus")


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    copies=st.sampled_from([0, 2, 3]),
    liars=st.sets(st.sampled_from(OWNERS[1:]), max_size=2),
)
def test_each_task_has_one_outcome_and_a_lying_minority_never_commits(seed: int, copies: int, liars: set[str]) -> None:
    """Liars do not agree with each other, or are one account; attempts are lost, told twice, told late; jobs are retried."""
    dice, site = Random(seed), Site()
    tasks = 6
    site.do(submit("job-1", tasks, copies=copies))
    committed: Counter[int] = Counter()
    said: list[Finished] = []
    for _ in range(400):
        site.say(later_ms=40_000)
        job = site.work.line.book.jobs["job-1"]  # type: ignore[index]
        waiting = [index for index in range(tasks) if task(site, index).state is State.WAITING]
        if not waiting:
            break
        index = dice.choice(waiting)
        (attempt,) = site.do(Assign(job="job-1", indices=(index,), node=NODE)).attempts
        fate = dice.randrange(8)
        if fate == 0:
            site.lose(attempt)
            if dice.randrange(2):
                continue
        voted = {vote.owner for vote in job.votes.get(index, ())}
        owner = "" if "" in voted else dice.choice([each for each in OWNERS if not each or each not in voted])
        made = (owner.encode() * 32)[:32] if owner in liars else RIGHT
        finished = Finished(
            attempt=attempt, outcome=Outcome(code=0, made=Made(owner, made, dice.randrange(1_000_000), owner))
        )
        before = task(site, index).state
        site.say(finished)
        committed[index] += task(site, index).state is State.DONE and before is not State.DONE
        said.append(finished)
        site.say(dice.choice(said))  # told again, some time
        if dice.randrange(10) == 0:
            site.work = Work.restore(site.work.snapshot())
    for index in range(tasks):
        seen = task(site, index)
        assert seen.state in (State.DONE, State.FAILED), "it comes to an end"
        if seen.state is State.DONE:
            (ended,) = [each for each in said if each.attempt == Attempt("job-1", index, seen.number)]
            assert ended.outcome.made is not None
            assert ended.outcome.made.digest == RIGHT, "what counts is right"
            assert committed[index] == 1
    assert not any(out(site, owner) for owner in OWNERS if owner not in liars), "only liars are out"
