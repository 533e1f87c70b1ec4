"""Codes: any k shares give everything back, by every codec, and the bytes are those of the day they were frozen."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.store import golden_shares

from worldos.depot.codec import native_codec
from worldos.store import erasure
from worldos.store.erasure import Code, Codec, TableCodec

CODES = [Code(1, 4), Code(2, 5), Code(3, 6), Code(3, 9), Code(4, 12), Code(10, 16)]
CODECS = [TableCodec(), TableCodec(numpy=False), *filter(None, [native_codec()])]


def coded(codec: Codec, code: Code, data: bytes) -> list[bytes]:
    """All n shares of a segment."""
    buffer = bytearray(erasure.coded_bytes(len(data), code.k))
    buffer[: len(data)] = data
    shares = erasure.data_shares(buffer, len(data), code.k)
    parity = [bytearray(len(shares[0])) for _ in range(code.n - code.k)]
    erasure.encode(codec, code, shares, parity)
    return [bytes(share) for share in (*shares, *parity)]


def decoded(codec: Codec, code: Code, have: dict[int, bytes], want: list[int]) -> list[bytes]:
    out = [bytearray(len(next(iter(have.values())))) for _ in want]
    erasure.decode(codec, code, have, want, out)
    return [bytes(share) for share in out]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@given(st.sampled_from(CODES), st.binary(min_size=1, max_size=3000), st.randoms(use_true_random=False))
def test_any_k_shares_give_all_the_others(codec: Codec, code: Code, data: bytes, chance) -> None:
    shares = coded(codec, code, data)
    have = {index: shares[index] for index in chance.sample(range(code.n), code.k)}
    assert decoded(codec, code, have, list(range(code.n))) == shares
    assert b"".join(shares[: code.k])[: len(data)] == data


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("code", CODES, ids=str)
def test_the_shares_are_those_of_the_day_they_were_frozen(codec: Codec, code: Code) -> None:
    assert golden_shares.line(codec, code) in golden_shares.GOLDEN.read_text().splitlines()


def test_every_codec_writes_the_same_bytes_at_every_length() -> None:
    blocks = (erasure.TABLE_BLOCK_BYTES - 1, erasure.TABLE_BLOCK_BYTES, 2 * erasure.TABLE_BLOCK_BYTES + 13)
    for size in (*range(1, 130), *blocks):
        sources = [bytes((place * 7 + index) % 251 for place in range(size)) for index in range(3)]
        found = []
        for codec in CODECS:
            out = [bytearray(b"\xaa" * size) for _ in range(4)]
            codec.combine([b"\x01\x00\x00", b"\x02\x8e\xff", bytes(3), b"\x00\x07\x01"], sources, out)
            found.append(out)
        assert found == [found[0]] * len(CODECS)
        assert found[0][0] == sources[0]
        assert found[0][2] == bytes(size)


@given(st.sampled_from(CODES), st.integers(0, 999), st.integers(1, 999), st.randoms(use_true_random=False))
def test_a_range_is_decoded_from_the_same_range_of_k_shares(code: Code, start: int, length: int, chance) -> None:
    shares = coded(CODECS[-1], code, bytes(range(256)) * 4 * code.k)
    have = {index: shares[index][start : start + length] for index in chance.sample(range(code.n), code.k)}
    if not have[next(iter(have))]:
        return
    want = list(range(code.n))
    assert decoded(CODECS[-1], code, have, want) == [shares[index][start : start + length] for index in want]


@given(st.integers(1, 70_000), st.integers(1, 16))
def test_shares_are_whole_multiples_and_hold_the_segment(size: int, k: int) -> None:
    share = erasure.share_bytes(size, k)
    assert share % 64 == 0
    assert size <= share * k < size + 64 * k


@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(1, 700))
def test_a_range_of_a_segment_is_found_in_the_shares(offset: int, length: int, size: int) -> None:
    found = erasure.spans(offset, length, size)
    places = [index * size + start + step for index, start, part in found for step in range(part)]
    assert places == list(range(offset, offset + length))


def test_a_matrix_has_no_two_rows_alike_and_no_zero() -> None:
    for code in CODES:
        rows = erasure.parity_rows(code.k, code.n)
        assert all(row.count(0) == 0 for row in rows)
        assert all(first != second for first, second in itertools.combinations(rows, 2))


def test_too_few_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="2 shares are too few for 3-of-6"):
        erasure.decode(TableCodec(), Code(3, 6), {0: b"a", 4: b"b"}, [1], [bytearray(1)])


@pytest.mark.parametrize(("k", "n"), [(0, 4), (5, 4), (-1, 2), (3, 81)])
def test_a_code_that_is_none_cannot_be_named(k: int, n: int) -> None:
    with pytest.raises(ValueError, match="no code"):
        Code(k, n)


@pytest.mark.parametrize("have", [[0, 1], [0, 1, 1], [0, 1, 6], [0, -1, 2], [0, 1, 2, 3]])
def test_shares_that_do_not_fit_a_code_are_refused(have: list[int]) -> None:
    with pytest.raises(ValueError, match="cannot give"):
        erasure.decode_rows(3, 6, have, [5])


def test_a_buffer_without_room_for_whole_shares_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        erasure.data_shares(bytearray(1000), 1000, 3)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_buffers_of_two_lengths_are_refused(codec: Codec) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        codec.combine([b"\x01\x01"], [b"abc", b"abcd"], [bytearray(3)])
    with pytest.raises(ValueError, match="do not fit"):
        codec.combine([b"\x01"], [b"abc", b"abc"], [bytearray(3)])
