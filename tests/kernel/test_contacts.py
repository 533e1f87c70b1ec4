"""Contacts: the latest card of each account, and letters only from those who can be known."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.agent.company import Device, Group

from worldos.kernel import contacts
from worldos.kernel.contacts import CARD_EVERY_S, LETTERS_PER_SENDER_MAX
from worldos.model.statements import Statement, Topic
from worldos.sim.machine import account_of, device_key, removal
from worldos.trust.cards import Letter, encode_post, write_card
from worldos.trust.feature_code import feature_code_of, read_feature_code
from worldos.trust.keylog import KeyLog
from worldos.trust.statements import sign_statement

THEIRS = KeyLog(entries=dict(account_of(3, site=5, first=20)))


@pytest.fixture
def ours(tmp_path: Path) -> Device:
    return Group(tmp_path, 1).whole().devices[0]


def card(at_s: int, *, signer: int = 20, log: KeyLog = THEIRS, name: str = "Bob") -> Statement:
    return sign_statement(device_key(signer), Topic.CARD, write_card(log, name, at_s, []))


def letter(to: str, number: int = 0, signer: int = 20) -> Statement:
    return sign_statement(
        device_key(signer), Topic.CARD, encode_post(Letter(to=to, at_s=number, sealed=number.to_bytes(4, "big")))
    )


def told(device: Device, *statements: Statement) -> None:
    for effect in device.node.statements.offer(1, statements, device.node):
        device._carry_out(effect)


def test_a_card_is_taken_from_anybody_and_found_by_its_code(ours: Device) -> None:
    told(ours, card(100))
    found = ours.node.contacts.called(read_feature_code(feature_code_of(THEIRS.account)))
    assert found is not None
    assert (found.name, found.account) == ("Bob", THEIRS.account)
    assert ours.node.contacts.account_of(device_key(21).node_id) == THEIRS.account
    assert "card" in ours.said


def test_the_later_card_counts_in_whatever_order_they_come(ours: Device) -> None:
    told(ours, card(500, name="later"), card(100, name="earlier"), card(500 + CARD_EVERY_S - 1, name="too soon"))
    assert ours.node.contacts.table[THEIRS.account].name == "later"
    told(ours, card(500 + CARD_EVERY_S, name="latest"))
    assert ours.node.contacts.table[THEIRS.account].name == "latest"
    assert len(ours.node.statements.of(Topic.CARD)) == 1, "the one before is dropped"


def test_a_stolen_phone_cannot_bring_an_old_log_back(ours: Device) -> None:
    out = KeyLog(entries=dict(THEIRS.entries))
    out.merge([removal(out, device_key(22).node_id, site=5)])
    told(ours, card(100, log=out), card(10_000, signer=22, name="the thief's"))
    assert ours.node.contacts.table[THEIRS.account].name == "Bob"
    told(ours, card(20_000, name="older log, right signer"))
    assert not ours.node.contacts.table[THEIRS.account].log.is_member(device_key(22).node_id), (
        "what was known stays known"
    )


def test_a_card_of_our_own_account_is_signed_by_a_device_of_ours(ours: Device) -> None:
    old = KeyLog(entries=dict(account_of(2)))  # a device that our log does not have
    told(ours, card(100, signer=1, log=old))
    assert not ours.node.contacts.table


def test_a_letter_is_taken_from_who_is_known_and_told_of_if_it_is_for_us(ours: Device) -> None:
    me = ours.node.keylog.account
    told(ours, letter(me))
    assert not ours.node.contacts.letters
    told(ours, card(100), letter(me), letter(THEIRS.account, 2))
    assert len(ours.node.contacts.letters) == 2, "one that came before its writer's card is taken when it comes again"
    assert ours.said.count("letter") == 1


def test_letters_of_one_sender_and_of_all_have_a_bound(ours: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    me = ours.node.keylog.account
    told(ours, card(100), *(letter(me, number) for number in range(LETTERS_PER_SENDER_MAX + 5)))
    assert len(ours.node.contacts.letters) == LETTERS_PER_SENDER_MAX
    assert len(ours.node.statements.of(Topic.CARD)) == LETTERS_PER_SENDER_MAX + 1
    monkeypatch.setattr(contacts, "LETTERS_MAX", LETTERS_PER_SENDER_MAX + 1)
    told(ours, letter(THEIRS.account, 1, signer=21), letter(me, 2, signer=21), letter(me, 3, signer=22))
    kept = [post.to for post in ours.node.contacts.letters.values()]
    assert kept.count(THEIRS.account) == 0, "one for others gave way"
    assert len(kept) == LETTERS_PER_SENDER_MAX + 1


def test_contacts_have_a_bound(ours: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contacts, "CONTACTS_MAX", 1)
    told(ours, card(100))
    other = KeyLog(entries=dict(account_of(1, site=6, first=30)))
    told(ours, card(100, signer=30, log=other))
    assert set(ours.node.contacts.table) == {THEIRS.account}
