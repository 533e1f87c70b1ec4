"""Councils, read from outside: who reigns, who sits, and what is agreed on."""

from __future__ import annotations

from tests.sim.realm_worlds import founded

from worldos.model.realm import RealmId
from worldos.sim.councils import all_primaries, centers_of, charters_of, council_of, primaries, reigns_of, seats_of


def test_each_realm_has_one_primary_that_sits_in_its_council_and_has_its_charter() -> None:
    world, _, _ = founded()
    everywhere = all_primaries(world)
    assert len(everywhere) == 3
    for realm, reigning in everywhere.items():
        (primary,) = reigning
        assert primaries(world.machines, realm) == [primary]
        assert primary in council_of(world, realm)
        assert realm in seats_of(primary)
        assert realm in reigns_of(primary)
        assert charters_of(primary)[realm].epoch == centers_of(primary).seen[realm]


def test_a_machine_that_is_off_reigns_nowhere() -> None:
    world, _, _ = founded()
    site = RealmId(world.sites[0].account)
    (primary,) = primaries(world.machines, site)
    world.crash(primary)
    assert primary not in primaries(world.machines, site)
    assert seats_of(primary) == {} or not primary.running
