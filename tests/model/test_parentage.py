"""Which realm can be below which."""

from __future__ import annotations

import msgspec
import pytest

from worldos.model.parentage import Child, Parent, unfit
from worldos.model.realm import DEPTH_MAX, Level, RealmId

EARTH, ACME, HOME = RealmId("earth-id"), RealmId("acme-id"), RealmId("home-id")
PARENT = Parent(realm=ACME, name="acme", level=Level.ENTERPRISE, path="earth/acme", lineage=(EARTH, ACME), council=())
CHILD = Child(realm=HOME, name="home", level=Level.HOME, council=())


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, ""),
        ({"level": Level.PERSONAL}, ""),
        ({"realm": ACME}, "not below itself"),
        ({"realm": EARTH}, "a loop: acme is below home"),
        ({"level": Level.ENTERPRISE}, "home is enterprise, acme is enterprise"),
        ({"level": Level.NATION}, "of a higher level"),
    ],
)
def test_a_realm_goes_below_one_of_a_higher_level_that_is_not_below_it(changed: dict, why: str) -> None:
    said = unfit(PARENT, msgspec.structs.replace(CHILD, **changed))
    assert (why in said) if why else not said


def test_there_are_so_many_realms_above_each_other_and_no_more() -> None:
    lineage = tuple(RealmId(f"r{number}") for number in range(DEPTH_MAX))
    assert "no more" in unfit(msgspec.structs.replace(PARENT, lineage=lineage), CHILD)
    assert not unfit(msgspec.structs.replace(PARENT, lineage=lineage[1:]), CHILD)
