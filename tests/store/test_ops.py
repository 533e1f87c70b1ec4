"""Changes as bytes: fixed for good, and nothing else is read."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import BadRequest, PeerBroke
from worldos.store.ops import (
    Change,
    FileRef,
    Folder,
    Move,
    OpId,
    Put,
    Remove,
    decode_file,
    encode_change,
    encode_file,
    read_change,
)

DEVICE = bytes(range(32))
FILE = FileRef(write=b"w" * 32, size_bytes=5, modified_ns=-1, digest=b"d" * 32, media="text/plain", mode=0o644)
CHANGE = Change(
    at_ns=1_700_000_000_000_000_000,
    after=6,
    seen=((DEVICE, 3),),
    ops=(
        Put(path="a/é", file=FILE, over=(OpId(DEVICE, 3, 0),)),
        Folder(path="b"),
        Remove(path="c", only=None),
        Move(source="d", target="e/f", only=OpId(DEVICE, 2, 1)),
    ),
)
GOLDEN = (
    "0194cf17979cfe362a0000069192c420000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f039494a170a4612fc3a99c"
    "c4207777777777777777777777777777777777777777777777777777777777777777c400a466696c6505ffc420"
    "6464646464646464646464646464646464646464646464646464646464646464c400aa746578742f706c61696ecd01a4a000c2"
    "9193c420000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f030092a166a16293a172a163c0"
    "94a16da164a3652f6693c420000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f0201"
)


def test_a_change_is_the_bytes_of_the_specification() -> None:
    assert encode_change(CHANGE).hex() == GOLDEN
    assert read_change(bytes.fromhex(GOLDEN)) == CHANGE


def test_what_a_name_stands_for_comes_back_as_it_was() -> None:
    assert decode_file(encode_file(FILE)) == FILE
    assert FILE.cap == b"w" * 32
    assert FileRef(read=b"r" * 32).cap == b"r" * 32
    assert FileRef(inline=b"hello").cap == b""


def test_a_change_of_a_later_version_is_named_as_such() -> None:
    with pytest.raises(BadRequest, match="newer World OS"):
        read_change(b"\x02" + encode_change(CHANGE)[1:])


def packed(path: object = "a", **file: object) -> bytes:
    """Write a change without our own types: what a stranger might send."""
    fields = {"write": b"w" * 32, "read": b"", "kind": "file", "size": 1, "modified": 0, "digest": b""} | file
    return b"\x01" + msgspec.msgpack.encode([0, 0, [], [["p", path, list(fields.values()), []]]])


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", "..", "a/../b", "a\0", "e\u0301", "x" * 256, 7, None, b"a"])
def test_a_path_that_is_not_in_the_one_spelling_is_garbage(path: object) -> None:
    assert len(read_change(packed()).ops) == 1
    with pytest.raises(PeerBroke):
        read_change(packed(path))


@pytest.mark.parametrize(
    "file", [{"write": b"w" * 31}, {"digest": b"d"}, {"write": b"w" * 33}, {"size": -1}, {"kind": "k" * 17}]
)
def test_a_secret_cut_short_or_a_number_out_of_bounds_is_garbage(file: dict[str, object]) -> None:
    with pytest.raises(PeerBroke):
        read_change(packed(**file))


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"\x01", b"\x01\xc1", b"\x01" + b"\x91" * 3000, encode_change(CHANGE) + b"\0"]
)
def test_bytes_that_are_no_change_are_refused(data: bytes) -> None:
    with pytest.raises(PeerBroke):
        read_change(data)


@given(st.binary(max_size=400), st.integers(0, len(GOLDEN) // 2 - 1), st.integers(0, 255))
def test_garbage_is_refused_and_what_is_taken_is_written_the_same(noise: bytes, where: int, byte: int) -> None:
    changed = bytearray(bytes.fromhex(GOLDEN))
    changed[where] = byte
    for data in (noise, b"\x01" + noise, bytes(changed)):
        try:
            change = read_change(data)
        except (PeerBroke, BadRequest):
            continue
        assert read_change(encode_change(change)) == change
