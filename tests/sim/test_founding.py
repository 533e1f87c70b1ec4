"""Founding: people found the realms of a tree and join them, and ask again until it is done."""

from __future__ import annotations

from tests.sim.realm_worlds import founded

from worldos.model.realm import RealmId
from worldos.sim.councils import charters_of
from worldos.sim.founding import contact_of, lineage_of, path_of


def test_all_realms_are_founded_and_joined_and_know_their_way() -> None:
    world, tree, founding = founded()
    assert founding.done
    assert founding.open() == []
    top = charters_of(world.machines[0])[lineage_of(tree, 0)[0]]
    assert {RealmId(site.account) for site in world.sites} <= set(top.children)
    for machine in world.machines:
        center = machine.node.realms.centers.known[RealmId(machine.site.account)]
        assert center.path.startswith(path_of(tree, 0))


def test_a_contact_is_what_the_machine_would_say_of_itself() -> None:
    world, _, _ = founded()
    machine = world.machines[0]
    said, known = contact_of(machine), machine.node.contact_of(machine.id)
    assert (said.node, said.site, said.root_cert) == (known.node, known.site, known.root_cert)
