"""How the fuzzers change bytes: a little, where decoders branch. One seed makes the same inputs again.

Of good inputs: bits turned, bytes of meaning put in (heads of CBOR and msgpack, lengths at their limits), pieces cut out, said
twice, put in from another good input, ends cut off; of nothing: bytes at random. The same generator serves all targets.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

SIZE_MAX = 8192
_MEANING = (
    *(
        bytes([byte])
        for byte in (0x00, 0x01, 0x1F, 0x3F, 0x5F, 0x7F, 0x80, 0x81, 0x9F, 0xA0, 0xA1, 0xBF, 0xC0, 0xC1, 0xFF)
    ),
    *(
        b"\x9b" + b"\xff" * 8,
        b"\xbb" + b"\x7f" * 8,
        b"\x5b" + b"\0" * 8,
        b"\x1b" + b"\0" * 8,
        b"\xd8\x1e",
        b"\xf9\x7e\x00",
    ),
    *(
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xcf" + b"\xff" * 8,
        b"\xc6\xff\xff\xff\xff",
    ),
    *(b"..", b"/", b"\0", b"\n", b"\n\n", "\u202e".encode(), "а".encode(), b"\xed\xa0\x80", b"\x91" * 60, b"\x81" * 60),  # noqa: RUF001
    *((1 << shift).to_bytes(4, "big") for shift in (0, 7, 8, 15, 16, 24, 31)),
    *((1 << shift).to_bytes(8, "little") for shift in (0, 32, 63)),
)


def mutants(seeds: Sequence[bytes], dice: random.Random) -> Iterator[bytes]:
    """Yield changed inputs for ever."""
    known = [*seeds, b""]
    while True:
        data = bytearray(dice.choice(known))
        for _ in range(1 + min(dice.getrandbits(3), dice.getrandbits(3))):
            _change(data, known, dice)
        yield bytes(data[:SIZE_MAX])


def _change(data: bytearray, known: Sequence[bytes], dice: random.Random) -> None:
    place = dice.randrange(len(data) + 1)
    size = 1 + (dice.getrandbits(12) >> dice.randrange(12))
    match dice.randrange(9):
        case 0 | 1:
            if data:
                data[place % len(data)] ^= 1 << dice.randrange(8)
        case 2:
            if data:
                data[place % len(data)] = dice.randrange(256)
        case 3:
            piece = dice.choice(_MEANING)
            data[place : place + len(piece) * dice.randrange(2)] = piece
        case 4:
            del data[place : place + size]
        case 5:
            data[place:place] = data[place : place + size]
        case 6:
            other = dice.choice(known)
            begin = dice.randrange(len(other) + 1)
            data[place : place + size] = other[begin : begin + size]
        case 7:
            del data[place:]
        case _:
            data[place : place + size] = dice.randbytes(min(size, 64))
