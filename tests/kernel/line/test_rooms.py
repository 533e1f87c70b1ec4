"""How much of a node the line may still use."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.kernel.line.test_plan import A, scene, taken
from tests.kernel.line.works import Site, submit
from tests.kernel.offers import GB, cpu, offer, resource

from worldos.kernel.line.rooms import BERTH_TASKS_MAX, berth_tasks, free_of, lessened, likely_ms, rooms_of, whole
from worldos.model.ids import NodeId
from worldos.model.work import Assign, Began, Preempt


@pytest.fixture
def site() -> Site:
    return Site()


def free(site: Site, *offers: object, **more: object) -> int:
    rooms = rooms_of(site.work.line, scene(site, *offers, **more))  # type: ignore[arg-type]
    return free_of(rooms[A].now())["CPU"]


def test_a_begun_attempt_is_in_the_offer_already_and_one_that_was_given_is_not(site: Site) -> None:
    site.do(submit("job-1", 3))
    given = site.do(Assign(job="job-1", indices=(0, 1), node=A)).attempts
    assert free(site, offer("a", cores=4)) == 2000
    site.do(Began(attempt=given[0], at=A))
    assert free(site, taken(1000)) == 2000


def test_an_attempt_that_leased_elsewhere_takes_nothing_here(site: Site) -> None:
    site.do(submit("job-1"))
    (given,) = site.do(Assign(job="job-1", indices=(0,), node=A)).attempts
    site.do(Began(attempt=given, at=NodeId("b")))
    assert free(site, offer("a", cores=4)) == 4000


def test_an_attempt_that_was_asked_to_stop_is_on_its_way_out(site: Site) -> None:
    site.do(submit("job-1", preemptible=True))
    (run,) = site.run("job-1", 0, node=A)
    site.do(Preempt(attempt=run, why=""))
    room = rooms_of(site.work.line, scene(site, taken(1000)))[A]
    assert (room.leaving, room.ending) == ({"CPU": 1000}, {"CPU": 1000})
    assert free_of(room.now())["CPU"] == 3000
    assert free_of(room.without(room.leaving))["CPU"] == 4000


def test_less_is_taken_from_what_is_freest_and_never_below_nothing() -> None:
    gpus = [resource("a", "GPU", str(number), 1000) for number in range(3)]
    one = offer("a", *gpus)
    assert sorted(item.free for item in lessened(one, {"GPU": 2000}).resources if item.kind == "GPU") == [0, 0, 1000]
    assert free_of(lessened(one, {"GPU": 9000, "CPU": -500}))["GPU"] == 0
    assert free_of(lessened(one, {"CPU": -500}))["CPU"] == 4000, "no more than it has"
    assert lessened(one, Counter()) is one


def test_a_whole_offer_is_one_of_which_nothing_is_leased() -> None:
    one = offer("a", cores=4, free=1000, memory=8 * GB, memory_free=GB)
    assert free_of(whole(one)) == {"CPU": 4000, "Memory": 8 * GB}


def test_short_tasks_share_a_berth_and_long_or_unknown_ones_do_not(site: Site) -> None:
    site.do(submit("job-1", 10), submit("job-2", 10), submit("job-3", runtime_s=5))
    jobs = site.work.line.book.jobs
    short, long, unknown = (jobs[name] for name in jobs)
    site.end(site.run("job-1", 0)[0], wall_us=500)
    site.end(site.run("job-2", 0)[0], wall_us=10_000_000)
    assert [berth_tasks(job) for job in (short, long, unknown)] == [BERTH_TASKS_MAX, 1, 1]
    assert [likely_ms(job) for job in (short, long, unknown)] == [1, 10_000, 5000]


def test_as_many_berths_are_taken_as_tasks_run(site: Site) -> None:
    site.do(submit("job-1", 100, need=cpu(1000)))
    site.end(site.run("job-1", 0, node=A)[0], wall_us=1000)
    site.run("job-1", 1, 2, node=A)
    room = rooms_of(site.work.line, scene(site, taken(2000)))[A]
    assert room.berths(site.work.line.book.jobs["job-1"]) == 2  # type: ignore[index]
    assert free_of(room.now())["CPU"] == 2000
