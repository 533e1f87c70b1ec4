"""A folder that was given away: opened by its code, signed by its owner, and safe to write to a disk."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import BadRequest, BadSignature, Damaged, NotThere, PeerBroke
from worldos.store import keys, manifest
from worldos.store.entry import sign_entry
from worldos.store.limits import LISTING_ROWS_MAX
from worldos.store.listing import Listing, Row, read_listing, sign_listing

WRITE = b"w" * 32
READ = keys.read_of(WRITE)
NONCES = (b"1" * 12, b"2" * 12)
ROWS = (
    Row(path="a", folder=True),
    Row(path="a/b.txt", size_bytes=2, inline=b"hi", digest=b"d" * 32, media="text/plain", mode=0o644, modified_ns=-1),
    Row(path="big", size_bytes=1 << 30, read=b"r" * 32),
    Row(path="empty"),
)


def test_the_bytes_of_a_listing_are_those_of_the_specification() -> None:
    assert msgspec.msgpack.encode(ROWS).hex() == (
        "9499a161c3000000a0c400c400c40099a7612f622e747874c202ffcd01a4aa746578742f706c61696ec42064646464646464"
        "64646464646464646464646464646464646464646464646464c4026869c40099a3626967c2ce400000000000a0c400c400c4"
        "20727272727272727272727272727272727272727272727272727272727272727299a5656d707479c2000000a0c400c400c4"
        "00"
    )


def test_a_folder_opens_by_its_code_and_by_no_other() -> None:
    entry = sign_listing(WRITE, 3, "holiday", ROWS, NONCES)
    listing = read_listing(entry, READ)
    assert (listing.name, listing.rows) == ("holiday", ROWS)
    assert manifest.open_map(entry.body, keys.verify_of(READ)) == manifest.Map(segments=(), version=3)
    with pytest.raises(Damaged):
        read_listing(entry, bytes(32))
    with pytest.raises(NotThere):
        read_listing(manifest.sign_withdrawal(WRITE, 4, NONCES), READ)


def test_a_reader_cannot_forge_a_folder() -> None:
    mine = keys.signing_key(b"mine" * 8)
    entry = sign_listing(WRITE, 3, "holiday", ROWS, NONCES)
    with pytest.raises(BadSignature):
        read_listing(sign_entry(mine, entry.log, 4, entry.body, register=True), READ)
    forged = forge(msgspec.msgpack.encode(Listing(public=mine.public, salt=keys.salt_of(WRITE), rows=ROWS)))
    with pytest.raises(BadSignature):
        read_listing(sign_entry(mine, entry.log, 4, forged, register=True), READ)


def forge(plain: bytes) -> bytes:
    return manifest.seal_parts(manifest.FOLDER, msgspec.msgpack.encode(manifest.Map(segments=())), plain, READ, NONCES)


@pytest.mark.parametrize(
    "rows",
    [
        (Row(path="../up", size_bytes=1, inline=b"x"),),
        (Row(path="/root", size_bytes=1, inline=b"x"),),
        (Row(path="a//b", size_bytes=1, inline=b"x"),),
        (Row(path="b"), Row(path="a")),
        (Row(path="a"), Row(path="a")),
        (Row(path="a", size_bytes=5),),
        (Row(path="a", size_bytes=5, inline=b"x"),),
        (Row(path="a", size_bytes=5, read=b"short"),),
        (Row(path="e\u0301"),),
    ],
)
def test_what_may_not_be_written_to_a_disk_is_not_listed(rows: tuple[Row, ...]) -> None:
    with pytest.raises(PeerBroke):
        sign_listing(WRITE, 1, "x", rows, NONCES)
    honest = Listing(public=keys.signing_key(WRITE).public, salt=keys.salt_of(WRITE), rows=rows)
    body = forge(msgspec.msgpack.encode(honest))
    signed = sign_entry(keys.signing_key(WRITE), keys.locator_of(keys.verify_of(READ)), 1, body, register=True)
    with pytest.raises(PeerBroke):
        read_listing(signed, READ)


@given(st.binary(max_size=300))
def test_garbage_is_no_listing(data: bytes) -> None:
    signed = sign_entry(keys.signing_key(WRITE), keys.locator_of(keys.verify_of(READ)), 1, forge(data), register=True)
    with pytest.raises((PeerBroke, BadSignature)):
        read_listing(signed, READ)


def test_a_folder_that_is_too_large_is_told() -> None:
    with pytest.raises(BadRequest, match="at most"):
        sign_listing(WRITE, 1, "x", (ROWS[0],) * (LISTING_ROWS_MAX + 1), NONCES)
