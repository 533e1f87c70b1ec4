"""Cards: what others need of an account in order to seal to it: its key log, and what its devices said of themselves.

A card is a statement (topic ``card``) that proves itself: its key log begins with the genesis whose hash is the account,
its signer is an active device in that log, and each hybrid key comes in the device's own words (``kernel/clones.py`` has
that statement). So a feature code, which is the beginning of the account's id, is enough to see whether a card is the
right one, from wherever it comes. Of two cards the later one counts, unless what both logs say together puts its signer
out: a stolen phone cannot bring an old log back. ``at_s`` is the signer's clock, compared with other cards of the same
account and with nothing else.

As text a card is ``wos-card-`` and base32, for a letter or a file. Bound: one statement (16 KiB).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Annotated

import msgspec

from worldos.errors import BadRequest, BadSignature, OverQuota, PeerBroke
from worldos.model.exact import read_exactly
from worldos.model.ids import AccountId
from worldos.model.limits import NAME_CHARS_MAX
from worldos.model.statements import STATEMENT_BYTES_MAX, Statement, Topic
from worldos.trust.entries import check_name
from worldos.trust.keylog import KeyLog, SignedEntry
from worldos.trust.statements import check_statement

TEXT_PREFIX = "wos-card-"
CARD_BYTES_MAX = STATEMENT_BYTES_MAX - 64
_LOG_MAX = 256
_DEVICES_MAX = 64
_TEXT_CHARS_MAX = 40_000

_Bytes = Annotated[bytes, msgspec.Meta(max_length=CARD_BYTES_MAX)]


class Card(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="card"):
    """The body of a card: whose, what people call it, when it was written, and what proves it."""

    account: Annotated[str, msgspec.Meta(min_length=52, max_length=52)]
    name: Annotated[str, msgspec.Meta(max_length=NAME_CHARS_MAX)]
    at_s: Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]
    log: Annotated[tuple[tuple[_Bytes, _Bytes], ...], msgspec.Meta(max_length=_LOG_MAX)]
    devices: Annotated[tuple[Statement, ...], msgspec.Meta(max_length=_DEVICES_MAX)] = ()


class Letter(msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag="letter"):
    """The body of a letter: for whom, and the sealed rest (``store/letters.py``)."""

    to: Annotated[str, msgspec.Meta(min_length=52, max_length=52)]
    at_s: Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]
    sealed: _Bytes


class ReadCard(msgspec.Struct, frozen=True, kw_only=True):
    """A card whose every proof was checked, with the key log that it holds."""

    card: Card
    log: KeyLog


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Card | Letter).decode
_decode_statement = msgspec.msgpack.Decoder(Statement).decode


def encode_post(post: Card | Letter) -> bytes:
    """Write the body of a card or a letter."""
    return _encode(post)


def read_post(body: bytes) -> Card | Letter:
    """Read the body of a card or a letter, in the one right form; raise PeerBroke. What a card says is still to be checked."""
    post: Card | Letter = read_exactly(_decode, _encode, body, "a card or a letter")
    return post


def write_card(
    log: KeyLog, name: str, at_s: int, devices: Iterable[Statement], bytes_max: int = CARD_BYTES_MAX
) -> bytes:
    """Write a card's body: the whole key log, and the words of as many devices as fit; OverQuota if not even the log does."""
    pairs = tuple((signed.body, signed.signature) for signed in log.entries.values())
    card = Card(account=log.account, name=name, at_s=at_s, log=pairs)
    if len(pairs) > _LOG_MAX or len(_encode(card)) > bytes_max:
        hint = "make it shorter: wos account compact"
        raise OverQuota("the key log of this account is too long for a card", hint=hint)
    for statement in list(devices)[:_DEVICES_MAX]:
        longer = msgspec.structs.replace(card, devices=(*card.devices, statement))
        if len(_encode(longer)) <= bytes_max:
            card = longer
    return _encode(card)


def check_card(statement: Statement) -> ReadCard:
    """Return a card whose log, signer and devices are right; raise PeerBroke or BadSignature. The statement itself too."""
    check_statement(statement)
    card = read_post(statement.body)
    if statement.topic is not Topic.CARD or not isinstance(card, Card):
        raise PeerBroke("this is no card")
    check_name(card.name)
    log = KeyLog()
    log.merge(SignedEntry(body=body, signature=signature) for body, signature in card.log)
    if len(log.entries) != len(card.log) or not card.log or log.account != card.account:
        raise PeerBroke("the key log of a card is not whole, or another account's")
    if not log.is_member(statement.signer):
        raise BadSignature("a card is signed by no device of its account")
    for device in card.devices:
        if device.topic is not Topic.DEVICE or not log.is_member(device.signer):
            raise PeerBroke("a card tells of a device that is not of its account")
        check_statement(device)
    return ReadCard(card=card, log=log)


def together(one: KeyLog, other: KeyLog) -> KeyLog:
    """Return what two key logs of an account say together."""
    log = KeyLog(entries=dict(one.entries))
    log.merge(other.entries.values())
    return log


def card_text(statement: Statement) -> str:
    """Write a card as text that can be sent."""
    return TEXT_PREFIX + base64.b32encode(_encode(statement)).decode("ascii").rstrip("=").lower()


def read_card_text(text: str) -> Statement:
    """Read a card from text; raise BadRequest that says what is wrong. Check it with ``check_card``."""
    code = "".join(text[: 2 * _TEXT_CHARS_MAX].split()).lower()
    if not code.startswith(TEXT_PREFIX) or len(code) > _TEXT_CHARS_MAX:
        raise BadRequest(f"this is no card: those begin with {TEXT_PREFIX}", hint="it is made by: wos account card")
    body = code[len(TEXT_PREFIX) :].upper()
    try:
        return _decode_statement(base64.b32decode(body + "=" * (-len(body) % 8)))
    except (ValueError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as cause:
        raise BadRequest("this card is damaged or cut off", hint="copy the whole of it, or ask for it again") from cause


def account_of_card(statement: Statement) -> AccountId:
    """Return whose card a checked statement is."""
    card = read_post(statement.body)
    assert isinstance(card, Card)
    return AccountId(card.account)
