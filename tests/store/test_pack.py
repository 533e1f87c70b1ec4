"""Frames of packs: what is read is what was written, in its place; nothing else is taken, and nothing crashes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import CorruptFile
from worldos.store import pack
from worldos.store.pack import CareMeta, EntryMeta, Header, IdsMeta, Kind, ShareMeta

KEY = bytes(range(32))
ID = b"i" * 32
METAS = [ShareMeta("ann", "share", 5), EntryMeta(7), IdsMeta(10**18), CareMeta("ann")]


def header(body: bytes, meta: bytes, *, kind: Kind = Kind.SHARE, order: int = 9, offset: int = 4096) -> Header:
    return Header(kind=kind, order=order, id=ID, meta_bytes=len(meta), body_bytes=len(body), offset=offset)


def frame(body: bytes = b"share") -> bytes:
    meta = pack.encode_meta(METAS[0])
    return pack.frame_head(KEY, 3, header(body, meta), meta) + body + pack.trailer_of(ID, body)


def read(data: bytes, *, key: bytes = KEY, number: int = 3, offset: int = 4096) -> tuple[Header, ShareMeta]:
    found = pack.read_header(data, offset)
    return found, pack.read_share_meta(pack.check_header(key, number, found, data), found)


def test_the_bytes_of_a_frame_are_for_good() -> None:
    assert frame().hex() == (
        "f7576f5301010c00050000000900000000000000"  # magic, version, kind, meta, body, order
        "6969696969696969696969696969696969696969696969696969696969696969"
        "81989c942aeccc909c3ff24f"  # check
        "93a3616e6ea5736861726505"
        "7368617265"
        "bbd1e3f5043f21d0fc7369b7959bfc79"  # trailer
    )


def test_what_is_written_is_read() -> None:
    found, meta = read(frame())
    assert (found.kind, found.order, found.id, found.body_bytes) == (Kind.SHARE, 9, ID, 5)
    assert meta == METAS[0]
    assert found.end == 4096 + len(frame())


@pytest.mark.parametrize("elsewhere", [{"key": bytes(32)}, {"number": 4}, {"offset": 8192}])
def test_a_frame_is_valid_in_its_own_place_only(elsewhere: dict[str, int]) -> None:
    with pytest.raises(CorruptFile):
        read(frame(), **elsewhere)  # type: ignore[arg-type]


def test_every_flipped_bit_of_a_header_is_seen() -> None:
    whole = frame()
    for bit in range((pack.HEADER_BYTES + 11) * 8):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CorruptFile):
            read(bytes(data))


def test_a_trailer_goes_with_its_id_and_its_body() -> None:
    assert pack.trailer_of(ID, b"ab", b"c") == pack.trailer_of(ID, b"abc")
    assert len({pack.trailer_of(ID, b"abc"), pack.trailer_of(ID, b"abd"), pack.trailer_of(KEY, b"abc")}) == 3


@given(st.binary(max_size=200))
def test_garbage_is_never_taken(data: bytes) -> None:
    for read_it in (
        lambda: read(data),
        lambda: read(pack.MAGIC + b"\x01\x01" + data),
        lambda: pack.read_opening(data),
        lambda: pack.split_ids(data + b"x" * (1 - len(data) % 2)) if len(data) % 32 != 31 else pack.read_opening(data),
    ):
        with pytest.raises(CorruptFile):
            read_it()


@given(st.binary(max_size=300), st.sampled_from([type(meta) for meta in METAS]))
def test_garbage_for_a_meta_is_refused_or_read_within_its_bounds(data: bytes, kind: type) -> None:
    try:
        meta = pack.read_meta(data, kind)
    except CorruptFile:
        return
    assert isinstance(meta, kind)
    assert pack.read_meta(pack.encode_meta(meta), kind) == meta


def test_a_share_longer_than_its_frame_is_refused() -> None:
    meta = pack.encode_meta(ShareMeta("ann", "share", 6))
    with pytest.raises(CorruptFile):
        pack.read_share_meta(meta, header(b"share", meta))


def test_lists_of_ids_are_whole_and_bounded() -> None:
    assert pack.split_ids(ID + KEY) == (ID, KEY)
    for wrong in (ID[:-1], ID * (pack.PACK_IDS_MAX + 1)):
        with pytest.raises(CorruptFile):
            pack.split_ids(wrong)


def test_an_opening_brings_back_key_and_number() -> None:
    opening = pack.opening_of(KEY, 77)
    assert len(opening) == pack.HEADER_BYTES
    assert pack.read_opening(opening) == (KEY, 77)
    for at in range(pack.HEADER_BYTES):
        with pytest.raises(CorruptFile):
            pack.read_opening(opening[:at] + bytes([opening[at] ^ 1]) + opening[at + 1 :])


def test_large_frames_begin_at_a_page_and_small_ones_at_a_border() -> None:
    assert pack.start_of(65, 10) == 128
    assert pack.start_of(128, 10) == 128
    assert pack.start_of(65, pack.PAGED_FROM_BYTES) == 128
    assert pack.start_of(65, pack.PAGED_FROM_BYTES + 1) == 4096
    assert pack.zeros(pack.start_of(65, 0) - 65) == bytes(63)
