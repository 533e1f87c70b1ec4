"""Nodes of two accounts are linked while a seat or a reign needs it, and no longer."""

from __future__ import annotations

from tests.kernel.realms.village import Village

from worldos.kernel.charter import ChildLeft, ParentLeft
from worldos.model.realm import RealmId

ACME = RealmId("acme")


def test_a_realm_that_leaves_is_a_stranger_again() -> None:
    village = Village(home=1, office=1)
    village.run(2)
    pair = frozenset(("home0", "office0"))
    assert pair not in village.links
    village.found("home0", "acme")
    assert village.join("home0", "home0", ACME) == ""
    assert village.join("home0", "office0", ACME) == ""
    village.run(3)
    assert pair in village.links
    assert village.propose("office0", village.site("office0"), ParentLeft(realm=ACME)) == ""
    assert village.propose("home0", ACME, ChildLeft(realm=village.site("office0"))) == ""
    village.run(3)
    assert pair not in village.links
    assert not village.nodes["office0"].may_link(village.nodes["home0"].node)
