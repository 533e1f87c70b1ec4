"""Two attempts of a task at once, at machines of different owners: whichever ends first, the task ends once, by one of them."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kernel.line.test_votes import OWNERS, RIGHT, WRONG, give_record, out, task
from tests.kernel.line.works import NODE, Site, submit

from worldos.kernel.line.job import Job
from worldos.kernel.line.view import State
from worldos.kernel.line.votes import apart
from worldos.kernel.work.state import Work
from worldos.model.ids import NodeId
from worldos.model.work import (
    Applied,
    Assign,
    Attempt,
    Began,
    Cancel,
    Finished,
    Lost,
    Made,
    Outcome,
    Preempt,
    Retry,
    Yielded,
    result_path,
)

ONCE = "no such task"
TASKS = 3
OVER = (State.DONE, State.FAILED)


@pytest.fixture
def site() -> Site:
    return Site()


def begin(site: Site, owner: str, index: int = 0, *, beside: bool = False) -> Attempt:
    """Let the next attempt of a task begin at a machine of an owner."""
    (attempt,) = site.do(Assign(job="job-1", indices=(index,), node=NODE, beside=beside)).attempts
    site.do(Began(attempt=attempt, at=owner or NODE, owner=owner))
    return attempt


def both(site: Site, first: str = "ann", second: str = "bob", **more: object) -> tuple[Attempt, Attempt]:
    """Have two of different owners at a task."""
    site.do(submit("job-1", **more))  # type: ignore[arg-type]
    return begin(site, first), begin(site, second, beside=True)


def end(attempt: Attempt, owner: str, digest: bytes = RIGHT, code: int = 0) -> Finished:
    name = f"{result_path(attempt)}.far" if owner else result_path(attempt)
    return Finished(
        attempt=attempt, outcome=Outcome(code=code, result_file=name, made=Made(owner, digest, 999_999, owner))
    )


def job_of(site: Site) -> Job:
    return site.work.line.book.jobs["job-1"]  # type: ignore[index]


def test_the_second_is_told_who_is_at_it_and_either_may_end_first(site: Site) -> None:
    first, second = both(site)
    assert (first.number, second.number) == (1, 2)
    assert apart(job_of(site), 0, second.number) == ("ann",)
    assert apart(job_of(site), 0, first.number) == ()
    assert [run.attempt for run in site.work.line.view("job-1").runs] == [first, second]  # type: ignore[union-attr]
    assert site.do(end(second, "bob")).attempts == ()
    assert (task(site).state, task(site).copies, task(site).number) == (State.RUNNING, 1, 1)
    assert site.do(end(first, "ann")).attempts == (second,), "what the other kept is to go"
    seen = task(site)
    assert (seen.state, seen.number, seen.agree, seen.copies) == (State.DONE, 1, 2, 2)
    assert seen.outcome is not None
    assert seen.outcome.result_file == f"{result_path(first)}.far"
    assert {who: each.checks for who, each in site.work.line.providers.records.items()} == {"ann": 1, "bob": 1}
    assert site.work.line.book.running == 0


def test_the_first_to_end_is_a_vote_and_the_second_ends_the_task(site: Site) -> None:
    first, second = both(site)
    site.do(end(first, "ann"))
    assert task(site).state is State.RUNNING, "nothing waits: the second is at it"
    assert site.do(end(second, "bob")).attempts == (first,)
    assert (task(site).state, task(site).number) == (State.DONE, 2)


def test_ours_beside_a_strangers_counts_at_once_and_the_other_is_stopped(site: Site) -> None:
    first, second = both(site, "ann", "")
    site.do(end(second, ""))
    assert (task(site).state, task(site).number) == (State.DONE, 2)
    assert not site.work.line.is_current(first)
    assert "does not count" in site.refusal(end(first, "ann", WRONG))
    assert not out(site, "ann")


def test_the_word_of_who_ended_it_is_heard_again_and_the_others_is_not(site: Site) -> None:
    """Whoever is refused removes its files: that must not be those that count, though it is not the newest attempt."""
    first, second = both(site)
    site.do(end(second, "bob"))
    last = end(first, "ann")
    site.do(last)
    before = site.work.snapshot()
    assert site.do(last) == Applied()
    assert site.work.snapshot() == before
    site.refusal(end(second, "bob", WRONG))


def test_two_that_differ_are_followed_by_a_third(site: Site) -> None:
    first, second = both(site)
    site.do(end(second, "bob", WRONG))
    site.do(end(first, "ann"))
    assert (task(site).state, task(site).copies) == (State.WAITING, 2)
    third = begin(site, "eve")
    assert third.number == 3
    assert set(site.do(end(third, "eve")).attempts) == {first, second}
    assert out(site, "bob")
    assert not out(site, "ann")


@pytest.mark.parametrize("lost", [0, 1])
def test_when_one_of_them_is_lost_the_other_goes_on_as_if_it_were_the_only_one(site: Site, lost: int) -> None:
    pair = both(site)
    site.lose(pair[lost])
    seen = task(site)
    assert (seen.state, seen.losses, seen.number) == (State.RUNNING, 0, pair[1 - lost].number)
    assert "does not count" in site.refusal(end(pair[lost], "x"))
    assert site.work.line.book.running == 1
    site.do(end(pair[1 - lost], ("ann", "bob")[1 - lost]))
    assert (task(site).state, task(site).copies) == (State.WAITING, 1)
    assert begin(site, "eve").number == 3, "no number is given twice"


def test_a_second_that_finds_no_machine_is_not_tried_again_while_the_first_runs(site: Site) -> None:
    _, second = both(site)
    site.do(Lost(attempt=second, why="no lease can be had"))
    assert ONCE in site.refusal(Assign(job="job-1", indices=(0,), node=NODE, beside=True))
    assert job_of(site).rest_ms == 0, "its other tasks need not wait for that"


def test_only_what_is_sure_to_be_compared_is_begun_twice(site: Site) -> None:
    give_record(site, "ann")
    for name, owner, more in (("job-2", "ann", {}), ("job-3", "", {}), ("job-4", "bob", {"copies": 1})):
        site.do(submit(name, **more))  # type: ignore[arg-type]
        (attempt,) = site.do(Assign(job=name, indices=(0,), node=NODE)).attempts
        again = Assign(job=name, indices=(0,), node=NODE, beside=True)
        assert ONCE in site.refusal(again), "before anybody knows where it runs"
        site.do(Began(attempt=attempt, at=owner or NODE, owner=owner))  # type: ignore[arg-type]
        assert ONCE in site.refusal(again)
    both(site, "ann", copies=2)
    assert ONCE in site.refusal(Assign(job="job-1", indices=(0,), node=NODE, beside=True)), "two at once, not three"


def test_a_third_owner_may_be_at_it_once_the_first_has_voted(site: Site) -> None:
    first, second = both(site, copies=3)
    site.do(end(first, "ann"))
    third = begin(site, "eve", beside=True)
    assert apart(job_of(site), 0, third.number) == ("ann", "bob")
    site.do(end(third, "eve"))
    assert ONCE in site.refusal(Assign(job="job-1", indices=(0,), node=NODE, beside=True)), "one word is missing"
    site.do(end(second, "bob"))
    assert (task(site).state, task(site).agree, task(site).number) == (State.DONE, 3, 2)


def test_a_failure_that_counts_stops_the_other_and_the_task_is_tried_again(site: Site) -> None:
    first, second = both(site, "ann", "", retries=1)
    site.do(end(second, "", code=3))
    assert (task(site).state, task(site).failures) == (State.WAITING, 1)
    assert site.work.line.book.running == 0
    site.refusal(end(first, "ann"))
    assert begin(site, "eve").number == 3


def test_what_makes_way_leaves_the_other_running(site: Site) -> None:
    first, second = both(site, "ann", "", preemptible=True)
    site.do(Preempt(attempt=first, why="urgent"))
    assert (site.work.line.asked(first), site.work.line.asked(second)) == ("urgent", "")
    site.do(Yielded(attempt=first))
    assert (task(site).state, task(site).number) == (State.RUNNING, 2)
    assert site.work.line.is_current(second)


def test_a_job_that_ends_or_is_tried_again_drops_both(site: Site) -> None:
    first, second = both(site)
    site.do(Cancel(job="job-1"))
    assert not any(map(site.work.line.is_current, (first, second)))
    assert site.work.line.book.running == 0
    assert not site.work.line.book.busy
    site.do(Retry(job="job-1"))
    assert begin(site, "ann").number == 3


class Trial:
    """A job, and beside it a model of which attempts live, which the line must never know better."""

    def __init__(self, seed: int, copies: int, liars: set[str]) -> None:
        self.dice, self.site, self.liars = Random(seed), Site(), liars
        self.site.do(submit("job-1", TASKS, copies=copies, retries=1, preemptible=True))
        self.at: dict[Attempt, str] = {}
        self.code: dict[Attempt, int] = {}  # the first task fails at first, wherever it runs
        self.alive: dict[int, list[Attempt]] = {index: [] for index in range(TASKS)}
        self.awaited: dict[int, Attempt] = {}
        self.ended: dict[int, Attempt] = {}
        self.dropped: set[Attempt] = set()
        self.said: list[Finished] = []

    def turn(self) -> None:
        """Let one thing happen, and one word be said again."""
        self.site.say(later_ms=40_000)
        live = [each for runs in self.alive.values() for each in runs]
        late = [each for index, each in self.awaited.items() if not self.alive[index]]
        fate = self.dice.randrange(11)
        if fate < 4 or not live:
            self.assign(self.dice.randrange(TASKS))
        elif fate < 9:
            self.befall(self.dice.choice(live), fate)
        elif fate == 9 and late:
            self.befall(self.dice.choice(late), 4)
        else:
            self.site.work = Work.restore(self.site.work.snapshot())
        if self.said:
            self.finish(self.dice.choice(self.said))
        view = self.site.work.line.view("job-1")
        assert view is not None
        assert {run.attempt for run in view.runs} == {each for runs in self.alive.values() for each in runs}
        assert self.site.work.line.book.running == sum(map(len, self.alive.values()))

    def assign(self, index: int) -> None:
        beside = bool(self.alive[index])
        answer = self.site.say(Assign(job="job-1", indices=(index,), node=NODE, beside=beside))
        if not isinstance(answer, Applied):
            return
        (attempt,) = answer.attempts
        assert attempt not in self.at, "a number is given once"
        self.awaited.pop(index, None)
        barred = {*apart(job_of(self.site), index, attempt.number)}
        assert {self.at[each] for each in self.alive[index]} <= barred, "who is at it is not asked again"
        owner = "" if "" in barred else self.dice.choice([each for each in OWNERS if each not in barred])
        self.at[attempt] = owner
        self.code[attempt] = int(index == 0 and not task(self.site, index).failures)
        self.alive[index].append(attempt)
        assert len(self.alive[index]) <= 2
        self.site.do(Began(attempt=attempt, at=NodeId(owner) or NODE, owner=owner))

    def befall(self, attempt: Attempt, fate: int) -> None:
        """Let an attempt end, be lost, or make way."""
        owner, index = self.at[attempt], attempt.index
        if fate < 7:
            digest = (owner.encode() * 32)[:32] if owner in self.liars else RIGHT
            self.said.append(end(attempt, owner, digest, self.code[attempt]))
            self.finish(self.said[-1])
            return
        if fate == 7:
            self.site.lose(attempt)
        else:
            self.site.do(Preempt(attempt=attempt, why="urgent"), Yielded(attempt=attempt))
        self.alive[index].remove(attempt)
        if fate == 7 and job_of(self.site).number(index) == attempt.number:
            self.awaited[index] = attempt

    def finish(self, word: Finished) -> None:
        """Say it, and see that the line ends a task by it only if that may be."""
        index = word.attempt.index
        before, failures = task(self.site, index).state, task(self.site, index).failures
        may = word.attempt in (self.alive[index] or [self.awaited.get(index)])
        answer = self.site.say(word)
        if before not in OVER and task(self.site, index).state in OVER:
            assert may, "it was over"
            assert index not in self.ended
            self.ended[index] = word.attempt
        if isinstance(answer, Applied):
            self.dropped.update(answer.attempts)
        if may and isinstance(answer, Applied):
            self.alive[index] = [each for each in self.alive[index] if self.site.work.line.is_current(each)]
            if word.attempt == self.awaited.get(index) or task(self.site, index).failures > failures:
                self.awaited.pop(index, None)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    copies=st.sampled_from([0, 2, 3]),
    liars=st.sets(st.sampled_from(OWNERS[1:]), max_size=2),
)
def test_whatever_befalls_two_at_once_a_task_ends_once_and_by_one_that_lived(
    seed: int, copies: int, liars: set[str]
) -> None:
    """Words come in any order, twice and late; some are lost or make way, and replicas begin again from a snapshot."""
    trial = Trial(seed, copies, liars)
    for _ in range(300):
        trial.turn()
        if len(trial.ended) == TASKS:
            break
    for index, attempt in trial.ended.items():
        seen = task(trial.site, index)
        assert seen.number == attempt.number
        if seen.state is State.DONE:
            assert attempt not in trial.dropped, "its files are those that count"
            (word,) = [each for each in trial.said if each.attempt == attempt]
            assert word.outcome.made is not None
            assert word.outcome.made.digest == RIGHT, "what counts is right"
    assert not any(out(trial.site, owner) for owner in OWNERS if owner not in liars), "only liars are out"
