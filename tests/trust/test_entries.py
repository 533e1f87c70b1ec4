"""One entry by itself: what the door asks of it, and the device's own word in it."""

import contextlib
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.trust.people import (
    ACCOUNT,
    GENESIS,
    LAPTOP,
    RECOVERY,
    ROOTS,
    TABLET,
    THIEF,
    claim,
    household,
    raw,
)

from worldos.errors import BadSignature, PeerBroke
from worldos.trust.approvals import Quorum
from worldos.trust.entries import (
    AddPasskey,
    Approve,
    Genesis,
    Rekey,
    RemoveDevice,
    RemoveKey,
    SetGuardians,
    SharedGenesis,
    SignedEntry,
    Snapshot,
    Witnessed,
    body_of,
    read_entry,
    sign_entry,
)
from worldos.trust.keylog import (
    KeyLog,
    accept_claim,
    add_device,
    hash_of,
    new_account,
)
from worldos.trust.words import seed_from_words, words_from_entropy


def test_an_admission_without_the_devices_own_word_is_refused() -> None:
    log = household()
    entry = read_entry(raw(log._history, LAPTOP, "add", TABLET, 0, list(log.entries)[1]))
    for wrong in (
        msgspec.structs.replace(entry, acceptance=claim(TABLET, 1).signature),
        msgspec.structs.replace(entry, name="another name"),
    ):
        with pytest.raises(BadSignature):
            log.merge([sign_entry(LAPTOP, wrong)])
    with pytest.raises(PeerBroke, match="root certificate"):
        log.merge([sign_entry(LAPTOP, msgspec.structs.replace(entry, root_cert=ROOTS[THIEF.node_id]))])


def test_an_acceptance_for_another_account_is_refused() -> None:
    other = hash_of(new_account(b"o" * 32))
    elsewhere = accept_claim(TABLET, other, "tablet", ROOTS[TABLET.node_id])
    with pytest.raises(PeerBroke, match="another account"):
        add_device(household(), LAPTOP, elsewhere)
    with pytest.raises(BadSignature):
        add_device(household(), LAPTOP, msgspec.structs.replace(elsewhere, account=ACCOUNT))


@pytest.mark.parametrize("name", ["", " x", "x" * 65, "a\x1b[2J", "line\nbreak", "\u202egnp"])
def test_a_name_that_would_spoil_a_terminal_is_refused(name: str) -> None:
    with pytest.raises(PeerBroke, match="printable"):
        accept_claim(TABLET, ACCOUNT, name, ROOTS[TABLET.node_id])


@given(st.binary(max_size=300), st.binary(min_size=64, max_size=64))
def test_garbage_is_refused_and_leaves_nothing(body: bytes, signature: bytes) -> None:
    log = household()
    with pytest.raises(PeerBroke):
        log.merge([SignedEntry(body=body, signature=signature)])


def test_what_is_nested_beyond_reason_is_refused_and_not_recursed_into() -> None:
    deep = b"\x91" * 3900 + b"\xc0"
    whole = msgspec.msgpack.encode(read_entry(sign_entry(RECOVERY, Genesis(recovery=RECOVERY.public))))
    body = bytes([whole[0] + 1]) + whole[1:] + deep  # one more field, that nobody knows
    with pytest.raises(PeerBroke, match="cannot be read"):
        read_entry(SignedEntry(body=body, signature=bytes(64)))


@given(st.integers(0, 10_000), st.integers(1, 255))
@settings(max_examples=200)
def test_an_entry_with_any_byte_changed_is_refused(place: int, flip: int) -> None:
    log = household()
    signed = list(log.entries.values())[2]
    body = bytearray(signed.body)
    body[place % len(body)] ^= flip
    with contextlib.suppress(PeerBroke, BadSignature):
        # A changed parent is one that does not exist: the entry is left out.
        assert log.merge([SignedEntry(body=bytes(body), signature=signed.signature)]) == []
    assert log == household()


def test_an_entry_is_read_in_one_encoding_only() -> None:
    body = GENESIS.body.replace(b"\xc4\x20", b"\xc5\x00\x20")
    assert msgspec.msgpack.decode(body) == msgspec.msgpack.decode(GENESIS.body)
    with pytest.raises(PeerBroke, match="encoding"):
        KeyLog().merge([SignedEntry(body=body, signature=RECOVERY.sign("keylog", body))])


def test_sizes_are_bounded_at_the_door() -> None:
    with pytest.raises(PeerBroke, match="size"):
        KeyLog().merge([SignedEntry(body=bytes(4097), signature=bytes(64))])
    with pytest.raises(PeerBroke):
        KeyLog().merge([sign_entry(RECOVERY, Genesis(recovery=b"short"))])
    many = [SignedEntry(body=number.to_bytes(2, "big"), signature=b"") for number in range(4097)]
    with pytest.raises(PeerBroke, match="at most 4096"):
        KeyLog().merge(many)


def test_the_words_alone_name_the_account_again() -> None:
    words = words_from_entropy(b"w" * 32)
    first, again = (new_account(seed_from_words(text)) for text in (words, words.upper()))
    assert first == again
    assert KeyLog(entries={hash_of(first): first}).account == hash_of(first)


FIXED = {
    "Genesis": Genesis(recovery=bytes(range(32))),
    "SharedGenesis": SharedGenesis(quorum=Quorum(threshold=1, seats=()), name="firm", salt=bytes(16)),
    "AddPasskey": AddPasskey(
        warrant="w", parents=("p",), credential=b"c", public=b"k", rp="http://localhost:1", name="thumb"
    ),
    "RemoveDevice": RemoveDevice(warrant="w", parents=("p",), device="d"),
    "RemoveKey": RemoveKey(warrant="w", parents=("p", "q"), key="k", keep=("e",)),
    "Rekey": Rekey(warrant="w", parents=("p",), recovery=bytes(32), acceptance=bytes(64)),
    "SetGuardians": SetGuardians(warrant="w", parents=("p",), quorum=None),
    "Approve": Approve(warrant="w", parents=("p",), entry="e"),
    "Witnessed": Witnessed(warrant="w", parents=("p",), at_s=1_700_000_000),
    "Snapshot": Snapshot(
        warrant="w", parents=("p",), number=1, kept=b"", weights=b"", ended=b"\0", grown=b"\0", alone=b"\0", marks=b""
    ),
}
BYTES = json.loads(Path("tests/golden/keylog.json").read_text())


@pytest.mark.parametrize("kind", sorted(FIXED))
def test_the_bytes_of_every_kind_stay_what_they_are(kind: str) -> None:
    """Every device of an account must make the same id of the same entry, in all versions."""
    assert body_of(FIXED[kind]).hex() == BYTES[kind]


@pytest.mark.parametrize(
    "wrong",
    [
        msgspec.structs.replace(FIXED["Witnessed"], at_s=0),
        msgspec.structs.replace(FIXED["Witnessed"], parents=("q", "p")),
        msgspec.structs.replace(FIXED["RemoveKey"], keep=("e", "e")),
        msgspec.structs.replace(FIXED["SharedGenesis"], salt=b"short"),
        FIXED["SharedGenesis"],
        FIXED["AddPasskey"],
        msgspec.structs.replace(FIXED["Rekey"], recovery=b"short"),
    ],
)
def test_a_form_that_no_builder_makes_is_refused(wrong) -> None:
    with pytest.raises(PeerBroke):
        read_entry(sign_entry(LAPTOP, wrong))
