"""The berths of a simulated runner: no more leases than attempts want, one attempt after another behind each, given back idle."""

from __future__ import annotations

from tests.sim.work_worlds import after, has_ended, site_of, submit, until

from worldos.kernel.events import LaneFailed
from worldos.model.limits import MS, SECOND


def test_short_tasks_share_few_leases() -> None:
    world, safety = site_of(2)
    submit(world, world.machines[0], tasks=40, ms=20)
    granted = 0
    seen: set[str] = set()
    while not has_ended(safety):
        after(world, 10 * MS)
        seen |= set(world.lanes.lanes)
        granted = max(granted, len(world.lanes.lanes))
    assert granted == 2, "as many as there are cores"
    assert len(seen) < 10, "40 tasks had few leases"
    until(world, lambda: not world.lanes.lanes, within_ns=5 * SECOND)


def test_a_lease_that_is_lost_has_another_in_its_place() -> None:
    world, safety = site_of(1)
    submit(world, world.machines[0], ms=2_000)
    until(world, lambda: safety.running.get("job-1.0"))
    (lane,) = world.lanes.lanes.values()
    machine = lane.machine
    world.feed(machine, LaneFailed(now_ns=world.clock_of(machine), lease=lane.lease, why="a test"))
    until(world, lambda: has_ended(safety))
    assert safety.history.outcomes["job-1", 0] == (2, 0)


def test_what_has_no_room_at_home_runs_at_another() -> None:
    world, safety = site_of(1, 4, 1)
    submit(world, world.machines[0], tasks=4, ms=2_000, milli=1000)
    machines = set()
    while not has_ended(safety):
        after(world, 100 * MS)
        machines |= {lane.machine.name for names in safety.running.values() for lane in names.values()}
    assert machines <= {"n0", "n1", "n2"}
    assert len(machines) > 1
