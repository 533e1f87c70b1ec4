"""One value, one spelling: whatever else decodes to it is refused."""

from __future__ import annotations

import msgspec
import pytest

from worldos.errors import PeerBroke
from worldos.model.exact import read_exactly


class Pair(msgspec.Struct, array_like=True):
    one: int
    other: str = ""


ENCODE = msgspec.msgpack.Encoder().encode
DECODE = msgspec.msgpack.Decoder(Pair).decode


def read(data: bytes) -> Pair:
    return read_exactly(DECODE, ENCODE, data, "a pair")


def test_what_was_written_is_read() -> None:
    assert read(ENCODE(Pair(1, "x"))) == Pair(1, "x")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "cannot be read"),
        (b"\x92\x01\xa1\xff", "cannot be read"),
        (b"\x91" * 100_000, "cannot be read"),
        (b"\x92\xcc\x01\xa1x", "one right encoding"),
        (b"\x93\x01\xa1x\xc0", "one right encoding"),
        (b"\x91\x01", "one right encoding"),
    ],
    ids=["nothing", "no text", "deep", "a longer number", "a field more", "a field less"],
)
def test_every_other_spelling_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(PeerBroke, match=why):
        read(data)
