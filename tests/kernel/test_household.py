"""The household: who is there and how each is found, as one node knows it."""

from __future__ import annotations

from tests.kernel.realms.village import Village

from worldos.kernel.house import House
from worldos.model.ids import NodeId


def test_the_members_that_are_linked_are_known_by_their_contacts() -> None:
    village = Village(home=3, office=1)
    village.run(1)
    node = village.nodes["home0"]
    assert sorted(village.names[n] for n in node.alive()) == ["home0", "home1", "home2"]
    contact = node.contact_of(village.nodes["home1"].node)
    assert contact is not None
    assert (contact.name, contact.addresses, contact.site) == ("home1", ("home1:1",), village.site("home1"))
    assert node.contact_of(village.nodes["office0"].node) is None
    assert node.contact_of(NodeId("nobody")) is None


def test_who_is_cut_off_is_no_more_linked_and_has_no_business() -> None:
    village = Village(home=2)
    village.run(1)
    node, other = village.nodes["home0"], village.nodes["home1"].node
    village.use("home0", cores=2)
    village.use("home0", cores=2)
    assert node.has_business(other)
    village.cut(["home0"], ["home1"])
    village.run(0.1)
    assert not node.is_linked(other)
    assert node.is_linked(node.node)
    assert node.members() == []


def test_links_are_wanted_with_members_and_with_nobody_else() -> None:
    village = Village(home=2, office=1)
    village.run(1)
    node = village.nodes["home0"]
    assert node.may_link(village.nodes["home1"].node)
    assert not node.may_link(village.nodes["office0"].node)


def test_a_node_is_a_house_to_its_realms() -> None:
    village = Village(home=1)
    house: House = village.nodes["home0"]
    assert house.site_offers().keys() == {village.nodes["home0"].node}
