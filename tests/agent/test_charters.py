"""Charters as a person changes them, on nodes that are the primaries of their realms."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from tests.agent.solo import Solo

from worldos.agent.charters import Charters, next_level
from worldos.errors import NotAllowed, Refused
from worldos.model.ids import NodeId
from worldos.model.parentage import Child
from worldos.model.realm import Level, RealmId


def put_below(solo: Solo, name: str, level: Level = Level.ENTERPRISE) -> RealmId:
    """Begin a realm over the topmost one of a node, as ``wos realm create`` does."""
    charters = Charters(solo)
    top = charters.own_top()
    realm = solo.found(name, level)

    async def story() -> None:
        await charters.admit_child(realm, charters.child_record(top), solo.node.node)
        await charters.add_parent(top, charters.parent_record(realm))

    asyncio.run(story())
    solo.pass_time(6)  # a registration is renewed every 5 s, and brings the way from the top
    return realm


def stranger(solo: Solo, name: str = "den") -> Child:
    record = Charters(solo).child_record(solo.node.realms.site)
    return msgspec.structs.replace(record, realm=RealmId("den-id"), name=name)


def test_a_realm_over_the_site_is_its_parent_and_its_superior() -> None:
    solo = Solo()
    acme = put_below(solo, "acme")
    centers = solo.node.realms.centers.known
    assert centers[solo.node.realms.site].path == "acme/home"
    assert solo.node.realms.reigns[acme].children.children.keys() == {solo.node.realms.site}
    assert Charters(solo).own_top() == acme
    earth = put_below(solo, "earth", Level.PLANET)
    assert Charters(solo).own_top() == earth
    assert centers[solo.node.realms.site].path == "earth/acme/home"


def test_what_a_charter_refuses_is_raised_with_its_reason() -> None:
    solo = Solo()
    acme = put_below(solo, "acme")
    charters = Charters(solo)
    with pytest.raises(Refused, match="taken"):
        asyncio.run(charters.admit_child(acme, stranger(solo, "home"), solo.node.node))
    with pytest.raises(Refused, match="lend is one of"):
        asyncio.run(charters.set_policy(acme, "lend", "everybody"))
    asyncio.run(charters.admit_child(acme, stranger(solo), solo.node.node))
    asyncio.run(charters.admit_child(acme, stranger(solo), solo.node.node))  # again: no error
    asyncio.run(charters.let_child_go(acme, RealmId("den-id")))
    with pytest.raises(Refused, match="unknown child"):
        asyncio.run(charters.let_child_go(acme, RealmId("den-id")))


def test_a_site_that_leaves_its_parent_is_at_the_top_again() -> None:
    solo = Solo()
    acme = put_below(solo, "acme")
    site = solo.node.realms.site
    asyncio.run(Charters(solo).leave_parent(site, acme))
    assert solo.node.realms.centers.known[site].path == "home"
    assert Charters(solo).own_top() == site


def test_nothing_goes_below_a_realm_of_devices_or_one_that_this_node_does_not_know() -> None:
    solo = Solo()
    charters = Charters(solo)
    with pytest.raises(NotAllowed, match="realm of devices") as caught:
        charters.parent_record(solo.node.realms.site)
    assert "wos realm create" in caught.value.hint
    with pytest.raises(NotAllowed, match="does not know"):
        charters.parent_record(RealmId("nowhere"))
    acme = put_below(solo, "acme")
    del solo.node.realms.seats[acme]
    with pytest.raises(NotAllowed, match="no seat") as caught:
        charters.parent_record(acme)
    assert "home" in caught.value.hint


def test_the_level_above_is_the_next_and_planet_is_the_last() -> None:
    assert next_level(Level.HOME) is Level.ENTERPRISE
    with pytest.raises(NotAllowed):
        next_level(Level.PLANET)


def test_nobody_takes_the_place_of_a_realm_that_is_admitted_already() -> None:
    solo = Solo()
    acme = put_below(solo, "acme")
    charters = Charters(solo)
    asyncio.run(charters.admit_child(acme, stranger(solo), solo.node.node))
    with pytest.raises(NotAllowed, match="does not speak for it") as caught:
        asyncio.run(charters.admit_child(acme, stranger(solo, "other"), NodeId("z" * 52)))
    assert "wos realm remove den" in caught.value.hint
