"""What the primary proposes: least score, urgency, room kept and made, and never more than there is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.kernel.line.works import Site, submit
from tests.kernel.offers import GB, HOME, cpu, offer, resource, view

from worldos.kernel.line.plan import ELSEWHERE_MAX, NODE_TASKS_MAX, Step, plan
from worldos.kernel.line.scene import LOST_MS, LOST_TWICE_MS, QUIET_MS, Scene
from worldos.model.ids import NodeId
from worldos.model.need import Compare
from worldos.model.offer import Offer
from worldos.model.work import Assign, Attempt, Began, Cancel, Lost, Preempt, Retry

A, B = NodeId("a"), NodeId("b")


@pytest.fixture
def site() -> Site:
    return Site()


def scene(site: Site, *offers: Offer, **more: object) -> Scene:
    words = {
        "offers": {one.node: one for one in offers},
        "view": view(nonce=b"dice"),
        "wall_ms": site.wall_ms,
        "runners": frozenset(one.node for one in offers),
        **more,
    }
    return Scene(**words)  # type: ignore[arg-type]


def planned(site: Site, *offers: Offer, **more: object) -> list[Step]:
    return plan(site.work.line, scene(site, *offers, **more))


def carry_out(site: Site, *offers: Offer, **more: object) -> Counter[tuple[str, str]]:
    """Do what is planned, and let it begin; return how many tasks of which job went to which node."""
    went: Counter[tuple[str, str]] = Counter()
    for step in planned(site, *offers, **more):
        answer = site.do(step)
        for attempt in answer.attempts:
            assert isinstance(step, Assign)
            site.do(Began(attempt=attempt, at=step.node))
            went[step.job, step.node] += 1
    return went


def taken(milli: int, node: str = "a", cores: int = 4, **facts: object) -> Offer:
    """An offer of which so much is leased."""
    return offer(node, cores=cores, free=cores * 1000 - milli, **facts)  # type: ignore[arg-type]


def test_tasks_fill_what_is_free_and_no_more(site: Site) -> None:
    site.do(submit("job-1", 10))
    assert carry_out(site, offer("a", cores=4), offer("b", cores=2)) == {("job-1", A): 4, ("job-1", B): 2}
    assert planned(site, taken(4000), taken(2000, "b", 2)) == []


def test_what_was_given_and_has_not_begun_is_counted_beside_an_old_offer(site: Site) -> None:
    site.do(submit("job-1", 10))
    for step in planned(site, offer("a", cores=4)):
        site.do(step)
    assert planned(site, offer("a", cores=4)) == []


def test_what_the_runner_holds_already_can_be_used(site: Site) -> None:
    site.do(submit("job-1", 10))
    steps = planned(site, taken(4000), leased={A: {"CPU": 3000}})
    assert [len(step.indices) for step in steps if isinstance(step, Assign)] == [3]


def test_the_faster_node_is_taken_first(site: Site) -> None:
    site.do(submit("job-1"))
    assert carry_out(site, offer("a", speed_mips=2_000), offer("b", speed_mips=20_000)) == {("job-1", B): 1}


def test_the_urgent_go_first(site: Site) -> None:
    site.do(submit("job-1", 3), submit("job-2", 3, priority=5))
    assert carry_out(site, offer("a", cores=4)) == {("job-2", A): 3, ("job-1", A): 1}


def test_a_small_job_passes_a_large_one_that_fits_nowhere_now(site: Site) -> None:
    site.do(submit("large-1", need=cpu(8000)), submit("small-1"))
    assert carry_out(site, offer("a", cores=4)) == {("small-1", A): 1}


def test_memory_is_counted_as_well(site: Site) -> None:
    site.do(submit("job-1", 10, need=cpu(1000, memory_bytes=3 * GB)))
    assert carry_out(site, offer("a", cores=4, memory=8 * GB)) == {("job-1", A): 2}


def test_nodes_without_a_runner_or_silent_or_gone_get_nothing(site: Site) -> None:
    site.do(submit("job-1"))
    one = offer("a")
    assert planned(site, one, runners=frozenset()) == []
    assert planned(site, one, silent_ms={A: QUIET_MS}) == []
    assert planned(site, one, view=view(gone=frozenset({A}))) == []


def test_a_job_whose_attempt_was_lost_rests(site: Site) -> None:
    site.do(submit("job-1"))
    site.lose(site.run("job-1", 0, node=A)[0])
    assert planned(site, offer("a")) == []
    site.say(later_ms=125)
    assert len(planned(site, offer("a"))) == 1


def test_attempts_of_silent_nodes_are_lost_sooner_if_they_may_run_twice(site: Site) -> None:
    site.do(submit("job-1"), submit("job-2", twice=True))
    (first,) = site.run("job-1", 0, node=A)
    (second,) = site.run("job-2", 0, node=A)

    def gone(silent_ms: int) -> list[Attempt]:
        steps = planned(site, offer("b"), silent_ms={A: silent_ms})
        return [step.attempt for step in steps if isinstance(step, Lost)]

    assert gone(LOST_TWICE_MS - 1) == []
    assert gone(LOST_TWICE_MS) == [second]
    assert gone(LOST_MS) == [first, second]


def test_what_yields_is_asked_back_for_a_job_that_does_not(site: Site) -> None:
    lent = taken(3000)
    parts = [replace(part, yielding=2000) if part.kind == "CPU" else part for part in lent.resources]
    lent = replace(lent, resources=tuple(parts))
    site.do(submit("soft-1", 9, need=cpu(1000, yields=True)), submit("firm-1", 9))
    steps = planned(site, lent)
    assert [(step.job, len(step.indices)) for step in steps if isinstance(step, Assign)] == [
        ("soft-1", 1),
        ("firm-1", 2),
    ]
    for step in steps:
        site.do(step)
    assert planned(site, lent) == [], "it is on its way"


def test_the_less_urgent_that_may_be_asked_is_asked_to_stop_and_only_once(site: Site) -> None:
    site.do(submit("low-1", 4, preemptible=True, priority=-5))
    carry_out(site, offer("a", cores=4))
    site.do(submit("high-1", need=cpu(2000), priority=5))
    steps = planned(site, taken(4000))
    assert [(type(step), step.attempt.job) for step in steps if isinstance(step, Preempt)] == [(Preempt, "low-1")] * 2
    for step in steps:
        site.do(step)
    assert planned(site, taken(4000)) == [], "room is on its way"


def test_nobody_is_asked_to_stop_who_is_as_urgent_or_may_not_be_asked(site: Site) -> None:
    site.do(submit("even-1", 2, preemptible=True, priority=5), submit("firm-1", 2))
    carry_out(site, offer("a", cores=4))
    site.do(submit("high-1", need=cpu(2000), priority=5))
    assert planned(site, taken(4000)) == []


def test_nobody_is_asked_to_stop_in_vain(site: Site) -> None:
    site.do(submit("low-1", 1, preemptible=True, priority=-5))
    carry_out(site, offer("a", cores=4))
    site.do(submit("high-1", need=cpu(4000), priority=5))
    assert planned(site, taken(2000)) == [], "a lease of somebody else is in the way all the same"


def test_of_two_nodes_the_one_is_cleared_where_less_is_lost(site: Site) -> None:
    site.do(submit("mid-1", 2, preemptible=True, priority=1))
    carry_out(site, offer("a", cores=2))
    site.do(submit("low-1", 2, preemptible=True, priority=-1))
    carry_out(site, taken(2000, cores=2), offer("b", cores=2))
    site.do(submit("high-1", need=cpu(2000), priority=9))
    steps = planned(site, taken(2000, cores=2), taken(2000, "b", 2))
    assert {step.attempt.job for step in steps if isinstance(step, Preempt)} == {"low-1"}


def test_room_is_kept_for_a_large_job_while_small_ones_keep_coming(site: Site) -> None:
    site.do(submit("old-1", 4))
    carry_out(site, offer("a", cores=4))
    site.do(submit("large-1", need=cpu(4000)), submit("small-1", 100), later_ms=10)
    attempts = [Attempt("old-1", index, 1) for index in range(4)]
    for number, attempt in enumerate(attempts[:3], 1):
        site.end(attempt, wall_us=10**7)
        assert planned(site, taken(4000 - 1000 * number)) == []
    site.end(attempts[3], wall_us=10**7)
    assert carry_out(site, offer("a", cores=4)) == {("large-1", A): 1}


def test_beside_a_large_job_others_take_what_it_leaves_and_never_more(site: Site) -> None:
    site.do(submit("old-1", 2, need=cpu(2000)))
    carry_out(site, offer("a", cores=4))
    site.do(submit("large-1", need=cpu(3000)), submit("small-1", 100), later_ms=10)
    site.end(Attempt("old-1", 0, 1), wall_us=10**7)
    assert carry_out(site, taken(2000)) == {("small-1", A): 1}
    assert planned(site, taken(3000)) == []


def test_what_ends_before_the_large_job_can_begin_may_go_before_it(site: Site) -> None:
    site.do(submit("old-1", 3, runtime_s=100))
    carry_out(site, offer("a", cores=4))
    site.do(
        submit("large-1", need=cpu(4000)), submit("slow-1", runtime_s=200), submit("quick-1", runtime_s=50), later_ms=10
    )
    assert carry_out(site, taken(3000)) == {("quick-1", A): 1}


def test_short_tasks_are_given_several_to_a_berth(site: Site) -> None:
    site.do(submit("job-1", 1000))
    for attempt in site.run("job-1", 0, 1, node=A):
        site.end(attempt, wall_us=10_000)
    steps = planned(site, offer("a", cores=2))
    assert [len(step.indices) for step in steps if isinstance(step, Assign)] == [2 * 51]
    for step in steps:
        site.do(step)
    assert planned(site, offer("a", cores=2)) == []


def test_a_runner_is_never_given_more_than_it_can_say_that_it_has(site: Site) -> None:
    site.do(submit("job-1", 20_000), submit("job-2", 20_000))
    for job in ("job-1", "job-2"):
        site.end(site.run(job, 0)[0], wall_us=100)
    one, other = offer("a", cores=64), offer("b", cores=4)
    for _ in range(3):
        carry_out(site, one, other)
    runs = [run.node for job in site.work.line.book.busy.values() for run in job.running.values()]
    assert runs.count(A) == NODE_TASKS_MAX


def test_what_was_learned_of_a_command_serves_the_next_job_at_once(site: Site) -> None:
    site.do(submit("job-1"))
    site.end(site.run("job-1", 0, node=A)[0], wall_us=10_000)
    site.do(submit("job-2", 1000))
    steps = planned(site, offer("a", cores=2))
    assert [len(step.indices) for step in steps if isinstance(step, Assign)] == [2 * 51]


def test_a_berth_is_filled_again_when_it_is_half_empty(site: Site) -> None:
    site.do(submit("job-1", 1000))
    site.end(site.run("job-1", 0, node=A)[0], wall_us=10_000)
    one = offer("a", cores=1)
    for step in planned(site, one):
        site.do(step)
    ends = [Attempt("job-1", index, 1) for index in range(1, 52)]
    for attempt in ends[:25]:
        site.end(attempt, wall_us=10_000)
    busy = {"leased": {A: {"CPU": 1000}}}
    assert planned(site, taken(1000, cores=1), **busy) == []
    site.end(ends[25], wall_us=10_000)
    steps = planned(site, taken(1000, cores=1), **busy)
    assert [len(step.indices) for step in steps if isinstance(step, Assign)] == [26]


def test_a_node_that_is_free_comes_before_a_queue_at_one_that_is_not(site: Site) -> None:
    site.do(submit("job-1", 6))
    for attempt in site.run("job-1", 0, 1, node=A):
        site.end(attempt, wall_us=10_000)
    site.run("job-1", 2, node=A)
    steps = [step for step in planned(site, taken(1000, cores=1), offer("b", cores=4)) if isinstance(step, Assign)]
    assert [(step.node, len(step.indices)) for step in steps] == [(B, 3)]


def test_behind_a_task_that_takes_long_none_waits(site: Site) -> None:
    site.do(submit("job-1", 6), submit("job-2", 6))
    site.end(site.run("job-1", 0, node=A)[0], wall_us=2_000_000)
    site.end(site.run("job-2", 0, node=A)[0], wall_us=1_900_000)
    steps = [step for step in planned(site, offer("a", cores=2)) if isinstance(step, Assign)]
    assert [(step.job, len(step.indices)) for step in steps] == [("job-1", 2)]
    site.do(Cancel(job="job-1"))
    steps = [step for step in planned(site, offer("a", cores=2)) if isinstance(step, Assign)]
    assert [(step.job, len(step.indices)) for step in steps] == [("job-2", 4)], "one more each, so that nobody idles"


def test_the_last_short_tasks_are_spread_over_all_berths(site: Site) -> None:
    site.do(submit("job-1", 10))
    for attempt in site.run("job-1", 0, 1, node=A):
        site.end(attempt, wall_us=10_000)
    steps = [step for step in planned(site, offer("a", cores=2), offer("b", cores=2)) if isinstance(step, Assign)]
    assert sum(len(step.indices) for step in steps) == 8
    more = [step for step in planned(site, offer("a", cores=1), offer("b", cores=1)) if isinstance(step, Assign)]
    assert sum(len(step.indices) for step in more) == 8


def test_what_no_node_of_ours_can_ever_do_goes_to_the_runner_at_home_if_others_may(site: Site) -> None:
    site.do(submit("job-1", 500, need=cpu(64_000)))
    home = offer(HOME, cores=4)
    assert planned(site, home) == []
    steps = planned(site, home, elsewhere=True)
    assert [(step.node, len(step.indices)) for step in steps if isinstance(step, Assign)] == [(HOME, ELSEWHERE_MAX)]
    for step in steps:
        site.do(step)
    assert planned(site, home, elsewhere=True) == []
    site.do(submit("job-2", 10))
    assert carry_out(site, home, elsewhere=True) == {("job-2", HOME): 4}, "what waits elsewhere takes nothing here"


def test_a_node_that_will_go_gets_only_what_ends_in_time_and_lets_others_go(site: Site) -> None:
    site.do(submit("long-1", preemptible=True), submit("short-1", runtime_s=30))
    (first,) = site.run("long-1", 0, node=A)
    steps = planned(site, taken(1000, going_s=100))
    assert [step.attempt for step in steps if isinstance(step, Preempt)] == [first]
    assert [step.job for step in steps if isinstance(step, Assign)] == ["short-1"]


def test_a_budget_lets_no_more_run_than_it_can_pay_for(site: Site) -> None:
    site.do(submit("job-1", 10, budget_uwos=100))
    (first,) = site.run("job-1", 0, node=A)
    site.end(first, paid_uwos=40, wall_us=10**7)
    steps = planned(site, offer("a", cores=8))
    assert [len(step.indices) for step in steps if isinstance(step, Assign)] == [1]


def test_an_architecture_that_is_not_there_waits(site: Site) -> None:
    site.do(submit("job-1", need=cpu(where=Compare(fact="arch", op="==", value="riscv64"))))
    assert planned(site, offer("a")) == []


def test_whole_gpus_are_taken_together(site: Site) -> None:
    site.do(submit("job-1", 3, need=cpu()))
    gpus = [resource("a", "GPU", str(number), 1000) for number in range(3)]
    need = cpu()
    site.do(submit("job-2", 3, need=type(need)(kind="GPU", amount=2000)))
    assert carry_out(site, offer("a", *gpus, cores=1)) == {("job-1", A): 1, ("job-2", A): 1}


JOBS = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from((500, 1000, 2000, 5000)), st.integers(-2, 2), st.booleans()),
    min_size=1,
    max_size=8,
)


@settings(max_examples=25)
@given(JOBS, st.lists(st.integers(0, 4000), min_size=1, max_size=4))
def test_no_plan_takes_more_than_is_free_and_every_step_is_done(
    jobs: list[tuple[int, int, int, bool]], frees: list[int]
) -> None:
    site = Site()
    offers = [offer(f"n{number}", cores=4, free=free) for number, free in enumerate(frees)]
    needs: Mapping[str, int] = {f"job-{number}": milli for number, (_, milli, _, _) in enumerate(jobs)}
    for number, (tasks, milli, priority, preemptible) in enumerate(jobs):
        site.do(submit(f"job-{number}", tasks, need=cpu(milli), priority=priority, preemptible=preemptible))
    for _ in range(3):
        steps = planned(site, *offers)
        for step in steps:
            site.do(step)
    used: Counter[str] = Counter()
    for job in site.work.line.book.jobs.values():
        for run in job.running.values():
            used[run.node] += needs[job.id]
    assert all(used[one.node] <= free for one, free in zip(offers, frees, strict=True))
    waiting = [needs[job.id] for job in site.work.line.ready() if needs[job.id] <= 4000]
    left = max(free - used[one.node] for one, free in zip(offers, frees, strict=True))
    if len({milli for _, milli, _, _ in jobs}) == 1 and waiting:
        assert left < min(waiting), "something could have been begun"


def begun_afar(site: Site, job: str, *indices: int, owner: str = "ann") -> None:
    """Let tasks begin at a machine of another account, through the runner at home."""
    for attempt in site.do(Assign(job=job, indices=indices, node=HOME)).attempts:
        site.do(Began(attempt=attempt, at=NodeId(owner), owner=owner))


def test_what_a_stranger_does_is_begun_beside_it_where_nothing_waits(site: Site) -> None:
    site.do(submit("job-1", 3, need=cpu(64_000)))
    home = offer(HOME, cores=4)
    begun_afar(site, "job-1", 0, 1)
    first, *copies = planned(site, home, elsewhere=True)
    assert first == Assign(job="job-1", indices=(2,), node=HOME), "first come those that wait"
    assert copies == [Assign(job="job-1", indices=(0, 1), node=HOME, beside=True)]
    site.do(submit("job-2", 9, need=cpu(1000)))
    assert not [step for step in planned(site, home, elsewhere=True) if isinstance(step, Assign) and step.beside]
    site.do(Cancel(job="job-2"))
    site.do(first, *copies)
    assert planned(site, home, elsewhere=True) == [], "two at once, and the copies wait for their leases like others"


def test_a_copy_takes_a_free_place_of_ours_and_no_more_than_a_job_may_have_at_once(site: Site) -> None:
    site.do(submit("job-1", 3, need=cpu(4000), together=4))
    begun_afar(site, "job-1", 0, 1, 2)
    steps = planned(site, offer("a", cores=8))
    assert steps == [Assign(job="job-1", indices=(0,), node=A, beside=True)], "four at once, as it asks for"
    assert planned(site, taken(6000, cores=8)) == [], "there is no room now, and there will be"


def learn(site: Site, memory_bytes: int, took_us: int = 60_000_000, job: str = "job-0") -> None:
    """Have a task of the command end that took so much memory, though its job did not say so."""
    site.do(submit(job))
    (attempt,) = site.run(job, 0)
    site.end(attempt, wall_us=took_us, memory_bytes=memory_bytes)


def test_tasks_that_took_much_memory_are_begun_no_more_side_by_side_than_fit(site: Site) -> None:
    machines = [offer("a", cores=8, memory=16 * GB), offer("b", cores=8, memory=8 * GB)]
    learn(site, 6 * GB)
    site.do(submit("job-1", 10))
    assert carry_out(site, *machines) == {("job-1", A): 2, ("job-1", B): 1}
    site.do(submit("job-2", 40, argv=("other",)))
    machines = [offer("a", cores=8, free=6000, memory=16 * GB), offer("b", cores=8, free=7000, memory=8 * GB)]
    assert carry_out(site, *machines) == {("job-2", A): 6, ("job-2", B): 7}, "what needs no memory uses the other cores"


def test_memory_that_a_task_has_taken_is_not_counted_twice(site: Site) -> None:
    learn(site, 6 * GB)
    site.do(submit("job-1", 10))
    assert carry_out(site, offer("a", cores=8, memory=16 * GB)) == {("job-1", A): 2}
    grown = offer("a", cores=8, free=6000, memory=16 * GB, memory_free=10 * GB)
    assert planned(site, grown) == [], "one has taken its part, the other will"
    site.say(later_ms=40_000)
    assert carry_out(site, grown) == {("job-1", A): 1}


def test_what_takes_more_than_any_node_has_runs_alone_on_the_largest(site: Site) -> None:
    learn(site, 60 * GB)
    site.do(submit("job-1", 10))
    assert carry_out(site, offer("a", cores=8, memory=16 * GB), offer("b", cores=8, memory=8 * GB)) == {("job-1", A): 1}


def test_who_says_how_much_memory_it_needs_is_believed(site: Site) -> None:
    learn(site, 6 * GB)
    site.do(submit("job-1", 10, need=cpu(1000, memory_bytes=1 * GB)))
    assert carry_out(site, offer("a", cores=8, memory=16 * GB)) == {("job-1", A): 8}


@pytest.mark.parametrize("twice", [False, True])
def test_what_was_cancelled_while_it_ran_is_begun_again_when_it_has_surely_stopped(site: Site, twice: bool) -> None:
    """Seed 210 of the simulator: cancelled and tried again at once, both ran, as the first was still to be told."""
    site.do(submit("job-1", 2, twice=twice, grace_s=30))
    site.run("job-1", 0, node=A)
    site.do(Cancel(job="job-1"), Retry(job="job-1"))
    assert bool(planned(site, offer("a"))) is twice
    site.say(later_ms=33_000)
    assert planned(site, offer("a"))
    site.do(submit("job-2"), Cancel(job="job-2"), Retry(job="job-2"))
    assert {step.job for step in planned(site, offer("a")) if isinstance(step, Assign)} == {"job-1", "job-2"}
