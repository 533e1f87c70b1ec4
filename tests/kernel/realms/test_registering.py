"""Registration: who is no child, speaks for nobody, or comes from an older epoch is refused and told why."""

from __future__ import annotations

import msgspec
import pytest
from tests.kernel.realms.village import Village

from worldos.kernel.realms import registering
from worldos.model.realm import Epoch, Level, RealmId, Register, Registered, RegisterRefused
from worldos.model.summary import Summary

ACME = RealmId("acme")


@pytest.fixture(scope="module")
def village() -> Village:
    village = Village(home=1, office=2, other=1)
    village.run(4)
    village.found("home0", "acme")
    assert village.join("home0", "home0", ACME) == ""
    assert village.join("home0", "office0", ACME) == ""
    village.run(5)
    return village


def form(village: Village, **other: object) -> Register:
    register = Register(
        parent=ACME,
        child=village.site("office0"),
        name="office",
        level=Level.PERSONAL,
        epoch=Epoch(1),
        council=(village.contact("office0"),),
        fitness=5,
        summary=Summary(),
    )
    return msgspec.structs.replace(register, **other)


def answer(village: Village, peer: str, register: Register) -> Registered | RegisterRefused:
    node = village.nodes["home0"]
    effects = registering.register(node.realms, village.now_ns, village.nodes[peer].node, register, node)
    return next(e.message for e in effects if isinstance(e.message, Registered | RegisterRefused))


def test_a_child_is_registered_and_hears_who_its_superior_is(village: Village) -> None:
    said = answer(village, "office0", form(village))
    assert isinstance(said, Registered)
    assert said.center.primary.name == "home0"


def test_a_realm_that_is_no_child_is_refused(village: Village) -> None:
    said = answer(village, "office0", form(village, child=RealmId("stranger")))
    assert isinstance(said, RegisterRefused)
    assert "no child" in said.why


def test_who_is_not_of_the_childs_council_speaks_for_nobody(village: Village) -> None:
    said = answer(village, "other0", form(village, council=(village.contact("other0"),)))
    assert isinstance(said, RegisterRefused)
    assert "does not speak" in said.why


def test_a_stale_epoch_is_refused_with_the_newer_one(village: Village) -> None:
    newest = village.believed("office0").epoch
    said = answer(village, "office0", form(village, epoch=Epoch(newest.number + 3)))
    assert isinstance(said, Registered)
    said = answer(village, "office0", form(village, epoch=newest))
    assert isinstance(said, RegisterRefused)
    assert said.seen == Epoch(newest.number + 3)


def test_the_council_of_a_child_outbids_an_epoch_that_its_superior_has_seen(village: Village) -> None:
    village.run(12)
    assert village.believed("office0").epoch.number > 4
    assert not village.believed("office0").epoch.provisional


def test_a_node_that_is_no_center_says_so(village: Village) -> None:
    node = village.nodes["office1"]
    register = form(village)
    (refused,) = registering.register(node.realms, village.now_ns, village.nodes["home0"].node, register, node)
    assert "not its center" in refused.message.why


def test_who_stands_in_for_a_realm_hears_from_its_council_of_a_child_that_comes(village: Village) -> None:
    """Found by the simulator: two islands of one realm, whose heirs knew nothing of each other's, never became one tree."""
    node, child = village.nodes["home0"], village.nodes["office0"].node
    table = node.realms
    reign, known = table.reigns.pop(ACME), table.centers.known.get(ACME)
    heir = village.contact("other0")
    table.centers.known[ACME] = msgspec.structs.replace(reign.center, primary=heir, epoch=Epoch(9, provisional=True))
    try:
        told, refused = registering.register(table, village.now_ns, child, form(village), node)
        nobody = registering.register(table, village.now_ns, village.nodes["other0"].node, form(village), node)
    finally:
        table.reigns[ACME] = reign
        if known is not None:
            table.centers.known[ACME] = known
        else:
            del table.centers.known[ACME]
    assert (told.node, told.message.guest.node, told.message.epoch.number) == (heir.node, child, 9)
    assert isinstance(refused.message, RegisterRefused)
    assert [type(effect.message) for effect in nobody] == [RegisterRefused], "it does not speak for that child"
