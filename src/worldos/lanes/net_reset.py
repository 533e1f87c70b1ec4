"""The answer for who has left a private network: a TCP reset, so that those who talk to it know at once that it is gone.

Pure: a packet in, a packet out. A machine that is lost sends nothing any more, and its peers would wait for minutes until TCP or
they themselves give it up. Source: RFC 9293, 3.5.2 (resets to connections that do not exist); RFC 1071 (checksum).
"""

from __future__ import annotations

import struct
from typing import Final

TCP: Final = 6
FIN, SYN, RST, ACK = 1, 2, 4, 16
IP_BYTES: Final = 20
TCP_BYTES: Final = 20
_IP: Final = struct.Struct("!BBHHHBBH4s4s")
_TCP: Final = struct.Struct("!HHIIBBHHH")


def reset_for(packet: bytes) -> bytes | None:
    """Return the reset that answers this IPv4 packet; None where none is due: no TCP, a fragment, or a reset itself."""
    head_bytes = (packet[0] & 15) * 4
    if len(packet) < head_bytes + TCP_BYTES or packet[9] != TCP or struct.unpack_from("!H", packet, 6)[0] & 0x3FFF:
        return None
    source, target = packet[12:16], packet[16:20]
    from_port, to_port, sequence, acknowledged, offset, flags, *_ = _TCP.unpack_from(packet, head_bytes)
    if flags & RST:
        return None
    if flags & ACK:
        words = (to_port, from_port, acknowledged, 0, 5 << 4, RST)
    else:
        taken = len(packet) - head_bytes - (offset >> 4) * 4 + bool(flags & SYN) + bool(flags & FIN)
        words = (to_port, from_port, 0, (sequence + taken) & 0xFFFFFFFF, 5 << 4, RST | ACK)
    pseudo = target + source + struct.pack("!BBH", 0, TCP, TCP_BYTES)
    tcp = _TCP.pack(*words, 0, checksum(pseudo + _TCP.pack(*words, 0, 0, 0)), 0)
    ip = (0x45, 0, IP_BYTES + TCP_BYTES, 0, 0, 64, TCP)
    return _IP.pack(*ip, checksum(_IP.pack(*ip, 0, target, source)), target, source) + tcp


def checksum(data: bytes) -> int:
    """Return the ones' complement of the ones' complement sum of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
