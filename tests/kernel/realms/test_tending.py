"""A primary tells its superior what is free when that changes, and its members who it is, also without a change."""

from __future__ import annotations

from tests.kernel.realms.village import Village

from worldos.model.limits import CENTER_TELL_NS
from worldos.model.realm import RealmId

ACME = RealmId("acme")


def joined() -> Village:
    village = Village(home=1, office=1)
    village.run(2)
    village.found("home0", "acme")
    assert village.join("home0", "home0", ACME) == ""
    assert village.join("home0", "office0", ACME) == ""
    village.run(4)
    return village


def free(village: Village) -> int:
    children = village.nodes["home0"].realms.reigns[ACME].children.children
    return sum(line.free for line in children[village.site("office0")].summary.lines if line.kind == "CPU")


def test_a_change_of_what_is_free_is_known_above_soon() -> None:
    village = joined()
    assert free(village) == 2000
    village.scan("office0", cores=8)
    village.run(3)
    assert free(village) == 8000


def test_members_hear_of_their_center_again_and_again() -> None:
    village = Village(home=2)
    village.run(3)
    node = village.nodes["home1"].realms
    node.centers.forget(node.site)
    village.run(CENTER_TELL_NS / 1e9 + 1)
    assert village.primary("home1") == "home0"


def test_who_speaks_for_a_site_is_its_primary_first_and_then_who_would_stand_in() -> None:
    village = Village(home=1, office=3)
    village.run(3)
    village.found("home0", "acme")
    assert village.join("home0", "home0", ACME) == ""
    assert village.join("home0", "office0", ACME) == ""
    village.run(4)
    child = village.nodes["home0"].realms.reigns[ACME].children.children[village.site("office0")]
    names = [contact.name for contact in child.council]
    assert names[0] == village.primary("office0", "office1", "office2")
    assert sorted(names) == ["office0", "office1", "office2"]
