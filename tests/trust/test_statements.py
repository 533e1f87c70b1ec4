"""A statement is its signer's, for one topic, or nothing."""

from __future__ import annotations

import msgspec
import pytest

from worldos.errors import BadSignature, PeerBroke
from worldos.model.statements import STATEMENT_BYTES_MAX, Topic
from worldos.trust.keys import DeviceKey
from worldos.trust.statements import check_statement, sign_statement, statement_id

KEY = DeviceKey.from_seed(bytes(32))
SAID = sign_statement(KEY, Topic.ROLE, b"words")


def test_what_was_signed_is_accepted_and_has_one_id_whatever_its_signature() -> None:
    check_statement(SAID)
    assert statement_id(SAID) == statement_id(msgspec.structs.replace(SAID, signature=bytes(64)))


@pytest.mark.parametrize(
    "change",
    [
        {"body": b"other"},
        {"topic": Topic.STOP},
        {"signature": bytes(64)},
        {"signer": DeviceKey.from_seed(b"1" * 32).node_id},
    ],
    ids=["body", "topic", "signature", "signer"],
)
def test_with_anything_changed_it_is_nobodys_and_another(change) -> None:
    changed = msgspec.structs.replace(SAID, **change)
    with pytest.raises(BadSignature):
        check_statement(changed)
    if "signature" not in change:
        assert statement_id(changed) != statement_id(SAID)


@pytest.mark.parametrize(
    "change", [{"body": bytes(STATEMENT_BYTES_MAX + 1)}, {"signature": b"short"}, {"signer": "no id"}]
)
def test_what_has_no_form_is_a_broken_protocol(change) -> None:
    with pytest.raises(PeerBroke):
        check_statement(msgspec.structs.replace(SAID, **change))


def test_more_than_a_statement_holds_is_not_signed() -> None:
    with pytest.raises(ValueError, match="at most"):
        sign_statement(KEY, Topic.ROLE, bytes(STATEMENT_BYTES_MAX + 1))
