"""A simulated runner does what a real one does: it holds, begins, ends, says so until it is answered, and stops in silence."""

from __future__ import annotations

from tests.sim.work_worlds import after, has_ended, said, site_of, submit, until

from worldos.kernel.events import DrainAsked
from worldos.model.limits import MS, SECOND
from worldos.model.need import Need
from worldos.model.work import Applied, Assign, Cancel, JobId, JobSpec, Submit
from worldos.sim.programs import Plan, Program


def test_an_array_runs_where_there_is_room_and_all_of_it_ends() -> None:
    world, safety = site_of(2, 2, 2)
    submit(world, world.machines[1], tasks=30, ms=200)
    until(world, lambda: has_ended(safety))
    assert set(safety.history.outcomes.values()) == {(1, 0)}
    assert len(safety.ran) == 30
    after(world, 3 * SECOND)
    assert not any(machine.node and machine.node.leases.leases for machine in world.machines), "leases were given back"


def test_a_task_that_fails_is_tried_again_and_its_code_is_kept() -> None:
    world, safety = site_of(2)
    submit(world, world.machines[0], tasks=20, ms=10, fails=500, retries=1)
    until(world, lambda: has_ended(safety))
    numbers = {number for number, _ in safety.history.outcomes.values()}
    codes = {code for _, code in safety.history.outcomes.values()}
    assert (numbers, codes) == ({1, 2}, {0, 1})


def test_what_is_cancelled_stops() -> None:
    world, safety = site_of(1, 1, 1)
    submit(world, world.machines[0], tasks=3, ms=60_000)
    until(world, lambda: sum(map(len, safety.running.values())) == 3)
    assert said(world, world.machines[2], Cancel(job="job-1")) == (Applied(),)
    until(world, lambda: not sum(map(len, safety.running.values())), within_ns=5 * SECOND)
    assert not safety.ran


def test_what_is_more_urgent_has_others_make_way() -> None:
    world, safety = site_of(1)
    submit(world, world.machines[0], "job-low", ms=20_000, preemptible=True, grace_s=1)
    until(world, lambda: safety.running.get("job-low.0"))
    submit(world, world.machines[0], "job-high", ms=100, priority=5)
    until(world, lambda: has_ended(safety, "job-high"), within_ns=8 * SECOND)
    assert not has_ended(safety, "job-low")
    until(world, lambda: has_ended(safety, "job-low"))
    assert safety.history.outcomes["job-low", 0] == (2, 0)


def test_attempts_for_which_no_lease_can_be_had_are_handed_back() -> None:
    world, safety = site_of(1, 1, 1)
    submit(world, world.machines[0], ms=100)
    until(world, lambda: has_ended(safety))
    for machine in world.machines:
        world.feed(machine, DrainAsked(now_ns=world.clock_of(machine), drained=True))
        assert machine.work is not None
    submit(world, world.machines[0], "job-2", ms=100)
    after(world, 5 * SECOND)
    assert not has_ended(safety, "job-2")
    world.feed(world.machines[2], DrainAsked(now_ns=world.clock_of(world.machines[2]), drained=False))
    until(world, lambda: has_ended(safety, "job-2"), within_ns=60 * SECOND)


def test_a_word_is_said_until_somebody_leads_again() -> None:
    world, safety = site_of(1, 1, 1)
    submit(world, world.machines[0], ms=3_000)
    until(world, lambda: safety.running.get("job-1.0"))
    (lane,) = safety.running["job-1.0"].values()
    wall = world.sessions.raise_wall([lane.machine.number])
    after(world, 6 * SECOND)
    assert safety.ran
    assert not has_ended(safety)
    world.sessions.take_down(wall)
    until(world, lambda: has_ended(safety), within_ns=10 * SECOND)
    assert safety.history.outcomes["job-1", 0] == (1, 0)


def test_a_worker_that_dies_has_its_attempt_begin_again() -> None:
    world, safety = site_of(1)
    submit(world, world.machines[0], ms=2_000)
    until(world, lambda: safety.running.get("job-1.0"))
    after(world, 100 * MS)
    (lane,) = world.lanes.lanes.values()
    world.lanes.kill_worker(lane, 0)
    until(world, lambda: has_ended(safety))
    assert safety.history.outcomes["job-1", 0] == (2, 0)


def test_what_runs_elsewhere_is_not_begun_again_while_its_lease_there_goes_on() -> None:
    world, safety = site_of(1, 1, 1)
    submit(world, world.machines[0], "job-0", ms=1)
    until(world, lambda: has_ended(safety, "job-0"))
    after(world, 4 * SECOND)
    leader = next(machine for machine in world.machines if machine.work and machine.work.table.leads)
    need = Need(kind="CPU", amount=1000, near=leader.id)
    plan = Plan(needs=(need,), ttl_ns=5 * SECOND, calls=1, retries=0, service_ns=300 * SECOND, rest_ns=MS)
    Program(world, leader, 9, plan).begin()
    after(world, SECOND)
    spec = JobSpec(argv=("task", "60000", "0"), need=Need(kind="CPU", amount=1000))
    job = Submit(job=JobId("job-1"), spec=spec, by=leader.id)
    said(world, leader, job, Assign(job="job-1", indices=(0,), node=leader.id))
    until(world, lambda: safety.running.get("job-1.0"))
    (lane,) = safety.running["job-1.0"].values()
    assert lane.machine is not leader
    after(world, 3 * SECOND)
    world.sessions.relays = False
    world.sessions.cut(leader.number, lane.machine.number)
    world.sessions.cut(lane.machine.number, leader.number)
    world.crash(leader)
    world.start(leader)
    until(world, lambda: "job-1.0.2" in safety.running["job-1.0"])


def test_two_strangers_do_a_task_in_the_time_of_one() -> None:
    """Begun one after the other, the second would begin when the first has ended."""
    world, safety = site_of(1, 2, 2)
    for machine in world.machines[1:]:
        machine.owner = f"owner-{machine.number}"
    began_ns = world.now_ns
    submit(world, world.machines[0], ms=10_000, milli=2000)
    until(world, lambda: has_ended(safety))
    assert world.now_ns - began_ns < 15 * SECOND
    assert safety.history.copies == {"job-1.0": {2: 1}}
    assert safety.runs == 2
    job = safety.history.job("job-1")
    assert job is not None
    assert job.agreed == {2 * 16 + 2: [0, 1]}
