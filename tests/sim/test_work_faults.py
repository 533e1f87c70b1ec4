"""Faults of work: each kind strikes and is overcome, and none takes a majority of disks for good."""

from __future__ import annotations

import pytest
from tests.sim.work_worlds import after, has_ended, said, site_of, submit, until

from worldos.model.limits import MS, SECOND
from worldos.model.work import Applied, QueueMade
from worldos.sim.work_faults import WorkFaults, work_of

KINDS = ("_pause_leader", "_crash_leader", "_cut_leader", "_cut_long", "_sleep", "_kill_runner", "_blackout", "_jump")


@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_strikes_and_is_overcome(kind: str) -> None:
    world, safety = site_of(2, 2, 2)
    submit(world, world.machines[0], tasks=6, ms=500)
    until(world, lambda: safety.running)
    faults = WorkFaults(world, calm=False)
    faults.between_ns = 1000 * SECOND
    notes = len(world.notes)
    getattr(faults, kind)()
    after(world, 100 * MS)
    assert len(world.notes) > notes, "it says what it did"
    faults.stop()
    until(world, lambda: has_ended(safety))


def test_where_clocks_must_be_true_nobody_sleeps() -> None:
    world, _ = site_of(1, 1, 1)
    kinds = {kind.__name__ for kind, _ in WorkFaults(world, calm=True).kinds}
    assert not kinds & {"_pause", "_pause_leader", "_sleep"}
    assert "_crash_leader" in kinds


def test_nobody_is_lost_for_good_while_others_need_its_disk() -> None:
    world, _ = site_of(1, 1, 1)
    said(world, world.machines[0], QueueMade(queue="q"))
    after(world, SECOND)
    faults = WorkFaults(world, calm=False)
    assert faults.may_lose(world.machines[2])
    world.crash(world.machines[1])
    assert not faults.may_lose(world.machines[2]), "one of two is no majority of three"
    world.start(world.machines[1])
    assert said(world, world.machines[0], QueueMade(queue="r")) == (Applied(),)


def test_a_disk_that_rots_or_goes_back_is_mended() -> None:
    world, safety = site_of(1, 1, 1)
    said(world, world.machines[0], QueueMade(queue="q"))
    after(world, SECOND)
    faults = WorkFaults(world, calm=False)
    faults.between_ns = 1000 * SECOND
    for _ in range(12):
        faults._forget()
        after(world, 8 * SECOND)
    faults.stop()
    until(world, lambda: all((raft := work_of(each)) and not raft.mending for each in world.machines))
    assert said(world, world.machines[0], QueueMade(queue="r")) == (Applied(),)
    safety.compare()
