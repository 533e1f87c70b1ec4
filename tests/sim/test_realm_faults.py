"""Faults of realms: each kind can strike, ends when faults end, and the tree stands again."""

from __future__ import annotations

import pytest
from tests.sim.realm_worlds import founded

from worldos.model.limits import SECOND
from worldos.sim.realm_faults import RealmFaults, machines_under
from worldos.sim.realm_progress import why_no_tree

KINDS = (
    "_cut_site",
    "_cut_realm",
    "_cut_third",
    "_cut_center",
    "_flap",
    "_move",
    "_pause_center",
    "_crash_center",
)


@pytest.mark.parametrize("kind", KINDS)
def test_each_fault_strikes_and_is_overcome(kind: str) -> None:
    world, tree, _ = founded()
    faults = RealmFaults(world, tree)
    notes = len(world.notes)
    getattr(faults, kind)()
    world.run_until(world.now_ns + SECOND)
    assert len(world.notes) > notes, "it says what it did"
    faults.stop()
    world.run_until(world.now_ns + 25 * SECOND)
    assert why_no_tree(world, tree) == ""


def test_all_machines_are_under_the_top() -> None:
    world, tree, _ = founded()
    assert machines_under(world, tree, 0) == [machine.number for machine in world.machines]
