"""Drops: opened by the owner of the box, by nobody who only drops, and safe to name a file by."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import BadSignature, Damaged, PeerBroke
from worldos.store import keys
from worldos.store.boxes import box_public, seal_box
from worldos.store.drop import Drop, box_of, may_replace, open_drop, proven, sign_box, sign_drop
from worldos.store.entry import seal_body, sign_entry

WRITE = b"w" * 32
APPEND = keys.append_of(WRITE)
NONCE, FRESH = b"n" * 12, b"e" * 32
BOX = sign_box(WRITE, 1, NONCE)
DROP = Drop(name="cv.pdf", size_bytes=9, digest=b"d" * 32, read=b"r" * 32)


def put(drop: Drop, seq: int = 77) -> object:
    return open_drop(sign_drop(APPEND, seq, drop, box_of(BOX, APPEND), FRESH, NONCE), WRITE)


def test_the_bytes_of_a_drop_are_those_of_the_specification() -> None:
    assert msgspec.msgpack.encode(DROP).hex() == (
        "86a46e616d65a663762e706466aa73697a655f627974657309a6646967657374c42064646464646464646464646464646464"
        "64646464646464646464646464646464a472656164c420727272727272727272727272727272727272727272727272727272"
        "7272727272a6696e6c696e65c400a570726f6f66c400"
    )


def test_the_owner_opens_what_somebody_dropped() -> None:
    assert put(DROP) == DROP
    small = Drop(name="note", size_bytes=2, digest=b"d" * 32, inline=b"hi")
    assert put(small) == small


def test_who_drops_reads_no_drop_of_another() -> None:
    entry = sign_drop(APPEND, 5, DROP, box_of(BOX, APPEND), FRESH, NONCE)
    assert keys.drop_seed(WRITE) not in {APPEND, keys.box_key(APPEND), keys.derive(APPEND, "drop seed")}
    with pytest.raises((Damaged, BadSignature)):
        open_drop(entry, APPEND)


def test_a_box_of_another_is_not_dropped_into() -> None:
    other = sign_box(b"o" * 32, 1, NONCE)
    with pytest.raises(Damaged):
        box_of(other, APPEND)
    forged = sign_entry(keys.signing_key(b"o" * 32), bytes(32), 1, BOX.body, register=True)
    with pytest.raises(PeerBroke):
        box_of(forged, APPEND)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../up"},
        {"name": "a/b"},
        {"name": ".."},
        {"name": "e\u0301"},
        {"read": b""},
        {"read": b"short"},
        {"inline": b"both"},
    ],
)
def test_what_cannot_be_kept_under_its_name_is_refused(change: dict[str, object]) -> None:
    with pytest.raises((PeerBroke, Damaged)):
        put(msgspec.structs.replace(DROP, **change))


@given(st.binary(max_size=200))
def test_garbage_is_no_drop(data: bytes) -> None:
    shown = box_public(keys.drop_seed(WRITE))
    for body in (data, seal_box(shown, data, FRESH, about=b"drop")):
        sealed = seal_body(keys.box_key(APPEND), body, NONCE, about=b"drop")
        entry = sign_entry(keys.drop_signer(APPEND), keys.drop_log(APPEND), 1, sealed)
        with pytest.raises((PeerBroke, Damaged)):
            open_drop(entry, WRITE)


def test_only_a_holder_of_the_write_secret_may_replace() -> None:
    assert may_replace(proven(DROP, WRITE, 7), WRITE, 7)
    assert not may_replace(proven(DROP, WRITE, 7), WRITE, 8)
    assert not may_replace(proven(DROP, APPEND, 7), WRITE, 7)
    assert not may_replace(DROP, WRITE, 7)
    stolen = msgspec.structs.replace(proven(DROP, WRITE, 7), name="other")
    assert not may_replace(stolen, WRITE, 7)


def test_what_somebody_else_wrote_into_the_log_is_passed_over() -> None:
    entry = sign_drop(APPEND, 5, DROP, box_of(BOX, APPEND), FRESH, NONCE)
    with pytest.raises(BadSignature):
        open_drop(sign_entry(keys.signing_key(b"o" * 32), entry.log, 5, entry.body), WRITE)
