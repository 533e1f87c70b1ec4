"""Orders about realms, to real agents of two accounts: begin, let in, join, look, leave, and every no on the way."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.accounts import Invitation, Two, join, tree
from tests.agent.agents import new_home, running, running_pair, until

from worldos.errors import BadRequest, NotAllowed, Refused, Unreachable, WorldError


@pytest.fixture(scope="module")
def two() -> Iterator[Two]:
    """The firm ``acme`` over the site ``office``; and ``den``, which is nobody's."""
    with (
        tempfile.TemporaryDirectory(prefix="wos-r-") as folder,
        running(new_home(Path(folder) / "o", "office")) as office,
        running(new_home(Path(folder) / "d", "den")) as den,
    ):
        for agent in (office, den):
            until(lambda agent=agent: tree(agent), "it has a center")
        made = office.ask("realm_create", name="acme", level="enterprise")
        assert (made["path"], made["below"], made["level"]) == ("acme", "office", "enterprise")
        yield office, den


def test_a_realm_of_another_account_joins_is_seen_and_leaves(two: Two) -> None:
    office, den = two
    invitation = Invitation(office)
    with pytest.raises(NotAllowed, match="nothing was joined"):
        join(den, invitation.ticket, yes=False)
    joined, asked = join(den, invitation.ticket)
    assert asked[0]["parent"] == {"name": "acme", "level": "enterprise", "path": "acme"}
    assert asked[0]["child"] == "den"
    assert (joined["child"], joined["path"]) == ("den", "acme")
    admitted = invitation.done()
    assert (admitted["name"], admitted["parent"], admitted["why"]) == ("den", "acme", "")
    assert invitation.setbacks == ["the other side does not want to join"]
    with pytest.raises(NotAllowed, match="used already"):
        join(den, invitation.ticket)

    until(lambda: [agent.ask("status")["kin_linked"] for agent in two] == [1, 1], "they are linked")
    until(lambda: {"acme", "acme/office", "acme/den"} <= tree(office).keys(), "acme knows both")
    until(lambda: "acme/den" in tree(den), "den knows where it is")
    seen = tree(den)
    assert (seen["acme"]["primary_name"], seen["acme"]["here"], seen["acme"]["mine"]) == ("office", True, False)
    assert seen["acme"]["rtt_us"] > 0
    assert tree(office)["acme/den"]["nodes"] == 1
    assert "acme/den" in den.ask("status")["center"]
    assert [row["node"] for row in office.ask("nodes")] == [office.ask("status")["node"]], "kin are no members"

    about = office.ask("realm_show", path="acme")
    assert {child["name"] for child in about["children"]} == {"office", "den"}
    assert about["council"] == ["office"]
    assert den.ask("realm_show", path="acme/den")["parents"] == ["acme"]

    left = den.ask("realm_leave")
    assert (left["child"], left["left"]) == ("den", "acme")
    until(lambda: list(tree(den)) == ["den"], "den is alone")
    until(lambda: "acme/den" not in tree(office), "acme has it no more")
    for agent in two:
        until(lambda agent=agent: agent.ask("status")["kin_linked"] == 0, "they are strangers again")
    with pytest.raises(BadRequest, match="not below any realm"):
        den.ask("realm_leave")


def test_a_name_that_is_taken_is_refused_and_the_ticket_stays_good(two: Two, folder: Path) -> None:
    office, den = two
    with running(new_home(folder / "x", "office")) as other:
        until(lambda: tree(other), "it has a center")
        invitation = Invitation(office, realm="acme")
        with pytest.raises(Refused, match="the name office is taken here"):
            join(other, invitation.ticket)
        assert list(tree(other)) == ["office"]
    join(den, invitation.ticket)
    assert invitation.done()["name"] == "den"
    until(lambda: "acme/den" in tree(office), "it is registered")
    assert office.ask("realm_remove", realm="den") == {"removed": "den", "parent": "acme"}
    until(lambda: "acme/den" not in tree(office), "it is put out")
    until(lambda: office.ask("status")["kin_linked"] == 0, "and its links are cut")
    den.ask("realm_leave", realm="acme")
    until(lambda: list(tree(den)) == ["den"], "den is alone")


def test_an_invitation_nobody_listens_to_any_more_is_worth_nothing(two: Two) -> None:
    office, den = two
    invitation = Invitation(office)
    invitation.end()
    until(lambda: office.ask("status")["programs"] == 1, "its conversation is over")
    with pytest.raises(Unreachable):
        join(den, invitation.ticket)


def test_policies_are_shown_and_changed_by_those_who_may(two: Two) -> None:
    office, den = two
    assert den.ask("realm_policy")["policy"] == {"lend": "own"}
    assert den.ask("realm_policy", key="lend", value="kin")["policy"] == {"lend": "kin"}
    until(lambda: tree(den)["den"]["lend"] == "kin", "it holds")
    with pytest.raises(NotAllowed, match="nobody lends more there alone") as refused:
        office.ask("realm_policy", key="lend", value="kin", realm="acme")
    assert "wos guard propose policy lend kin" in refused.value.hint
    assert office.ask("realm_policy", key="lend", value="own", realm="acme")["realm"] == "acme"
    with pytest.raises(Refused, match="lend is one of"):
        den.ask("realm_policy", key="lend", value="everybody")
    den.ask("realm_policy", key="lend", value="own")


@pytest.mark.parametrize(
    ("order", "arguments", "said", "hint"),
    [
        ("realm_create", {"name": "A b"}, "cannot be a realm's name", ""),
        ("realm_create", {"name": "x", "level": "galaxy"}, "no level 'galaxy'", "planet"),
        ("realm_create", {"name": "x", "level": "home"}, "of a higher level", ""),
        ("realm_show", {"path": "nowhere"}, "no realm is called", "wos realm tree"),
        ("realm_invite", {"realm": "office"}, "realm of devices", "wos realm create"),
        ("realm_join", {"ticket": "wos-abc"}, "for a machine", "wos join"),
        ("realm_join", {"ticket": "hello"}, "not a ticket", "wos realm invite"),
        ("realm_leave", {"realm": "office"}, "not below office", ""),
        ("realm_remove", {"realm": "acme"}, "below no realm that is known here", "wos realm tree"),
    ],
)
def test_what_cannot_be_is_refused_with_what_to_do(two: Two, order: str, arguments: dict, said: str, hint: str) -> None:
    with pytest.raises(WorldError) as caught:
        two[0].ask(order, **arguments)
    assert said in str(caught.value)
    assert hint in caught.value.hint


def test_a_realm_is_found_by_path_name_and_id(two: Two) -> None:
    office, _ = two
    realm = office.ask("realm_show", path="acme")["realm"]
    for text in ("acme", "/acme/", realm, realm[:8]):
        assert office.ask("realm_show", path=text)["realm"] == realm


def test_a_machine_that_nobody_can_reach_invites_nobody(folder: Path) -> None:
    with (
        running(new_home(folder / "n"), listen="") as agent,
        pytest.raises(BadRequest, match="no other machine can reach"),
    ):
        agent.ask("realm_invite")


def test_an_account_that_never_had_a_council_gets_one(folder: Path) -> None:
    with running_pair(folder) as pair:  # both by the recovery words: nobody was ever alone
        until(lambda: all("standing in" in agent.ask("status")["center"] for agent in pair), "somebody stands in")
        begun = pair[1].ask("realm_found")
        until(lambda: "standing in" not in pair[0].ask("status")["center"], "it hears of the council")
        assert pair[0].ask("status")["center"].startswith("attic for ")
        assert begun["epoch"] >= 1
        for agent in pair:
            with pytest.raises(BadRequest, match="has a council: attic leads it"):
                agent.ask("realm_found")
