"""Tasks come to nodes and are held there: what is not is given again or lost, what is held in vain is stopped."""

from __future__ import annotations

import pytest
from tests.kernel.offers import offer
from tests.kernel.work.sites import Pump, SeenSite

from worldos.kernel.work.limits import GIVE_AGAIN_NS, NOT_BEGUN_NS, NOT_HELD_AFAR_NS, NOT_HELD_NS
from worldos.kernel.work.look import JobSeen, read_job
from worldos.model.ids import NodeId
from worldos.model.limits import MS, SECOND
from worldos.model.need import Need
from worldos.model.work import (
    Applied,
    Attempt,
    Began,
    Cancel,
    Finished,
    JobId,
    JobSpec,
    LineCommand,
    Outcome,
    Span,
    Submit,
    WorkCommand,
)
from worldos.model.work_wire import HeldAsk, TasksGiven, TasksHeld, TasksStop, WorkAsk

JOB, A = JobId("job-1"), NodeId("a")


class Site(Pump):
    """A site whose node ``d`` can run something, if its runner says so."""

    def __init__(self, tasks: int = 1, *, twice: bool = False) -> None:
        super().__init__("abc", "d")
        self.offers = {NodeId("d"): offer("d", cores=8, owner="me")}
        spec = JobSpec(argv=("true",), need=Need(kind="CPU", amount=1000), array=(Span(1, tasks),), twice=twice)
        assert self.said("d", Submit(job=JOB, spec=spec, by=NodeId("d"))) == (Applied(),)
        self.run(SECOND)

    def given(self) -> list[tuple[int, int]]:
        """Return which tasks were given, and take note."""
        words = [message for node, message in self.told if isinstance(message, TasksGiven) and node == "d"]
        self.told = [each for each in self.told if not isinstance(each[1], TasksGiven)]
        return [(task.index, task.number) for message in words for task in message.tasks]

    def holds(self, *attempts: tuple[int, int]) -> None:
        """The runner says what it has."""
        message = TasksHeld(attempts=tuple(Attempt(JOB, *each) for each in attempts))
        self.carry(NodeId("d"), self.tables[NodeId("d")].holds(self.now_ns, SeenSite(self, NodeId("d")), message))

    def stops(self) -> list[TasksStop]:
        return [message for node, message in self.told if isinstance(message, TasksStop) and node == "d"]

    def seen(self) -> JobSeen:
        key = self.ask_words("d", WorkAsk(number=0, look=f"job {JOB}"))
        self.until(key)
        return read_job(self.replies[key].data)

    def keep(self, duration_ns: int, *attempts: tuple[int, int]) -> None:
        """Let time pass while the runner says every other second what it has."""
        for _ in range(duration_ns // (2 * SECOND) + 1):
            self.holds(*attempts)
            self.run(2 * SECOND)

    def says(self, *said: LineCommand) -> None:
        self.said("d", *said)


def test_a_task_comes_to_a_node_that_has_room_and_ends_there() -> None:
    site = Site()
    assert site.given() == [(1, 1)]
    site.holds((1, 1))
    site.says(Began(attempt=Attempt(JOB, 1, 1), at=NodeId("d")))
    site.says(Finished(attempt=Attempt(JOB, 1, 1), outcome=Outcome(code=0)))
    seen = site.seen()
    assert seen.job is not None
    assert seen.job.counts.done == 1


def test_what_the_runner_does_not_have_is_given_again_until_it_does() -> None:
    site = Site()
    site.given()
    site.run(GIVE_AGAIN_NS + SECOND)
    assert site.given() == [(1, 1)]
    site.keep(GIVE_AGAIN_NS + 2 * SECOND, (1, 1))
    assert site.given() == []


def test_a_node_that_says_nothing_is_asked() -> None:
    site = Site()
    site.run(GIVE_AGAIN_NS + SECOND)
    assert ("d", HeldAsk()) in site.told


def test_what_a_runner_never_takes_goes_to_another_attempt() -> None:
    site = Site()
    site.keep(NOT_BEGUN_NS + 3 * SECOND)
    assert (1, 2) in site.given()


def test_what_began_and_is_held_no_more_is_lost_soon() -> None:
    site = Site()
    site.holds((1, 1))
    site.says(Began(attempt=Attempt(JOB, 1, 1), at=NodeId("d")))
    site.keep(4 * SECOND, (1, 1))
    site.given()
    site.keep(NOT_HELD_NS + 2 * SECOND)
    assert (1, 2) in site.given()
    seen = site.seen()
    assert seen.tasks[0].losses == 1


def test_what_began_is_not_lost_by_what_its_node_said_before_and_comes_late() -> None:
    site = Site()
    site.run(NOT_HELD_NS + SECOND)
    site.given()
    site.holds()  # it was on its way for long
    site.run(5 * MS)
    site.says(Began(attempt=Attempt(JOB, 1, 1), at=NodeId("d")))
    site.run(SECOND)
    site.keep(4 * SECOND, (1, 1))
    assert (1, 2) not in site.given()
    assert site.seen().tasks[0].losses == 0


@pytest.mark.parametrize("twice", [True, False])
def test_what_began_elsewhere_is_not_given_again_before_its_lease_there_has_ended(twice: bool) -> None:
    site = Site(twice=twice)
    site.holds((1, 1))
    site.says(Began(attempt=Attempt(JOB, 1, 1), at=NodeId("elsewhere")))
    site.keep(4 * SECOND, (1, 1))
    site.given()
    site.keep(NOT_HELD_NS + 2 * SECOND)
    assert ((1, 2) in site.given()) == twice, "it does no harm if it goes on there"
    site.keep(NOT_HELD_AFAR_NS, *([(1, 2)] if twice else []))
    assert ((1, 2) in site.given()) != twice


@pytest.mark.parametrize("fresh", [True, False])
def test_what_began_on_a_node_that_leads_is_lost_at_once_when_it_begins_a_new_life_without_a_runner(
    fresh: bool,
) -> None:
    site = Pump("a")
    site.offers = {A: offer("a", cores=8, owner="me")}
    spec = JobSpec(argv=("true",), need=Need(kind="CPU", amount=1000))
    assert site.said("a", Submit(job=JOB, spec=spec, by=A)) == (Applied(),)
    site.run(SECOND)
    assert site.said("a", Began(attempt=Attempt(JOB, 0, 1), at=A)) == (Applied(),)
    site.kill("a")
    site.restart("a")
    site.tables[A].fresh = fresh
    site.told.clear()
    begun_ns = site.now_ns
    while not any(isinstance(message, TasksGiven) for _, message in site.told):
        site.run(250 * MS)
        site.carry(A, site.tables[A].holds(site.now_ns, SeenSite(site, A), TasksHeld(attempts=())))
        assert site.now_ns - begun_ns < 3 * NOT_HELD_NS
    assert (site.now_ns - begun_ns < NOT_HELD_NS) == fresh


def test_what_is_held_in_vain_is_stopped_and_told_again_until_it_is() -> None:
    site = Site()
    site.holds((1, 1))
    site.run(SECOND)
    site.says(Cancel(job=JOB))
    site.keep(GIVE_AGAIN_NS + 2 * SECOND, (1, 1))
    stops = site.stops()
    assert len(stops) >= 2
    assert stops[0].attempts == (Attempt(JOB, 1, 1),)
    assert not stops[0].preempt


def test_a_new_leader_comes_to_the_same() -> None:
    site = Site(tasks=3)
    held = sorted(site.given())
    site.keep(4 * SECOND, *held)
    site.kill(site.leader())
    site.keep(8 * SECOND, *held)
    assert site.given() == [], "it does not give again what is held"
    counts = site.seen().job
    assert counts is not None
    assert counts.counts.running == 3


@pytest.mark.parametrize("tasks", [8, 40])
def test_no_more_is_given_than_there_is_room(tasks: int) -> None:
    site = Site(tasks)
    assert len(site.given()) == 8


def test_an_idle_site_does_nothing() -> None:
    site = Site()
    site.holds((1, 1))
    site.says(Finished(attempt=Attempt(JOB, 1, 1), outcome=Outcome(code=0)))
    site.run(3 * SECOND)
    replica = site.tables[site.leader()].replica
    assert replica is not None
    last = replica.raft.log.last
    site.run(30 * SECOND)
    assert replica.raft.log.last == last
    assert site.tables[site.leader()].dispatch.due_ns > site.now_ns + 100 * MS
    assert WorkCommand().said == ()
