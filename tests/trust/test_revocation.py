"""That a device was put out proves itself: by the entries of its account's key log, and by nothing else."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.trust.people import ACCOUNT, LAPTOP, PHONE, copy_of, household, remove

from worldos.errors import PeerBroke
from worldos.model.ids import AccountId
from worldos.model.statements import STATEMENT_BYTES_MAX
from worldos.trust.revocation import (
    DeviceRevoked,
    EpochBegan,
    GrantRevoked,
    check_proof,
    device_revoked,
    read_revocation,
    write_revocation,
)


def test_a_removal_proves_itself_to_who_knows_nothing() -> None:
    log = household()
    remove(log, LAPTOP, PHONE)
    said = read_revocation(write_revocation(device_revoked(log, PHONE.node_id)))
    assert isinstance(said, DeviceRevoked)
    assert said.account == ACCOUNT
    check_proof(said)


def test_a_log_without_the_removal_proves_nothing() -> None:
    log = household()
    before = copy_of(log)
    remove(log, LAPTOP, PHONE)
    forged = msgspec.structs.replace(
        device_revoked(log, PHONE.node_id), proof=device_revoked(before, PHONE.node_id).proof
    )
    with pytest.raises(PeerBroke, match="proves nothing"):
        check_proof(forged)


def test_a_proof_of_another_account_or_device_proves_nothing() -> None:
    log = household()
    remove(log, LAPTOP, PHONE)
    said = device_revoked(log, PHONE.node_id)
    for forged in (
        msgspec.structs.replace(said, account=AccountId("a" * 52)),
        msgspec.structs.replace(said, device=LAPTOP.node_id),
        msgspec.structs.replace(said, proof=()),
    ):
        with pytest.raises(PeerBroke):
            check_proof(forged)


def test_a_changed_entry_is_seen() -> None:
    log = household()
    remove(log, LAPTOP, PHONE)
    said = device_revoked(log, PHONE.node_id)
    for at, (body, signature) in enumerate(said.proof):
        changed = bytes([signature[0] ^ 1]) + signature[1:]
        proof = (*said.proof[:at], (body, changed), *said.proof[at + 1 :])
        with pytest.raises(PeerBroke):
            check_proof(msgspec.structs.replace(said, proof=proof))


def test_what_is_said_fits_into_a_statement_with_a_proof_or_without() -> None:
    log = household()
    remove(log, LAPTOP, PHONE)
    assert len(write_revocation(device_revoked(log, PHONE.node_id))) <= STATEMENT_BYTES_MAX


@pytest.mark.parametrize("said", [GrantRevoked(block="a" * 52), EpochBegan(number=3)])
def test_what_is_written_is_read(said: GrantRevoked | EpochBegan) -> None:
    assert read_revocation(write_revocation(said)) == said


def test_another_encoding_of_the_same_is_refused() -> None:
    body = write_revocation(EpochBegan(number=3))
    assert body[-1:] == b"\x03"
    with pytest.raises(PeerBroke, match="one right encoding"):
        read_revocation(body[:-1] + b"\xcc\x03")


@given(st.binary(max_size=200))
def test_garbage_is_no_revocation(data: bytes) -> None:
    try:
        said = read_revocation(data)
    except PeerBroke:
        return
    assert write_revocation(said) == data
