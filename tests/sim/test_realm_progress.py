"""Progress: whether it is one tree, and who could fill a need from where."""

from __future__ import annotations

from tests.sim.realm_worlds import founded

from worldos.model.limits import SECOND
from worldos.model.need import Need
from worldos.sim.councils import primaries
from worldos.sim.realm_progress import can_be_filled, check_charters, why_no_tree


def test_a_tree_that_stands_has_no_complaint_and_all_agree_on_its_charters() -> None:
    world, tree, _ = founded()
    assert why_no_tree(world, tree) == ""
    check_charters(world)


def test_a_realm_without_its_primary_is_complained_of() -> None:
    world, tree, _ = founded()
    (top,) = primaries(world.machines, tree.realms[0].realm)
    world.crash(top)
    assert why_no_tree(world, tree) != ""
    world.start(top)
    world.run_until(world.now_ns + 15 * SECOND)
    assert why_no_tree(world, tree) == ""


def test_a_need_can_be_filled_where_somebody_in_reach_has_it_and_nowhere_else() -> None:
    world, _, _ = founded()
    home = world.machines[0]
    most = max(machine.size[0] for machine in world.machines)
    found = can_be_filled(world, home, Need(kind="CPU", amount=most))
    assert found is not None
    assert found.size[0] == most
    assert can_be_filled(world, home, Need(kind="CPU", amount=most + 1)) is None
