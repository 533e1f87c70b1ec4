"""The post of one machine: a card that keeps up with the account, letters that each device opens, and text to carry."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.agent.company import Device, Group

from worldos.agent.post_desk import letter_text, read_letter_text
from worldos.errors import BadRequest, BadSignature
from worldos.kernel.contacts import CARD_EVERY_S
from worldos.kernel.events import StatementsOffered
from worldos.model.statements import Topic
from worldos.trust.cards import read_card_text


@pytest.fixture
def group(tmp_path: Path) -> Group:
    return Group(tmp_path, 2).whole()


def offered(device: Device, text: str) -> None:
    device.feed(StatementsOffered(now_ns=device.group.now_ns, statements=read_letter_text(text)))
    device.group.deliver()


def test_a_card_is_made_once_and_again_when_the_account_changes(group: Group) -> None:
    desk = group.devices[0].company.post
    card = desk.card("Ada")
    assert desk.card() == card
    assert desk.contacts()[0].name == "Ada"
    assert desk.contacts()[0].hybrid == 2
    before = desk.contacts()[0].at_s
    group.revoke(group.devices[1], at=group.devices[0])
    assert read_card_text(desk.card()) != read_card_text(card)
    (row,) = desk.contacts()
    assert (row.devices, row.hybrid) == (1, 1)
    assert row.at_s >= before + CARD_EVERY_S, "cards of one account are at least so far apart"


def test_without_a_card_nobody_is_told_of_the_account(group: Group) -> None:
    group.step(3)
    assert all(not device.node.statements.of(Topic.CARD) for device in group.devices)


def test_a_letter_to_oneself_is_opened_by_every_device(group: Group) -> None:
    one, other = group.devices
    code = one.company.post.code()
    one.company.post.card("Ada")
    sent, text = one.company.post.send(code, "note", "remember", b"milk", "today")
    for device in group.devices:
        (row,) = device.company.post.inbox()
        assert (row.id, row.kind, row.title, row.value, row.verified) == (sent, "note", "remember", b"milk", True)
    assert other.company.post.code() == code
    assert len(read_letter_text(text)) == 2, "the card goes before the letter"


def test_a_device_that_came_later_cannot_open_an_older_letter_and_says_so(group: Group) -> None:
    one, other = group.devices
    one.company.post.card("Ada")
    hybrid = other.node.clones.lives.pop(other.id)
    one.company.post.send(one.company.post.code(), "note", "old", b"", "")
    other.node.clones.lives[other.id] = hybrid
    other.company.keys.hybrid = type(other.company.keys.hybrid)(b"\7" * 32)
    (row,) = other.company.post.inbox()
    assert (row.kind, row.title, row.verified) == ("sealed", "", False)


def test_nobody_is_found_whose_card_is_not_here(group: Group) -> None:
    desk = group.devices[0].company.post
    with pytest.raises(BadRequest, match="card of this person is not here") as refused:
        desk.find(desk.code())
    assert "wos account card" in refused.value.hint
    for name in ("Ada", "", "x" * 52):
        with pytest.raises(BadRequest, match="no contact is called"):
            desk.find(name)


def test_text_that_is_no_letter_is_refused(group: Group) -> None:
    desk = group.devices[0].company.post
    card = read_card_text(desk.card("Ada"))
    _, text = desk.send(desk.code(), "note", "t", b"", "")
    for wrong in (
        "",
        "wos-letter-",
        "wos-letter-!",
        text[:-20],
        "wos-letter-" + "a" * 100_000,
        letter_text((card,)),
        letter_text(()),
    ):
        with pytest.raises(BadRequest):
            read_letter_text(wrong)
    _, letter = read_letter_text(text)
    forged = type(letter)(topic=letter.topic, signer=letter.signer, body=letter.body, signature=bytes(64))
    with pytest.raises(BadSignature):
        read_letter_text(letter_text((forged,)))
    offered(group.devices[1], text)
    assert len(group.devices[1].company.post.inbox()) == 1
