"""The binary logarithm in whole thousandths, the same on every machine: amounts that multiply become steps that add.

Twice as much is 1000 more, whether of three or of three thousand; so one rule fits the quiet and the busy, and the long tails
that real traffic has do not drown what is strange. Source: repeated squaring, D. Knuth, TAOCP 1.2.2, exercise 25.
"""

from __future__ import annotations

import functools

_BITS = 12


@functools.lru_cache(maxsize=4096)
def millibits(number: int) -> int:
    """Return 1000 * log2(number), rounded down, for a number of at least 1."""
    if number < 1:
        raise ValueError(f"there is no logarithm of {number}")
    whole = number.bit_length() - 1
    rest = (number << 32) >> whole  # 1 <= rest / 2**32 < 2
    part = 0
    for _ in range(_BITS):
        rest = (rest * rest) >> 32
        part <<= 1
        if rest >= 1 << 33:
            rest >>= 1
            part |= 1
    return whole * 1000 + (part * 1000 >> _BITS)
