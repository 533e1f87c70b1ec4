"""Cards prove themselves, by the account's id alone; and no lie in one goes through."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import BadRequest, BadSignature, OverQuota, PeerBroke
from worldos.kernel.clones import tell_device
from worldos.model.statements import Statement, Topic
from worldos.sim.machine import account_of, device_key, removal
from worldos.trust.cards import (
    Card,
    Letter,
    account_of_card,
    card_text,
    check_card,
    encode_post,
    read_card_text,
    read_post,
    together,
    write_card,
)
from worldos.trust.hybrid import HybridKey
from worldos.trust.keylog import KeyLog
from worldos.trust.statements import sign_statement

LOG = KeyLog(entries=dict(account_of(3)))
PUBLIC = HybridKey(b"\1" * 32).public


def device(number: int) -> Statement:
    return sign_statement(device_key(number), Topic.DEVICE, tell_device(1, bytes(16), PUBLIC))


def card(signer: int = 0, *, log: KeyLog = LOG, devices: tuple[int, ...] = (0, 1), **changed: object) -> Statement:
    body = write_card(log, "Ada", 5, [device(number) for number in devices])
    if changed:
        body = encode_post(msgspec.structs.replace(read_post(body), **changed))
    return sign_statement(device_key(signer), Topic.CARD, body)


def changed_devices(*devices: Statement) -> Statement:
    changed = msgspec.structs.replace(read_post(card().body), devices=devices)
    return sign_statement(device_key(0), Topic.CARD, encode_post(changed))


def test_a_card_holds_the_account_its_log_and_its_devices() -> None:
    read = check_card(card())
    assert account_of_card(card()) == read.log.account == LOG.account
    assert [said.signer for said in read.card.devices] == [device_key(0).node_id, device_key(1).node_id]
    assert (read.card.name, read.card.at_s) == ("Ada", 5)


def test_a_card_goes_through_text_and_its_slips_are_seen() -> None:
    text = card_text(card())
    assert read_card_text(f"  {text[:100]}\n{text[100:]}".upper()) == card()
    for wrong in ("", "hello", "wos-card-", text[:-9], "wos-card-" + "a" * 50_000, text.replace("wos-card-", "wos-")):
        with pytest.raises(BadRequest):
            check_card(read_card_text(wrong))
    changed = text[:200] + ("a" if text[200] != "a" else "b") + text[201:]
    with pytest.raises((BadRequest, BadSignature, PeerBroke)):
        check_card(read_card_text(changed))


def test_no_lie_goes_through() -> None:
    other = KeyLog(entries=dict(account_of(2, site=7, first=7)))
    pairs = tuple((signed.body, signed.signature) for signed in other.entries.values())
    out = KeyLog(entries=dict(LOG.entries))
    out.merge([removal(out, device_key(0).node_id)])
    for lie in (
        card(9),  # a stranger signs
        card(7),
        card(account=other.account),
        card(log=out),  # who signs was put out by that very log
        card(0, devices=(0, 9)),  # a device of somebody else
        sign_statement(device_key(0), Topic.DEVICE, card().body),
        sign_statement(device_key(0), Topic.CARD, encode_post(Letter(to=LOG.account, at_s=1, sealed=b""))),
    ):
        with pytest.raises((PeerBroke, BadSignature)):
            check_card(lie)
    mixed = msgspec.structs.replace(read_post(card().body), log=pairs)
    with pytest.raises((PeerBroke, BadSignature)):
        check_card(sign_statement(device_key(0), Topic.CARD, encode_post(mixed)))
    forged = msgspec.structs.replace(device(1), signature=bytes(64))
    with pytest.raises(BadSignature):
        check_card(changed_devices(forged))


def test_what_two_cards_say_together_puts_a_thief_out() -> None:
    out = KeyLog(entries=dict(LOG.entries))
    out.merge([removal(out, device_key(2).node_id)])
    thiefs, owners = check_card(card(2)), check_card(card(0, log=out))
    assert not together(thiefs.log, owners.log).is_member(device_key(2).node_id)


def test_a_card_has_room_for_the_log_first_and_then_for_devices() -> None:
    body = write_card(LOG, "Ada", 5, [device(n % 3) for n in range(64)])
    read = read_post(body)
    assert isinstance(read, Card)
    assert 3 < len(read.devices) < 64
    with pytest.raises(OverQuota, match="too long for a card"):
        write_card(LOG, "Ada", 5, [], bytes_max=1000)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(PeerBroke):
        read_post(data)
    assert encode_post(read_post(card().body)) == card().body
    with pytest.raises(PeerBroke):
        read_post(card().body + b"\0")
