"""What was given away: known to all devices of the account, and ended for good."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import BadRequest, Damaged, PeerBroke
from worldos.store import keys
from worldos.store.caps import Right
from worldos.store.entry import seal_body
from worldos.store.given import Given, decode_given, encode_given, given_log, united
from worldos.store.limits import GIVEN_MAX, TAKEN_MAX

KEY, NONCE = b"d" * 32, b"n" * 12
PHOTO = Given(write=b"w" * 32, path="photos/one.jpg", kind="file", maker=b"m" * 32, until_ns=5)
BOX = Given(write=b"x" * 32, path="inbox", kind="folder", maker=b"m" * 32, drops=True, taken=(3, 9))


def test_the_bytes_of_what_was_given_are_those_of_the_specification() -> None:
    assert msgspec.msgpack.encode((PHOTO, BOX)).hex() == (
        "9299c4207777777777777777777777777777777777777777777777777777777777777777ae70686f746f732f6f6e652e6a70"
        "67a466696c65c4206d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d05c2c2c29099c4207878"
        "787878787878787878787878787878787878787878787878787878787878a5696e626f78a6666f6c646572c4206d6d6d6d6d"
        "6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d6d00c3c2c2920309"
    )
    assert given_log(KEY, b"m" * 32).hex()[:16] == "5fd62f9d667da0f7"


def test_it_comes_back_from_its_bytes_for_devices_of_the_account() -> None:
    body = encode_given((PHOTO, BOX), KEY, NONCE)
    assert decode_given(body, KEY) == (PHOTO, BOX)
    with pytest.raises(Damaged):
        decode_given(body, bytes(32))


@given(st.binary(max_size=200))
def test_garbage_is_nothing_given(data: bytes) -> None:
    with pytest.raises((Damaged, BadRequest)):
        decode_given(data, KEY)
    try:
        assert decode_given(seal_body(keys.derive(KEY, "given seal"), data, NONCE, about=b"given"), KEY) == ()
    except PeerBroke:
        return
    assert msgspec.msgpack.decode(data) == []


@given(
    st.lists(
        st.builds(
            Given,
            write=st.sampled_from([b"1" * 32, b"2" * 32]),
            path=st.sampled_from(["a", "b"]),
            kind=st.just("file"),
            maker=st.just(b"m" * 32),
            drops=st.booleans(),
            ended=st.booleans(),
            taken=st.lists(st.integers(1, 5), unique=True, max_size=3).map(sorted).map(tuple),
        ),
        max_size=6,
    ),
    st.randoms(),
)
def test_union_comes_to_one_in_every_order_and_an_end_is_for_good(known: list[Given], dice: random.Random) -> None:
    whole = united(tuple(known))
    dice.shuffle(known)
    step: tuple[Given, ...] = ()
    for each in known:
        step = united(step, (each,))
    assert step == united(whole, whole) == whole
    for each in whole:
        assert each.ended == any(other.ended for other in known if other.write == each.write)


def test_its_codes_come_of_one_secret_and_end_at_its_time() -> None:
    assert PHOTO.cap(Right.READ).secret == keys.read_of(PHOTO.write)
    assert BOX.cap(Right.APPEND).secret == keys.append_of(BOX.write)
    assert [PHOTO.over(now_ns) for now_ns in (4, 5)] == [False, True]
    assert not BOX.over(1 << 62)
    assert "www" not in repr(PHOTO)


def test_there_is_a_bound_and_what_is_over_goes_first() -> None:
    many = tuple(
        msgspec.structs.replace(PHOTO, write=number.to_bytes(32, "big"), ended=number < 5)
        for number in range(GIVEN_MAX + 5)
    )
    kept = united(many)
    assert len(kept) == GIVEN_MAX
    assert not any(each.ended for each in kept)
    taken = united((msgspec.structs.replace(BOX, taken=tuple(range(1, TAKEN_MAX + 1))),), (BOX,))[0].taken
    assert len(taken) == TAKEN_MAX
