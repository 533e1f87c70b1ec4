"""What a center says of itself: its charter, and its way from the top as its superior has it."""

from __future__ import annotations

import msgspec

from worldos.kernel.charter import Charter
from worldos.kernel.reign import below, center_by
from worldos.model.ids import NodeId
from worldos.model.realm import Center, Contact, Epoch, Level, ParentRecord, RealmId

BERLIN, ACME, EARTH = RealmId("b"), RealmId("a"), RealmId("e")
ME = Contact(node=NodeId("n"), name="n", site=BERLIN, root_cert=b"", addresses=())


def charter(**more: object) -> Charter:
    return Charter(realm=BERLIN, name="berlin", level=Level.HOME, seats=(ME,), **more)


def parent() -> dict[RealmId, ParentRecord]:
    return {ACME: ParentRecord(realm=ACME, name="acme", level=Level.GROUP, path="earth/acme", contacts=(ME,))}


def superior() -> Center:
    return Center(
        realm=ACME,
        name="acme",
        level=Level.GROUP,
        epoch=Epoch(2),
        primary=ME,
        council=(ME,),
        path="earth/acme",
        lineage=(EARTH, ACME),
    )


def test_without_parents_a_realm_is_its_own_top() -> None:
    center = center_by(charter(), ME, Epoch(1), None)
    assert (center.path, center.lineage) == ("berlin", (BERLIN,))


def test_below_a_superior_it_has_a_way_from_the_top_and_keeps_it_when_that_is_silent() -> None:
    center = below(center_by(charter(parents=parent()), ME, Epoch(1), None), superior())
    assert (center.path, center.lineage) == ("earth/acme/berlin", (EARTH, ACME, BERLIN))
    again = below(center_by(charter(parents=parent()), ME, Epoch(3), center), None)
    assert again.path == "earth/acme/berlin"


def test_who_has_left_all_parents_has_no_way_any_more() -> None:
    center = below(center_by(charter(parents=parent()), ME, Epoch(1), None), superior())
    assert center_by(charter(), ME, Epoch(1), center).path == "berlin"


def test_a_new_name_stands_at_the_end_of_the_way() -> None:
    center = below(center_by(charter(parents=parent()), ME, Epoch(1), None), superior())
    renamed = charter(parents=parent())
    renamed.name = "leipzig"
    assert center_by(renamed, ME, Epoch(1), center).path == "earth/acme/leipzig"


def test_a_superior_that_is_below_this_realm_changes_nothing() -> None:
    loop = msgspec.structs.replace(superior(), lineage=(BERLIN, ACME))
    center = center_by(charter(parents=parent()), ME, Epoch(1), None)
    assert below(center, loop) == center


def test_where_a_parent_was_found_last_is_told_on_and_outlives_those_of_the_charter() -> None:
    far = [msgspec.structs.replace(ME, node=NodeId(name)) for name in "uvwxyz"]
    acme = msgspec.structs.replace(superior(), primary=far[1], council=tuple(far[:2]))
    center = below(center_by(charter(parents=parent()), ME, Epoch(1), None), acme)
    assert [contact.node for contact in center.parents[0].contacts] == ["v", "u", "n"]
    next_one = center_by(charter(parents=parent()), far[5], Epoch(2), center)
    assert next_one.parents == center.parents, "whoever leads next knows it"
    many = below(next_one, msgspec.structs.replace(acme, primary=far[5], council=tuple(far)))
    assert [contact.node for contact in many.parents[0].contacts] == ["z", "u", "v", "w"]
    assert center_by(charter(), ME, Epoch(3), center).parents == (), "a parent that was left is none"
