"""Petitions: any member of a site may change its charter, others may not, and each asker is answered."""

from __future__ import annotations

import pytest
from tests.kernel.realms.village import Village

from worldos.kernel.charter import ChildLeft, PolicySet, encode_command
from worldos.kernel.events import CharterAsked
from worldos.kernel.realms import petitioning
from worldos.model.ids import ClientId
from worldos.model.local import Answer, Failure
from worldos.model.realm import ProposeAnswer, ProposeAsk, RealmId

ACME = RealmId("acme")


@pytest.fixture(scope="module")
def village() -> Village:
    village = Village(home=2, office=1)
    village.run(4)
    village.found("home0", "acme")
    assert village.join("home0", "home0", ACME) == ""
    assert village.join("home0", "office0", ACME) == ""
    village.run(4)
    return village


def asked(village: Village, peer: str, realm: RealmId, command: bytes) -> str:
    node = village.nodes["home0"]
    ask = ProposeAsk(realm=realm, number=9, command=command)
    effects = petitioning.asked(node.realms, village.now_ns, village.nodes[peer].node, ask, node)
    answers = [e.message.why for e in effects if hasattr(e, "message") and isinstance(e.message, ProposeAnswer)]
    return answers[0] if answers else ""


def test_a_member_may_change_the_charter_of_its_site_through_the_primary(village: Village) -> None:
    assert village.propose("home1", village.site("home1"), PolicySet(key="total.credit", value="7")) == ""


def test_who_has_no_seat_may_only_take_its_own_realm_out(village: Village) -> None:
    policy = encode_command(PolicySet(key="lend", value="kin"))
    assert "only the council" in asked(village, "office0", ACME, policy)
    other = encode_command(ChildLeft(realm=village.site("home0")))
    assert "only the council" in asked(village, "office0", ACME, other)
    assert asked(village, "office0", ACME, encode_command(ChildLeft(realm=village.site("office0")))) == ""


def test_garbage_is_refused_with_a_sentence(village: Village) -> None:
    assert "not one of ours" in asked(village, "office0", ACME, b"\xc1garbage")


def test_what_is_asked_of_an_island_waits_for_its_council() -> None:
    """Who stands in for a council has a seat there, maybe, and is not its primary: founded a moment ago, or cut off."""
    home = Village(home=3)
    home.run(25)
    home.cut(["home0"], ["home1", "home2"])
    home.run(4)
    assert home.believed("home0").epoch.provisional
    command = encode_command(PolicySet(key="total.credit", value="7"))
    asked = CharterAsked(now_ns=0, client=ClientId("me"), request=77, realm=home.site("home0"), command=command)
    home.feed("home0", asked)
    home.run(1)
    assert not [message for _, message in home.told if isinstance(message, Answer | Failure)]
    home.heal()
    home.run(4)
    assert [type(message) for _, message in home.told if isinstance(message, Answer | Failure)] == [Answer]


def test_who_asks_where_no_primary_can_be_had_is_told_in_time(village: Village) -> None:
    assert "no answer in time" in village.propose("office0", RealmId("nowhere"), PolicySet(key="a", value="b"))
