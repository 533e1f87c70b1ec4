"""Petitions are answered once, to who asked, and nobody waits for ever."""

from __future__ import annotations

from worldos.kernel.effects import Send, Tell
from worldos.kernel.petitions import Petition, Petitions
from worldos.model import limits
from worldos.model.ids import ClientId, NodeId
from worldos.model.local import Answer, Failure
from worldos.model.realm import ProposeAnswer, RealmId

REALM = RealmId("r")


def petition(**more: object) -> Petition:
    return Petition(realm=REALM, command=b"c", request=4, until_ns=limits.PETITION_NS, **more)


def test_a_person_is_told_done_or_why_not() -> None:
    table = Petitions()
    for why, kind in (("", Answer), ("the name is taken", Failure)):
        number = table.begin(petition(client=ClientId("me")))
        (told,) = table.end(number, why)
        assert isinstance(told, Tell)
        assert isinstance(told.message, kind)
        assert table.end(number, why) == []


def test_another_node_is_answered_by_its_own_number() -> None:
    table = Petitions()
    (sent,) = table.end(table.begin(petition(peer=NodeId("p"))), "no")
    assert isinstance(sent, Send)
    assert sent.message == ProposeAnswer(realm=REALM, number=4, why="no")


def test_what_no_primary_has_is_tried_again_and_at_last_given_up() -> None:
    table = Petitions()
    number = table.begin(petition(client=ClientId("me")))
    table.wait(0, number)
    assert table.due(limits.PETITION_AGAIN_NS - 1) == []
    assert table.due(limits.PETITION_AGAIN_NS) == [number]
    table.sent(number, NodeId("p"))
    assert table.due(limits.PETITION_NS) == []
    assert table.is_with(number, NodeId("p"))
    assert not table.is_with(number, NodeId("q"))
    (told,) = table.tick(limits.PETITION_NS)
    assert "no answer in time" in told.message.message
    assert table.due_ns == limits.NEVER_NS


def test_there_is_a_bound_and_a_program_that_ended_waits_for_nothing() -> None:
    table = Petitions()
    for _ in range(limits.PETITIONS_MAX):
        assert table.begin(petition(client=ClientId("me")))
    assert table.begin(petition(client=ClientId("me"))) == 0
    table.end_client(ClientId("me"))
    assert table.table == {}
