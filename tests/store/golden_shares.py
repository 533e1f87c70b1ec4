"""The shares of one known segment by every code that is used, a digest each.

After a change that is meant: ``python -m tests.store.golden_shares`` writes tests/golden/shares.txt anew.
"""

from pathlib import Path

from blake3 import blake3

from worldos.store import erasure
from worldos.store.erasure import Code, Codec, TableCodec

GOLDEN = Path(__file__).parent.parent / "golden" / "shares.txt"
SEGMENT_BYTES = 5000


def line(codec: Codec, code: Code) -> str:
    """Name the code, and the first 8 bytes of the BLAKE3 of each share."""
    buffer = bytearray(erasure.coded_bytes(SEGMENT_BYTES, code.k))
    buffer[:SEGMENT_BYTES] = bytes((place * place + 3 * place) % 251 for place in range(SEGMENT_BYTES))
    shares = erasure.data_shares(buffer, SEGMENT_BYTES, code.k)
    parity = [bytearray(len(shares[0])) for _ in range(code.n - code.k)]
    erasure.encode(codec, code, shares, parity)
    return " ".join([str(code), *(blake3(share).hexdigest(8) for share in (*shares, *parity))])


if __name__ == "__main__":
    codes = [Code(1, 4), Code(2, 5), Code(3, 6), Code(3, 9), Code(4, 12), Code(10, 16)]
    GOLDEN.write_text("".join(line(TableCodec(), code) + "\n" for code in codes))
