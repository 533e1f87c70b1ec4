"""Why a job waits, in sentences that people read."""

from __future__ import annotations

import pytest
from tests.kernel.line.test_plan import A, scene, taken
from tests.kernel.line.works import Site, spec, submit
from tests.kernel.offers import GB, cpu, offer

from worldos.kernel.line.scene import Scene
from worldos.kernel.line.why import EXPLAINED_MAX, never, view, views, why
from worldos.model.need import Compare
from worldos.model.work import JobId


@pytest.fixture
def site() -> Site:
    return Site()


def said(site: Site, seen: Scene, job: str = "job-1") -> str:
    return why(site.work.line, site.work.line.book.jobs[JobId(job)], seen)


def test_what_is_full_is_said_with_what_is_free(site: Site) -> None:
    site.do(submit("job-1", need=cpu(2000)))
    text = said(site, scene(site, taken(3000)))
    assert text.startswith("all that it could run on is in use: no node can give 2 cores")
    assert "free would be 1 core" in text


def test_what_no_node_has_is_said_and_where_it_is_looked_for(site: Site) -> None:
    site.do(submit("job-1", need=cpu(64_000)))
    assert said(site, scene(site, offer("a"))).startswith("no node can give 64 cores")
    assert said(site, scene(site, offer("a"), elsewhere=True)).startswith("it is looked for beyond our nodes")


def test_a_rest_a_missing_node_and_a_next_place_are_said(site: Site) -> None:
    site.do(submit("job-1"))
    assert said(site, scene(site)) == "no node that can run tasks is heard of"
    assert "in a moment" in said(site, scene(site, offer("a")))
    site.lose(site.run("job-1", 0, node=A)[0])
    assert said(site, scene(site, offer("a"))) == "an attempt was lost (its node is gone); it is tried again in 1 s"


def test_who_does_not_wait_says_nothing(site: Site) -> None:
    site.do(submit("job-1"))
    (run,) = site.run("job-1", 0, node=A)
    assert said(site, scene(site, offer("a"))) == ""
    site.end(run)
    assert said(site, scene(site, offer("a"))) == ""


def test_a_view_has_the_reason_in_it(site: Site) -> None:
    site.do(submit("job-1", need=cpu(64_000)))
    seen = view(site.work.line, "job-1", scene(site, offer("a")))
    assert seen is not None
    assert "64 cores" in seen.why
    assert view(site.work.line, "nope", scene(site)) is None


def test_of_many_jobs_the_first_that_wait_are_explained(site: Site) -> None:
    site.do(submit("done-1"))
    site.end(site.run("done-1", 0)[0])
    site.do(*(submit(f"job-{number}", need=cpu(64_000)) for number in range(30)))
    seen = views(site.work.line, 100, scene(site, offer("a")))
    assert [bool(each.why) for each in seen] == [True] * EXPLAINED_MAX + [False] * 11
    assert "64 cores" in seen[0].why


def test_an_architecture_without_an_offer_could_never_be(site: Site) -> None:
    need = cpu(where=Compare(fact="arch", op="==", value="riscv64"))
    assert "arch == 'riscv64'" in never(spec(need=need), scene(site, offer("a"), offer("b")))


def test_what_is_merely_taken_now_could_be(site: Site) -> None:
    assert never(spec(need=cpu(4000)), scene(site, taken(4000))) == ""
    assert "4.5 cores" in never(spec(need=cpu(4500)), scene(site, taken(4000)))


def test_memory_that_no_node_has_could_never_be_and_is_why_a_job_waits(site: Site) -> None:
    need = cpu(1000, memory_bytes=8 * 10**12)
    assert "8.0 TB of memory" in never(spec(need=need), scene(site, offer("a")))
    site.do(submit("job-1", need=need))
    assert "8.0 TB of memory" in said(site, scene(site, offer("a")))


def test_a_budget_below_the_cheapest_offer_could_never_be(site: Site) -> None:
    seen = scene(site, offer("a", price=3_600_000), offer("b", price=7_200_000))
    assert never(spec(budget_uwos=60_000), seen) == ""
    assert "costs 60000 uWOS for 60 s, and its budget is 59999 uWOS" in never(spec(budget_uwos=59_999), seen)
    assert "for 600 s" in never(spec(budget_uwos=60_000, runtime_s=600), seen)


def test_without_offers_nothing_can_be_done(site: Site) -> None:
    assert "no offers are known" in never(spec(), scene(site))


def test_what_waits_for_memory_that_its_command_took_before_is_told(site: Site) -> None:
    site.do(submit("job-0"))
    site.end(site.run("job-0", 0)[0], wall_us=60_000_000, memory_bytes=7 * GB)
    site.do(submit("job-1", 2))
    site.run("job-1", 0, node=A)
    told = said(site, scene(site, offer("a")))
    assert told == "earlier tasks of this command took 7.0 GB of memory, and no node has as much free"
    assert "in a moment" in said(site, scene(site, offer("a", memory=16 * GB)))
