"""Ops of sessions: one right form, and nothing else is read."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldos.errors import PeerBroke
from worldos.kernel.session_op import NOTHING, SessionOp, encode_op, read_op

FIRST = SessionOp(
    session=b"s" * 10, seq=1, prev=NOTHING, fence=1, move=NOTHING, ends=False, epoch=b"e" * 32, sealed=bytes(28)
)
SECOND = msgspec.structs.replace(FIRST, seq=2, prev=b"p" * 32, move=b"p" * 32)


def test_an_op_reads_back() -> None:
    for op in (FIRST, SECOND, msgspec.structs.replace(SECOND, fence=3, move=NOTHING)):
        assert read_op(encode_op(op)) == op


def test_the_seal_is_bound_to_everything_around_it() -> None:
    changed = [("session", b"t" * 10), ("seq", 3), ("prev", b"q" * 32), ("fence", 2), ("move", NOTHING), ("ends", True)]
    bound = {msgspec.structs.replace(SECOND, **{name: value}).bound for name, value in changed}
    assert len(bound | {SECOND.bound}) == len(changed) + 1
    assert msgspec.structs.replace(SECOND, sealed=b"\1" * 40).bound == SECOND.bound


@pytest.mark.parametrize(
    "wrong",
    [
        {"seq": 0},
        {"seq": 1 << 60},
        {"fence": 0},
        {"prev": b""},
        {"prev": NOTHING},
        {"session": b"s" * 9},
        {"epoch": b"e"},
        {"sealed": bytes(27)},
        {"sealed": bytes(15 * 1024 + 1)},
    ],
)
def test_what_breaks_the_form_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(PeerBroke):
        read_op(encode_op(msgspec.structs.replace(SECOND, **wrong)))


def test_only_a_first_op_begins_a_session() -> None:
    for wrong in (
        msgspec.structs.replace(FIRST, fence=2),
        msgspec.structs.replace(FIRST, move=b"m" * 32),
        msgspec.structs.replace(FIRST, prev=b"p" * 32),
    ):
        with pytest.raises(PeerBroke):
            read_op(encode_op(wrong))


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(PeerBroke):
        read_op(data)


def test_a_second_spelling_is_refused() -> None:
    body = encode_op(FIRST)
    with pytest.raises(PeerBroke):
        read_op(body + b"\0")
    assert body[:2] == b"\x98\xc4"
    with pytest.raises(PeerBroke):
        read_op(b"\x98\xc5\0" + body[2:])  # the length of the session in two bytes
