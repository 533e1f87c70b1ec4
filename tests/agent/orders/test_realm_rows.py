"""What a node knows of the realms around it, as rows."""

from __future__ import annotations

import asyncio

from tests.agent.solo import Solo
from tests.agent.test_charters import put_below

from worldos.agent.charters import Charters
from worldos.agent.orders.realm_rows import detail, rows
from worldos.model.realm import Level


def by_name(solo: Solo) -> dict[str, dict]:
    return {row["name"]: row for row in rows(solo.node, solo.now_ns)}


def test_a_site_alone_is_one_row() -> None:
    (row,) = rows(Solo().node, 0)
    assert (row["name"], row["path"], row["parent"], row["level"]) == ("home", "home", "", "personal")
    assert (row["mine"], row["here"], row["leads"], row["provisional"]) == (True, True, True, False)
    assert (row["primary_name"], row["nodes"], row["cpu_free"]) == ("home", 1, 4000)


def test_the_way_to_the_top_has_a_row_each_with_what_is_free() -> None:
    solo = Solo()
    acme = put_below(solo, "acme")
    put_below(solo, "earth", Level.PLANET)
    found = by_name(solo)
    assert [row["path"] for row in found.values()] == ["earth", "earth/acme", "earth/acme/home"]
    assert found["home"]["parent"] == acme
    assert found["acme"]["parent"] == found["earth"]["realm"]
    assert {row["nodes"] for row in found.values()} == {1}
    assert {row["level"] for row in found.values()} == {"planet", "enterprise", "personal"}
    assert all(row["heard_s"] is not None for row in found.values())


def test_what_was_left_is_shown_no_more() -> None:
    solo = Solo()
    acme = put_below(solo, "acme")
    del solo.node.realms.seats[acme]
    del solo.node.realms.reigns[acme]
    asyncio.run(Charters(solo).leave_parent(solo.node.realms.site, acme))
    assert acme in solo.node.realms.centers.known
    assert list(by_name(solo)) == ["home"]


def test_realms_above_that_are_not_known_have_at_least_a_name() -> None:
    solo = Solo()
    put_below(solo, "acme")
    put_below(solo, "earth", Level.PLANET)
    realms = solo.node.realms
    for realm in [realm for realm in realms.centers.known if realm != realms.site]:
        realms.centers.known.pop(realm)
        realms.reigns.pop(realm, None)
        realms.seats.pop(realm, None)
    found = by_name(solo)
    assert list(found) == ["earth", "acme", "home"]
    assert (found["acme"]["primary"], found["acme"]["epoch"]) == ("", 0)
    assert found["earth"]["here"]


def test_one_realm_in_detail_has_its_council_children_and_policy() -> None:
    solo = Solo()
    acme = put_below(solo, "acme")
    asyncio.run(Charters(solo).set_policy(acme, "lend", "kin"))
    found = by_name(solo)
    about = detail(solo.node, solo.now_ns, found["acme"])
    assert about["council"] == ["home"]
    assert [child["name"] for child in about["children"]] == ["home"]
    assert about["policy"] == {"lend": "kin"}
    assert detail(solo.node, solo.now_ns, found["home"])["parents"] == ["acme"]
