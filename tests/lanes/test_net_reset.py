"""The answer for who has left: a reset that a real kernel takes, and none where none is due."""

from __future__ import annotations

import struct

import pytest

from worldos.lanes.net_reset import ACK, FIN, RST, SYN, checksum, reset_for

US, THEM = bytes((10, 1, 2, 1)), bytes((10, 1, 2, 3))


def packet(flags: int, body: bytes = b"", *, protocol: int = 6, fragment: int = 0) -> bytes:
    tcp = struct.pack("!HHIIBBHHH", 4000, 7800, 1000, 2000, 5 << 4, flags, 100, 0, 0) + body
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, fragment, 64, protocol, 0, US, THEM) + tcp


def told(reset: bytes | None) -> tuple[int, ...]:
    assert reset is not None
    assert len(reset) == 40
    assert reset[12:20] == THEM + US
    assert checksum(reset[:20]) == 0
    assert checksum(THEM + US + struct.pack("!BBH", 0, 6, 20) + reset[20:]) == 0
    return struct.unpack("!HHIIBB", reset[20:34])


def test_what_was_acknowledged_is_where_the_reset_stands() -> None:
    assert told(reset_for(packet(ACK, b"hello"))) == (7800, 4000, 2000, 0, 0x50, RST)


@pytest.mark.parametrize(("flags", "body", "taken"), [(SYN, b"", 1), (0, b"abc", 3), (FIN, b"", 1)])
def test_what_acknowledged_nothing_is_acknowledged(flags: int, body: bytes, taken: int) -> None:
    assert told(reset_for(packet(flags, body))) == (7800, 4000, 0, 1000 + taken, 0x50, RST | ACK)


@pytest.mark.parametrize(
    "other", [packet(RST), packet(ACK, protocol=17), packet(ACK, fragment=0x2000), packet(ACK)[:30], packet(ACK)[:20]]
)
def test_what_is_no_whole_segment_or_a_reset_has_no_answer(other: bytes) -> None:
    assert reset_for(other) is None
